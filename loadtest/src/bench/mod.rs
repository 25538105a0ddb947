//! The benchmark behind `make bench`: rounds of measurements, each with its own servers, interleaved so that changes
//! of the machine's speed affect all entries alike; then tables, JSON and charts. Called by `bin/bench.rs`. It fails
//! where a delivery was lost or repeated, or a peer is missing.

mod chart;
mod cluster;
mod machine;
mod measure;
mod redis;
mod report;
mod results;
mod server;
mod workload;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::measure::{Sample, measure, wait_until_quiet};
use self::results::{DISTURBED, Document, Taken};
use self::workload::{CPU, Workload, all};

pub(crate) use self::cluster::{Charged, Cluster, Places};
pub(crate) use self::workload::Entry;

/// Files that one process may have to open: 10,000 connections and some.
const FILES: u64 = 12_000;

/// Measures Roomcast against the raw write and against its peers, on this machine.
#[derive(Debug, Parser)]
pub struct Args {
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long messages are sent in each measurement; `slow` takes 30s at least
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Which workloads, separated by commas [default: all]
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Which peers, separated by commas; `none` leaves all out [default: all]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// How long to wait, before each measurement, for other programs to leave the machine alone
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    quiet_timeout: Duration,
    /// The folder of the repository
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// The folder of the gateway's release binary [default: the one that this program is in]
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// Measure nothing: report what the last run left in loadtest/results/latest.json
    #[arg(long)]
    again: bool,
    /// Also refresh docs/bench.json, docs/BENCHMARKS.md and docs/img/bench-*.svg
    #[arg(long)]
    publish: bool,
}

/// Writes a line to standard error. A closed terminal does not stop the benchmark.
fn log(line: impl Display) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// Runs the benchmark.
pub fn run(args: &Args) -> Result<()> {
    let root = fs::canonicalize(&args.root)?;
    let here = std::env::current_exe()?;
    let binaries = args
        .binaries
        .clone()
        .or_else(|| here.parent().map(Path::to_owned))
        .context("the path of this program is unknown")?;
    let places = Places {
        binaries: fs::canonicalize(binaries)?,
        peers: root.join("loadtest/peers"),
        results: root.join("loadtest/results"),
        docs: root.join("docs"),
    };
    if args.again {
        let mut document = Document::read(&places.results.join("latest.json"))?;
        document.workloads.retain(|_, taken| !taken.samples.is_empty());
        return finish(&document, args, &places);
    }
    if !places.binaries.join("roomcast-gateway").exists() {
        bail!("{} has no roomcast-gateway: build it, or use `make bench`", places.binaries.display());
    }
    raise_file_limit(FILES)?;
    let mut workloads = chosen(all(), &args.workloads)?;
    let missing = prepare_peers(&mut workloads, args, &places)?;
    let machine = machine::describe(&places.binaries, &places.peers);
    for (name, value) in &machine {
        log(format_args!("{name}: {value}"));
    }
    let mut document = Document { machine, workloads: BTreeMap::new() };
    rounds(&workloads, args, &places, &missing, &mut document)?;
    finish(&document, args, &places)
}

