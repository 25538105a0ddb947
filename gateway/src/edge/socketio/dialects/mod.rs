//! The table of namespaces that clients connect to, each with its dialect. It is read by `service.rs`, which registers
//! them, by the gate and the outbox under socketioxide (`transport/`), and by the encoder (`encode.rs`). A new
//! dialect is a folder beside this file and a line of this table.

mod native;

use roomcast_protocol::event::NATIVE_NAMESPACE;

use super::dialect::Dialect;
use crate::hub::Encoding;
use native::Native;

/// All namespaces.
pub(super) static NAMESPACES: [Namespace; 2] =
    [Namespace::new("/", "", 0, &Native), Namespace::new(NATIVE_NAMESPACE, "/native,", 1, &Native)];

/// Maximum length of a path, in bytes.
pub(super) const MAX_PATH: usize = 32;

/// A namespace.
pub(crate) struct Namespace {
    path: &'static str,
    /// Its path as it begins a packet.
    prefix: &'static str,
    encoding: Encoding,
    dialect: &'static dyn Dialect,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.path)
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.encoding == other.encoding
    }
}

impl Eq for Namespace {}

impl Namespace {
    /// A namespace: its path, the path as it begins a packet, its index in the table, and its dialect.
    pub(super) const fn new(
        path: &'static str,
        prefix: &'static str,
        index: u8,
        dialect: &'static dyn Dialect,
    ) -> Self {
        Self { path, prefix, encoding: Encoding::new(index), dialect }
    }

    /// The namespace with this path.
    pub(super) fn of_path(path: &str) -> Option<&'static Self> {
        NAMESPACES.iter().find(|namespace| namespace.path == path)
    }

    /// The namespace of a packet. `rest` is the packet after its type: a path up to a comma, whose query is ignored, or
    /// no path for `/`. None if the path is not in the table.
    pub(super) fn of_packet(rest: &[u8]) -> Option<&'static Self> {
        match rest.first() {
            None | Some(b'{') => Self::of_path("/"),
            Some(b'/') => {
                let path = rest.split(|byte| *byte == b',').next()?;
                NAMESPACES.iter().find(|namespace| namespace.path.as_bytes() == path)
            }
            Some(_) => None,
        }
    }

    pub(super) fn path(&self) -> &'static str {
        self.path
    }

    pub(super) fn prefix(&self) -> &'static str {
        self.prefix
    }

    /// Its index in the table.
    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
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
        for (index, namespace) in NAMESPACES.iter().enumerate() {
            assert_eq!(namespace.encoding.index(), index);
            assert!(index < Encoding::MAX && namespace.path.len() <= MAX_PATH);
            let prefix = if namespace.path == "/" { "" } else { &format!("{},", namespace.path) };
            assert_eq!(namespace.prefix, prefix);
            let same = NAMESPACES.iter().filter(|other| other.path == namespace.path);
            assert_eq!(same.count(), 1, "{}", namespace.path);
        }
    }

    #[test]
    fn paths_are_compared_in_full() {
        let found = |rest: &[u8]| Namespace::of_packet(rest).map(Namespace::path);
        for root in [&b""[..], b"{}", b"/,", b"/"] {
            assert_eq!(found(root), Some("/"), "{root:?}");
        }
        for native in [&b"/native"[..], b"/native,", b"/native,{}"] {
            assert_eq!(found(native), Some("/native"), "{native:?}");
        }
        for other in
            [&b"/native2,"[..], b"/native/,", b"/nativ,", b"/native?a=1,", b"1", b"[", b"/elsewhere,{}"]
        {
            assert_eq!(found(other), None, "{other:?}");
        }
    }
}
