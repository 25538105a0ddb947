//! Reports: tables for the terminal and for docs/BENCHMARKS.md, which are the same Markdown, and the charts. Called
//! by `mod.rs` at the end of a run.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::chart::{Chart, Row};
use super::results::{DISTURBED, Document, Taken, Verdict};
use super::workload::{CPU, Entry, Work, Workload, all};

const BEGIN: &str = "<!-- generated from here: make bench PUBLISH=1 -->";
const END: &str = "<!-- generated to here -->";

/// The note on figures that another program disturbed.
pub(super) const DOUBTFUL: &str =
    "Something else kept the machine busy meanwhile: these figures, the latencies above all, are doubtful.";

/// A column: its title, the measure, the number of decimals.
type Column = (&'static str, &'static str, usize);

const FANOUT: &[Column] = &[
    ("CPU µs per delivery", CPU, 2),
    ("servers", "server_us", 2),
    ("Redis", "redis_us", 2),
    ("p50 ms", "p50_ms", 1),
    ("p99 ms", "p99_ms", 1),
    ("bytes per delivery", "bytes", 0),
    ("generator busy", "swarm_busy", 2),
    ("others busy", "others_busy", 2),
];
const SLOW: &[Column] = &[
    ("p50 ms of the others", "p50_ms", 1),
    ("p99 ms of the others", "p99_ms", 1),
    ("CPU µs per delivery", CPU, 2),
    ("cut off", "cuts", 0),
    ("stalled", "cuts_stalled", 0),
    ("too much waiting", "cuts_slow_reader", 0),
    ("after s", "cut_s", 1),
    ("generator busy", "swarm_busy", 2),
    ("others busy", "others_busy", 2),
];
const IDLE: &[Column] = &[("KiB per connection", "kib", 1), ("connections", "connections", 0)];
const CONNECT: &[Column] = &[
    ("CPU µs per client", "client_us", 0),
    ("servers", "server_us", 0),
    ("Redis", "redis_us", 0),
    ("clients per second", "clients_per_s", 0),
    ("others busy", "others_busy", 2),
];
const COMMANDS: &[Column] = &[
    ("`evalsha` per message", "scripts", 3),
    ("commands/s at rest, no users", "rest_none", 2),
    ("the same, all users", "rest_users", 2),
    ("users", "users", 0),
];

fn columns(work: Work) -> &'static [Column] {
    match work {
        Work::Fanout { .. } => FANOUT,
        Work::Slow { .. } => SLOW,
        Work::Idle => IDLE,
        Work::Connect => CONNECT,
        Work::Commands => COMMANDS,
    }
}

/// Lines of cells as a Markdown table, its columns aligned.
fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            out += &format!("| {cell:width$} ");
        }
        out += "|\n";
        if number == 0 {
            out += &widths.iter().map(|width| format!("|{}", "-".repeat(width + 2))).collect::<String>();
            out += "|\n";
        }
    }
    out
}

fn verdict_line(verdict: &Verdict) -> Vec<String> {
    let measured = match (verdict.measured, verdict.range) {
        (Some(measured), Some((low, high))) if low < high => format!("{measured:.2} ({low:.2}–{high:.2})"),
        (Some(measured), _) => format!("{measured:.2}"),
        (None, _) => "not measured".into(),
    };
    let met = match (verdict.measured, verdict.met) {
        (None, _) => "–",
        (_, true) => "yes",
        (_, false) => "no",
    };
    vec![verdict.what.clone(), verdict.bar.clone(), measured, met.into()]
}

/// The bars of all workloads that were measured.
pub(super) fn bars(document: &Document) -> String {
    let mut lines =
        vec![["what", "bar", "measured: median (least–greatest)", "met"].map(str::to_owned).to_vec()];
    for workload in all() {
        let Some(taken) = document.workloads.get(workload.name) else { continue };
        lines.extend(taken.verdicts.iter().map(|verdict| {
            let mut line = verdict_line(verdict);
            if let Some(what) = line.first_mut() {
                *what = format!("`{}` {what}", workload.name);
            }
            line
        }));
    }
    table(&lines)
}

/// The medians of a workload.
pub(super) fn medians(workload: &Workload, taken: &Taken) -> String {
    let columns = columns(workload.work);
    let floor = taken.median("floor", CPU);
    let mut head = vec![String::new()];
    head.extend(columns.iter().map(|(name, ..)| (*name).to_owned()));
    head.extend(floor.map(|_| "÷ raw write".to_owned()));
    let mut lines = vec![head];
    for entry in &workload.entries {
        let id = entry.id();
        if !taken.medians.contains_key(&id) {
            if taken.samples.iter().any(|sample| sample.entry == id) {
                lines.push(vec![entry.label(), "every round failed".into()]);
            } else if entry.peer().is_some_and(|peer| taken.missing.iter().any(|missing| missing == peer)) {
                lines.push(vec![entry.label(), "missing".into()]);
            }
            continue;
        }
        let mut line = vec![entry.label()];
        line.extend(columns.iter().map(|(_, measure, decimals)| {
            taken.median(&id, measure).map_or("–".into(), |value| format!("{value:.decimals$}"))
        }));
        line.extend(floor.and_then(|floor| Some(format!("{:.2}", taken.median(&id, CPU)? / floor))));
        lines.push(line);
    }
    table(&lines)
}

