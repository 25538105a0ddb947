//! The floor: a server with the lowest cost at which one message can be sent to many sockets. It has no users and no
//! log and parses nothing: for each message it does one `write` per member, of a buffer that its client has framed.
//! The benchmark divides all its figures by the cost of this server.
//!
//! A command is a tag, a room, a length (both four bytes, big-endian) and as many bytes: `J` joins the
//! room and is answered with a text frame `ok`, `P` writes its bytes to all members.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::poll::Poll;
use crate::ws;

/// Joins a room.
pub const JOIN: u8 = b'J';
/// Writes bytes to a room's members.
pub const PUBLISH: u8 = b'P';

const HEADER: usize = 9;
const LISTENER: u64 = u64::MAX;

/// Appends a command.
pub fn push_command(out: &mut Vec<u8>, tag: u8, room: u32, payload: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&room.to_be_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(payload);
}

/// The first command in these bytes: tag, room, payload.
fn command(bytes: &[u8]) -> Option<(u8, u32, &[u8])> {
    let &[tag, a, b, c, d, e, f, g, h, ref rest @ ..] = bytes else { return None };
    let length = u32::from_be_bytes([e, f, g, h]) as usize;
    Some((tag, u32::from_be_bytes([a, b, c, d]), rest.get(..length)?))
}

struct Member {
    stream: TcpStream,
    inbound: Vec<u8>,
    /// Bytes that its socket did not accept yet.
    waiting: Vec<u8>,
}

#[derive(Default)]
struct Members {
    all: Vec<Option<Member>>,
    rooms: Vec<Vec<usize>>,
}

/// Serves until `stop` is set.
pub fn serve(listener: &TcpListener, stop: &AtomicBool) -> Result<()> {
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(listener, LISTENER)?;
    let mut members = Members::default();
    let mut ready = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    while !stop.load(Ordering::Relaxed) {
        poll.wait(Duration::from_millis(500), &mut ready)?;
        for event in &ready {
            if event.token == LISTENER {
                accept(listener, &poll, &mut members)?;
                continue;
            }
            let token = usize::try_from(event.token)?;
            if event.writable {
                members.flush(&poll, token)?;
            }
            if event.readable && !members.read(&poll, token, &mut chunk)? {
                members.remove(token);
            }
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener, poll: &Poll, members: &mut Members) -> Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        poll.add(&stream, members.all.len() as u64)?;
        members.all.push(Some(Member { stream, inbound: Vec::new(), waiting: Vec::new() }));
    }
}

impl Members {
    /// Reads and executes a member's commands; false where it has disconnected.
    fn read(&mut self, poll: &Poll, token: usize, chunk: &mut [u8]) -> Result<bool> {
        let Some(Some(member)) = self.all.get_mut(token) else { return Ok(true) };
        let count = match member.stream.read(chunk) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(true);
            }
            Err(_) => return Ok(false),
        };
        member.inbound.extend_from_slice(chunk.get(..count).unwrap_or_default());
        let mut bytes = std::mem::take(&mut member.inbound);
        let mut done = 0;
        while let Some((tag, room, payload)) = command(bytes.get(done..).unwrap_or_default()) {
            done += HEADER + payload.len();
            let room = room as usize;
            if tag == PUBLISH {
                self.publish(poll, room, payload)?;
                continue;
            }
            if self.rooms.len() <= room {
                self.rooms.resize_with(room + 1, Vec::new);
            }
            if let Some(list) = self.rooms.get_mut(room) {
                list.push(token);
            }
            let mut welcome = Vec::new();
            ws::push_plain(&mut welcome, ws::TEXT, b"ok");
            self.write(poll, token, &welcome)?;
        }
        bytes.drain(..done);
        if let Some(Some(member)) = self.all.get_mut(token) {
            member.inbound = bytes;
        }
        Ok(true)
    }

    fn publish(&mut self, poll: &Poll, room: usize, frame: &[u8]) -> Result<()> {
        let list = self.rooms.get_mut(room).map(std::mem::take).unwrap_or_default();
        for token in &list {
            self.write(poll, *token, frame)?;
        }
        if let Some(slot) = self.rooms.get_mut(room) {
            *slot = list;
        }
        Ok(())
    }

    fn write(&mut self, poll: &Poll, token: usize, frame: &[u8]) -> Result<()> {
        let Some(Some(member)) = self.all.get_mut(token) else { return Ok(()) };
        let taken = if member.waiting.is_empty() { written(member.stream.write(frame)) } else { 0 };
        if let Some(rest @ [_, ..]) = frame.get(taken..) {
            member.waiting.extend_from_slice(rest);
            poll.writing(&member.stream, token as u64, true)?;
        }
        Ok(())
    }

    fn flush(&mut self, poll: &Poll, token: usize) -> Result<()> {
        let Some(Some(member)) = self.all.get_mut(token) else { return Ok(()) };
        let taken = written(member.stream.write(&member.waiting));
        member.waiting.drain(..taken);
        if member.waiting.is_empty() {
            poll.writing(&member.stream, token as u64, false)?;
        }
        Ok(())
    }

    fn remove(&mut self, token: usize) {
        for room in &mut self.rooms {
            room.retain(|member| *member != token);
        }
        if let Some(member) = self.all.get_mut(token) {
            *member = None;
        }
    }
}

/// The number of bytes that were written: 0 where the socket is full. A closed socket is noticed when it is read.
fn written(result: std::io::Result<usize>) -> usize {
    result.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_whole() {
        let mut bytes = Vec::new();
        push_command(&mut bytes, PUBLISH, 77, b"frame");
        push_command(&mut bytes, JOIN, 1, b"");
        let (tag, room, payload) = command(&bytes).unwrap();
        assert_eq!((tag, room, payload), (PUBLISH, 77, &b"frame"[..]));
        let (tag, room, payload) = command(&bytes[HEADER + 5..]).unwrap();
        assert_eq!((tag, room, payload), (JOIN, 1, &b""[..]));
        assert!(command(&bytes[..HEADER + 4]).is_none());
        assert!(command(&[]).is_none());
    }
}
