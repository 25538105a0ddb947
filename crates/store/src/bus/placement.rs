//! Which connection to a node of a cluster holds which channel, and which node has which slot. Decides and does
//! nothing; kept by `cluster.rs`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::exchange::{ConnectionId, Request};
use super::slots::SlotMap;
use crate::partition::slot;

#[derive(Default)]
pub(super) struct State {
    pub(super) nodes: HashMap<String, Node>,
    /// Where each confirmed subscription is.
    pub(super) held: HashMap<String, ConnectionId>,
    /// Channels whose subscription ended or is in the wrong place.
    pub(super) lost: HashSet<String>,
    pub(super) lost_since: Option<Instant>,
    /// Nodes to which a connection failed, until one is made.
    pub(super) failures: HashMap<String, Failure>,
    /// The operator was told why channels cannot be subscribed to; until nothing is lost any more.
    pub(super) warned: bool,
    pub(super) opened: u64,
    /// When the nodes were asked for their slots out of turn.
    pub(super) looked: Option<Instant>,
}

/// A connection.
pub(super) struct Node {
    pub(super) id: ConnectionId,
    pub(super) requests: mpsc::Sender<Request>,
    /// What it told; nothing until it answered for the first time.
    pub(super) slots: Option<SlotMap>,
}

/// A node to which a connection failed.
pub(super) struct Failure {
    /// When it may be tried again.
    pub(super) until: Instant,
    pub(super) wait: Duration,
    /// The operator was told why no connection could be made.
    pub(super) warned: bool,
}

impl State {
    pub(super) fn lose(&mut self, channel: &str) {
        self.lost.insert(channel.to_owned());
        self.lost_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn node(&mut self, id: ConnectionId) -> Option<(&String, &mut Node)> {
        self.nodes.iter_mut().find(|(_, node)| node.id == id)
    }

    /// The address of the primary that has a slot, by what most nodes told.
    pub(super) fn owner(&self, slot: u16) -> Option<String> {
        let mut votes: HashMap<&str, usize> = HashMap::new();
        for owner in self.nodes.values().filter_map(|node| node.slots.as_ref()?.owner(slot)) {
            *votes.entry(owner).or_default() += 1;
        }
        // A node that claims the slot for itself decides between equals.
        let claims = |address: &str| {
            self.nodes.get(address).and_then(|node| node.slots.as_ref()?.owner(slot)) == Some(address)
        };
        let most = votes.into_iter().max_by_key(|(address, votes)| (*votes, claims(address)));
        most.map(|(address, _)| address.to_owned())
    }

    /// Addresses of all primaries that some node told.
    pub(super) fn primaries(&self) -> HashSet<String> {
        let told = self.nodes.values().filter_map(|node| node.slots.as_ref());
        told.flat_map(SlotMap::primaries).map(ToOwned::to_owned).collect()
    }

    /// Channels that a connection holds although `slots` say that another node has them.
    pub(super) fn misplaced(&self, connection: ConnectionId, address: &str, slots: &SlotMap) -> Vec<String> {
        let elsewhere = |channel: &str| slots.owner(slot(channel)).is_some_and(|owner| owner != address);
        let held = self.held.iter().filter(|(_, holder)| **holder == connection);
        held.map(|(channel, _)| channel).filter(|channel| elsewhere(channel)).cloned().collect()
    }

    /// Ends what a connection holds, which it returns.
    pub(super) fn release(&mut self, connection: ConnectionId) -> Vec<String> {
        self.held.extract_if(|_, holder| *holder == connection).map(|(channel, _)| channel).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, ranges: &[(u16, u16, &str)]) -> Node {
        Node { id: ConnectionId(id), requests: mpsc::channel(1).0, slots: Some(SlotMap::of(ranges)) }
    }

    #[test]
    fn most_nodes_decide_where_a_slot_is_and_its_owner_between_equals() {
        let mut state = State::default();
        assert_eq!(state.owner(1), None);
        state.nodes.insert("a".into(), node(1, &[(0, 9, "a"), (10, 19, "b")]));
        assert_eq!((state.owner(1).as_deref(), state.owner(20)), (Some("a"), None));
        state.nodes.insert("b".into(), node(2, &[(0, 19, "b")]));
        assert_eq!(state.owner(15).as_deref(), Some("b"));
        state.nodes.insert("c".into(), node(3, &[(0, 19, "b")]));
        assert_eq!(state.owner(1).as_deref(), Some("b"), "a was cut off, and knows what was once true");
        assert_eq!(state.primaries(), HashSet::from(["a".into(), "b".into()]));
        state.nodes.remove("a");
        state.nodes.insert("c".into(), node(3, &[(0, 19, "c")]));
        state.nodes.insert("d".into(), Node { slots: None, ..node(4, &[]) });
        assert!(matches!(state.owner(1).as_deref(), Some("b" | "c")));
        state.nodes.insert("b".into(), node(2, &[(0, 19, "c")]));
        assert_eq!(state.owner(1).as_deref(), Some("c"));
        state.nodes.insert("c".into(), node(3, &[(0, 19, "b")]));
        state.nodes.insert("b".into(), node(2, &[(0, 19, "b")]));
        assert_eq!(state.owner(1).as_deref(), Some("b"));
    }

    #[test]
    fn a_connection_holds_what_is_in_its_slots() {
        let mut state = State::default();
        let (here, there) = (slot("{1}"), slot("{2}"));
        for channel in ["{1}", "{2}"] {
            state.held.insert(channel.into(), ConnectionId(1));
        }
        state.held.insert("{3}".into(), ConnectionId(2));
        let slots = SlotMap::of(&[(here, here, "a"), (there, there, "b")]);
        assert_eq!(state.misplaced(ConnectionId(1), "a", &slots), ["{2}"]);
        let mut released = state.release(ConnectionId(1));
        released.sort();
        assert_eq!(released, ["{1}", "{2}"]);
        assert_eq!(state.held.len(), 1);
    }
}
