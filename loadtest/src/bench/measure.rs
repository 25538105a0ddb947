//! One measurement: starts an entry's servers, warms them up, measures between two snapshots, and ends them. Called
//! by `mod.rs` for each round.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::cluster::{Charged, Cluster, Places};
use super::server::pause;
use super::workload::{CPU, Entry, TEXT_BYTES, Work, Workload};
use crate::swarm::{Part, Plan, Swarm, Window};
use crate::{dialect, proc};

/// The result of one measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sample {
    /// What was measured.
    pub(super) entry: String,
    /// From 1.
    pub(super) round: usize,
    /// The figures, by name.
    pub(super) values: BTreeMap<String, f64>,
    /// Why they are not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<String>,
}

/// The figures of a measurement.
type Values = BTreeMap<String, f64>;

/// Seconds of processor time.
#[derive(Debug, Clone, Copy)]
struct Spent {
    servers: f64,
    redis: f64,
}

/// A snapshot of processor times: a figure is the difference of two.
struct Mark {
    at: Instant,
    charged: Charged,
    own: f64,
    machine: f64,
}

impl Mark {
    fn now(cluster: &Cluster) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            charged: cluster.charged()?,
            own: proc::own_seconds()?,
            machine: proc::machine_seconds()?,
        })
    }

    /// Servers and Redis, since an earlier mark.
    fn since(&self, earlier: &Self) -> Spent {
        let (now, then) = (&self.charged, &earlier.charged);
        Spent { servers: now.servers.since(&then.servers), redis: now.redis.since(&then.redis) }
    }

    /// Cores that something else kept busy meanwhile: the figures are doubtful where it is much.
    fn others(&self, earlier: &Self) -> f64 {
        let charged = self.since(earlier);
        let ours = charged.servers + charged.redis + self.own - earlier.own;
        (self.machine - earlier.machine - ours).max(0.0) / (self.at - earlier.at).as_secs_f64()
    }
}

/// Waits for at most this time until the machine is otherwise idle; returns whether it is.
pub(super) fn wait_until_quiet(timeout: Duration) -> Result<bool> {
    const LOOK: Duration = Duration::from_millis(500);
    let began = Instant::now();
    let mut calm = 0;
    while calm < 2 {
        let before = proc::machine_seconds()?;
        pause(LOOK);
        let busy = (proc::machine_seconds()? - before) / LOOK.as_secs_f64();
        calm = if busy < 0.15 { calm + 1 } else { 0 };
        if calm == 0 && began.elapsed() > timeout {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Measures; the fault lists what was lost or repeated.
pub(super) fn measure(
    workload: &Workload,
    entry: Entry,
    places: &Places,
    time: Duration,
) -> Result<(Values, Option<String>)> {
    let cluster = Cluster::start(entry, places)?;
    let swarm = Swarm::new(Plan {
        dialect: entry.dialect(),
        servers: cluster.addresses.clone(),
        rooms: workload.rooms,
        members_each: workload.each,
        at: workload.at,
        text_bytes: TEXT_BYTES,
        slow_reader: entry == Entry::Slow,
        part: Part::default(),
    })?;
    match workload.work {
        Work::Fanout { rate } => fanout(swarm, &cluster, rate, time, workload.rooms),
        Work::Slow { rate } => slow(swarm, &cluster, rate, time, entry == Entry::Slow),
        Work::Idle => Ok((idle(swarm, &cluster)?, None)),
        Work::Connect => Ok((connect(swarm, &cluster)?, None)),
        Work::Commands => commands(swarm, &cluster, time),
    }
}

fn fanout(
    mut swarm: Swarm,
    cluster: &Cluster,
    rate: f64,
    time: Duration,
    rooms: usize,
) -> Result<(Values, Option<String>)> {
    swarm.connect(usize::MAX)?;
    let warm = warm_up(&mut swarm, rate)?;
    let mut redis = cluster.redis()?;
    let counters = redis.as_mut().map(|redis| redis.counters()).transpose()?.unwrap_or_default();
    let (window, mut values) = send(&mut swarm, cluster, rate, time)?;
    values.insert("joins_again".into(), swarm.retried_joins() as f64);
    if let Some(redis) = &mut redis {
        let now = redis.counters()?;
        let per_message = |count: u64| count as f64 / window.sent.max(1) as f64;
        values.insert("scripts".into(), per_message(now.scripts - counters.scripts));
        values.insert("redis_out_bytes".into(), per_message(now.out_bytes - counters.out_bytes));
        let rooms: Vec<String> =
            (0..rooms).filter_map(|room| Some(dialect::room(u32::try_from(room).ok()?))).collect();
        values.insert("copies".into(), redis.copies(&rooms)?);
    }
    Ok((values, warm.fault().or_else(|| window.fault())))
}

/// What is lost in it is a loss too.
fn warm_up(swarm: &mut Swarm, rate: f64) -> Result<Window> {
    swarm.idle(Duration::from_secs(1))?;
    let warm = swarm.send(rate, Duration::from_secs(2))?;
    if warm.delivered == 0 {
        bail!("nothing was delivered: {}", warm.fault().unwrap_or_default());
    }
    Ok(warm)
}

/// Sends between two marks.
fn send(swarm: &mut Swarm, cluster: &Cluster, rate: f64, time: Duration) -> Result<(Window, Values)> {
    let before = Mark::now(cluster)?;
    let window = swarm.send(rate, time)?;
    let after = Mark::now(cluster)?;
    let values = figures(&window, after.since(&before), after.others(&before));
    Ok((window, values))
}

/// The effect on the other members when one member stops reading and is disconnected.
fn slow(
    mut swarm: Swarm,
    cluster: &Cluster,
    rate: f64,
    time: Duration,
    stops: bool,
) -> Result<(Values, Option<String>)> {
    swarm.connect(usize::MAX)?;
    if stops {
        // At once: the more a connection was sent, the more the kernel keeps for it.
        swarm.stop_reading()?;
    }
    // Polled in both cases, so that polling makes no difference.
    let (sent, cut) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| first_cut(cluster, time));
        let sent =
            warm_up(&mut swarm, rate).and_then(|warm| Ok((warm, send(&mut swarm, cluster, rate, time)?)));
        (sent, looking.join())
    });
    let (warm, (window, mut values)) = sent?;
    if let Some(after) = cut.map_err(|_| anyhow!("looking for cuts failed"))?? {
        values.insert("cut_s".into(), after.as_secs_f64());
    }
    let (cuts, wanted) = (cluster.cuts()?, u64::from(stops));
    let all: u64 = cuts.values().sum();
    values.insert("cuts".into(), all as f64);
    values.extend(cuts.iter().map(|(reason, count)| (format!("cuts_{reason}"), *count as f64)));
    let fault = (all != wanted).then(|| format!("{all} cut off, not {wanted}: {cuts:?}"));
    Ok((values, warm.fault().or_else(|| window.fault()).or(fault)))
}

