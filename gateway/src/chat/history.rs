//! `history`: a page of a room's log, oldest message first.

use roomcast_protocol::Refusal;
use roomcast_protocol::ack::HistoryPage;
use roomcast_protocol::client::History;
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
        let page_of_log = self.store.log.before(&room, before, page(limit, 1)?).await?;
        let messages = page_of_log.entries.into_iter().filter_map(|entry| encode_entry(&room, entry));
        Ok(HistoryPage { messages: messages.map(|message| message.json).collect(), more: page_of_log.more })
    }
}
