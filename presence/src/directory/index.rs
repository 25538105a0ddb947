//! `GET /`: what there is, for people who try the address in a browser.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

/// What there is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IndexBody {
    /// `roomcast-presence`.
    #[schema(value_type = String)]
    service: &'static str,
    /// Its version.
    #[schema(value_type = String)]
    version: &'static str,
    /// What can be asked for.
    endpoints: &'static [Endpoint],
}

/// Something that can be asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Endpoint {
    /// Where.
    #[schema(value_type = String)]
    path: &'static str,
    /// What is answered.
    #[schema(value_type = String)]
    does: &'static str,
}

const ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/rooms", does: "the rooms there are, with how many users are online in each" },
    Endpoint { path: "/rooms/{room}/users", does: "who is online in a room" },
    Endpoint { path: "/users/{user}", does: "whether a user is online, through which nodes, in which rooms" },
    Endpoint { path: "/nodes", does: "the gateways of the cluster" },
    Endpoint { path: "/openapi.json", does: "this API, as OpenAPI" },
];

/// What there is
#[utoipa::path(
    get, path = "/", operation_id = "index", tag = "about",
    responses((status = 200, description = "The endpoints", body = IndexBody))
)]
pub(super) async fn index() -> Json<IndexBody> {
    Json(IndexBody { service: "roomcast-presence", version: env!("CARGO_PKG_VERSION"), endpoints: ENDPOINTS })
}
