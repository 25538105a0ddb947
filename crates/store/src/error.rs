//! What can go wrong in the store, by what a caller does about it. Returned by every trait of it.

use roomcast_protocol::{Code, Refusal};

/// A result of the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Why the store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Nothing was done: Redis cannot be reached. Try again later.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// The command was sent and no answer came: it may have been done. Retry with the same id.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// The id belongs to another user's message in that room.
    #[error("the id belongs to another user's message")]
    IdTaken,
    /// All images together have as many bytes as they may have. Nothing was stored.
    #[error("there are too many bytes of images")]
    ImagesFull,
    /// The store holds or answered what this release does not understand: another version wrote it, or a
    /// foreign program.
    #[error("unexpected data in the store: {0}")]
    Corrupt(String),
    /// The settings cannot work.
    #[error("{0}")]
    Settings(String),
}

impl StoreError {
    /// Its kind, from a closed set, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Unknown(_) => "unknown",
            Self::IdTaken => "id_taken",
            Self::ImagesFull => "images_full",
            Self::Corrupt(_) => "corrupt",
            Self::Settings(_) => "settings",
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let (code, message) = match error {
            StoreError::Unavailable(_) | StoreError::Settings(_) => {
                (Code::Unavailable, "the cluster's memory cannot be reached; try again")
            }
            StoreError::Unknown(_) | StoreError::Corrupt(_) => {
                (Code::OutcomeUnknown, "the answer was lost; try again with the same id")
            }
            StoreError::ImagesFull => {
                (Code::ImageStoreFull, "the server keeps no more images now; try again later")
            }
            StoreError::IdTaken => (Code::IdTaken, "another user's message in this room has this id"),
        };
        Self::new(code, message)
    }
}
