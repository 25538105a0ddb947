//! The machine and the versions of the software that were measured, read from the system.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::workload::{CENTRIFUGE, FLASK, NODE_SHARDED, STOCK};

/// The name and value of each property.
pub(super) fn describe(binaries: &Path, peers: &Path) -> BTreeMap<String, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |table: &str, name: &str| {
        let line = table.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start_matches([':', '\t', ' ']).trim().to_owned())
    };
    let cpus = read("/proc/cpuinfo");
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|kib| kib.trim_end_matches(" kB").parse::<u64>().ok());
    let lock =
        |folder: &str, file: &str| fs::read_to_string(peers.join(folder).join(file)).unwrap_or_default();
    let facts = [
        ("processor", field(&cpus, "model name").map(|model| format!("{cores} × {model}"))),
        ("memory", memory.map(|kib| format!("{:.1} GiB", kib as f64 / 1_048_576.0))),
        ("kernel", Some(read("/proc/sys/kernel/osrelease").trim().to_owned())),
        ("roomcast", first_line(binaries.join("roomcast-gateway"), "--version")),
        ("redis", first_line("redis-server", "--version").map(|line| word_after(&line, "v="))),
        ("node", first_line("node", "--version")),
        ("go", first_line("go", "version").map(|line| word_after(&line, "go version "))),
        (
            NODE_SHARDED,
            versions(
                &lock("socketio-node", "package.json"),
                &["\"socket.io\"", "\"@socket.io/redis-adapter\""],
            ),
        ),
        (FLASK, versions(&lock(FLASK, "requirements.txt"), &["Flask-SocketIO", "python-socketio", "gevent"])),
        (STOCK, versions(&lock(STOCK, "Cargo.toml"), &["socketioxide", "socketioxide-redis"])),
        (CENTRIFUGE, versions(&lock(CENTRIFUGE, "go.mod"), &["require github.com/centrifugal/centrifuge"])),
    ];
    facts
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.filter(|value| !value.is_empty())?)))
        .collect()
}

fn first_line(program: impl AsRef<std::ffi::OsStr>, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}

fn word_after(line: &str, mark: &str) -> String {
    let rest = line.split_once(mark).map_or(line, |(_, rest)| rest);
    rest.split_ascii_whitespace().next().unwrap_or_default().to_owned()
}

/// Names with the versions that a lock file pins them to.
fn versions(lock: &str, names: &[&str]) -> Option<String> {
    let found: Vec<String> = names
        .iter()
        .filter_map(|name| {
            let line = lock
                .lines()
                .map(str::trim)
                .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '=', ':'])))?;
            let version = line.strip_prefix(name)?.trim_matches([' ', '=', ':', '"', ',']);
            let name = name.rsplit(' ').next()?.trim_matches('"');
            Some(format!("{} {version}", name.rsplit_once("github.com/").map_or(name, |(_, name)| name)))
        })
        .collect();
    (!found.is_empty()).then(|| found.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_of_every_kind_are_found() {
        let npm = "{\n  \"@socket.io/redis-adapter\": \"8.3.0\",\n  \"socket.io\": \"4.8.4\"\n}";
        assert_eq!(versions(npm, &["\"socket.io\""]).as_deref(), Some("socket.io 4.8.4"));
        assert_eq!(
            versions("gevent==26.9.0\ngevent-websocket==1", &["gevent"]).as_deref(),
            Some("gevent 26.9.0")
        );
        let cargo = "socketioxide = \"=0.18.9\"";
        assert_eq!(versions(cargo, &["socketioxide"]).as_deref(), Some("socketioxide 0.18.9"));
        let go = "require github.com/centrifugal/centrifuge v0.37.0";
        assert_eq!(
            versions(go, &["require github.com/centrifugal/centrifuge"]).as_deref(),
            Some("centrifugal/centrifuge v0.37.0")
        );
        assert_eq!(versions("", &["x"]), None);
        assert_eq!(word_after("Redis server v=7.0.15 sha=0", "v="), "7.0.15");
    }
}