/// Lets this process, and those that it starts, open this many files.
pub(crate) fn raise_file_limit(files: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if maximum.is_some_and(|maximum| maximum < files) {
        bail!(
            "a process may open {} files, and {files} are needed: raise the limit (ulimit -Hn)",
            maximum.unwrap_or(0)
        );
    }
    if current.is_some_and(|current| current < files) {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(())
}

fn chosen(workloads: Vec<Workload>, names: &[String]) -> Result<Vec<Workload>> {
    if let Some(unknown) = names.iter().find(|name| !workloads.iter().any(|one| one.name == **name)) {
        let known: Vec<&str> = workloads.iter().map(|workload| workload.name).collect();
        bail!("no workload is called {unknown}; there are {}", known.join(", "));
    }
    Ok(workloads
        .into_iter()
        .filter(|one| names.is_empty() || names.iter().any(|name| name == one.name))
        .collect())
}

/// Installs the chosen peers; removes those that cannot be installed, and those not chosen, from the workloads. Returns
/// which are missing, by workload.
fn prepare_peers(
    workloads: &mut [Workload],
    args: &Args,
    places: &Places,
) -> Result<BTreeMap<String, Vec<String>>> {
    let mut known: Vec<&str> =
        all().iter().flat_map(|one| &one.entries).filter_map(|entry| entry.peer()).collect();
    known.dedup();
    if let Some(unknown) = args.peers.iter().find(|peer| *peer != "none" && !known.contains(&peer.as_str())) {
        bail!("no peer is called {unknown}");
    }
    let wanted = |peer: &str| args.peers.is_empty() || args.peers.iter().any(|one| one == peer);
    let mut runs: BTreeMap<&str, bool> = BTreeMap::new();
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for workload in workloads {
        workload.entries.retain(|entry| {
            let Some(peer) = entry.peer() else { return true };
            if !wanted(peer) {
                return false;
            }
            let runs = *runs.entry(peer).or_insert_with(|| match install(peer, places) {
                Ok(()) => true,
                Err(error) => {
                    log(format_args!("{peer} is missing: {error:#}"));
                    false
                }
            });
            if !runs {
                missing.entry(workload.name.to_owned()).or_default().push(peer.to_owned());
            }
            runs
        });
    }
    Ok(missing)
}

fn install(peer: &str, places: &Places) -> Result<()> {
    log(format_args!("==> making {peer} runnable"));
    let folder = places.peers.join(peer);
    let output =
        Command::new(folder.join("install")).current_dir(&folder).output().context("no installer")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last: Vec<&str> = said.lines().rev().take(3).collect();
        bail!("its installer failed: {last:?}");
    }
    Ok(())
}

fn rounds(
    workloads: &[Workload],
    args: &Args,
    places: &Places,
    missing: &BTreeMap<String, Vec<String>>,
    document: &mut Document,
) -> Result<()> {
    let of = |workload: &Workload| args.rounds.min(workload.most_rounds);
    let all: usize = workloads.iter().map(|workload| workload.entries.len() * of(workload)).sum();
    let (began, mut done) = (Instant::now(), 0);
    for workload in workloads {
        document.workloads.insert(
            workload.name.to_owned(),
            Taken {
                seconds: args.duration.as_secs().max(workload.least_seconds),
                missing: missing.get(workload.name).cloned().unwrap_or_default(),
                ..Taken::default()
            },
        );
    }
    for round in 1..=args.rounds {
        for workload in workloads.iter().filter(|workload| round <= of(workload)) {
            log(format_args!("==> round {round} of {}, {}: {}", of(workload), workload.name, workload.title));
            let Some(taken) = document.workloads.get_mut(workload.name) else { continue };
            // Another entry is first in each round.
            let mut entries = workload.entries.clone();
            let turn = (round - 1) % entries.len().max(1);
            entries.rotate_left(turn);
            for entry in entries {
                let (values, fault) = undisturbed(workload, entry, args, places)?;
                done += 1;
                let left =
                    began.elapsed().as_secs_f64() / f64::from(u32::try_from(done)?) * (all - done) as f64;
                log(format_args!(
                    "  [{done}/{all}, {:.0} min left] {:<36} {}{}",
                    left / 60.0,
                    entry.label(),
                    brief(&values),
                    fault.as_ref().map(|fault| format!("  FAILED: {fault}")).unwrap_or_default()
                ));
                taken.samples.push(Sample { entry: entry.id(), round, values, fault });
            }
            taken.conclude(workload.name);
        }
        // Written after each round, so that an interrupted run keeps its results.
        document.write(&places.results.join("latest.json"))?;
    }
    Ok(())
}

