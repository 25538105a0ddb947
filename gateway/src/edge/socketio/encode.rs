//! Encodes events for the clients of a namespace: to packets, once per dialect, and these to frames, once per namespace.
//! Called by `outbound.rs`; the batch of the hub keeps what all its members receive.

use bytes::BytesMut;

use super::dialect::Dialect;
use super::dialects::Namespace;
use super::engine::frame;
use crate::hub::{Batch, Event, Frames, Packet};
use crate::telemetry::Telemetry;

/// What frames for connections outside the room are cached as. Only one dialect of a namespace has them.
const OUTSIDE: &str = "outside";

/// The packets of a batch. Namespaces of one dialect share them.
pub(super) fn batch_packets<'a>(
    batch: &'a Batch,
    dialect: &dyn Dialect,
    telemetry: &Telemetry,
) -> &'a [Packet] {
    batch.packets(dialect.name(), || {
        telemetry.rooms.encoded(dialect.name(), batch.messages());
        packets(batch.events(), dialect)
    })
}

/// The frames of a batch. The dialect must be that of the namespace.
pub(super) fn batch_frames<'a>(
    batch: &'a Batch,
    namespace: &Namespace,
    dialect: &dyn Dialect,
    telemetry: &Telemetry,
) -> &'a Frames {
    batch.frames((namespace.path(), dialect.name()), || {
        frames(batch_packets(batch, dialect, telemetry), namespace)
    })
}

/// The frames of those packets of a batch that connections outside the room are shown, too.
pub(super) fn outside_frames<'a>(
    batch: &'a Batch,
    namespace: &Namespace,
    dialect: &dyn Dialect,
    telemetry: &Telemetry,
) -> &'a Frames {
    batch.frames((namespace.path(), OUTSIDE), || {
        let shown = |(event, _): &&Packet| dialect.outside().contains(event);
        frames(batch_packets(batch, dialect, telemetry).iter().filter(shown), namespace)
    })
}

/// Encodes events as packets. An event that cannot be encoded is logged and left out.
pub(super) fn packets(events: &[Event], dialect: &dyn Dialect) -> Vec<Packet> {
    let mut packets = Vec::with_capacity(events.len());
    for event in events {
        let mut emit = |name, payload: &_| packets.push((name, ToOwned::to_owned(payload)));
        if let Err(error) = dialect.encode_event(event, &mut emit) {
            tracing::error!(kind = event.kind(), %error, "failed to encode an event");
        }
    }
    packets
}

