//! The load generator: raw sockets, one thread, one epoll. It connects members, sends on a schedule that
//! no answer can delay, and counts every delivery for every member. Latency is from just before the sender's `write`
//! to just after the receiver's `read`, by one clock. It measures its own cost, so that a result shows how close the
//! generator was to being the bottleneck. A process may have a part of a larger swarm (`Part`).
//!
//! Called by `bench`, by `scenario/worker.rs` and by the tests.

mod counts;
mod joining;
mod member;
mod plan;
mod receiving;
mod window;

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

pub(crate) use self::counts::{Counts, ms};
use self::member::Member;
pub use self::plan::{Part, Plan, RoomAt};
pub use self::window::Window;
use crate::poll::{Poll, Ready};
use crate::proc;
use crate::stamp::{Reader, Stamp};
use crate::tally::Order;

/// After this time without an answer or a delivery, missing ones count as lost.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages sent before the sockets are read again.
const MAX_BURST: u32 = 8;
/// How often progress is reported.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How far a swarm is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Members in their rooms.
    pub(crate) joined: usize,
    /// Messages sent since the last counts were taken.
    pub(crate) sent: u64,
    /// Deliveries since then.
    pub(crate) delivered: u64,
}

/// Who is told of the progress, and when next.
struct Reporting {
    next: Instant,
    report: Box<dyn FnMut(Progress)>,
}

/// A room, as its members' messages are numbered.
#[derive(Default)]
struct Room {
    members: Vec<usize>,
    /// Messages that were sent to it; more than that cannot arrive. Without a limit where another process sends.
    sent: u32,
    /// How many there were when another process said so last.
    told: u32,
    order: Order,
}

/// The members and their state.
pub struct Swarm {
    plan: Plan,
    poll: Poll,
    ready: Vec<Ready>,
    chunk: Vec<u8>,
    answers: Vec<String>,
    text: String,
    reader: Reader,
    members: Vec<Member>,
    rooms: Vec<Room>,
    joined: usize,
    stopped: Option<Member>,
    retried_joins: usize,
    counts: Counts,
    began: Instant,
    key: u32,
    turn: u64,
    reporting: Option<Reporting>,
}

impl Swarm {
    /// A swarm whose members are not connected yet.
    pub fn new(plan: Plan) -> Result<Self> {
        let mut rooms = Vec::new();
        rooms.resize_with(plan.rooms, Room::default);
        if plan.part.senders == Some(0) {
            rooms.iter_mut().for_each(|room| room.sent = u32::MAX);
        }
        let age = plan.part.began.and_then(|began| SystemTime::now().duration_since(began).ok());
        let now = Instant::now();
        Ok(Self {
            plan,
            poll: Poll::new()?,
            ready: Vec::new(),
            chunk: vec![0; 256 * 1024],
            answers: Vec::new(),
            text: String::new(),
            reader: Reader::default(),
            members: Vec::new(),
            rooms,
            joined: 0,
            stopped: None,
            retried_joins: 0,
            counts: Counts::new()?,
            began: age.and_then(|age| now.checked_sub(age)).unwrap_or(now),
            key: 0x2545_f491,
            turn: 0,
            reporting: None,
        })
    }

    /// How many members are in their rooms.
    pub fn joined(&self) -> usize {
        self.joined
    }

    /// Has the progress reported about once a second, while a method of this swarm runs.
    pub(crate) fn report_to(&mut self, report: Box<dyn FnMut(Progress)>) {
        self.reporting = Some(Reporting { next: Instant::now() + PROGRESS_EVERY, report });
    }

    /// Nanoseconds since the swarm began.
    fn now_ns(&self) -> Result<u64> {
        Ok(u64::try_from(self.began.elapsed().as_nanos())?)
    }

    /// What was counted since the last counts were taken.
    pub(crate) fn take_counts(&mut self) -> Result<Counts> {
        Ok(std::mem::replace(&mut self.counts, Counts::new()?))
    }

    /// How many messages were sent to each room.
    pub(crate) fn sent(&self) -> Vec<u32> {
        self.rooms.iter().map(|room| room.sent).collect()
    }

    /// A digest of the order in which the members saw the messages of each room.
    pub(crate) fn orders(&self) -> Vec<u64> {
        self.rooms.iter().map(|room| room.order.digest()).collect()
    }

    /// The last member stays connected and in its room, but reads and sends no more. From now on only the
    /// deliveries to the others count.
    pub fn stop_reading(&mut self) -> Result<()> {
        self.ready_to_send()?;
        let member = self.members.pop().context("no member")?;
        member.ignore(&self.poll)?;
        self.rooms.get_mut(member.token % self.plan.rooms).context("a room")?.members.pop();
        self.joined -= 1;
        self.stopped = Some(member);
        Ok(())
    }

    fn ready_to_send(&self) -> Result<()> {
        let wanted = self.plan.members() - usize::from(self.stopped.is_some());
        if self.joined < wanted {
            bail!("{} of {wanted} members have joined", self.joined);
        }
        Ok(())
    }

