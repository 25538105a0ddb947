//! Takes the name that a join of a classic front end says: proved by the browser's cookie, or an open one, which is claimed
//! with nothing to prove it. Called by the edge; the name is claimed for as long as the [`NameHold`] is held.

use roomcast_protocol::{Code, Refusal, UserName};
use roomcast_store::Secret;

use super::Chat;
use super::limits::{check_user, random_hex};
use crate::users::{ClaimError, NameHold};

impl Chat {
    /// Claims a name for one connection: as the person with this cookie, or without one as an open name. While that is
    /// connected the name is refused to everyone else; after it, any claim succeeds at once.
    ///
    /// # Errors
    /// The name is reserved or belongs to another user, or the claim cannot be decided now.
    pub(crate) async fn take_name(
        &self,
        user: &UserName,
        cookie: Option<&Secret>,
    ) -> Result<NameHold, Refusal> {
        check_user(user)?;
        let claim = match cookie {
            Some(cookie) => self.users.claim(user, cookie.clone()).await,
            // A secret that nobody knows, so that no other connection is this user.
            None => self.users.claim_open(user, Secret::open(&random_hex())).await,
        };
        claim.map_err(|error| match error {
            ClaimError::Refused(refusal) => refusal,
            ClaimError::RetryLater => {
                Refusal::new(Code::Unavailable, "the name cannot be claimed now; try again")
            }
        })
    }
}
