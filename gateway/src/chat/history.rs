//! `history`: a page of a room's log, or of the private messages with one user, from the reader's own inbox. Oldest
//! message first, limited in number and in bytes.

use roomcast_protocol::ack::HistoryPage;
use roomcast_protocol::client::{ConnectAuth, History};
use roomcast_protocol::limits::{MAX_PAGE_BYTES, fitting};
use roomcast_protocol::{Code, Refusal};
use roomcast_store::{ReadLimit, Secret};
use serde_json::value::RawValue;

use super::limits::{check_resume, page};
use super::{Actor, Chat, Rights};
use crate::hub::Message;
use crate::inbox::encode_inbox_entry;
use crate::room::encode_entry;

impl Chat {
    pub(super) async fn history(
        &self,
        actor: &Actor,
        history: History,
    ) -> Result<HistoryPage<Box<RawValue>>, Refusal> {
        let History { room, to, before, limit } = history;
        let limit = || Ok::<_, Refusal>(ReadLimit { entries: page(limit, 1)?, bytes: MAX_PAGE_BYTES });
        match (room, to) {
            (Some(room), None) => {
                actor.check_access(&room)?;
                let read = self.store.log.before(&room, before, limit()?).await?;
                let messages = read.entries.into_iter().filter_map(|entry| encode_entry(&room, entry));
                Ok(newest(messages, read.more))
            }
            (None, Some(to)) => {
                let person = actor.person()?;
                let read = self.store.inbox.conversation(person, &to, before, limit()?).await?;
                Ok(newest(read.entries.into_iter().filter_map(encode_inbox_entry), read.more))
            }
            _ => Err(Refusal::new(Code::BadRequest, "either room or to must be given")),
        }
    }

    /// The same for a request that comes over no connection of the user, and proves who it is by name and secret: the
    /// user must be connected with them, on whichever gateway, and be in the room.
    ///
    /// # Errors
    /// As above; the secret is not that of the name.
    pub(crate) async fn history_of(
        &self,
        auth: ConnectAuth,
        history: History,
    ) -> Result<HistoryPage<Box<RawValue>>, Refusal> {
        let ConnectAuth { username, resume, .. } = auth;
        let resume = resume.unwrap_or_default();
        check_resume(&resume)?;
        if !self.store.names.is_owner(&username, &Secret::proved(&resume)).await? {
            let why = "nobody is connected with this name and this secret";
            return Err(Refusal::new(Code::BadUsername, why));
        }
        let Some(room) = &history.room else {
            return Err(Refusal::new(Code::BadRequest, "room must be given"));
        };
        if !self.store.presence.is_present(room, &username).await? {
            return Err(Refusal::new(Code::NotJoined, format!("you have not joined {room}")));
        }
        self.history(&Actor::new(username, Rights { any_room: true }, None), history).await
    }
}

/// The newest messages, as many as fit into one answer: encoded, they are longer than their bodies.
fn newest(messages: impl Iterator<Item = Message>, more: bool) -> HistoryPage<Box<RawValue>> {
    let mut messages: Vec<_> = messages.map(|message| message.json).collect();
    let fitting = fitting(messages.iter().rev().map(|message| message.get().len()));
    let left_out = messages.len() - fitting;
    messages.drain(..left_out);
    HistoryPage { messages, more: more || left_out > 0 }
}
