//! Sends concurrent claims of names to Redis in batches: while one batch is in progress, further claims wait for the
//! next. Called by `redis.rs`, calls `link.rs`.

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

/// Claims in the queue; callers of further ones wait until there is room.
const QUEUE: usize = 1_024;
/// Claims in one batch at most: a few hundred microseconds of Redis' time.
const AT_ONCE: usize = 128;

/// Why a name is claimed.
pub(super) enum Kind {
    /// A connection arrived.
    Arrive,
    /// The node's hold is written again.
    Repeat(Hold),
}

/// One claim.
pub(super) struct ClaimRequest {
    pub(super) user: UserName,
    pub(super) secret: Secret,
    pub(super) node: Incarnation,
    pub(super) kind: Kind,
    pub(super) dead: Vec<Incarnation>,
}

type Answer = oneshot::Sender<Result<Claim>>;

/// A handle to the task that sends the batches.
pub(super) struct ClaimBatcher(mpsc::Sender<(ClaimRequest, Answer)>);

impl ClaimBatcher {
    /// `link` is the store's link for its own tasks. The task runs until `end` is cancelled.
    pub(super) fn new(link: Link, keys: Keys, lifecycle: &Lifecycle, end: CancellationToken) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE);
        let work = run(link, keys, queued);
        lifecycle.spawn("redis-names", async move { end.run_until_cancelled(work).await });
        Self(queue)
    }

    pub(super) async fn claim(&self, request: ClaimRequest) -> Result<Claim> {
        // The span is created here and not in the task, because it belongs to the request.
        let mut span = Span::redis(script::NAME_CLAIM.name(), trace::Kind::Client, "EVALSHA");
        let ended = || StoreError::Unavailable("the store has ended".into());
        let claimed = async {
            let (answer, answered) = oneshot::channel();
            self.0.send((request, answer)).await.map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        };
        claimed.await.inspect_err(|error| span.fail(error.label()))
    }
}

async fn run(link: Link, keys: Keys, mut queued: mpsc::Receiver<(ClaimRequest, Answer)>) {
    let mut batch: Vec<(ClaimRequest, Answer)> = Vec::new();
    while queued.recv_many(&mut batch, AT_ONCE).await > 0 {
        // A claim whose caller was cancelled while it waited must not be made: the caller may have released since.
        batch.retain(|(_, answer)| !answer.is_closed());
        while let Some((first, _)) = batch.first() {
            // Usually the whole batch; not where the node has just registered as another incarnation.
            let same = batch.iter().take_while(|(request, _)| request.node == first.node).count();
            let (requests, answers): (Vec<ClaimRequest>, Vec<Answer>) = batch.drain(..same).unzip();
            let claims = match claim(&link, &keys, &requests).await {
                Ok(claims) => claims,
                Err(error) => vec![Err(error); answers.len()],
            };
            // The caller may have been cancelled: the name is indexed, so it is swept with the incarnation.
            answers.into_iter().zip(claims).for_each(|(answer, claim)| {
                answer.send(claim).unwrap_or_default();
            });
        }
    }
}

/// Sends claims of one incarnation and returns their results in order. One script call for each, because names are in
/// many slots.
async fn claim(link: &Link, keys: &Keys, requests: &[ClaimRequest]) -> Result<Vec<Result<Claim>>> {
    let Some(node) = requests.first().map(|request| &request.node) else { return Ok(Vec::new()) };
    // Before the claims, so that the sweeper finds the names also if this task fails in between.
    link.command::<()>(cmd("SADD").arg(keys.node_names(node)).arg(users(requests))).await?;

    let mut calls = Pipeline::with_capacity(requests.len());
    for request in requests {
        let (hash, proved): (_, &[u8]) =
            (request.secret.to_hex(), if request.secret.is_proved() { b"1" } else { b"0" });
        let kind: &[u8] = match request.kind {
            Kind::Arrive => b"arrive",
            Kind::Repeat(Hold::Live) => b"live",
            Kind::Repeat(Hold::Grace) => b"grace",
        };
        let mut args = vec![hash.as_bytes(), proved, node.as_str().as_bytes(), kind];
        args.extend(request.dead.iter().map(|node| node.as_str().as_bytes()));
        calls.add_command(script::NAME_CLAIM.call(&[keys.name(&request.user)], &args));
    }
    let answers = link.call_batch(&script::NAME_CLAIM, &calls).await.into_iter();
    let claims: Vec<Result<Claim>> =
        answers.map(|answer| Ok(claim_of(&parse_answer::<Vec<String>>(answer?)?))).collect();

    // Names that were granted by none of these claims, and that this node does not hold, are removed from its index.
    let granted = |user: &UserName| {
        requests
            .iter()
            .zip(&claims)
            .any(|(request, claim)| request.user == *user && matches!(claim, Ok(Claim::Granted)))
    };
    let elsewhere =
        |claim: &Result<Claim>| matches!(claim, Ok(Claim::Taken(holders)) if !holders.contains(node));
    let refused =
        requests.iter().zip(&claims).filter(|(request, claim)| elsewhere(claim) && !granted(&request.user));
    let refused = users(refused.map(|(request, _)| request));
    if refused.is_empty() {
        return Ok(claims);
    }
    // If that fails, only the refused claims fail.
    let unindexed = link.command::<()>(cmd("SREM").arg(keys.node_names(node)).arg(refused)).await;
    let answered = |claim| if elsewhere(&claim) { unindexed.clone().and(claim) } else { claim };
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
