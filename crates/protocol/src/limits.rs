//! All limits of the protocol; `welcome` carries those that clients need. Used by the parsers of this crate, by the gateway's listeners and by the documentation generator.

use serde::{Deserialize, Serialize};

/// Makes constants, and the list of them, out of one list.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:expr;)+) => {
        $( $(#[doc = $doc])+ pub const $name: usize = $value; )+
        /// Name, value and meaning of every bound, for the documentation.
        pub const ALL: &[(&str, usize, &str)] =
            &[$( (stringify!($name), $name, concat!($($doc),+).trim_ascii()) ),+];
    };
}

limits! {
    /// Longest room name, in characters.
    MAX_ROOM_CHARS = 128;
    /// Longest user name, in characters.
    MAX_NAME_CHARS = 64;
    /// Longest text of one message, in bytes of UTF-8.
    MAX_TEXT_BYTES = 16 * 1024;
    /// Longest message id, in characters.
    MAX_ID_CHARS = 64;
    /// Longest resume secret, in bytes.
    MAX_RESUME_BYTES = 128;
    /// Maximum number of rooms of one connection.
    MAX_ROOMS = 256;
    /// Maximum number of entries of one page: of history, of rooms, of users.
    MAX_PAGE = 200;
    /// Entries of a page if the client requests no limit.
    DEFAULT_PAGE = 50;
    /// Maximum number of messages that a join with `since` replays; a longer gap is answered `recovered: false`.
    MAX_REPLAY = 1_000;
    /// Longest list of messages in one answer, in bytes of JSON; an answer that would be longer says `more`.
    MAX_PAGE_BYTES = 512 * 1024;
    /// Longest packet of a client, in bytes: a text of maximum length, escaped, plus the rest of the packet.
    MAX_PACKET_BYTES = 128 * 1024;
    /// Maximum number of fields of a classic front end's object that are passed on besides those that its dialect names.
    MAX_EXTRA_FIELDS = 16;
    /// Their length in bytes of JSON, all together.
    MAX_EXTRA_BYTES = 4 * 1024;
    /// Longest packet of a client that sends an image, and the longest attachments of one event together, in bytes.
    MAX_IMAGE_PACKET_BYTES = 1536 * 1024;
    /// Longest packet of a client that sends an image which is read, thrown away and answered with an error, in bytes.
    MAX_DISCARDED_BYTES = 8 * 1024 * 1024;
    /// Longest image, in bytes, unless a setting makes it less.
    MAX_IMAGE_BYTES = 1024 * 1024;
    /// Most pixels of an image, as its header declares them.
    MAX_IMAGE_PIXELS = 50_000_000;
    /// Longest description of an image, in bytes of UTF-8.
    MAX_ALT_BYTES = 1_000;
    /// Queued events of one connection above which the next one is answered `busy`.
    MAX_QUEUED_EVENTS = 1_024;
    /// Number of users up to which a room's joins, leaves and lists carry names; above it, they carry only counts.
    MAX_LISTED_USERS = 500;
}

/// How many of the first messages of a list fit into one answer, by their lengths in JSON: at least one.
pub fn fitting(lengths: impl IntoIterator<Item = usize>) -> usize {
    let mut bytes = 0_usize;
    let fits = |(index, length): &(usize, usize)| {
        // And a comma.
        bytes = bytes.saturating_add(length + 1);
        *index == 0 || bytes <= MAX_PAGE_BYTES
    };
    lengths.into_iter().enumerate().take_while(fits).count()
}

/// The limits that a client needs, as carried by `welcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Limits {
    /// Longest text of one message, in bytes of UTF-8.
    pub max_text: usize,
    /// Longest user name, in characters.
    pub max_name: usize,
    /// Longest room name, in characters.
    pub max_room: usize,
    /// Maximum number of rooms of one connection.
    pub max_rooms: usize,
    /// Maximum number of entries of one page.
    pub max_page: usize,
    /// Longest image, in bytes.
    pub max_image: usize,
}

impl Limits {
    /// The limits in force, where no setting changes them.
    pub const IN_FORCE: Self = Self {
        max_text: MAX_TEXT_BYTES,
        max_name: MAX_NAME_CHARS,
        max_room: MAX_ROOM_CHARS,
        max_rooms: MAX_ROOMS,
        max_page: MAX_PAGE,
        max_image: MAX_IMAGE_BYTES,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_as_many_messages_as_fit_and_one_at_least() {
        let half = MAX_PAGE_BYTES / 2 - 1;
        assert_eq!(fitting([]), 0);
        assert_eq!(fitting([half, half, 1]), 2);
        assert_eq!(fitting([half, half + 1, 1]), 1);
        assert_eq!(fitting([2 * MAX_PAGE_BYTES, 1]), 1);
        assert_eq!(fitting(vec![0; 200]), 200);
    }
}
