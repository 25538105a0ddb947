//! A user's stay on this node: the number of connections, and the graces of those that dropped. Pure. The only place
//! that counts connections and times graces: for names (`users/registry.rs`) and for rooms (`room/roster.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use roomcast_protocol::UserName;

/// For how long the ends of graces are kept: an outage of the store is noticed within this time.
const ENDED_RETENTION: Duration = Duration::from_secs(30);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// By an explicit leave: the user is gone at once.
    Left,
    /// Without one, by the loss of its transport: the user may return within the grace.
    Dropped,
}

/// The end of a grace, and a unique number.
type End = (Instant, u64);

/// One user, who is present while there is a connection or a grace.
#[derive(Default)]
struct Stay {
    connections: usize,
    /// One for each connection that dropped and has not returned, sorted by end.
    graces: BTreeSet<End>,
}

/// The stays of a room's users on this node, or of all the node's users.
pub(crate) struct Stays {
    grace: Duration,
    stays: BTreeMap<UserName, Stay>,
    /// The user of each grace, sorted by end.
    ends: BTreeMap<End, UserName>,
    next_number: u64,
    /// Users whose last grace ended within [`ENDED_RETENTION`].
    ended: VecDeque<(Instant, UserName)>,
    /// Since when the store is unreachable: graces are paused meanwhile.
    unreachable_since: Option<Instant>,
}

impl Stays {
    pub(crate) fn new(grace: Duration, unreachable_since: Option<Instant>) -> Self {
        let (stays, ends, ended) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self { grace, stays, ends, next_number: 0, ended, unreachable_since }
    }

    /// A connection arrives. True where it is the return of one that dropped here; it ends the oldest grace.
    pub(crate) fn arrive(&mut self, user: &UserName) -> bool {
        let stay = self.stays.entry(user.clone()).or_default();
        stay.connections += 1;
        let returned = stay.graces.pop_first();
        returned.is_some_and(|end| self.ends.remove(&end).is_some())
    }

    /// A connection ends. Graces of the user's other connections are not affected.
    pub(crate) fn depart(&mut self, user: &UserName, how: Departure, now: Instant) {
        let Some(stay) = self.stays.get_mut(user).filter(|stay| stay.connections > 0) else { return };
        stay.connections -= 1;
        if how == Departure::Dropped {
            let end = (self.unreachable_since.unwrap_or(now) + self.grace, self.next_number);
            self.next_number += 1;
            stay.graces.insert(end);
            self.ends.insert(end, user.clone());
        }
        self.remove_if_over(user);
    }

    /// A connection of the user arrived on another node: ends the oldest grace here. False where there is none.
    pub(crate) fn returned_elsewhere(&mut self, user: &UserName) -> bool {
        let end = self.stays.get_mut(user).and_then(|stay| stay.graces.pop_first());
        let Some(end) = end else { return false };
        self.ends.remove(&end);
        self.remove_if_over(user);
        true
    }

    /// Ends all graces of a user here: the connections that dropped do not return.
    pub(crate) fn end_graces(&mut self, user: &UserName) {
        if let Some(stay) = self.stays.get_mut(user) {
            std::mem::take(&mut stay.graces).iter().for_each(|end| drop(self.ends.remove(end)));
            self.remove_if_over(user);
        }
    }

