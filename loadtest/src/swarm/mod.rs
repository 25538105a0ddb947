//! The load generator: raw sockets, one thread, one epoll. It connects members, sends on a schedule that
//! no answer can delay, and counts every delivery for every member. One process has one clock, so latency
//! is from just before the sender's `write` to just after the receiver's `read`. It measures
//! its own cost, so that a result shows how close the generator was to being the bottleneck.
//!
//! Called by `bench`, by `bin/swarm.rs` and by the tests.

mod counts;
mod member;
mod plan;
mod window;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::counts::Counts;
use self::member::{Member, connect};
pub use self::plan::{Plan, RoomAt};
pub use self::window::Window;
use crate::dialect::{FrameKind, MemberId, acks_in_batch};
use crate::poll::{Poll, Ready};
use crate::stamp::{Reader, Stamp};
use crate::tally::{Delivery, Order};
use crate::{proc, ws};

/// Members that may be joining at once: fewer than any server's accept queue holds.
const MAX_JOINING: usize = 32;
/// After this time without an answer or a delivery, missing ones count as lost.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// After this time without a join, members that are joining send their request again.
const JOIN_RETRY_AFTER: Duration = Duration::from_secs(2);
/// Messages sent before the sockets are read again.
const MAX_BURST: u32 = 8;

/// A room, as its members' messages are numbered.
#[derive(Default)]
struct Room {
    members: Vec<usize>,
    sent: u32,
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
}

