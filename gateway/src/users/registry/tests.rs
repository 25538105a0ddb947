//! Tests of `users/registry.rs`: connections and answers of the store in, calls out.

use super::*;

const GRACE: Duration = Duration::from_secs(15);
const SECOND: Duration = Duration::from_secs(1);

fn ann() -> UserName {
    UserName::parse("ann").unwrap()
}

fn node(word: &str) -> Incarnation {
    Incarnation::new(word)
}

fn mine() -> Secret {
    Secret::open("mine")
}

/// A registry with one connection of ann, which the store has recorded.
fn registry() -> (Registry, u64, Instant) {
    let mut registry = Registry::new(GRACE);
    let stay = claim(&mut registry, &mine(), &Ok(Claim::Granted { inbox: None })).stay.unwrap();
    assert_eq!(registry.due(&ann(), &node("a")), None);
    (registry, stay, Instant::now())
}

fn claim(registry: &mut Registry, secret: &Secret, answer: &Result<Claim, StoreError>) -> Claimed {
    registry.begin_claim(&ann(), secret, &node("a"));
    registry.end_claim(&ann(), secret, &node("a"), answer)
}

fn unknown() -> Result<Claim, StoreError> {
    Err(StoreError::Unknown("no answer".into()))
}

/// Makes the call that is due and returns it.
fn sync(registry: &mut Registry, node: &Incarnation, outcome: Outcome) -> Option<Call> {
    let call = registry.due(&ann(), node)?;
    registry.done(&ann(), &call, node, outcome);
    Some(call)
}

#[test]
fn a_second_tab_needs_no_call_and_the_last_one_releases_the_name() {
    let (mut registry, stay, now) = registry();
    assert_eq!(registry.arrive_here(&ann(), &mine(), &node("a")), Some(stay));
    assert_eq!(registry.arrive_here(&ann(), &Secret::open("other"), &node("a")), None);
    registry.depart(&ann(), stay, Departure::Left, now);
    assert_eq!(registry.due(&ann(), &node("a")), None);
    registry.depart(&ann(), stay, Departure::Left, now);
    assert_eq!(sync(&mut registry, &node("a"), Outcome::Done), Some(Call::Release(mine())));
    assert_eq!(registry.due(&ann(), &node("a")), None);
    assert!(registry.entries.is_empty() && registry.out_of_sync().is_empty());
}

#[test]
fn a_secret_that_the_server_generated_and_the_client_sends_back_is_the_same() {
    let (mut registry, stay, _) = registry();
    let sent_back = Secret::proved("mine");
    assert_eq!(registry.arrive_here(&ann(), &sent_back, &node("a")), Some(stay));
    let claimed = claim(&mut registry, &sent_back, &Ok(Claim::Granted { inbox: None }));
    assert_eq!((claimed.stay, claimed.lost), (Some(stay), false));
}

#[test]
fn a_release_that_failed_stays_due_until_the_store_accepts_it() {
    let (mut registry, stay, now) = registry();
    registry.depart(&ann(), stay, Departure::Left, now);
    for _ in 0..3 {
        assert_eq!(sync(&mut registry, &node("a"), Outcome::Failed), Some(Call::Release(mine())));
        assert_eq!(registry.out_of_sync(), [ann()]);
    }
    assert_eq!(sync(&mut registry, &node("a"), Outcome::Done), Some(Call::Release(mine())));
    assert_eq!(registry.due(&ann(), &node("a")), None);
    assert!(registry.out_of_sync().is_empty());
}

#[test]
fn a_name_whose_grace_ended_during_an_outage_is_released_later() {
    let (mut registry, stay, now) = registry();
    registry.depart(&ann(), stay, Departure::Dropped, now);
    assert_eq!(sync(&mut registry, &node("a"), Outcome::Failed), Some(Call::Grace(mine())));
    registry.expire(now + GRACE);
    assert_eq!(sync(&mut registry, &node("a"), Outcome::Failed), Some(Call::Release(mine())));
    assert_eq!(sync(&mut registry, &node("a"), Outcome::Done), Some(Call::Release(mine())));
    assert_eq!(registry.due(&ann(), &node("a")), None);
}

#[test]
fn a_user_who_left_before_the_reclaim_is_released_instead() {
    let (mut registry, stay, now) = registry();
    registry.mark_all_unknown();
    assert_eq!(registry.out_of_sync(), [ann()]);
    registry.depart(&ann(), stay, Departure::Left, now);
    assert_eq!(registry.due(&ann(), &node("a")), Some(Call::Release(mine())));
}

