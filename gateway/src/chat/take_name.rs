//! Takes an open name: one that is claimed with nothing to prove it, by a join of a classic front end. Called by the
//! edge; the name is claimed for as long as the [`NameHold`] is held.

use roomcast_protocol::{Code, Refusal, UserName};
use roomcast_store::Secret;

use super::Chat;
use super::limits::random_hex;
use crate::users::{ClaimError, NameHold};

impl Chat {
    /// Claims a name for one connection. While that is connected the name is refused to everyone else; after it, any
    /// claim succeeds at once.
    ///
    /// # Errors
    /// The name belongs to another user, or the claim cannot be decided now.
    pub(crate) async fn take_name(&self, user: &UserName) -> Result<NameHold, Refusal> {
        // A secret that nobody knows, so that no other connection is this user.
        let claim = self.users.claim_open(user, Secret::open(&random_hex())).await;
        claim.map_err(|error| match error {
            ClaimError::Refused(refusal) => refusal,
            ClaimError::RetryLater => {
                Refusal::new(Code::Unavailable, "the name cannot be claimed now; try again")
            }
        })
    }
}
