//! A TCP connection of a client, with its place among the connections that the node accepts (`accept.rs`): the place is
//! free again once the connection is closed, whoever holds it by then.

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

#[derive(Debug)]
pub(crate) struct ClientStream {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl ClientStream {
    pub(super) fn new(stream: TcpStream, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { stream, _place: place }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl From<TcpStream> for ClientStream {
    fn from(stream: TcpStream) -> Self {
        Self::new(stream, None)
    }
}
