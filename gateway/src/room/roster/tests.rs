//! Tests of `room/roster.rs`: users, writes and news in, what is told out.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

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
    Roster::begin(GRACE, state(1, names))
}

fn differences(joined: &[&str], left: &[&str], count: usize) -> Option<Told> {
    Some(Told::Differences { joined: users(joined), left: users(left), count })
}

#[test]
fn a_flock_is_written_in_two_writes() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"));
    let first = roster.next_write(now).unwrap();
    assert_eq!(first.here, users(&["a"]));
    ["b", "c", "d"].iter().for_each(|name| roster.arrive(&user(name)));
    assert_eq!(roster.next_write(now), None, "one write of a room at a time");
    roster.wrote(true, now);
    assert_eq!(roster.next_write(now), None, "those behind the first are gathered");
    assert_eq!(roster.deadline(), Some(now + PACE));
    assert_eq!(roster.next_write(now + PACE).unwrap().here.len(), 3);
    roster.wrote(true, now + PACE);
    assert_eq!((roster.next_write(now + 2 * PACE), roster.deadline()), (None, None));
}

#[test]
fn a_leave_takes_the_arrivals_that_are_gathered_with_it() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"));
    roster.next_write(now);
    roster.wrote(true, now);
    roster.arrive(&user("b"));
    roster.depart(&user("a"), Departure::Left, now);
    let change = roster.next_write(now).unwrap();
    assert_eq!((change.here, change.gone), (users(&["b"]), users(&["a"])));
}

/// What `Room::settle` does: after it, nothing is due that was due already, or the room would be woken for ever.
fn settle(roster: &mut Roster, now: Instant) {
    roster.expire(now);
    roster.next_write(now);
    roster.wants_read(now);
    roster.tell(now);
    assert!(roster.deadline().is_none_or(|at| at > now), "due again at once");
}

#[test]
fn a_write_that_failed_is_due_when_it_may_be_repeated_and_not_before() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"));
    roster.next_write(now);
    let failed = now + 3 * PACE;
    roster.wrote(false, failed);
    settle(&mut roster, failed);
    assert_eq!(roster.deadline(), Some(failed + RETRY));
    settle(&mut roster, failed + RETRY);
    assert!(roster.writing.is_some() && roster.reading);
}

#[test]
fn nothing_is_due_while_its_answer_is_awaited() {
    let (mut roster, now) = (roster(&["a"]), Instant::now());
    roster.gap();
    settle(&mut roster, now);
    roster.arrive(&user("b"));
    settle(&mut roster, now);
    assert!(roster.reading && roster.writing.is_some());
    roster.read(None, now);
    roster.gap();
    settle(&mut roster, now + RETRY);
    assert!(roster.reading && roster.writing.is_some());
    assert_eq!(roster.deadline(), None);
}

#[test]
fn whatever_happens_nothing_is_due_twice() {
    let names = ["a", "b", "c", "d"].map(user);
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let (mut roster, mut now) = (roster(&["a"]), Instant::now());
        for _ in 0..200 {
            let user = &names[random.random_range(0..names.len())];
            match random.random_range(0..9) {
                0 => roster.arrive(user),
                1 => roster.depart(user, Departure::Left, now),
                2 => roster.depart(user, Departure::Vanished, now),
                3 => roster.wrote(random.random(), now),
                4 => drop(roster.read(random.random::<bool>().then(|| state(1, &["a", "b"])), now)),
                5 => roster.news(version(random.random_range(1..5)), 1, vec![user.clone()], Vec::new()),
                6 => roster.rewrite(),
                7 => roster.gap(),
                _ => now += PACE * random.random_range(0..20),
            }
            settle(&mut roster, now);
        }
    }
}

#[test]
fn a_reload_is_silent_and_an_absence_is_not() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"));
    roster.next_write(now);
    roster.wrote(true, now);
    roster.depart(&user("a"), Departure::Vanished, now);
    assert_eq!(roster.deadline(), Some(now + GRACE));
    roster.arrive(&user("a"));
    roster.expire(now + GRACE);
    assert_eq!(roster.next_write(now + GRACE), None, "the user came back in time");
    roster.depart(&user("a"), Departure::Vanished, now + GRACE);
    roster.expire(now + GRACE + GRACE);
    assert_eq!(roster.next_write(now + GRACE + GRACE).unwrap().gone, users(&["a"]));
    assert!(!roster.is_clear(), "the store has not heard yet");
    roster.wrote(true, now);
    assert!(roster.is_clear());
}

