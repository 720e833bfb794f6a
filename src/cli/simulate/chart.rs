//! Small charts of counts over time: a line of blocks for each count. Enters: counts with their times. Leaves: text.

/// Eighths of a block, from one to eight.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same for terminals without them.
const ASCII: [char; 8] = ['.', ':', '-', '=', '+', '*', '#', '@'];

/// One line of a chart: what counted `values` (each from its time on, in milliseconds), over `length` milliseconds.
pub(super) fn line(values: &[(u64, usize)], length: u64, most: usize, columns: usize, is_ascii: bool) -> String {
    let marks = if is_ascii { ASCII } else { BLOCKS };
    let mark = |value: usize| match value {
        0 => ' ',
        // Something is never shown as nothing, and only everything as everything.
        _ => marks[((value * marks.len()).div_ceil(most.max(1)).min(marks.len())) - 1],
    };
    let columns_all = columns as u64;
    let at = |column: u64| {
        let end = (column + 1) * length / columns_all.max(1);
        values.iter().take_while(|(at, _)| *at <= end).last().map_or(0, |(_, value)| *value)
    };
    (0..columns_all).map(|column| mark(at(column))).collect()
}

/// A line with a number wherever something begins.
pub(super) fn starts(times: &[u64], length: u64, columns: usize) -> String {
    let mut line = vec![' '; columns];
    for (index, time) in times.iter().enumerate() {
        let column = (*time * columns as u64 / length.max(1)).min(columns.saturating_sub(1) as u64);
        let number = (index + 1).to_string();
        let column = usize::try_from(column).unwrap_or_default();
        for (offset, digit) in number.chars().enumerate() {
            if let Some(place) = line.get_mut(column + offset) {
                *place = digit;
            }
        }
    }
    line.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_follows_the_counts() {
        // A column shows what counts at its end: the eight end at 125, 250, ..., 1000.
        let values = [(0, 10), (500, 5), (750, 1), (900, 0)];
        assert_eq!(line(&values, 1000, 10, 8, false), "███▄▄▁▁ ");
        assert_eq!(line(&values, 1000, 10, 8, true), "@@@==.. ");
    }

    #[test]
    fn numbers_stand_where_things_begin() {
        assert_eq!(starts(&[0, 500, 990], 1000, 10), "1    2   3");
    }
}
