//! Claims of names that come together, as one request to Redis: while one is under way, others gather for
//! the next. A cluster keeps names in many slots: there each goes on its own. Called by `redis.rs`.

use redis::cmd;
use roomcast_ops::Lifecycle;
use roomcast_ops::trace::{Kind, Span};
use roomcast_protocol::UserName;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Claim, Secret};
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::Link;
use crate::nodes::Incarnation;
use crate::script;

/// Claims that may wait for their turn; those beyond wait before it.
const QUEUE: usize = 1_024;
/// Claims of one request, at most: a few hundred microseconds of Redis' time.
const AT_ONCE: usize = 128;

/// What somebody claims.
struct Wish {
    user: UserName,
    secret: Secret,
    node: Incarnation,
    dead: Vec<Incarnation>,
}

type Answer = oneshot::Sender<Result<Claim>>;

/// The way to have names claimed.
pub(super) struct Together {
    link: Link,
    keys: Keys,
    /// To the task that gathers; none on a cluster.
    gathering: Option<mpsc::Sender<(Wish, Answer)>>,
}

impl Together {
    /// `beneath` is the link as tasks of the store have it. What gathers runs until `end`.
    pub(super) fn new(
        link: Link,
        keys: Keys,
        beneath: Link,
        lifecycle: &Lifecycle,
        end: CancellationToken,
    ) -> Self {
        let gathering = (!link.is_cluster()).then(|| {
            let (gathering, gathered) = mpsc::channel(QUEUE);
            let work = run(beneath, keys.clone(), gathered);
            lifecycle.spawn("redis-names", async move { end.run_until_cancelled(work).await });
            gathering
        });
        Self { link, keys, gathering }
    }

    pub(super) async fn claim(
        &self,
        user: &UserName,
        secret: &Secret,
        node: &Incarnation,
        dead: &[Incarnation],
    ) -> Result<Claim> {
        // Here, and not where others are gathered: it belongs to the request.
        let mut span = Span::redis(script::NAME_CLAIM.name(), Kind::Client, "EVALSHA");
        let (user, secret, node) = (user.clone(), secret.clone(), node.clone());
        let wish = Wish { user, secret, node, dead: dead.to_vec() };
        let nothing = || StoreError::Unavailable("the store has ended".into());
        let claimed = async {
            let Some(gathering) = &self.gathering else {
                let claims = claim(&self.link, &self.keys, std::slice::from_ref(&wish)).await?;
                return claims.into_iter().next().ok_or_else(nothing);
            };
            let (answer, answered) = oneshot::channel();
            gathering.send((wish, answer)).await.map_err(|_| nothing())?;
            answered.await.map_err(|_| nothing())?
        };
        claimed.await.inspect_err(|error| span.fail(error.label()))
    }
}

async fn run(link: Link, keys: Keys, mut gathered: mpsc::Receiver<(Wish, Answer)>) {
    let mut batch: Vec<(Wish, Answer)> = Vec::new();
    while gathered.recv_many(&mut batch, AT_ONCE).await > 0 {
        while let Some((first, _)) = batch.first() {
            // All of one incarnation, but when the node goes on as another.
            let same = batch.iter().take_while(|(wish, _)| wish.node == first.node).count();
            let (wishes, answers): (Vec<Wish>, Vec<Answer>) = batch.drain(..same).unzip();
            let claims = match claim(&link, &keys, &wishes).await {
                Ok(claims) => claims.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error); answers.len()],
            };
            // Whoever asked may have gone: the sweeper knows of the name.
            answers.into_iter().zip(claims).for_each(|(answer, claim)| {
                answer.send(claim).unwrap_or_default();
            });
        }
    }
}

/// Claims of one incarnation; as many answers.
async fn claim(link: &Link, keys: &Keys, wishes: &[Wish]) -> Result<Vec<Claim>> {
    let Some(node) = wishes.first().map(|wish| &wish.node) else { return Ok(Vec::new()) };
    // Before the claims, so that the sweeper finds the names whatever happens in between.
    link.command::<()>(cmd("SADD").arg(keys.node_names(node)).arg(users(wishes))).await?;

    let names: Vec<String> = wishes.iter().map(|wish| keys.name(&wish.user)).collect();
    let mut args = vec![node.as_str().as_bytes()];
    let told: Vec<(String, String)> =
        wishes.iter().map(|wish| (wish.secret.to_hex(), wish.dead.len().to_string())).collect();
    for (wish, (hash, count)) in wishes.iter().zip(&told) {
        let chosen: &[u8] = if wish.secret.is_chosen() { b"1" } else { b"0" };
        args.extend([hash.as_bytes(), chosen, count.as_bytes()]);
        args.extend(wish.dead.iter().map(|node| node.as_str().as_bytes()));
    }
    let holders: Vec<Vec<String>> = link.script(&script::NAME_CLAIM, &names, &args).await?;
    if holders.len() != wishes.len() {
        return Err(StoreError::Corrupt(format!("{} claims had {} answers", wishes.len(), holders.len())));
    }
    let claims: Vec<Claim> = holders
        .iter()
        .map(|holders| match holders.as_slice() {
            [] => Claim::Granted,
            holders => Claim::Taken(holders.iter().map(|node| Incarnation::new(node)).collect()),
        })
        .collect();

    // Names that this node did not get, by another claim of these either, are none of its names.
    let got = |user: &UserName| {
        wishes.iter().zip(&claims).any(|(wish, claim)| wish.user == *user && *claim == Claim::Granted)
    };
    let elsewhere = |claim: &Claim| matches!(claim, Claim::Taken(holders) if !holders.contains(node));
    let refused = wishes.iter().zip(&claims).filter(|(wish, claim)| elsewhere(claim) && !got(&wish.user));
    let refused = users(refused.map(|(wish, _)| wish));
    if !refused.is_empty() {
        link.command::<()>(cmd("SREM").arg(keys.node_names(node)).arg(refused)).await?;
    }
    Ok(claims)
}

fn users<'a>(wishes: impl IntoIterator<Item = &'a Wish>) -> Vec<&'a str> {
    wishes.into_iter().map(|wish| wish.user.as_str()).collect()
}