/// How long until the gateway closed a connection; none where it did not within this time.
fn first_cut(cluster: &Cluster, time: Duration) -> Result<Option<Duration>> {
    let began = Instant::now();
    while began.elapsed() < time {
        if !cluster.cuts()?.is_empty() {
            return Ok(Some(began.elapsed()));
        }
        pause(Duration::from_millis(250));
    }
    Ok(None)
}

fn figures(window: &Window, charged: Spent, others: f64) -> Values {
    let each = |seconds: f64| seconds * 1e6 / window.delivered.max(1) as f64;
    let values = [
        (CPU, each(charged.servers + charged.redis)),
        ("server_us", each(charged.servers)),
        ("redis_us", each(charged.redis)),
        ("p50_ms", window.p50_ms),
        ("p99_ms", window.p99_ms),
        ("max_ms", window.max_ms),
        ("sent", window.sent as f64),
        ("delivered", window.delivered as f64),
        ("lost", window.lost as f64),
        ("repeated", window.repeated as f64),
        ("disordered", window.disordered as f64),
        ("disagreed", window.disagreed as f64),
        ("bytes", window.bytes_per_delivery),
        ("late_p99_ms", window.late_p99_ms),
        ("swarm_busy", window.busy),
        ("others_busy", others),
    ];
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Memory per connection: the difference between few connections, with which everything that every
/// process needs is there, and all.
fn idle(mut swarm: Swarm, cluster: &Cluster) -> Result<Values> {
    const FEW: usize = 200;
    swarm.connect(FEW)?;
    swarm.idle(Duration::from_secs(2))?;
    let few = cluster.resident_kib()?;
    swarm.connect(usize::MAX)?;
    // The minimum of a few samples: a garbage collector may not have finished.
    let mut all = u64::MAX;
    for _ in 0..4 {
        swarm.idle(Duration::from_secs(2))?;
        all = all.min(cluster.resident_kib()?);
    }
    let connections = swarm.joined();
    let each = all.saturating_sub(few) as f64 / (connections - FEW) as f64;
    let values = [
        ("kib", each),
        ("connections", connections as f64),
        ("few_kib", few as f64),
        ("all_kib", all as f64),
    ];
    Ok(values.map(|(name, value)| (name.to_owned(), value)).into())
}

fn connect(mut swarm: Swarm, cluster: &Cluster) -> Result<Values> {
    const WARM: usize = 500;
    swarm.connect(WARM)?;
    swarm.idle(Duration::from_secs(2))?;
    let before = Mark::now(cluster)?;
    swarm.connect(usize::MAX)?;
    let seconds = before.at.elapsed().as_secs_f64();
    // Work that a join causes, such as its presence events, is part of its cost.
    swarm.idle(Duration::from_secs(2))?;
    let after = Mark::now(cluster)?;
    let (charged, clients) = (after.since(&before), (swarm.joined() - WARM) as f64);
    let values = [
        ("client_us", (charged.servers + charged.redis) * 1e6 / clients),
        ("server_us", charged.servers * 1e6 / clients),
        ("redis_us", charged.redis * 1e6 / clients),
        ("clients_per_s", clients / seconds),
        ("others_busy", after.others(&before)),
    ];
    Ok(values.map(|(name, value)| (name.to_owned(), value)).into())
}

/// The commands that gateways send to Redis: idle without users, idle with all of them, and per message.
fn commands(mut swarm: Swarm, cluster: &Cluster, time: Duration) -> Result<(Values, Option<String>)> {
    let look = Duration::from_secs(20);
    let processes = cluster.processes() as f64;
    let each = |count: usize| count as f64 / look.as_secs_f64() / processes;
    let open = || cluster.redis()?.context("gateways without Redis");
    pause(Duration::from_secs(3));
    let monitor = open()?.monitor()?;
    pause(look);
    let none = each(monitor.count()?);

    swarm.connect(usize::MAX)?;
    swarm.idle(look)?;
    let monitor = open()?.monitor()?;
    swarm.idle(look)?;
    let users = each(monitor.count()?);

    let before = open()?.counters()?;
    let window = swarm.send(200.0, time)?;
    let scripts = open()?.counters()?.scripts - before.scripts;
    let values = [
        ("rest_none", none),
        ("rest_users", users),
        ("rest_difference", users - none),
        ("scripts", scripts as f64 / window.sent.max(1) as f64),
        ("users", swarm.joined() as f64),
    ];
    Ok((values.map(|(name, value)| (name.to_owned(), value)).into(), window.fault()))
}
