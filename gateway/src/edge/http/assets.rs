//! The web UI and the pages of the classic chats, embedded in the binary and served with a restrictive content
//! security policy. Called by `mod.rs` and `pages.rs`.

use axum::Router;
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::HeaderValue;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; \
                      object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A file, and its type.
#[derive(Clone, Copy)]
pub(super) struct Asset {
    content_type: &'static str,
    body: &'static str,
}

macro_rules! asset {
    ($file:expr, $type:literal) => {
        Asset {
            content_type: concat!("text/", $type, "; charset=utf-8"),
            body: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/ui/dist/", $file)),
        }
    };
}

/// The page, the script and the style of one classic chat.
macro_rules! page {
    ($name:literal) => {
        [
            (concat!("/classic/", $name), asset!(concat!("classic/", $name, "/index.html"), "html")),
            (
                concat!("/classic/", $name, "/page.js"),
                asset!(concat!("classic/", $name, "/page.js"), "javascript"),
            ),
            (
                concat!("/classic/", $name, "/page.css"),
                asset!(concat!("classic/", $name, "/page.css"), "css"),
            ),
        ]
    };
}

/// The web UI.
pub(super) const UI: Asset = asset!("index.html", "html");
/// The page of a chat room of `flask-chat-app`.
pub(super) const FLASK_CHAT_APP_ROOM: Asset = asset!("classic/flask-chat-app/chat.html", "html");
/// The page for addresses that do not exist.
pub(super) const NOT_FOUND: Asset = asset!("classic/404.html", "html");

/// Files of the web UI, and what the pages of the classic chats share.
const FILES: [(&str, Asset); 7] = [
    ("/app.js", asset!("app.js", "javascript")),
    ("/app.css", asset!("app.css", "css")),
    ("/classic/image.js", asset!("classic/image.js", "javascript")),
    ("/classic/client-2.2.0.js", asset!("classic/client-2.2.0.js", "javascript")),
    ("/classic/client-3.0.5.js", asset!("classic/client-3.0.5.js", "javascript")),
    ("/classic/client-3.1.1.js", asset!("classic/client-3.1.1.js", "javascript")),
    ("/classic/client-4.8.4.js", asset!("classic/client-4.8.4.js", "javascript")),
];

const PAGES: [[(&str, Asset); 3]; 5] =
    [page!("flocker"), page!("abidev"), page!("flask-chat-app"), page!("ribbit"), page!("private-rooms")];

/// The names of the classic chats whose pages there are.
pub(super) fn page_names() -> impl Iterator<Item = &'static str> {
    PAGES
        .iter()
        .flatten()
        .filter_map(|(path, _)| path.strip_prefix("/classic/").filter(|name| !name.contains('/')))
}

/// The page at an address.
pub(super) fn page(path: &str) -> Option<Asset> {
    PAGES.iter().flatten().find(|(at, _)| *at == path).map(|(_, asset)| *asset)
}

pub(super) fn respond(Asset { content_type, body }: Asset) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // The files change with the binary and are small, so browsers revalidate them each time.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, body).into_response()
}

/// Lets pages show images of this URL's origin, too; an empty one is their own origin.
pub(super) fn allow_images<S: Clone + Send + Sync + 'static>(pages: Router<S>, url: &str) -> Router<S> {
    let origin = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    let policy = POLICY.replace("img-src 'self'", &format!("img-src 'self' {origin}"));
    let Ok(policy) = HeaderValue::try_from(policy) else { return pages };
    if url.is_empty() {
        return pages;
    }
    pages.layer(map_response(move |mut response: Response| {
        if let Some(header) = response.headers_mut().get_mut(CONTENT_SECURITY_POLICY) {
            *header = policy.clone();
        }
        std::future::ready(response)
    }))
}

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let files = FILES.iter().chain(PAGES.iter().flatten());
    files.fold(Router::new(), |router, (path, asset)| {
        router.route(path, get(move || std::future::ready(respond(*asset))))
    })
}
