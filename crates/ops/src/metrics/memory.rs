//! How much memory this process may use: the limit of its control group, which is that of its container, or
//! else what the machine has. So that an alert can come before the kernel does. Called by `Metrics::new`.

use std::fs;
use std::path::{Path, PathBuf};

use super::registry::{Metrics, MetricsError};

const GROUPS: &str = "/sys/fs/cgroup";

/// Registers the gauge. It is read at each scrape, for the limit of a running container can be changed.
pub(super) fn publish(metrics: &Metrics) -> Result<(), MetricsError> {
    let gauge = metrics.gauge(
        "roomcast_memory_limit_bytes",
        "Memory that this process may use: the limit of its container, or what the machine has.",
    )?;
    metrics.before_scrape(move || {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
        if let Some(limit) = smallest(&files(&own)).into_iter().chain(total).min() {
            gauge.set(limit);
        }
    });
    Ok(())
}

/// The files that may hold a limit: of every group from this process's up to the root, and of the first version
/// of control groups, as containers see it.
fn files(own: &str) -> Vec<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let leaf = Path::new(GROUPS).join(path);
    let groups = leaf.ancestors().take_while(|group| group.starts_with(GROUPS));
    let first = Path::new(GROUPS).join("memory/memory.limit_in_bytes");
    groups.map(|group| group.join("memory.max")).chain([first]).collect()
}

/// Of those files that are there; one without a limit says `max`.
fn smallest(files: &[PathBuf]) -> Option<i64> {
    files.iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

fn total(meminfo: &str) -> Option<i64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_up_to_the_root_may_hold_the_limit() {
        let found = files("1:name=systemd:/x\n0::/kubepods/pod1/c1\n");
        let expected = [
            "/sys/fs/cgroup/kubepods/pod1/c1/memory.max",
            "/sys/fs/cgroup/kubepods/pod1/memory.max",
            "/sys/fs/cgroup/kubepods/memory.max",
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        assert_eq!(files("0::/\n").len(), 2);
    }

    #[test]
    fn the_machine_has_so_much() {
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16_777_216));
        assert_eq!(total(""), None);
        assert_eq!(smallest(&[PathBuf::from("/nowhere/memory.max")]), None);
    }
}
