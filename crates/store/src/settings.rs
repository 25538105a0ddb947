//! What the caller decides about the store. Read by both kinds of implementations.

use std::time::Duration;

use crate::log::Retention;

/// The prefix unless another is set.
pub const DEFAULT_PREFIX: &str = "rc1";

/// Private messages that are kept for each user unless another number is set.
pub const DEFAULT_INBOX_LEN: usize = 500;
/// How many bytes all images may have together unless another bound is set.
pub const DEFAULT_IMAGE_STORE_BYTES: usize = 64 * 1024 * 1024;

/// A prefix of keys, for flags.
///
/// # Errors
/// It is empty, or contains a character that separates the parts of a key.
pub fn parse_prefix(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.contains(['{', '}', ':']) {
        return Err("must be a name without braces and colons");
    }
    Ok(text.to_owned())
}

/// What the caller decides about the store.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How much of each room's log is kept.
    pub retention: Retention,
    /// Private messages that are kept for each user, the newest ones; a user who does not use them for as long as
    /// [`Retention::idle`] loses all.
    pub inbox_len: usize,
    /// The most bytes that all images may have together; each counts 1 KiB more than it has.
    pub image_store_bytes: usize,
    /// Stands before every key and channel, so that several clusters may share one Redis.
    pub prefix: String,
    /// How long a message may wait for others of its node, so that they are sent to Redis as one batch. The
    /// first after a quiet moment never waits; at zero none does.
    pub batch_window: Duration,
    /// How long no node of an older release must have held a lease before message bodies are written in
    /// the layout that only this release and newer ones read: twice the lease is enough.
    pub upgrade_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            inbox_len: DEFAULT_INBOX_LEN,
            image_store_bytes: DEFAULT_IMAGE_STORE_BYTES,
            prefix: DEFAULT_PREFIX.into(),
            batch_window: Duration::ZERO,
            upgrade_wait: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_no_separator_of_keys() {
        assert_eq!(parse_prefix(DEFAULT_PREFIX).as_deref(), Ok(DEFAULT_PREFIX));
        for text in ["", "a:b", "{a}", "a}", ":"] {
            assert!(parse_prefix(text).is_err(), "{text:?}");
        }
    }
}