/// The chart of a workload, where it has one.
pub(super) fn chart(workload: &Workload, taken: &Taken) -> Option<Chart> {
    let (subtitle, parts, measures): (_, Vec<_>, &[&str]) = match workload.work {
        Work::Fanout { .. } => (
            "processor time per delivery, µs; shorter is better",
            vec!["servers", "Redis"],
            &["server_us", "redis_us"],
        ),
        Work::Idle => ("resident memory per connection, KiB; shorter is better", vec!["servers"], &["kib"]),
        Work::Connect => (
            "processor time per client, µs; shorter is better",
            vec!["servers", "Redis"],
            &["server_us", "redis_us"],
        ),
        Work::Slow { .. } | Work::Commands => return None,
    };
    let rows: Vec<Row> = workload
        .entries
        .iter()
        .filter_map(|entry| {
            let parts: Vec<f64> =
                measures.iter().map(|measure| taken.median(&entry.id(), measure)).collect::<Option<_>>()?;
            let sum: f64 = parts.iter().sum();
            let decimals = if sum < 100.0 { 1 } else { 0 };
            let ours = matches!(entry, Entry::Alone | Entry::Mixed | Entry::Roomcast(_));
            Some(Row { label: entry.label(), parts, note: format!("{sum:.decimals$}"), ours })
        })
        .collect();
    (rows.len() > 1).then(|| Chart { title: workload.title.into(), subtitle: subtitle.into(), parts, rows })
}

/// Writes the charts into a folder.
pub(super) fn write_charts(document: &Document, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for workload in all() {
        let chart = document.workloads.get(workload.name).and_then(|taken| chart(&workload, taken));
        if let Some(chart) = chart {
            fs::write(folder.join(format!("bench-{}.svg", workload.name)), chart.svg())?;
        }
    }
    Ok(())
}

/// The generated part of docs/BENCHMARKS.md.
fn generated(document: &Document) -> String {
    let mut out = "## Against the bars\n\n".to_owned() + &bars(document);
    for workload in all() {
        let Some(taken) = document.workloads.get(workload.name) else { continue };
        out += &format!("\n## `{}`: {}\n\n", workload.name, workload.title);
        let rounds = if taken.rounds == 1 {
            "One round".into()
        } else {
            format!("Medians of {} rounds", taken.rounds)
        };
        out += &match workload.work {
            Work::Fanout { .. } | Work::Slow { .. } => format!("{rounds} of {} s.\n\n", taken.seconds),
            _ => format!("{rounds}.\n\n"),
        };
        out += &medians(&workload, taken);
        if chart(&workload, taken).is_some() {
            out += &format!("\n![{}](img/bench-{}.svg)\n", workload.title, workload.name);
        }
        if taken.disturbed() > DISTURBED {
            out += &format!("\n{DOUBTFUL}\n");
        }
        for fault in taken.faults() {
            out += &format!("\nLeft out: {fault}.\n");
        }
    }
    out += "\n## Measured on\n\n";
    let mut lines = vec![vec![String::new(), String::new()]];
    lines.extend(document.machine.iter().map(|(name, value)| vec![name.clone(), value.clone()]));
    out + &table(&lines)
}

/// Rewrites the generated part of a page.
pub(super) fn rewrite(page: &str, document: &Document) -> Result<String> {
    let (before, rest) =
        page.split_once(BEGIN).context("docs/BENCHMARKS.md has no beginning of its generated part")?;
    let (_, after) = rest.split_once(END).context("docs/BENCHMARKS.md has no end of its generated part")?;
    Ok(format!("{before}{BEGIN}\n\n{}\n{END}{after}", generated(document)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let lines = [vec!["a".to_owned(), "µ".into()], vec!["long one".into(), "1".into()]];
        assert_eq!(table(&lines), "| a        | µ   |\n|----------|-----|\n| long one | 1   |\n");
    }

    #[test]
    fn only_the_generated_part_of_a_page_changes() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let document =
            Document { machine: [("kernel".to_owned(), "6".to_owned())].into(), ..Document::default() };
        let written = rewrite(&page, &document).unwrap();
        assert!(written.starts_with("before\n") && written.ends_with("\nafter\n"), "{written}");
        assert!(!written.contains("old") && written.contains("| kernel | 6   |"), "{written}");
        assert_eq!(rewrite(&written, &document).unwrap(), written);
        assert!(rewrite("nothing", &document).is_err());
    }
}
