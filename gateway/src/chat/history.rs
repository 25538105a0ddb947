//! `history`: a page of a room's log, oldest message first, limited in number and in bytes.

use roomcast_protocol::Refusal;
use roomcast_protocol::ack::HistoryPage;
use roomcast_protocol::client::History;
use roomcast_protocol::limits::{MAX_PAGE_BYTES, fitting};
use roomcast_store::ReadLimit;
use serde_json::value::RawValue;

use super::limits::page;
use super::{Actor, Chat};
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
}
