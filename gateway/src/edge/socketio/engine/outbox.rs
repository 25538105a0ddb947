//! The send queue of one session: frames, of which several connections may share the bytes, written together to its
//! WebSocket or taken by its polls. Called by `outbound.rs` (events and answers) and by this folder (packets of the
//! protocol). A queue that exceeds its bound, or from which a WebSocket takes nothing for too long, ends the session.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use parking_lot::Mutex;
use roomcast_ops::Lifecycle;
use roomcast_wire::engine::{Version, put_payload_packet};
use roomcast_wire::websocket::{Opcode, first_frame};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::frame;
use crate::edge::client_stream::ClientStream;
use crate::hub::SendError;
use crate::telemetry::{Telemetry, Written};

/// Maximum number of slices in one vectored write: more would need a larger array in the kernel.
const MAX_SLICES: usize = 64;
/// Maximum number of packets in the answer of a poll: python-socketio refuses more.
const MAX_POLL_PACKETS: usize = 16;

/// Limits of what a slow reader may queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Maximum number of bytes queued for one session.
    pub(crate) bytes: usize,
    /// Maximum time for which a WebSocket may take none of them.
    pub(crate) stall: Duration,
}

/// What is sent; decides which bound applies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sent to all members of a room: refused if the queue would exceed its bound.
    Broadcast,
    /// Like a broadcast, but left out if anything is queued.
    Volatile,
    /// Sent to this client only: refused only if the queue exceeds its bound already, whatever the size of the reply.
    Own,
}

pub(crate) struct Outbox {
    /// None while the session polls.
    stream: OnceLock<ClientStream>,
    bounds: Bounds,
    lifecycle: Lifecycle,
    telemetry: Telemetry,
    state: Mutex<State>,
    stalled: AtomicBool,
    /// Wakes a poll that waits for packets.
    polled: Notify,
}

struct State {
    open: bool,
    queue: VecDeque<Bytes>,
    bytes: usize,
    /// Queued bytes as last reported to telemetry.
    reported: usize,
    /// Queued frames, reported as written once the queue is empty.
    frames: usize,
    /// Total of written bytes.
    sent: u64,
    /// Queued bytes of replies. They do not count against the bound of broadcasts queued after them.
    answers: usize,
    /// The answer to the last ping of the WebSocket. It is written after the queue, so that a client that pings and
    /// does not read queues one answer and no more.
    pong: Option<Bytes>,
    /// A task is waiting until the socket is writable again.
    flushing: bool,
    /// Nothing is written after the queue is empty: the write side is shut down then.
    last: bool,
}

impl Outbox {
    pub(crate) fn new(
        stream: Option<ClientStream>,
        bounds: Bounds,
        lifecycle: Lifecycle,
        telemetry: Telemetry,
    ) -> Self {
        let state = State {
            open: true,
            queue: VecDeque::new(),
            bytes: 0,
            reported: 0,
            frames: 0,
            sent: 0,
            answers: 0,
            pong: None,
            flushing: false,
            last: false,
        };
        Self {
            stream: stream.map(OnceLock::from).unwrap_or_default(),
            bounds,
            lifecycle,
            telemetry,
            state: Mutex::new(state),
            stalled: AtomicBool::new(false),
            polled: Notify::new(),
        }
    }

    /// The session's WebSocket; none while it polls.
    pub(super) fn stream(&self) -> Option<&TcpStream> {
        self.stream.get().map(ClientStream::stream)
    }

