//! What the bus brings to this node: events of rooms go to `room/`, private messages to `inbox/`. Called by the store.

use roomcast_protocol::RoomName;
use roomcast_store::{BusEvent, BusListener, InboxEvent, Person};

use crate::inbox::Inboxes;
use crate::room::Rooms;

pub(crate) struct NodeListener {
    pub(crate) rooms: Rooms,
    pub(crate) inboxes: Inboxes,
}

impl BusListener for NodeListener {
    fn on_event(&self, room: &RoomName, event: BusEvent) {
        self.rooms.on_event(room, event);
    }

    fn on_inbox(&self, person: &Person, event: InboxEvent) {
        self.inboxes.on_event(person, event);
    }

    fn on_gap(&self, room: Option<&RoomName>) {
        self.rooms.on_gap(room);
        if room.is_none() {
            self.inboxes.on_gap();
        }
    }
}
