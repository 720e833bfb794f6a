//! One poll of a repository in a folder of this machine: opened in place, only read, watched for changes.
//!
//! Enters: what the caller knows. Leaves: whether the reference moved, and the snapshot; hints. It runs on the Git thread only.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{ErrorCode, Oid, Repository};
use notify::RecommendedWatcher;
use tokio::sync::Notify;

use super::ancestry::{Relation, relate};
use super::resolve::{self, Target};
use super::snapshot::Snapshots;
use super::store::Failure;
use super::{trust, watch};
use crate::model::Reference;
use crate::world::{Ancestry, DEEPEN_COMMITS_MAX, Polled, SourceError};

/// A repository in a folder.
pub(super) struct Local {
    path: PathBuf,
    reference: Reference,
    verify_keys: Option<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    hint: Arc<Notify>,
}

impl Local {
    /// Watches the repository from here on when it is there.
    pub(super) fn new(path: PathBuf, reference: Reference, verify_keys: Option<PathBuf>, hint: Arc<Notify>) -> Self {
        let watcher = Repository::open(&path).ok().and_then(|repository| observe(&repository, &hint));
        Self { path, reference, verify_keys, watcher, hint }
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
        let target = self.find_target(&repository)?;
        let head = target.commit;
        if known == Some(head) {
            return Ok(Polled::Unchanged);
        }
        tracing::info!(commit = %head, reference = target.shown, "the repository has a new commit");
        let ancestry = match (proven, &self.reference) {
            (None, _) => Ancestry::First,
            (Some(_), Reference::Tag(_) | Reference::Commit(_) | Reference::Range(_)) => Ancestry::Named,
            (Some(proven), Reference::Branch(_) | Reference::Default) => {
                match relate(&repository, head, proven, DEEPEN_COMMITS_MAX).map_err(|error| broken(&error))? {
                    Relation::Descends => Ancestry::Descends,
                    // Nothing can be fetched here, so a shallow repository proves nothing.
                    Relation::Stranger | Relation::Unknown => Ancestry::Diverged,
                }
            }
        };
        let trusted = trust::check(self.verify_keys.as_deref(), &repository, &target.want, &target);
        let made = trusted.and_then(|trusted| snapshots.make(&repository, &target, trusted, known, ancestry));
        made.map(Polled::Moved).map_err(Failure::into_error)
    }

    fn find_target(&self, repository: &Repository) -> Result<Target, SourceError> {
        if let Some(pinned) = Target::pinned(&self.reference)? {
            return match repository.find_commit(pinned.commit) {
                Ok(_) => Ok(pinned),
                Err(error) if error.code() == ErrorCode::NotFound => {
                    Err(resolve::absent(&self.reference, std::iter::empty(), None))
                }
                Err(error) => Err(broken(&error)),
            };
        }
        let mut all = repository.references().map_err(|error| broken(&error))?;
        // Names that are no text are none that settings can name.
        let names: Vec<String> = all.names().flatten().map(ToOwned::to_owned).collect();
        let names = || names.iter().map(String::as_str);
        let head = repository.find_reference("HEAD").ok();
        let default_branch = head.as_ref().and_then(|head| head.symbolic_target().ok().flatten());
        let default_branch = default_branch.filter(|default| names().any(|name| name == *default));
        let chosen = match &self.reference {
            Reference::Default => default_branch.map(ToOwned::to_owned),
            Reference::Branch(_) | Reference::Tag(_) | Reference::Commit(_) | Reference::Range(_) => {
                resolve::choose(&self.reference, names())
            }
        };
        let Some(chosen) = chosen else {
            return Err(match names().next() {
                Some(_) => resolve::absent(&self.reference, names(), default_branch),
                None => resolve::empty(&self.reference),
            });
        };
        let found = repository.find_reference(&chosen).and_then(|found| found.peel_to_commit());
        Ok(Target::new(&self.reference, &chosen, found.map_err(|error| broken(&error))?.id()))
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
        _ if error.message().contains("object format") => resolve::unsupported(),
        _ => SourceError::Corrupt(format!("{path}: {}", error.message())),
    }
}

/// Watches a local repository. Without a watch there are no hints, and polling alone finds what is new.
fn observe(repository: &Repository, hint: &Arc<Notify>) -> Option<RecommendedWatcher> {
    watch::watch(repository.commondir(), Arc::clone(hint))
        .inspect_err(|error| tracing::warn!(%error, "the local repository cannot be watched"))
        .ok()
}
