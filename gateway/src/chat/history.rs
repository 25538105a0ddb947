//! `history`: a page of a room's log, oldest message first, limited in number and in bytes.

use roomcast_protocol::ack::HistoryPage;
use roomcast_protocol::client::{ConnectAuth, History};
use roomcast_protocol::limits::{MAX_PAGE_BYTES, fitting};
use roomcast_protocol::{Code, Refusal};
use roomcast_store::{ReadLimit, Secret};
use serde_json::value::RawValue;

use super::limits::{check_resume, page};
use super::{Actor, Chat, Rights};
use crate::room::encode_entry;

impl Chat {
    pub(super) async fn history(
        &self,
        actor: &Actor,
        history: History,
    ) -> Result<HistoryPage<Box<RawValue>>, Refusal> {
        let History { room, before, limit } = history;
        actor.check_access(&room)?;
        let limit = ReadLimit { entries: page(limit, 1)?, bytes: MAX_PAGE_BYTES };
        let page_of_log = self.store.log.before(&room, before, limit).await?;
        let messages = page_of_log.entries.into_iter().filter_map(|entry| encode_entry(&room, entry));
        let mut messages: Vec<_> = messages.map(|message| message.json).collect();
        // Encoded, they are longer than their bodies.
        let fitting = fitting(messages.iter().rev().map(|message| message.get().len()));
        let left_out = messages.len() - fitting;
        messages.drain(..left_out);
        Ok(HistoryPage { messages, more: page_of_log.more || left_out > 0 })
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
        let ConnectAuth { username, resume } = auth;
        let resume = resume.unwrap_or_default();
        check_resume(&resume)?;
        if !self.store.names.is_owner(&username, &Secret::proved(&resume)).await? {
            let why = "nobody is connected with this name and this secret";
            return Err(Refusal::new(Code::BadUsername, why));
        }
        if !self.store.presence.is_present(&history.room, &username).await? {
            return Err(Refusal::new(Code::NotJoined, format!("you have not joined {}", history.room)));
        }
        self.history(&Actor::new(username, Rights { any_room: true }, None), history).await
    }
}
