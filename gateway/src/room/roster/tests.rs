//! Tests of `room/roster.rs`, `writes.rs` and `view.rs`: users, outcomes of writes and events in, writes
//! and presence updates out.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use roomcast_protocol::limits::MAX_LISTED_USERS;
use roomcast_store::Change;

use super::super::view::{COALESCE, RELIST_INTERVAL};
use super::super::writes::{RETRY, WRITE_INTERVAL};
use super::*;

const GRACE: Duration = Duration::from_secs(15);

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn users(names: &[&str]) -> Vec<UserName> {
    names.iter().map(|name| user(name)).collect()
}

fn version(number: u64) -> Version {
    Version { generation: "g".into(), number }
}

fn state(number: u64, names: &[&str]) -> RoomState {
    RoomState { version: version(number), count: names.len(), users: Some(users(names)) }
}

fn roster(names: &[&str]) -> Roster {
    begin(state(1, names))
}

fn begin(state: RoomState) -> Roster {
    Roster::begin(Stays::new(GRACE, None), state, Some(node("i")))
}

fn node(word: &str) -> Incarnation {
    Incarnation::new(word)
}

/// The store's answers to writes.
impl Roster {
    fn accept(&mut self, now: Instant) {
        self.wrote(WriteOutcome::Accepted(node("i")), now);
    }

    fn fail(&mut self, now: Instant) {
        self.wrote(WriteOutcome::Failed { under: node("i"), unknown: true }, now);
    }

    fn next_change(&mut self, now: Instant) -> Option<Change> {
        self.next_write(now).map(|write| write.change)
    }
}

fn differences(joined: &[&str], left: &[&str], count: usize) -> Option<PresenceUpdate> {
    Some(PresenceUpdate::Differences { joined: users(joined), left: users(left), count })
}

#[test]
fn many_arrivals_are_written_in_two_writes() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    let first = roster.next_change(now).unwrap();
    assert_eq!(first.here, users(&["a"]));
    ["b", "c", "d"].iter().for_each(|name| roster.arrive(&user(name), None));
    assert_eq!(roster.next_write(now), None, "one write of a room at a time");
    roster.accept(now);
    assert_eq!(roster.next_write(now), None, "arrivals after the first are collected into one write");
    assert_eq!(roster.deadline(), Some(now + WRITE_INTERVAL));
    assert_eq!(roster.next_change(now + WRITE_INTERVAL).unwrap().here.len(), 3);
    roster.accept(now + WRITE_INTERVAL);
    assert_eq!((roster.next_write(now + 2 * WRITE_INTERVAL), roster.deadline()), (None, None));
}

#[test]
fn a_leave_is_written_at_once_with_the_arrivals_that_wait() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    roster.next_write(now);
    roster.accept(now);
    roster.arrive(&user("b"), None);
    roster.depart(&user("a"), Departure::Left, now);
    let change = roster.next_change(now).unwrap();
    assert_eq!((change.here, change.gone), (users(&["b"]), users(&["a"])));
}

/// What `Room::advance` does. After it nothing may be due already, or the room would be woken again and again.
fn advance(roster: &mut Roster, now: Instant) {
    roster.expire(now);
    roster.next_write(now);
    roster.wants_read(now);
    roster.next_update(now);
    assert!(roster.deadline().is_none_or(|at| at > now), "due again at once");
}

/// Whether a write and a read are in progress.
fn is_waiting(roster: &mut Roster, later: Instant) -> bool {
    roster.gap();
    roster.writes.rewrite(&roster.stays);
    roster.next_write(later).is_none() && !roster.wants_read(later)
}

#[test]
fn a_write_that_failed_is_due_again_after_the_retry_delay() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    roster.next_write(now);
    let failed = now + 3 * WRITE_INTERVAL;
    roster.fail(failed);
    advance(&mut roster, failed);
    assert_eq!(roster.deadline(), Some(failed + RETRY));
    advance(&mut roster, failed + RETRY);
    assert!(is_waiting(&mut roster, now + 100 * RETRY));
}

