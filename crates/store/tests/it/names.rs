//! The contract of names.

use futures_util::stream::{self, StreamExt as _};
use roomcast_store::{Claim, Hold, Incarnation, Secret};

use crate::subject::{Subject, user};

fn nodes<const N: usize>() -> [Incarnation; N] {
    std::array::from_fn(|_| Incarnation::random())
}

fn taken_by(claim: Claim) -> Vec<Incarnation> {
    match claim {
        Claim::Granted { .. } => panic!("granted"),
        Claim::Taken(mut by) => {
            by.sort();
            by
        }
    }
}

fn in_order(nodes: &[&Incarnation]) -> Vec<Incarnation> {
    let mut nodes: Vec<_> = nodes.iter().map(|node| (*node).clone()).collect();
    nodes.sort();
    nodes
}

pub(crate) async fn a_name_belongs_to_its_secret(subject: Subject) {
    let (node, [a, b, c]) = (subject.node().await, nodes());
    let (ann, mine, other) = (user("Ann"), Secret::proved("mine"), Secret::proved("other"));
    let claim = async |secret, by| node.names.claim(&ann, secret, by, &[]).await.unwrap();
    assert!(claim(&mine, &a).await.is_granted());
    assert!(claim(&mine, &b).await.is_granted(), "the same secret elsewhere");
    assert!(claim(&mine, &b).await.is_granted(), "and there again");
    assert_eq!(taken_by(claim(&other, &c).await), in_order(&[&a, &b]));
    assert_eq!(
        in_order(&node.names.holders(&ann).await.unwrap().iter().collect::<Vec<_>>()),
        in_order(&[&a, &b])
    );
    node.names.release(&ann, &mine, &a).await.unwrap();
    assert_eq!(taken_by(claim(&other, &c).await), in_order(&[&b]));
    node.names.release(&ann, &mine, &b).await.unwrap();
    assert!(node.names.holders(&ann).await.unwrap().is_empty());
    assert!(claim(&other, &c).await.is_granted());
    assert_eq!(taken_by(claim(&mine, &a).await), in_order(&[&c]));
    assert!(node.names.claim(&user("ann"), &mine, &a, &[]).await.unwrap().is_granted(), "another name");
}

pub(crate) async fn the_owner_of_a_name_is_known_by_the_secret_while_it_is_held(subject: Subject) {
    let (node, [a]) = (subject.node().await, nodes());
    let (ann, mine) = (user("Ann"), Secret::proved("mine"));
    let other = Secret::proved("other");
    let is_owner = async |name, secret| node.names.is_owner(name, secret).await.unwrap();
    assert!(!is_owner(&ann, &mine).await, "nobody has the name");
    node.names.claim(&ann, &mine, &a, &[]).await.unwrap();
    assert!(is_owner(&ann, &mine).await);
    assert!(!is_owner(&ann, &other).await);
    node.names.grace(&ann, &mine, &a).await.unwrap();
    assert!(is_owner(&ann, &mine).await, "in grace, too");
    node.names.release(&ann, &mine, &a).await.unwrap();
    assert!(!is_owner(&ann, &mine).await);
    let (bob, made_up) = (user("Bob"), Secret::open("made up"));
    node.names.claim(&bob, &made_up, &a, &[]).await.unwrap();
    assert!(!is_owner(&bob, &made_up).await, "an open name proves nothing");
}

pub(crate) async fn a_name_in_grace_is_protected_unless_it_is_open(subject: Subject) {
    let (node, [a, b]) = (subject.node().await, nodes());
    let other = Secret::proved("other");
    for (name, secret, guarded) in
        [("Ann", Secret::proved("mine"), true), ("Bob", Secret::open("made up"), false)]
    {
        let name = user(name);
        node.names.claim(&name, &secret, &a, &[]).await.unwrap();
        let refused = node.names.claim(&name, &other, &b, &[]).await.unwrap();
        assert_eq!(taken_by(refused), in_order(&[&a]), "the name of a connected user is taken");
        node.names.grace(&name, &other, &a).await.unwrap();
        let refused = node.names.claim(&name, &other, &b, &[]).await.unwrap();
        assert_eq!(taken_by(refused), in_order(&[&a]), "only the owner can be in grace");
        node.names.grace(&name, &secret, &b).await.unwrap();
        assert_eq!(node.names.holders(&name).await.unwrap(), in_order(&[&a]), "a grace makes no new holder");

        node.names.grace(&name, &secret, &a).await.unwrap();
        assert_eq!(node.names.holders(&name).await.unwrap(), in_order(&[&a]), "in grace it is still held");
        let answer = node.names.claim(&name, &other, &b, &[]).await.unwrap();
        if guarded {
            assert_eq!(taken_by(answer), in_order(&[&a]));
            assert!(node.names.claim(&name, &secret, &a, &[]).await.unwrap().is_granted(), "back again");
        } else {
            assert!(answer.is_granted());
            assert_eq!(node.names.holders(&name).await.unwrap(), in_order(&[&b]));
            let refused = node.names.claim(&name, &secret, &a, &[]).await.unwrap();
            assert_eq!(taken_by(refused), in_order(&[&b]));
        }
    }
    // Live on one node and in grace on another: the name is taken.
    let (name, open) = (user("Cyd"), Secret::open("made up"));
    node.names.claim(&name, &open, &a, &[]).await.unwrap();
    node.names.claim(&name, &open, &b, &[]).await.unwrap();
    node.names.grace(&name, &open, &a).await.unwrap();
    assert_eq!(taken_by(node.names.claim(&name, &other, &a, &[]).await.unwrap()), in_order(&[&b]));
}

