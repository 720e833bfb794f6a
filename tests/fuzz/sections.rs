//! Bytes of the fuzzer -> the files of some commits, in the form of the cases of `tests/validate`: a line `=== path` opens a
//! file, `=== commit` another commit. So those cases are seeds as they are.

use std::collections::BTreeMap;

/// Files by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Commits of one input: more tell nothing that two do not.
const COMMITS_MAX: usize = 4;

/// Cuts an input. What stands before the first line of this kind is the file `first.yaml`.
pub(crate) fn commits(data: &[u8]) -> Vec<Files> {
    let mut commits = vec![Files::new()];
    let mut path = "first.yaml".to_owned();
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"=== ").map(|title| String::from_utf8_lossy(title.trim_ascii_end()).into_owned()) {
            Some(title) if title == "commit" && commits.len() < COMMITS_MAX => commits.push(Files::new()),
            Some(title) => path = title,
            None => {
                let files = commits.last_mut().expect("there is one from the beginning");
                files.entry(path.clone()).or_default().extend_from_slice(line);
            }
        }
    }
    commits
}
