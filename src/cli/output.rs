//! What people and scripts read: aligned tables, JSON, YAML, ages.

use std::io::Write;

use serde_json::Value;

use crate::model::Timestamp;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Writes to standard output. A reader that went away (`| head`) is no error of ours.
pub(super) fn print(text: &str) {
    let _reader_went_away = std::io::stdout().write_all(text.as_bytes());
}

/// Writes one line to standard error.
pub(super) fn complain(text: &str) {
    let _reader_went_away = writeln!(std::io::stderr(), "{text}");
}

/// `value` as YAML.
pub(super) fn yaml(value: &Value) -> anyhow::Result<String> {
    let mut text = serde_saphyr::to_string(value)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// `value` as JSON for people.
pub(super) fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Rows under a header, columns aligned, two spaces apart. Control characters are not passed on to a terminal.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect::<Vec<_>>()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or_default().max(header[column].len())
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut header.iter().copied());
    for row in &rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// One line for a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// How long ago `since` was, in one or two units: `40s`, `5m10s`, `3h2m`, `12d`.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        ..60 => format!("{seconds}s"),
        60..600 => format!("{minutes}m{}s", seconds % 60),
        600..3600 => format!("{minutes}m"),
        3600..36_000 => format!("{hours}h{}m", minutes % 60),
        36_000..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

/// The text, number or truth at a JSON pointer, for a cell; `-` when there is none.
pub(super) fn cell(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_)) | None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let rows = vec![vec!["a\u{1b}[31m".to_owned(), "1".to_owned()], vec!["long-name".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "N"], &rows), "NAME       N\na [31m     1\nlong-name\n");
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in
            [(-5, "0s"), (59, "59s"), (61, "1m1s"), (700, "11m"), (3700, "1h1m"), (50_000, "13h"), (900_000, "10d")]
        {
            let now = Timestamp::from_second(2_000_000 + seconds).unwrap();
            assert_eq!(age(Timestamp::from_second(2_000_000).unwrap(), now), text);
        }
    }
}
