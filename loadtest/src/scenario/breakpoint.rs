//! The knee: the highest rate at which every delivery arrives, 99 of 100 in time. Raises the rate step by step until one
//! fails, then looks between the last two, for each number of gateways. Called by `mod.rs`.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::log::log;
use super::settings::Run;
use super::summary::Summary;
use super::target::Spent;

use crate::swarm::{Counts, Window};

/// A step's rate is so many times that of the step before.
const FACTOR: f64 = 1.5;
/// Steps between the last rate that held and the first that did not.
const BETWEEN: usize = 3;
/// More steps than any machine needs.
const MAX_STEPS: usize = 24;
/// The share of what there is at which a resource is taken for the limit.
const FULL: f64 = 0.85;

/// One rate on one number of gateways.
struct Step {
    rate: f64,
    window: Window,
    spent: Option<Spent>,
    /// Why the rate does not hold.
    fault: Option<String>,
}

/// What ran.
struct Machine {
    gateways: usize,
    /// Threads of one gateway that serve.
    threads: usize,
    cores: f64,
}

pub(super) fn run(run: &Run, summary: &mut Summary) -> Result<()> {
    if !run.servers.is_empty() {
        return knee(run, None, summary);
    }
    for gateways in &run.gateways {
        knee(run, Some(*gateways), summary)?;
    }
    Ok(())
}

fn knee(run: &Run, gateways: Option<usize>, summary: &mut Summary) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let machine =
        Machine { gateways: gateways.unwrap_or(0), threads: (cores / 2).max(1), cores: cores as f64 };
    let mut steps: Vec<Step> = Vec::new();
    let (mut held, mut failed): (Option<f64>, Option<f64>) = (None, None);
    let mut between = 0;
    while between < BETWEEN {
        let rate = match (held, failed) {
            (None, None) => run.rate,
            (Some(held), None) => held * FACTOR,
            (None, Some(failed)) => failed / FACTOR,
            (Some(held), Some(failed)) => {
                between += 1;
                f64::midpoint(held, failed)
            }
        };
        if steps.len() == MAX_STEPS || rate < 1.0 {
            bail!("no knee within {} steps, the last one at {rate:.0} messages a second", steps.len());
        }
        let step = step(run, gateways, rate)?;
        log(format_args!("  {}", step.line(&machine)));
        let place = if step.fault.is_none() { &mut held } else { &mut failed };
        *place = Some(rate);
        steps.push(step);
    }
    report(run, &machine, &steps, summary)
}

/// Servers and swarm begin anew for each step, so that none has to do with what another left behind.
fn step(run: &Run, gateways: Option<usize>, rate: f64) -> Result<Step> {
    let target = match gateways {
        Some(gateways) => run.start(gateways, run.connections)?,
        None => run.target()?,
    };
    let mut workers = run.workers(&target, run.connections, &run.scenario)?;
    workers.connect(usize::MAX)?;
    workers.send(rate.min(run.rate), Duration::from_secs(1))?;
    let mark = target.mark(&workers.pids())?;
    match workers.send(rate, run.time) {
        Ok(counts) => {
            let spent = target.since(mark.as_ref(), &workers.pids())?;
            let window = Window::of(&counts);
            let fault = window.fault().or_else(|| late(&window, run.scenario.p99_ms));
            Ok(Step { rate, window, spent, fault })
        }
        // Such as a connection that was closed because it read too slowly.
        Err(error) => {
            let window = Window::of(&Counts::new()?);
            Ok(Step { rate, window, spent: None, fault: Some(format!("{error:#}")) })
        }
    }
}

fn late(window: &Window, p99_ms: f64) -> Option<String> {
    if window.late_p99_ms > p99_ms / 2.0 {
        return Some(format!("the generator itself is {:.0} ms late", window.late_p99_ms));
    }
    (window.p99_ms >= p99_ms).then(|| format!("p99 is {:.0} ms", window.p99_ms))
}

impl Step {
    fn line(&self, machine: &Machine) -> String {
        let Window { delivered, seconds, p50_ms, p99_ms, busy, .. } = &self.window;
        let a_second = *delivered as f64 / seconds.max(0.001);
        let cores =
            self.spent.map_or_else(String::new, |Spent { gateways, redis, swarm, machine, seconds }| {
                let of = |used: f64| used / seconds;
                format!(
                    ", cores: gateways {:.2}, Redis {:.2}, all {:.2}",
                    of(gateways),
                    of(redis),
                    of(machine.max(gateways + redis + swarm))
                )
            });
        let result = self.fault.as_deref().unwrap_or("held");
        format!(
            "{} gateways, {:.0} messages/s: {a_second:.0} deliveries/s, p50 {p50_ms:.1} ms, p99 {p99_ms:.1} ms, generator {busy:.2}{cores}: {result}",
            machine.gateways, self.rate
        )
    }

