//! Claims of names that come together, as one request to Redis: while one is under way, others gather for
//! the next. Called by `redis.rs`, calls `link.rs`.

use redis::{Pipeline, cmd};
use roomcast_ops::Lifecycle;
use roomcast_ops::trace::{Kind, Span};
use roomcast_protocol::UserName;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Claim, Secret};
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::{Link, parse_answer};
use crate::nodes::Incarnation;
use crate::script;

/// Claims that may wait for their turn; those beyond wait before it.
const QUEUE: usize = 1_024;
/// Claims of one request, at most: a few hundred microseconds of Redis' time.
const AT_ONCE: usize = 128;

/// What somebody claims.
pub(super) struct Wish {
    pub(super) user: UserName,
    pub(super) secret: Secret,
    pub(super) node: Incarnation,
    pub(super) dead: Vec<Incarnation>,
}

type Answer = oneshot::Sender<Result<Claim>>;

/// The way to have names claimed: to the task that gathers.
pub(super) struct Together(mpsc::Sender<(Wish, Answer)>);

impl Together {
    /// `link` as tasks of the store have it. What gathers runs until `end`.
    pub(super) fn new(link: Link, keys: Keys, lifecycle: &Lifecycle, end: CancellationToken) -> Self {
        let (gathering, gathered) = mpsc::channel(QUEUE);
        let work = run(link, keys, gathered);
        lifecycle.spawn("redis-names", async move { end.run_until_cancelled(work).await });
        Self(gathering)
    }

    pub(super) async fn claim(&self, wish: Wish) -> Result<Claim> {
        // Here, and not where others are gathered: it belongs to the request.
        let mut span = Span::redis(script::NAME_CLAIM.name(), Kind::Client, "EVALSHA");
        let nothing = || StoreError::Unavailable("the store has ended".into());
        let claimed = async {
            let (answer, answered) = oneshot::channel();
            self.0.send((wish, answer)).await.map_err(|_| nothing())?;
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
                Ok(claims) => claims,
                Err(error) => vec![Err(error); answers.len()],
            };
            // Whoever asked may have gone: the sweeper knows of the name.
            answers.into_iter().zip(claims).for_each(|(answer, claim)| {
                answer.send(claim).unwrap_or_default();
            });
        }
    }
}

/// Claims of one incarnation; as many answers. A call each, for names are in many slots.
async fn claim(link: &Link, keys: &Keys, wishes: &[Wish]) -> Result<Vec<Result<Claim>>> {
    let Some(node) = wishes.first().map(|wish| &wish.node) else { return Ok(Vec::new()) };
    // Before the claims, so that the sweeper finds the names whatever happens in between.
    link.command::<()>(cmd("SADD").arg(keys.node_names(node)).arg(users(wishes))).await?;

    let mut calls = Pipeline::with_capacity(wishes.len());
    for wish in wishes {
        let (hash, chosen): (_, &[u8]) =
            (wish.secret.to_hex(), if wish.secret.is_chosen() { b"1" } else { b"0" });
        let mut args = vec![hash.as_bytes(), chosen, node.as_str().as_bytes()];
        args.extend(wish.dead.iter().map(|node| node.as_str().as_bytes()));
        calls.add_command(script::NAME_CLAIM.call(&[keys.name(&wish.user)], &args));
    }
    let answers = link.call_batch(&script::NAME_CLAIM, &calls).await.into_iter();
    let claims: Vec<Result<Claim>> =
        answers.map(|answer| Ok(settled(&parse_answer::<Vec<String>>(answer?)?))).collect();

    // Names that this node did not get, by another claim of these either, are none of its names.
    let got = |user: &UserName| {
        wishes
            .iter()
            .zip(&claims)
            .any(|(wish, claim)| wish.user == *user && matches!(claim, Ok(Claim::Granted)))
    };
    let elsewhere =
        |claim: &Result<Claim>| matches!(claim, Ok(Claim::Taken(holders)) if !holders.contains(node));
    let refused = wishes.iter().zip(&claims).filter(|(wish, claim)| elsewhere(claim) && !got(&wish.user));
    let refused = users(refused.map(|(wish, _)| wish));
    if refused.is_empty() {
        return Ok(claims);
    }
    // Where that fails it is the concern of those alone: others have their names.
    let unlisted = link.command::<()>(cmd("SREM").arg(keys.node_names(node)).arg(refused)).await;
    let told = |claim| if elsewhere(&claim) { unlisted.clone().and(claim) } else { claim };
    Ok(claims.into_iter().map(told).collect())
}

fn settled(holders: &[String]) -> Claim {
    match holders {
        [] => Claim::Granted,
        holders => Claim::Taken(holders.iter().map(|node| Incarnation::new(node)).collect()),
    }
}

fn users<'a>(wishes: impl IntoIterator<Item = &'a Wish>) -> Vec<&'a str> {
    wishes.into_iter().map(|wish| wish.user.as_str()).collect()
}
