//! What a reference stands for: which ref of those that there are, how it is shown, and what to say when there is none.
//!
//! Enters: a [`Reference`], names of refs. Leaves: a [`Target`] or the error. No I/O.

use git2::Oid;

use super::refs::Ref;
use crate::model::Reference;
use crate::world::SourceError;

/// What a reference stands for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The reference, and the tag that a range was resolved to: for people.
    pub(super) shown: String,
    /// What a fetch asks for: a ref's whole name, or a commit.
    pub(super) want: String,
    /// The commit.
    pub(super) commit: Oid,
    /// What the ref itself points at, where the server has told: the commit, or an annotated tag.
    pub(super) tip: Option<String>,
}

impl Target {
    /// A target from the ref that [`choose`] chose.
    pub(super) fn new(reference: &Reference, chosen: &str, commit: Oid) -> Self {
        let shown = match reference {
            Reference::Default => chosen.strip_prefix("refs/heads/").unwrap_or(chosen).to_owned(),
            Reference::Branch(_) | Reference::Tag(_) | Reference::Commit(_) => reference.to_string(),
            Reference::Range(_) => format!("{reference} ({})", chosen.strip_prefix("refs/tags/").unwrap_or(chosen)),
        };
        Self { shown, want: chosen.to_owned(), commit, tip: None }
    }

    /// The target of a reference that is a commit already.
    pub(super) fn pinned(reference: &Reference) -> Result<Option<Self>, SourceError> {
        let Reference::Commit(id) = reference else { return Ok(None) };
        Ok(Some(Self::new(reference, id, object_id(id)?)))
    }
}

/// Reads an object id that a server or a user wrote.
pub(super) fn object_id(text: &str) -> Result<Oid, SourceError> {
    Oid::from_str(text).ok().filter(|_| text.len() == 40).ok_or_else(unsupported)
}

/// What to say of a repository whose objects have other ids.
pub(super) fn unsupported() -> SourceError {
    SourceError::Corrupt("repositories with SHA-256 object ids are not supported".to_owned())
}

/// What the names of all refs that matter start with.
pub(super) fn prefix(reference: &Reference) -> String {
    match reference {
        Reference::Default => "HEAD".to_owned(),
        Reference::Branch(name) => format!("refs/heads/{name}"),
        Reference::Tag(name) => format!("refs/tags/{name}"),
        Reference::Range(range) => format!("refs/tags/{}", range.prefix()),
        Reference::Commit(id) => id.clone(),
    }
}

/// The whole name of the ref that is meant.
pub(super) fn choose<'a>(reference: &Reference, mut names: impl Iterator<Item = &'a str>) -> Option<String> {
    match reference {
        Reference::Default | Reference::Branch(_) | Reference::Tag(_) | Reference::Commit(_) => {
            let wanted = prefix(reference);
            names.any(|name| name == wanted).then_some(wanted)
        }
        Reference::Range(range) => range.newest(tags(names)).map(|tag| format!("refs/tags/{tag}")),
    }
}

fn tags<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    names.filter_map(|name| name.strip_prefix("refs/tags/"))
}

/// What to say of a reference that leads nowhere in a repository that has other refs. `listed` are those below its prefix,
/// `default_branch` is the whole name of what `HEAD` stands for.
pub(super) fn absent<'a>(
    reference: &Reference,
    listed: impl Iterator<Item = &'a str>,
    default_branch: Option<&str>,
) -> SourceError {
    let default_branch = default_branch.and_then(|name| name.strip_prefix("refs/heads/"));
    SourceError::NoReference(match (reference, default_branch) {
        (Reference::Default, Some(default)) => {
            format!("the repository's default branch is `{default}`, and there is no such branch")
        }
        (Reference::Default, None) => "the repository has no default branch; say which `revision` is meant".to_owned(),
        (Reference::Branch(name), Some(default)) => {
            format!("branch `{name}` does not exist in the repository; its default branch is `{default}`")
        }
        (Reference::Branch(name), None) => format!("branch `{name}` does not exist in the repository"),
        (Reference::Tag(name), _) => format!("tag `{name}` does not exist in the repository"),
        (Reference::Commit(id), _) => format!("commit {id} is not in the repository"),
        (Reference::Range(range), _) => match range.newest_of_all(tags(listed)) {
            Some(newest) => format!("no tag fits the range `{reference}`: the newest version is `{newest}`"),
            None => format!("no tag fits the range `{reference}`: none is a version"),
        },
    })
}

/// What to say of a repository without any ref.
pub(super) fn empty(reference: &Reference) -> SourceError {
    let what = match reference {
        Reference::Default => "branch".to_owned(),
        Reference::Branch(name) => format!("branch `{name}`"),
        Reference::Tag(name) => format!("tag `{name}`"),
        Reference::Commit(id) => format!("commit {id}"),
        Reference::Range(_) => format!("tag in the range `{reference}`"),
    };
    SourceError::NoRepository(format!("it has no commits, and no {what}"))
}

/// What a server may not let us have: a commit that is no head of anything.
pub(super) fn withheld(id: &str) -> SourceError {
    SourceError::NoReference(format!(
        "commit {id} is not in the repository, or the server does not give commits by their id: it must allow that \
         (uploadpack.allowAnySHA1InWant), or follow a tag of that commit"
    ))
}

/// The commit that a listed ref leads to.
pub(super) fn commit_of(found: &Ref) -> Result<Oid, SourceError> {
    object_id(found.peeled.as_ref().unwrap_or(&found.id))
}
