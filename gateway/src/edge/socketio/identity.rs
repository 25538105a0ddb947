//! Who a client is: nobody yet, a user who signed in, or one whose name was taken by a join, which may change it. Such a
//! name is proved by the browser's cookie, or open. Called by `client.rs`, for one event at a time.

use std::sync::Arc;

use parking_lot::Mutex;
use roomcast_protocol::{Code, Refusal, UserName};
use roomcast_store::Secret;

use crate::chat::{Actor, Chat, Rights};
use crate::hub::{Connection, Registry};
use crate::room::Departure;
use crate::users::NameHold;

/// Attempts to find a guest name that is free.
const GUEST_ATTEMPTS: usize = 5;

pub(super) struct Identity {
    current: Mutex<Current>,
    /// The secret in the browser's cookie, if it was read.
    cookie: Option<Secret>,
    /// The client signed in with its name, and so keeps it.
    signed_in: bool,
}

struct Current {
    actor: Arc<Actor>,
    /// The claim on the user's name, until the client disconnects.
    name: Option<NameHold>,
}

impl Identity {
    /// `name` is the name of a client that signed in.
    pub(super) fn new(connection: &Arc<Connection>, name: Option<NameHold>, cookie: Option<Secret>) -> Self {
        let device = Arc::clone(connection);
        let actor = match &name {
            Some(name) => {
                Actor::new(name.user().clone(), Rights::default(), Some(device)).with_inbox(name.person())
            }
            None => Actor::unnamed(device),
        };
        let signed_in = name.is_some();
        Self { current: Mutex::new(Current { actor: Arc::new(actor), name }), cookie, signed_in }
    }

    /// Whether the client signed in with its name, and so keeps it.
    pub(super) fn signed_in(&self) -> bool {
        self.signed_in
    }

    pub(super) fn actor(&self) -> Arc<Actor> {
        Arc::clone(&self.current.lock().actor)
    }

    /// Takes a name by a join in this dialect. A former one is released, after its rooms were left; `before_leaving` is
    /// called before that.
    ///
    /// # Errors
    /// The name belongs to another user, or the claim cannot be decided now; nothing changes then.
    pub(super) async fn take(
        &self,
        chat: &Chat,
        registry: &Registry,
        (connection, user, dialect): (&Arc<Connection>, UserName, &'static str),
        before_leaving: impl FnOnce(),
    ) -> Result<(), Refusal> {
        let mut name = chat.take_name(&user, self.cookie.as_ref()).await?;
        if connection.user().is_some() {
            before_leaving();
            chat.leave_all(connection, Departure::Left).await;
        }
        registry.rename(connection, user.clone());
        if name.is_lost() {
            // Before the connection could be found by its user's name, somebody else took that name.
            connection.close("name_lost");
        }
        chat.inboxes.follow(&mut name, connection, None).await;
        let device = Arc::clone(connection);
        let actor = match &self.cookie {
            Some(_) => Actor::new(user, Rights::default(), Some(device)),
            None => Actor::open(user, dialect, device),
        };
        let actor = Arc::new(actor.with_inbox(name.person()));
        let former = std::mem::replace(&mut *self.current.lock(), Current { actor, name: Some(name) });
        if let Some(former) = former.name {
            former.release(Departure::Left).await;
        }
        Ok(())
    }

    /// Takes a name that is made up.
    ///
    /// # Errors
    /// The claim cannot be decided now.
    pub(super) async fn take_guest_name(
        &self,
        chat: &Chat,
        registry: &Registry,
        (connection, dialect): (&Arc<Connection>, &'static str),
    ) -> Result<(), Refusal> {
        for _ in 0..GUEST_ATTEMPTS {
            let name = UserName::parse(&format!("guest-{:06x}", rand::random::<u32>() & 0x00ff_ffff))?;
            match self.take(chat, registry, (connection, name, dialect), || ()).await {
                Err(refusal) if refusal.code == Code::UsernameTaken => {}
                done => return done,
            }
        }
        Err(Refusal::new(Code::Unavailable, "no name is free; try again"))
    }

    /// The client has disconnected.
    pub(super) async fn release(&self, how: Departure) {
        let name = self.current.lock().name.take();
        if let Some(name) = name {
            name.release(how).await;
        }
    }
}
