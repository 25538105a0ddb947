//! The table of error codes: why a request was refused, and when to repeat it. Used wherever the gateway answers
//! `{status: "error"}` or `connect_error`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a request was refused. The number's thousands digit tells what a client should do:
/// 1xxx correct the request, 2xxx choose differently, 3xxx slow down, 4xxx try again later (nothing
/// happened), 5xxx try again with the same `id` (it may have happened).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "generate", derive(schemars::JsonSchema, ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A field is missing, mistyped or out of range.
    BadRequest,
    /// The room's name is empty, too long, reserved or has control characters.
    BadRoom,
    /// The user's name is empty, too long or has control characters.
    BadUsername,
    /// The text is empty or too long.
    BadText,
    /// The id is empty or too long.
    BadId,
    /// The image is no PNG, JPEG, GIF or WebP, or its header is broken.
    BadImage,
    /// The image has more bytes than `max_image` of `welcome`, or its packet is too long.
    ImageTooLarge,
    /// The image declares more pixels than are shown.
    ImageDimensions,
    /// The connection has not joined that room.
    NotJoined,
    /// No event of that name exists.
    UnknownEvent,
    /// The cluster does not allow this to this user.
    Forbidden,
    /// The name belongs to another user who is online.
    UsernameTaken,
    /// Another user's message in that room has that id, or your private message to another user.
    IdTaken,
    /// The connection is in the maximum number of rooms.
    TooManyRooms,
    /// No user of that name is online.
    UserOffline,
    /// Too many events of this connection are waiting, or came too fast.
    Busy,
    /// Done too often; at most once in 10 seconds.
    RateLimited,
    /// The store cannot be reached; nothing happened.
    Unavailable,
    /// The node is draining; nothing happened.
    Draining,
    /// The images that are kept leave no room for another one; nothing happened.
    ImageStoreFull,
    /// The store's answer was lost: the request may or may not have been executed.
    OutcomeUnknown,
}

impl Code {
    /// All codes, in the order of the table.
    pub const ALL: [Self; 21] = [
        Self::BadRequest,
        Self::BadRoom,
        Self::BadUsername,
        Self::BadText,
        Self::BadId,
        Self::BadImage,
        Self::ImageTooLarge,
        Self::ImageDimensions,
        Self::NotJoined,
        Self::UnknownEvent,
        Self::Forbidden,
        Self::UsernameTaken,
        Self::IdTaken,
        Self::TooManyRooms,
        Self::UserOffline,
        Self::Busy,
        Self::RateLimited,
        Self::Unavailable,
        Self::Draining,
        Self::ImageStoreFull,
        Self::OutcomeUnknown,
    ];

    /// The stable number; its thousands digit is the class of the error.
    pub const fn number(self) -> u16 {
        match self {
            Self::BadRequest => 1000,
            Self::BadRoom => 1001,
            Self::BadUsername => 1002,
            Self::BadText => 1003,
            Self::BadId => 1004,
            Self::BadImage => 1005,
            Self::ImageTooLarge => 1006,
            Self::ImageDimensions => 1007,
            Self::NotJoined => 1010,
            Self::UnknownEvent => 1011,
            Self::Forbidden => 1012,
            Self::UsernameTaken => 2000,
            Self::IdTaken => 2001,
            Self::TooManyRooms => 2002,
            Self::UserOffline => 2003,
            Self::Busy => 3000,
            Self::RateLimited => 3001,
            Self::Unavailable => 4000,
            Self::Draining => 4001,
            Self::ImageStoreFull => 4002,
            Self::OutcomeUnknown => 5000,
        }
    }

    /// The name on the wire: `code` of an acknowledgement, `message` of a `connect_error`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadRoom => "bad_room",
            Self::BadUsername => "bad_username",
            Self::BadText => "bad_text",
            Self::BadId => "bad_id",
            Self::BadImage => "bad_image",
            Self::ImageTooLarge => "image_too_large",
            Self::ImageDimensions => "image_dimensions",
            Self::NotJoined => "not_joined",
            Self::UnknownEvent => "unknown_event",
            Self::Forbidden => "forbidden",
            Self::UsernameTaken => "username_taken",
            Self::IdTaken => "id_taken",
            Self::TooManyRooms => "too_many_rooms",
            Self::UserOffline => "user_offline",
            Self::Busy => "busy",
            Self::RateLimited => "rate_limited",
            Self::Unavailable => "unavailable",
            Self::Draining => "draining",
            Self::ImageStoreFull => "image_store_full",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// How long a client should wait before it repeats the same request, in milliseconds; absent if repeating it
    /// unchanged cannot succeed.
    pub const fn retry_after_ms(self) -> Option<u32> {
        match self {
            Self::Busy => Some(250),
            Self::RateLimited => Some(10_000),
            Self::Unavailable | Self::Draining => Some(1_000),
            Self::ImageStoreFull => Some(60_000),
            Self::OutcomeUnknown => Some(500),
            _ => None,
        }
    }
}

/// A refusal: the code for programs, a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people; contains no secrets.
    pub message: String,
    /// When the same request may succeed, in milliseconds from now; absent if repeating it unchanged cannot succeed.
    pub retry_after_ms: Option<u32>,
}

impl Refusal {
    /// A refusal with this message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: code.retry_after_ms() }
    }

    /// The same, where it is known when the request may succeed.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        // Rounded up: a client that waits exactly this long is not too early.
        let ms = u32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX);
        Self { retry_after_ms: Some(ms), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_serde_agree() {
        for (i, code) in Code::ALL.iter().enumerate() {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
            assert!(Code::ALL.iter().skip(i + 1).all(|other| other.number() > code.number()));
            let retryable = code.number() >= 3000;
            assert_eq!(code.retry_after_ms().is_some(), retryable, "{}", code.name());
        }
    }

    #[test]
    fn a_refusal_says_when_to_try_again() {
        assert_eq!(Refusal::new(Code::BadRequest, "no").retry_after_ms, None);
        let limited = Refusal::new(Code::RateLimited, "wait");
        assert_eq!(limited.retry_after_ms, Some(10_000));
        assert_eq!(limited.retry_after(Duration::from_micros(1_500_001)).retry_after_ms, Some(1_501));
    }
}
