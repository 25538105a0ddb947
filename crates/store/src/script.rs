//! The scripts of `lua/`, each embedded whole with the functions that stand before it. Called by the
//! Redis twins through [`crate::link::Link::script`].

use std::sync::LazyLock;

/// A script and its digest, and the files that it was made of: the last is its own.
pub(crate) struct Script(LazyLock<redis::Script>, &'static [&'static str]);

impl Script {
    pub(crate) fn get(&self) -> &redis::Script {
        &self.0
    }

    /// What it is called in traces.
    pub(crate) fn name(&self) -> &'static str {
        self.1.last().map_or("", |file| file.trim_end_matches(".lua"))
    }
}

macro_rules! scripts {
    ($($name:ident = $($file:literal)+;)+) => {
        $(pub(crate) static $name: Script =
            Script(LazyLock::new(|| redis::Script::new(concat!($(include_str!(concat!("lua/", $file))),+))), &[$($file),+]);)+
    };
}

scripts! {
    LOG_PUBLISH = "epoch.lua" "log_publish.lua";
    LOG_READ = "epoch.lua" "log_read.lua";
    LOG_TOUCH = "epoch.lua" "log_touch.lua";
    PRESENCE_WRITE = "presence.lua" "presence_write.lua";
    PRESENCE_SWEEP = "presence.lua" "presence_sweep.lua";
    PRESENCE_READ = "presence_read.lua";
    NAME_CLAIM = "name_claim.lua";
    NAME_RELEASE = "name_release.lua";
    NODE_LEASE = "node_lease.lua";
    NODE_SEAL = "node_seal.lua";
    NODE_LIST = "node_list.lua";
}
