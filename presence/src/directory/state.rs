//! What the handlers share. Made by the router; the handlers read its store and report the store's errors through it.

use axum::http::StatusCode;
use roomcast_store::{Store, StoreError};

use super::error::ApiError;
use crate::telemetry::Telemetry;

/// The directory's state; clones share it.
#[derive(Clone)]
pub(super) struct Directory {
    pub(super) store: Store,
    pub(super) telemetry: Telemetry,
}

impl Directory {
    /// What a client is answered where the store failed.
    pub(super) fn store_error(&self, error: &StoreError) -> ApiError {
        match error {
            // Reading may be repeated, so it does not matter whether the command arrived.
            StoreError::Unavailable(_) | StoreError::Unknown(_) => {
                ApiError::unavailable("Redis cannot be reached; try again")
            }
            _ => {
                self.telemetry.store_corrupt(error);
                ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "internal error; see the service's log",
                )
            }
        }
    }
}
