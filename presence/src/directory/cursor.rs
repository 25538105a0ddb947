//! What clients see of cursors. The store makes them and trusts them; here they get a check sum, so that a
//! damaged one, or one of another list, is a 400 instead of a wrong page. Called by `extract.rs`.

use super::error::Refused;

/// Characters of the check sum.
const SUM: usize = 8;
/// Bytes of the longest cursor: the longest name and a few more.
const MAX: usize = 1_024;

/// A cursor of `list` as the client is told.
pub(super) fn seal(list: &str, cursor: &str) -> String {
    format!("{:08x}{cursor}", sum(list, cursor))
}

/// The cursor as it was before it was sealed for the same list.
pub(super) fn open(list: &str, sealed: &str) -> Result<String, Refused> {
    let cursor = sealed.get(SUM..).filter(|cursor| sealed.len() <= MAX && seal(list, cursor) == sealed);
    cursor.map(ToOwned::to_owned).ok_or_else(|| {
        Refused::bad("bad_cursor", "the cursor is not one of an earlier page of this list; begin without it")
    })
}

/// FNV-1a, which replicas of every version agree on. It finds mistakes, not malice: a forged cursor reads
/// nothing that a page would not show.
fn sum(list: &str, cursor: &str) -> u32 {
    // A byte that is in no text stands between the two.
    let bytes = list.bytes().chain([0xff]).chain(cursor.bytes());
    bytes.fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unharmed_cursors_of_the_same_list_pass() {
        for cursor in ["", "3:general", "nЧат 🎉"] {
            let sealed = seal("/rooms", cursor);
            assert_eq!(open("/rooms", &sealed).unwrap(), cursor);
            assert!(open("/nodes", &sealed).is_err());
            assert!(open("/rooms", &format!("{sealed}x")).is_err());
        }
        for nonsense in ["x", "00000000", "3:general", "🎉🎉🎉", "+0000000"] {
            assert!(open("/rooms", nonsense).is_err(), "{nonsense}");
        }
        assert!(open("/rooms", &seal("/rooms", &"x".repeat(MAX))).is_err());
    }
}
