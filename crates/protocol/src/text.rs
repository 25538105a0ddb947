//! Corrections of the JSON text of a packet before it is parsed. Called by the gateway's edge.

use std::borrow::Cow;

/// The escape of U+FFFD, as long as the escape that it replaces.
const REPLACEMENT: &str = "\\ufffd";

/// Replaces escapes of half a surrogate pair (`\ud83d` that no `\udc00` to `\udfff` follows, or the reverse) by U+FFFD,
/// as browsers do when they encode text. A client that cuts a text at a number of UTF-16 units sends such halves; JSON
/// allows them, a Rust string cannot contain them. Text without a backslash costs one search.
pub fn replace_lone_surrogates(json: &str) -> Cow<'_, str> {
    let Some(first) = json.find('\\') else { return Cow::Borrowed(json) };
    let mut corrected: Option<String> = None;
    let (mut at, mut copied) = (first, 0);
    while let Some(step) = json.get(at..).and_then(|rest| rest.find('\\')) {
        at += step;
        at += match surrogate_at(json, at) {
            // The escape of something else; of `\\` both.
            None => 2,
            Some(Half::High) if surrogate_at(json, at + 6) == Some(Half::Low) => 12,
            Some(_) => {
                let corrected = corrected.get_or_insert_with(|| String::with_capacity(json.len()));
                corrected.push_str(json.get(copied..at).unwrap_or_default());
                corrected.push_str(REPLACEMENT);
                copied = at + 6;
                6
            }
        };
    }
    match corrected {
        None => Cow::Borrowed(json),
        Some(mut corrected) => {
            corrected.push_str(json.get(copied..).unwrap_or_default());
            Cow::Owned(corrected)
        }
    }
}

#[derive(PartialEq, Eq)]
enum Half {
    High,
    Low,
}

/// The half of a surrogate pair whose escape begins here.
fn surrogate_at(json: &str, at: usize) -> Option<Half> {
    let escape = json.get(at..at + 6)?.strip_prefix("\\u")?;
    // Checked, because `from_str_radix` also accepts a sign.
    let digits = escape.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u16::from_str_radix(escape, 16).ok().filter(|_| digits)? {
        0xd800..=0xdbff => Some(Half::High),
        0xdc00..=0xdfff => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_pair_is_replaced_and_a_whole_one_is_not() {
        for (json, expected) in [
            (r#""nice \ud83d""#, "nice \u{fffd}"),
            (r#""\ud83d\ude00""#, "\u{1f600}"),
            (r#""\uD83D\uDE00""#, "\u{1f600}"),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\ud83dx\ude00""#, "\u{fffd}x\u{fffd}"),
            (r#""\ud83d\n\ude00""#, "\u{fffd}\n\u{fffd}"),
            (r#""\\ud83d""#, "\\ud83d"),
            (r#""\\\ud83d\\""#, "\\\u{fffd}\\"),
            (r#""\"\ud83d\"""#, "\"\u{fffd}\""),
            (r#""\u00e9\ud83d\u00e9""#, "é\u{fffd}é"),
            (r#""é\ud83dé""#, "é\u{fffd}é"),
            (r#""😀\ud83d😀""#, "😀\u{fffd}😀"),
            (r#""plain""#, "plain"),
        ] {
            let corrected = replace_lone_surrogates(json);
            assert_eq!(serde_json::from_str::<String>(&corrected).unwrap(), expected, "{json}");
            assert_eq!(matches!(corrected, Cow::Owned(_)), expected.contains('\u{fffd}'), "{json}");
        }
    }

    #[test]
    fn every_sequence_of_units_reads_as_in_a_browser() {
        let units = [0x61_u16, 0xd83d, 0xde00, 0xdbff, 0xdc00, 0x5c];
        for first in units {
            for second in units {
                for third in units {
                    let sequence = [first, second, third];
                    let escaped: String = sequence.iter().map(|unit| format!("\\u{unit:04x}")).collect();
                    let json = format!("\"{escaped}\"");
                    let read: String = serde_json::from_str(&replace_lone_surrogates(&json)).unwrap();
                    assert_eq!(read, String::from_utf16_lossy(&sequence), "{json}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_escape_stays_as_it_is() {
        for json in ["\\", "\\u", "\\ud8", "\"\\ud83", "\\u+d83", "a\\é\\u00é", "\\ud83é"] {
            assert_eq!(replace_lone_surrogates(json), json);
        }
    }
}