#[test]
fn no_write_or_read_is_due_while_one_is_in_progress() {
    let (mut roster, now) = (roster(&["a"]), Instant::now());
    roster.gap();
    advance(&mut roster, now);
    roster.arrive(&user("b"), None);
    advance(&mut roster, now);
    assert!(is_waiting(&mut roster, now + 100 * RETRY));
    roster.read(None, now);
    roster.gap();
    advance(&mut roster, now + RETRY);
    assert!(is_waiting(&mut roster, now + 100 * RETRY));
    assert_eq!(roster.deadline(), None);
}

#[test]
fn nothing_is_due_at_once_after_any_sequence_of_events() {
    let names = ["a", "b", "c", "d"].map(user);
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut roster, mut now) = (roster(&["a"]), Instant::now());
        for _ in 0..200 {
            let user = &names[random.random_range(0..names.len())];
            match random.random_range(0..9) {
                0 => roster.arrive(user, None),
                1 => roster.depart(user, Departure::Left, now),
                2 => roster.depart(user, Departure::Dropped, now),
                3 if random.random() => roster.returned(&node("other"), std::slice::from_ref(user)),
                3 => {
                    if random.random() {
                        roster.accept(now)
                    } else {
                        roster.fail(now)
                    }
                }
                4 => drop(roster.read(random.random::<bool>().then(|| state(1, &["a", "b"])), now)),
                5 => roster.on_event(version(random.random_range(1..5)), 1, vec![user.clone()], Vec::new()),
                6 => roster.rewrite(),
                7 => roster.gap(),
                _ => now += WRITE_INTERVAL * random.random_range(0..20),
            }
            advance(&mut roster, now);
        }
    }
}

#[test]
fn a_return_within_the_grace_is_not_written_and_the_end_of_a_grace_is() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    roster.next_write(now);
    roster.accept(now);
    roster.depart(&user("a"), Departure::Dropped, now);
    assert_eq!(roster.deadline(), Some(now + GRACE));
    roster.arrive(&user("a"), None);
    roster.expire(now + GRACE);
    assert_eq!(roster.next_write(now + GRACE), None, "the user returned within the grace");
    roster.depart(&user("a"), Departure::Dropped, now + GRACE);
    roster.expire(now + GRACE + GRACE);
    assert_eq!(roster.next_change(now + GRACE + GRACE).unwrap().gone, users(&["a"]));
    assert!(!roster.is_idle(), "the leave is not written yet");
    roster.accept(now);
    assert!(roster.is_idle());
}

#[test]
fn an_explicit_leave_of_the_last_connection_is_written_at_once() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    roster.arrive(&user("a"), None);
    roster.next_write(now);
    roster.accept(now);
    roster.depart(&user("a"), Departure::Left, now);
    assert_eq!(roster.next_write(now), None);
    roster.depart(&user("a"), Departure::Left, now);
    assert_eq!(roster.next_change(now).unwrap().gone, users(&["a"]));
}

#[test]
fn a_write_of_unknown_outcome_is_followed_by_a_whole_write() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    roster.next_write(now);
    roster.fail(now);
    assert_eq!(*roster.list_for_member().users, users(&["a"]), "on this node the user is present");
    assert_eq!(roster.next_write(now), None, "not at once");
    let again = roster.next_change(now + RETRY).unwrap();
    assert_eq!((again.whole, again.here), (true, users(&["a"])));
}

#[test]
fn differences_are_coalesced_and_cancel_each_other() {
    let (mut roster, now) = (roster(&["x"]), Instant::now());
    roster.on_event(version(2), 2, users(&["a"]), vec![]);
    assert_eq!(roster.next_update(now), differences(&["a"], &[], 2), "the first update is due at once");
    roster.on_event(version(3), 3, users(&["b"]), vec![]);
    roster.on_event(version(4), 2, vec![], users(&["b"]));
    roster.on_event(version(5), 1, vec![], users(&["x"]));
    assert_eq!(roster.next_update(now), None);
    assert_eq!(roster.deadline(), Some(now + COALESCE));
    assert_eq!(roster.next_update(now + COALESCE), differences(&[], &["x"], 1));
    assert_eq!(roster.next_update(now + 2 * COALESCE), None);
}

