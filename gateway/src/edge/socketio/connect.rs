//! Connect packets: the client signs in before its packet is answered, and is sent `welcome` right after it. Called by
//! `socket.rs`; calls `chat/` and the hub's registry.

use std::sync::Arc;
use std::time::Instant;

use roomcast_ops::trace::{self, Kind};
use roomcast_protocol::Code;
use roomcast_protocol::server::ConnectError;
use roomcast_protocol::text::replace_lone_surrogates;
use roomcast_store::Secret;
use roomcast_wire::engine::Version;
use serde_json::{Value, json};

use super::client::Client;
use super::context::ClientContext;
use super::dialect::Dialect;
use super::dialects::Namespace;
use super::engine::{Ended, Session};
use super::outbound::SocketOutbound;
use super::packet::refusal;
use crate::chat::{PersonId, SignedIn};
use crate::hub::Outbound as _;
use crate::room::Departure;
use crate::users::{ClaimError, NameHold};

/// A client's request to enter a namespace.
pub(super) struct ConnectPacket {
    pub(super) namespace: &'static Namespace,
    /// The socket's public id.
    pub(super) id: String,
    /// The auth, a JSON object; empty if there is none.
    pub(super) auth: String,
    /// The query of the namespace, which Engine.IO 3 clients use for their auth.
    pub(super) query: String,
}

/// Answers a connect packet; none if it was refused, or could not be answered and the session was closed instead.
pub(super) async fn connect(
    context: &Arc<ClientContext>,
    session: &Arc<Session>,
    packet: ConnectPacket,
) -> Option<Arc<Client>> {
    let started = Instant::now();
    let connections = &context.chat.telemetry.connections;
    let dialect = packet.namespace.dialect(context.root);
    match trace::request("connect", Kind::Server, sign_in(context, session, dialect, &packet)).await {
        Ok(signed_in) if session.has(&packet.id) => {
            Some(welcome(context, session, (&packet, dialect), signed_in, started).await)
        }
        Ok(signed_in) => {
            // The client has left the namespace again, and may have entered it anew: this answer would mislead it.
            if let Some(SignedIn { name, .. }) = signed_in {
                let how = if session.is_open() { Departure::Left } else { Departure::Dropped };
                name.release(how).await;
            }
            None
        }
        Err(ClaimError::Refused(refused)) => {
            connections.connect_refused(refused.code, started.elapsed());
            // Before the answer: the client may try again at once.
            session.leave(&packet.id);
            let error = match session.version() {
                // Java's client of that time has no event for an object.
                Version::V3 => json!(refused.code),
                Version::V4 => json!(ConnectError::from(refused)),
            };
            // A failed write ends the session elsewhere.
            session.send_connect_error(packet.namespace.path(), &error).unwrap_or_default();
            None
        }
        Err(ClaimError::RetryLater) => {
            // Official clients do not retry after a connect error, but do after a closed transport.
            let draining = context.lifecycle.soft().is_cancelled();
            let code = if draining { Code::Draining } else { Code::Unavailable };
            connections.connect_refused(code, started.elapsed());
            connections.cut("connect_must_wait");
            session.close(Ended::Server);
            None
        }
    }
}

async fn sign_in(
    context: &ClientContext,
    session: &Session,
    dialect: &dyn Dialect,
    packet: &ConnectPacket,
) -> Result<Option<SignedIn>, ClaimError> {
    if context.lifecycle.soft().is_cancelled() {
        return Err(ClaimError::RetryLater);
    }
    let auth = match session.version() {
        Version::V3 => auth_from_queries(session.query(), &packet.query),
        Version::V4 if packet.auth.is_empty() => Value::Null,
        Version::V4 => {
            let auth = replace_lone_surrogates(&packet.auth);
            serde_json::from_str(&auth).map_err(|error| ClaimError::Refused(refusal(&error)))?
        }
    };
    let Some(auth) = dialect.sign_in(auth).map_err(ClaimError::Refused)? else { return Ok(None) };
    let cookie = cookie(session, dialect.when_signed_in().unwrap_or(dialect));
    let signed_in = context.chat.sign_in(auth, cookie, session.resume_secret()).await?;
    // Logged inside the request's span, so that the line has its `trace_id`.
    tracing::debug!(transport = session.transport().name(), socket = packet.id, "client signed in");
    Ok(Some(signed_in))
}

/// The secret in the browser's cookie, for a dialect that has it.
fn cookie<'a>(session: &'a Session, dialect: &dyn Dialect) -> Option<&'a Secret> {
    session.visitor().filter(|_| dialect.uses_cookie())
}

/// The auth of Engine.IO 3 clients, whose connect packet carries none: the queries of their handshake and of the
/// namespace, of which the latter counts more.
fn auth_from_queries(handshake: &str, namespace: &str) -> Value {
    let queries = [handshake, namespace].map(|query| form_urlencoded::parse(query.as_bytes()));
    let pairs = queries.into_iter().flatten();
    pairs.map(|(key, value)| (key.into_owned(), Value::from(value.into_owned()))).collect()
}

/// Answers the packet, registers the connection and sends `welcome`, if the client signed in with a name.
async fn welcome(
    context: &Arc<ClientContext>,
    session: &Arc<Session>,
    (packet, dialect): (&ConnectPacket, &'static dyn Dialect),
    signed_in: Option<SignedIn>,
    started: Instant,
) -> Arc<Client> {
    let follows_threads = !dialect.outside().is_empty() || dialect.is_undecided();
    let person = signed_in
        .as_ref()
        .filter(|_| follows_threads)
        .map(|SignedIn { name, secret, .. }| PersonId::new(name.user(), secret));
    let (mut name, first) =
        signed_in.map(|SignedIn { name, welcome, since, .. }| (name, (welcome, since))).unzip();
    let (welcome, since) = first.unzip();
    let answer = match session.version() {
        Version::V3 => String::new(),
        Version::V4 => json!({ "sid": packet.id }).to_string(),
    };
    // A failed write ends the session elsewhere.
    session.send_packet(&["40", packet.namespace.prefix(), &answer]).unwrap_or_default();
    let dialect = dialect.when_signed_in().filter(|_| name.is_some()).unwrap_or(dialect);
    let outbound = SocketOutbound::new(packet.namespace, dialect, Arc::clone(session));
    let user = name.as_ref().map(|name| name.user().clone());
    // Before a message to everyone can be sent to it.
    let welcomed = welcome.map(|welcome| outbound.send_own(&welcome));
    let (connection, kind) = context.registry.add(user, Box::new(outbound.clone()));
    if let Some(written) = welcomed.and_then(|sent| connection.on_sent(sent)) {
        context.chat.telemetry.wire.written(&written);
    }
    if name.as_ref().is_some_and(NameHold::is_lost) {
        // Before the connection could be found by its user's name, somebody else took that name.
        connection.close("name_lost");
    }
    if let Some(name) = &mut name {
        context.chat.inboxes.follow(name, &connection, since.flatten()).await;
    }
    context.chat.telemetry.connections.connected(kind, started.elapsed());
    let cookie = cookie(session, dialect).cloned();
    Client::new(context, connection, outbound, (name, person, cookie), &packet.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_of_a_namespace_counts_more_than_that_of_the_handshake() {
        let auth = auth_from_queries("EIO=3&username=a&resume=x%26y", "username=%C3%A9");
        assert_eq!(auth, json!({ "EIO": "3", "username": "é", "resume": "x&y" }));
    }
}
