//! The files of a commit, and what differs between two.
//!
//! Enters: a repository's trees and the files of the commit before. Leaves: the flat map of files and the paths that
//! differ. Folders that did not change are not entered, so that the work is proportional to the change. A tree is data
//! from outside: names that could lead out of a folder are refused, and size, depth and number are bounded.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use git2::{ErrorCode, ObjectType, Odb, Oid, Repository, Tree};

use super::store::Failure;
use crate::world::{BlobId, Entry, Files, SourceError};

/// Ten times the manifests of a large fleet; at about 200 bytes each the map takes 40 MB.
const ENTRIES_MAX: usize = 200_000;

/// A path is kept in memory for as long as its snapshot: 200,000 of 320 bytes.
const PATH_BYTES_TOTAL_MAX: usize = 64 << 20;

/// What Linux takes as a path.
const PATH_BYTES_MAX: usize = 4096;

/// Folders within folders; also bounds the recursion's stack.
const DEPTH_MAX: usize = 128;

const MODE_EXECUTABLE: i32 = 0o100_755;
const MODE_LINK: i32 = 0o120_000;
const MODE_SUBMODULE: i32 = 0o160_000;

/// Limits of the number of entries, so that tests reach them.
#[derive(Clone, Copy)]
pub(super) struct EntryLimit(pub(super) usize);

impl Default for EntryLimit {
    fn default() -> Self {
        Self(ENTRIES_MAX)
    }
}

/// Turns the files of tree `old` into those of tree `new` and returns the paths that differ, in order. Without `old`,
/// `files` must be empty.
pub(super) fn advance(
    repository: &Repository,
    files: &mut Files,
    old: Option<Oid>,
    new: Oid,
    limit: EntryLimit,
) -> Result<Vec<String>, Failure> {
    let odb = repository.odb()?;
    let mut walk = Walk { repository, odb, files, changed: BTreeSet::new(), visited: 0, path_bytes: 0, limit };
    walk.compare("", old, Some(new), 0)?;
    if walk.files.len() > limit.0 {
        return Err(too_many(limit));
    }
    Ok(walk.changed.into_iter().collect())
}

struct Walk<'a> {
    repository: &'a Repository,
    odb: Odb<'a>,
    files: &'a mut Files,
    changed: BTreeSet<String>,
    visited: usize,
    path_bytes: usize,
    limit: EntryLimit,
}

/// One entry of one tree.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Node {
    id: Oid,
    kind: Kind,
    /// Nothing here depends on it, but Git counts its change as one.
    is_executable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Link,
    Submodule,
}

impl Node {
    /// The tree to enter, when it is one.
    fn folder(self) -> Option<Oid> {
        match self.kind {
            Kind::Folder => Some(self.id),
            Kind::File | Kind::Link | Kind::Submodule => None,
        }
    }
}

impl<'a> Walk<'a> {
    fn compare(&mut self, prefix: &str, old: Option<Oid>, new: Option<Oid>, depth: usize) -> Result<(), Failure> {
        if depth > DEPTH_MAX {
            let text = format!("`{prefix}` lies more than {DEPTH_MAX} folders deep");
            return Err(SourceError::TooLarge(text).into());
        }
        let (old, new) = (self.tree(prefix, old)?, self.tree(prefix, new)?);
        let alike = Alike::of(old.as_ref(), new.as_ref());
        let mut before = nodes(prefix, old.as_ref(), alike)?;
        for (name, node) in nodes(prefix, new.as_ref(), alike)? {
            let previous = before.remove(&name);
            if previous == Some(node) {
                continue;
            }
            let path = join(prefix, &name)?;
            let previous_folder = previous.and_then(Node::folder);
            if previous_folder.is_none() && previous.is_some() {
                self.remove(&path);
            }
            if previous_folder.is_some() || node.folder().is_some() {
                self.compare(&path, previous_folder, node.folder(), depth + 1)?;
            }
            self.add(path, node)?;
        }
        for (name, node) in before {
            let path = join(prefix, &name)?;
            match node.folder() {
                Some(folder) => self.compare(&path, Some(folder), None, depth + 1)?,
                None => self.remove(&path),
            }
        }
        Ok(())
    }

    /// Opens a tree, if there is one.
    fn tree(&mut self, prefix: &str, id: Option<Oid>) -> Result<Option<Tree<'a>>, Failure> {
        let Some(id) = id else { return Ok(None) };
        let tree = self.repository.find_tree(id).map_err(|error| match self.odb.read_header(id) {
            Ok((_, kind)) if kind != ObjectType::Tree => {
                SourceError::Corrupt(format!("`{prefix}` is listed as a folder and is none")).into()
            }
            Ok(_) | Err(_) => unreadable(prefix, &error),
        })?;
        // A comparison visits two trees. Folders count, or trees that hold only each other would never end.
        self.visited += tree.len();
        if self.visited > self.limit.0.saturating_mul(2) {
            return Err(too_many(self.limit));
        }
        Ok(Some(tree))
    }

    fn remove(&mut self, path: &str) {
        self.files.remove(path);
        self.changed.insert(path.to_owned());
    }

    fn add(&mut self, path: String, node: Node) -> Result<(), Failure> {
        let entry = match node.kind {
            Kind::Folder => return Ok(()),
            Kind::Link => Entry::Link,
            Kind::Submodule => Entry::Submodule,
            Kind::File => {
                let (bytes, kind) = self.odb.read_header(node.id).map_err(|error| unreadable(&path, &error))?;
                if kind != ObjectType::Blob {
                    return Err(SourceError::Corrupt(format!("`{path}` is listed as a file and is none")).into());
                }
                Entry::File { blob: BlobId(node.id.to_string()), bytes: bytes as u64 }
            }
        };
        self.path_bytes += path.len();
        if self.path_bytes > PATH_BYTES_TOTAL_MAX {
            return Err(SourceError::TooLarge("the repository's file names are too long together".to_owned()).into());
        }
        self.changed.insert(path.clone());
        self.files.insert(path, entry);
        Ok(())
    }
}