#[test]
fn a_missing_number_is_followed_by_a_snapshot() {
    let (mut roster, now) = (roster(&["x"]), Instant::now());
    roster.on_event(version(3), 3, users(&["b"]), vec![]);
    assert!(roster.wants_read(now));
    assert!(!roster.wants_read(now), "one read at a time");
    let snapshot = roster.read(Some(state(3, &["a", "b", "x"])), now);
    assert_eq!(
        snapshot,
        Some(PresenceUpdate::Snapshot(Online { count: 3, users: users(&["a", "b", "x"]).into() }))
    );
    roster.on_event(version(3), 3, users(&["b"]), vec![]);
    assert!(!roster.wants_read(now) && roster.next_update(now).is_none(), "an old event");
    roster.on_event(version(4), 2, vec![], users(&["b"]));
    assert_eq!(roster.next_update(now), differences(&[], &["b"], 2));
}

#[test]
fn events_received_during_a_read_are_applied_after_it() {
    let (mut roster, now) = (roster(&["x"]), Instant::now());
    roster.gap();
    assert!(roster.wants_read(now));
    roster.on_event(version(2), 2, users(&["a"]), vec![]);
    roster.on_event(version(3), 3, users(&["b"]), vec![]);
    let snapshot = roster.read(Some(state(2, &["a", "x"])), now);
    assert_eq!(
        snapshot,
        Some(PresenceUpdate::Snapshot(Online { count: 3, users: users(&["a", "b", "x"]).into() }))
    );
    assert!(!roster.wants_read(now));
    roster.gap();
    assert!(roster.wants_read(now));
    roster.on_event(version(9), 3, users(&["c"]), vec![]);
    roster.read(Some(state(4, &["a", "b", "x"])), now);
    assert!(roster.wants_read(now), "numbers are still missing");
}

#[test]
fn a_list_is_made_once_until_the_users_change() {
    let (mut roster, now) = (roster(&["x"]), Instant::now());
    let mut made_again = |change: &mut dyn FnMut(&mut Roster)| {
        let before = roster.list_for_member().users;
        change(&mut roster);
        !std::ptr::eq(before.as_ptr(), roster.list_for_member().users.as_ptr())
    };
    assert!(!made_again(&mut |_| {}));
    assert!(made_again(&mut |roster| roster.arrive(&user("a"), None)));
    assert!(
        !made_again(&mut |roster| roster.arrive(&user("a"), None)),
        "a second connection of the same user"
    );
    assert!(!made_again(&mut |roster| roster.on_event(version(2), 2, users(&["a"]), vec![])), "it was shown");
    assert!(made_again(&mut |roster| roster.on_event(version(3), 3, users(&["b"]), vec![])));
    assert!(
        !made_again(&mut |roster| roster.depart(&user("a"), Departure::Dropped, now)),
        "the other is left"
    );
    assert!(!made_again(&mut |roster| roster.depart(&user("a"), Departure::Left, now)), "in grace");
    assert!(made_again(&mut |roster| {
        roster.expire(now + GRACE);
        roster.on_event(version(4), 2, vec![], users(&["a"]));
    }));
    assert_eq!(*roster.list_for_member().users, users(&["b", "x"]));
}

#[test]
fn a_large_room_has_a_count_and_no_list() {
    let now = Instant::now();
    let count = MAX_LISTED_USERS + 1;
    let mut roster = begin(RoomState { version: version(1), count, users: None });
    roster.on_event(version(2), count + 1, users(&["a"]), vec![]);
    assert_eq!(roster.next_update(now), differences(&[], &[], count + 1));
    assert_eq!(roster.list_for_member(), Online { count: count + 1, users: UserList::default() });
}

