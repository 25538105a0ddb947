//! Addresses that are more than a file: `/`, which is the page of the chat whose dialect `/` speaks, the chat room of
//! `flask-chat-app`, and what answers where nothing is. Called by `mod.rs`.

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, RawQuery};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{MethodRouter, get};
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
    let router = Router::new()
        .route("/", page_of(page))
        .route("/native/", page_of(UI))
        .route("/native", leads_to("native/".into()))
        .route("/hello", get(async || "Hello World"))
        .route("/chat", get(chat_room))
        .route("/chat/", get(async |RawQuery(query)| room_without_slash(query)));
    assets::page_names().fold(router, |router, name| {
        router.route(&format!("/classic/{name}/"), leads_to(format!("../{name}")))
    })
}

/// An address with a slash too many, or one too few. The page's own is relative: a proxy may serve it below a path.
fn leads_to<S: Clone + Send + Sync + 'static>(page: String) -> MethodRouter<S> {
    get(move || std::future::ready(Redirect::permanent(&page)))
}

fn room_without_slash(query: Option<String>) -> Redirect {
    Redirect::permanent(&format!("../chat?{}", query.unwrap_or_default()))
}

/// The page reads name and room from its own address, and joins by its first event; this signs nobody in.
async fn chat_room(query: Result<Query<ChatRoom>, QueryRejection>) -> Response {
    match query {
        Ok(Query(ChatRoom { username, room })) if !username.trim().is_empty() && !room.trim().is_empty() => {
            respond(FLASK_CHAT_APP_ROOM)
        }
        _ => Redirect::to("/").into_response(),
    }
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
