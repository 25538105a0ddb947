//! Processor time and memory of a process and its children, read from /proc. Called before and after every measurement;
//! the swarm reads its own processor time here, too.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use procfs::process::{Process, Schedstat, all_processes};
use procfs::{CurrentSI as _, FromRead as _, KernelStats};

/// The statistics of a process.
#[derive(Debug, Clone, Copy)]
struct Stat {
    /// The parent process.
    parent: u32,
    /// User and system time, in ticks, of itself and of children that ended and were waited for.
    ticks: u64,
}

impl Stat {
    fn of(process: &Process) -> Option<Self> {
        let stat = process.stat().ok()?;
        let of_children = u64::try_from(stat.cutime.saturating_add(stat.cstime)).ok()?;
        Some(Self { parent: u32::try_from(stat.ppid).ok()?, ticks: stat.utime + stat.stime + of_children })
    }
}

/// Seconds of a number of ticks.
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

/// Seconds of processor time that this process, whose work is done by one thread, used.
pub fn own_seconds() -> Result<f64> {
    Ok(Schedstat::from_file("/proc/thread-self/schedstat")?.sum_exec_runtime as f64 / 1e9)
}

/// Seconds of processor time that all processes of the machine used: user, nice and system.
pub fn machine_seconds() -> Result<f64> {
    let total = KernelStats::current()?.total;
    Ok(seconds(total.user + total.nice + total.system))
}

fn all() -> HashMap<u32, Stat> {
    // A process that ended meanwhile is skipped; its time is added to its parent's.
    let processes = all_processes().into_iter().flatten().flatten();
    processes.filter_map(|process| Some((u32::try_from(process.pid).ok()?, Stat::of(&process)?))).collect()
}

fn process(pid: u32) -> Result<Process> {
    Ok(Process::new(i32::try_from(pid)?)?)
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
            for task in process(pid).and_then(|process| Ok(process.tasks()?)).into_iter().flatten().flatten()
            {
                // A kernel without these statistics has them for no thread.
                if let (Ok(thread), Ok(spent)) = (u32::try_from(task.tid), task.schedstat()) {
                    usage.threads.insert((pid, thread), spent.sum_exec_runtime);
                }
            }
        }
        Ok(usage)
    }

    /// Seconds since an earlier snapshot. Computed from ticks, with an error of one or two for each process, where
    /// the system has no finer statistics or a thread ended meanwhile.
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

/// KiB of memory that processes and their descendants hold, shared pages divided among their sharers.
pub fn resident_kib(roots: &[u32]) -> Result<u64> {
    let all = all();
    let mut sum = 0;
    for pid in roots.iter().flat_map(|root| family_in(*root, &all)) {
        let maps = process(pid)?.smaps_rollup().with_context(|| format!("the memory of process {pid}"))?;
        let shares = maps.memory_map_rollup.0.iter().filter_map(|map| map.extension.map.get("Pss"));
        sum +=
            shares.copied().reduce(|a, b| a + b).with_context(|| format!("no Pss for process {pid}"))? / 1024;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_found_over_generations() {
        let of = |parent| Stat { parent, ticks: 1 };
        let all = HashMap::from([(1, of(0)), (5, of(1)), (6, of(5)), (7, of(6)), (8, of(1))]);
        let mut family = family_in(5, &all);
        family.sort_unstable();
        assert_eq!(family, [5, 6, 7]);
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
        let resident = resident_kib(&[pid]).unwrap();
        assert!((100..10_000_000).contains(&resident), "{resident} KiB");
        assert!(own_seconds().unwrap() > 0.0 && machine_seconds().unwrap() >= own_seconds().unwrap());
    }
}
