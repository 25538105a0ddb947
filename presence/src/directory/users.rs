//! `GET /users/{user}`: whether a user is online, through which nodes and in which rooms. Reads the store's
//! names, nodes and presence.

use axum::Json;
use axum::extract::State;
use roomcast_protocol::{RoomName, UserName};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::extract::User;
use super::state::Directory;

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserBody {
    /// The user that was asked for, whether anybody ever had the name or not.
    #[schema(value_type = String, example = "Ann B.")]
    user: UserName,
    /// Whether a living node has a connection of this user, or keeps the user online for a short time
    /// after one was lost.
    online: bool,
    /// The nodes that do.
    nodes: Vec<NodeOfUser>,
    /// The rooms in which the user is online, sorted.
    #[schema(value_type = Vec<String>)]
    rooms: Vec<RoomName>,
}

/// A node through which a user is online.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeOfUser {
    /// The life of the node, as in `/nodes`.
    incarnation: String,
    /// Its name; absent where the node never said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
}

/// Whether a user is online, and where
///
/// A name that nobody has is offline: that is no error. A user of a node that died is offline as soon as
/// the node's lease has run out.
#[utoipa::path(
    get, path = "/users/{user}", operation_id = "user", tag = "directory",
    params(("user" = String, Path, description = "The user's name, percent-encoded, slashes too")),
    responses(
        (status = 200, description = "The user", body = UserBody),
        (status = 400, description = "No name of a user", body = ErrorBody),
        (status = 503, description = "Redis cannot be reached; retry after the seconds of Retry-After",
            body = ErrorBody, headers(("Retry-After" = u32))),
    )
)]
pub(super) async fn user(
    State(directory): State<Directory>,
    User(user): User,
) -> Result<Json<UserBody>, ApiError> {
    let store_error = |error| directory.store_error(&error);
    let store = &directory.store;
    let (mut holders, nodes) =
        tokio::try_join!(store.names.holders(&user), store.nodes.list()).map_err(store_error)?;
    // What dead nodes left behind is not swept yet; it is no presence.
    let alive =
        |holder: &_| nodes.iter().find(|node| node.incarnation == *holder && !node.remaining.is_zero());
    holders.retain(|holder| alive(holder).is_some());
    holders.sort();
    let rooms = match holders.as_slice() {
        [] => Vec::new(),
        holders => store.presence.rooms_of(&user, holders).await.map_err(store_error)?,
    };
    let named = |holder| NodeOfUser {
        incarnation: roomcast_store::Incarnation::as_str(holder).to_owned(),
        name: alive(holder).and_then(|node| node.info.as_ref()).map(|info| info.name.clone()),
    };
    let nodes = holders.iter().map(named).collect();
    Ok(Json(UserBody { online: !holders.is_empty(), user, nodes, rooms }))
}
