//! Connecting and joining: as many at a time as any server's accept queue holds. Methods of `Swarm`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::member::{Member, connect};
use super::{DELIVERY_TIMEOUT, Swarm};
use crate::dialect::MemberId;

/// Members that may be joining at once: fewer than any server's accept queue holds.
const MAX_JOINING: usize = 32;
/// Where members connect from an address of their own, the port of the first; the next have the next ones. The system
/// would look for a free one, which takes it long when half of those that it gives away are used.
const FIRST_PORT: usize = 10_000;
/// After this time without a join, members that are joining send their request again.
const JOIN_RETRY_AFTER: Duration = Duration::from_secs(2);

impl Swarm {
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
        let token = self.members.len();
        let (own_room, own_index) = (token % self.plan.rooms, token / self.plan.rooms);
        let part = &self.plan.part;
        let (room, index) = (part.first_room + own_room, part.first_index + own_index);
        let address = self.plan.address(room, index)?;
        let slow_reader = self.plan.slow_reader && token + 1 == self.plan.members();
        let opened_ns = self.now_ns()?;
        let port = u16::try_from(FIRST_PORT + token).ok();
        let source = part.source.zip(port).map(|(source, port)| SocketAddr::new(source, port));
        let stream =
            connect(address, source, slow_reader).with_context(|| format!("connecting to {address}"))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.poll.add(&stream, token as u64)?;
        let who = MemberId { id: part.first_id + token, room: u32::try_from(room)? };
        let upgrades = self.plan.dialect.upgrades();
        let mut member = Member::new(stream, token, who, u32::try_from(index)?, upgrades, opened_ns);
        let opening = self.plan.dialect.opening(address, who);
        member.write(&self.poll, &opening)?;
        self.members.push(member);
        if let Some(room) = self.rooms.get_mut(own_room) {
            room.members.push(token);
        }
        Ok(())
    }
}
