//! The scripts of `lua/`, each embedded whole with the functions that stand before it. Called by the
//! Redis implementations through [`crate::link::Link::script`].

use std::sync::LazyLock;

use redis::Cmd;

/// A script with its digest, the operation that its calls are counted under, and the files that it was
/// made of, of which the last is its own.
pub(crate) struct Script(LazyLock<redis::Script>, &'static str, &'static [&'static str]);

impl Script {
    pub(crate) fn get(&self) -> &redis::Script {
        &self.0
    }

    /// One call of it, ready to be sent. `keys` are all the keys that it reads or writes.
    pub(crate) fn call<K: AsRef<[u8]>>(&self, keys: &[K], args: &[&[u8]]) -> Cmd {
        let bytes = keys.iter().map(|key| key.as_ref().len()).chain(args.iter().map(|arg| arg.len()));
        let mut call = Cmd::with_capacity(3 + keys.len() + args.len(), 64 + bytes.sum::<usize>());
        call.arg("EVALSHA").arg(self.0.get_hash()).arg(keys.len());
        for part in keys.iter().map(AsRef::as_ref).chain(args.iter().copied()) {
            call.arg(part);
        }
        call
    }

    pub(crate) fn operation(&self) -> &'static str {
        self.1
    }

    /// Whether a server that is out of memory executes it.
    pub(crate) fn allows_oom(&self) -> bool {
        self.2.first() == Some(&"allow_oom.lua")
    }

    /// What it is called in traces.
    pub(crate) fn name(&self) -> &'static str {
        self.2.last().map_or("", |file| file.trim_end_matches(".lua"))
    }
}

macro_rules! scripts {
    ($($name:ident $operation:literal = $($file:literal)+;)+) => {
        $(pub(crate) static $name: Script = Script(
            LazyLock::new(|| redis::Script::new(concat!($(include_str!(concat!("lua/", $file))),+))),
            $operation,
            &[$($file),+],
        );)+
        #[cfg(test)]
        pub(crate) static ALL: &[&Script] = &[$(&$name),+];
    };
}

scripts! {
    LOG_PUBLISH "publish" = "epoch.lua" "log_publish.lua";
    LOG_READ "history" = "epoch.lua" "log_read.lua";
    LOG_TOUCH "touch" = "epoch.lua" "log_touch.lua";
    INBOX_STORE "private_message" = "epoch.lua" "inbox.lua" "inbox_store.lua";
    INBOX_READ "inbox" = "epoch.lua" "inbox.lua" "inbox_read.lua";
    PRESENCE_WRITE "presence_write" = "presence.lua" "presence_write.lua";
    PRESENCE_LEAVE "presence_write" = "allow_oom.lua" "presence.lua" "presence_write.lua";
    PRESENCE_CLOSE "presence_write" = "allow_oom.lua" "forget_if_unused.lua" "presence_close.lua";
    PRESENCE_SWEEP "presence_sweep" = "allow_oom.lua" "presence.lua" "forget_if_unused.lua" "presence_sweep.lua";
    PRESENCE_READ "presence_read" = "presence_read.lua";
    NAME_CLAIM "name_claim" = "epoch.lua" "inbox.lua" "name_claim.lua";
    NAME_RELEASE "name_release" = "allow_oom.lua" "name_release.lua";
    IMAGE_ADMIT "image_write" = "image_admit.lua";
    IMAGE_COUNT "image_write" = "allow_oom.lua" "image_count.lua";
    IMAGE_FORGET "image_write" = "allow_oom.lua" "image_forget.lua";
    IMAGE_STORE "image_write" = "image_store.lua";
    IMAGE_RENEW "image_write" = "allow_oom.lua" "image_renew.lua";
    IMAGE_RELEASE "image_write" = "allow_oom.lua" "image_release.lua";
    IMAGE_FIND "image_read" = "image_find.lua";
    IMAGE_LIST "image_read" = "image_list.lua";
    IMAGE_RENEWED "image_write" = "epoch.lua" "image_renewed.lua";
    NODE_LEASE "renew" = "allow_oom.lua" "node_lease.lua";
    NODE_SEAL "seal" = "allow_oom.lua" "node_seal.lua";
    NODE_LIST "nodes" = "node_list.lua";
}
