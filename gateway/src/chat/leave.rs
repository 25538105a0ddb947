//! `leave`: out of a room, at once and for everyone to see.

use roomcast_protocol::Refusal;
use roomcast_protocol::ack::Left;
use roomcast_protocol::client::Leave;

use super::{Actor, Chat};
use crate::hub::Connection;
use crate::room::Departure;

impl Chat {
    pub(super) async fn leave(&self, actor: &Actor, leave: Leave) -> Result<Left, Refusal> {
        let Leave { room } = leave;
        let device = actor.must_be_in(&room)?;
        self.rooms.leave(&room, device.id(), Departure::Left).await;
        Ok(Left { room })
    }

    /// A connection ended: it leaves every room that it is in.
    pub(crate) async fn leave_all(&self, device: &Connection, how: Departure) {
        for room in device.rooms() {
            self.rooms.leave(&room, device.id(), how).await;
        }
    }
}
