//! A client comes and goes: signing in before the connect packet is answered, `welcome` right after it, its
//! events to its [`Client`], its departure. Registers everything with socketioxide; called by `service.rs`.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use roomcast_ops::trace::{self, Kind};
use roomcast_protocol::Code;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::socket::DisconnectReason;
use socketioxide::{ProtocolVersion, SocketIo};

use super::client::Client;
use super::context::ClientContext;
use super::dialects::Namespace;
use super::outbound::SocketOutbound;
use super::packet::{Packet, refusal};
use super::transport::TransportHandle;

use crate::chat::SignedIn;
use crate::room::Departure;
use crate::users::ClaimError;

/// A client that signed in and whose connect packet is being answered.
struct Admission {
    signed_in: SignedIn,
    began: Instant,
}

/// Puts the vocabulary of a namespace on it.
pub(super) fn mount(io: &SocketIo, context: &Arc<ClientContext>, namespace: &'static Namespace) {
    let (admitting, welcoming) = (Arc::clone(context), Arc::clone(context));
    let authenticate = move |socket: SocketRef, TryData(auth): TryData<serde_json::Value>| async move {
        let began = Instant::now();
        // Now, and not once the client is connected: its first event may be right behind.
        register(&admitting, &socket);
        let sign_in = sign_in(&admitting, &socket, auth.unwrap_or_default());
        let signed_in = trace::request("connect", Kind::Server, sign_in).await;
        let transport = TransportHandle::of(&socket, &admitting.sessions);
        match signed_in {
            Ok(signed_in) => {
                socket.extensions.insert(Arc::new(Mutex::new(Some(Admission { signed_in, began }))));
                Ok(())
            }
            Err(ClaimError::Refused(refusal)) => {
                admitting.chat.telemetry.connections.connect_refused(refusal.code, began.elapsed());
                transport.connect_answered(&socket);
                Err(refusal.code.name())
            }
            Err(ClaimError::RetryLater) => {
                // Stock clients do not try again after a refusal, but do when the transport goes.
                let draining = admitting.lifecycle.soft().is_cancelled();
                let code = if draining { Code::Draining } else { Code::Unavailable };
                admitting.chat.telemetry.connections.connect_refused(code, began.elapsed());
                admitting.chat.telemetry.connections.cut("connect_must_wait");
                transport.close(&socket);
                Err(code.name())
            }
        }
    };
    let welcome = move |socket: SocketRef| {
        begin(&welcoming, &socket, namespace);
        std::future::ready(())
    };
    io.ns(namespace.path(), welcome.with(authenticate));
}

async fn sign_in(
    context: &ClientContext,
    socket: &SocketRef,
    auth: serde_json::Value,
) -> Result<SignedIn, ClaimError> {
    if context.lifecycle.soft().is_cancelled() {
        return Err(ClaimError::RetryLater);
    }
    let auth = if socket.protocol() == ProtocolVersion::V4 { from_query(socket) } else { auth };
    let auth = serde_json::from_value(auth).map_err(|error| ClaimError::Refused(refusal(&error)))?;
    let signed_in = context.chat.sign_in(auth).await?;
    // Here and not where it is counted: the line belongs to the request, and bears its `trace_id`.
    tracing::debug!(transport = ?socket.transport_type(), "a client signed in");
    Ok(signed_in)
}

/// What 2.x clients, whose connect packet carries nothing, say in the query of their handshake.
fn from_query(socket: &SocketRef) -> serde_json::Value {
    let query = socket.req_parts().uri.query().unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.map(|(key, value)| (key.into_owned(), serde_json::Value::from(value.into_owned()))).collect()
}

/// The connect packet was answered: the client is connected.
fn begin(context: &ClientContext, socket: &SocketRef, namespace: &'static Namespace) {
    let admission = socket.extensions.remove::<Arc<Mutex<Option<Admission>>>>();
    let Some(Admission { signed_in, began }) = admission.and_then(|admission| admission.lock().take()) else {
        tracing::error!("a client was connected that had not signed in");
        return;
    };
    let SignedIn { name, welcome } = signed_in;
    let transport = TransportHandle::of(socket, &context.sessions);
    let outbound = SocketOutbound::new(namespace, socket.clone(), transport.clone());
    let (connection, kind) = context.registry.add(name.user().clone(), Box::new(outbound.clone()));
    if name.is_lost() {
        // Before the connection could be found by its user's name, somebody else took that name.
        connection.close("name_lost");
    }
    connection.send_own(&welcome);
    context.chat.telemetry.connections.connected(kind, began.elapsed());
    socket.extensions.insert(Client::new(connection, outbound, name));
    transport.connect_answered(socket);
    if !socket.connected() {
        // It went while it was being welcomed, and its departure found nobody.
        depart(context, socket, DisconnectReason::TransportClose);
    }
}

fn register(context: &Arc<ClientContext>, socket: &SocketRef) {
    let (receiving, departing) = (Arc::clone(context), Arc::clone(context));
    socket.on_fallback(move |socket: SocketRef, packet: Packet| {
        match socket.extensions.get::<Arc<Client>>() {
            Some(client) => client.receive(&receiving.chat, &receiving.lifecycle, packet),
            None => tracing::debug!("an event came from a client that is not connected"),
        }
        std::future::ready(())
    });
    socket.on_disconnect(move |socket: SocketRef, reason: DisconnectReason| {
        depart(&departing, &socket, reason);
        std::future::ready(())
    });
}

fn depart(context: &ClientContext, socket: &SocketRef, reason: DisconnectReason) {
    // Taken out, for it holds the socket that holds it.
    let Some(client) = socket.extensions.remove::<Arc<Client>>() else { return };
    let stalled = client.connection().outbound().stalled();
    let (how, label) = match reason {
        _ if stalled => (Departure::Dropped, "stalled"),
        DisconnectReason::ClientNSDisconnect => (Departure::Left, "client"),
        DisconnectReason::HeartbeatTimeout => (Departure::Dropped, "heartbeat"),
        DisconnectReason::TransportClose => (Departure::Dropped, "transport_close"),
        DisconnectReason::TransportError => (Departure::Dropped, "transport_error"),
        DisconnectReason::PacketParsingError => (Departure::Dropped, "bad_packet"),
        _ => (Departure::Dropped, "server"),
    };
    if stalled {
        context.chat.telemetry.connections.cut("stalled");
    }
    let kind = context.registry.remove(client.connection());
    context.chat.telemetry.connections.disconnected(kind, label);
    client.depart(&context.chat, &context.lifecycle, how);
}
