//! A plain YAML scalar -> what SOPS takes it for, as the bytes that its MAC covers.
//!
//! SOPS reads YAML with Go's yaml.v3, whose rules are not those of kubectl: `yes` is a text, `0o17` and `017` are 15, a date
//! is a time. What is left out here (a few spellings that SOPS itself never writes) ends in a MAC that does not match,
//! never in a value that is wrong.

use std::sync::LazyLock;

use jiff::civil::Date;
use regex::Regex;

use super::tree::Node;

static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$").expect("the pattern is a constant")
});

/// Date, time, fraction and zone of a time.
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(\d{4})-(\d{1,2})-(\d{1,2})(?:([Tt ])(\d{1,2}):(\d{1,2}):(\d{1,2})(\.\d{1,9})?(Z|[-+]\d\d:\d\d)?)?$")
        .expect("the pattern is a constant")
});

/// What a plain scalar is.
pub(super) fn plain(text: &str) -> Node {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Node::Null,
        "true" | "True" | "TRUE" => return Node::Plain("True".to_owned()),
        "false" | "False" | "FALSE" => return Node::Plain("False".to_owned()),
        ".nan" | ".NaN" | ".NAN" => return Node::Plain("NaN".to_owned()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Node::Plain("+Inf".to_owned()),
        "-.inf" | "-.Inf" | "-.INF" => return Node::Plain("-Inf".to_owned()),
        _ => {}
    }
    let is_number = text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.'));
    if !is_number {
        return Node::Text(text.to_owned());
    }
    let without = text.replace('_', "");
    let number = time(text).or_else(|| integer(&without)).or_else(|| float(&without));
    number.map_or_else(|| Node::Text(text.to_owned()), Node::Plain)
}

/// A float as SOPS writes it: without an exponent, and without a fraction that is zero.
pub(super) fn float_text(number: f64) -> String {
    number.to_string()
}

fn integer(text: &str) -> Option<String> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let (base, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some(two) if two.starts_with('0') => (8, &digits[1..]),
        Some(_) | None => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), base).ok().map(|number| number.to_string())
}

fn float(text: &str) -> Option<String> {
    let is_float = FLOAT.is_match(text);
    let number: f64 = is_float.then(|| text.parse().ok()).flatten()?;
    number.is_finite().then(|| float_text(number))
}

/// A time as RFC 3339 writes it, without zeros at the end of the fraction.
fn time(text: &str) -> Option<String> {
    let parts = TIME.captures(text)?;
    let number = |index: usize| parts.get(index).map_or(Some(0), |part| part.as_str().parse::<i8>().ok());
    let year: i16 = parts[1].parse().ok()?;
    let date = Date::new(year, number(2)?, number(3)?).ok()?;
    let (hour, minute, second) = (number(5)?, number(6)?, number(7)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let zone = parts.get(9).map(|zone| zone.as_str());
    // Only a time after a space goes without a zone, and only there.
    let zone = match (parts.get(4).map(|between| between.as_str()), zone) {
        (None | Some(" "), None) => "Z",
        (Some("T" | "t"), Some("+00:00" | "-00:00")) => "Z",
        (Some("T" | "t"), Some(zone)) => zone,
        _ => return None,
    };
    let fraction = parts.get(8).map_or("", |part| part.as_str().trim_end_matches('0').trim_end_matches('.'));
    let (year, month, day) = (date.year(), date.month(), date.day());
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"))
}
