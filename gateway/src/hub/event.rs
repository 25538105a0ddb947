//! Events that the server pushes to connections. Created by `room/` and `chat/`, sent by the hub, and encoded by the
//! dialects of the edge.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use roomcast_ops::trace::Origin;
use roomcast_protocol::UserName;
use roomcast_protocol::server::{Inbox, Presence, Restarting, Resync, Snapshot, TypingChanged, Welcome};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// One event.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// The first event of a connection.
    Welcome(Box<Welcome>),
    /// A message of a room.
    Message(Arc<Message>),
    /// A private message. Its position is that in the receiver's inbox.
    PrivateMessage(Arc<Message>),
    /// The connection's position in the user's inbox.
    Inbox(Inbox),
    /// Users that joined and left a room, and all its users after that (empty in large rooms).
    Presence { change: Presence, users: UserList },
    /// The users of a room; replaces what the client knew.
    OnlineUsers(Snapshot<UserList>),
    /// A user started or stopped typing.
    Typing(TypingChanged),
    /// The log cannot fill the client's gap.
    Resync(Resync),
    /// This node is draining.
    Restarting(Restarting),
}

impl Event {
    /// Its kind, for log lines.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Welcome(_) => "welcome",
            Self::Message(_) => "message",
            Self::PrivateMessage(_) => "private_message",
            Self::Inbox(_) => "inbox",
            Self::Presence { .. } => "presence",
            Self::OnlineUsers(_) => "online_users",
            Self::Typing(_) => "typing",
            Self::Resync(_) => "resync",
            Self::Restarting(_) => "restarting",
        }
    }
}

/// A message with its position, encoded once for all who receive it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) offset: u64,
    /// When it was stored, by the store's clock, in milliseconds since 1970.
    pub(crate) ts: u64,
    /// The JSON of `protocol::message::Message`, or of `PrivateMessage`. A dialect that needs its parts decodes it once per batch.
    pub(crate) json: Box<RawValue>,
    /// The traced request that stored it; only if it was received from the bus.
    pub(crate) trace: Option<Box<Origin>>,
}

impl Message {
    /// Its sender, and its id among the messages of its room: parsed, so not for every message.
    pub(crate) fn sender_and_id(&self) -> Option<(UserName, String)> {
        #[derive(serde::Deserialize)]
        struct Parts {
            user: UserName,
            id: String,
        }
        serde_json::from_str(self.json.get()).ok().map(|Parts { user, id }| (user, id))
    }
}

/// Names of users, encoded once for all who receive them. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct UserList(Arc<EncodedOnce>);

#[derive(Debug, Default)]
struct EncodedOnce {
    users: Vec<UserName>,
    /// A JSON array; empty until it is needed.
    json: OnceLock<Box<RawValue>>,
}

impl From<Vec<UserName>> for UserList {
    fn from(users: Vec<UserName>) -> Self {
        Self(Arc::new(EncodedOnce { users, json: OnceLock::new() }))
    }
}

impl Deref for UserList {
    type Target = [UserName];

    fn deref(&self) -> &[UserName] {
        &self.0.users
    }
}

impl PartialEq for UserList {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for UserList {}

impl Serialize for UserList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let EncodedOnce { users, json } = &*self.0;
        let json = match json.get() {
            Some(json) => json,
            None => {
                let encoded = to_raw_value(users).map_err(S::Error::custom)?;
                json.get_or_init(|| encoded)
            }
        };
        json.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_users_is_encoded_once_for_all_who_receive_it() {
        let users = ["ann", "b\"n"].map(|name| UserName::parse(name).unwrap());
        let list = UserList::from(users.to_vec());
        let clone = list.clone();
        assert_eq!(serde_json::to_string(&list).unwrap(), serde_json::to_string(&users).unwrap());
        let encoded = |list: &UserList| list.0.json.get().unwrap().get().as_ptr();
        let first = encoded(&list);
        assert_eq!(serde_json::to_string(&clone).unwrap(), r#"["ann","b\"n"]"#);
        assert_eq!(encoded(&clone), first);
        assert_eq!(serde_json::to_string(&UserList::default()).unwrap(), "[]");
    }
}