#[test]
fn names_of_present_users_are_claimed_again_under_every_new_incarnation() {
    let (mut registry, stay, now) = registry();
    let reclaim = |hold| Some(Call::Reclaim(mine(), hold));
    assert_eq!(registry.arrive_here(&ann(), &mine(), &node("b")), None, "the store must be called first");
    assert_eq!(sync(&mut registry, &node("b"), Outcome::Done), reclaim(Hold::Live));
    assert_eq!(registry.due(&ann(), &node("b")), None);
    registry.depart(&ann(), stay, Departure::Dropped, now);
    assert_eq!(sync(&mut registry, &node("c"), Outcome::Done), reclaim(Hold::Grace));
    registry.expire(now + GRACE);
    assert_eq!(registry.due(&ann(), &node("d")), None, "holds of former incarnations are swept with them");
    assert!(registry.entries.is_empty());
}

#[test]
fn an_owner_who_lost_the_name_is_removed_and_has_no_grace() {
    let (mut registry, stay, now) = registry();
    let call = registry.due(&ann(), &node("b")).unwrap();
    assert!(registry.done(&ann(), &call, &node("b"), Outcome::Taken), "the connections must be closed");
    assert!(!registry.is_current(&ann(), stay));
    registry.depart(&ann(), stay, Departure::Dropped, now);
    assert_eq!((registry.due(&ann(), &node("b")), registry.deadline()), (None, None));
    assert_eq!(registry.arrive_here(&ann(), &mine(), &node("b")), None);
    // A new connection of the same owner belongs to another stay.
    registry.begin_claim(&ann(), &mine(), &node("b"));
    let next =
        registry.end_claim(&ann(), &mine(), &node("b"), &Ok(Claim::Granted { inbox: None })).stay.unwrap();
    registry.depart(&ann(), stay, Departure::Left, now);
    assert!(registry.is_current(&ann(), next) && registry.due(&ann(), &node("b")).is_none());
}

#[test]
fn a_claim_whose_answer_was_lost_is_released() {
    let mut registry = Registry::new(GRACE);
    assert_eq!(claim(&mut registry, &mine(), &unknown()), Claimed::default());
    assert_eq!(registry.out_of_sync(), [ann()]);
    assert_eq!(sync(&mut registry, &node("a"), Outcome::Done), Some(Call::Release(mine())));
    assert_eq!(registry.due(&ann(), &node("a")), None);
    assert!(registry.entries.is_empty());
    claim(&mut registry, &mine(), &Err(StoreError::Unavailable("nothing was done".into())));
    assert_eq!(registry.due(&ann(), &node("a")), None);
}

#[test]
fn a_rival_whose_answer_was_lost_is_released_and_the_owner_claimed_again() {
    let (mut registry, stay, now) = registry();
    let rival = Secret::proved("rival");
    registry.depart(&ann(), stay, Departure::Dropped, now);
    sync(&mut registry, &node("a"), Outcome::Done);
    claim(&mut registry, &rival, &unknown());
    assert_eq!(sync(&mut registry, &node("a"), Outcome::Done), Some(Call::Release(rival.clone())));
    let call = registry.due(&ann(), &node("a"));
    assert_eq!(call, Some(Call::Reclaim(mine(), Hold::Grace)));
    assert!(
        !registry.done(&ann(), &call.unwrap(), &node("a"), Outcome::Taken),
        "in grace, there is no connection to close"
    );
    let granted = claim(&mut registry, &rival, &Ok(Claim::Granted { inbox: None }));
    assert!(granted.stay.is_some() && !granted.lost);
}

#[test]
fn a_connected_owner_loses_the_name_when_a_rival_is_granted_it() {
    let (mut registry, stay, _) = registry();
    let granted = claim(&mut registry, &Secret::proved("rival"), &Ok(Claim::Granted { inbox: None }));
    assert!(granted.lost && !registry.is_current(&ann(), stay));
    assert_eq!(registry.stays.connections(&ann()), 1);
}

#[test]
fn a_claim_is_an_arrival_unless_it_is_the_return_of_a_connection_that_dropped_here() {
    let (mut registry, stay, now) = registry();
    registry.depart(&ann(), stay, Departure::Dropped, now);
    assert_eq!(registry.begin_claim(&ann(), &mine(), &node("a")), ClaimKind::Return);
    assert_eq!(registry.begin_claim(&ann(), &Secret::proved("rival"), &node("a")), ClaimKind::Arrival);
    let bob = UserName::parse("bob").unwrap();
    assert_eq!(registry.begin_claim(&bob, &mine(), &node("a")), ClaimKind::Arrival);
}

#[test]
fn the_grace_of_a_name_is_paused_while_the_store_is_unreachable() {
    let (mut registry, stay, now) = registry();
    registry.depart(&ann(), stay, Departure::Dropped, now);
    sync(&mut registry, &node("a"), Outcome::Done);
    registry.expire(now + GRACE);
    assert_eq!(sync(&mut registry, &node("a"), Outcome::Failed), Some(Call::Release(mine())));
    registry.pause(now + 10 * SECOND);
    assert_eq!(sync(&mut registry, &node("a"), Outcome::Done), Some(Call::Reclaim(mine(), Hold::Grace)));
    registry.resume(now + 60 * SECOND);
    assert_eq!(registry.deadline(), Some(now + 65 * SECOND));
}