    /// The telemetry, for the reading side.
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Whether the connection was closed because the client read nothing for too long.
    pub(crate) fn stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Queued bytes, and the total of written bytes.
    pub(crate) fn queued_and_sent(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.bytes, state.sent)
    }

    /// Sends `count` whole frames.
    ///
    /// # Errors
    /// They were not accepted: the session is closed, or the queue is full.
    pub(crate) fn send(
        self: &Arc<Self>,
        frames: &Bytes,
        count: usize,
        kind: Kind,
    ) -> Result<Written, SendError> {
        let mut state = self.state.lock();
        if !state.open {
            return Err(SendError::Gone);
        }
        let stream = self.stream();
        if state.queue.is_empty()
            && let Some(stream) = stream
        {
            // The common case: the queue is empty and the socket accepts everything. Calls the system directly;
            // tokio's readiness of the socket is needed only if it does not.
            let written = match socket2::SockRef::from(stream).send(frames) {
                Ok(written) if written == frames.len() => {
                    state.sent += written as u64;
                    return Ok(Written { writes: 1, frames: count, bytes: written });
                }
                Ok(written) => {
                    state.sent += written as u64;
                    self.telemetry.wire.written(&Written { writes: 1, frames: 0, bytes: written });
                    written
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return Err(SendError::Gone),
            };
            state.push(frames.slice(written..), count, kind);
            self.spawn_flush(&mut state);
            self.report_queue(&mut state);
            return Ok(Written::default());
        }
        let queued = match kind {
            Kind::Volatile if stream.is_some() => return Err(SendError::Skipped),
            Kind::Broadcast | Kind::Volatile => (state.bytes + frames.len()).saturating_sub(state.answers),
            Kind::Own => state.bytes,
        };
        if queued > self.bounds.bytes {
            return Err(SendError::SlowReader);
        }
        state.push(frames.clone(), count, kind);
        self.write(&mut state)?;
        Ok(Written::default())
    }

    /// Answers a ping of the WebSocket.
    pub(super) fn pong(self: &Arc<Self>, payload: &[u8]) {
        let mut state = self.state.lock();
        state.pong = Some(frame::control(Opcode::Pong, payload));
        // A failed write is noticed by the reading side.
        self.write(&mut state).unwrap_or_default();
    }

    /// Writes the first bytes of a WebSocket: the response to its upgrade, and packets that follow at once. What was
    /// queued for polls is written after them.
    pub(crate) fn begin(self: &Arc<Self>, first: impl IntoIterator<Item = Bytes>) -> Result<(), SendError> {
        let mut state = self.state.lock();
        for bytes in first {
            state.push(bytes, 1, Kind::Own);
        }
        self.write(&mut state)
    }

    /// Moves the session to a WebSocket, at the end of an upgrade: what is queued and all that follows is written to
    /// it.
    pub(super) fn upgrade(self: &Arc<Self>, stream: ClientStream) -> Result<(), SendError> {
        let mut state = self.state.lock();
        if !state.open || self.stream.set(stream).is_err() {
            return Err(SendError::Gone);
        }
        self.polled.notify_waiters();
        self.write(&mut state)
    }

    /// Waits until packets are queued and takes as many as one poll may carry; a packet that says nothing if the session
    /// has moved to a WebSocket; none once it is closed and its last packets are taken. `max_bytes` bounds the answer,
    /// but not a single packet.
    pub(crate) async fn poll(&self, version: Version, max_bytes: usize) -> Option<String> {
        loop {
            let mut polled = std::pin::pin!(self.polled.notified());
            polled.as_mut().enable();
            {
                let mut state = self.state.lock();
                if self.stream.get().is_some() {
                    let mut noop = String::new();
                    put_payload_packet(version, &mut noop, "6");
                    return Some(noop);
                }
                if !state.queue.is_empty() {
                    return Some(state.take_packets(version, max_bytes));
                }
                if !state.open {
                    return None;
                }
            }
            polled.await;
        }
    }

    /// Ends the session with a last frame: that of a WebSocket is written and its write side shut down; the next poll
    /// takes the close packet, if one is waiting.
    pub(super) fn finish(self: &Arc<Self>, close_status: Option<u16>) {
        let mut state = self.state.lock();
        if !state.open {
            return;
        }
        if self.stream.get().is_none() {
            state.push(frame::text(&["1"]), 1, Kind::Own);
            state.open = false;
            drop(state);
            self.polled.notify_waiters();
            return;
        }
        let status = close_status.map(u16::to_be_bytes);
        state.push(
            frame::control(Opcode::Close, status.as_ref().map_or(&[], |status| &status[..])),
            1,
            Kind::Own,
        );
        state.last = true;
        if self.write(&mut state).is_err() {
            drop(state);
            self.close();
        }
    }

    /// Drops what is queued, and shuts a WebSocket down in both directions. The reading side then sees the end of the
    /// stream, which leads to the disconnect.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.open, false) {
            return;
        }
        state.queue = VecDeque::new();
        state.bytes = 0;
        self.report_queue(&mut state);
        drop(state);
        self.polled.notify_waiters();
        if let Some(stream) = self.stream()
            && let Err(error) = socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Both)
        {
            tracing::trace!(%error, "shutdown of a connection that is closed already");
        }
    }

    /// Writes what the socket accepts; the rest is left to [`flush`], or to the next poll.
    fn write(self: &Arc<Self>, state: &mut State) -> Result<(), SendError> {
        let Some(stream) = self.stream() else {
            self.polled.notify_waiters();
            return Ok(());
        };
        if state.flushing {
            self.report_queue(state);
            return Ok(());
        }
        let tried = state.try_write(stream, &self.telemetry);
        self.report_queue(state);
        match tried {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.spawn_flush(state);
                Ok(())
            }
            Err(_) => Err(SendError::Gone),
        }
    }

    /// Reports a change of the queue's size; for most connections it never changes.
    fn report_queue(&self, state: &mut State) {
        if state.reported != state.bytes {
            self.telemetry.wire.queued(state.reported, state.bytes);
            state.reported = state.bytes;
        }
    }

    fn spawn_flush(self: &Arc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.flushing, true) {
            self.lifecycle.spawn_until_hard("slow-reader", flush(Arc::clone(self)));
        }
    }

    /// One step of [`flush`]: true when the queue is empty.
    fn flush_once(&self, stream: &TcpStream) -> io::Result<bool> {
        let mut state = self.state.lock();
        let tried = state.try_write(stream, &self.telemetry);
        self.report_queue(&mut state);
        match tried {
            Ok(()) => {
                state.flushing = false;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Writes the queue as the client reads; closes the connection if the client reads nothing for too long.
async fn flush(outbox: Arc<Outbox>) {
    let Some(stream) = outbox.stream() else { return };
    loop {
        match tokio::time::timeout(outbox.bounds.stall, stream.writable()).await {
            Ok(Ok(())) => match outbox.flush_once(stream) {
                Ok(true) => return,
                Ok(false) => {}
                Err(_) => return outbox.close(),
            },
            Ok(Err(_)) => return outbox.close(),
            Err(_) => {
                outbox.stalled.store(true, Ordering::Release);
                return outbox.close();
            }
        }
    }
}

impl State {
    fn push(&mut self, frames: Bytes, count: usize, kind: Kind) {
        self.bytes += frames.len();
        self.frames += count;
        self.answers += if kind == Kind::Own { frames.len() } else { 0 };
        self.queue.push_back(frames);
    }

    fn try_write(&mut self, stream: &TcpStream, telemetry: &Telemetry) -> io::Result<()> {
        if !self.open {
            return Err(io::ErrorKind::NotConnected.into());
        }
        loop {
            while let Some(front) = self.queue.front() {
                let written = if self.queue.len() == 1 {
                    stream.try_write(front)?
                } else {
                    let slices: Vec<IoSlice<'_>> =
                        self.queue.iter().take(MAX_SLICES).map(|bytes| IoSlice::new(bytes)).collect();
                    stream.try_write_vectored(&slices)?
                };
                self.remove(written);
                self.sent += written as u64;
                let frames = if self.queue.is_empty() { std::mem::take(&mut self.frames) } else { 0 };
                telemetry.wire.written(&Written { writes: 1, frames, bytes: written });
            }
            match self.pong.take() {
                Some(pong) if !self.last => self.push(pong, 1, Kind::Own),
                _ => break,
            }
        }
        self.answers = 0;
        // Frees the capacity that a burst needed. Broadcasts get here only if the client is slow.
        self.queue = VecDeque::new();
        if self.last {
            socket2::SockRef::from(stream).shutdown(std::net::Shutdown::Write)?;
        }
        Ok(())
    }

    /// Removes the first bytes of the queue.
    fn remove(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(front) = self.queue.front_mut() {
            if count < front.len() {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.queue.pop_front();
        }
    }

    /// The packets of one poll.
    fn take_packets(&mut self, version: Version, max_bytes: usize) -> String {
        let mut out = String::new();
        for _ in 0..MAX_POLL_PACKETS {
            let Some((packet, end)) = self.queue.front().and_then(|front| first_frame(front)) else { break };
            if !out.is_empty() && out.len() + packet.len() > max_bytes {
                break;
            }
            // Frames for polls are text that this process has encoded.
            put_payload_packet(version, &mut out, &String::from_utf8_lossy(packet));
            self.sent += packet.len() as u64;
            self.frames = self.frames.saturating_sub(1);
            self.remove(end);
        }
        if self.queue.is_empty() {
            self.answers = 0;
            self.queue = VecDeque::new();
        }
        out
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
