//! What handlers take from a request, parsed and bounded before they begin: names from the path, the page
//! from the query. Every mistake is a 400 in the directory's own shape of errors.

use axum::extract::{FromRequestParts, MatchedPath, Path, Query};
use axum::http::request::Parts;
use roomcast_protocol::limits::{DEFAULT_PAGE, MAX_PAGE};
use roomcast_protocol::{RoomName, UserName};
use serde::Deserialize;
use utoipa::IntoParams;

use super::cursor;
use super::error::ApiError;

/// The room in the path.
pub(super) struct Room(pub(super) RoomName);

/// The user in the path.
pub(super) struct User(pub(super) UserName);

/// Which page of which list is asked for.
pub(super) struct Page {
    list: String,
    /// As the list's owner made it, not as the client sent it.
    pub(super) cursor: Option<String>,
    pub(super) limit: usize,
}

impl Page {
    #[cfg(test)]
    pub(super) fn new(cursor: Option<String>, limit: usize) -> Self {
        Self { list: String::new(), cursor, limit }
    }

    /// Where the next page begins, as it is sent to the client.
    pub(super) fn next(&self, cursor: Option<String>) -> Option<String> {
        cursor.map(|cursor| cursor::encode(&self.list, &cursor))
    }
}

/// How a page is asked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Where the page begins: the `cursor` of the page before, unchanged. Absent for the first one.
    #[param(required = false, nullable = false)]
    cursor: Option<String>,
    /// How much one page holds.
    // Taken as text, so that a bad one gets an error of our shape.
    #[param(required = false, nullable = false, value_type = u16, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Room {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(RoomName::parse(&segment(parts, state).await?)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self(UserName::parse(&segment(parts, state).await?)?))
    }
}

/// The one parameter of the path. Routes are matched before it is decoded, so an encoded slash is part of
/// the name.
async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, ApiError> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.map(|Path(name)| name)
        .map_err(|_| ApiError::bad_request("bad_path", "the name in the path is not UTF-8"))
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<PageQuery>::from_request_parts(parts, state).await;
        let Query(query) = query
            .map_err(|_| ApiError::bad_request("bad_query", "a parameter of the query is given twice"))?;
        let limit = match &query.limit {
            None => DEFAULT_PAGE,
            Some(text) => match text.parse() {
                Ok(limit @ 1..=MAX_PAGE) => limit,
                _ => {
                    let message = format!("limit must be a whole number from 1 to {MAX_PAGE}");
                    return Err(ApiError::bad_request("bad_limit", message));
                }
            },
        };
        // The route and not the path, which two requests may spell differently.
        let list = MatchedPath::from_request_parts(parts, state).await;
        let list = list.map_or_else(|_| String::new(), |list| list.as_str().to_owned());
        let cursor = query.cursor.filter(|cursor| !cursor.is_empty());
        let cursor = cursor.map(|cursor| cursor::decode(&list, &cursor)).transpose()?;
        Ok(Self { list, cursor, limit })
    }
}
