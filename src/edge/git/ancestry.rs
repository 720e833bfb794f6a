//! Whether one commit descends from another, as far as the stored history can tell.
//!
//! Enters: a repository and two commit ids. Leaves: a [`Relation`]. It fetches nothing.

use std::collections::BTreeSet;

use git2::{ErrorCode, Oid, Repository};

/// A generation is one step towards the root; merges make it wider. Above this the answer is taken to be no.
const COMMITS_MAX: usize = 50_000;

/// How a head relates to an older commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// It descends from it, or is it.
    Descends,
    /// It does not, within the generations looked at.
    Stranger,
    /// The stored history ends too early to say.
    Unknown,
}

/// Walks from `head` towards the root, generation by generation, looking for `ancestor`.
///
/// Parents are read from the commit's own bytes: libgit2 hides those of a commit at the shallow boundary, but the commit
/// still names them, so that one more commit on top of a known one is recognised without fetching history.
pub(super) fn relate(
    repository: &Repository,
    head: Oid,
    ancestor: Oid,
    generations_max: i32,
) -> Result<Relation, git2::Error> {
    let mut seen = BTreeSet::from([head]);
    let mut generation = vec![head];
    let mut is_cut = false;
    for _ in 0..generations_max {
        let mut parents = Vec::new();
        for id in &generation {
            if *id == ancestor {
                return Ok(Relation::Descends);
            }
            match repository.find_commit(*id) {
                Ok(commit) => parents.extend(raw_parents(commit.raw_header_bytes()).filter(|id| seen.insert(*id))),
                Err(error) if error.code() == ErrorCode::NotFound => is_cut = true,
                Err(error) => return Err(error),
            }
        }
        if parents.contains(&ancestor) {
            return Ok(Relation::Descends);
        }
        if parents.is_empty() || seen.len() > COMMITS_MAX {
            break;
        }
        generation = parents;
    }
    Ok(if is_cut { Relation::Unknown } else { Relation::Stranger })
}

/// The parents that a commit names.
pub(super) fn raw_parents(header: &[u8]) -> impl Iterator<Item = Oid> {
    header
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"parent "))
        .filter_map(|id| Oid::from_str(std::str::from_utf8(id).ok()?).ok())
}
