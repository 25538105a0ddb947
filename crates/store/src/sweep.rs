//! The sweep of a dead node: presence and names remove what the node left. Called by the presence service's sweeper.

use crate::{Incarnation, Result, Store};

/// What one sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rooms that were searched.
    pub rooms: usize,
    /// Facts (a user in a room by this incarnation) that were removed.
    pub facts: usize,
    /// Names that were released.
    pub names: usize,
}

impl Store {
    /// Removes what a sealed incarnation left in rooms and names, and publishes the leaves. May run twice, and on two
    /// nodes at once.
    ///
    /// # Errors
    /// The store is unreachable: what is left stays indexed, and the next sweep removes it.
    pub async fn sweep(&self, node: &Incarnation) -> Result<Swept> {
        let (rooms, facts) = self.presence.sweep(node).await?;
        let names = self.names.sweep(node).await?;
        Ok(Swept { rooms, facts, names })
    }

    /// Removes the last entries of a sealed incarnation, after its second sweep.
    ///
    /// # Errors
    /// The store is unreachable: the incarnation stays sealed, and the call must be repeated.
    pub async fn forget(&self, node: &Incarnation) -> Result<()> {
        self.presence.forget(node).await?;
        self.names.forget(node).await?;
        // Last: as long as it is sealed, a sweeper repeats this call.
        self.nodes.forget(node).await
    }
}
