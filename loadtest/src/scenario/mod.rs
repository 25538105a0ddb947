//! Load by scenario name: for what k6 is too heavy for. Starts gateways, or takes those that run; starts as many
//! processes of the swarm as the connections need; shows progress; and ends with a summary of k6's shape. Called by
//! `bin/swarm.rs`, which `make swarm` runs.

mod breakpoint;
mod capacity;
mod catalog;
mod log;
mod settings;
mod summary;
mod target;
mod worker;
mod workers;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use self::catalog::{ALL, Rooms, Work};
use self::log::log;
use self::settings::Run;
use self::summary::Summary;
use self::target::Spent;
use crate::swarm::{Counts, ms};

/// Connections that a run may have: the numbers in texts have five digits.
const MOST_CONNECTIONS: usize = 1_000_000;
/// Rooms, and members of one, likewise.
const MOST_EACH: usize = 99_999;
/// Loads gateways by the name of a scenario, and counts every delivery.
#[derive(Debug, Parser)]
#[command(name = "roomcast-swarm", after_help = help())]
pub struct Args {
    /// Which one; the list is below
    #[arg(required_unless_present = "part")]
    scenario: Option<String>,
    /// A server that runs already, as host:port (repeatable) [default: gateways and a Redis are started]
    #[arg(long = "server", value_delimiter = ',')]
    servers: Vec<String>,
    /// How many gateways are started; of `breakpoint` several numbers, such as 1,2,4
    #[arg(long, value_delimiter = ',')]
    gateways: Vec<usize>,
    /// Connections, each of another user
    #[arg(long)]
    connections: Option<usize>,
    /// Members of a room
    #[arg(long)]
    members: Option<usize>,
    /// Processes of the swarm [default: as many as the connections need]
    #[arg(long)]
    processes: Option<usize>,
    /// Messages a second, all rooms together; of `breakpoint` the first step's
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// How long it idles or sends; of `breakpoint` each step
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Bytes of each text
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4_000))]
    text: u16,
    /// The limit of the 99th percentile from send to receive, in milliseconds
    #[arg(long)]
    p99: Option<f64>,
    /// The folder of the summary and of the servers' output [default: loadtest/results/swarm/ and the scenario's name]
    #[arg(long)]
    out: Option<PathBuf>,
    /// The folder of the gateway's binary [default: the one that this program is in]
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// A process of the swarm, which is told by standard input what to do
    #[arg(long, hide = true)]
    part: bool,
}

fn help() -> String {
    let list = ALL.iter().fold("Scenarios:\n".to_owned(), |mut list, scenario| {
        // Writing to a string does not fail.
        writeln!(list, "  {:<14} {}", scenario.name, scenario.about).unwrap_or_default();
        list
    });
    format!("{list}\nExit codes: 0, 99 where a threshold is not met, 1 where it could not run.")
}

