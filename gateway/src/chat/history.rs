//! `history`: a page of a room's log, oldest message first.

use roomcast_protocol::ack::HistoryPage;
use roomcast_protocol::client::History;
use roomcast_protocol::{Refusal, message};
use serde_json::value::RawValue;

use super::limits::page;
use super::{Actor, Chat};

impl Chat {
    pub(super) async fn history(
        &self,
        actor: &Actor,
        history: History,
    ) -> Result<HistoryPage<Box<RawValue>>, Refusal> {
        let History { room, before, limit } = history;
        actor.check_access(&room)?;
        let page_of_log = self.store.log.before(&room, before, page(limit, 1)?).await?;
        let encode = |entry: roomcast_store::Entry| {
            let encoded = message::compose(&room, &entry.epoch, entry.offset, entry.ts, &entry.body);
            encoded.inspect_err(|error| tracing::error!(%error, "a log entry is not a message")).ok()
        };
        Ok(HistoryPage {
            messages: page_of_log.entries.into_iter().filter_map(encode).collect(),
            more: page_of_log.more,
        })
    }
}
