//! Git: a history of commits, each a map of files. Enters: commits by people. Leaves: what a poll finds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Revision, Timestamp};
use crate::world::{Ancestry, BlobId, DEEPEN_COMMITS_MAX, Entry, Files, Polled, Snapshot, SourceError};

/// The branch.
pub const BRANCH: &str = "main";

#[derive(Clone, Debug)]
struct Node {
    parent: Option<usize>,
    files: Arc<Files>,
    subject: String,
    at: Timestamp,
}

/// A repository with one branch.
#[derive(Clone, Debug, Default)]
pub struct Git {
    nodes: Vec<Node>,
    head: Option<usize>,
    blobs: BTreeMap<BlobId, Arc<[u8]>>,
}

impl Git {
    /// Commits a tree onto the head.
    pub fn commit(&mut self, subject: &str, files: &BTreeMap<String, String>, at: Timestamp) -> String {
        self.commit_onto(self.head, subject, files, at)
    }

    /// Commits a tree onto the commit that many before the head, and forces the branch there.
    pub fn force(&mut self, back: usize, subject: &str, files: &BTreeMap<String, String>, at: Timestamp) -> String {
        let parent = (0..back).fold(self.head, |node, _| node.and_then(|node| self.nodes[node].parent));
        self.commit_onto(parent, subject, files, at)
    }

    fn commit_onto(
        &mut self,
        parent: Option<usize>,
        subject: &str,
        files: &BTreeMap<String, String>,
        at: Timestamp,
    ) -> String {
        let entries = files.iter().map(|(path, text)| {
            let blob = self.store(text.as_bytes());
            (path.clone(), Entry::File { blob, bytes: text.len() as u64 })
        });
        let files = Arc::new(entries.collect());
        self.nodes.push(Node { parent, files, subject: subject.to_owned(), at });
        self.head = Some(self.nodes.len() - 1);
        id(self.nodes.len() - 1)
    }

    fn store(&mut self, bytes: &[u8]) -> BlobId {
        // Content addresses content: equal texts are one blob, as in Git.
        let hash: [u8; 32] = sha2::Digest::finalize(sha2::Digest::chain_update(sha2::Sha256::default(), bytes)).into();
        let blob = BlobId(hash[..20].iter().map(|byte| format!("{byte:02x}")).collect());
        self.blobs.entry(blob.clone()).or_insert_with(|| Arc::from(bytes));
        blob
    }

    /// The commit at the head.
    #[must_use]
    pub fn head(&self) -> Option<String> {
        self.head.map(id)
    }

    /// The subjects of all commits, in the order in which they were made: the first has the id 1.
    pub fn subjects(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node.subject.as_str())
    }

    /// Whether `commit` is `ancestor` or descends from it.
    #[must_use]
    pub fn descends(&self, commit: &str, ancestor: &str) -> bool {
        let mut node = self.nodes.iter().enumerate().map(|(index, _)| index).find(|index| id(*index) == commit);
        for _ in 0..DEEPEN_COMMITS_MAX {
            match node {
                Some(index) if id(index) == ancestor => return true,
                Some(index) => node = self.nodes[index].parent,
                None => return false,
            }
        }
        false
    }

    /// What a poll finds; see [`crate::world::World::poll`].
    pub(super) fn poll(&self, known: Option<&str>, proven: Option<&str>) -> Result<Polled, SourceError> {
        let Some(head) = self.head else { return Err(SourceError::NoRepository("it has no commit".to_owned())) };
        let commit = id(head);
        if known == Some(commit.as_str()) {
            return Ok(Polled::Unchanged);
        }
        let ancestry = match proven {
            None => Ancestry::First,
            Some(proven) if self.descends(&commit, proven) => Ancestry::Descends,
            Some(_) => Ancestry::Diverged,
        };
        let node = &self.nodes[head];
        Ok(Polled::Moved(Snapshot {
            revision: Revision { branch: BRANCH.to_owned(), commit, signer: None },
            signers: Arc::default(),
            files: Arc::clone(&node.files),
            changed: known
                .and_then(|known| self.nodes.get(number(known)?))
                .map(|known| changed(&known.files, &node.files)),
            ancestry,
            subject: node.subject.clone(),
            author: "A Person".to_owned(),
            authored_at: node.at,
        }))
    }

    /// Reads blobs.
    pub(super) fn read(&self, blobs: &[BlobId]) -> Result<Vec<Vec<u8>>, SourceError> {
        let read = |blob: &BlobId| match self.blobs.get(blob) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(SourceError::Corrupt(format!("blob {} is missing", blob.0))),
        };
        blobs.iter().map(read).collect()
    }
}

fn id(node: usize) -> String {
    format!("{:040x}", node + 1)
}

/// The node of a commit.
fn number(id: &str) -> Option<usize> {
    usize::from_str_radix(id, 16).ok()?.checked_sub(1)
}

/// Paths that differ between two trees, in order.
fn changed(before: &Files, after: &Files) -> Vec<String> {
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}
