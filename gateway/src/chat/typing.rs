//! `typing`: published to the room and not stored. If the bus is down, it is still sent to this node's members.

use roomcast_protocol::Refusal;
use roomcast_protocol::client::Typing;

use super::{Actor, Chat};

impl Chat {
    pub(super) async fn typing(&self, actor: &Actor, typing: Typing) -> Result<(), Refusal> {
        let Typing { room, typing } = typing;
        actor.check_access(&room)?;
        let user = actor.named()?;
        if self.store.bus.publish_ephemeral(&room, user, typing).await.is_err() {
            self.rooms.typing_here(&room, user.clone(), typing).await;
        }
        Ok(())
    }
}
