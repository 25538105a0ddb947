//! `GET /classic/ribbit/threads/ID/messages`: a page of a thread's history, oldest message first, as objects of `ribbit`.
//! With the rights of `history`: the user must be in the thread, and says who it is by `Authorization: Basic`, the name
//! and its `resume` secret. Called by `mod.rs`; calls `chat/history.rs`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use roomcast_ops::error_response;
use roomcast_protocol::client::{ConnectAuth, History};
use roomcast_protocol::{Code, Refusal, RoomName, UserName};
use serde::Deserialize;
use serde_json::json;

use crate::chat::Chat;
use crate::edge::socketio::{Origins, ribbit_message};

/// The query of a page.
#[derive(Debug, Deserialize)]
struct PageQuery {
    before: Option<u64>,
    limit: Option<usize>,
}

pub(super) fn routes(origins: Origins) -> Router<Chat> {
    let messages = async move |chat: State<Chat>, thread: Path<String>, query, request: Request| {
        let cors = match origins.check(&request) {
            Ok(cors) => cors,
            Err(origin) => {
                origin.report(&chat.telemetry, false);
                let why = "this origin is not allowed";
                return error_response(StatusCode::FORBIDDEN, "origin_not_allowed", why);
            }
        };
        let mut response = match *request.method() {
            Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
            Method::GET => page(&chat, &thread, query, request.headers()).await.unwrap_or_else(refused),
            _ => error_response(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "a thread's messages are read with GET",
            ),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        cors.add_to(headers);
        response
    };
    Router::new().route("/classic/ribbit/threads/{thread}/messages", any(messages))
}

async fn page(
    chat: &Chat,
    thread: &str,
    query: Result<Query<PageQuery>, QueryRejection>,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let auth = auth(headers)?;
    let bad_query = |rejection: QueryRejection| Refusal::new(Code::BadRequest, rejection.body_text());
    let Query(PageQuery { before, limit }) = query.map_err(bad_query)?;
    let room = RoomName::parse(thread.trim())?;
    let page = chat.history_of(auth, History { room: Some(room), to: None, before, limit }).await?;
    let encode = |message| match ribbit_message(message) {
        Ok(encoded) => encoded,
        Err(error) => {
            tracing::error!(%error, "failed to encode a message");
            None
        }
    };
    let messages: Vec<_> = page.messages.iter().filter_map(|message| encode(message)).collect();
    Ok(Json(json!({ "messages": messages, "more": page.more })).into_response())
}

/// The name and its secret, of `Authorization: Basic`.
fn auth(headers: &HeaderMap) -> Result<ConnectAuth, Refusal> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, credentials) = value.split_once(' ').unwrap_or_default();
    let decoded =
        BASE64_STANDARD.decode(credentials.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|decoded| decoded.split_once(':')) {
        Some((name, resume)) if scheme.eq_ignore_ascii_case("basic") => {
            Ok(ConnectAuth { username: UserName::parse(name)?, resume: Some(resume.to_owned()), since: None })
        }
        _ => {
            let why = "send Authorization: Basic with the name and the resume secret of your connection";
            Err(Refusal::new(Code::BadUsername, why))
        }
    }
}

fn refused(refusal: Refusal) -> Response {
    let Refusal { code, message } = refusal;
    let status = match code {
        Code::BadUsername => StatusCode::UNAUTHORIZED,
        Code::NotJoined => StatusCode::FORBIDDEN,
        _ if code.number() < 3000 => StatusCode::BAD_REQUEST,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = error_response(status, code.name(), &message);
    if status == StatusCode::UNAUTHORIZED {
        // Not `Basic`: browsers would ask for a password in a window of their own.
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("xBasic realm=\"roomcast\""));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Result<(String, Option<String>), Code> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())]);
        let found = auth(&headers).map_err(|refusal| refusal.code)?;
        Ok((found.username.to_string(), found.resume))
    }

    #[test]
    fn a_name_and_its_secret_are_read() {
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert_eq!(of(&basic("Жо:a:b")), Ok(("Жо".into(), Some("a:b".into()))));
        assert_eq!(of(&basic("ann:x").replace("Basic", "basic")), Ok(("ann".into(), Some("x".into()))));
        for bad in ["", "Basic", "Basic !", "Bearer YTpi", &basic("ann"), &basic(":x"), &basic("@ann:x")] {
            assert_eq!(of(bad), Err(Code::BadUsername), "{bad}");
        }
        assert!(auth(&HeaderMap::new()).is_err());
    }

    #[test]
    fn every_code_has_a_status() {
        for (code, status) in [
            (Code::BadUsername, 401),
            (Code::NotJoined, 403),
            (Code::BadRequest, 400),
            (Code::BadRoom, 400),
            (Code::Unavailable, 503),
        ] {
            assert_eq!(refused(Refusal::new(code, "no")).status().as_u16(), status);
        }
    }
}
