//! A version line of a file -> the same file with another version, and not a byte else changed.
//!
//! Enters: the text of a file, where the version stands, and the new one. Leaves: the new text. Quotes, comments and
//! style stay; a version that YAML would read as something else gets quotes. Whoever writes the result reads it again
//! first: what an edit means is said by the parser alone.

use granit_parser::{Event, Parser, ScalarStyle};

use super::problem::Position;
use super::scalar::{Resolved, resolve};
use super::tree::{Scalar, pieces};

/// Why a version cannot be edited in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotEdit {
    /// Nothing that is one word stands there.
    #[error("no single value stands there")]
    NoScalar,
    /// It is written as a block (`|` or `>`).
    #[error("it is written as a block (`|` or `>`): write it on one line")]
    Block,
}

/// Replaces the value that begins at `line` and `column` (both from 1, in characters).
///
/// # Errors
/// When no value on one line begins there.
pub fn with_value(text: &str, line: usize, column: usize, value: &str) -> Result<String, CannotEdit> {
    let wanted = Position::new(line, column);
    let mut offset = 0;
    for piece in pieces(text) {
        for next in Parser::new_from_str(piece.text) {
            // What follows a syntax error is in another piece.
            let Ok((event, span)) = next else { break };
            let at = Position::new(span.start.line() + piece.lines_before, span.start.col() + 1);
            let Event::Scalar(_, style, _, _) = event else { continue };
            let Some(range) = span.byte_range().filter(|_| at == wanted) else { continue };
            let (start, end) = (offset + range.start, offset + range.end);
            let written = text.get(start..end).ok_or(CannotEdit::NoScalar)?;
            let new = match style {
                ScalarStyle::Plain if written.is_empty() => return Err(CannotEdit::NoScalar),
                ScalarStyle::Plain => plain(value),
                ScalarStyle::SingleQuoted => format!("'{}'", value.replace('\'', "''")),
                ScalarStyle::DoubleQuoted => double_quoted(value),
                // The parser's enum is open; what is neither plain nor quoted is a block.
                _ => return Err(CannotEdit::Block),
            };
            return Ok(format!("{}{new}{}", &text[..start], &text[end..]));
        }
        offset += piece.text.len();
    }
    Err(CannotEdit::NoScalar)
}

/// Words that YAML 1.1, which many tools still read, takes for true and false.
const TRUTHS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];

/// The value without quotes where every reader of YAML takes it for this text, also within `{}` and `[]`.
fn plain(value: &str) -> String {
    let scalar = Scalar { text: value.to_owned(), is_plain: true };
    let is_simple = value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-/~".contains(&byte));
    let is_truth = TRUTHS.contains(&value.to_ascii_lowercase().as_str());
    // 2026-01-02 is a date to some; 1e3 and 0x1F are numbers to some: only digits, dots and letters that cannot be either.
    let is_date = value.len() >= 8 && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_simple && !is_truth && !is_date && resolve(&scalar) == Resolved::Text {
        value.to_owned()
    } else {
        double_quoted(value)
    }
}

fn double_quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file after an edit of what begins at the first `1.4.2` or its quote.
    fn edited(text: &str, value: &str) -> Result<String, CannotEdit> {
        let at = text.find("1.4.2").expect("the old version is there");
        let at = if text[..at].ends_with(['"', '\'']) { at - 1 } else { at };
        let line = text[..at].matches('\n').count() + 1;
        let column = text[..at].rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        with_value(text, line, column, value)
    }

    #[test]
    fn only_the_characters_of_the_version_change() {
        for text in [
            "version: 1.4.2\n",
            "spec:\n  version:   1.4.2   # bumped by hand\n  plan: a\n",
            "version: \"1.4.2\" # quoted\n",
            "{version: '1.4.2', plan: a}\n",
            "{plan: {a: [b]}, version: 1.4.2}",
            "spec: {version: 1.4.2, é: ü}\r\nother: 1\r\n",
            "# é ü 漢\n---\na: 1\n---\n  é: 漢\n  version: 1.4.2\n...\n---\nb: 1.4.2\n",
            "version: &v 1.4.2\nimages: [{tag: *v}]\n",
            "version: !!str 1.4.2\n",
            "version:\n  1.4.2\n",
            "? version\n: 1.4.2\n",
            "version: 1.4.2",
        ] {
            assert_eq!(edited(text, "1.5.0"), Ok(text.replacen("1.4.2", "1.5.0", 1)), "{text}");
        }
    }

    #[test]
    fn what_yaml_would_not_read_as_text_gets_quotes() {
        for (value, wanted) in [
            ("1.5.0", "1.5.0"),
            ("v1", "v1"),
            ("1.5.0-rc.1+build", "1.5.0-rc.1+build"),
            ("release/7", "release/7"),
            ("1.10", "\"1.10\""),
            ("017", "\"017\""),
            ("7", "\"7\""),
            ("1e3", "\"1e3\""),
            ("0x1F", "\"0x1F\""),
            ("1_000", "\"1_000\""),
            ("yes", "\"yes\""),
            ("No", "\"No\""),
            ("null", "\"null\""),
            ("~", "\"~\""),
            ("2026-01-02", "\"2026-01-02\""),
            ("-1", "\"-1\""),
            ("*v", "\"*v\""),
            ("a:b", "\"a:b\""),
            ("{a}", "\"{a}\""),
            ("a\"b\\c", "\"a\\\"b\\\\c\""),
        ] {
            assert_eq!(edited("{version: 1.4.2}", value), Ok(format!("{{version: {wanted}}}")));
            let quoted = edited("{version: '1.4.2'}", value).expect("it can be edited");
            assert_eq!(quoted, format!("{{version: '{value}'}}"));
            let document: serde_json::Value = serde_saphyr::from_str(&format!("{{version: {wanted}}}")).expect("YAML");
            assert_eq!(document["version"], value);
        }
    }

    #[test]
    fn what_is_no_word_on_one_line_is_not_edited() {
        assert_eq!(edited("version: |\n  1.4.2\n", "1"), Err(CannotEdit::Block));
        assert_eq!(with_value("version: [1.4.2]\n", 1, 10, "1"), Err(CannotEdit::NoScalar));
        assert_eq!(with_value("version:\n", 1, 1, "1").map(|text| text.contains(": 1")), Ok(false));
        assert_eq!(with_value("version: 1.4.2\n", 2, 10, "1"), Err(CannotEdit::NoScalar));
    }
}
