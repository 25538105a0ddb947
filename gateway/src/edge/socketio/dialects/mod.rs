//! The table of namespaces that clients connect to, each with its dialect. It is read by `session/`, where clients enter
//! them, and by the encoder (`encode.rs`). A new dialect is a folder beside this file and a line of this table.

mod abidev;
mod auto;
mod classic;
mod flask_chat_app;
mod flocker;
mod messages;
mod native;
mod private_rooms;
mod ribbit;

use clap::ValueEnum as _;
use roomcast_protocol::event::NATIVE_NAMESPACE;

use super::dialect::Dialect;
use abidev::Abidev;
use auto::AUTO;
use flask_chat_app::FlaskChatApp;
use flocker::Flocker;
use native::Native;
use private_rooms::PrivateRooms;
use ribbit::Ribbit;
pub(crate) use ribbit::encode_message as ribbit_message;

/// All namespaces. The dialect of the first one is a setting.
pub(super) static NAMESPACES: [Namespace; 7] = [
    Namespace::new("/", "", &Native),
    Namespace::new(NATIVE_NAMESPACE, "/native,", &Native),
    Namespace::new("/flocker", "/flocker,", &Flocker),
    Namespace::new("/abidev", "/abidev,", &Abidev),
    Namespace::new("/flask-chat-app", "/flask-chat-app,", &FlaskChatApp),
    Namespace::new("/ribbit", "/ribbit,", &Ribbit),
    Namespace::new("/private-rooms", "/private-rooms,", &PrivateRooms),
];

/// The dialects that `/` may speak, by the names of their namespaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DialectName {
    /// Roomcast's own
    #[default]
    Native,
    /// join, send_message, message, online_users
    Flocker,
    /// message broadcast, message receive
    Abidev,
    /// join_room, send_message, receive_message and announcements
    FlaskChatApp,
    /// chat and new_message with a threadId
    Ribbit,
    /// chat with an event or a type
    PrivateRooms,
    /// that of each client's first event
    Auto,
}

impl DialectName {
    /// The name of the classic chat that it is of, if it is one's.
    pub(crate) fn classic_name(self) -> Option<String> {
        let name = self.to_possible_value().map(|value| value.get_name().to_owned());
        name.filter(|_| !matches!(self, Self::Native | Self::Auto))
    }

    fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Native => &Native,
            Self::Flocker => &Flocker,
            Self::Abidev => &Abidev,
            Self::FlaskChatApp => &FlaskChatApp,
            Self::Ribbit => &Ribbit,
            Self::PrivateRooms => &PrivateRooms,
            Self::Auto => &AUTO,
        }
    }
}

/// A namespace.
pub(crate) struct Namespace {
    path: &'static str,
    /// Its path as it begins a packet.
    prefix: &'static str,
    dialect: &'static dyn Dialect,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.path)
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Namespace {}

impl Namespace {
    /// A namespace: its path, the path as it begins a packet, and its dialect.
    pub(super) const fn new(path: &'static str, prefix: &'static str, dialect: &'static dyn Dialect) -> Self {
        Self { path, prefix, dialect }
    }

    /// The namespace with this path.
    pub(super) fn of_path(path: &str) -> Option<&'static Self> {
        NAMESPACES.iter().find(|namespace| namespace.path == path)
    }

    pub(super) fn path(&self) -> &'static str {
        self.path
    }

    pub(super) fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// Its dialect, if that of `/` is `root`.
    pub(super) fn dialect(&self, root: DialectName) -> &'static dyn Dialect {
        if self.path == "/" { root.dialect() } else { self.dialect }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        // `auto` has no namespace of its own.
        for name in DialectName::value_variants().iter().filter(|name| **name != DialectName::Auto) {
            let value = name.to_possible_value().unwrap();
            let namespace = Namespace::of_path(&format!("/{}", value.get_name())).unwrap();
            assert_eq!(namespace.dialect(DialectName::Native).name(), value.get_name());
            assert_eq!(NAMESPACES[0].dialect(*name).name(), value.get_name());
        }
        for namespace in &NAMESPACES {
            let prefix = if namespace.path == "/" { "" } else { &format!("{},", namespace.path) };
            assert_eq!(namespace.prefix, prefix);
            let same = NAMESPACES.iter().filter(|other| other.path == namespace.path);
            assert_eq!(same.count(), 1, "{}", namespace.path);
        }
    }
}
