//! What is said over one connection to a node of a cluster: requests and their answers, and the pushes among them. A
//! node reports with a push every subscription that it confirms, and every one that it ends unasked, as it does when a slot
//! moves or when it becomes a replica: while the connection is open and nothing is reported, the subscription is there.
//! No I/O; `node.rs` reads and writes, `cluster.rs` receives the reports.

use std::collections::VecDeque;
use std::time::Duration;

use redis_protocol::resp3::types::BytesFrame;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::slots::{SlotMap, bytes, redirection, text};
use crate::address::Credentials;

/// A node that owes an answer for so long, and sends nothing else either, is taken for dead.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_millis(2_500);
/// How often a node is asked which slots it knows of; the answer also shows that it lives.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// One connection among all that were ever opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ConnectionId(pub(super) u64);

/// What a connection is asked to do.
pub(super) enum Request {
    /// Subscribe to a channel.
    Subscribe { channel: String, done: oneshot::Sender<Result<(), Refused>> },
    /// Unsubscribe from a channel.
    Unsubscribe(String),
    /// Ask which node has which slots, sooner than by itself.
    Look,
}

/// Why a node does not subscribe to a channel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// Another node has the slot.
    Moved(String),
    /// The node answered with another error.
    Error(String),
    /// Another reason.
    Other(String),
}

/// Receives what a connection reports, in the order in which the node said it. Must not block.
pub(super) trait Reports: Send + Sync {
    /// A message of a channel.
    fn message(&self, channel: &str, payload: &[u8]);
    /// The node confirmed a subscription. False where nobody wants it any more.
    fn subscribed(&self, connection: ConnectionId, channel: &str) -> bool;
    /// A subscription ended; unless it was asked for, because the node does not have the slot any more.
    fn unsubscribed(&self, connection: ConnectionId, channel: &str, asked: bool);
    /// Which node has which slots, by what this node knows.
    fn slots(&self, connection: ConnectionId, slots: SlotMap);
    /// The connection ended, with all its subscriptions; by an error, unless it was told to.
    fn closed(&self, connection: ConnectionId, why: Option<String>);
}

/// A request that was sent and not yet answered.
enum Pending {
    Hello,
    /// The subscription to the ordinary channel.
    Control,
    Subscribe(String, oneshot::Sender<Result<(), Refused>>),
    Unsubscribe(String),
    Slots,
}

/// What was sent and what it was answered. Answers come in the order of the requests; those of subscriptions are
/// pushes, among which are others that answer nothing.
pub(super) struct Exchange<'a, R> {
    id: ConnectionId,
    host: String,
    reports: &'a R,
    pending: VecDeque<(Instant, Pending)>,
    looked: Instant,
    /// When something was received last.
    received: Instant,
    /// What is to be written.
    pub(super) output: Vec<u8>,
}

impl<'a, R: Reports> Exchange<'a, R> {
    pub(super) fn new(id: ConnectionId, host: String, reports: &'a R) -> Self {
        let now = Instant::now();
        Self { id, host, reports, pending: VecDeque::new(), looked: now, received: now, output: Vec::new() }
    }

    fn request(&mut self, words: &[&str], pending: Pending) {
        self.output.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.output.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        self.pending.push_back((Instant::now(), pending));
    }

    pub(super) fn begin(&mut self, credentials: Option<&Credentials>, control: &str) {
        match credentials {
            Some(Credentials { user, password }) => {
                self.request(&["HELLO", "3", "AUTH", user, password], Pending::Hello);
            }
            None => self.request(&["HELLO", "3"], Pending::Hello),
        }
        self.request(&["SUBSCRIBE", control], Pending::Control);
        self.look();
    }

    fn look(&mut self) {
        self.looked = Instant::now();
        self.request(&["CLUSTER", "SLOTS"], Pending::Slots);
    }

    pub(super) fn send(&mut self, request: Request) {
        match request {
            Request::Subscribe { channel, done } => {
                self.request(&["SSUBSCRIBE", &channel], Pending::Subscribe(channel.clone(), done));
            }
            Request::Unsubscribe(channel) => {
                self.request(&["SUNSUBSCRIBE", &channel], Pending::Unsubscribe(channel.clone()));
            }
            // One that is under way may have been answered by what the node knew before.
            Request::Look => self.look(),
        }
    }

    pub(super) fn tick(&mut self, now: Instant) -> Result<(), String> {
        let is_old = |at: Instant| now.duration_since(at) > ANSWER_TIMEOUT;
        // A busy node's answer comes after the messages that it sent before.
        if is_old(self.received) && self.pending.front().is_some_and(|(since, _)| is_old(*since)) {
            return Err("no answer in time".to_owned());
        }
        if now.duration_since(self.looked) >= LOOK_INTERVAL {
            self.look();
        }
        Ok(())
    }

