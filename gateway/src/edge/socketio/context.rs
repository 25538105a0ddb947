//! Dependencies shared by the requests and the clients of Socket.IO. Filled by `edge/mod.rs`, read by the other files of
//! this folder.

use std::sync::Arc;

use roomcast_ops::Lifecycle;

use super::body::Bodies;
use super::dialects::DialectName;
use super::engine::{SessionConfig, Sessions};
use super::origin::Origins;
use crate::chat::Chat;
use crate::edge::peer::Peers;
use crate::hub::Registry;

/// Dependencies of clients.
pub(crate) struct ClientContext {
    pub(crate) chat: Chat,
    pub(crate) registry: Registry,
    /// The dialect of the namespace `/`.
    pub(crate) root: DialectName,
    pub(crate) lifecycle: Lifecycle,
}

/// Dependencies of the routes.
pub(crate) struct RequestContext {
    pub(crate) sessions: Sessions,
    /// What a new session needs.
    pub(crate) session: Arc<SessionConfig>,
    pub(crate) origins: Origins,
    pub(crate) bodies: Bodies,
    /// Forwarding to other gateways, if it is configured.
    pub(crate) peers: Option<Peers>,
}
