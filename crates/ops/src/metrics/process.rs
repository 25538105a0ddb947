//! The standard `process_*` metrics, read from /proc at each scrape. Our own, for the usual collector counts
//! CPU in whole seconds, and walks through every open file: a gateway has tens of thousands. Called by
//! `Metrics::new`.

use std::fs;

use prometheus::{Counter, Gauge, IntGauge};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::registry::{Metrics, MetricsError};

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    threads: i64,
    started_ticks: u64,
    virtual_bytes: i64,
    resident_pages: i64,
}

/// Registers them. They are not ours, so they are in no inventory.
pub(super) fn publish(metrics: &Metrics) -> Result<(), MetricsError> {
    let gauge = |name: &str, help: &str| metrics.add_foreign(IntGauge::new(name, help));
    let cpu = Counter::new("process_cpu_seconds_total", "User and system CPU time spent, in seconds.");
    let cpu = metrics.add_foreign(cpu)?;
    let started = Gauge::new("process_start_time_seconds", "When the process began, in Unix time.");
    let started = metrics.add_foreign(started)?;
    let open_fds = gauge("process_open_fds", "File descriptors that are open.")?;
    let max_fds = gauge("process_max_fds", "File descriptors that may be open.")?;
    let resident = gauge("process_resident_memory_bytes", "Resident memory.")?;
    let virtual_memory = gauge("process_virtual_memory_bytes", "Virtual memory.")?;
    let threads = gauge("process_threads", "Threads of the process.")?;

    #[expect(clippy::cast_precision_loss, reason = "ticks of a life fit")]
    let seconds = |ticks: u64| ticks as f64 / clock_ticks_per_second() as f64;
    if let (Some(stat), Some(booted)) = (stat(), booted()) {
        started.set(booted + seconds(stat.started_ticks));
    }
    let pages = i64::try_from(page_size()).unwrap_or(4_096);
    metrics.before_scrape(move || {
        if let Some(stat) = stat() {
            cpu.inc_by((seconds(stat.cpu_ticks) - cpu.get()).max(0.0));
            threads.set(stat.threads);
            virtual_memory.set(stat.virtual_bytes);
            resident.set(stat.resident_pages * pages);
        }
        if let Some(count) = count_fds() {
            open_fds.set(count);
        }
        let limit = getrlimit(Resource::Nofile).current;
        max_fds.set(limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(i64::MAX));
    });
    Ok(())
}

fn stat() -> Option<Stat> {
    parse(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// The fields behind the name, which may hold anything; proc(5) counts them from three.
fn parse(stat: &str) -> Option<Stat> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<i64>().ok());
    let ticks = |number: usize| field(number).and_then(|ticks| u64::try_from(ticks).ok());
    Some(Stat {
        cpu_ticks: ticks(14)? + ticks(15)?,
        threads: field(20)?,
        started_ticks: ticks(22)?,
        virtual_bytes: field(23)?,
        resident_pages: field(24)?,
    })
}

/// When the machine was started.
fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Since Linux 6.2 the folder's size is their number; before, they are counted one by one.
fn count_fds() -> Option<i64> {
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return i64::try_from(size).ok();
    }
    // One of them is the folder itself, which is open while it is read.
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok().map(|count| count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 12 0 900 1048576 256 1844";
        let expected = Stat {
            cpu_ticks: 200,
            threads: 12,
            started_ticks: 900,
            virtual_bytes: 1_048_576,
            resident_pages: 256,
        };
        assert_eq!(parse(stat), Some(expected));
        assert_eq!(parse("7 (short) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_is_described() {
        let metrics = Metrics::new("1").unwrap();
        let held: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let text = metrics.encode();
        drop(held);
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}"))
                .rsplit_once(' ')
                .unwrap()
                .1
                .parse()
                .unwrap()
        };
        assert!(value("process_open_fds") >= 53.0);
        assert!(value("process_max_fds") > value("process_open_fds"));
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - value("process_start_time_seconds")).abs() < 3_600.0);
        assert!(value("process_cpu_seconds_total") >= 0.0);
    }
}
