//! `GET /classic/ribbit/threads/ID/messages`: a page of a thread's history, oldest message first, as objects of `ribbit`.
//! With the rights of `history`: the user must be in the thread, and says who it is by `Authorization: Basic`, the name
//! and its `resume` secret. Called by `mod.rs`; calls `chat/history.rs`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use roomcast_ops::error_response;
use roomcast_protocol::client::{ConnectAuth, History};
use roomcast_protocol::limits::MAX_PAGE;
use roomcast_protocol::{Code, Refusal, RoomName, UserName};
use serde_json::json;

use crate::chat::Chat;
use crate::edge::socketio::{Origins, ribbit_message};

pub(super) fn routes(origins: Origins) -> Router<Chat> {
    let messages = async move |chat: State<Chat>, thread, query: RawQuery, request: Request| {
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
            Method::GET => page(&chat, thread, query, request.headers()).await.unwrap_or_else(refused),
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
    thread: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let auth = auth(headers)?;
    let (before, limit) = which(query.as_deref().unwrap_or_default())?;
    let Ok(Path(thread)) = thread else {
        return Err(Refusal::new(Code::BadRoom, "the name of the thread is not UTF-8"));
    };
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

/// Which page a query asks for: the offset before which it ends, and its length.
fn which(query: &str) -> Result<(Option<u64>, Option<usize>), Refusal> {
    let (mut before, mut limit) = (None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let bad = |why: String| Refusal::new(Code::BadRequest, why);
        match &*name {
            "before" => {
                let offset = value.parse().map_err(|_| bad("before must be an offset, a number".into()))?;
                before = Some(offset);
            }
            "limit" => {
                let length = value.parse().map_err(|_| bad(format!("limit must be 1 to {MAX_PAGE}")))?;
                limit = Some(length);
            }
            _ => {}
        }
    }
    Ok((before, limit))
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
    let Refusal { code, message, .. } = refusal;
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
    fn a_page_is_asked_for_by_numbers() {
        assert_eq!(which("").unwrap(), (None, None));
        assert_eq!(which("before=7&limit=20&new=x").unwrap(), (Some(7), Some(20)));
        for (query, message) in [
            ("limit=-1", "limit must be 1 to 200"),
            ("limit=many", "limit must be 1 to 200"),
            ("before=abc", "before must be an offset, a number"),
            ("before=", "before must be an offset, a number"),
        ] {
            let refusal = which(query).unwrap_err();
            assert_eq!((refusal.code, &*refusal.message), (Code::BadRequest, message), "{query}");
        }
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
