//! Whether the memory implementations have memory for more data. Each asks where its script of Redis would add some; set
//! by `memory.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Result, StoreError};
use crate::script::Script;

/// A handle; clones share the answer.
#[derive(Clone, Default)]
pub(crate) struct Capacity(Arc<AtomicBool>);

impl Capacity {
    pub(crate) fn set_full(&self, full: bool) {
        self.0.store(full, Ordering::Relaxed);
    }

    /// Fails where a Redis that is out of memory refuses to execute a script whose first write adds data.
    pub(crate) fn check(&self, script: &Script) -> Result<()> {
        if script.allows_oom() { Ok(()) } else { self.check_command() }
    }

    /// The same for a command that adds data.
    pub(crate) fn check_command(&self) -> Result<()> {
        let error = || StoreError::Unavailable("out of memory".to_owned());
        if self.0.load(Ordering::Relaxed) { Err(error()) } else { Ok(()) }
    }
}
