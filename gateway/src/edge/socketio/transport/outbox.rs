//! What is on its way to one WebSocket: frames of socketioxide and frames of ours in one queue of shared
//! bytes, written together. Called by `stream.rs` (socketioxide's bytes) and by `outbound.rs` (ours). A
//! queue that grows past its bound, or that the peer does not take for too long, ends the connection.

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
use super::frame::{Seen, look};
use crate::hub::{Encoding, SendError};
use crate::telemetry::{Telemetry, Written};

/// Frames of one write, at most: what the kernel takes at once without a larger array.
const SLICES: usize = 64;

/// How much a slow reader may cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes that may wait for one connection.
    pub(crate) bytes: usize,
    /// How long a peer may take none of them.
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
    /// Bytes that were reported as waiting, and frames that will be reported as written.
    reported: usize,
    frames: usize,
    /// Bytes that were written, ever.
    sent: u64,
    /// Ours, which must not overtake the connect packet of their namespace, nor come between a packet
    /// and its attachments.
    waiting: VecDeque<(&'static Namespace, Bytes)>,
    /// Namespaces whose connect packet has left.
    connected: Connected,
    attachments: usize,
    /// What waits is held until [`Outbox::release_first_packets`].
    held: bool,
    /// Bytes of answers that wait: whoever asked for them may wait for what comes behind them, too.
    answers: usize,
    /// A task waits until the peer reads on.
    draining: bool,
}

/// A set of namespaces. A bit each, beside everything else that a write looks at.
#[derive(Default)]
struct Connected(u16);

const _: () = assert!(Encoding::MAX <= 16);

impl Connected {
    fn has(&self, namespace: &Namespace) -> bool {
        self.0 & (1 << namespace.encoding().index()) != 0
    }

    fn add(&mut self, namespace: &Namespace) {
        self.0 |= 1 << namespace.encoding().index();
    }
}

