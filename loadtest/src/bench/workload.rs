//! The workloads, the servers that they are measured on, and the limits that figures must meet. Tables only.

use crate::dialect::Dialect;
use crate::swarm::RoomAt;

/// Bytes of each text.
pub(super) const TEXT_BYTES: usize = 256;

/// Peers, by the name of their folder in `loadtest/peers`.
pub(super) const NODE_SHARDED: &str = "socketio-node-sharded";
/// The adapter that sends every message to every process.
pub(super) const NODE_CLASSIC: &str = "socketio-node-classic";
/// Flask-SocketIO with its Redis queue.
pub(super) const FLASK: &str = "flask-socketio";
/// socketioxide as it comes, with its Redis adapter.
pub(super) const STOCK: &str = "socketioxide-stock";
/// Centrifugo's engine with its Redis broker.
pub(super) const CENTRIFUGE: &str = "centrifuge";

/// The servers of one measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The raw write.
    Floor,
    /// One gateway, alone, without Redis.
    Alone,
    /// The same, with every other member speaking a classic chat.
    Mixed,
    /// The same, with a member who stops reading.
    Slow,
    /// This many gateways, and Redis.
    Roomcast(usize),
    /// This many processes of a peer, and Redis.
    Peer(&'static str, usize),
}

impl Entry {
    /// Its name in tables and files.
    pub(super) fn id(self) -> String {
        match self {
            Self::Floor => "floor".into(),
            Self::Alone => "roomcast-alone".into(),
            Self::Mixed => "roomcast-mixed".into(),
            Self::Slow => "roomcast-slow".into(),
            Self::Roomcast(gateways) => format!("roomcast-{gateways}"),
            Self::Peer(name, _) => name.into(),
        }
    }

    /// Its name for people.
    pub(super) fn label(self) -> String {
        match self {
            Self::Floor => "Raw write (floor)".into(),
            Self::Alone => "Roomcast, 1 gateway, no Redis".into(),
            Self::Mixed => "the same, every other member a classic chat's".into(),
            Self::Slow => "the same, one member stops reading".into(),
            Self::Roomcast(1) => "Roomcast, 1 gateway + Redis".into(),
            Self::Roomcast(gateways) => format!("Roomcast, {gateways} gateways + Redis"),
            Self::Peer(name, processes) => {
                let name = match name {
                    NODE_SHARDED => "Node Socket.IO, sharded adapter",
                    NODE_CLASSIC => "Node Socket.IO, classic adapter",
                    FLASK => "Flask-SocketIO",
                    STOCK => "socketioxide, stock",
                    CENTRIFUGE => "centrifuge engine",
                    other => other,
                };
                format!("{name} ×{processes}")
            }
        }
    }

    /// Its dialect.
    pub(super) fn dialect(self) -> Dialect {
        match self {
            Self::Floor => Dialect::Floor,
            Self::Mixed => Dialect::RoomcastMixed,
            Self::Alone | Self::Slow | Self::Roomcast(_) => Dialect::Roomcast,
            Self::Peer(CENTRIFUGE, _) => Dialect::Centrifuge,
            Self::Peer(..) => Dialect::SocketioPeer,
        }
    }

    /// The peer's name.
    pub(super) fn peer(self) -> Option<&'static str> {
        if let Self::Peer(name, _) = self { Some(name) } else { None }
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Messages to rooms.
    Fanout {
        /// Messages a second, all rooms together.
        rate: f64,
    },
    /// The same, with and without a member who stops reading.
    Slow {
        /// Messages a second.
        rate: f64,
    },
    /// Memory of connections that do nothing.
    Idle,
    /// Processor time of connecting and joining.
    Connect,
    /// The commands that Redis receives.
    Commands,
}

/// A workload.
pub(super) struct Workload {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// What it is, for people.
    pub(super) title: &'static str,
    /// What is done.
    pub(super) work: Work,
    /// Rooms.
    pub(super) rooms: usize,
    /// Members of each.
    pub(super) each: usize,
    /// Which servers a room's members are on.
    pub(super) at: RoomAt,
    /// The servers.
    pub(super) entries: Vec<Entry>,
    /// More rounds would not change the result.
    pub(super) most_rounds: usize,
    /// Seconds of sending, even where fewer are asked for.
    pub(super) least_seconds: u64,
}