/// How many entries two trees begin with, and end with, that are the same in both. A folder of thousands in which one changed
/// costs little more than that one.
#[derive(Clone, Copy, Default)]
struct Alike {
    first: usize,
    last: usize,
}

impl Alike {
    fn of(old: Option<&Tree<'_>>, new: Option<&Tree<'_>>) -> Self {
        let (Some(old), Some(new)) = (old, new) else { return Self::default() };
        let shorter = old.len().min(new.len());
        let is_same = |(one, other): (usize, usize)| {
            let (Some(one), Some(other)) = (old.get(one), new.get(other)) else { return false };
            one.id() == other.id() && one.filemode() == other.filemode() && one.name_bytes() == other.name_bytes()
        };
        let first = (0..shorter).take_while(|at| is_same((*at, *at))).count();
        let from_end = (1..=shorter - first).map(|back| (old.len() - back, new.len() - back));
        Self { first, last: from_end.take_while(|at| is_same(*at)).count() }
    }

    /// Whether an entry of a tree with so many is one of them.
    fn has(self, index: usize, length: usize) -> bool {
        index < self.first || index >= length - self.last
    }
}

/// The entries of a tree by name, without those that are alike; none for no tree.
fn nodes(prefix: &str, tree: Option<&Tree<'_>>, alike: Alike) -> Result<BTreeMap<String, Node>, Failure> {
    let mut nodes = BTreeMap::new();
    let Some(tree) = tree else { return Ok(nodes) };
    let refuse = |name: &str, why: &str| {
        let path = format!("{prefix}/{name}");
        Failure::from(SourceError::Corrupt(format!("`{}` is {why}", path.trim_start_matches('/'))))
    };
    // Which of them is meant, readers of Git disagree about.
    let twice = |name: &str| refuse(name, "listed twice");
    let entries = || tree.iter().enumerate().map(|(index, entry)| (alike.has(index, tree.len()), entry));
    for (_, entry) in entries().filter(|(is_alike, _)| !is_alike) {
        let kind = match (entry.filemode(), entry.kind()) {
            (MODE_LINK, _) => Kind::Link,
            (MODE_SUBMODULE, _) => Kind::Submodule,
            (_, Some(ObjectType::Tree)) => Kind::Folder,
            (_, Some(_) | None) => Kind::File,
        };
        let is_executable = entry.filemode() == MODE_EXECUTABLE;
        let name = shown(entry.name_bytes()).into_owned();
        if !is_harmless(entry.name_bytes()) {
            return Err(refuse(&name, "not a name that a file may have"));
        }
        if nodes.contains_key(&name) {
            return Err(twice(&name));
        }
        nodes.insert(name, Node { id: entry.id(), kind, is_executable });
    }
    // Those that are alike were looked at when the other tree was new; among themselves they differ.
    let mut known = entries().filter(|(is_alike, _)| *is_alike).map(|(_, entry)| entry);
    match known.find(|entry| nodes.contains_key(&*shown(entry.name_bytes()))) {
        Some(entry) => Err(twice(&shown(entry.name_bytes()))),
        None => Ok(nodes),
    }
}

/// Whether a name stays within its folder, on any system where someone may check it out.
fn is_harmless(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && !name.eq_ignore_ascii_case(b".git")
        && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// A name as text. One that is not UTF-8 is escaped as Git itself shows it: such a file is of no use to us, but must not stop
/// those that are.
fn shown(name: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(name).map_or_else(|_| Cow::Owned(name.escape_ascii().to_string()), Cow::Borrowed)
}

fn join(prefix: &str, name: &str) -> Result<String, Failure> {
    let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
    if path.len() > PATH_BYTES_MAX {
        let start: String = path.chars().take(80).collect();
        let text = format!("the path that starts with `{start}` has more than {PATH_BYTES_MAX} bytes");
        return Err(SourceError::TooLarge(text).into());
    }
    Ok(path)
}

fn too_many(limit: EntryLimit) -> Failure {
    SourceError::TooLarge(format!("the repository has more than {} files and folders", limit.0)).into()
}

/// What to say of an object that should be at a path.
fn unreadable(path: &str, error: &git2::Error) -> Failure {
    let place = if path.is_empty() { "the folder of all files".to_owned() } else { format!("`{path}`") };
    Failure::Store(format!("{place}: {}", reason(error)))
}

impl From<git2::Error> for Failure {
    fn from(error: git2::Error) -> Self {
        Self::Store(reason(&error))
    }
}

fn reason(error: &git2::Error) -> String {
    let what = match error.code() {
        ErrorCode::NotFound => "an object is missing",
        _ => "an object cannot be read",
    };
    format!("{what}: {}", error.message())
}