/// Encodes packets as complete WebSocket frames.
pub(super) fn frames<'a>(packets: impl IntoIterator<Item = &'a Packet>, namespace: &Namespace) -> Frames {
    let (mut out, mut count) = (BytesMut::new(), 0);
    for (name, payload) in packets {
        frame::put_event(&mut out, namespace, name, payload);
        count += 1;
    }
    Frames { bytes: out.freeze(), count }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use roomcast_ops::Metrics;
    use roomcast_protocol::client::ConnectAuth;
    use roomcast_protocol::message::compose;
    use roomcast_protocol::server::Restarting;
    use roomcast_protocol::{Epoch, Refusal, RoomName};
    use serde_json::value::RawValue;

    use super::super::dialect::{Decoded, EncodedReply, Standing};
    use super::super::dialects::DialectName;
    use super::super::packet::Payload;
    use super::*;
    use crate::chat::Reply;
    use crate::hub::Message;

    /// Counts what it encodes.
    struct Counting {
        name: &'static str,
        encoded: AtomicUsize,
    }

    impl Counting {
        const fn new(name: &'static str) -> Self {
            Self { name, encoded: AtomicUsize::new(0) }
        }
    }

    impl Dialect for Counting {
        fn name(&self) -> &'static str {
            self.name
        }

        fn sign_in(&self, _: serde_json::Value) -> Result<Option<ConnectAuth>, Refusal> {
            unreachable!("nobody signs in")
        }

        fn decode(&self, _: &dyn Fn() -> Standing, _: &str, _: &Payload) -> Result<Decoded, Refusal> {
            unreachable!("nothing is decoded")
        }

        fn encode_reply(&self, _: Result<Reply, Refusal>) -> serde_json::Result<EncodedReply> {
            unreachable!("nothing is answered")
        }

        fn outside(&self) -> &'static [&'static str] {
            if self.name == "outside" { &["outside"] } else { &[] }
        }

        fn encode_event(
            &self,
            _: &Event,
            emit: &mut dyn FnMut(&'static str, &RawValue),
        ) -> serde_json::Result<()> {
            self.encoded.fetch_add(1, Ordering::Relaxed);
            emit(self.name, RawValue::NULL);
            emit(self.name, RawValue::TRUE);
            Ok(())
        }
    }

    fn telemetry() -> Telemetry {
        Telemetry::new(&Metrics::new("test").unwrap()).unwrap()
    }

    fn dialect_of(namespace: &Namespace) -> &'static dyn Dialect {
        namespace.dialect(DialectName::default())
    }

    #[test]
    fn a_batch_is_encoded_once_for_each_dialect_present() {
        static DIALECTS: [Counting; 3] = [Counting::new("a"), Counting::new("b"), Counting::new("c")];
        let namespaces = [
            Namespace::new("/0", "/0,", &DIALECTS[0]),
            Namespace::new("/a", "/a,", &DIALECTS[0]),
            Namespace::new("/b", "/b,", &DIALECTS[1]),
        ];
        let telemetry = telemetry();
        let mut batch = Batch::default();
        (0..2).for_each(|n| batch.push(Event::Restarting(Restarting { reconnect_in_ms: n })));
        for namespace in namespaces.iter().cycle().take(30) {
            batch_frames(&batch, namespace, dialect_of(namespace), &telemetry);
            batch_packets(&batch, dialect_of(namespace), &telemetry);
        }
        let encoded = DIALECTS.iter().map(|dialect| dialect.encoded.load(Ordering::Relaxed));
        assert_eq!(encoded.collect::<Vec<_>>(), [2, 2, 0], "both events, once");

        let frames = namespaces
            .iter()
            .map(|namespace| batch_frames(&batch, namespace, dialect_of(namespace), &telemetry));
        let expected = ["42/0,[\"a\",null]", "42/a,[\"a\",null]", "42/b,[\"b\",null]"];
        for (frames, expected) in frames.zip(expected) {
            assert_eq!(frames.count, 4);
            assert_eq!(frames.bytes.get(2..2 + expected.len()), Some(expected.as_bytes()));
        }
    }

    #[test]
    fn encoded_messages_are_counted_once_for_each_dialect_present() {
        let metrics = Metrics::new("test").unwrap();
        let telemetry = Telemetry::new(&metrics).unwrap();
        let body = r#"{"v":1,"id":"a","kind":"text","user":"Ann","text":"hi"}"#;
        let json = compose(&RoomName::parse("r").unwrap(), &Epoch::new("e"), 1, 2, body).unwrap();
        let message = Arc::new(Message { offset: 1, ts: 2, json, trace: None });
        let mut batch = Batch::default();
        (0..3).for_each(|_| batch.push(Event::Message(Arc::clone(&message))));
        batch.push(Event::Restarting(Restarting { reconnect_in_ms: 0 }));
        let present = ["/", "/native", "/flocker", "/ribbit"].map(|path| Namespace::of_path(path).unwrap());
        for namespace in present.iter().cycle().take(100) {
            batch_frames(&batch, namespace, dialect_of(namespace), &telemetry);
        }
        let counted = metrics.encode();
        for (dialect, messages) in [("native", 3), ("flocker", 3), ("ribbit", 3), ("abidev", 0)] {
            let line = format!("roomcast_messages_encoded_total{{dialect=\"{dialect}\"}} {messages}\n");
            assert!(counted.contains(&line), "{line}");
        }
    }

    #[test]
    fn what_is_shown_outside_a_room_is_encoded_with_the_rest() {
        static DIALECT: Counting = Counting::new("outside");
        let namespace = Namespace::new("/o", "/o,", &DIALECT);
        let mut batch = Batch::default();
        batch.push(Event::Restarting(Restarting { reconnect_in_ms: 0 }));
        assert_eq!(batch_frames(&batch, &namespace, &DIALECT, &telemetry()).count, 2);
        assert_eq!(outside_frames(&batch, &namespace, &DIALECT, &telemetry()).count, 2);
        assert_eq!(DIALECT.encoded.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn there_may_be_any_number_of_namespaces() {
        static DIALECT: Counting = Counting::new("many");
        let mut batch = Batch::default();
        batch.push(Event::Restarting(Restarting { reconnect_in_ms: 0 }));
        let telemetry = telemetry();
        for n in 0..1_000 {
            let path: &'static str = format!("/{n}").leak();
            let namespace = Namespace::new(path, path, &DIALECT);
            let prefix = format!("42/{n}[");
            let frames = batch_frames(&batch, &namespace, &DIALECT, &telemetry);
            assert!(frames.bytes.windows(prefix.len()).any(|bytes| bytes == prefix.as_bytes()), "{path}");
        }
        assert_eq!(DIALECT.encoded.load(Ordering::Relaxed), 1);
    }
}
