//! `history`: a page of a room's past, oldest first.

use roomcast_protocol::ack::HistoryPage;
use roomcast_protocol::client::History;
use roomcast_protocol::{Refusal, message};
use serde_json::value::RawValue;

use super::Gateway;
use super::decode::Payload;
use crate::session::{Session, page};

pub(super) async fn handle(
    gateway: &Gateway,
    session: &Session,
    payload: &Payload,
) -> Result<HistoryPage<Box<RawValue>>, Refusal> {
    let History { room, before, limit } = payload.decode()?;
    session.must_be_in(&room)?;
    let past = gateway.store.log.before(&room, before, page(limit, 1)?).await?;
    let encode = |entry: roomcast_store::Entry| {
        let encoded = message::compose(&room, &entry.epoch, entry.offset, entry.ts, &entry.body);
        encoded.inspect_err(|error| tracing::error!(%error, "a message in the log is no message")).ok()
    };
    Ok(HistoryPage { messages: past.entries.into_iter().filter_map(encode).collect(), more: past.more })
}
