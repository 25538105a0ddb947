//! Tests of `room/state.rs`: commands and events in, effects out.

use roomcast_protocol::{Epoch, Position};
use roomcast_store::log::Head;
use roomcast_store::{Entry, Version};

use super::super::effect::ReplayEnd;
use super::super::roster::Write;
use super::*;

type TestRoom = Room<u32>;

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn room() -> TestRoom {
    let timing = RoomTiming { grace: Duration::from_secs(15), touch: Duration::from_secs(600) };
    Room::new(RoomName::parse("r").unwrap(), timing)
}

fn attempt(id: ConnectionId, since: Option<(&str, u64)>) -> JoinAttempt<u32> {
    let since = since.map(|(epoch, offset)| Position { epoch: Epoch::new(epoch), offset });
    JoinAttempt {
        id,
        user: Some(user("ann")),
        open_in: None,
        since,
        limit: 50,
        pending: u32::try_from(id).unwrap(),
    }
}

fn entry(offset: u64) -> Entry {
    Entry {
        epoch: Epoch::new("e"),
        offset,
        ts: 1,
        body: format!(r#"{{"v":1,"id":"{offset}"}}"#),
        trace: None,
    }
}

fn opened(top: u64, newest: impl IntoIterator<Item = u64>) -> Opened {
    let position = Position { epoch: Epoch::new("e"), offset: top };
    Opened { head: Head { position, prior: vec![] }, newest: newest.into_iter().map(entry).collect() }
}

fn empty() -> RoomState {
    RoomState { version: Version::default(), count: 0, users: Some(vec![]) }
}

fn indexed() -> Option<Incarnation> {
    Some(Incarnation::new("i"))
}

fn accepted() -> WriteOutcome {
    WriteOutcome::Accepted(Incarnation::new("i"))
}

fn show(effects: &[Effect<u32>]) -> Vec<String> {
    let offsets =
        |messages: &[Arc<Message>]| messages.iter().map(|message| message.offset).collect::<Vec<_>>();
    let one = |effect: &Effect<u32>| match effect {
        Effect::AddMember { pending, joined, .. } => format!(
            "add {pending} at {} recovered {} {:?}",
            joined.position.offset,
            joined.recovered,
            offsets(&joined.messages)
        ),
        Effect::Deliver(message) => format!("deliver {}", message.offset),
        Effect::RefuseJoin { pending } => format!("refuse {pending}"),
        Effect::Write(Write { change, .. }) => format!("write +{} -{}", change.here.len(), change.gone.len()),
        Effect::Close { writers } => format!("close {writers:?}"),
        Effect::WakeAt(_) => "wake".into(),
        Effect::ReadAfter { position, .. } => format!("read after {}", position.offset),
        Effect::Replay { joined, .. } => {
            let (offset, online) = (joined.position.offset, joined.online.count);
            format!("replay after {offset} {:?} online {online}", offsets(&joined.messages))
        }
        Effect::ContinueReplay { position, .. } => format!("replay after {}", position.offset),
        Effect::EndReplay { pending, messages, resync, .. } => {
            format!("end replay {pending} {:?} {resync:?}", offsets(messages))
        }
        other => format!("{other:?}"),
    };
    effects.iter().map(one).collect()
}

/// A room with one member, ann, whose presence is written.
fn open_room(now: Instant) -> TestRoom {
    let mut room = room();
    room.enter(attempt(1, None), now);
    room.opened(Some((opened(3, 1..=3), empty(), indexed())), None, now);
    room.wrote(accepted(), now);
    room
}

#[test]
fn joins_wait_for_the_subscription_and_miss_no_message() {
    let (mut room, now) = (room(), Instant::now());
    assert_eq!(show(&room.enter(attempt(1, None), now)), ["Open"]);
    assert!(room.enter(attempt(2, None), now).is_empty());
    assert!(room.on_bus_event(BusEvent::Message(entry(3)), now).is_empty());
    assert!(room.on_bus_event(BusEvent::Message(entry(4)), now).is_empty());
    let effects = room.opened(Some((opened(3, 1..=3), empty(), indexed())), None, now);
    let added = |n| format!("add {n} at 4 recovered false [1, 2, 3, 4]");
    let update = r#"SendPresence(Differences { joined: ["ann"], left: [], count: 1 })"#;
    assert_eq!(
        show(&effects),
        ["deliver 4".into(), added(1), added(2), "write +1 -0".into(), update.into(), "wake".into()]
    );
}

#[test]
fn a_join_is_answered_with_the_position_after_which_messages_are_delivered() {
    let now = Instant::now();
    let mut room = open_room(now);
    room.on_bus_event(BusEvent::Message(entry(4)), now);
    let effects = room.enter(attempt(2, Some(("e", 2))), now);
    assert_eq!(show(&effects)[0], "add 2 at 4 recovered true [3, 4]");
    assert_eq!(show(&room.on_bus_event(BusEvent::Message(entry(5)), now)), ["deliver 5"]);
    let effects = room.enter(attempt(3, Some(("other", 2))), now);
    assert_eq!(show(&effects)[0], "add 3 at 5 recovered false [1, 2, 3, 4, 5]");
}

#[test]
fn messages_read_for_a_join_are_extended_to_the_current_position() {
    let now = Instant::now();
    let mut room = room();
    room.enter(attempt(1, None), now);
    room.opened(Some((opened(200, 73..=200), empty(), indexed())), None, now);
    let late = attempt(2, Some(("e", 10)));
    assert_eq!(show(&room.enter(late, now)), ["read after 10"]);
    room.on_bus_event(BusEvent::Message(entry(201)), now);
    let read =
        LogRead::After(Replay::Whole(Opened { newest: (11..=200).map(entry).collect(), ..opened(200, []) }));
    let effects = room.log_read(attempt(2, Some(("e", 10))), read, now);
    let Effect::AddMember { joined, .. } = &effects[0] else { panic!("{effects:?}") };
    let offsets: Vec<u64> = joined.messages.iter().map(|message| message.offset).collect();
    assert_eq!((offsets, joined.recovered), ((11..=201).collect(), true));
}

#[test]
fn a_client_that_missed_too_much_for_one_answer_is_sent_the_rest_first() {
    let now = Instant::now();
    let mut room = room();
    room.enter(attempt(1, None), now);
    room.opened(Some((opened(200, 73..=200), empty(), indexed())), None, now);
    room.enter(attempt(2, Some(("e", 10))), now);
    let read = LogRead::After(Replay::Part((11..=13).map(entry).collect()));
    let effects = room.log_read(attempt(2, Some(("e", 10))), read, now);
    assert_eq!(show(&effects)[0], "replay after 13 [11, 12, 13] online 1");
    let replayed = |room: &mut TestRoom, offset| {
        let position = Position { epoch: Epoch::new("e"), offset };
        let effects = room.replayed(attempt(2, None), ReplayEnd::Reached(position), now);
        show(&effects).remove(0)
    };
    assert_eq!(replayed(&mut room, 50), "replay after 50", "this node does not keep the next ones");
    assert_eq!(replayed(&mut room, 150), "replay after 150", "it does, but they are many");
    assert_eq!(replayed(&mut room, 202), "replay after 202", "it has not received the last ones yet");
    room.on_bus_event(BusEvent::Message(entry(201)), now);
    room.on_bus_event(BusEvent::Message(entry(202)), now);
    assert_eq!(replayed(&mut room, 202), "end replay 2 [] None");
    assert_eq!(replayed(&mut room, 200), "end replay 2 [201, 202] None");
    for (end, expected) in
        [(ReplayEnd::Lost, "end replay 2 [] Some(e)"), (ReplayEnd::Gone, "end replay 2 [] None")]
    {
        assert_eq!(show(&room.replayed(attempt(2, None), end, now))[0], expected);
    }
    room.leave(1, Departure::Left, now);
    assert_eq!(room.state(), "live", "the other client is a member since it was answered");
}

#[test]
fn a_room_that_cannot_be_opened_refuses_its_joins_and_is_removed() {
    let (mut room, now) = (room(), Instant::now());
    room.enter(attempt(1, None), now);
    assert_eq!(show(&room.opened(None, None, now)), ["refuse 1", "Drop"]);
}

#[test]
fn an_empty_room_lingers_then_closes_and_may_open_again() {
    let now = Instant::now();
    let mut room = open_room(now);
    assert_eq!(show(&room.leave(1, Departure::Left, now)), ["RemoveMember(1)", "write +0 -1", "wake"]);
    room.timer(now + LINGER);
    assert_eq!(room.state(), "live", "until the store has recorded the leave");
    let now = now + LINGER;
    assert_eq!(show(&room.wrote(accepted(), now)), ["wake"]);
    assert_eq!(show(&room.timer(now + LINGER)), ["close [i]"]);
    assert!(room.enter(attempt(2, None), now).is_empty());
    assert_eq!(show(&room.closed()), ["Open"]);
}

#[test]
fn the_log_of_a_room_with_members_does_not_expire() {
    let now = Instant::now();
    let mut room = open_room(now);
    let later = now + Duration::from_secs(600);
    assert_eq!(show(&room.timer(later)), ["Touch", "wake"]);
    assert_eq!(show(&room.timer(later + Duration::from_secs(1))), ["wake"]);
}

#[test]
fn a_user_in_grace_keeps_the_room_open() {
    let now = Instant::now();
    let mut room = open_room(now);
    assert_eq!(show(&room.leave(1, Departure::Dropped, now)), ["RemoveMember(1)", "wake"]);
    assert!(!show(&room.timer(now + LINGER)).iter().any(|effect| effect.starts_with("close")));
    let later = now + Duration::from_secs(15);
    assert_eq!(show(&room.timer(later))[0], "write +0 -1");
}

#[test]
fn a_room_is_opened_once_also_if_the_first_join_is_withdrawn() {
    let (mut room, now) = (room(), Instant::now());
    assert_eq!(show(&room.enter(attempt(1, None), now)), ["Open"]);
    room.leave(1, Departure::Left, now);
    assert!(room.enter(attempt(2, None), now).is_empty());
}
