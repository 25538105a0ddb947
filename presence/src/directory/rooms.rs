//! `GET /rooms` and `GET /rooms/{room}/users`: pages of the rooms there are and of who is in one. Reads the
//! store's presence.

use axum::Json;
use axum::extract::State;
use roomcast_protocol::{RoomName, UserName};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::extract::{Page, PageQuery, Room};
use super::state::Directory;

/// A page of rooms.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoomsBody {
    /// Rooms that somebody used and that are not forgotten, empty ones included.
    rooms: Vec<RoomBody>,
    /// Where the next page begins; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cursor: Option<String>,
}

/// A room.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoomBody {
    /// Its name.
    #[schema(value_type = String, example = "general")]
    room: RoomName,
    /// How many users are online in it, each counted once.
    count: usize,
}

/// A page of the users of a room.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsersBody {
    /// The room that was asked for, whether anybody ever used it or not.
    #[schema(value_type = String, example = "general")]
    room: RoomName,
    /// How many users are online in it.
    count: usize,
    /// Some of them. In rooms of more than a few hundred, pages are not sorted, may hold somewhat more than
    /// `limit`, and may repeat a user while people come and go.
    #[schema(value_type = Vec<String>)]
    users: Vec<UserName>,
    /// Where the next page begins; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cursor: Option<String>,
}

/// The rooms there are
///
/// In no particular order; each with the number of users that are online in it.
#[utoipa::path(
    get, path = "/rooms", operation_id = "rooms", tag = "directory", params(PageQuery),
    responses(
        (status = 200, description = "A page of rooms", body = RoomsBody),
        (status = 400, description = "A bad limit or cursor", body = ErrorBody),
        (status = 503, description = "Redis cannot be reached; retry after the seconds of Retry-After",
            body = ErrorBody, headers(("Retry-After" = u32))),
    )
)]
pub(super) async fn rooms(
    State(directory): State<Directory>,
    page: Page,
) -> Result<Json<RoomsBody>, ApiError> {
    let found = directory.store.presence.rooms(page.cursor.as_deref(), page.limit).await;
    let found = found.map_err(|error| directory.store_error(&error))?;
    let rooms = found.rooms.into_iter().map(|(room, count)| RoomBody { room, count }).collect();
    Ok(Json(RoomsBody { rooms, cursor: page.next(found.cursor) }))
}

/// Who is online in a room
///
/// A room that nobody is in, or ever was, has no users: that is no error.
#[utoipa::path(
    get, path = "/rooms/{room}/users", operation_id = "usersOfRoom", tag = "directory",
    params(("room" = String, Path, description = "The room's name, percent-encoded, slashes too"), PageQuery),
    responses(
        (status = 200, description = "A page of users", body = UsersBody),
        (status = 400, description = "No name of a room, or a bad limit or cursor", body = ErrorBody),
        (status = 503, description = "Redis cannot be reached; retry after the seconds of Retry-After",
            body = ErrorBody, headers(("Retry-After" = u32))),
    )
)]
pub(super) async fn users(
    State(directory): State<Directory>,
    Room(room): Room,
    page: Page,
) -> Result<Json<UsersBody>, ApiError> {
    let found = directory.store.presence.users(&room, page.cursor.as_deref(), page.limit).await;
    let found = found.map_err(|error| directory.store_error(&error))?;
    Ok(Json(UsersBody { room, count: found.count, users: found.users, cursor: page.next(found.cursor) }))
}
