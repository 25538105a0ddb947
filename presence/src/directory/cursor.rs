//! Cursors as clients see them. The store makes them and trusts them; here they get a check sum, so that a damaged one,
//! or one of another list, is a 400 instead of a wrong page. Called by `extract.rs`.

use super::error::ApiError;

/// Characters of the check sum.
const SUM_LENGTH: usize = 8;
/// Bytes of the longest cursor: the longest name and a few more.
const MAX_LENGTH: usize = 1_024;

/// A cursor of `list`, as it is sent to the client.
pub(super) fn encode(list: &str, cursor: &str) -> String {
    format!("{:08x}{cursor}", sum(list, cursor))
}

/// The cursor that was encoded for the same list.
pub(super) fn decode(list: &str, encoded: &str) -> Result<String, ApiError> {
    let cursor = encoded
        .get(SUM_LENGTH..)
        .filter(|cursor| encoded.len() <= MAX_LENGTH && encode(list, cursor) == encoded);
    cursor.map(ToOwned::to_owned).ok_or_else(|| {
        ApiError::bad_request(
            "bad_cursor",
            "the cursor is not one of an earlier page of this list; begin without it",
        )
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
    fn only_intact_cursors_of_the_same_list_pass() {
        for cursor in ["", "3:general", "nЧат 🎉"] {
            let encoded = encode("/rooms", cursor);
            assert_eq!(decode("/rooms", &encoded).unwrap(), cursor);
            assert!(decode("/nodes", &encoded).is_err());
            assert!(decode("/rooms", &format!("{encoded}x")).is_err());
        }
        for nonsense in ["x", "00000000", "3:general", "🎉🎉🎉", "+0000000"] {
            assert!(decode("/rooms", nonsense).is_err(), "{nonsense}");
        }
        assert!(decode("/rooms", &encode("/rooms", &"x".repeat(MAX_LENGTH))).is_err());
    }
}
