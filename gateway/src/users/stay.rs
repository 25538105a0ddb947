//! A user's stay on this node: how many connections, and the graces of those that dropped. Pure. The one place
//! that counts connections and times graces: for names (`users/registry.rs`) and for rooms (`room/roster.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use roomcast_protocol::UserName;

/// For how long ends of graces are remembered: an absence of the store is noticed within it.
const REMEMBERED: Duration = Duration::from_secs(30);

/// How a connection went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It said so: at once.
    Left,
    /// Its transport went: the user may come back.
    Dropped,
}

/// The end of a grace, and a number that no other has.
type End = (Instant, u64);

/// One user: present while there is a connection or a grace.
#[derive(Default)]
struct Stay {
    connections: usize,
    /// One for each connection that dropped and did not come back, by their ends.
    graces: BTreeSet<End>,
}

/// The stays of one place: a room's users on this node, or all of the node's.
pub(crate) struct Stays {
    grace: Duration,
    stays: BTreeMap<UserName, Stay>,
    /// Whose graces end when.
    ends: BTreeMap<End, UserName>,
    next: u64,
    /// Users whose last grace ended lately.
    ended: VecDeque<(Instant, UserName)>,
    /// Since when the store is away: no grace passes meanwhile.
    away_since: Option<Instant>,
}

impl Stays {
    pub(crate) fn new(grace: Duration, away_since: Option<Instant>) -> Self {
        let (stays, ends, ended) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        Self { grace, stays, ends, next: 0, ended, away_since }
    }

    /// A connection arrives. True where it is the return of one that dropped here: of the one that dropped first.
    pub(crate) fn arrive(&mut self, user: &UserName) -> bool {
        let stay = self.stays.entry(user.clone()).or_default();
        stay.connections += 1;
        let returned = stay.graces.pop_first();
        returned.is_some_and(|end| self.ends.remove(&end).is_some())
    }

    /// A connection goes. It says nothing of the graces of others.
    pub(crate) fn depart(&mut self, user: &UserName, how: Departure, now: Instant) {
        let Some(stay) = self.stays.get_mut(user).filter(|stay| stay.connections > 0) else { return };
        stay.connections -= 1;
        if how == Departure::Dropped {
            let end = (self.away_since.unwrap_or(now) + self.grace, self.next);
            self.next += 1;
            stay.graces.insert(end);
            self.ends.insert(end, user.clone());
        }
        self.end_if_over(user);
    }

    /// A connection of the user arrived on another node: one that dropped here came back there. False where
    /// there is none.
    pub(crate) fn returned_elsewhere(&mut self, user: &UserName) -> bool {
        let end = self.stays.get_mut(user).and_then(|stay| stay.graces.pop_first());
        let Some(end) = end else { return false };
        self.ends.remove(&end);
        self.end_if_over(user);
        true
    }