#[test]
fn leaving_acts_at_once_but_only_with_the_last_connection() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"));
    roster.arrive(&user("a"));
    roster.next_write(now);
    roster.wrote(true, now);
    roster.depart(&user("a"), Departure::Left, now);
    assert_eq!(roster.next_write(now), None);
    roster.depart(&user("a"), Departure::Left, now);
    assert_eq!(roster.next_write(now).unwrap().gone, users(&["a"]));
}

#[test]
fn a_write_of_unknown_outcome_is_followed_by_all_of_it() {
    let (mut roster, now) = (roster(&[]), Instant::now());
    roster.arrive(&user("a"));
    roster.next_write(now);
    roster.wrote(false, now);
    assert_eq!(roster.online().users, users(&["a"]), "within the node presence goes on");
    assert_eq!(roster.next_write(now), None, "not at once");
    let again = roster.next_write(now + RETRY).unwrap();
    assert_eq!((again.whole, again.here), (true, users(&["a"])));
}

#[test]
fn differences_are_coalesced_and_cancel_each_other() {
    let (mut roster, now) = (roster(&["x"]), Instant::now());
    roster.news(version(2), 2, users(&["a"]), vec![]);
    assert_eq!(roster.tell(now), differences(&["a"], &[], 2), "the first is told at once");
    roster.news(version(3), 3, users(&["b"]), vec![]);
    roster.news(version(4), 2, vec![], users(&["b"]));
    roster.news(version(5), 1, vec![], users(&["x"]));
    assert_eq!(roster.tell(now), None);
    assert_eq!(roster.deadline(), Some(now + COALESCE));
    assert_eq!(roster.tell(now + COALESCE), differences(&[], &["x"], 1));
    assert_eq!(roster.tell(now + 2 * COALESCE), None);
}

#[test]
fn a_missing_number_is_followed_by_a_snapshot() {
    let (mut roster, now) = (roster(&["x"]), Instant::now());
    roster.news(version(3), 3, users(&["b"]), vec![]);
    assert!(roster.wants_read(now));
    assert!(!roster.wants_read(now), "one read at a time");
    let snapshot = roster.read(Some(state(3, &["a", "b", "x"])), now);
    assert_eq!(snapshot, Some(Told::Snapshot(Online { count: 3, users: users(&["a", "b", "x"]) })));
    roster.news(version(3), 3, users(&["b"]), vec![]);
    assert!(!roster.wants_read(now) && roster.tell(now).is_none(), "old news");
    roster.news(version(4), 2, vec![], users(&["b"]));
    assert_eq!(roster.tell(now), differences(&[], &["b"], 2));
}

#[test]
fn news_during_a_read_is_applied_behind_it() {
    let (mut roster, now) = (roster(&["x"]), Instant::now());
    roster.gap();
    assert!(roster.wants_read(now));
    roster.news(version(2), 2, users(&["a"]), vec![]);
    roster.news(version(3), 3, users(&["b"]), vec![]);
    let snapshot = roster.read(Some(state(2, &["a", "x"])), now);
    assert_eq!(snapshot, Some(Told::Snapshot(Online { count: 3, users: users(&["a", "b", "x"]) })));
    assert!(!roster.wants_read(now));
    roster.gap();
    assert!(roster.wants_read(now));
    roster.news(version(9), 3, users(&["c"]), vec![]);
    roster.read(Some(state(4, &["a", "b", "x"])), now);
    assert!(roster.wants_read(now), "numbers are still missing");
}

#[test]
fn a_large_room_is_counted_and_not_listed() {
    let now = Instant::now();
    let count = MAX_LISTED_USERS + 1;
    let mut roster = Roster::begin(GRACE, RoomState { version: version(1), count, users: None });
    roster.news(version(2), count + 1, users(&["a"]), vec![]);
    assert_eq!(roster.tell(now), differences(&[], &[], count + 1));
    assert_eq!(roster.online(), Online { count: count + 1, users: vec![] });
}
