//! Addresses that are more than a file: `/`, which is the page of the chat whose dialect `/` speaks, the chat room of
//! `flask-chat-app`, and what answers where nothing is. Called by `mod.rs`.

use axum::Router;
use axum::extract::Query;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::assets::{self, Asset, FLASK_CHAT_APP_ROOM, NOT_FOUND, UI, respond};

/// The query of a chat room's page.
#[derive(Debug, Deserialize)]
struct ChatRoom {
    #[serde(default)]
    username: String,
    #[serde(default)]
    room: String,
}

/// `root` is the name of the classic chat whose page `/` is, if any.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(root: Option<&str>) -> Router<S> {
    let page = root.and_then(|name| assets::page(&format!("/classic/{name}"))).unwrap_or(UI);
    let page_of = |asset: Asset| get(move || std::future::ready(respond(asset)));
    Router::new()
        .route("/", page_of(page))
        .route("/native/", page_of(UI))
        .route("/hello", get(async || "Hello World"))
        .route("/chat", get(chat_room))
}

/// The page reads name and room from its own address, and joins by its first event; this signs nobody in.
async fn chat_room(query: Query<ChatRoom>) -> Response {
    let Query(ChatRoom { username, room }) = query;
    if username.trim().is_empty() || room.trim().is_empty() {
        return Redirect::to("/").into_response();
    }
    respond(FLASK_CHAT_APP_ROOM)
}

/// Whether a request asks for a page, as browsers do.
pub(crate) fn asks_for_a_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accepts.is_some_and(|accepts| accepts.contains("text/html"))
}

/// The page for an address that does not exist.
pub(crate) fn not_found() -> Response {
    (StatusCode::NOT_FOUND, respond(NOT_FOUND)).into_response()
}