/// A room with a member here, after `count` users of another node joined.
fn crowded(count: usize, now: Instant) -> Roster {
    let (mut roster, names) = (roster(&[]), crowd(count));
    roster.on_event(version(2), count, names, vec![]);
    assert!(roster.next_update(now).is_some());
    roster
}

fn crowd(count: usize) -> Vec<UserName> {
    (0..count).map(|n| user(&format!("u{n:04}"))).collect()
}

#[test]
fn members_are_told_when_a_room_becomes_too_large_to_list() {
    let now = Instant::now();
    let mut roster = crowded(MAX_LISTED_USERS, now);
    roster.on_event(version(3), MAX_LISTED_USERS + 1, users(&["v"]), vec![]);
    let unlisted = Online { count: MAX_LISTED_USERS + 1, users: UserList::default() };
    assert_eq!(roster.next_update(now + COALESCE), Some(PresenceUpdate::Snapshot(unlisted)));
    roster.on_event(version(4), MAX_LISTED_USERS + 2, users(&["w"]), vec![]);
    let counts = differences(&[], &[], MAX_LISTED_USERS + 2);
    assert_eq!(roster.next_update(now + 2 * COALESCE), counts, "only the count from then on");
}

#[test]
fn a_room_that_shrank_has_names_again() {
    let now = Instant::now();
    let mut roster = crowded(MAX_LISTED_USERS + 20, now);
    assert!(!roster.wants_read(now), "it is too large to list");
    let left = crowd(MAX_LISTED_USERS + 20).split_off(MAX_LISTED_USERS);
    roster.on_event(version(3), MAX_LISTED_USERS, vec![], left);
    assert!(roster.wants_read(now));
    let list = Online { count: MAX_LISTED_USERS, users: crowd(MAX_LISTED_USERS).into() };
    let read = |number| {
        let users = Some(crowd(MAX_LISTED_USERS));
        Some(RoomState { version: version(number), count: MAX_LISTED_USERS, users })
    };
    assert_eq!(roster.read(read(3), now), Some(PresenceUpdate::Snapshot(list)));
    // A room that grows and shrinks all the time is not read all the time.
    roster.on_event(version(4), MAX_LISTED_USERS + 1, users(&["v"]), vec![]);
    roster.on_event(version(5), MAX_LISTED_USERS, vec![], users(&["v"]));
    advance(&mut roster, now + COALESCE);
    assert_eq!(roster.deadline(), Some(now + RELIST_INTERVAL));
    assert!(roster.wants_read(now + RELIST_INTERVAL));
    assert!(roster.read(read(5), now + RELIST_INTERVAL).is_some());
    assert_eq!(roster.deadline(), None);
}

#[test]
fn a_difference_is_not_cancelled_where_a_member_received_a_list_in_between() {
    let (mut roster, now) = (roster(&["x"]), Instant::now());
    roster.on_event(version(2), 2, users(&["o"]), vec![]);
    roster.next_update(now);
    roster.on_event(version(3), 3, users(&["b"]), vec![]);
    assert_eq!(*roster.list_for_member().users, users(&["b", "o", "x"]));
    roster.on_event(version(4), 2, vec![], users(&["b"]));
    assert_eq!(roster.next_update(now + COALESCE), differences(&[], &["b"], 2));
    // Some members received the leave last and some a list with the user: the join is sent to all of them.
    roster.on_event(version(5), 3, users(&["b"]), vec![]);
    roster.list_for_member();
    roster.on_event(version(6), 2, vec![], users(&["b"]));
    roster.on_event(version(7), 3, users(&["b"]), vec![]);
    assert_eq!(roster.next_update(now + 2 * COALESCE), differences(&["b"], &[], 3));
    roster.on_event(version(8), 2, vec![], users(&["b"]));
    roster.on_event(version(9), 3, users(&["b"]), vec![]);
    assert_eq!(roster.next_update(now + 3 * COALESCE), None, "no list was sent in between");
}

