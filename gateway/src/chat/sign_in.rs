//! Taking a name: who somebody says they are, and the secret that proves it. Called by the edge when a client
//! connects; the name is held for as long as the [`SignedIn`] is.

use roomcast_protocol::client::ConnectAuth;
use roomcast_protocol::limits::Limits;
use roomcast_protocol::server::Welcome;
use roomcast_store::Secret;

use super::Chat;
use super::limits::{check_resume, random_word};
use crate::hub::Event;
use crate::users::{ClaimError, NameHold};

/// Somebody who has a name.
pub(crate) struct SignedIn {
    /// The hold on the name, for one connection.
    pub(crate) name: NameHold,
    /// The first event of the connection.
    pub(crate) welcome: Event,
}

impl Chat {
    /// Takes a name for one more connection of whoever has the secret.
    ///
    /// # Errors
    /// The name is somebody else's, a field is wrong, or the answer must wait.
    pub(crate) async fn sign_in(&self, auth: ConnectAuth) -> Result<SignedIn, ClaimError> {
        let ConnectAuth { username, resume } = auth;
        let (secret, resume) = match resume {
            Some(resume) => {
                check_resume(&resume).map_err(ClaimError::Refused)?;
                (Secret::chosen(&resume), None)
            }
            None => {
                let resume = random_word();
                (Secret::given(&resume), Some(resume))
            }
        };
        let name = self.users.claim(&username, secret).await?;
        let node = self.node.name().to_owned();
        let welcome = Welcome { user: username, node, resume, limits: Limits::IN_FORCE };
        Ok(SignedIn { name, welcome: Event::Welcome(Box::new(welcome)) })
    }
}
