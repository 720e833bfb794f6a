//! Turns a commit of an opened repository into a [`Snapshot`].
//!
//! Enters: a repository, a commit of it, what the caller holds. Leaves: the snapshot. The last one is remembered so that the next
//! costs no more than what changed.

use std::sync::Arc;

use git2::{Oid, Repository};

use super::resolve::Target;
use super::store::Failure;
use super::tree::{self, EntryLimit};
use super::trust::Trusted;
use crate::model::{Revision, Timestamp};
use crate::world::{Ancestry, BlobId, Entry, Files, Snapshot};

/// Subjects and names are shown to people, on one line.
const SHOWN_CHARACTERS_MAX: usize = 200;

/// Makes the snapshots of one reference.
#[derive(Default)]
pub(super) struct Snapshots {
    last: Option<Last>,
}

struct Last {
    want: String,
    commit: Oid,
    tree: Oid,
    files: Arc<Files>,
}

impl Snapshots {
    /// Forgets the last snapshot: its objects may be gone.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// The commit of the last snapshot.
    pub(super) fn commit(&self) -> Option<Oid> {
        self.last.as_ref().map(|last| last.commit)
    }

    /// Whether the last snapshot has a file with this content.
    pub(super) fn has(&self, blob: &BlobId) -> bool {
        let is_it = |entry: &Entry| matches!(entry, Entry::File { blob: other, .. } if other == blob);
        self.last.as_ref().is_some_and(|last| last.files.values().any(is_it))
    }

    /// Makes the snapshot of a target that is trusted; `known` is what the caller holds.
    pub(super) fn make(
        &mut self,
        repository: &Repository,
        target: &Target,
        trusted: Trusted,
        known: Option<Oid>,
        ancestry: Ancestry,
    ) -> Result<Snapshot, Failure> {
        let head = target.commit;
        let commit = repository.find_commit(head)?;
        if let Some(last) = self.last.as_ref().filter(|last| last.want == target.want && last.commit != head)
            && target.want.starts_with("refs/tags/")
        {
            tracing::warn!(tag = target.want, from = %last.commit, to = %head, "a tag was moved to another commit");
        }
        let tree = commit.tree_id();
        let base = self.last.take().filter(|last| repository.find_tree(last.tree).is_ok());
        let is_continued = base.as_ref().is_some_and(|base| Some(base.commit) == known);
        let (mut files, base_tree) = base.map_or_else(Default::default, |base| (base.files, Some(base.tree)));
        // Copies the map while the caller holds the previous one; blobs and folders that did not change are not read.
        let changed = tree::advance(repository, Arc::make_mut(&mut files), base_tree, tree, EntryLimit::default())?;
        self.last = Some(Last { want: target.want.clone(), commit: head, tree, files: Arc::clone(&files) });
        let author = commit.author();
        Ok(Snapshot {
            revision: Revision { branch: target.shown.clone(), commit: head.to_string(), signer: trusted.signer },
            signers: trusted.signers,
            files,
            changed: is_continued.then_some(changed),
            ancestry,
            subject: shown(commit.message_bytes()),
            author: shown(author.name_bytes()),
            authored_at: Timestamp::from_second(author.when().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
        })
    }
}

/// The first line of a text from outside, shortened.
fn shown(text: &[u8]) -> String {
    let line = text.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    // Control characters would let a commit write on the terminal of whoever lists it.
    let plain = |character: &char| !character.is_control();
    String::from_utf8_lossy(line.trim_ascii_end()).chars().filter(plain).take(SHOWN_CHARACTERS_MAX).collect()
}