fn rate(given: &str) -> Result<f64, String> {
    let rate = given.parse().ok().filter(|rate| (0.001..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| "must be a number from 0.001 to 1000000".to_owned())
}

fn duration(given: &str) -> Result<Duration, String> {
    let day = Duration::from_secs(86_400);
    let duration = humantime::parse_duration(given).ok();
    duration
        .filter(|duration| (Duration::from_secs(1)..=day).contains(duration))
        .ok_or_else(|| "must be from 1s to 24h, such as 90s or 1h 30m".to_owned())
}

/// Runs a scenario, or a process of one. Returns whether all thresholds are met.
pub fn run(args: Args) -> Result<bool> {
    if args.part {
        return worker::run().map(|()| true);
    }
    let run = settings(args)?;
    let path = run.out.join("summary.json");
    let (began, mut summary) = (Instant::now(), Summary::new(run.scenario));
    summary.setting("CONNECTIONS", run.connections);
    summary.setting("MEMBERS", run.scenario.shape(run.connections).1);
    summary.setting("RATE", run.rate);
    summary.setting("DURATION", humantime::format_duration(run.time).to_string());
    match run.servers.as_slice() {
        [] => summary.setting("GATEWAYS", format!("{:?}", run.gateways).replace(['[', ']', ' '], "")),
        servers => summary.setting("URL", servers.join(",")),
    }
    log(format_args!("==> {}: {}", run.scenario.name, run.scenario.about));
    match run.scenario.work {
        Work::Idle => run.idle(&mut summary)?,
        Work::Send => run.send(&mut summary)?,
        Work::Connect => run.storm(&mut summary)?,
        Work::Breakpoint => breakpoint::run(&run, &mut summary)?,
        Work::Capacity => capacity::run(&run, &mut summary)?,
    }
    summary.write(&path, began.elapsed())?;
    writeln!(std::io::stdout().lock(), "{}\nsummary: {}", summary.text(), path.display())?;
    Ok(summary.met())
}

fn settings(args: Args) -> Result<Run> {
    let name = args.scenario.unwrap_or_default();
    let mut scenario = ALL.into_iter().find(|scenario| scenario.name == name).with_context(|| {
        let known: Vec<&str> = ALL.iter().map(|scenario| scenario.name).collect();
        format!("no scenario is called {name:?}; there are {}", known.join(", "))
    })?;
    if let Some(members) = args.members {
        scenario.rooms = Rooms::Of(members.max(1));
    }
    scenario.p99_ms = args.p99.unwrap_or(scenario.p99_ms);
    let connections = args.connections.unwrap_or(scenario.connections);
    let (rooms, members) = scenario.shape(connections);
    if !(1..=MOST_CONNECTIONS).contains(&connections) || rooms.max(members) > MOST_EACH {
        bail!(
            "--connections and --members: at most {MOST_CONNECTIONS} connections, {MOST_EACH} rooms and as many members of one, not {connections} in {rooms} rooms of {members}"
        );
    }
    if args.processes.is_some_and(|processes| !(1..=200.min(connections)).contains(&processes)) {
        bail!("--processes: from 1 to 200, and not more than there are connections");
    }
    let gateways = if args.gateways.is_empty() { scenario.gateways.to_vec() } else { args.gateways };
    if gateways.iter().any(|count| !(1..=64).contains(count)) {
        bail!("--gateways: from 1 to 64");
    }
    let here = std::env::current_exe()?;
    let binaries = args.binaries.or_else(|| here.parent().map(Path::to_owned));
    Ok(Run {
        connections,
        processes: args.processes,
        rate: args.rate.unwrap_or(scenario.rate),
        time: args.duration.unwrap_or(Duration::from_secs(scenario.seconds)),
        text_bytes: usize::from(args.text),
        gateways,
        servers: args.servers,
        binaries: binaries.context("the path of this program is unknown")?,
        out: args.out.unwrap_or_else(|| Path::new("loadtest/results/swarm").join(scenario.name)),
        scenario,
    })
}

impl Run {
    fn send(&self, summary: &mut Summary) -> Result<()> {
        let target = self.target()?;
        let mut workers = self.workers(&target, self.connections, &self.scenario)?;
        let joining = workers.connect(usize::MAX)?;
        summary.trend("roomcast_join_duration", &joining.joining);
        let mark = target.mark(&workers.pids())?;
        let mut counts = workers.send(self.rate, self.time)?;
        counts.left += joining.left;
        let spent = target.since(mark.as_ref(), &workers.pids())?;
        summary.deliveries(&counts, self.scenario.p99_ms);
        used(summary, spent, &counts);
        Ok(())
    }

    fn storm(&self, summary: &mut Summary) -> Result<()> {
        let target = self.target()?;
        let mut workers = self.workers(&target, self.connections, &self.scenario)?;
        let (mark, began) = (target.mark(&workers.pids())?, Instant::now());
        let joining = workers.connect(usize::MAX)?;
        let seconds = began.elapsed().as_secs_f64();
        // Work that a join causes, such as its presence events, is part of its cost.
        let mut left = joining.left + workers.idle(Duration::from_secs(2))?.left;
        let spent = target.since(mark.as_ref(), &workers.pids())?;
        self.joined(summary, &joining, seconds);
        if let Some(spent) = spent {
            let each = |used: f64| used * 1e6 / joining.joining.len().max(1) as f64;
            summary.gauge("gateway_cpu_us_per_join", each(spent.gateways));
            summary.gauge("redis_cpu_us_per_join", each(spent.redis));
        }
        let mut counts = workers.send_one_each()?;
        left += counts.left;
        counts.left = left;
        summary.deliveries(&counts, self.scenario.p99_ms);
        Ok(())
    }

    fn idle(&self, summary: &mut Summary) -> Result<()> {
        let target = self.target()?;
        let mut workers = self.workers(&target, self.connections, &self.scenario)?;
        let before = target.memory_kib()?;
        let began = Instant::now();
        let joining = workers.connect(usize::MAX)?;
        self.joined(summary, &joining, began.elapsed().as_secs_f64());
        let mut left = joining.left + workers.idle(Duration::from_secs(2))?.left;
        let mark = target.mark(&workers.pids())?;
        left += workers.idle(self.time)?.left;
        if let Some(spent) = target.since(mark.as_ref(), &workers.pids())? {
            let each = |used: f64| used * 1e6 / self.connections as f64 / spent.seconds;
            summary.gauge("gateway_cpu_us_per_idle_connection_and_second", each(spent.gateways));
            summary.gauge("gateways_cores_idle", spent.gateways / spent.seconds);
            summary.gauge("redis_cores_idle", spent.redis / spent.seconds);
        }
        if let (Some(before), Some(after)) = (before, target.memory_kib()?) {
            let each =
                |before: u64, after: u64| after.saturating_sub(before) as f64 / self.connections as f64;
            summary.gauge("gateways_mib", after.0 as f64 / 1024.0);
            summary.gauge("redis_mib", after.1 as f64 / 1024.0);
            summary.gauge("gateway_kib_per_connection", each(before.0, after.0));
            summary.gauge("redis_kib_per_connection", each(before.1, after.1));
        }
        let sending = Instant::now();
        let mut counts = workers.send_one_each()?;
        let seconds = sending.elapsed().as_secs_f64();
        left += counts.left;
        counts.left = left;
        summary.gauge("seconds_to_reach_all", seconds);
        summary.deliveries(&counts, self.scenario.p99_ms);
        let reached = (counts.delivered, self.connections as u64);
        summary.note(&format!("{} of {} connections received their room's message.", reached.0, reached.1));
        Ok(())
    }

    fn joined(&self, summary: &mut Summary, joining: &Counts, seconds: f64) {
        let (joined, wanted) = (joining.joining.len(), self.connections as u64);
        summary.counter("roomcast_joins", joined, seconds);
        summary.threshold("roomcast_joins", &format!("count>={wanted}"), joined as f64, joined >= wanted);
        summary.trend("roomcast_join_duration", &joining.joining);
        summary.gauge("seconds_to_join_all", seconds);
        log(format_args!(
            "  {joined} joined in {seconds:.1} s, {:.0} a second; 99 of 100 within {:.0} ms",
            joined as f64 / seconds,
            ms(&joining.joining, 0.99)
        ));
    }
}

/// The processor time of a period of sending.
fn used(summary: &mut Summary, spent: Option<Spent>, counts: &Counts) {
    let Some(spent) = spent else { return };
    let each = |used: f64| used * 1e6 / counts.delivered.max(1) as f64;
    summary.gauge("gateway_cpu_us_per_delivery", each(spent.gateways));
    summary.gauge("redis_cpu_us_per_delivery", each(spent.redis));
    summary.gauge("gateways_cores", spent.gateways / spent.seconds);
    summary.gauge("redis_cores", spent.redis / spent.seconds);
    let others = spent.machine - spent.gateways - spent.redis - spent.swarm;
    summary.gauge("others_cores", others.max(0.0) / spent.seconds);
}