    /// Serves the connections, and sends nothing, for a while.
    pub fn idle(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.step(left.min(Duration::from_millis(100)))?;
        }
    }

    /// Sends at this rate (messages a second, all rooms together) for a while, then waits for the
    /// outstanding deliveries; returns the counts. Rooms take turns, and the members of a room.
    pub fn send(&mut self, rate: f64, time: Duration) -> Result<Window> {
        self.send_counted(rate, time)?;
        Ok(Window::of(&self.counts))
    }

    /// The same; the counts are not taken yet.
    pub(crate) fn send_counted(&mut self, rate: f64, time: Duration) -> Result<()> {
        self.ready_to_send()?;
        self.counts = Counts::new()?;
        let (start, cpu) = (Instant::now(), proc::own_seconds()?);
        let total = Duration::from_secs_f64(1.0 / rate);
        let due = |sent: u32| start + total * sent;
        let (mut sent, mut burst) = (0, 0);
        while due(sent) < start + time {
            let now = Instant::now();
            let late = now.saturating_duration_since(due(sent));
            if now < due(sent) || burst == MAX_BURST {
                burst = 0;
                self.step(due(sent).saturating_duration_since(now))?;
                continue;
            }
            self.counts.lateness.saturating_record(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
            self.send_one()?;
            sent += 1;
            burst += 1;
        }
        self.counts.seconds = start.elapsed().as_secs_f64();
        self.counts.busy = (proc::own_seconds()? - cpu) / self.counts.seconds;
        let acks = if self.plan.dialect.acks() { self.counts.sent } else { 0 };
        self.wait_for_deliveries(acks)?;
        self.count_lost();
        Ok(())
    }

    /// Receives what another process of the swarm sends, until `sent` returns how many messages each room was sent, and
    /// then until all of them have arrived. The counts are not taken yet.
    pub(crate) fn receive_counted(
        &mut self,
        mut sent: impl FnMut() -> Result<Option<Vec<u32>>>,
    ) -> Result<()> {
        let (start, cpu) = (Instant::now(), proc::own_seconds()?);
        let sent = loop {
            match sent()? {
                Some(sent) => break sent,
                None => self.step(Duration::from_millis(20))?,
            }
        };
        self.counts.seconds = start.elapsed().as_secs_f64();
        self.counts.busy = (proc::own_seconds()? - cpu) / self.counts.seconds;
        for (room, sent) in self.rooms.iter_mut().zip(sent) {
            let new = u64::from(sent - std::mem::replace(&mut room.told, sent));
            self.counts.expected += new * room.members.len() as u64;
            room.sent = sent;
        }
        self.wait_for_deliveries(0)?;
        self.count_lost();
        self.rooms.iter_mut().for_each(|room| room.sent = u32::MAX);
        Ok(())
    }

    fn send_one(&mut self) -> Result<()> {
        let rooms = self.rooms.len() as u64;
        let (number, turn) = (usize::try_from(self.turn % rooms)?, usize::try_from(self.turn / rooms)?);
        self.turn += 1;
        let room = self.rooms.get_mut(number).context("a room")?;
        let senders = room.members.len().min(self.plan.part.senders.unwrap_or(usize::MAX));
        let id = *room.members.get(turn % senders.max(1)).context("a room without members")?;
        let member = self.members.get_mut(id).context("a member")?;
        self.key = self.key.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let sent_ns = u64::try_from(self.began.elapsed().as_nanos())?;
        let stamp = Stamp { room: member.who.room, sender: member.index, number: room.sent, sent_ns };
        stamp.write(&mut self.text, self.plan.text_bytes);
        member.send(&self.poll, self.plan.dialect, room.sent, &self.text, self.key.to_ne_bytes())?;
        room.sent += 1;
        self.counts.sent += 1;
        self.counts.expected += room.members.len() as u64;
        Ok(())
    }

    fn wait_for_deliveries(&mut self, acks: u64) -> Result<()> {
        let done = |counts: &Counts| counts.delivered + counts.repeated + counts.acked + counts.refused;
        let mut progress = (done(&self.counts), Instant::now());
        while self.counts.delivered < self.counts.expected || self.counts.acked + self.counts.refused < acks {
            self.step(Duration::from_millis(20))?;
            let now = done(&self.counts);
            if now > progress.0 {
                progress = (now, Instant::now());
            } else if progress.1.elapsed() > DELIVERY_TIMEOUT {
                break;
            }
        }
        Ok(())
    }

    /// Waits for sockets for at most this time, and serves those that are ready.
    pub(crate) fn step(&mut self, timeout: Duration) -> Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poll.wait(timeout, &mut ready)?;
        for event in &ready {
            let id = usize::try_from(event.token)?;
            if event.writable
                && let Some(member) = self.members.get_mut(id)
            {
                member.flush(&self.poll)?;
            }
            if event.readable {
                self.receive(id).with_context(|| format!("member {id}"))?;
            }
        }
        self.ready = ready;
        if let Some(reporting) = &mut self.reporting
            && reporting.next <= Instant::now()
        {
            reporting.next = Instant::now() + PROGRESS_EVERY;
            let Counts { sent, delivered, .. } = self.counts;
            (reporting.report)(Progress { joined: self.joined, sent, delivered });
        }
        Ok(())
    }

    /// Counts the deliveries that were lost since the swarm began.
    fn count_lost(&mut self) {
        let rooms = self.rooms.len();
        let sent = |token: usize| self.rooms.get(token % rooms).map_or(0, |room| room.sent);
        let lost = |(token, member): (usize, &Member)| u64::from(member.tally.lost(sent(token)));
        self.counts.lost = self.members.iter().enumerate().map(lost).sum();
    }
}
