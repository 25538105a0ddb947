//! Which primaries of a cluster live, by the replication ids that they tell: a slot that moves from one that lives on
//! to another loses nothing, while a server that was promoted, or started again, may have lost what was written last.
//! Fed by the bus, which asks each node every second; asked by `link.rs`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A primary that told its id this recently lives, or was emptied since: a slot moves, and the emptied node becomes a
/// replica, in the same moment.
const RECENT: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(crate) struct Primaries(HashMap<String, Seen>);

struct Seen {
    at: Instant,
    /// Another server was promoted in its place.
    replaced: bool,
}

impl Primaries {
    /// Takes the answer to INFO replication.
    pub(crate) fn saw(&mut self, info: &str) {
        let now = Instant::now();
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        self.0.retain(|_, seen| now.duration_since(seen.at) < RECENT);
        if field("role:") != Some("master") {
            return;
        }
        let mut note = |id: Option<&str>, replaced: bool| {
            if let Some(id) = id {
                let seen = self.0.entry(id.to_owned()).or_insert(Seen { at: now, replaced });
                seen.at = now;
                seen.replaced |= replaced;
            }
        };
        note(field("master_replid:"), false);
        note(field("master_replid2:"), true);
    }

    /// Whether a primary with this replication id lives.
    pub(crate) fn lives(&self, replid: &str) -> bool {
        self.0.get(replid).is_some_and(|seen| !seen.replaced && seen.at.elapsed() < RECENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_lives_until_another_takes_its_place() {
        let mut primaries = Primaries::default();
        assert!(!primaries.lives("a"));
        primaries.saw("# Replication\r\nrole:master\r\nmaster_replid:a\r\nmaster_replid2:0000\r\n");
        primaries.saw("role:slave\r\nmaster_replid:b\r\nmaster_replid2:0000\r\n");
        assert!(primaries.lives("a") && !primaries.lives("b") && !primaries.lives("0000"));
        primaries.saw("role:master\r\nmaster_replid:c\r\nmaster_replid2:a\r\n");
        assert!(primaries.lives("c") && !primaries.lives("a"));
        primaries.saw("role:master\r\nmaster_replid:a\r\nmaster_replid2:0000\r\n");
        assert!(!primaries.lives("a"), "what it says late changes nothing");
    }
}