#[test]
fn a_user_who_joined_and_left_before_a_write_is_removed_from_the_list() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    assert_eq!(*roster.list_for_member().users, users(&["a"]));
    roster.depart(&user("a"), Departure::Left, now);
    assert_eq!(roster.next_update(now), differences(&[], &["a"], 0));
}

#[test]
fn a_read_sends_differences_that_were_not_sent_yet() {
    let (mut roster, now) = (roster(&["a", "x"]), Instant::now());
    roster.on_event(version(2), 1, vec![], users(&["a"]));
    roster.next_update(now);
    roster.on_event(version(3), 2, users(&["a"]), vec![]);
    roster.gap();
    assert!(roster.wants_read(now));
    let update = roster.read(Some(state(3, &["a", "x"])), now);
    assert_eq!(update, Some(PresenceUpdate::Snapshot(Online { count: 2, users: users(&["a", "x"]).into() })));
    roster.gap();
    assert!(roster.wants_read(now));
    assert_eq!(roster.read(Some(state(3, &["a", "x"])), now), None, "nothing is new");
}

#[test]
fn a_return_on_another_node_ends_the_grace_here_at_once() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    assert_eq!(roster.next_change(now).unwrap().arrived, users(&["a"]));
    roster.accept(now);
    roster.depart(&user("a"), Departure::Dropped, now);
    roster.returned(&node("i"), &users(&["a"]));
    assert_eq!(roster.next_write(now), None, "an arrival on this node is ignored");
    roster.returned(&node("other"), &users(&["a"]));
    let change = roster.next_change(now).unwrap();
    assert_eq!((change.gone, change.continues), (users(&["a"]), true));
}

#[test]
fn only_a_connection_that_is_no_return_is_written_as_an_arrival() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    roster.next_write(now);
    roster.accept(now);
    roster.depart(&user("a"), Departure::Dropped, now);
    roster.arrive(&user("a"), None);
    assert_eq!(roster.next_write(now + WRITE_INTERVAL), None, "the return of one that dropped here");
    roster.arrive(&user("a"), None);
    let change = roster.next_change(now + WRITE_INTERVAL).unwrap();
    assert_eq!((change.here, change.arrived), (vec![], users(&["a"])), "a second tab");
    roster.fail(now + WRITE_INTERVAL);
    let later = now + WRITE_INTERVAL + RETRY;
    assert_eq!(
        roster.next_change(later).unwrap(),
        Change { whole: true, here: users(&["a"]), former: vec![node("i")], ..Change::default() }
    );
    roster.accept(later);
    assert_eq!(
        roster.next_change(later + WRITE_INTERVAL).unwrap().arrived,
        users(&["a"]),
        "written after the facts"
    );
}

#[test]
fn a_new_incarnation_writes_everything_and_removes_facts_of_the_former() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    let first = roster.next_write(now).unwrap();
    assert_eq!(first.under(&node("j")), None, "only the incarnation that indexed the room may write it");
    roster.accept(now);
    roster.rewrite();
    let change = roster.next_write(now).unwrap().under(&node("j")).unwrap();
    assert_eq!((change.whole, change.continues, change.former), (true, false, vec![node("i")]));
    roster.wrote(WriteOutcome::Accepted(node("j")), now);
    assert_eq!(roster.writers(), [node("j")]);
}

#[test]
fn a_refused_write_is_followed_by_a_whole_write() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    roster.next_write(now);
    roster.accept(now);
    roster.arrive(&user("b"), None);
    assert!(roster.next_change(now + WRITE_INTERVAL).unwrap().continues);
    roster.wrote(WriteOutcome::Refused(node("i")), now + WRITE_INTERVAL);
    let change = roster.next_write(now + WRITE_INTERVAL + RETRY).unwrap().under(&node("i")).unwrap();
    assert_eq!((change.whole, change.continues, change.here), (true, false, users(&["a", "b"])));
}

