//! One poll of a repository in a folder of this machine: opened in place, only read, watched for changes.
//!
//! Enters: what the caller knows. Leaves: whether the branch moved, and the snapshot; hints. It runs on the Git thread only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{ErrorCode, Oid, Repository};
use notify::RecommendedWatcher;
use tokio::sync::Notify;

use super::ancestry::{Relation, relate};
use super::snapshot::Snapshots;
use super::store::Failure;
use super::{absent, watch};
use crate::world::{Ancestry, DEEPEN_COMMITS_MAX, Polled, SourceError};

/// A repository in a folder.
pub(super) struct Local {
    path: PathBuf,
    branch: String,
    watcher: Option<RecommendedWatcher>,
    hint: Arc<Notify>,
}

impl Local {
    /// Watches the repository from here on when it is there.
    pub(super) fn new(path: PathBuf, branch: String, hint: Arc<Notify>) -> Self {
        let watcher = Repository::open(&path).ok().and_then(|repository| observe(&repository, &hint));
        Self { path, branch, watcher, hint }
    }

    /// The folder to read blobs from.
    pub(super) fn folder(&self) -> PathBuf {
        self.path.clone()
    }

    /// Polls once.
    pub(super) fn poll(
        &mut self,
        snapshots: &mut Snapshots,
        known: Option<Oid>,
        proven: Option<Oid>,
    ) -> Result<Polled, SourceError> {
        let repository = match Repository::open(&self.path) {
            Ok(repository) => repository,
            Err(error) => {
                // It may come back as another folder, which this watch would not see.
                self.watcher = None;
                return Err(closed(&self.path, &error));
            }
        };
        // Before the head is read: what changes later gives a hint.
        if self.watcher.is_none() {
            self.watcher = observe(&repository, &self.hint);
        }
        let head = match repository.find_reference(&format!("refs/heads/{}", self.branch)) {
            Ok(found) => found.peel_to_commit().map_err(|error| broken(&error))?.id(),
            Err(error) if error.code() == ErrorCode::NotFound => {
                let has_refs = repository.references().is_ok_and(|mut all| all.names().next().is_some());
                return Err(absent(&self.branch, has_refs));
            }
            Err(error) => return Err(broken(&error)),
        };
        if known == Some(head) {
            return Ok(Polled::Unchanged);
        }
        tracing::info!(commit = %head, "the branch has a new commit");
        let relation = proven.map(|proven| relate(&repository, head, proven, DEEPEN_COMMITS_MAX)).transpose();
        let ancestry = match relation.map_err(|error| broken(&error))? {
            None => Ancestry::First,
            Some(Relation::Descends) => Ancestry::Descends,
            // Nothing can be fetched here, so a shallow repository proves nothing.
            Some(Relation::Stranger | Relation::Unknown) => Ancestry::Diverged,
        };
        snapshots.make(&repository, head, known, ancestry).map(Polled::Moved).map_err(Failure::into_error)
    }
}

fn broken(error: &git2::Error) -> SourceError {
    SourceError::Corrupt(error.message().to_owned())
}

fn closed(path: &Path, error: &git2::Error) -> SourceError {
    let path = path.display();
    match error.code() {
        ErrorCode::NotFound => SourceError::NoRepository(format!("there is no Git repository at {path}")),
        ErrorCode::Owner => SourceError::NoRepository(format!(
            "{path} belongs to another user: run as its owner, or list it under `safe.directory` in the Git configuration"
        )),
        _ => SourceError::Corrupt(format!("{path}: {}", error.message())),
    }
}

/// Watches a local repository. Without a watch there are no hints, and polling alone finds what is new.
fn observe(repository: &Repository, hint: &Arc<Notify>) -> Option<RecommendedWatcher> {
    watch::watch(repository.commondir(), Arc::clone(hint))
        .inspect_err(|error| tracing::warn!(%error, "the local repository cannot be watched"))
        .ok()
}
