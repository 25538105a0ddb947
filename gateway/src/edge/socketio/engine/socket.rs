//! What a session knows of its client in one namespace. Implemented by `../socket.rs`; called by `session.rs` and
//! `attachments.rs`.

use std::sync::Arc;

use super::super::dialects::Namespace;
use super::super::packet::Packet;
use super::super::threads::Notice;
use crate::room::Departure;

/// A client in one namespace. No method blocks.
pub(crate) trait Socket: Send + Sync {
    fn namespace(&self) -> &'static Namespace;

    /// The id that the client, and whoever it shows it to, know it by. It is no secret.
    fn id(&self) -> &str;

    /// Handles the connect packet: `auth` is JSON or empty, `query` that of the namespace.
    fn connect(self: Arc<Self>, auth: String, query: String);

    /// Whether an event of this name may carry an image, so that its packet may be longer than others.
    fn may_be_long(&self, event: &str) -> bool;

    /// An event of the client.
    fn receive(self: Arc<Self>, packet: Packet);

    /// The hub tells the client's task of something that is not sent to the client.
    fn notice(self: Arc<Self>, notice: Notice);

    /// The session moved from long-polling to a WebSocket.
    fn upgraded(&self);

    /// The client left the namespace, or its session ended for the reason of this label.
    fn disconnect(self: Arc<Self>, how: Departure, label: &'static str);
}