    /// Ends the graces whose time is up; answers the users that are not present any more.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<UserName> {
        let mut gone = Vec::new();
        if self.away_since.is_some() {
            return gone;
        }
        while let Some(entry) = self.ends.first_entry().filter(|entry| entry.key().0 <= now) {
            let (end, user) = entry.remove_entry();
            if let Some(stay) = self.stays.get_mut(&user) {
                stay.graces.remove(&end);
            }
            if self.end_if_over(&user) {
                self.ended.push_back((end.0, user.clone()));
                gone.push(user);
            }
        }
        while self.ended.pop_front_if(|(end, _)| *end + REMEMBERED <= now).is_some() {}
        gone
    }

    /// The user is none of this place's any more, whatever connections there are.
    pub(crate) fn remove(&mut self, user: &UserName) {
        let graces = self.stays.remove(user).map(|stay| stay.graces).unwrap_or_default();
        graces.iter().for_each(|end| drop(self.ends.remove(end)));
    }

    /// The store is away, and was last heard of at `since`. Graces stand still from then on: those that ended
    /// since are given back, where the store does not know of the end. Answers their users.
    pub(crate) fn pause(&mut self, since: Instant, knows: impl Fn(&UserName) -> bool) -> Vec<UserName> {
        if self.away_since.is_some() {
            return Vec::new();
        }
        self.away_since = Some(since);
        let mut given_back = Vec::new();
        for (end, user) in std::mem::take(&mut self.ended) {
            if end > since && !self.is_present(&user) && !knows(&user) {
                let end = (end, self.next);
                self.next += 1;
                self.stays.entry(user.clone()).or_default().graces.insert(end);
                self.ends.insert(end, user.clone());
                given_back.push(user);
            }
        }
        given_back
    }

    /// The store is back: every grace has as much left as it had.
    pub(crate) fn resume(&mut self, now: Instant) {
        let Some(since) = self.away_since.take() else { return };
        let away = now.saturating_duration_since(since);
        let later = |(end, number): End| (end + away, number);
        self.ends =
            std::mem::take(&mut self.ends).into_iter().map(|(end, user)| (later(end), user)).collect();
        for stay in self.stays.values_mut().filter(|stay| !stay.graces.is_empty()) {
            stay.graces = std::mem::take(&mut stay.graces).into_iter().map(later).collect();
        }
    }

    /// When the next grace ends; unknown while the store is away.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ends.keys().next().map(|(end, _)| *end).filter(|_| self.away_since.is_none())
    }

    pub(crate) fn is_present(&self, user: &UserName) -> bool {
        self.stays.contains_key(user)
    }

    pub(crate) fn connections(&self, user: &UserName) -> usize {
        self.stays.get(user).map_or(0, |stay| stay.connections)
    }

    /// Everybody present, in order.
    pub(crate) fn users(&self) -> impl Iterator<Item = &UserName> {
        self.stays.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.stays.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stays.is_empty()
    }

    fn end_if_over(&mut self, user: &UserName) -> bool {
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
    fn who_comes_back_in_time_never_went() {
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
    fn a_tab_that_leaves_says_nothing_of_the_grace_of_another() {
        let (mut stays, now) = stays();
        stays.arrive(&ann());
        stays.arrive(&ann());
        stays.depart(&ann(), Departure::Dropped, now);
        stays.depart(&ann(), Departure::Left, now);
        assert!(stays.is_present(&ann()), "the first may come back");
        assert!(stays.arrive(&ann()));
        stays.depart(&ann(), Departure::Left, now);
        assert!(!stays.is_present(&ann()) && stays.deadline().is_none());
    }

    #[test]
    fn every_connection_that_dropped_has_a_grace_of_its_own() {
        let (mut stays, now) = stays();
        stays.arrive(&ann());
        stays.arrive(&ann());
        stays.depart(&ann(), Departure::Dropped, now);
        stays.depart(&ann(), Departure::Dropped, now + SECOND);
        assert!(stays.expire(now + GRACE).is_empty());
        assert!(stays.returned_elsewhere(&ann()), "the second came back on another node");
        assert!(!stays.is_present(&ann()) && !stays.returned_elsewhere(&ann()));
    }

    #[test]
    fn a_return_elsewhere_takes_no_connection() {
        let (mut stays, now) = stays();
        stays.arrive(&ann());
        assert!(!stays.returned_elsewhere(&ann()), "another tab");
        stays.arrive(&ann());
        stays.depart(&ann(), Departure::Dropped, now);
        assert!(stays.returned_elsewhere(&ann()));
        assert_eq!((stays.connections(&ann()), stays.deadline()), (1, None));
    }

    #[test]
    fn graces_stand_still_while_the_store_is_away() {
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
        assert_eq!(stays.deadline(), Some(now + 80 * SECOND + GRACE), "a whole one, for it began meanwhile");
    }

    #[test]
    fn a_grace_that_ended_before_the_absence_was_noticed_is_given_back() {
        for (known, ends_at) in [(false, Some(40)), (true, None)] {
            let (mut stays, now) = stays();
            stays.arrive(&ann());
            stays.depart(&ann(), Departure::Dropped, now);
            assert_eq!(stays.expire(now + GRACE), [ann()]);
            let given_back = stays.pause(now + 10 * SECOND, |_| known);
            assert_eq!(given_back.len(), usize::from(!known));
            stays.resume(now + 35 * SECOND);
            assert_eq!(stays.deadline(), ends_at.map(|seconds| now + seconds * SECOND));
        }
    }

    #[test]
    fn who_is_removed_leaves_no_grace() {
        let (mut stays, now) = stays();
        stays.arrive(&ann());
        stays.arrive(&ann());
        stays.depart(&ann(), Departure::Dropped, now);
        stays.remove(&ann());
        assert!(stays.is_empty() && stays.deadline().is_none());
        stays.depart(&ann(), Departure::Dropped, now);
        assert!(stays.is_empty(), "its connections are nobody's");
    }
}