    /// Ends the graces that are over; returns the users that are not present any more.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<UserName> {
        let mut gone = Vec::new();
        if self.unreachable_since.is_some() {
            return gone;
        }
        while let Some(entry) = self.ends.first_entry().filter(|entry| entry.key().0 <= now) {
            let (end, user) = entry.remove_entry();
            if let Some(stay) = self.stays.get_mut(&user) {
                stay.graces.remove(&end);
            }
            if self.remove_if_over(&user) {
                self.ended.push_back((end.0, user.clone()));
                gone.push(user);
            }
        }
        while self.ended.pop_front_if(|(end, _)| *end + ENDED_RETENTION <= now).is_some() {}
        gone
    }

    /// Removes the user, also where there are connections and graces.
    pub(crate) fn remove(&mut self, user: &UserName) {
        let graces = self.stays.remove(user).map(|stay| stay.graces).unwrap_or_default();
        graces.iter().for_each(|end| drop(self.ends.remove(end)));
    }

    /// The store is unreachable and last answered at `since`: graces are paused from then on. Graces that ended since
    /// are restored, unless the store has recorded the end. Returns their users.
    pub(crate) fn pause(&mut self, since: Instant, is_recorded: impl Fn(&UserName) -> bool) -> Vec<UserName> {
        if self.unreachable_since.is_some() {
            return Vec::new();
        }
        self.unreachable_since = Some(since);
        let mut restored = Vec::new();
        for (end, user) in std::mem::take(&mut self.ended) {
            if end > since && !self.is_present(&user) && !is_recorded(&user) {
                let end = (end, self.next_number);
                self.next_number += 1;
                self.stays.entry(user.clone()).or_default().graces.insert(end);
                self.ends.insert(end, user.clone());
                restored.push(user);
            }
        }
        restored
    }

    /// The store is reachable again: every grace continues with the time that was left.
    pub(crate) fn resume(&mut self, now: Instant) {
        let Some(since) = self.unreachable_since.take() else { return };
        let unreachable_for = now.saturating_duration_since(since);
        let later = |(end, number): End| (end + unreachable_for, number);
        self.ends =
            std::mem::take(&mut self.ends).into_iter().map(|(end, user)| (later(end), user)).collect();
        for stay in self.stays.values_mut().filter(|stay| !stay.graces.is_empty()) {
            stay.graces = std::mem::take(&mut stay.graces).into_iter().map(later).collect();
        }
    }

    /// When the next grace ends; none while the store is unreachable.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ends.keys().next().map(|(end, _)| *end).filter(|_| self.unreachable_since.is_none())
    }

    pub(crate) fn is_present(&self, user: &UserName) -> bool {
        self.stays.contains_key(user)
    }

    pub(crate) fn connections(&self, user: &UserName) -> usize {
        self.stays.get(user).map_or(0, |stay| stay.connections)
    }

    /// All present users, sorted.
    pub(crate) fn users(&self) -> impl Iterator<Item = &UserName> {
        self.stays.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.stays.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stays.is_empty()
    }

    fn remove_if_over(&mut self, user: &UserName) -> bool {
        let over = self.stays.get(user).is_some_and(|stay| stay.connections == 0 && stay.graces.is_empty());
        if over {
            self.stays.remove(user);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(15);
    const SECOND: Duration = Duration::from_secs(1);

    fn ann() -> UserName {
        UserName::parse("ann").unwrap()
    }

    fn stays() -> (Stays, Instant) {
        (Stays::new(GRACE, None), Instant::now())
    }

    #[test]
    fn a_user_who_returns_within_the_grace_stays_present() {
        let (mut stays, now) = stays();
        assert!(!stays.arrive(&ann()));
        stays.depart(&ann(), Departure::Dropped, now);
        assert_eq!(stays.deadline(), Some(now + GRACE));
        assert!(stays.arrive(&ann()), "the return of the one that dropped");
        assert_eq!((stays.expire(now + GRACE), stays.connections(&ann())), (vec![], 1));
        stays.depart(&ann(), Departure::Dropped, now + SECOND);
        assert!(stays.expire(now + GRACE).is_empty());
        assert_eq!(stays.expire(now + GRACE + SECOND), [ann()]);
        assert!(stays.is_empty() && stays.deadline().is_none());
    }

    #[test]
    fn a_tab_that_leaves_does_not_end_the_grace_of_another_tab() {
        let (mut stays, now) = stays();
        stays.arrive(&ann());
        stays.arrive(&ann());
        stays.depart(&ann(), Departure::Dropped, now);
        stays.depart(&ann(), Departure::Left, now);
        assert!(stays.is_present(&ann()), "the first may return");
        assert!(stays.arrive(&ann()));
        stays.depart(&ann(), Departure::Left, now);
        assert!(!stays.is_present(&ann()) && stays.deadline().is_none());
    }

    #[test]
    fn every_dropped_connection_has_its_own_grace() {
        let (mut stays, now) = stays();
        stays.arrive(&ann());
        stays.arrive(&ann());
        stays.depart(&ann(), Departure::Dropped, now);
        stays.depart(&ann(), Departure::Dropped, now + SECOND);
        assert!(stays.expire(now + GRACE).is_empty());
        assert!(stays.returned_elsewhere(&ann()), "the second returned on another node");
        assert!(!stays.is_present(&ann()) && !stays.returned_elsewhere(&ann()));
    }

    #[test]
    fn a_return_on_another_node_ends_a_grace_and_no_connection() {
        let (mut stays, now) = stays();
        stays.arrive(&ann());
        assert!(!stays.returned_elsewhere(&ann()), "another tab");
        stays.arrive(&ann());
        stays.depart(&ann(), Departure::Dropped, now);
        assert!(stays.returned_elsewhere(&ann()));
        assert_eq!((stays.connections(&ann()), stays.deadline()), (1, None));
    }

    #[test]
    fn graces_are_paused_while_the_store_is_unreachable() {
        let (mut stays, now) = stays();
        stays.arrive(&ann());
        stays.depart(&ann(), Departure::Dropped, now);
        stays.pause(now + 10 * SECOND, |_| false);
        assert!(stays.expire(now + 60 * SECOND).is_empty());
        assert_eq!(stays.deadline(), None);
        stays.resume(now + 60 * SECOND);
        assert_eq!(stays.deadline(), Some(now + 65 * SECOND), "five seconds were left");
        stays.pause(now + 61 * SECOND, |_| false);
        stays.arrive(&ann());
        stays.depart(&ann(), Departure::Dropped, now + 70 * SECOND);
        stays.resume(now + 80 * SECOND);
        assert_eq!(
            stays.deadline(),
            Some(now + 80 * SECOND + GRACE),
            "a whole grace, because it began during the outage"
        );
    }

    #[test]
    fn a_grace_that_ended_before_the_outage_was_noticed_is_restored() {
        for (recorded, ends_at) in [(false, Some(40)), (true, None)] {
            let (mut stays, now) = stays();
            stays.arrive(&ann());
            stays.depart(&ann(), Departure::Dropped, now);
            assert_eq!(stays.expire(now + GRACE), [ann()]);
            let restored = stays.pause(now + 10 * SECOND, |_| recorded);
            assert_eq!(restored.len(), usize::from(!recorded));
            stays.resume(now + 35 * SECOND);
            assert_eq!(stays.deadline(), ends_at.map(|seconds| now + seconds * SECOND));
        }
    }

    #[test]
    fn a_removed_user_has_no_grace() {
        let (mut stays, now) = stays();
        stays.arrive(&ann());
        stays.arrive(&ann());
        stays.depart(&ann(), Departure::Dropped, now);
        stays.remove(&ann());
        assert!(stays.is_empty() && stays.deadline().is_none());
        stays.depart(&ann(), Departure::Dropped, now);
        assert!(stays.is_empty(), "the end of its connections is ignored");
    }
}
