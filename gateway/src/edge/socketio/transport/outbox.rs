//! The send queue of one WebSocket: socketioxide's frames and the gateway's own frames, in one queue of shared bytes,
//! written together. Called by `stream.rs` (socketioxide's bytes) and by `outbound.rs` (own frames). A queue that
//! exceeds its bound, or from which the peer reads nothing for too long, ends the connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use parking_lot::Mutex;
use roomcast_ops::Lifecycle;
use tokio::net::TcpStream;

use super::super::dialects::Namespace;
use super::frame::{FrameEvent, scan_frames};
use crate::hub::{Encoding, SendError};
use crate::telemetry::{Telemetry, Written};

/// Maximum number of slices in one vectored write: more would need a larger array in the kernel.
const MAX_SLICES: usize = 64;

/// Limits of what a slow reader may queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Maximum number of bytes queued for one connection.
    pub(crate) bytes: usize,
    /// Maximum time for which a peer may read none of them.
    pub(crate) stall: Duration,
}

pub(crate) struct Outbox {
    stream: TcpStream,
    bounds: Bounds,
    lifecycle: Lifecycle,
    telemetry: Telemetry,
    state: Mutex<State>,
    stalled: AtomicBool,
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
    /// Own frames that must not yet be queued: not before the answer to their namespace's connect packet, and not
    /// between a packet and its attachments.
    waiting: VecDeque<(&'static Namespace, Bytes)>,
    /// Namespaces whose connect packet has been answered.
    connected: NamespaceSet,
    /// Binary frames still to come from socketioxide for its last packet.
    attachments: usize,
    /// Nothing is written until [`Outbox::release_first_packets`].
    held: bool,
    /// Queued bytes of replies. They do not count against the bound of broadcasts queued after them.
    answers: usize,
    /// A task is waiting until the socket is writable again.
    flushing: bool,
}

/// A set of namespaces, one bit each.
#[derive(Default)]
struct NamespaceSet(u16);

const _: () = assert!(Encoding::MAX <= 16);

impl NamespaceSet {
    fn contains(&self, namespace: &Namespace) -> bool {
        self.0 & (1 << namespace.encoding().index()) != 0
    }

    fn insert(&mut self, namespace: &Namespace) {
        self.0 |= 1 << namespace.encoding().index();
    }
}

/// What is sent; decides which bound applies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Sent to all members of a room: refused if the queue would exceed its bound.
    Broadcast,
    /// Sent to this client only: refused only if the queue exceeds its bound already, whatever the size of the reply.
    Own,
}

impl Outbox {
    pub(crate) fn new(stream: TcpStream, bounds: Bounds, lifecycle: Lifecycle, telemetry: Telemetry) -> Self {
        let state = State {
            open: true,
            queue: VecDeque::new(),
            bytes: 0,
            reported: 0,
            frames: 0,
            sent: 0,
            waiting: VecDeque::new(),
            connected: NamespaceSet::default(),
            attachments: 0,
            held: false,
            answers: 0,
            flushing: false,
        };
        Self {
            stream,
            bounds,
            lifecycle,
            telemetry,
            state: Mutex::new(state),
            stalled: AtomicBool::new(false),
        }
    }

    /// Queues the first bytes; they are written with what follows, by [`Outbox::release_first_packets`].
    pub(crate) fn hold_first_packet(&self, bytes: Bytes) {
        let mut state = self.state.lock();
        state.bytes += bytes.len();
        state.queue.push_back(bytes);
        state.held = true;
    }

