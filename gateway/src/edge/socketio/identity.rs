//! Who a client is: nobody yet, a user with a proved name, or one with an open name, which it may change. Called by
//! `client.rs`, for one event at a time.

use std::sync::Arc;

use parking_lot::Mutex;
use roomcast_protocol::{Code, Refusal, UserName};

use crate::chat::{Actor, Chat, Rights};
use crate::hub::{Connection, Registry};
use crate::room::Departure;
use crate::users::NameHold;

/// Attempts to find a guest name that is free.
const GUEST_ATTEMPTS: usize = 5;

pub(super) struct Identity {
    current: Mutex<Current>,
}

struct Current {
    actor: Arc<Actor>,
    /// The claim on the user's name, until the client disconnects.
    name: Option<NameHold>,
}

impl Identity {
    /// `name` is the proved name of a client that signed in.
    pub(super) fn new(connection: &Arc<Connection>, name: Option<NameHold>) -> Self {
        let device = Arc::clone(connection);
        let actor = match &name {
            Some(name) => Actor::new(name.user().clone(), Rights::default(), Some(device)),
            None => Actor::unnamed(device),
        };
        Self { current: Mutex::new(Current { actor: Arc::new(actor), name }) }
    }

    pub(super) fn actor(&self) -> Arc<Actor> {
        Arc::clone(&self.current.lock().actor)
    }

    /// Takes an open name. A former one is released, after its rooms were left; `before_leaving` is called before that.
    ///
    /// # Errors
    /// The name belongs to another user, or the claim cannot be decided now; nothing changes then.
    pub(super) async fn take(
        &self,
        chat: &Chat,
        registry: &Registry,
        (connection, user): (&Arc<Connection>, UserName),
        before_leaving: impl FnOnce(),
    ) -> Result<(), Refusal> {
        let name = chat.take_name(&user).await?;
        if connection.user().is_some() {
            before_leaving();
            chat.leave_all(connection, Departure::Left).await;
        }
        registry.rename(connection, user.clone());
        if name.is_lost() {
            // Before the connection could be found by its user's name, somebody else took that name.
            connection.close("name_lost");
        }
        let actor = Arc::new(Actor::open(user, Arc::clone(connection)));
        let former = std::mem::replace(&mut *self.current.lock(), Current { actor, name: Some(name) });
        if let Some(former) = former.name {
            former.release(Departure::Left).await;
        }
        Ok(())
    }

    /// Takes an open name that is made up.
    ///
    /// # Errors
    /// The claim cannot be decided now.
    pub(super) async fn take_guest_name(
        &self,
        chat: &Chat,
        registry: &Registry,
        connection: &Arc<Connection>,
    ) -> Result<(), Refusal> {
        for _ in 0..GUEST_ATTEMPTS {
            let name = UserName::parse(&format!("guest-{:06x}", rand::random::<u32>() & 0x00ff_ffff))?;
            match self.take(chat, registry, (connection, name), || ()).await {
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
