//! The table of namespaces that clients connect to, each with its dialect. It is read by `session/`, where clients enter
//! them, and by the encoder (`encode.rs`). A new dialect is a folder beside this file and a line of this table.

mod native;

use roomcast_protocol::event::NATIVE_NAMESPACE;

use super::dialect::Dialect;
use native::Native;

/// All namespaces.
pub(super) static NAMESPACES: [Namespace; 2] =
    [Namespace::new("/", "", &Native), Namespace::new(NATIVE_NAMESPACE, "/native,", &Native)];

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

    pub(super) fn dialect(&self) -> &'static dyn Dialect {
        self.dialect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        for namespace in &NAMESPACES {
            let prefix = if namespace.path == "/" { "" } else { &format!("{},", namespace.path) };
            assert_eq!(namespace.prefix, prefix);
            let same = NAMESPACES.iter().filter(|other| other.path == namespace.path);
            assert_eq!(same.count(), 1, "{}", namespace.path);
        }
    }
}
