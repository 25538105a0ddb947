//! Where a reader of a room's log stands. The offset counts; the epoch tells that the log it counts in
//! was lost or rolled back, so that equal offsets of two epochs are never mistaken for each other.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The life of a log: a random word, opaque to clients.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(transparent)]
pub struct Epoch(#[cfg_attr(feature = "generate", schemars(with = "String"), ts(type = "string"))] Arc<str>);

impl Epoch {
    /// Takes a word as an epoch.
    pub fn new(word: &str) -> Self {
        Self(word.into())
    }

    /// The word.
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

/// The last message a reader has: offset 0 before the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Position {
    /// The life of the log that the offset counts in.
    pub epoch: Epoch,
    /// Messages are numbered 1, 2, 3 … without a hole.
    #[cfg_attr(feature = "generate", ts(type = "number"))]
    pub offset: u64,
}
