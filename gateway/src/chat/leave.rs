//! `leave`: ends a membership at once, without grace.

use roomcast_protocol::Refusal;
use roomcast_protocol::ack::Left;
use roomcast_protocol::client::Leave;

use super::{Actor, Chat};
use crate::hub::Connection;
use crate::room::Departure;

impl Chat {
    pub(super) async fn leave(&self, actor: &Actor, leave: Leave) -> Result<Left, Refusal> {
        let Leave { room } = leave;
        let device = actor.joined_device(&room)?;
        self.rooms.leave(&room, device.id(), Departure::Left).await;
        Ok(Left { room })
    }

    /// Ends all memberships of a connection that has disconnected, and what it observes.
    pub(crate) async fn leave_all(&self, device: &Connection, how: Departure) {
        for room in device.received_rooms() {
            self.rooms.leave(&room, device.id(), how).await;
        }
    }
}
