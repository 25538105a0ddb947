//! The one place where something is sent to all members of a room: encoded once per namespace, then the
//! same bytes written to each. Called by `room/worker.rs`. A large room's fan-out runs in a task of its
//! own over a snapshot of the members, so that joins and leaves never wait for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use roomcast_protocol::UserName;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::conn::frame::{self, Namespace};
use crate::conn::{Outbox, Took};
use crate::room::Message;
use crate::room::state::ClientId;
use crate::telemetry::{Events, Sums};
use crate::trace::Fanouts;

/// Members up to which a room is served by its worker at once.
const INLINE: usize = 128;
/// Members served between two yields.
const STRIDE: usize = 128;
/// Fan-outs that may wait for a shard's task; more, and its worker waits.
const QUEUE: usize = 256;

/// A member, as the fan-out sees it.
#[derive(Clone)]
struct Seat {
    client: Arc<Client>,
    /// Here too, so that a fan-out touches as little memory as it can.
    direct: Option<(Namespace, Arc<Outbox>)>,
    /// It left, while a fan-out over an earlier snapshot was under way. Held while something is given,
    /// so that nothing is once it left.
    left: Arc<Mutex<bool>>,
}

/// The members of one room, shared with fan-outs under way and copied only when it changes meanwhile.
#[derive(Default)]
pub(crate) struct Seats {
    seats: Arc<Vec<Seat>>,
    at: HashMap<ClientId, usize>,
    /// Fan-outs of the room that the shard's task has not finished: none may overtake them.
    under_way: Arc<AtomicUsize>,
}

impl Seats {
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Adds a member that is not there.
    pub(crate) fn add(&mut self, client: Arc<Client>) {
        self.at.insert(client.id(), self.seats.len());
        let direct = client.direct();
        Arc::make_mut(&mut self.seats).push(Seat { client, direct, left: Arc::default() });
    }

    /// Removes a member, if it is there. Nothing reaches it any more, whatever is under way.
    pub(crate) fn remove(&mut self, id: ClientId) {
        let Some(at) = self.at.remove(&id) else { return };
        let seats = Arc::make_mut(&mut self.seats);
        *seats.swap_remove(at).left.lock() = true;
        if let Some(moved) = seats.get(at) {
            self.at.insert(moved.client.id(), at);
        }
    }
}

/// What one event carries.
pub(crate) enum Payload {
    Message(Arc<Message>),
    Other(Box<RawValue>),
}

impl Payload {
    fn json(&self) -> &RawValue {
        match self {
            Self::Message(message) => &message.json,
            Self::Other(json) => json,
        }
    }
}

/// Events that leave together, in this order, and their bytes for each namespace.
#[derive(Default)]
pub(crate) struct Batch {
    events: Vec<(&'static str, Payload)>,
    /// These get none of it: whoever caused it knows already.
    but: Option<UserName>,
    /// Dropped where the client has not yet taken what came before.
    volatile: bool,
    frames: [OnceLock<Bytes>; Namespace::COUNT],
    traces: Fanouts,
}

impl Batch {
    pub(crate) fn push(&mut self, event: &'static str, payload: Payload) {
        if let Payload::Message(message) = &payload {
            self.traces.begin(message);
        }
        self.events.push((event, payload));
    }

    pub(crate) fn push_new<T: Serialize>(&mut self, event: &'static str, payload: &T) {
        match serde_json::value::to_raw_value(payload) {
            Ok(payload) => self.push(event, Payload::Other(payload)),
            Err(error) => tracing::error!(event, %error, "an event could not be encoded"),
        }
    }

