//! Integers as JSON libraries write them: `44`, `44.0` and `4.4e1` are one number. Used by `client.rs` and
//! `position.rs` for every integer that a client sends.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// The largest integer up to which a float is exact, 2^53; a greater float is not taken for an integer.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// A whole number of at least 0, however it is written.
struct Whole<T>(T);

impl<'de, T: TryFrom<u64>> Deserialize<'de> for Whole<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(WholeVisitor(PhantomData)).map(Whole)
    }
}

struct WholeVisitor<T>(PhantomData<T>);

impl<T: TryFrom<u64>> Visitor<'_> for WholeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer of at least 0")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        if number.fract() != 0.0 || !(0.0..=MAX_EXACT).contains(&number) {
            return Err(E::invalid_value(Unexpected::Float(number), &self));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole, and between 0 and 2^53"
        )]
        self.visit_u64(number as u64)
    }
}

/// Deserializes an integer.
pub(crate) fn required<'de, D: Deserializer<'de>, T: TryFrom<u64>>(deserializer: D) -> Result<T, D::Error> {
    Whole::deserialize(deserializer).map(|Whole(number)| number)
}

/// Deserializes an integer or null.
pub(crate) fn optional<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::<Whole<T>>::deserialize(deserializer).map(|whole| whole.map(|Whole(number)| number))
}

#[cfg(test)]
mod tests {
    use crate::client::{History, Join, OnlineUsers, Rooms};

    #[test]
    fn every_integer_of_a_client_may_be_written_as_a_float() {
        for (json, number) in [
            ("44", 44),
            ("44.0", 44),
            ("4.4e1", 44),
            ("44E0", 44),
            ("0.0", 0),
            ("-0.0", 0),
            ("9007199254740992.0", 9_007_199_254_740_992_u64),
        ] {
            let history = format!(r#"{{"room":"r","before":{json},"limit":{json}}}"#);
            let history: History = serde_json::from_str(&history).unwrap();
            let join = format!(r#"{{"room":"r","since":{{"epoch":"e","offset":{json}}},"limit":{json}}}"#);
            let join: Join = serde_json::from_str(&join).unwrap();
            let rooms: Rooms = serde_json::from_str(&format!(r#"{{"limit":{json}}}"#)).unwrap();
            let users = format!(r#"{{"room":"r","limit":{json}}}"#);
            let users: OnlineUsers = serde_json::from_str(&users).unwrap();
            assert_eq!((history.before, join.since.map(|since| since.offset)), (Some(number), Some(number)));
            for limit in [history.limit, join.limit, rooms.limit, users.limit] {
                assert_eq!(limit.map(|limit| limit as u64), Some(number), "{json}");
            }
        }
    }

    #[test]
    fn large_integers_are_exact_and_null_is_absent() {
        let max: History = serde_json::from_str(r#"{"room":"r","before":18446744073709551615}"#).unwrap();
        assert_eq!(max.before, Some(u64::MAX));
        let null: History = serde_json::from_str(r#"{"room":"r","before":null,"limit":null}"#).unwrap();
        assert_eq!((null.before, null.limit), (None, None));
    }

    #[test]
    fn what_is_no_integer_is_refused() {
        for json in [
            "1.5",
            "-1",
            "-1.0",
            "1e300",
            "9007199254740994.0",
            "18446744073709551616",
            "\"1\"",
            "true",
            "[1]",
        ] {
            let refused = serde_json::from_str::<History>(&format!(r#"{{"room":"r","before":{json}}}"#));
            let error = refused.expect_err(json).to_string();
            assert!(error.contains("expected an integer of at least 0"), "{json}: {error}");
        }
    }
}
