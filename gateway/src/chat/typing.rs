//! `typing`: published to the room and kept nowhere. Where the bus cannot carry it, this node's members hear of it
//! all the same.

use roomcast_protocol::Refusal;
use roomcast_protocol::client::Typing;

use super::{Actor, Chat};

impl Chat {
    pub(super) async fn typing(&self, actor: &Actor, typing: Typing) -> Result<(), Refusal> {
        let Typing { room, typing } = typing;
        actor.must_reach(&room)?;
        if self.store.bus.publish_ephemeral(&room, actor.user(), typing).await.is_err() {
            self.rooms.typing_here(&room, actor.user().clone(), typing).await;
        }
        Ok(())
    }
}