    /// Bytes arrived.
    pub(super) fn received(&mut self, now: Instant) {
        self.received = now;
    }

    pub(super) fn receive(&mut self, frame: &BytesFrame) -> Result<(), String> {
        match frame {
            BytesFrame::Push { data, .. } => {
                self.pushed(data);
                Ok(())
            }
            BytesFrame::SimpleError { data, .. } => self.refused(data),
            BytesFrame::BlobError { data, .. } => self.refused(&String::from_utf8_lossy(data)),
            answer => self.answered(answer),
        }
    }

    fn pushed(&mut self, words: &[BytesFrame]) {
        let [kind, channel, rest] = words else { return };
        let (Some(kind), Some(channel)) = (text(kind), text(channel)) else { return };
        match kind {
            "smessage" | "message" => self.reports.message(channel, bytes(rest).unwrap_or_default()),
            "ssubscribe" => {
                let asked =
                    self.take(|pending| matches!(pending, Pending::Subscribe(of, _) if of == channel));
                if !self.reports.subscribed(self.id, channel) {
                    self.send(Request::Unsubscribe(channel.to_owned()));
                }
                if let Some(Pending::Subscribe(_, done)) = asked {
                    // Who does not wait any more needs no answer.
                    done.send(Ok(())).unwrap_or_default();
                }
            }
            "sunsubscribe" => {
                let asked = self.take(|pending| matches!(pending, Pending::Unsubscribe(of) if of == channel));
                self.reports.unsubscribed(self.id, channel, asked.is_some());
            }
            "subscribe" => {
                self.take(|pending| matches!(pending, Pending::Control));
            }
            _ => {}
        }
    }

    /// Takes the first request that a push answers, if one does.
    fn take(&mut self, answered: impl Fn(&Pending) -> bool) -> Option<Pending> {
        let place = self.pending.iter().position(|(_, pending)| answered(pending))?;
        self.pending.remove(place).map(|(_, pending)| pending)
    }

    fn refused(&mut self, error: &str) -> Result<(), String> {
        // Where a node ended a subscription by itself in the moment in which that was asked for, the push was taken for
        // the answer, and this is it.
        let moved = error.starts_with("MOVED ");
        let subscribes = |(_, pending): &(Instant, Pending)| {
            matches!(pending, Pending::Subscribe(..) | Pending::Unsubscribe(_))
        };
        if moved && !self.pending.front().is_some_and(subscribes) {
            return Ok(());
        }
        match self.pending.pop_front() {
            Some((_, Pending::Subscribe(_, done))) => {
                let refused = redirection(error, &self.host)
                    .map_or_else(|| Refused::Error(error.to_owned()), Refused::Moved);
                done.send(Err(refused)).unwrap_or_default();
                Ok(())
            }
            // A node that does not have the slot has no subscription either.
            Some((_, Pending::Unsubscribe(channel))) => {
                self.reports.unsubscribed(self.id, &channel, true);
                Ok(())
            }
            Some((_, Pending::Control)) => {
                tracing::warn!(error, "cannot subscribe to the gateways' control channel");
                Ok(())
            }
            Some((_, Pending::Hello | Pending::Slots)) | None => Err(error.to_owned()),
        }
    }