pub(crate) async fn holds_of_dead_incarnations_are_removed(subject: Subject) {
    let (node, [a, b, c]) = (subject.node().await, nodes());
    let (ann, mine, other) = (user("Ann"), Secret::proved("mine"), Secret::proved("other"));
    node.names.claim(&ann, &mine, &a, &[]).await.unwrap();
    node.names.claim(&ann, &mine, &b, &[]).await.unwrap();
    let dead = std::slice::from_ref(&a);
    assert_eq!(taken_by(node.names.claim(&ann, &other, &c, dead).await.unwrap()), in_order(&[&b]));
    assert_eq!(node.names.holders(&ann).await.unwrap(), in_order(&[&b]), "holds of the dead are removed");
    assert!(node.names.claim(&ann, &mine, &c, std::slice::from_ref(&b)).await.unwrap().is_granted());
    assert_eq!(node.names.holders(&ann).await.unwrap(), in_order(&[&c]), "for the owner, too");
    assert!(node.names.claim(&ann, &other, &a, &[b, c]).await.unwrap().is_granted());
    assert_eq!(node.names.holders(&ann).await.unwrap(), in_order(&[&a]));
}

pub(crate) async fn a_former_owner_cannot_release_the_name(subject: Subject) {
    let (node, [a, b]) = (subject.node().await, nodes());
    let (ann, former, owner) = (user("Ann"), Secret::open("former"), Secret::proved("owner"));
    node.names.claim(&ann, &former, &a, &[]).await.unwrap();
    node.names.grace(&ann, &former, &a).await.unwrap();
    assert!(node.names.claim(&ann, &owner, &a, &[]).await.unwrap().is_granted());
    node.names.grace(&ann, &former, &a).await.unwrap();
    node.names.release(&ann, &former, &a).await.unwrap();
    assert_eq!(node.names.holders(&ann).await.unwrap(), in_order(&[&a]));
    let refused = node.names.claim(&ann, &former, &b, &[]).await.unwrap();
    assert_eq!(taken_by(refused), in_order(&[&a]), "neither released nor put into grace");
    assert_eq!(node.names.online(std::slice::from_ref(&a)).await.unwrap(), 1, "and the sweeper finds it");
    assert_eq!(node.names.sweep(&a).await.unwrap(), 1);
    node.names.release(&user("Nobody"), &former, &a).await.unwrap();
}

pub(crate) async fn a_name_that_was_taken_over_is_known_as_such_until_it_is_free(subject: Subject) {
    let (node, [a, b]) = (subject.node().await, nodes());
    let (ann, former, owner) = (user("Ann"), Secret::open("former"), Secret::proved("owner"));
    let taken_over = async || node.names.was_taken_over(&ann).await.unwrap();
    node.names.claim(&ann, &former, &a, &[]).await.unwrap();
    node.names.grace(&ann, &former, &a).await.unwrap();
    node.names.claim(&ann, &former, &b, &[]).await.unwrap();
    assert!(!taken_over().await, "the owner returned");
    node.names.grace(&ann, &former, &b).await.unwrap();
    assert!(node.names.claim(&ann, &owner, &a, &[]).await.unwrap().is_granted());
    node.names.claim(&ann, &owner, &b, &[]).await.unwrap();
    assert!(taken_over().await, "from an owner in grace");
    node.names.release(&ann, &owner, &a).await.unwrap();
    assert!(taken_over().await);
    node.names.release(&ann, &owner, &b).await.unwrap();
    assert!(!taken_over().await && node.names.holders(&ann).await.unwrap().is_empty(), "it is free");
    node.names.claim(&ann, &former, &a, &[]).await.unwrap();
    assert!(!taken_over().await);
    assert!(node.names.claim(&ann, &owner, &b, std::slice::from_ref(&a)).await.unwrap().is_granted());
    assert!(taken_over().await, "from an owner whose node died");
}