impl Swarm {
    /// A swarm whose members are not connected yet.
    pub fn new(plan: Plan) -> Result<Self> {
        let mut rooms = Vec::new();
        rooms.resize_with(plan.rooms, Room::default);
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
            began: Instant::now(),
            key: 0x2545_f491,
            turn: 0,
        })
    }

    /// How many members are in their rooms.
    pub fn joined(&self) -> usize {
        self.joined
    }

    /// Connects members until this many have joined, at most all of the plan. Members join room by room, so
    /// that the first ones are spread over as many rooms as there are.
    pub fn connect(&mut self, wanted: usize) -> Result<()> {
        let wanted = wanted.min(self.plan.members());
        let mut progress = (self.joined, Instant::now());
        let mut retried_joins = false;
        while self.joined < wanted {
            while self.members.len() < wanted && self.members.len() - self.joined < MAX_JOINING {
                self.open()?;
            }
            self.step(Duration::from_millis(10))?;
            if let Some(refusal) = &self.counts.refusal {
                bail!("a member was refused: {refusal}");
            }
            if self.joined > progress.0 {
                progress = (self.joined, Instant::now());
                retried_joins = false;
            } else if progress.1.elapsed() > JOIN_RETRY_AFTER && !std::mem::replace(&mut retried_joins, true)
            {
                self.retry_joins()?;
            } else if progress.1.elapsed() > DELIVERY_TIMEOUT * 3 {
                bail!("{} of {wanted} members joined, then none for {:?}", self.joined, DELIVERY_TIMEOUT * 3);
            }
        }
        Ok(())
    }

    /// Servers that register a client's handlers after they accept it lose a join that arrives at once; a client
    /// would then send it again.
    fn retry_joins(&mut self) -> Result<()> {
        for member in self.members.iter_mut().filter(|member| !member.joined && !member.upgrading) {
            if let Some(join) = self.plan.dialect.join(member.who) {
                member.send_text(&self.poll, &join)?;
                self.retried_joins += 1;
            }
        }
        Ok(())
    }

    /// How many joins had to be sent again.
    pub fn retried_joins(&self) -> usize {
        self.retried_joins
    }

    fn open(&mut self) -> Result<()> {
        let id = self.members.len();
        let (room, index) = (id % self.plan.rooms, id / self.plan.rooms);
        let address = self.plan.address(room, index)?;
        let slow_reader = self.plan.slow_reader && id + 1 == self.plan.members();
        let stream = connect(address, slow_reader).with_context(|| format!("connecting to {address}"))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.poll.add(&stream, id as u64)?;
        let who = MemberId { id, room: u32::try_from(room)? };
        let mut member = Member::new(stream, who, u32::try_from(index)?, self.plan.dialect.upgrades());
        let opening = self.plan.dialect.opening(address, who);
        member.write(&self.poll, &opening)?;
        self.members.push(member);
        if let Some(room) = self.rooms.get_mut(room) {
            room.members.push(id);
        }
        Ok(())
    }

    /// The last member stays connected and in its room, but reads and sends no more. From now on only the
    /// deliveries to the others count.
    pub fn stop_reading(&mut self) -> Result<()> {
        self.ready_to_send()?;
        let member = self.members.pop().context("no member")?;
        member.ignore(&self.poll)?;
        self.rooms.get_mut(member.who.room as usize).context("a room")?.members.pop();
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
        let sending = start.elapsed();
        let busy = proc::own_seconds()? - cpu;
        self.wait_for_deliveries()?;
        Ok(self.window(sending, busy))
    }

    fn send_one(&mut self) -> Result<()> {
        let rooms = self.rooms.len() as u64;
        let (number, turn) = (usize::try_from(self.turn % rooms)?, usize::try_from(self.turn / rooms)?);
        self.turn += 1;
        let room = self.rooms.get_mut(number).context("a room")?;
        let id = *room.members.get(turn % room.members.len()).context("a room without members")?;
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

    fn wait_for_deliveries(&mut self) -> Result<()> {
        let done = |counts: &Counts| counts.delivered + counts.repeated + counts.acked + counts.refused;
        let acks = if self.plan.dialect.acks() { self.counts.sent } else { 0 };
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
    fn step(&mut self, timeout: Duration) -> Result<()> {
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
        Ok(())
    }

    fn receive(&mut self, id: usize) -> Result<()> {
        let dialect = self.plan.dialect;
        let Self { members, rooms, counts, chunk, answers, reader, poll, joined, .. } = self;
        let member = members.get_mut(id).context("unknown")?;
        let Some(count) = member.read(chunk)? else { return Ok(()) };
        let arrived = u64::try_from(self.began.elapsed().as_nanos())?;
        counts.bytes += count as u64;
        // Whole frames are parsed in place; only an incomplete one is kept.
        let mut kept = std::mem::take(&mut member.inbound);
        let fresh = chunk.get(..count).unwrap_or_default();
        let bytes = if kept.is_empty() {
            fresh
        } else {
            kept.extend_from_slice(fresh);
            kept.as_slice()
        };
        let mut at = 0;
        if member.upgrading
            && let Some(from) = ws::answered(bytes)?
        {
            member.upgrading = false;
            at = from;
            if let Some(greeting) = dialect.greeting() {
                member.send_text(poll, greeting)?;
            }
        }
        while !member.upgrading
            && let Some(frame) = ws::parse(bytes.get(at..).unwrap_or_default())?
        {
            at += frame.taken;
            match frame.opcode {
                ws::TEXT => {}
                ws::PING => {
                    member.pong(poll, frame.payload)?;
                    continue;
                }
                ws::CLOSE => bail!("the server closed the connection"),
                _ => continue,
            }
            match dialect.read_frame(member.who, frame.payload, answers) {
                FrameKind::Nothing => {}
                FrameKind::Joined => *joined += usize::from(!std::mem::replace(&mut member.joined, true)),
                FrameKind::Acked => counts.acked += 1,
                FrameKind::Refused(why) => {
                    counts.refused += 1;
                    counts.refusal.get_or_insert(why);
                }
                FrameKind::Messages => {
                    counts.acked += acks_in_batch(dialect, frame.payload);
                    reader.each(frame.payload, |stamp| {
                        deliver(member, rooms, counts, stamp, arrived);
                    });
                }
            }
            for answer in answers.drain(..) {
                member.send_text(poll, &answer)?;
            }
        }
        let left = bytes.get(at..).unwrap_or_default().to_vec();
        member.inbound = left;
        Ok(())
    }

    fn window(&self, sending: Duration, busy: f64) -> Window {
        let lost: u64 = self
            .members
            .iter()
            .filter_map(|member| {
                Some(u64::from(member.tally.lost(self.rooms.get(member.who.room as usize)?.sent)))
            })
            .sum();
        Window::new(&self.counts, lost, sending, busy)
    }
}

fn deliver(member: &mut Member, rooms: &mut [Room], counts: &mut Counts, stamp: Stamp, arrived: u64) {
    let room = rooms.get_mut(stamp.room as usize).filter(|room| stamp.number < room.sent);
    let Some(room) = room.filter(|_| stamp.room == member.who.room) else {
        counts.strays += 1;
        return;
    };
    let position = member.tally.received();
    match member.tally.record(stamp.sender, stamp.number) {
        Delivery::Repeated => counts.repeated += 1,
        Delivery::Fresh { ordered } => {
            counts.delivered += 1;
            counts.disordered += u64::from(!ordered);
            counts.disagreed += u64::from(!room.order.agrees(position, stamp.number));
            counts.latency.saturating_record(arrived.saturating_sub(stamp.sent_ns));
        }
    }
}