/// All of them.
pub(super) fn all() -> Vec<Workload> {
    use Entry::{Alone, Floor, Mixed, Peer, Roomcast, Slow};
    let fanout = |name, title, rooms, each, rate, entries| Workload {
        name,
        title,
        work: Work::Fanout { rate },
        rooms,
        each,
        at: RoomAt::All,
        entries,
        most_rounds: usize::MAX,
        least_seconds: 1,
    };
    vec![
        fanout(
            "rooms10",
            "1,000 members in 10 rooms, 200 messages/s",
            10,
            100,
            200.0,
            vec![
                Floor,
                Alone,
                Roomcast(2),
                Peer(NODE_SHARDED, 2),
                Peer(NODE_CLASSIC, 2),
                Peer(STOCK, 2),
                Peer(CENTRIFUGE, 2),
                Peer(FLASK, 2),
            ],
        ),
        fanout(
            "hot",
            "one room of 200 members, 500 messages/s",
            1,
            200,
            500.0,
            vec![Floor, Alone, Roomcast(2)],
        ),
        fanout(
            "small",
            "500 rooms of 4 members, 3,000 messages/s",
            500,
            4,
            3_000.0,
            vec![
                Roomcast(2),
                Peer(NODE_SHARDED, 2),
                Peer(NODE_CLASSIC, 2),
                Peer(STOCK, 2),
                Peer(CENTRIFUGE, 2),
            ],
        ),
        Workload {
            at: RoomAt::Pair,
            ..fanout(
                "spread",
                "1,000 members in 10 rooms, 200 messages/s, each room on 2 gateways",
                10,
                100,
                200.0,
                vec![Roomcast(2), Roomcast(8)],
            )
        },
        fanout(
            "dialects",
            "one room of 1,000 members, 50 messages/s: all native, or 500 of them of a classic chat",
            1,
            1_000,
            50.0,
            vec![Alone, Mixed],
        ),
        // At this rate the kernel's buffers are full, and the gateway's deadline is over, well within the time.
        Workload {
            work: Work::Slow { rate: 50.0 },
            least_seconds: 30,
            ..fanout(
                "slow",
                "one room of 1,000 members, 50 messages/s, with and without one who stops reading",
                1,
                1_000,
                0.0,
                vec![Alone, Slow],
            )
        },
        Workload {
            work: Work::Idle,
            most_rounds: 3,
            ..fanout(
                "idle",
                "10,000 idle connections, each in a room of 100",
                100,
                100,
                0.0,
                vec![Roomcast(1), Peer(NODE_SHARDED, 1), Peer(STOCK, 1)],
            )
        },
        Workload {
            work: Work::Connect,
            ..fanout(
                "connect",
                "2,000 clients connect and join, in rooms of 25",
                100,
                25,
                0.0,
                vec![Roomcast(1), Peer(NODE_SHARDED, 1)],
            )
        },
        Workload {
            work: Work::Commands,
            most_rounds: 1,
            ..fanout("redis", "what 2 gateways ask of Redis", 100, 100, 200.0, vec![Roomcast(2)])
        },
    ]
}

/// What is to be shown.
pub(super) struct Bar {
    /// The workload it belongs to.
    pub(super) workload: &'static str,
    /// What, for people.
    pub(super) what: &'static str,
    /// The figure: an entry and a measure.
    pub(super) figure: (&'static str, &'static str),
    /// What it is divided by, within each round.
    pub(super) over: Option<(&'static str, &'static str)>,
    /// The bar, as it is written.
    pub(super) shown: &'static str,
    /// It is met at this or less.
    pub(super) limit: f64,
    /// It is met, too, where the figure is at most this much more than what it is divided by. What is
    /// shown is that difference then, not the quotient.
    pub(super) slack: Option<f64>,
}

/// Processor time of servers and Redis per delivery, in µs.
pub(super) const CPU: &str = "cpu_us";