pub(crate) async fn users_are_counted_once(subject: Subject) {
    let (node, [a, b, c]) = (subject.node().await, nodes());
    let (mine, other) = (Secret::proved("mine"), Secret::proved("other"));
    let online = async |nodes: &[&Incarnation]| {
        let nodes: Vec<_> = nodes.iter().map(|node| (*node).clone()).collect();
        node.names.online(&nodes).await.unwrap()
    };
    assert_eq!(online(&[&a, &b, &c]).await, 0);
    for n in 0..50 {
        let name = user(&format!("user {n}"));
        assert!(node.names.claim(&name, &mine, &a, &[]).await.unwrap().is_granted());
        if n < 20 {
            assert!(node.names.claim(&name, &mine, &b, &[]).await.unwrap().is_granted());
        }
        assert!(taken_by(node.names.claim(&name, &other, &c, &[]).await.unwrap()).contains(&a));
    }
    assert_eq!(online(&[&a, &b]).await, 50, "a user of two nodes is one");
    assert_eq!(online(&[&b]).await, 20);
    assert_eq!(online(&[&c]).await, 0, "a refused claim is not counted");
    assert_eq!(
        taken_by(node.names.claim(&user("user 0"), &other, &a, &[]).await.unwrap()),
        in_order(&[&a, &b])
    );
    assert_eq!(online(&[&a]).await, 50, "a refused claim does not change the hold on the same node");
    node.names.grace(&user("user 0"), &mine, &a).await.unwrap();
    assert_eq!(online(&[&a]).await, 50, "a user in grace is online");
    node.names.release(&user("user 49"), &mine, &a).await.unwrap();
    assert_eq!(online(&[&a, &b]).await, 49);
}

pub(crate) async fn concurrent_claims_are_answered_each(subject: Subject) {
    let (node, [a, b]) = (subject.node().await, nodes());
    let (mine, other) = (Secret::proved("mine"), Secret::proved("other"));
    let users: Vec<_> = (0..200).map(|n| user(&format!("u{n}"))).collect();
    node.names.claim(&users[7], &other, &b, &[]).await.unwrap();
    let all = users.iter().map(|user| node.names.claim(user, &mine, &a, &[]));
    let all = stream::iter(all.collect::<Vec<_>>()).buffered(users.len()).collect::<Vec<_>>();
    let (mut claims, rival) = tokio::join!(all, node.names.claim(&users[3], &other, &a, &[]));
    let (rival, first) = (rival.unwrap(), claims[3].clone().unwrap());
    assert!(rival.is_granted() != first.is_granted(), "one of two: {rival:?}, {first:?}");
    assert_eq!(taken_by(claims.swap_remove(7).unwrap()), in_order(&[&b]));
    let refused = claims.iter().filter(|claim| !claim.as_ref().unwrap().is_granted()).count();
    assert_eq!(refused, usize::from(rival.is_granted()));
    assert_eq!(
        node.names.online(std::slice::from_ref(&a)).await.unwrap(),
        199,
        "a refused name is not indexed"
    );
    assert_eq!(node.names.online(&[a, b]).await.unwrap(), 200);
}

pub(crate) async fn a_connection_on_another_node_ends_one_grace(subject: Subject) {
    let (node, [a, b, c]) = (subject.node().await, nodes());
    let (ann, mine) = (user("Ann"), Secret::proved("mine"));
    let holders = async || {
        let mut holders = node.names.holders(&ann).await.unwrap();
        holders.sort();
        holders
    };
    node.names.claim(&ann, &mine, &a, &[]).await.unwrap();
    node.names.claim(&ann, &mine, &b, &[]).await.unwrap();
    assert_eq!(holders().await, in_order(&[&a, &b]), "a live hold stays");
    node.names.grace(&ann, &mine, &a).await.unwrap();
    node.names.reclaim(&ann, &mine, &b, Hold::Live).await.unwrap();
    assert_eq!(holders().await, in_order(&[&a, &b]), "a reclaim is no arrival");
    node.names.claim(&ann, &mine, &b, &[]).await.unwrap();
    assert_eq!(holders().await, in_order(&[&b]), "the connection that dropped there returned here");
    node.names.grace(&ann, &mine, &b).await.unwrap();
    node.names.reclaim(&ann, &mine, &a, Hold::Grace).await.unwrap();
    node.names.claim(&ann, &mine, &c, &[]).await.unwrap();
    assert_eq!(holders().await.len(), 2, "one connection, one grace");
    let other = Secret::proved("other");
    assert!(!taken_by(node.names.reclaim(&ann, &other, &a, Hold::Live).await.unwrap()).is_empty());
}