    fn answered(&mut self, answer: &BytesFrame) -> Result<(), String> {
        match self.pending.pop_front() {
            Some((_, Pending::Hello)) => Ok(()),
            Some((_, Pending::Slots)) => {
                let slots = SlotMap::parse(answer, &self.host).ok_or("an unreadable map of slots")?;
                self.reports.slots(self.id, slots);
                Ok(())
            }
            _ => Err("an answer to nothing".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use parking_lot::Mutex;
    use redis_protocol::resp3::decode::complete::decode_bytes_mut;

    use super::*;

    /// Writes down every report.
    #[derive(Default)]
    struct Written(Mutex<Vec<String>>);

    impl Written {
        fn note(&self, what: String) {
            self.0.lock().push(what);
        }
    }

    impl Reports for Written {
        fn message(&self, channel: &str, payload: &[u8]) {
            self.note(format!("{channel}: {}", String::from_utf8_lossy(payload)));
        }

        fn subscribed(&self, _: ConnectionId, channel: &str) -> bool {
            self.note(format!("+{channel}"));
            channel != "unwanted"
        }

        fn unsubscribed(&self, _: ConnectionId, channel: &str, asked: bool) {
            self.note(format!("-{channel}{}", if asked { "" } else { " unasked" }));
        }

        fn slots(&self, _: ConnectionId, slots: SlotMap) {
            self.note(format!("slots {:?}", slots.owner(0)));
        }

        fn closed(&self, _: ConnectionId, _: Option<String>) {}
    }

    fn receive(exchange: &mut Exchange<'_, Written>, text: &str) -> Result<(), String> {
        let mut input = BytesMut::from(text);
        while let Some((frame, ..)) = decode_bytes_mut(&mut input).unwrap() {
            exchange.receive(&frame)?;
        }
        assert!(input.is_empty(), "a frame is not complete");
        Ok(())
    }

    fn push(kind: &str, channel: &str) -> String {
        format!(">3\r\n${}\r\n{kind}\r\n${}\r\n{channel}\r\n:1\r\n", kind.len(), channel.len())
    }

    fn subscribe(
        exchange: &mut Exchange<'_, Written>,
        channel: &str,
    ) -> oneshot::Receiver<Result<(), Refused>> {
        let (done, answer) = oneshot::channel();
        exchange.send(Request::Subscribe { channel: channel.into(), done });
        answer
    }

    #[test]
    fn pushes_and_answers_are_told_apart() {
        let written = Written::default();
        let mut exchange = Exchange::new(ConnectionId(1), "host".into(), &written);
        exchange.begin(None, "control");
        let hello = "%1\r\n$5\r\nproto\r\n:3\r\n";
        let slots = "*1\r\n*3\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:7000\r\n";
        let begun = [hello, &push("subscribe", "control"), slots].concat();
        receive(&mut exchange, &begun).unwrap();
        let (mut a, mut b) = (subscribe(&mut exchange, "a"), subscribe(&mut exchange, "b"));
        exchange.look();
        // A message and an end that nobody asked for, between answers.
        let message = ">3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$2\r\nhi\r\n";
        let answers =
            [&push("ssubscribe", "a"), message, &push("sunsubscribe", "a"), "-MOVED 5 b:7001\r\n"].concat();
        receive(&mut exchange, &answers).unwrap();
        assert_eq!(
            (a.try_recv().unwrap(), b.try_recv().unwrap()),
            (Ok(()), Err(Refused::Moved("b:7001".into())))
        );
        receive(&mut exchange, slots).unwrap();
        let expected = ["slots Some(\"a:7000\")", "+a", "a: hi", "-a unasked", "slots Some(\"a:7000\")"];
        assert_eq!(*written.0.lock(), expected);
        assert!(exchange.pending.is_empty());
    }

    #[test]
    fn a_subscription_that_ends_in_the_moment_in_which_that_is_asked_for_confuses_nothing() {
        let written = Written::default();
        let mut exchange = Exchange::new(ConnectionId(1), "host".into(), &written);
        exchange.send(Request::Unsubscribe("a".into()));
        exchange.look();
        receive(&mut exchange, &[&push("sunsubscribe", "a"), "-MOVED 5 b:7001\r\n"].concat()).unwrap();
        receive(&mut exchange, "*0\r\n").unwrap();
        assert_eq!(*written.0.lock(), ["-a", "slots None"]);
    }

    #[test]
    fn what_nobody_wants_any_more_is_unsubscribed() {
        let written = Written::default();
        let mut exchange = Exchange::new(ConnectionId(1), "host".into(), &written);
        let mut answer = subscribe(&mut exchange, "unwanted");
        receive(&mut exchange, &push("ssubscribe", "unwanted")).unwrap();
        assert_eq!(answer.try_recv().unwrap(), Ok(()));
        assert!(String::from_utf8_lossy(&exchange.output).ends_with("SUNSUBSCRIBE\r\n$8\r\nunwanted\r\n"));
    }

    #[test]
    fn a_node_that_owes_an_answer_for_long_or_refuses_the_login_is_given_up() {
        let written = Written::default();
        let mut exchange = Exchange::new(ConnectionId(1), "host".into(), &written);
        exchange.begin(None, "control");
        assert!(exchange.tick(Instant::now()).is_ok());
        let later = Instant::now() + 2 * ANSWER_TIMEOUT;
        exchange.received(later);
        assert!(exchange.tick(later).is_ok(), "it is busy");
        assert!(exchange.tick(later + 2 * ANSWER_TIMEOUT).is_err());
        assert_eq!(receive(&mut exchange, "-NOAUTH no\r\n"), Err("NOAUTH no".into()));
    }
}