/// All bars, in the order of the table.
pub(super) fn bars() -> Vec<Bar> {
    let bar = |workload, what, figure, over, shown, limit| Bar {
        workload,
        what,
        figure,
        over,
        shown,
        limit,
        slack: None,
    };
    let cpu = |entry| (entry, CPU);
    vec![
        bar(
            "rooms10",
            "1 gateway: CPU per delivery ÷ raw write",
            cpu("roomcast-alone"),
            Some(cpu("floor")),
            "≤ 1.15",
            1.15,
        ),
        bar(
            "rooms10",
            "2 gateways + Redis: CPU per delivery ÷ raw write",
            cpu("roomcast-2"),
            Some(cpu("floor")),
            "≤ 1.35",
            1.35,
        ),
        bar(
            "rooms10",
            "the same ÷ Node Socket.IO, sharded adapter",
            cpu("roomcast-2"),
            Some(cpu(NODE_SHARDED)),
            "≤ 0.38 (stretch 0.30)",
            0.38,
        ),
        bar(
            "rooms10",
            "the same ÷ centrifuge engine",
            cpu("roomcast-2"),
            Some(cpu(CENTRIFUGE)),
            "≤ 0.45 (stretch 0.35)",
            0.45,
        ),
        bar(
            "hot",
            "1 gateway: CPU per delivery ÷ raw write",
            cpu("roomcast-alone"),
            Some(cpu("floor")),
            "≤ 0.50",
            0.50,
        ),
        bar("hot", "p99 latency, ms", ("roomcast-alone", "p99_ms"), None, "≤ 15", 15.0),
        bar(
            "small",
            "2 gateways + Redis: CPU per delivery ÷ Node Socket.IO, sharded",
            cpu("roomcast-2"),
            Some(cpu(NODE_SHARDED)),
            "≤ 0.40 (stretch 0.30)",
            0.40,
        ),
        bar(
            "small",
            "the same ÷ centrifuge engine",
            cpu("roomcast-2"),
            Some(cpu(CENTRIFUGE)),
            "≤ 0.40 (stretch 0.30)",
            0.40,
        ),
        bar(
            "spread",
            "8 gateways: messages from Redis to gateways per room message",
            ("roomcast-8", "copies"),
            None,
            "2.0",
            2.0,
        ),
        bar(
            "spread",
            "8 gateways: CPU per delivery ÷ 2 gateways",
            cpu("roomcast-8"),
            Some(cpu("roomcast-2")),
            "≤ 1.1",
            1.1,
        ),
        bar(
            "dialects",
            "500 native and 500 members of a classic chat: CPU per delivery ÷ 1,000 native ones",
            cpu("roomcast-mixed"),
            Some(cpu("roomcast-alone")),
            "≤ 1.10",
            1.10,
        ),
        Bar {
            slack: Some(2.0),
            ..bar(
                "slow",
                "p99 latency of the others, ms more than without a slow reader",
                ("roomcast-slow", "p99_ms"),
                Some(("roomcast-alone", "p99_ms")),
                "≤ 2, or ≤ 10 %",
                1.10,
            )
        },
        // A run in which anything but this one connection was cut off is a failed one.
        bar("slow", "the slow reader is cut off after, s", ("roomcast-slow", "cut_s"), None, "≤ 30", 30.0),
        bar(
            "idle",
            "resident KiB per connection, gateway",
            ("roomcast-1", "kib"),
            None,
            "≤ 16 (stretch 11)",
            16.0,
        ),
        bar(
            "connect",
            "CPU per client ÷ Node Socket.IO",
            ("roomcast-1", "client_us"),
            Some((NODE_SHARDED, "client_us")),
            "≤ 0.35",
            0.35,
        ),
        // A few scripts that renew leases fall into the time in which messages are counted.
        bar("redis", "`evalsha` calls per message", ("roomcast-2", "scripts"), None, "1", 1.01),
        bar(
            "redis",
            "commands/s at rest and process: 10,000 users against none",
            ("roomcast-2", "rest_difference"),
            None,
            "< 0.1",
            0.0999,
        ),
        bar(
            "redis",
            "commands/s at rest and process, in all",
            ("roomcast-2", "rest_users"),
            None,
            "≤ 2",
            2.0,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_speak_of_what_is_measured() {
        let workloads = all();
        for bar in bars() {
            let workload = workloads.iter().find(|workload| workload.name == bar.workload).unwrap();
            for (entry, _) in std::iter::once(bar.figure).chain(bar.over) {
                assert!(workload.entries.iter().any(|one| one.id() == entry), "{}: {entry}", bar.what);
            }
        }
    }
}
