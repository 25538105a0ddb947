//! What arrives at a member: frames, and the deliveries in them. Methods of `Swarm`.

use anyhow::{Context as _, Result, bail};

use super::counts::Counts;
use super::member::Member;
use super::{Room, Swarm};
use crate::dialect::{FrameKind, acks_in_batch};
use crate::stamp::Stamp;
use crate::tally::Delivery;
use crate::ws;

impl Swarm {
    pub(super) fn receive(&mut self, token: usize) -> Result<()> {
        let (dialect, first_room, began) = (self.plan.dialect, self.plan.part.first_room, self.began);
        let Self { members, rooms, counts, chunk, answers, reader, poll, joined, .. } = self;
        let member = members.get_mut(token).context("unknown")?;
        let Some(count) = member.read(chunk)? else { return Ok(()) };
        let arrived = u64::try_from(began.elapsed().as_nanos())?;
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
                FrameKind::Joined if !std::mem::replace(&mut member.joined, true) => {
                    *joined += 1;
                    counts.joining.saturating_record(arrived.saturating_sub(member.opened_ns));
                }
                FrameKind::Joined => {}
                FrameKind::Left(users) => counts.left += users,
                FrameKind::Acked => counts.acked += 1,
                FrameKind::Refused(why) => {
                    counts.refused += 1;
                    counts.refusal.get_or_insert(why);
                }
                FrameKind::Messages => {
                    counts.acked += acks_in_batch(dialect, frame.payload);
                    reader.each(frame.payload, |stamp| {
                        deliver(member, rooms, first_room, counts, stamp, arrived);
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
}

fn deliver(
    member: &mut Member,
    rooms: &mut [Room],
    first_room: usize,
    counts: &mut Counts,
    stamp: Stamp,
    arrived: u64,
) {
    let room = (stamp.room as usize).checked_sub(first_room).and_then(|own| rooms.get_mut(own));
    let Some(room) = room.filter(|room| stamp.number < room.sent && stamp.room == member.who.room) else {
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
