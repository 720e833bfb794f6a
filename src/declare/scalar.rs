//! What plain words in YAML mean: numbers, booleans, durations, sizes of waves.
//!
//! Enters: a scalar as written. Leaves: its value. Where YAML 1.1 (kubectl) and 1.2 disagree about a number, neither
//! reading is taken: it is refused by whoever wants a number and by whoever wants text.

use serde_json::Value;

use super::tree::{Content, Node, Scalar};
use crate::model::{Millis, Replicas};

/// What a scalar is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Resolved {
    /// Nothing, `~` or `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Whole(i64),
    /// Any other number.
    Number(f64),
    /// Looks like a number, and readers of YAML disagree which: `0644`, `1_000`, `0x1F`, `1:30`.
    Disputed,
    /// Text.
    Text,
}

/// Finds out what a scalar is.
pub(super) fn resolve(scalar: &Scalar) -> Resolved {
    if !scalar.is_plain {
        return Resolved::Text;
    }
    match scalar.text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "true" | "True" | "TRUE" => Resolved::Boolean(true),
        "false" | "False" | "FALSE" => Resolved::Boolean(false),
        ".nan" | ".NaN" | ".NAN" => Resolved::Number(f64::NAN),
        text => resolve_number(text),
    }
}

fn resolve_number(text: &str) -> Resolved {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Resolved::Number(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.contains(|c: char| c.is_ascii_digit())
    {
        return Resolved::Text;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            return Resolved::Disputed;
        }
        return text.parse().map_or_else(|_| Resolved::Number(text.parse().unwrap_or(f64::NAN)), Resolved::Whole);
    }
    if unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && let Ok(number) = text.parse()
    {
        return Resolved::Number(number);
    }
    let is_radix = ["0x", "0o", "0b"].iter().any(|prefix| {
        unsigned.strip_prefix(prefix).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_'))
    });
    let is_grouped = unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'_' | b'.')) && unsigned.contains('_');
    let is_sexagesimal = unsigned.contains(':')
        && unsigned.split(':').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if is_radix || is_grouped || is_sexagesimal { Resolved::Disputed } else { Resolved::Text }
}

/// The tree as JSON, as it was written.
pub(super) fn to_json(node: &Node) -> Value {
    match &node.content {
        Content::Scalar(scalar) => match resolve(scalar) {
            Resolved::Null => Value::Null,
            Resolved::Boolean(boolean) => Value::Bool(boolean),
            Resolved::Whole(number) => Value::from(number),
            Resolved::Number(number) => Value::from(number),
            Resolved::Disputed | Resolved::Text => Value::from(scalar.text.as_str()),
        },
        Content::Sequence(items) => items.iter().map(to_json).collect(),
        Content::Mapping(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), to_json(&entry.value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// Reads `30s`, `5m`, `1h`, `500ms`, and larger before smaller units: `1h30m`.
pub(super) fn duration(text: &str) -> Option<Millis> {
    let mut rest = text;
    let mut total: u64 = 0;
    let mut unit_last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        rest = &rest[letters..];
        if unit >= unit_last {
            return None;
        }
        unit_last = unit;
        total = number.checked_mul(unit).and_then(|millis| total.checked_add(millis))?;
    }
    (!text.is_empty()).then_some(Millis(total))
}

/// Thirty days: longer than any bake that somebody means; `720h` is the longest that is accepted.
pub(super) const DURATION_MAX: Millis = Millis(30 * 24 * 3_600_000);

/// Reads the size of a wave: a count from 1, `1%` to `100%`, or `all`. The error says what is wrong with it, and what
/// to write.
pub(super) fn replicas(scalar: &Scalar) -> Result<Replicas, (String, String)> {
    let text = super::problem::shown(&scalar.text);
    let hint = || "write a count (1), a share (\"25%\") or all".to_owned();
    match resolve(scalar) {
        Resolved::Whole(0) => Err(("a wave of 0 pods is no wave".to_owned(), hint())),
        Resolved::Whole(count) => {
            u32::try_from(count).map(Replicas::Count).map_err(|_| (format!("`{text}` is out of range"), hint()))
        }
        Resolved::Text if scalar.text == "all" => Ok(Replicas::Percent(100)),
        Resolved::Text => match scalar.text.strip_suffix('%') {
            Some(share) => match share.parse::<u32>() {
                Ok(percent @ 1..=100) if !share.starts_with(['0', '+']) => Ok(Replicas::Percent(percent)),
                Ok(_) => Err((format!("`{text}` is out of range"), "a share is \"1%\" to \"100%\"".to_owned())),
                Err(_) => Err((format!("`{text}` is no whole share"), "a share is \"1%\" to \"100%\"".to_owned())),
            },
            None if scalar.text.parse::<u32>().is_ok() => {
                Err((format!("\"{text}\" is text"), format!("write the count without quotes: {text}")))
            }
            None => Err((format!("`{text}` is no size of a wave"), hint())),
        },
        Resolved::Null => Err(("has no value".to_owned(), hint())),
        Resolved::Boolean(_) | Resolved::Number(_) | Resolved::Disputed => {
            Err((format!("`{text}` is no size of a wave"), hint()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_mean_what_yaml_says_and_disputed_numbers_mean_nothing() {
        for (text, expected) in [
            ("", Resolved::Null),
            ("null", Resolved::Null),
            ("true", Resolved::Boolean(true)),
            ("yes", Resolved::Text),
            ("0", Resolved::Whole(0)),
            ("-3", Resolved::Whole(-3)),
            ("1.4", Resolved::Number(1.4)),
            ("1e3", Resolved::Number(1000.0)),
            (".5", Resolved::Number(0.5)),
            ("99999999999999999999", Resolved::Number(1e20)),
            ("1.4.0", Resolved::Text),
            ("1-2", Resolved::Text),
            (".", Resolved::Text),
            ("0644", Resolved::Disputed),
            ("1_000", Resolved::Disputed),
            ("0x1F", Resolved::Disputed),
            ("1:30", Resolved::Disputed),
            ("v1", Resolved::Text),
            ("25%", Resolved::Text),
        ] {
            assert_eq!(resolve(&Scalar { text: text.to_owned(), is_plain: true }), expected, "{text}");
        }
        assert_eq!(resolve(&Scalar { text: "1".to_owned(), is_plain: false }), Resolved::Text);
    }

    #[test]
    fn durations_have_a_unit_and_larger_units_come_first() {
        for (text, expected) in [
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("500ms", Some(500)),
            ("0s", Some(0)),
            ("1h30m", Some(5_400_000)),
            ("", None),
            ("30", None),
            ("s", None),
            ("1.5h", None),
            ("-1s", None),
            ("5 m", None),
            ("30m1h", None),
            ("1s1s", None),
            ("1d", None),
            ("99999999999999999999h", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(duration(text), expected.map(Millis), "{text}");
        }
    }
}