    /// The resource that is used up at this rate; several where they are.
    fn limit(&self, machine: &Machine) -> String {
        let Some(spent) = self.spent else { return "not known".into() };
        // The kernel's account of the whole machine is coarser, and may lack what is charged to a process.
        let ours = spent.gateways + spent.redis + spent.swarm;
        let threads = machine.gateways * machine.threads;
        let one_thread = spent.gateways / spent.seconds / threads.max(1) as f64;
        let found = [
            (one_thread, "the gateways' threads"),
            (spent.redis / spent.seconds, "Redis (one thread)"),
            (self.window.busy, "the generator's thread"),
            (
                spent.machine.max(ours) / spent.seconds / machine.cores,
                "the machine's cores, which the generator shares",
            ),
        ];
        let full: Vec<&str> =
            found.iter().filter(|(share, _)| *share >= FULL).map(|(_, name)| *name).collect();
        if full.is_empty() { "none is full: waiting for each other".into() } else { full.join(", ") }
    }
}

fn report(run: &Run, machine: &Machine, steps: &[Step], summary: &mut Summary) -> Result<()> {
    let by_rate = |one: &&Step, other: &&Step| one.rate.total_cmp(&other.rate);
    let held = steps.iter().filter(|step| step.fault.is_none()).max_by(by_rate);
    let knee = held.context("no rate held")?;
    let failed = steps.iter().filter(|step| step.fault.is_some()).min_by(by_rate);
    let name = |what: &str| format!("knee_{}_gateways_{what}", machine.gateways);
    let a_second = knee.window.delivered as f64 / knee.window.seconds;
    summary.gauge(&name("messages_per_second"), knee.rate);
    summary.gauge(&name("deliveries_per_second"), a_second);
    summary.gauge(&name("p99_ms"), knee.window.p99_ms);
    let mut note = format!(
        "{} gateways: {:.0} messages/s, {a_second:.0} deliveries/s, p99 {:.1} ms of {} allowed\n  limit: {}",
        machine.gateways,
        knee.rate,
        knee.window.p99_ms,
        run.scenario.p99_ms,
        failed.unwrap_or(knee).limit(machine)
    );
    if let Some(spent) = knee.spent {
        let each = |used: f64| used * 1e6 / knee.window.delivered.max(1) as f64;
        let (gateways, redis) = (each(spent.gateways), each(spent.redis));
        summary.gauge(&name("gateway_cpu_us_per_delivery"), gateways);
        summary.gauge(&name("redis_cpu_us_per_delivery"), redis);
        // Writing to a string does not fail.
        write!(
            note,
            "\n  CPU per delivery: gateways {gateways:.2} µs, Redis {redis:.2} µs\n  \
             projection, not measured: each core that only serves gives {:.0} deliveries/s; \
             Redis' one thread is enough for {:.0}",
            1e6 / gateways,
            1e6 / redis
        )
        .unwrap_or_default();
    }
    summary.note(&note);
    let rows = steps.iter().map(|step| {
        json!({ "rate": step.rate, "line": step.line(machine), "window": step.window, "fault": step.fault, "limit": step.limit(machine) })
    });
    summary.detail(&format!("steps_{}_gateways", machine.gateways), rows.collect());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(spent: Spent, busy: f64) -> Step {
        let mut counts = Counts::new().unwrap();
        (counts.seconds, counts.busy) = (1.0, busy);
        Step { rate: 1.0, window: Window::of(&counts), spent: Some(spent), fault: None }
    }

    #[test]
    fn the_limit_is_what_is_used_up() {
        let machine = Machine { gateways: 1, threads: 1, cores: 2.0 };
        let spent = Spent { seconds: 2.0, gateways: 1.9, redis: 0.2, swarm: 0.5, machine: 2.7 };
        assert_eq!(step(spent, 0.3).limit(&machine), "the gateways' threads");
        let four = Machine { gateways: 4, ..machine };
        assert_eq!(step(spent, 0.3).limit(&four), "none is full: waiting for each other");
        let full = Spent { gateways: 2.6, ..spent };
        assert_eq!(step(full, 0.3).limit(&four), "none is full: waiting for each other");
        let full = Spent { swarm: 1.0, ..full };
        assert_eq!(
            step(full, 0.9).limit(&four),
            "the generator's thread, the machine's cores, which the generator shares"
        );
    }

    #[test]
    fn late_deliveries_are_told_from_a_late_generator() {
        let mut counts = Counts::new().unwrap();
        counts.latency.saturating_record(99_000_000);
        assert_eq!(late(&Window::of(&counts), 100.0), None);
        assert_eq!(late(&Window::of(&counts), 90.0).unwrap(), "p99 is 99 ms");
        counts.lateness.saturating_record(60_000_000);
        assert!(late(&Window::of(&counts), 100.0).unwrap().starts_with("the generator itself is"));
    }
}
