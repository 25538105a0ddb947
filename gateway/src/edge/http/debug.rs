//! `/debug/…` on the admin listener: rooms, subscriptions and connections of this node, busiest first, in
//! pages. Mounted by `app.rs`; asks the rooms' workers through their queues, with a bounded wait, and the hub's
//! registry. Names are shown, but never message texts or secrets.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use roomcast_ops::{Admin, error_response};
use roomcast_protocol::UserName;
use roomcast_store::Store;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::hub::{Connection, Registry};
use crate::room::{Figures, Order, Page, Rank, Rooms, first};

/// Items of a page: the default and the maximum.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1_000;
/// Time allowed for the workers to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Sources of the pages.
#[derive(Clone)]
pub(crate) struct Debug {
    pub(crate) rooms: Rooms,
    pub(crate) registry: Registry,
    pub(crate) store: Store,
}

/// Adds the routes to the admin listener.
pub(crate) fn mount(admin: Admin, debug: Debug) -> Admin {
    let routes = Router::new()
        .route("/debug/rooms", get(rooms))
        .route("/debug/subscriptions", get(subscriptions))
        .route("/debug/connections", get(connections))
        .with_state(debug);
    admin
        .with_routes(routes)
        .describe("GET", "/debug/rooms", "rooms of this node; ?sort=members|rate&limit=&cursor=")
        .describe("GET", "/debug/subscriptions", "rooms subscribed to, and how; ?limit=&cursor=")
        .describe("GET", "/debug/connections", "clients of this node; ?sort=queue|sent&limit=&cursor=")
}

#[derive(Debug, Deserialize)]
struct PageQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    sort: Option<String>,
}

type PageQueryResult = Result<Query<PageQuery>, QueryRejection>;

/// An error of a query: its status, code and message.
struct QueryError(StatusCode, &'static str, String);

impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        let Self(status, code, message) = self;
        error_response(status, code, &message)
    }
}

/// A validated query.
struct PageRequest {
    limit: usize,
    after: Option<Rank>,
    sort: &'static str,
}

impl PageRequest {
    /// Validates a query; its sort must be one of `sorts`, of which the first is the default.
    fn parse(query: PageQueryResult, sorts: &[&'static str]) -> Result<Self, QueryError> {
        let bad = |message: String| QueryError(StatusCode::BAD_REQUEST, "bad_request", message);
        let Query(PageQuery { limit, cursor, sort }) = query
            .map_err(|_| bad(format!("limit is 1 to {MAX_LIMIT}, and each parameter may be given once")))?;
        let limit = limit.unwrap_or(LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(bad(format!("limit is 1 to {MAX_LIMIT}")));
        }
        let after = match cursor {
            Some(cursor) => Some(rank(&cursor).ok_or_else(|| bad("the cursor is invalid".into()))?),
            None => None,
        };
        let default = sorts.first().copied().unwrap_or_default();
        let sort = match sort {
            Some(sort) => sorts.iter().find(|known| **known == sort).copied(),
            None => Some(default),
        };
        let sort = sort.ok_or_else(|| bad(format!("sort is one of: {}", sorts.join(", "))))?;
        Ok(Self { limit, after, sort })
    }
}

/// A cursor is the rank of a page's last item. Ranks change between pages, so an item may appear twice or be missed.
fn cursor((Reverse(measure), name): &Rank) -> String {
    format!("{measure}:{name}")
}

fn rank(cursor: &str) -> Option<Rank> {
    let (measure, name) = cursor.split_once(':')?;
    Some((Reverse(measure.parse().ok()?), name.to_owned()))
}

/// The page's items and, unless it is the last page, the cursor of the next one.
fn page<T>(found: Vec<(Rank, T)>, limit: usize) -> (Vec<T>, Option<String>) {
    let next = found.last().filter(|_| found.len() == limit).map(|(rank, _)| cursor(rank));
    (found.into_iter().map(|(_, item)| item).collect(), next)
}

async fn rooms(State(debug): State<Debug>, query: PageQueryResult) -> Result<Response, QueryError> {
    let PageRequest { limit, after, sort } = PageRequest::parse(query, &["members", "rate"])?;
    let order = if sort == "rate" { Order::Rate } else { Order::Members };
    let (rooms, cursor) = room_page(&debug, Page { order, after, limit }).await?;
    Ok(Json(json!({ "rooms": rooms, "cursor": cursor })).into_response())
}

async fn subscriptions(State(debug): State<Debug>, query: PageQueryResult) -> Result<Response, QueryError> {
    let PageRequest { limit, after, .. } = PageRequest::parse(query, &["messages"])?;
    let (rooms, cursor) = room_page(&debug, Page { order: Order::Messages, after, limit }).await?;
    let body = json!({
        "subscribed": debug.store.bus.subscriptions(),
        "redis_up": debug.store.health.now().up,
        "subscriptions": rooms,
        "cursor": cursor,
    });
    Ok(Json(body).into_response())
}

async fn room_page(debug: &Debug, page_request: Page) -> Result<(Vec<Figures>, Option<String>), QueryError> {
    let limit = page_request.limit;
    match tokio::time::timeout(ANSWER_TIMEOUT, debug.rooms.figures(page_request)).await {
        Ok(found) => Ok(page(found, limit)),
        Err(_) => Err(QueryError(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "the rooms are too busy to answer; try again".into(),
        )),
    }
}

/// One connection, as shown to operators.
#[derive(Debug, Serialize)]
struct ConnectionRow<'a> {
    id: u64,
    /// Absent while it has no name.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserName>,
    transport: &'static str,
    namespace: &'a str,
    connected_ms: u64,
    /// Bytes queued for it, and bytes sent to it; absent if they are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_bytes: Option<u64>,
}

