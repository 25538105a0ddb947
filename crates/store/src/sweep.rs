//! The sweep of a dead node: each part of the store removes what the node left in it. Called by the presence
//! service's sweeper.

use crate::{Incarnation, Result, Store};

/// What one sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rooms that were looked through.
    pub rooms: usize,
    /// Facts (a user in a room by this incarnation) that were removed.
    pub facts: usize,
    /// Names that were released.
    pub names: usize,
}

impl Store {
    /// Removes what a sealed incarnation left in rooms and names, with real leave events. May run twice,
    /// and in two places at once.
    ///
    /// # Errors
    /// The store cannot be reached: what is left stays indexed, and the next sweep goes on with it.
    pub async fn sweep(&self, node: &Incarnation) -> Result<Swept> {
        let (rooms, facts) = self.presence.sweep(node).await?;
        let names = self.names.sweep(node).await?;
        Ok(Swept { rooms, facts, names })
    }

    /// Drops the last traces of a sealed incarnation, after its second sweep.
    ///
    /// # Errors
    /// The store cannot be reached: the incarnation stays sealed until it is forgotten again.
    pub async fn forget(&self, node: &Incarnation) -> Result<()> {
        self.presence.forget(node).await?;
        self.names.forget(node).await?;
        // Last: as long as it is sealed, some sweeper comes back to it.
        self.nodes.forget(node).await
    }
}
