//! Claims of names that come at the same time, as one request to Redis: while one is under way, others wait
//! for the next batch. Called by `redis.rs`, calls `link.rs`.

use redis::{Pipeline, cmd};
use roomcast_ops::Lifecycle;
use roomcast_ops::trace::{self, Span};
use roomcast_protocol::UserName;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Claim, Hold, Secret};
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::{Link, parse_answer};
use crate::nodes::Incarnation;
use crate::script;

/// Claims that may wait for their turn; those beyond wait before it.
const QUEUE: usize = 1_024;
/// Claims of one request, at most: a few hundred microseconds of Redis' time.
const AT_ONCE: usize = 128;

/// Why a name is claimed.
pub(super) enum Kind {
    /// A connection arrived.
    Arrive,
    /// What is true already is written again.
    Repeat(Hold),
}

/// What somebody claims.
pub(super) struct ClaimRequest {
    pub(super) user: UserName,
    pub(super) secret: Secret,
    pub(super) node: Incarnation,
    pub(super) kind: Kind,
    pub(super) dead: Vec<Incarnation>,
}

type Answer = oneshot::Sender<Result<Claim>>;

/// The way to have names claimed: to the task that makes batches.
pub(super) struct ClaimBatcher(mpsc::Sender<(ClaimRequest, Answer)>);

impl ClaimBatcher {
    /// `link` as tasks of the store have it. The task runs until `end`.
    pub(super) fn new(link: Link, keys: Keys, lifecycle: &Lifecycle, end: CancellationToken) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE);
        let work = run(link, keys, queued);
        lifecycle.spawn("redis-names", async move { end.run_until_cancelled(work).await });
        Self(queue)
    }

    pub(super) async fn claim(&self, request: ClaimRequest) -> Result<Claim> {
        // Here, and not in the batch: it belongs to the request.
        let mut span = Span::redis(script::NAME_CLAIM.name(), trace::Kind::Client, "EVALSHA");
        let nothing = || StoreError::Unavailable("the store has ended".into());
        let claimed = async {
            let (answer, answered) = oneshot::channel();
            self.0.send((request, answer)).await.map_err(|_| nothing())?;
            answered.await.map_err(|_| nothing())?
        };
        claimed.await.inspect_err(|error| span.fail(error.label()))
    }
}

async fn run(link: Link, keys: Keys, mut queued: mpsc::Receiver<(ClaimRequest, Answer)>) {
    let mut batch: Vec<(ClaimRequest, Answer)> = Vec::new();
    while queued.recv_many(&mut batch, AT_ONCE).await > 0 {
        while let Some((first, _)) = batch.first() {
            // All of one incarnation, but when the node goes on as another.
            let same = batch.iter().take_while(|(request, _)| request.node == first.node).count();
            let (requests, answers): (Vec<ClaimRequest>, Vec<Answer>) = batch.drain(..same).unzip();
            let claims = match claim(&link, &keys, &requests).await {
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
async fn claim(link: &Link, keys: &Keys, requests: &[ClaimRequest]) -> Result<Vec<Result<Claim>>> {
    let Some(node) = requests.first().map(|request| &request.node) else { return Ok(Vec::new()) };
    // Before the claims, so that the sweeper finds the names whatever happens in between.
    link.command::<()>(cmd("SADD").arg(keys.node_names(node)).arg(users(requests))).await?;

    let mut calls = Pipeline::with_capacity(requests.len());
    for request in requests {
        let (hash, chosen): (_, &[u8]) =
            (request.secret.to_hex(), if request.secret.is_chosen() { b"1" } else { b"0" });
        let kind: &[u8] = match request.kind {
            Kind::Arrive => b"arrive",
            Kind::Repeat(Hold::Live) => b"live",
            Kind::Repeat(Hold::Grace) => b"grace",
        };
        let mut args = vec![hash.as_bytes(), chosen, node.as_str().as_bytes(), kind];
        args.extend(request.dead.iter().map(|node| node.as_str().as_bytes()));
        calls.add_command(script::NAME_CLAIM.call(&[keys.name(&request.user)], &args));
    }
    let answers = link.call_batch(&script::NAME_CLAIM, &calls).await.into_iter();
    let claims: Vec<Result<Claim>> =
        answers.map(|answer| Ok(claim_of(&parse_answer::<Vec<String>>(answer?)?))).collect();

    // Names that this node did not get, by another claim of these either, are none of its names.
    let got = |user: &UserName| {
        requests
            .iter()
            .zip(&claims)
            .any(|(request, claim)| request.user == *user && matches!(claim, Ok(Claim::Granted)))
    };
    let elsewhere =
        |claim: &Result<Claim>| matches!(claim, Ok(Claim::Taken(holders)) if !holders.contains(node));
    let refused =
        requests.iter().zip(&claims).filter(|(request, claim)| elsewhere(claim) && !got(&request.user));
    let refused = users(refused.map(|(request, _)| request));
    if refused.is_empty() {
        return Ok(claims);
    }
    // Where that fails it is the concern of those alone: others have their names.
    let unlisted = link.command::<()>(cmd("SREM").arg(keys.node_names(node)).arg(refused)).await;
    let answered = |claim| if elsewhere(&claim) { unlisted.clone().and(claim) } else { claim };
    Ok(claims.into_iter().map(answered).collect())
}

fn claim_of(holders: &[String]) -> Claim {
    match holders {
        [] => Claim::Granted,
        holders => Claim::Taken(holders.iter().map(|node| Incarnation::new(node)).collect()),
    }
}

fn users<'a>(requests: impl IntoIterator<Item = &'a ClaimRequest>) -> Vec<&'a str> {
    requests.into_iter().map(|request| request.user.as_str()).collect()
}