/// Measures when the machine is idle, and repeats the measurement once where another program disturbed it. A
/// measurement with a fault is not repeated: a loss must be reported.
fn undisturbed(
    workload: &Workload,
    entry: Entry,
    args: &Args,
    places: &Places,
) -> Result<(BTreeMap<String, f64>, Option<String>)> {
    let others = |values: &BTreeMap<String, f64>| values.get("others_busy").copied().unwrap_or(0.0);
    let once = || -> Result<_> {
        let calm = wait_until_quiet(args.quiet_timeout)?;
        let time = args.duration.max(Duration::from_secs(workload.least_seconds));
        let measured = match measure(workload, entry, places, time) {
            Ok(measured) => measured,
            Err(error) => (BTreeMap::new(), Some(format!("{error:#}"))),
        };
        Ok((measured, calm))
    };
    let (first, calm) = once()?;
    if !calm {
        log("  the machine did not become quiet before this one:");
    }
    // On a machine that is never idle a repetition would not help.
    if !calm || first.1.is_some() || others(&first.0) <= DISTURBED {
        return Ok(first);
    }
    log(format_args!("  {}: disturbed by something else, once more", entry.label()));
    let (second, _) = once()?;
    Ok(if second.1.is_some() || others(&second.0) < others(&first.0) { second } else { first })
}

/// The figures that are shown while it runs.
fn brief(values: &BTreeMap<String, f64>) -> String {
    let shown = [
        (CPU, "µs/delivery"),
        ("p99_ms", "ms p99"),
        ("cuts_stalled", "stalled"),
        ("cuts_slow_reader", "with too much waiting"),
        ("cut_s", "s until cut off"),
        ("kib", "KiB/connection"),
        ("client_us", "µs/client"),
        ("scripts", "scripts/message"),
        ("rest_users", "commands/s at rest"),
        ("swarm_busy", "of a core: generator"),
        ("others_busy", "others"),
    ];
    let found = shown.iter().filter_map(|(name, unit)| Some(format!("{:.2} {unit}", values.get(*name)?)));
    found.collect::<Vec<_>>().join(", ")
}

fn finish(document: &Document, args: &Args, places: &Places) -> Result<()> {
    document.write(&places.results.join("latest.json"))?;
    report::write_charts(document, &places.results)?;
    let mut out = std::io::stdout().lock();
    for workload in all() {
        let Some(taken) = document.workloads.get(workload.name) else { continue };
        writeln!(out, "\n{}: {}\n\n{}", workload.name, workload.title, report::medians(&workload, taken))?;
        let busy = taken
            .medians
            .iter()
            .filter(|(_, values)| values.get("swarm_busy").is_some_and(|busy| *busy > 0.8));
        for (entry, _) in busy {
            writeln!(
                out,
                "The generator was nearly saturated with {entry}: its latencies are the generator's too."
            )?;
        }
        if taken.disturbed() > DISTURBED {
            writeln!(out, "{}", report::DOUBTFUL)?;
        }
    }
    writeln!(out, "\n{}", report::bars(document))?;
    let faults: Vec<String> = document
        .workloads
        .iter()
        .flat_map(|(name, taken)| taken.faults().into_iter().map(move |fault| format!("{name}: {fault}")))
        .collect();
    if args.publish {
        publish(document, places)?;
        writeln!(out, "docs/BENCHMARKS.md, docs/bench.json and the charts are refreshed.")?;
    }
    if faults.is_empty() { Ok(()) } else { bail!("not a clean run:\n  {}", faults.join("\n  ")) }
}

/// Puts the workloads of this run into the committed document; others stay as they were.
fn publish(document: &Document, places: &Places) -> Result<()> {
    let path = places.docs.join("bench.json");
    let mut whole = Document::read(&path)?;
    whole.machine.clone_from(&document.machine);
    for (name, taken) in &document.workloads {
        let taken = serde_json::from_value(serde_json::to_value(taken)?)?;
        whole.workloads.insert(name.clone(), taken);
    }
    whole.write(&path)?;
    report::write_charts(&whole, &places.docs.join("img"))?;
    let page = places.docs.join("BENCHMARKS.md");
    Ok(fs::write(&page, report::rewrite(&fs::read_to_string(&page)?, &whole)?)?)
}
