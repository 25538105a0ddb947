//! Which node of a cluster has which slots, as one node tells it. Read by `node.rs`, used by `cluster.rs`.

use redis_protocol::resp3::types::BytesFrame;

/// Ranges of slots with the addresses of their primaries, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SlotMap(Vec<Range>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    primary: String,
}

impl SlotMap {
    /// Parses the answer to CLUSTER SLOTS. `host` is that of the node that answered, for a node that does not know
    /// under which address it is reached.
    pub(super) fn parse(answer: &BytesFrame, host: &str) -> Option<Self> {
        let mut ranges =
            elements(answer)?.iter().map(|range| Range::parse(range, host)).collect::<Option<Vec<_>>>()?;
        ranges.sort_by_key(|range| range.first);
        Some(Self(ranges))
    }

    #[cfg(test)]
    pub(super) fn of(ranges: &[(u16, u16, &str)]) -> Self {
        let range = |(first, last, primary): &(u16, u16, &str)| Range {
            first: *first,
            last: *last,
            primary: (*primary).to_owned(),
        };
        let mut ranges: Vec<_> = ranges.iter().map(range).collect();
        ranges.sort_by_key(|range| range.first);
        Self(ranges)
    }

    /// The address of the primary that has a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&str> {
        let next = self.0.partition_point(|range| range.first <= slot);
        let range = self.0.get(next.checked_sub(1)?)?;
        (slot <= range.last).then_some(range.primary.as_str())
    }

    /// The addresses of all primaries that have slots, some of them more than once.
    pub(super) fn primaries(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|range| range.primary.as_str())
    }
}

impl Range {
    fn parse(range: &BytesFrame, host: &str) -> Option<Self> {
        let [first, last, primary, ..] = elements(range)? else { return None };
        let [endpoint, port, ..] = elements(primary)? else { return None };
        let number = |frame: &BytesFrame| match frame {
            BytesFrame::Number { data, .. } => u16::try_from(*data).ok(),
            _ => None,
        };
        Some(Self {
            first: number(first)?,
            last: number(last)?,
            primary: address(text(endpoint).unwrap_or_default(), number(port)?, host),
        })
    }
}

/// The address of a node, which may tell no host: then it is reached at that of the node that was asked.
fn address(endpoint: &str, port: u16, asked: &str) -> String {
    let host = if endpoint.is_empty() || endpoint == "?" { asked } else { endpoint };
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The address that a redirection names: `MOVED SLOT HOST:PORT`.
pub(super) fn redirection(error: &str, asked: &str) -> Option<String> {
    let (_, target) = error.strip_prefix("MOVED ")?.split_once(' ')?;
    let (endpoint, port) = target.rsplit_once(':')?;
    Some(address(endpoint.trim_matches(['[', ']']), port.trim().parse().ok()?, asked))
}

/// The host of an address, without the brackets of IPv6.
pub(super) fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']'])
}

pub(super) fn elements(frame: &BytesFrame) -> Option<&[BytesFrame]> {
    match frame {
        BytesFrame::Array { data, .. } | BytesFrame::Push { data, .. } => Some(data),
        _ => None,
    }
}

pub(super) fn text(frame: &BytesFrame) -> Option<&str> {
    bytes(frame).and_then(|bytes| std::str::from_utf8(bytes).ok())
}

pub(super) fn bytes(frame: &BytesFrame) -> Option<&[u8]> {
    match frame {
        BytesFrame::BlobString { data, .. }
        | BytesFrame::SimpleString { data, .. }
        | BytesFrame::VerbatimString { data, .. } => Some(data),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use redis_protocol::resp3::decode::complete::decode_bytes_mut;

    use super::*;

    fn frame(text: &str) -> BytesFrame {
        decode_bytes_mut(&mut BytesMut::from(text)).unwrap().unwrap().0
    }

    #[test]
    fn the_owner_of_a_slot_is_found() {
        let answer = "*3\r\n\
            *3\r\n:200\r\n:16383\r\n*2\r\n$3\r\n::1\r\n:7002\r\n\
            *4\r\n:0\r\n:99\r\n*3\r\n$1\r\na\r\n:7000\r\n$2\r\nid\r\n*3\r\n$1\r\nb\r\n:7003\r\n$2\r\nid\r\n\
            *3\r\n:100\r\n:100\r\n*2\r\n_\r\n:7001\r\n";
        let map = SlotMap::parse(&frame(answer), "asked").unwrap();
        let owners =
            [(0, "a:7000"), (99, "a:7000"), (100, "asked:7001"), (200, "[::1]:7002"), (16_383, "[::1]:7002")];
        for (slot, owner) in owners {
            assert_eq!(map.owner(slot), Some(owner), "{slot}");
        }
        assert_eq!((map.owner(101), map.owner(199), SlotMap::default().owner(0)), (None, None, None));
        assert_eq!(map.primaries().collect::<Vec<_>>(), ["a:7000", "asked:7001", "[::1]:7002"]);
        assert_eq!(SlotMap::parse(&frame("+OK\r\n"), "asked"), None);
        assert_eq!(SlotMap::parse(&frame("*1\r\n*1\r\n:5\r\n"), "asked"), None);
    }

    #[test]
    fn a_redirection_names_an_address() {
        for (error, address) in [
            ("MOVED 5 10.0.0.1:7000", Some("10.0.0.1:7000")),
            ("MOVED 5 ::1:7000", Some("[::1]:7000")),
            ("MOVED 5 :7000", Some("asked:7000")),
            ("ASK 5 10.0.0.1:7000", None),
            ("MOVED 5", None),
        ] {
            assert_eq!(redirection(error, "asked").as_deref(), address, "{error}");
        }
        assert_eq!((host_of("a:1"), host_of("[::1]:1")), ("a", "::1"));
    }
}