#[test]
fn a_room_is_closed_in_the_store_unless_a_write_may_still_be_executed() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), None);
    roster.next_write(now);
    roster.accept(now);
    assert_eq!(roster.writers(), [node("i")]);
    roster.rewrite();
    roster.next_write(now);
    roster.fail(now);
    assert!(roster.writers().is_empty() && !roster.is_idle());
}

#[test]
fn graces_that_end_while_the_store_is_unreachable_are_restored() {
    let (mut roster, now) = (roster(&["a"]), Instant::now());
    roster.arrive(&user("a"), None);
    roster.next_write(now);
    roster.accept(now);
    roster.depart(&user("a"), Departure::Dropped, now);
    roster.expire(now + GRACE);
    assert_eq!(roster.next_change(now + GRACE).unwrap().gone, users(&["a"]));
    roster.fail(now + GRACE);
    assert_eq!(roster.next_update(now + GRACE), None, "the store still has the user");
    roster.pause(now + GRACE / 3);
    let back = now + 3 * GRACE;
    roster.resume(back);
    roster.expire(back);
    assert_eq!(
        roster.next_change(back).unwrap().here,
        users(&["a"]),
        "the grace continues with the time that was left"
    );
}

#[test]
fn a_name_that_another_person_has_now_is_sent_as_left_and_then_as_joined() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"), Some("flocker"));
    let change = roster.next_change(now).unwrap();
    assert_eq!(change.open, [(user("a"), "flocker".to_owned())]);
    roster.accept(now);
    roster.on_event(version(2), 1, users(&["a"]), vec![]);
    assert_eq!(roster.next_update(now), differences(&["a"], &[], 1));
    roster.depart(&user("a"), Departure::Dropped, now);

    // The store decides whether it is another person; that it may be is certain, as the other one's grace is over.
    roster.arrive(&user("a"), None);
    let later = now + COALESCE;
    let change = roster.next_change(later).unwrap();
    assert_eq!((change.here, change.arrived, change.open), (vec![], users(&["a"]), vec![]));
    roster.accept(later);
    assert_eq!(roster.next_update(later), None);
    roster.replaced(&node("i"), &users(&["a"]));
    assert_eq!(roster.next_update(later), differences(&[], &["a"], 1));
    assert_eq!(roster.next_update(later), None);
    assert_eq!(roster.next_update(later + COALESCE), differences(&["a"], &[], 1));
    roster.expire(later + GRACE);
    assert_eq!(roster.list_for_member().users.iter().collect::<Vec<_>>(), [&user("a")]);
}

#[test]
fn a_grace_ends_where_another_person_has_the_name_on_another_node() {
    let (mut roster, now) = (roster(&["b"]), Instant::now());
    roster.arrive(&user("a"), Some("flocker"));
    roster.next_write(now);
    roster.accept(now);
    roster.on_event(version(2), 2, users(&["a"]), vec![]);
    roster.depart(&user("a"), Departure::Dropped, now);
    roster.next_update(now);
    roster.replaced(&node("j"), &users(&["a"]));
    assert_eq!(roster.next_change(now).unwrap().gone, users(&["a"]));
    roster.accept(now);
    let mut later = now + COALESCE;
    assert_eq!(roster.next_update(later), differences(&[], &["a"], 2));
    // The other one leaves before it was sent as joined.
    roster.on_event(version(3), 1, vec![], users(&["a"]));
    later += COALESCE;
    assert_eq!(roster.next_update(later), differences(&[], &[], 1));
}

#[test]
fn the_same_person_returns_silently() {
    for open_in in [None, Some("flocker")] {
        let (mut roster, now) = (roster(&[]), Instant::now());
        roster.arrive(&user("a"), open_in);
        roster.next_write(now);
        roster.accept(now);
        roster.next_update(now);
        roster.depart(&user("a"), Departure::Dropped, now);
        roster.arrive(&user("a"), open_in);
        assert_eq!(roster.next_write(now + WRITE_INTERVAL), None, "{open_in:?}");
    }
}
