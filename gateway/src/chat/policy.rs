//! Who may do what not everybody may. Settings, read by the commands.

use clap::ValueEnum;

use super::command::BroadcastOrigin;

/// Who may send messages to everyone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum BroadcastPolicy {
    /// Nobody
    Nobody,
    /// Users of a classic chat that has them: private-rooms, where a message names no room
    #[default]
    Dialect,
    /// Every user, by the event broadcast
    Everyone,
}

impl BroadcastPolicy {
    pub(super) fn allows(self, origin: BroadcastOrigin) -> bool {
        match self {
            Self::Nobody => false,
            Self::Dialect => origin == BroadcastOrigin::Classic,
            Self::Everyone => true,
        }
    }
}
