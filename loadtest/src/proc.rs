//! The operating system's accounts: processor time of a process and its children, and the memory it
//! holds, read from /proc. Called around everything that is measured; the swarm reads its own here too.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context as _, Result};

/// What one line of /proc/PID/stat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Who started it.
    pub parent: u32,
    /// User and system time, in ticks, of itself and of children that ended and were waited for.
    pub ticks: u64,
}

/// Parses /proc/PID/stat. The name of the program may hold spaces and parentheses.
pub fn parse_stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first one here is the third of proc(5).
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(4)?).ok()?,
        ticks: number(14)? + number(15)? + number(16)? + number(17)?,
    })
}

/// Seconds of a number of ticks.
pub fn seconds(ticks: u64) -> f64 {
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Seconds of processor time that this process, whose work is done by one thread, used.
pub fn own_seconds() -> Result<f64> {
    let line = fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(parse_schedstat(&line).context("/proc/thread-self/schedstat cannot be read")? as f64 / 1e9)
}

/// Parses the first line of /proc/stat: ticks that all processes of the machine used.
pub fn parse_machine(table: &str) -> Option<u64> {
    let line = table.lines().next()?.strip_prefix("cpu ")?;
    // User, nice, system.
    line.split_ascii_whitespace().take(3).map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// Seconds of processor time that all processes of the machine used.
pub fn machine_seconds() -> Result<f64> {
    let table = fs::read_to_string("/proc/stat")?;
    Ok(seconds(parse_machine(&table).context("/proc/stat cannot be read")?))
}

fn all() -> HashMap<u32, Stat> {
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ended meanwhile is not there to be counted; its parent has its time.
        let Ok(line) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(stat) = parse_stat(&line) {
            found.insert(pid, stat);
        }
    }
    found
}

fn family_in(root: u32, all: &HashMap<u32, Stat>) -> Vec<u32> {
    let mut family = vec![root];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

/// A process and everything it started, itself first.
pub fn family(root: u32) -> Vec<u32> {
    family_in(root, &all())
}

/// Processor time of processes and their descendants at one moment.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    ticks: u64,
    /// By process and thread, in nanoseconds.
    threads: HashMap<(u32, u32), u64>,
}

impl Usage {
    /// As of now.
    pub fn of(roots: &[u32]) -> Result<Self> {
        let all = all();
        let mut usage = Self::default();
        for pid in roots.iter().flat_map(|root| family_in(*root, &all)) {
            usage.ticks += all.get(&pid).with_context(|| format!("process {pid} is gone"))?.ticks;
            for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let thread = entry.file_name().to_str().and_then(|name| name.parse().ok());
                let line = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
                if let (Some(thread), Some(spent)) = (thread, parse_schedstat(&line)) {
                    usage.threads.insert((pid, thread), spent);
                }
            }
        }
        Ok(usage)
    }

    /// Seconds since an earlier moment. Ticks, of which each process may have lost one or two, where the
    /// system keeps no finer accounts or a thread took its own away with it.
    pub fn since(&self, earlier: &Self) -> f64 {
        let all_there = earlier.threads.keys().all(|thread| self.threads.contains_key(thread));
        if self.threads.is_empty() || !all_there {
            return seconds(self.ticks.saturating_sub(earlier.ticks));
        }
        let spent = |(thread, spent): (&(u32, u32), &u64)| {
            spent.saturating_sub(earlier.threads.get(thread).copied().unwrap_or(0))
        };
        self.threads.iter().map(spent).sum::<u64>() as f64 / 1e9
    }
}

/// Parses /proc/PID/task/TID/schedstat: nanoseconds of processor time, user and system.
pub fn parse_schedstat(line: &str) -> Option<u64> {
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The figure of a line like `Pss:   1234 kB`.
pub fn parse_kib(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// KiB of memory that processes and their descendants hold, shared pages divided among their sharers.
pub fn resident_kib(roots: &[u32]) -> Result<u64> {
    let all = all();
    let mut sum = 0;
    for pid in roots.iter().flat_map(|root| family_in(*root, &all)) {
        let table = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .with_context(|| format!("the memory of process {pid}"))?;
        sum += parse_kib(&table, "Pss").with_context(|| format!("no Pss for process {pid}"))?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_a_difficult_name() {
        let line = "4242 (no de) (x)) S 17 4242 4242 0 -1 4194560 1 2 3 4 111 22 3000 400 20 0 7 0 99 1 2";
        assert_eq!(parse_stat(line), Some(Stat { parent: 17, ticks: 3533 }));
        assert_eq!(parse_stat("4242 (cut"), None);
    }

    #[test]
    fn the_machine_is_the_first_line() {
        assert_eq!(parse_machine("cpu  10 2 30 400 5 6 7 0 0 0\ncpu0 1 1 1\n"), Some(42));
        assert_eq!(parse_machine("intr 1"), None);
    }

    #[test]
    fn descendants_are_found_over_generations() {
        let of = |parent| Stat { parent, ticks: 1 };
        let all = HashMap::from([(1, of(0)), (5, of(1)), (6, of(5)), (7, of(6)), (8, of(1))]);
        let mut family = family_in(5, &all);
        family.sort_unstable();
        assert_eq!(family, [5, 6, 7]);
    }

    #[test]
    fn memory_tables_are_read_by_name() {
        let table = "55 - 77 ---p [rollup]\nRss:    2000 kB\nPss:    1234 kB\nPss_Dirty: 7 kB\n";
        assert_eq!(parse_kib(table, "Pss"), Some(1234));
        assert_eq!(parse_kib(table, "Swap"), None);
    }

    #[test]
    fn threads_are_charged_finely_unless_one_has_ended() {
        let usage = |ticks, threads: &[(u32, u64)]| Usage {
            ticks,
            threads: threads.iter().map(|(thread, spent)| ((1, *thread), *spent)).collect(),
        };
        let before = usage(100, &[(1, 1_000_000_000), (2, 500_000_000)]);
        let with_a_new_one = usage(117, &[(1, 1_100_000_000), (2, 500_000_000), (3, 75_000_000)]);
        assert!((with_a_new_one.since(&before) - 0.175).abs() < 1e-9);
        let without_one = usage(117, &[(1, 1_100_000_000)]);
        assert!((without_one.since(&before) - seconds(17)).abs() < 1e-9);
        assert_eq!(parse_schedstat("12345 67 8\n"), Some(12345));
    }

    #[test]
    fn work_of_this_process_is_charged_to_it() {
        let pid = std::process::id();
        let before = Usage::of(&[pid]).unwrap();
        let mut value = 1_u64;
        while Usage::of(&[pid]).unwrap().since(&before) < 0.05 {
            for i in 0..1_000_000 {
                value = value.wrapping_mul(i | 1);
            }
        }
        assert_ne!(std::hint::black_box(value), 1);
        assert!(resident_kib(&[pid]).unwrap() > 100);
    }
}
