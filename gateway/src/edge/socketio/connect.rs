//! Connects and disconnects of clients: sign-in before the connect packet is answered, `welcome` right after it,
//! passing events to the [`Client`], and the disconnect. Registers the handlers with socketioxide; called by
//! `service.rs`.

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

/// A client that has signed in and whose connect packet is being answered.
struct PendingConnect {
    signed_in: SignedIn,
    started: Instant,
}

/// Registers the handlers of one namespace.
pub(super) fn mount(io: &SocketIo, context: &Arc<ClientContext>, namespace: &'static Namespace) {
    let (auth_context, connect_context) = (Arc::clone(context), Arc::clone(context));
    let authenticate = move |socket: SocketRef, TryData(auth): TryData<serde_json::Value>| async move {
        let started = Instant::now();
        // Before the client is connected: its first event may directly follow the connect packet.
        register_handlers(&auth_context, &socket);
        let sign_in = sign_in(&auth_context, &socket, auth.unwrap_or_default());
        let signed_in = trace::request("connect", Kind::Server, sign_in).await;
        let transport = TransportHandle::of(&socket, &auth_context.sessions);
        match signed_in {
            Ok(signed_in) => {
                socket.extensions.insert(Arc::new(Mutex::new(Some(PendingConnect { signed_in, started }))));
                Ok(())
            }
            Err(ClaimError::Refused(refusal)) => {
                auth_context.chat.telemetry.connections.connect_refused(refusal.code, started.elapsed());
                transport.connect_answered(&socket);
                Err(refusal.code.name())
            }
            Err(ClaimError::RetryLater) => {
                // Official clients do not retry after a connect error, but do after a closed transport.
                let draining = auth_context.lifecycle.soft().is_cancelled();
                let code = if draining { Code::Draining } else { Code::Unavailable };
                auth_context.chat.telemetry.connections.connect_refused(code, started.elapsed());
                auth_context.chat.telemetry.connections.cut("connect_must_wait");
                transport.close(&socket);
                Err(code.name())
            }
        }
    };
    let welcome = move |socket: SocketRef| {
        on_connected(&connect_context, &socket, namespace);
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
    let auth = if socket.protocol() == ProtocolVersion::V4 { auth_from_query(socket) } else { auth };
    let auth = serde_json::from_value(auth).map_err(|error| ClaimError::Refused(refusal(&error)))?;
    let signed_in = context.chat.sign_in(auth).await?;
    // Logged inside the request's span, so that the line has its `trace_id`.
    tracing::debug!(transport = ?socket.transport_type(), "client signed in");
    Ok(signed_in)
}

/// The auth of 2.x clients, whose connect packet carries none: the query of their handshake.
fn auth_from_query(socket: &SocketRef) -> serde_json::Value {
    let query = socket.req_parts().uri.query().unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    pairs.map(|(key, value)| (key.into_owned(), serde_json::Value::from(value.into_owned()))).collect()
}

/// The connect packet was answered: registers the connection and sends `welcome`.
fn on_connected(context: &ClientContext, socket: &SocketRef, namespace: &'static Namespace) {
    let pending = socket.extensions.remove::<Arc<Mutex<Option<PendingConnect>>>>();
    let Some(PendingConnect { signed_in, started }) = pending.and_then(|pending| pending.lock().take())
    else {
        tracing::error!("client connected without having signed in");
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
    context.chat.telemetry.connections.connected(kind, started.elapsed());
    socket.extensions.insert(Client::new(connection, outbound, name));
    transport.connect_answered(socket);
    if !socket.connected() {
        // It disconnected before its `Client` was registered, so that handler found none.
        on_disconnect(context, socket, DisconnectReason::TransportClose);
    }
}

fn register_handlers(context: &Arc<ClientContext>, socket: &SocketRef) {
    let (event_context, disconnect_context) = (Arc::clone(context), Arc::clone(context));
    socket.on_fallback(move |socket: SocketRef, packet: Packet| {
        match socket.extensions.get::<Arc<Client>>() {
            Some(client) => client.receive(&event_context.chat, &event_context.lifecycle, packet),
            None => tracing::debug!("event received from a client that is not connected"),
        }
        std::future::ready(())
    });
    socket.on_disconnect(move |socket: SocketRef, reason: DisconnectReason| {
        on_disconnect(&disconnect_context, &socket, reason);
        std::future::ready(())
    });
}

fn on_disconnect(context: &ClientContext, socket: &SocketRef, reason: DisconnectReason) {
    // Removed, because client and socket hold references to each other.
    let Some(client) = socket.extensions.remove::<Arc<Client>>() else { return };
    let stalled = client.outbound().stalled();
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
    client.disconnect(&context.chat, &context.lifecycle, how);
}
