//! epoll, level-triggered, with a timeout finer than a millisecond, which paces sends. Called by
//! `swarm` and `floor`.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// A set of sockets, each identified by a number.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// The readiness of a socket.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// The socket's number.
    pub token: u64,
    /// Bytes or the end of the stream can be read.
    pub readable: bool,
    /// Bytes can be written again.
    pub writable: bool,
}

fn flags(writing: bool) -> EventFlags {
    if writing { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
}

impl Poll {
    /// An empty set.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(1024) })
    }

    /// Watches a socket for reading.
    pub fn add(&self, socket: impl AsFd, token: u64) -> std::io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token), flags(false))?)
    }

    /// Stops watching a socket.
    pub fn remove(&self, socket: impl AsFd) -> std::io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Sets whether a watched socket is to be reported when it is writable.
    pub fn writing(&self, socket: impl AsFd, token: u64, writing: bool) -> std::io::Result<()> {
        Ok(epoll::modify(&self.epoll, socket, EventData::new_u64(token), flags(writing))?)
    }

    /// Waits until a socket is ready or the timeout has passed, and writes the ready ones to `ready`.
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<Ready>) -> std::io::Result<()> {
        ready.clear();
        self.events.clear();
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &self.events {
            let (flags, data) = (event.flags, event.data);
            ready.push(Ready {
                token: data.u64(),
                readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
                writable: flags.contains(EventFlags::OUT),
            });
        }
        Ok(())
    }
}
