//! Sends concurrent claims of names to Redis in batches: while one batch is in progress, further claims wait for the
//! next. Called by `redis.rs`, calls `link.rs`.

use std::time::Duration;

use redis::{Cmd, Pipeline, cmd};
use roomcast_ops::Lifecycle;
use roomcast_ops::trace::{self, Span};
use roomcast_protocol::{Epoch, Position, UserName};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Claim, Hold};
use crate::error::{Result, StoreError};
use crate::keys::Keys;
use crate::link::{Link, parse_answer};
use crate::log::candidate_epoch;
use crate::nodes::Incarnation;
use crate::person::Person;
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
    pub(super) person: Person,
    pub(super) node: Incarnation,
    pub(super) kind: Kind,
    pub(super) dead: Vec<Incarnation>,
}

type Answer = oneshot::Sender<Result<Claim>>;

/// A handle to the task that sends the batches.
pub(super) struct ClaimBatcher(mpsc::Sender<(ClaimRequest, Answer)>);

impl ClaimBatcher {
    /// `link` is the store's link for its own tasks. The task runs until `end` is cancelled.
    ///
    /// An inbox is kept without use for `idle`.
    pub(super) fn new(
        link: Link,
        (keys, idle): (Keys, Duration),
        lifecycle: &Lifecycle,
        end: CancellationToken,
    ) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE);
        let work = run(Claims { link, keys, idle }, queued);
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

/// What the task depends on.
struct Claims {
    link: Link,
    keys: Keys,
    idle: Duration,
}

async fn run(claims: Claims, mut queued: mpsc::Receiver<(ClaimRequest, Answer)>) {
    let mut batch: Vec<(ClaimRequest, Answer)> = Vec::new();
    while queued.recv_many(&mut batch, AT_ONCE).await > 0 {
        // A claim whose caller was cancelled while it waited must not be made: the caller may have released since.
        batch.retain(|(_, answer)| !answer.is_closed());
        while let Some((first, _)) = batch.first() {
            // Usually the whole batch; not where the node has just registered as another incarnation.
            let same = batch.iter().take_while(|(request, _)| request.node == first.node).count();
            let (requests, answers): (Vec<ClaimRequest>, Vec<Answer>) = batch.drain(..same).unzip();
            let results = match claims.send(&requests).await {
                Ok(results) => results,
                Err(error) => vec![Err(error); answers.len()],
            };
            // The caller may have been cancelled: the name is indexed, so it is swept with the incarnation.
            answers.into_iter().zip(results).for_each(|(answer, claim)| {
                answer.send(claim).unwrap_or_default();
            });
        }
    }
}

impl Claims {
    /// Sends claims of one incarnation and returns their results in order. One script call for each, because names are in
    /// many slots.
    async fn send(&self, requests: &[ClaimRequest]) -> Result<Vec<Result<Claim>>> {
        let Some(node) = requests.first().map(|request| &request.node) else { return Ok(Vec::new()) };
        // Before the claims, so that the sweeper finds the names also if this task fails in between.
        self.command(cmd("SADD").arg(self.keys.node_names(node)).arg(users(requests))).await?;

        let mut calls = Pipeline::with_capacity(requests.len());
        for request in requests {
            calls.add_command(self.call(request));
        }
        let answers = self.link.call_batch(&script::NAME_CLAIM, &calls).await.into_iter();
        let claims: Vec<Result<Claim>> = answers.map(|answer| Ok(claim_of(parse_answer(answer?)?))).collect();

        // Names that were granted by none of these claims, and that this node does not hold, are removed from its index.
        let granted = |user: &UserName| {
            requests.iter().zip(&claims).any(|(request, claim)| {
                request.person.user == *user && claim.as_ref().is_ok_and(Claim::is_granted)
            })
        };
        let elsewhere =
            |claim: &Result<Claim>| matches!(claim, Ok(Claim::Taken(holders)) if !holders.contains(node));
        let refused = requests
            .iter()
            .zip(&claims)
            .filter(|(request, claim)| elsewhere(claim) && !granted(&request.person.user));
        let refused = users(refused.map(|(request, _)| request));
        if refused.is_empty() {
            return Ok(claims);
        }
        // If that fails, only the refused claims fail.
        let unindexed = self.command(cmd("SREM").arg(self.keys.node_names(node)).arg(refused)).await;
        let answered = |claim| if elsewhere(&claim) { unindexed.clone().and(claim) } else { claim };
        Ok(claims.into_iter().map(answered).collect())
    }

    async fn command(&self, command: &Cmd) -> Result<()> {
        self.link.command(command).await
    }

    fn call(&self, ClaimRequest { person, node, kind, dead }: &ClaimRequest) -> Cmd {
        let kind: &[u8] = match kind {
            Kind::Arrive => b"arrive",
            Kind::Repeat(Hold::Live) => b"live",
            Kind::Repeat(Hold::Grace) => b"grace",
        };
        let proved: &[u8] = if person.secret.is_proved() { b"1" } else { b"0" };
        let (hash, epoch, idle) =
            (person.secret.to_hex(), candidate_epoch(), person.idle(self.idle).as_millis().to_string());
        let mut args =
            vec![hash.as_bytes(), proved, node.as_str().as_bytes(), kind, epoch.as_bytes(), idle.as_bytes()];
        args.extend(dead.iter().map(|node| node.as_str().as_bytes()));
        script::NAME_CLAIM.call(&self.keys.inbox(person), &args)
    }
}

fn claim_of((holders, epoch, offset): (Vec<String>, String, i64)) -> Claim {
    if holders.is_empty() {
        let offset = u64::try_from(offset).ok();
        return Claim::Granted { inbox: offset.map(|offset| Position { epoch: Epoch::new(&epoch), offset }) };
    }
    Claim::Taken(holders.iter().map(|node| Incarnation::new(node)).collect())
}

fn users<'a>(requests: impl IntoIterator<Item = &'a ClaimRequest>) -> Vec<&'a str> {
    requests.into_iter().map(|request| request.person.user.as_str()).collect()
}