/// What is sent, in the order in which it may be refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// To everyone in a room: refused where more would wait than may.
    Broadcast,
    /// What this client asked for, however large: refused where more than that waits already.
    Answer,
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
            connected: Connected::default(),
            attachments: 0,
            held: false,
            answers: 0,
            draining: false,
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

    /// These bytes are the first, and leave with what follows, at [`Outbox::release_first_packets`].
    pub(crate) fn hold_first_packet(&self, bytes: Bytes) {
        let mut state = self.state.lock();
        state.bytes += bytes.len();
        state.queue.push_back(bytes);
        state.held = true;
    }

    /// Writes what was held, in one go, and from now on everything at once.
    pub(super) fn release_first_packets(self: &Arc<Self>) -> Result<(), SendError> {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.held, false) { self.write(&mut state) } else { Ok(()) }
    }

    /// What it writes to, for whoever reads from it.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Where to count what is read.
    pub(super) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Whether the peer took nothing for too long.
    pub(crate) fn stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Bytes that wait for the peer.
    pub(crate) fn backlog(&self) -> usize {
        self.state.lock().bytes
    }

    /// Bytes that wait, and bytes that were written ever.
    pub(crate) fn carried(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.bytes, state.sent)
    }

    /// Sends frames that others get, too; so many of them.
    pub(crate) fn send(
        self: &Arc<Self>,
        namespace: &'static Namespace,
        frames: &Bytes,
        count: usize,
    ) -> Result<Written, SendError> {
        self.enqueue(namespace, frames, count, Kind::Broadcast)
    }

    /// Sends what this client asked for: so many frames.
    pub(crate) fn answer(
        self: &Arc<Self>,
        namespace: &'static Namespace,
        frames: &Bytes,
        count: usize,
    ) -> Result<Written, SendError> {
        self.enqueue(namespace, frames, count, Kind::Answer)
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
        let ready = state.attachments == 0 && state.connected.has(namespace);
        if ready && state.queue.is_empty() {
            // The common case: nothing waits, and the socket takes it all. Straight to the system, for
            // what the runtime knows of the socket is needed only where it does not.
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
            state.answers += if kind == Kind::Answer { frames.len() - written } else { 0 };
            state.queue.push_back(frames.slice(written..));
            self.drain_later(&mut state);
            self.report_queue(&mut state);
            return Ok(Written::default());
        }
        let waits = match kind {
            Kind::Broadcast => (state.bytes + frames.len()).saturating_sub(state.answers),
            Kind::Answer => state.bytes,
        };
        if waits > self.bounds.bytes {
            return Err(SendError::SlowReader);
        }
        state.bytes += frames.len();
        state.frames += count;
        state.answers += if kind == Kind::Answer { frames.len() } else { 0 };
        if ready {
            state.queue.push_back(frames.clone());
            self.write(&mut state)?;
        } else {
            state.waiting.push_back((namespace, frames.clone()));
            self.report_queue(&mut state);
        }
        Ok(Written::default())
    }

    /// Takes whole frames of socketioxide, in their place.
    pub(super) fn accept_frames(self: &Arc<Self>, bytes: &[u8]) -> Result<(), SendError> {
        let mut state = self.state.lock();
        if !state.open {
            return Err(SendError::Gone);
        }
        // Not bounded here: socketioxide's own queue is, and what it writes for us is little.
        state.bytes += bytes.len();
        state.frames += 1;
        state.queue.push_back(Bytes::copy_from_slice(bytes));
        look(bytes, |seen| match seen {
            Seen::Connect(namespace) => state.connected.add(namespace),
            Seen::Attachments(count) => state.attachments = count,
            Seen::Binary => state.attachments = state.attachments.saturating_sub(1),
        });
        if state.attachments == 0 {
            state.release();
        }
        self.write(&mut state)
    }

    /// Ends the connection in both directions and forgets what waits: a reader sees the end, and
    /// everything is cleaned up there.
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
            tracing::trace!(%error, "a connection was gone already");
        }
    }

    /// Writes what the peer takes; the rest is left to a task that waits for it.
    fn write(self: &Arc<Self>, state: &mut State) -> Result<(), SendError> {
        if state.draining || state.held {
            self.report_queue(state);
            return Ok(());
        }
        let tried = state.try_write(&self.stream, &self.telemetry);
        self.report_queue(state);
        match tried {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.drain_later(state);
                Ok(())
            }
            Err(_) => Err(SendError::Gone),
        }
    }

    /// Takes note of what waits; of most connections nothing ever does.
    fn report_queue(&self, state: &mut State) {
        if state.reported != state.bytes {
            self.telemetry.wire.queued(state.reported, state.bytes);
            state.reported = state.bytes;
        }
    }

    fn drain_later(self: &Arc<Self>, state: &mut State) {
        state.draining = true;
        self.lifecycle.spawn_until_hard("slow-reader", drain(Arc::clone(self)));
    }

    /// One turn of [`drain`]: true when nothing is left.
    fn drained(&self) -> io::Result<bool> {
        let mut state = self.state.lock();
        let tried = state.try_write(&self.stream, &self.telemetry);
        self.report_queue(&mut state);
        match tried {
            Ok(()) => {
                state.draining = false;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Writes on as the peer reads on; gives up a peer that does not.
async fn drain(outbox: Arc<Outbox>) {
    loop {
        match tokio::time::timeout(outbox.bounds.stall, outbox.stream.writable()).await {
            Ok(Ok(())) => match outbox.drained() {
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
    fn release(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for (namespace, frame) in waiting {
            if self.connected.has(namespace) {
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
                    self.queue.iter().take(SLICES).map(|bytes| IoSlice::new(bytes)).collect();
                stream.try_write_vectored(&slices)?
            };
            self.wrote(written);
            let frames = if self.queue.is_empty() { std::mem::take(&mut self.frames) } else { 0 };
            telemetry.wire.written(&Written { writes: 1, frames, bytes: written });
        }
        self.answers = 0;
        // An idle connection keeps no memory for what a busy moment needed. What is sent to many does not
        // come here but where the peer is slow.
        self.queue = VecDeque::new();
        Ok(())
    }

    fn wrote(&mut self, mut written: usize) {
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