async fn connections(State(debug): State<Debug>, query: PageQueryResult) -> Result<Response, QueryError> {
    let PageRequest { limit, after, sort } = PageRequest::parse(query, &["queue", "sent"])?;
    let (connections, now) = (debug.registry.all(), Instant::now());
    let items = connections.iter().map(|connection: &Arc<Connection>| {
        let status = connection.outbound().status();
        let (queue, sent) = status.queued_and_sent.unwrap_or_default();
        let measure = if sort == "sent" { sent } else { queue as u64 };
        // Padded to a fixed width, so that the text sorts like the number.
        ((Reverse(measure), format!("{:020}", connection.id())), (connection, status))
    });
    let mut found = Vec::new();
    for (rank, (connection, status)) in first(items, after.as_ref(), limit) {
        let connected = now.saturating_duration_since(connection.connected_at());
        let row = ConnectionRow {
            id: connection.id(),
            user: connection.user(),
            transport: status.kind.name(),
            namespace: status.namespace,
            connected_ms: u64::try_from(connected.as_millis()).unwrap_or(u64::MAX),
            queue_bytes: status.queued_and_sent.map(|(queue, _)| queue),
            sent_bytes: status.queued_and_sent.map(|(_, sent)| sent),
        };
        found.push((rank, row));
    }
    let (connections, cursor) = page(found, limit);
    Ok(Json(json!({ "connections": connections, "cursor": cursor })).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_round_trips() {
        for rank_of_last in [(Reverse(0), String::new()), (Reverse(u64::MAX), "a:b:c ü".to_owned())] {
            assert_eq!(rank(&cursor(&rank_of_last)), Some(rank_of_last));
        }
        assert_eq!(rank("x:y"), None);
        assert_eq!(rank("7"), None);
    }

    #[test]
    fn only_a_full_page_has_a_next_one() {
        let item = |n: u64| ((Reverse(n), "r".to_owned()), n);
        assert_eq!(page(vec![item(2), item(1)], 2), (vec![2, 1], Some("1:r".to_owned())));
        assert_eq!(page(vec![item(2)], 2), (vec![2], None));
        assert_eq!(page(Vec::<(Rank, u64)>::new(), 2), (vec![], None));
    }
}
