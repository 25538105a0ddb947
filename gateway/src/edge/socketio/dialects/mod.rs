//! The table of namespaces: where clients connect, and which vocabulary is spoken there. Everything that has to
//! know a namespace reads it here: what is mounted (`service.rs`), the gate and the outbox under socketioxide
//! (`transport/`), and the encoder (`outbound.rs`). A new vocabulary is a folder beside this file and a line of this
//! table.

mod native;

use roomcast_protocol::event::NATIVE_NAMESPACE;

use super::dialect::Dialect;
use crate::hub::Encoding;
use native::Native;

/// Every namespace there is.
pub(super) static NAMESPACES: [Namespace; 2] = [
    Namespace { path: "/", prefix: "", encoding: Encoding::new(0), dialect: &Native },
    Namespace { path: NATIVE_NAMESPACE, prefix: "/native,", encoding: Encoding::new(1), dialect: &Native },
];

/// Characters of the longest path.
pub(super) const MAX_PATH: usize = 32;

/// One of them.
pub(crate) struct Namespace {
    path: &'static str,
    /// As it stands in a packet.
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
    /// Of a socket of socketioxide, all of whose namespaces are of the table.
    pub(super) fn of_path(path: &str) -> Option<&'static Self> {
        NAMESPACES.iter().find(|namespace| namespace.path == path)
    }

    /// Of a packet, from what stands behind its type: a path up to a comma, without its query, or no path for
    /// `/`. None where that is not in the table.
    pub(super) fn of_packet(rest: &[u8]) -> Option<&'static Self> {
        match rest.first() {
            None | Some(b'{') => Self::of_path("/"),
            Some(b'/') => {
                let path = rest.split(|byte| matches!(byte, b',' | b'?')).next()?;
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

    /// Its place in the table, by which bytes are cached.
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
    fn whole_names_are_compared() {
        let found = |rest: &[u8]| Namespace::of_packet(rest).map(Namespace::path);
        for root in [&b""[..], b"{}", b"/,", b"/", b"/?a=1,"] {
            assert_eq!(found(root), Some("/"), "{root:?}");
        }
        for native in [&b"/native"[..], b"/native,", b"/native,{}", b"/native?a=1,{}"] {
            assert_eq!(found(native), Some("/native"), "{native:?}");
        }
        for other in [&b"/native2,"[..], b"/native/,", b"/nativ,", b"1", b"[", b"/elsewhere,{}"] {
            assert_eq!(found(other), None, "{other:?}");
        }
    }
}
