//! The one place where something is sent to all members of a room: encoded once, then given to each.
//! Called by `room/worker.rs`. Yields between batches, so that a large room does not hold up its
//! worker's thread for the others.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::client::Client;

/// Members served between two yields.
const BATCH: usize = 256;

/// Encodes an event once and sends it to every member.
pub(crate) async fn event<'a, T: Serialize>(
    members: impl Iterator<Item = &'a Arc<Client>>,
    event: &str,
    payload: &T,
) {
    match serde_json::value::to_raw_value(payload) {
        Ok(payload) => raw(members, event, &payload).await,
        Err(error) => tracing::error!(event, %error, "an event could not be encoded"),
    }
}

/// Sends what is already encoded to every member.
pub(crate) async fn raw<'a>(members: impl Iterator<Item = &'a Arc<Client>>, event: &str, payload: &RawValue) {
    for (sent, member) in members.enumerate() {
        member.emit_raw(event, payload);
        if sent % BATCH == BATCH - 1 {
            tokio::task::yield_now().await;
        }
    }
}
