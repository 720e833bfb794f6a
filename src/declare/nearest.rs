//! Which known word somebody probably meant.
//!
//! Enters: a word and the words that are known. Leaves: the one that is a slip of the finger away, if there is one.

/// The candidate nearest to `word`, when it is near enough to be a slip: one edit for each three characters, case not
/// counted.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(LENGTH_MAX).flat_map(char::to_lowercase).collect();
    let edits_max = (word.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let letters: Vec<char> = candidate.chars().take(LENGTH_MAX).flat_map(char::to_lowercase).collect();
            (edits(&word, &letters), candidate)
        })
        .filter(|(edits, candidate)| *edits <= edits_max && *edits < candidate.chars().count())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// `did you mean ...?`, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// Characters looked at: comparing is quadratic, and no name of ours is longer.
const LENGTH_MAX: usize = 64;

/// Edits (insert, delete, replace, swap neighbours) that turn one word into the other.
fn edits(left: &[char], right: &[char]) -> usize {
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=left.len() {
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_another_word_finds_none() {
        let words = ["replicas", "bake", "timeout", "analysis", "selfHeal"];
        for (word, expected) in [
            ("replica", Some("replicas")),
            ("Replicas", Some("replicas")),
            ("bkae", Some("bake")),
            ("time_out", Some("timeout")),
            ("self-heal", Some("selfHeal")),
            ("colour", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }
}
