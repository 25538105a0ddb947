//! `GET /nodes`: the gateways of the cluster. Reads the store's nodes.

use axum::Json;
use axum::extract::State;
use roomcast_store::NodeLease;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::extract::{Page, PageQuery};
use super::state::Directory;

/// A page of nodes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodesBody {
    /// Nodes with a lease, in the order of their incarnations.
    nodes: Vec<NodeBody>,
    /// Where the next page begins; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cursor: Option<String>,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeBody {
    /// This life of the node: a new one begins with every start, and after its lease ran out.
    #[schema(example = "8d1f0c6a52b7e394")]
    incarnation: String,
    /// Its name, as clients see it in `welcome`; absent where the node never said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
    /// Its version; absent likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    version: Option<String>,
    /// Milliseconds until its lease runs out unless it is renewed; 0 where it ran out just now, and the
    /// node's users are about to leave.
    lease_remaining_ms: u64,
}

impl From<NodeLease> for NodeBody {
    fn from(node: NodeLease) -> Self {
        let (name, version) = node.info.map(|info| (info.name, info.version)).unzip();
        Self {
            incarnation: node.incarnation.as_str().to_owned(),
            name,
            version,
            lease_remaining_ms: u64::try_from(node.remaining.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// The gateways of the cluster
#[utoipa::path(
    get, path = "/nodes", operation_id = "nodes", tag = "directory", params(PageQuery),
    responses(
        (status = 200, description = "A page of nodes", body = NodesBody),
        (status = 400, description = "A bad limit or cursor", body = ErrorBody),
        (status = 503, description = "Redis cannot be reached; retry after the seconds of Retry-After",
            body = ErrorBody, headers(("Retry-After" = u32))),
    )
)]
pub(super) async fn nodes(
    State(directory): State<Directory>,
    page: Page,
) -> Result<Json<NodesBody>, ApiError> {
    let nodes = directory.store.nodes.list().await.map_err(|error| directory.store_error(&error))?;
    Ok(Json(cut(nodes, &page)))
}

/// The page after the node that `cursor` names. That node need not exist any more.
fn cut(mut nodes: Vec<NodeLease>, page: &Page) -> NodesBody {
    nodes.sort_by(|a, b| a.incarnation.cmp(&b.incarnation));
    if let Some(after) = &page.cursor {
        nodes.retain(|node| node.incarnation.as_str() > after.as_str());
    }
    let more = nodes.len() > page.limit;
    nodes.truncate(page.limit);
    let nodes: Vec<NodeBody> = nodes.into_iter().map(NodeBody::from).collect();
    let cursor = page.next(nodes.last().filter(|_| more).map(|last| last.incarnation.clone()));
    NodesBody { nodes, cursor }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use roomcast_store::Incarnation;

    use super::*;

    #[test]
    fn pages_hold_every_node_once() {
        let node = |word: &&str| NodeLease {
            incarnation: Incarnation::new(word),
            info: None,
            remaining: Duration::from_millis(7),
        };
        let nodes: Vec<_> = ["c", "a", "e", "b", "d"].iter().map(node).collect();
        let page = |after: Option<&str>, limit| {
            let body = cut(nodes.clone(), &Page::new(after.map(str::to_owned), limit));
            let words: Vec<_> = body.nodes.into_iter().map(|node| node.incarnation).collect();
            (words.concat(), body.cursor.is_some())
        };
        assert_eq!(page(None, 2), ("ab".into(), true));
        assert_eq!(page(Some("b"), 2), ("cd".into(), true));
        assert_eq!(page(Some("d"), 2), ("e".into(), false));
        assert_eq!(page(None, 5), ("abcde".into(), false), "no empty page after the last");
        assert_eq!(page(Some("bb"), 1), ("c".into(), true), "after a node that is gone");
    }
}
