//! One poll of a repository behind a URL: the cheap question first, then a fetch of what is missing.
//!
//! Enters: what the caller knows. Leaves: whether the branch moved, and the snapshot. It runs on the Git thread only.

use std::path::PathBuf;
use std::sync::Arc;

use git2::Oid;

use super::absent;
use super::ancestry::{Relation, relate};
use super::exchange::{Exchange, Server};
use super::listing::{self, Protocol};
use super::snapshot::Snapshots;
use super::store::{Failure, Store};
use crate::world::{Ancestry, DEEPEN_COMMITS_MAX, Polled, Snapshot, SourceError};

/// How history is deepened until ancestry is proven: most bumps need no step, a busy day one.
const DEEPEN_STEPS: [i32; 3] = [50, 250, DEEPEN_COMMITS_MAX];

/// A list of refs with one prefix is short; a server that sends more is not listened to.
const LISTING_BYTES_MAX: usize = 1 << 20;

/// A repository behind a URL, and our clone of it.
pub(super) struct Remote {
    server: Server,
    store: Store,
    protocol: Option<Protocol>,
    reference: String,
}

impl Remote {
    /// Prepares polls; nothing is sent or written yet.
    pub(super) fn new(server: Server, store: Store, branch: &str) -> Self {
        Self { server, store, protocol: None, reference: format!("refs/heads/{branch}") }
    }

    /// The folder to read blobs from.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.store.current()
    }

    /// Tells that the clone is broken: the next poll makes another.
    pub(super) fn distrust(&mut self) {
        self.store.distrust();
    }

    /// Keeps the clone small.
    pub(super) fn compact(&mut self, head: Oid) -> Result<(), Failure> {
        self.store.compact(head)
    }

    /// Polls once. A broken clone is made anew, once.
    pub(super) fn poll(
        &mut self,
        snapshots: &mut Snapshots,
        known: Option<Oid>,
        proven: Option<Oid>,
    ) -> Result<Polled, SourceError> {
        let exchange = self.server.exchange()?;
        self.store.prepare()?;
        let head = self.find_head(&exchange).inspect_err(|_| self.protocol = None)?;
        let has_clone = self.store.is_usable();
        if has_clone && known == Some(head) {
            return Ok(Polled::Unchanged);
        }
        tracing::info!(commit = %head, "the branch has a new commit");
        let mut brought = self.bring(&exchange, snapshots, head, known, proven);
        if let (Err(Failure::Store(reason)), true) = (&brought, has_clone) {
            tracing::warn!(reason, "the clone is broken and is made anew");
            snapshots.forget();
            self.store.distrust();
            brought = self.bring(&exchange, snapshots, head, known, proven);
        }
        if let Err(Failure::Store(_)) = &brought {
            snapshots.forget();
            self.store.distrust();
        }
        let snapshot = brought.map_err(Failure::into_error)?;
        let is_known = known.is_some_and(|known| snapshot.revision.commit == known.to_string());
        Ok(if is_known { Polled::Unchanged } else { Polled::Moved(snapshot) })
    }

    /// Makes a snapshot of the head, fetching what is missing.
    fn bring(
        &mut self,
        exchange: &Arc<Exchange>,
        snapshots: &mut Snapshots,
        polled: Oid,
        known: Option<Oid>,
        proven: Option<Oid>,
    ) -> Result<Snapshot, Failure> {
        // A poll that was given up, or a deepened history, may have brought it already.
        let stored = self.store.open()?.filter(|repository| repository.find_commit(polled).is_ok());
        let (mut repository, mut head) = match stored {
            Some(repository) => {
                self.store.point(&repository, polled)?;
                (repository, polled)
            }
            // When the branch moved since it was asked for, this is its newer head.
            None => self.store.fetch(exchange, 1)?,
        };
        let mut steps = DEEPEN_STEPS.iter();
        let ancestry = loop {
            let Some(proven) = proven else { break Ancestry::First };
            match relate(&repository, head, proven, DEEPEN_COMMITS_MAX)? {
                Relation::Descends => break Ancestry::Descends,
                Relation::Stranger => break Ancestry::Diverged,
                Relation::Unknown => match steps.next() {
                    Some(depth) => (repository, head) = self.store.fetch(exchange, *depth)?,
                    None => break Ancestry::Diverged,
                },
            }
        };
        snapshots.make(&repository, head, known, ancestry)
    }

    /// Asks the server for the branch's head, as cheaply as it lets us.
    fn find_head(&mut self, exchange: &Exchange) -> Result<Oid, SourceError> {
        let branch = self.reference.strip_prefix("refs/heads/").unwrap_or(&self.reference);
        let listed = listing::list(exchange, &mut self.protocol, &[&self.reference], LISTING_BYTES_MAX)?;
        if let Some(found) = listed.refs.iter().find(|found| found.name == self.reference) {
            return Oid::from_str(&found.id).ok().filter(|_| found.id.len() == 40).ok_or_else(|| {
                SourceError::Corrupt("repositories with SHA-256 object ids are not supported".to_owned())
            });
        }
        let has_refs = match listed.is_all {
            true => !listed.refs.is_empty(),
            // Only now is it worth asking whether there is anything at all.
            false => match listing::list(exchange, &mut self.protocol, &["refs/"], LISTING_BYTES_MAX) {
                Ok(all) => !all.refs.is_empty(),
                Err(SourceError::TooLarge(_)) => true,
                Err(error) => return Err(error),
            },
        };
        Err(absent(branch, has_refs))
    }
}
