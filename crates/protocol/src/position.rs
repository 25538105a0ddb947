//! A reader's position in a room's log: the offset of the last message it has, and the epoch, which changes
//! when the log is lost or rolled back, so that equal offsets of two epochs are never taken for the same
//! message. Used by the wire's types and by the store.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::integer;

/// Names one epoch of a room's log: a random string, opaque to clients.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(transparent)]
pub struct Epoch(#[cfg_attr(feature = "generate", schemars(with = "String"), ts(type = "string"))] Arc<str>);

impl Epoch {
    /// An epoch from its string.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The position of the last message that a reader has; offset 0 before the first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Position {
    /// The epoch of the offset.
    pub epoch: Epoch,
    /// The message's number; messages are numbered 1, 2, 3 … without gaps.
    #[serde(deserialize_with = "integer::required")]
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
}
