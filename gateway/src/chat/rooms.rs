//! `rooms`: a page of the list of rooms. The configured rooms come first and are always listed.

use roomcast_protocol::ack::{RoomCount, RoomsPage};
use roomcast_protocol::client::Rooms;
use roomcast_protocol::{Code, Refusal};

use super::Chat;
use super::limits::page;

impl Chat {
    pub(super) async fn list_rooms(&self, rooms: Rooms) -> Result<RoomsPage, Refusal> {
        let Rooms { cursor, limit } = rooms;
        let limit = page(limit, 1)?;
        match cursor.as_deref() {
            None => self.configured_rooms(0, limit).await,
            Some(cursor) => match (cursor.strip_prefix('l'), cursor.strip_prefix('s')) {
                (Some(from), _) => match from.parse() {
                    Ok(from) => self.configured_rooms(from, limit).await,
                    Err(_) => Err(bad_cursor()),
                },
                (_, Some(store)) => self.other_rooms(Some(store), limit).await,
                _ => Err(bad_cursor()),
            },
        }
    }

    /// A page that begins with the configured room number `from`.
    async fn configured_rooms(&self, from: usize, limit: usize) -> Result<RoomsPage, Refusal> {
        let mut rooms = Vec::new();
        for room in self.listed.iter().skip(from).take(limit) {
            let count = self.store.presence.read(room, 0).await?.count;
            rooms.push(RoomCount { room: room.clone(), count });
        }
        let next = from + rooms.len();
        if next < self.listed.len() {
            return Ok(RoomsPage { rooms, cursor: Some(format!("l{next}")) });
        }
        if rooms.len() == limit {
            return Ok(RoomsPage { rooms, cursor: Some("s".into()) });
        }
        let rest = self.other_rooms(None, limit - rooms.len()).await?;
        rooms.extend(rest.rooms);
        Ok(RoomsPage { rooms, cursor: rest.cursor })
    }

    /// A page of the other rooms, from the store.
    async fn other_rooms(&self, cursor: Option<&str>, limit: usize) -> Result<RoomsPage, Refusal> {
        let cursor = cursor.filter(|cursor| !cursor.is_empty());
        let page = self.store.presence.rooms(cursor, limit).await?;
        let others = page.rooms.into_iter().filter(|(room, _)| !self.listed.contains(room));
        Ok(RoomsPage {
            rooms: others.map(|(room, count)| RoomCount { room, count }).collect(),
            cursor: page.cursor.map(|cursor| format!("s{cursor}")),
        })
    }
}

fn bad_cursor() -> Refusal {
    Refusal::new(Code::BadRequest, "the cursor is invalid")
}
