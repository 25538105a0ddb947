//! Why sessions end. Named by the transports and the sessions themselves.

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Nothing came from the client for an interval and a timeout.
    Heartbeat,
    /// The client closed the transport, or sent the packet that closes the session.
    TransportClose,
    /// The client used the transport wrongly.
    TransportError,
    /// A packet could not be decoded, or may not come now.
    BadPacket,
    /// A packet is longer than what is read.
    TooLong,
    /// No namespace was chosen in time.
    NoNamespace,
    /// The gateway closed it.
    Server,
}

impl Ended {
    /// The value of the metric's label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::TransportClose => "transport_close",
            Self::TransportError | Self::TooLong => "transport_error",
            Self::BadPacket => "bad_packet",
            Self::NoNamespace | Self::Server => "server",
        }
    }
}
