//! One member's socket: writes bytes now or when the socket is writable, and reads them as they arrive. Called by
//! `swarm`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Result, bail};
use socket2::{Domain, Socket, Type};

use crate::dialect::{Dialect, MemberId};
use crate::poll::Poll;
use crate::tally::Tally;
use crate::ws;

/// The receive buffer of the member that will stop reading, and the longest segment it accepts: the smallest that IP
/// allows. The kernel's buffers on both sides depend on these. Those of loopback would hold megabytes, minutes of a
/// room's messages, before the server can notice that the member does not read.
const SMALL_BUFFER: usize = 4 * 1024;
const SEGMENT: u32 = 536;

/// Connects, from an address if one is given; `slow_reader` for the member that will stop reading.
pub(super) fn connect(
    address: SocketAddr,
    source: Option<SocketAddr>,
    slow_reader: bool,
) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if slow_reader {
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
        socket.set_tcp_mss(SEGMENT)?;
    }
    if let Some(source) = source {
        // As it was left by an earlier run.
        socket.set_reuse_address(true)?;
        match socket.bind(&source.into()) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                socket.bind(&SocketAddr::new(source.ip(), 0).into())?;
            }
            bound => bound?,
        }
    }
    socket.connect(&address.into())?;
    Ok(socket.into())
}

pub(super) struct Member {
    stream: TcpStream,
    /// Its place among the members of this process, by which it is polled.
    pub(super) token: usize,
    pub(super) who: MemberId,
    /// Its place among the members of its room.
    pub(super) index: u32,
    pub(super) upgrading: bool,
    pub(super) joined: bool,
    /// When it began to connect, in nanoseconds since the swarm began.
    pub(super) opened_ns: u64,
    pub(super) inbound: Vec<u8>,
    waiting: Vec<u8>,
    calls: u32,
    pub(super) tally: Tally,
}

impl Member {
    pub(super) fn new(
        stream: TcpStream,
        token: usize,
        who: MemberId,
        index: u32,
        upgrading: bool,
        opened_ns: u64,
    ) -> Self {
        let (inbound, waiting) = (Vec::new(), Vec::new());
        Self {
            stream,
            token,
            who,
            index,
            upgrading,
            joined: false,
            opened_ns,
            inbound,
            waiting,
            calls: 0,
            tally: Tally::default(),
        }
    }

    /// Writes what fits, and keeps the rest.
    pub(super) fn write(&mut self, poll: &Poll, bytes: &[u8]) -> Result<()> {
        let mut taken = 0;
        if self.waiting.is_empty() {
            taken = or_later(self.stream.write(bytes))?;
        }
        if let Some(rest @ [_, ..]) = bytes.get(taken..) {
            self.waiting.extend_from_slice(rest);
            poll.writing(&self.stream, self.token as u64, true)?;
        }
        Ok(())
    }

    /// Writes what was kept.
    pub(super) fn flush(&mut self, poll: &Poll) -> Result<()> {
        let taken = or_later(self.stream.write(&self.waiting))?;
        self.waiting.drain(..taken);
        if self.waiting.is_empty() {
            self.waiting.shrink_to_fit();
            poll.writing(&self.stream, self.token as u64, false)?;
        }
        Ok(())
    }

    /// A text frame.
    pub(super) fn send_text(&mut self, poll: &Poll, text: &str) -> Result<()> {
        let mut out = Vec::with_capacity(text.len() + 8);
        ws::push_masked(&mut out, ws::TEXT, text.as_bytes(), [0x37, 0xfa, 0x21, 0x3d]);
        self.write(poll, &out)
    }

    /// The answer to a WebSocket ping.
    pub(super) fn pong(&mut self, poll: &Poll, payload: &[u8]) -> Result<()> {
        let mut out = Vec::new();
        ws::push_masked(&mut out, ws::PONG, payload, [0x37, 0xfa, 0x21, 0x3d]);
        self.write(poll, &out)
    }

    /// A message to its room.
    pub(super) fn send(
        &mut self,
        poll: &Poll,
        dialect: Dialect,
        number: u32,
        text: &str,
        key: [u8; 4],
    ) -> Result<()> {
        self.calls += 1;
        let mut out = Vec::with_capacity(text.len() + 256);
        dialect.send(&mut out, self.who, self.calls, number, text, key);
        self.write(poll, &out)
    }

    /// Is not polled any more. Its socket stays open.
    pub(super) fn ignore(&self, poll: &Poll) -> std::io::Result<()> {
        poll.remove(&self.stream)
    }

    /// Reads once; none where no bytes are available.
    pub(super) fn read(&mut self, chunk: &mut [u8]) -> Result<Option<usize>> {
        match self.stream.read(chunk) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(count) => Ok(Some(count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn or_later(result: std::io::Result<usize>) -> std::io::Result<usize> {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        other => other,
    }
}