    /// Writes what was held back, in one write; from then on everything is written at once.
    pub(super) fn release_first_packets(self: &Arc<Self>) -> Result<(), SendError> {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.held, false) { self.write(&mut state) } else { Ok(()) }
    }

    /// The socket, for the reading side.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The telemetry, for the reading side.
    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Whether the connection was closed because the peer read nothing for too long.
    pub(crate) fn stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Queued bytes.
    pub(crate) fn backlog(&self) -> usize {
        self.state.lock().bytes
    }

    /// Queued bytes, and the total of written bytes.
    pub(crate) fn queued_and_sent(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.bytes, state.sent)
    }

    /// Sends `count` frames that other members of a room receive, too.
    pub(crate) fn send(
        self: &Arc<Self>,
        namespace: &'static Namespace,
        frames: &Bytes,
        count: usize,
    ) -> Result<Written, SendError> {
        self.enqueue(namespace, frames, count, Kind::Broadcast)
    }

    /// Sends `count` frames for this client only.
    pub(crate) fn send_own(
        self: &Arc<Self>,
        namespace: &'static Namespace,
        frames: &Bytes,
        count: usize,
    ) -> Result<Written, SendError> {
        self.enqueue(namespace, frames, count, Kind::Own)
    }

    fn enqueue(
        self: &Arc<Self>,
        namespace: &'static Namespace,
        frames: &Bytes,
        count: usize,
        kind: Kind,
    ) -> Result<Written, SendError> {
        let mut state = self.state.lock();
        if !state.open {
            return Err(SendError::Gone);
        }
        let ready = state.attachments == 0 && state.connected.contains(namespace);
        if ready && state.queue.is_empty() {
            // The common case: the queue is empty and the socket accepts everything. Calls the system directly;
            // tokio's readiness of the socket is needed only if it does not.
            let written = match socket2::SockRef::from(&self.stream).send(frames) {
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
            state.bytes += frames.len() - written;
            state.frames += count;
            state.answers += if kind == Kind::Own { frames.len() - written } else { 0 };
            state.queue.push_back(frames.slice(written..));
            self.spawn_flush(&mut state);
            self.report_queue(&mut state);
            return Ok(Written::default());
        }
        let queued = match kind {
            Kind::Broadcast => (state.bytes + frames.len()).saturating_sub(state.answers),
            Kind::Own => state.bytes,
        };
        if queued > self.bounds.bytes {
            return Err(SendError::SlowReader);
        }
        state.bytes += frames.len();
        state.frames += count;
        state.answers += if kind == Kind::Own { frames.len() } else { 0 };
        if ready {
            state.queue.push_back(frames.clone());
            self.write(&mut state)?;
        } else {
            state.waiting.push_back((namespace, frames.clone()));
            self.report_queue(&mut state);
        }
        Ok(Written::default())
    }

    /// Queues complete frames of socketioxide.
    pub(super) fn accept_frames(self: &Arc<Self>, bytes: &[u8]) -> Result<(), SendError> {
        let mut state = self.state.lock();
        if !state.open {
            return Err(SendError::Gone);
        }
        // Not bounded here: socketioxide's own queue is, and it writes little on this path.
        state.bytes += bytes.len();
        state.frames += 1;
        state.queue.push_back(Bytes::copy_from_slice(bytes));
        scan_frames(bytes, |event| match event {
            FrameEvent::Connected(namespace) => state.connected.insert(namespace),
            FrameEvent::Attachments(count) => state.attachments = count,
            FrameEvent::Binary => state.attachments = state.attachments.saturating_sub(1),
        });
        if state.attachments == 0 {
            state.queue_waiting();
        }
        self.write(&mut state)
    }

    /// Shuts the connection down in both directions and drops what is queued. The reader then sees the end of the
    /// stream, which leads to the disconnect.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.open, false) {
            return;
        }
        state.queue = VecDeque::new();
        state.waiting = VecDeque::new();
        state.bytes = 0;
        self.report_queue(&mut state);
        if let Err(error) = socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Both) {
            tracing::trace!(%error, "shutdown of a connection that is closed already");
        }
    }

    /// Writes what the socket accepts; the rest is left to [`flush`].
    fn write(self: &Arc<Self>, state: &mut State) -> Result<(), SendError> {
        if state.flushing || state.held {
            self.report_queue(state);
            return Ok(());
        }
        let tried = state.try_write(&self.stream, &self.telemetry);
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
        state.flushing = true;
        self.lifecycle.spawn_until_hard("slow-reader", flush(Arc::clone(self)));
    }

    /// One step of [`flush`]: true when the queue is empty.
    fn flush_once(&self) -> io::Result<bool> {
        let mut state = self.state.lock();
        let tried = state.try_write(&self.stream, &self.telemetry);
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

/// Writes the queue as the peer reads; closes the connection if the peer reads nothing for too long.
async fn flush(outbox: Arc<Outbox>) {
    loop {
        match tokio::time::timeout(outbox.bounds.stall, outbox.stream.writable()).await {
            Ok(Ok(())) => match outbox.flush_once() {
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
    /// Queues the own frames that waited, as far as their namespace is connected.
    fn queue_waiting(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for (namespace, frame) in waiting {
            if self.connected.contains(namespace) {
                self.queue.push_back(frame);
            } else {
                self.waiting.push_back((namespace, frame));
            }
        }
    }

    fn try_write(&mut self, stream: &TcpStream, telemetry: &Telemetry) -> io::Result<()> {
        if !self.open {
            return Err(io::ErrorKind::NotConnected.into());
        }
        while let Some(front) = self.queue.front() {
            let written = if self.queue.len() == 1 {
                stream.try_write(front)?
            } else {
                let slices: Vec<IoSlice<'_>> =
                    self.queue.iter().take(MAX_SLICES).map(|bytes| IoSlice::new(bytes)).collect();
                stream.try_write_vectored(&slices)?
            };
            self.on_written(written);
            let frames = if self.queue.is_empty() { std::mem::take(&mut self.frames) } else { 0 };
            telemetry.wire.written(&Written { writes: 1, frames, bytes: written });
        }
        self.answers = 0;
        // Frees the capacity that a burst needed. Broadcasts get here only if the peer is slow.
        self.queue = VecDeque::new();
        Ok(())
    }

    fn on_written(&mut self, mut written: usize) {
        self.bytes -= written;
        self.sent += written as u64;
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.queue.pop_front();
        }
    }
}
