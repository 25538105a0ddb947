//! Sign-in: claims a user name with the secret that proves it. Called by the edge when a client connects; the name is
//! claimed for as long as [`SignedIn::name`] is held.

use std::sync::OnceLock;

use roomcast_protocol::Position;
use roomcast_protocol::client::ConnectAuth;
use roomcast_protocol::limits::Limits;
use roomcast_protocol::server::Welcome;
use roomcast_store::Secret;

use super::Chat;
use super::limits::{check_resume, check_user, random_hex};
use crate::hub::Event;
use crate::users::{ClaimError, NameHold};

/// A user who has signed in.
pub(crate) struct SignedIn {
    /// The claim on the name, for one connection.
    pub(crate) name: NameHold,
    /// What proves the name.
    pub(crate) secret: Secret,
    /// From where on the connection is sent private messages, if it asked for earlier ones.
    pub(crate) since: Option<Position>,
    /// The first event of the connection.
    pub(crate) welcome: Event,
}

impl Chat {
    /// Claims a name for one more connection of the user with this secret. Where the client chose none, it is that of its
    /// cookie, or else `made`, which is generated for the first sign-in of a session.
    ///
    /// # Errors
    /// The name belongs to another user, a field is invalid, or the claim cannot be decided now.
    pub(crate) async fn sign_in(
        &self,
        auth: ConnectAuth,
        cookie: Option<&Secret>,
        made: &OnceLock<String>,
    ) -> Result<SignedIn, ClaimError> {
        let ConnectAuth { username, resume, since } = auth;
        check_user(&username).map_err(ClaimError::Refused)?;
        let (secret, resume) = match (resume, cookie) {
            (Some(resume), _) => {
                check_resume(&resume).map_err(ClaimError::Refused)?;
                (Secret::proved(&resume), None)
            }
            (None, Some(cookie)) => (cookie.clone(), None),
            (None, None) => {
                let resume = made.get_or_init(random_hex);
                (Secret::proved(resume), Some(resume.clone()))
            }
        };
        let name = self.users.claim(&username, secret.clone()).await?;
        let node = self.node.name().to_owned();
        let limits = Limits { max_image: self.images.max_bytes, ..Limits::IN_FORCE };
        let welcome = Welcome { user: username, node, resume, limits };
        Ok(SignedIn { name, secret, since, welcome: Event::Welcome(Box::new(welcome)) })
    }
}
