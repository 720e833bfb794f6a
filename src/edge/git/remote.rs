//! One poll of a repository behind a URL: the cheap question first, then a fetch of what is missing.
//!
//! Enters: what the caller knows. Leaves: whether the reference moved, and the snapshot. It runs on the Git thread only.

use std::path::PathBuf;
use std::sync::Arc;

use git2::{Oid, Repository};

use super::ancestry::{Relation, relate};
use super::exchange::{Exchange, Foretold, Server};
use super::listing::{self, ADVERTISEMENT_BYTES_MAX, Protocol};
use super::refs;
use super::resolve::{self, Target};
use super::snapshot::Snapshots;
use super::store::{FETCHED, Failure, Store};
use super::trust;
use crate::model::Reference;
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
    /// What the server said that it can do when it was last asked for all its refs.
    abilities: Option<String>,
    reference: Reference,
    verify_keys: Option<PathBuf>,
}

impl Remote {
    /// Prepares polls; nothing is sent or written yet.
    pub(super) fn new(server: Server, store: Store, reference: Reference, verify_keys: Option<PathBuf>) -> Self {
        Self { server, store, protocol: None, abilities: None, reference, verify_keys }
    }

    /// The folder to read blobs from.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.store.current()
    }

    /// Tells that the clone is broken: the next poll makes another.
    pub(super) fn distrust(&mut self) {
        self.store.distrust();
    }

    /// Keeps the clone small: no more than `packs_max` packs.
    pub(super) fn compact(&mut self, head: Oid, packs_max: usize) -> Result<(), Failure> {
        self.store.compact(head, packs_max)
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
        let target = self.find_target(&exchange).inspect_err(|_| self.protocol = None)?;
        let has_clone = self.store.is_usable();
        if has_clone && known == Some(target.commit) {
            return Ok(Polled::Unchanged);
        }
        tracing::info!(commit = %target.commit, reference = target.shown, "the repository has a new commit");
        let mut brought = self.bring(&exchange, snapshots, &target, known, proven);
        if let (Err(Failure::Store(reason)), true) = (&brought, has_clone) {
            tracing::warn!(reason, "the clone is broken and is made anew");
            snapshots.forget();
            self.store.distrust();
            brought = self.bring(&exchange, snapshots, &target, known, proven);
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
        target: &Target,
        known: Option<Oid>,
        proven: Option<Oid>,
    ) -> Result<Snapshot, Failure> {
        // A poll that was given up, or a deepened history, may have brought it already.
        let stored = self.store.open()?.filter(|repository| repository.find_commit(target.commit).is_ok());
        // A tag that is to be verified has to be here itself.
        let is_needed = self.verify_keys.is_some() && target.want.starts_with("refs/tags/");
        let stored = stored.filter(|_| !is_needed);
        let (mut repository, mut head) = match stored {
            Some(repository) => {
                self.store.point(&repository, target.commit)?;
                (repository, target.commit)
            }
            // When the ref moved since it was asked for, this is where it leads now.
            None => self.fetch(exchange, target, 1)?,
        };
        let mut steps = DEEPEN_STEPS.iter();
        let ancestry = loop {
            let Some(proven) = proven else { break Ancestry::First };
            if !matches!(self.reference, Reference::Branch(_) | Reference::Default) {
                break Ancestry::Named;
            }
            match relate(&repository, head, proven, DEEPEN_COMMITS_MAX)? {
                Relation::Descends => break Ancestry::Descends,
                Relation::Stranger => break Ancestry::Diverged,
                Relation::Unknown => match steps.next() {
                    Some(depth) => (repository, head) = self.fetch(exchange, target, *depth)?,
                    None => break Ancestry::Diverged,
                },
            }
        };
        let target = Target { commit: head, ..target.clone() };
        let trusted = trust::check(self.verify_keys.as_deref(), &repository, FETCHED, &target)?;
        snapshots.make(&repository, &target, trusted, known, ancestry)
    }

    /// Fetches what the target wants. libgit2 would have the server list all its refs each time, and a server may have a
    /// hundred thousand, and then ask what is shallow. It is told both of the ref that was just asked for, as soon as it is
    /// known what the server can do: of four requests for a bump two are left.
    fn fetch(&mut self, exchange: &Arc<Exchange>, target: &Target, depth: i32) -> Result<(Repository, Oid), Failure> {
        // Taken: after a failure the server is asked.
        let abilities = self.abilities.take().filter(|_| target.tip.is_some());
        let known = abilities.as_ref().zip(target.tip.as_ref());
        exchange.foretell(known.map(|(abilities, tip)| Foretold {
            advertisement: refs::advertisement(&target.want, tip, abilities).into(),
            shallow: refs::shallow(&target.commit.to_string()).into(),
        }));
        let fetched = self.store.fetch(exchange, &target.want, depth)?;
        self.abilities = abilities.or_else(|| exchange.abilities().cloned());
        Ok(fetched)
    }

    /// Asks the server what the reference stands for, as cheaply as it lets us.
    fn find_target(&mut self, exchange: &Exchange) -> Result<Target, SourceError> {
        // A commit is what it is: there is nothing to ask before it is missing here.
        if let Some(pinned) = Target::pinned(&self.reference)? {
            return Ok(pinned);
        }
        let bytes_max = match &self.reference {
            Reference::Range(_) => ADVERTISEMENT_BYTES_MAX,
            Reference::Default | Reference::Branch(_) | Reference::Tag(_) | Reference::Commit(_) => LISTING_BYTES_MAX,
        };
        let prefix = resolve::prefix(&self.reference);
        let listed = listing::list(exchange, &mut self.protocol, &[&prefix], bytes_max)?;
        let names = || listed.refs.iter().map(|found| found.name.as_str());
        if let Some(chosen) = resolve::choose(&self.reference, names())
            && let Some(found) = listed.refs.iter().find(|found| found.name == chosen)
        {
            // What `HEAD` names is asked for by its own name: it may name another one next time.
            let named = found.target.as_deref().filter(|_| self.reference == Reference::Default);
            let target = Target::new(&self.reference, named.unwrap_or(&chosen), resolve::commit_of(found)?);
            return Ok(Target { tip: Some(found.id.clone()), ..target });
        }
        // Only now is it worth asking what there is instead.
        let others = match listed.is_all {
            true => None,
            false => Some(listing::list(exchange, &mut self.protocol, &["HEAD"], LISTING_BYTES_MAX)?.refs),
        };
        let head = others.as_ref().unwrap_or(&listed.refs).iter().find(|found| found.name == "HEAD");
        let default_branch = head.and_then(|head| head.target.as_deref());
        let has_refs = head.is_some() || !listed.refs.is_empty() || (!listed.is_all && self.has_refs(exchange)?);
        Err(match has_refs {
            true => resolve::absent(&self.reference, names(), default_branch),
            false => resolve::empty(&self.reference),
        })
    }

    /// Whether there is any ref at all.
    fn has_refs(&mut self, exchange: &Exchange) -> Result<bool, SourceError> {
        match listing::list(exchange, &mut self.protocol, &["refs/"], LISTING_BYTES_MAX) {
            Ok(all) => Ok(!all.refs.is_empty()),
            Err(SourceError::TooLarge(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }
}
