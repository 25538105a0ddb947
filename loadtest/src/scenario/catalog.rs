//! The scenarios of the swarm, by name. A table only. Where k6 has a scenario of the same purpose, the names are equal.

/// Which rooms the connections are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rooms {
    /// One for all.
    One,
    /// Rooms of this many members.
    Of(usize),
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Connects all, has them idle, then sends one message to every room.
    Idle,
    /// Connects all, then sends at a constant rate.
    Send,
    /// Connects all as fast as the gateways accept them, then sends one message to every room.
    Connect,
    /// Raises the rate until deliveries are late or lost, for several numbers of gateways.
    Breakpoint,
    /// Measures the costs of the capacity guide, and checks its formula.
    Capacity,
}

/// A scenario and its defaults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    /// On the command line.
    pub(super) name: &'static str,
    /// What it is, for people.
    pub(super) about: &'static str,
    /// What is done.
    pub(super) work: Work,
    /// Connections, each of another user.
    pub(super) connections: usize,
    /// Their rooms.
    pub(super) rooms: Rooms,
    /// Messages a second, all rooms together.
    pub(super) rate: f64,
    /// How long it idles or sends, in seconds; of `breakpoint`, each step.
    pub(super) seconds: u64,
    /// The limit of the 99th percentile of the time from send to receive, in milliseconds.
    pub(super) p99_ms: f64,
    /// How many gateways are started where none are given.
    pub(super) gateways: &'static [usize],
}

/// All of them.
pub(super) const ALL: [Scenario; 7] = [
    Scenario {
        name: "chat",
        about: "rooms of 100, every member sends in turn",
        work: Work::Send,
        connections: 1_000,
        rooms: Rooms::Of(100),
        rate: 200.0,
        seconds: 20,
        p99_ms: 100.0,
        gateways: &[2],
    },
    Scenario {
        name: "big-room",
        about: "one room of 10,000, of whom 100 send",
        work: Work::Send,
        connections: 10_000,
        rooms: Rooms::One,
        rate: 5.0,
        seconds: 20,
        p99_ms: 1_000.0,
        gateways: &[2],
    },
    Scenario {
        name: "small-rooms",
        about: "2,500 rooms of 4",
        work: Work::Send,
        connections: 10_000,
        rooms: Rooms::Of(4),
        rate: 2_000.0,
        seconds: 20,
        p99_ms: 250.0,
        gateways: &[2],
    },
    Scenario {
        name: "connect-storm",
        about: "20,000 users connect and join at once, in rooms of 25",
        work: Work::Connect,
        connections: 20_000,
        rooms: Rooms::Of(25),
        rate: 200.0,
        seconds: 10,
        p99_ms: 1_000.0,
        gateways: &[2],
    },
    Scenario {
        name: "idle-50k",
        about: "50,000 connections in rooms of 100, then a message to each",
        work: Work::Idle,
        connections: 50_000,
        rooms: Rooms::Of(100),
        rate: 500.0,
        seconds: 60,
        p99_ms: 1_000.0,
        gateways: &[4],
    },
    Scenario {
        name: "breakpoint",
        about: "the highest rate to rooms of 100 with deliveries in time and none lost, on 1, 2 and 4 gateways",
        work: Work::Breakpoint,
        connections: 1_000,
        rooms: Rooms::Of(100),
        rate: 400.0,
        seconds: 5,
        p99_ms: 100.0,
        gateways: &[1, 2, 4],
    },
    Scenario {
        name: "capacity",
        about: "what a connection, a join, a message and a delivery cost, and whether a prediction from that holds",
        work: Work::Capacity,
        connections: 4_000,
        rooms: Rooms::Of(100),
        rate: 0.0,
        seconds: 10,
        p99_ms: 1_000.0,
        gateways: &[2],
    },
];

impl Scenario {
    /// How many rooms these connections are in, and how many members each has: at least as many in all.
    pub(super) fn shape(&self, connections: usize) -> (usize, usize) {
        match self.rooms {
            Rooms::One => (1, connections),
            Rooms::Of(members) => (connections.div_ceil(members).max(1), members.min(connections)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fill_the_rooms() {
        let of = |rooms, connections| Scenario { rooms, ..ALL[0] }.shape(connections);
        assert_eq!(of(Rooms::One, 10_000), (1, 10_000));
        assert_eq!(of(Rooms::Of(100), 50_000), (500, 100));
        assert_eq!(of(Rooms::Of(100), 101), (2, 100));
        assert_eq!(of(Rooms::Of(100), 20), (1, 20));
    }
}