    /// A passing event that is not worth waiting for.
    pub(crate) fn volatile<T: Serialize>(event: &'static str, payload: &T, but: UserName) -> Self {
        let mut batch = Self { but: Some(but), volatile: true, ..Self::default() };
        batch.push_new(event, payload);
        batch
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The events, for clients that socketioxide sends to.
    pub(crate) fn events(&self) -> impl Iterator<Item = (&'static str, &RawValue)> {
        self.events.iter().map(|(event, payload)| (*event, payload.json()))
    }

    /// The bytes, for the others: encoded when the first of the namespace needs them.
    fn frames(&self, namespace: Namespace) -> &Bytes {
        #[expect(clippy::indexing_slicing, reason = "there is one for each namespace")]
        let frames = &self.frames[namespace.index()];
        let encode = || {
            let mut out = BytesMut::new();
            self.events().for_each(|(event, json)| frame::put_event(&mut out, namespace, event, json));
            out.freeze()
        };
        frames.get_or_init(encode)
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// How many of its events are messages.
    pub(crate) fn messages(&self) -> usize {
        self.events.iter().filter(|(_, payload)| matches!(payload, Payload::Message(_))).count()
    }

    /// When the first of its messages was stored.
    fn oldest(&self) -> Option<u64> {
        self.events.iter().find_map(|(_, payload)| match payload {
            Payload::Message(message) => Some(message.ts),
            Payload::Other(_) => None,
        })
    }

    /// Counts into `sums`, which cost nothing from member to member.
    fn give(&self, seat: &Seat, sums: &mut Sums) {
        if self.but.as_ref().is_some_and(|but| but == seat.client.user()) {
            return;
        }
        match &seat.direct {
            None => seat.client.emit_batch(self),
            Some((_, outbox)) if self.volatile && outbox.backlog() > 0 => return,
            Some((namespace, outbox)) => {
                let frames = self.frames(*namespace);
                match outbox.send(*namespace, frames, self.events.len()) {
                    Ok(Took::AtOnce) => {
                        sums.written.writes += 1;
                        sums.written.frames += self.events.len();
                        sums.written.bytes += frames.len();
                    }
                    Ok(Took::Later) => {}
                    ended @ Err(_) => return seat.client.sent(&ended),
                }
            }
        }
        sums.members += 1;
    }
}

struct Job {
    seats: Arc<Vec<Seat>>,
    under_way: Arc<AtomicUsize>,
    batch: Batch,
}

/// A shard's way to its members.
pub(crate) struct Fanout(mpsc::Sender<Job>, Events);

/// Serves large rooms, one fan-out after the other.
pub(crate) struct Runner(mpsc::Receiver<Job>, Events);

impl Fanout {
    pub(crate) fn new(events: &Events) -> (Self, Runner) {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        (Self(jobs, events.clone()), Runner(receiver, events.clone()))
    }

    /// Sends a batch to every member there is now.
    pub(crate) async fn send(&self, seats: &Seats, mut batch: Batch) {
        batch.traces.write(batch.events.len(), seats.len());
        if seats.len() <= INLINE && seats.under_way.load(Ordering::Acquire) == 0 {
            let (mut sums, begun) = (Sums::default(), Instant::now());
            seats.seats.iter().for_each(|seat| batch.give(seat, &mut sums));
            return self.1.fanned_out(batch.events.len(), batch.oldest(), &sums, begun.elapsed());
        }
        seats.under_way.fetch_add(1, Ordering::AcqRel);
        let job = Job { seats: Arc::clone(&seats.seats), under_way: Arc::clone(&seats.under_way), batch };
        if self.0.send(job).await.is_err() {
            tracing::debug!("the fan-out has stopped");
        }
    }
}

impl Runner {
    pub(crate) async fn run(mut self) {
        while let Some(Job { seats, under_way, batch }) = self.0.recv().await {
            let (mut sums, begun) = (Sums::default(), Instant::now());
            for stride in seats.chunks(STRIDE) {
                for seat in stride {
                    let left = seat.left.lock();
                    if !*left {
                        batch.give(seat, &mut sums);
                    }
                }
                tokio::task::yield_now().await;
            }
            under_way.fetch_sub(1, Ordering::AcqRel);
            self.1.fanned_out(batch.events.len(), batch.oldest(), &sums, begun.elapsed());
        }
    }
}
