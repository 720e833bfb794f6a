//! One poll of a repository behind a URL: the cheap question first, then a fetch of what is missing.
//!
//! Enters: what the caller knows. Leaves: whether the branch moved, and the snapshot. It runs on the Git thread only.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use git2::Oid;

use super::ancestry::{Relation, relate};
use super::http::{Answer, Call, Http, Session};
use super::refs::{self, Listing};
use super::snapshot::Snapshots;
use super::store::{Failure, Store};
use super::{GitSettings, Limits, absent};
use crate::world::{Ancestry, DEEPEN_COMMITS_MAX, Polled, Snapshot, SourceError};

/// How history is deepened until ancestry is proven: most bumps need no step, a busy day one.
const DEEPEN_STEPS: [i32; 3] = [50, 250, DEEPEN_COMMITS_MAX];

/// A list of refs with one prefix is short; a server that sends more is not listened to.
const LISTING_BYTES_MAX: usize = 1 << 20;

/// All refs of a repository: 65 bytes each, a million of them.
const ADVERTISEMENT_BYTES_MAX: usize = 64 << 20;

/// How a server lists its refs, once seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// With `ls-refs`.
    V2,
    /// All of them, always.
    V0,
}

/// A repository behind a URL, and our clone of it.
pub(super) struct Remote {
    http: Http,
    store: Store,
    protocol: Option<Protocol>,
    credentials: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    reference: String,
}

impl Remote {
    /// Prepares polls; nothing is sent or written yet.
    pub(super) fn new(url: String, settings: &GitSettings, limits: Limits, requests: Arc<AtomicU64>) -> Self {
        Self {
            store: Store::new(&settings.store, &url, &settings.branch),
            http: Http::new(url, limits, requests),
            protocol: None,
            credentials: settings.credentials.clone(),
            ca_file: settings.ca_file.clone(),
            reference: format!("refs/heads/{}", settings.branch),
        }
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
        let session = self.http.session(self.credentials.as_deref(), self.ca_file.as_deref())?;
        self.store.prepare()?;
        let head = self.find_head(&session).inspect_err(|_| self.protocol = None)?;
        let has_clone = self.store.is_usable();
        if has_clone && known == Some(head) {
            return Ok(Polled::Unchanged);
        }
        tracing::info!(commit = %head, "the branch has a new commit");
        let mut brought = self.bring(&session, snapshots, head, known, proven);
        if let (Err(Failure::Store(reason)), true) = (&brought, has_clone) {
            tracing::warn!(reason, "the clone is broken and is made anew");
            snapshots.forget();
            self.store.distrust();
            brought = self.bring(&session, snapshots, head, known, proven);
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
        session: &Arc<Session>,
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
            None => self.store.fetch(session, 1)?,
        };
        let mut steps = DEEPEN_STEPS.iter();
        let ancestry = loop {
            let Some(proven) = proven else { break Ancestry::First };
            match relate(&repository, head, proven, DEEPEN_COMMITS_MAX)? {
                Relation::Descends => break Ancestry::Descends,
                Relation::Stranger => break Ancestry::Diverged,
                Relation::Unknown => match steps.next() {
                    Some(depth) => (repository, head) = self.store.fetch(session, *depth)?,
                    None => break Ancestry::Diverged,
                },
            }
        };
        snapshots.make(&repository, head, known, ancestry)
    }

    /// Asks the server for the branch's head, as cheaply as it lets us.
    fn find_head(&mut self, session: &Session) -> Result<Oid, SourceError> {
        let branch = self.reference.strip_prefix("refs/heads/").unwrap_or(&self.reference);
        let (listed, protocol) = match self.protocol {
            Some(Protocol::V0) => (advertised(session)?, Protocol::V0),
            None | Some(Protocol::V2) => match list_refs(session, &self.reference)? {
                Some(listed) => (listed, Protocol::V2),
                None => (advertised(session)?, Protocol::V0),
            },
        };
        self.protocol = Some(protocol);
        if let Some((_, id)) = listed.iter().find(|(name, _)| *name == self.reference) {
            return Oid::from_str(id).ok().filter(|_| id.len() == 40).ok_or_else(|| {
                SourceError::Corrupt("repositories with SHA-256 object ids are not supported".to_owned())
            });
        }
        let has_refs = match protocol {
            Protocol::V0 => !listed.is_empty(),
            // Only now is it worth asking whether there is anything at all.
            Protocol::V2 => match list_refs(session, "refs/") {
                Ok(all) => all.is_none_or(|all| !all.is_empty()),
                Err(SourceError::TooLarge(_)) => true,
                Err(error) => return Err(error),
            },
        };
        Err(absent(branch, has_refs))
    }
}

type Refs = Vec<(String, String)>;

/// Sends one `ls-refs`; `None` when the server does not understand it. One that fails over it is taken for one that does
/// not know it: a server that is broken fails the next request as well.
fn list_refs(session: &Session, prefix: &str) -> Result<Option<Refs>, SourceError> {
    let body = Some(Bytes::from(refs::request(prefix)));
    let call = Call { path: "/git-upload-pack", body, is_v2: true };
    match session.send(&call)? {
        Answer::Status(_) => Ok(None),
        Answer::Body(body) => match refs::parse(&session.read(body, LISTING_BYTES_MAX)?) {
            Listing::Refs(listed) => Ok(Some(listed)),
            Listing::NotUnderstood => Ok(None),
        },
    }
}

/// Asks for all refs, as every server can.
fn advertised(session: &Session) -> Result<Refs, SourceError> {
    match session.send(&Call { path: "/info/refs?service=git-upload-pack", body: None, is_v2: false })? {
        Answer::Status(status) => Err(session.unexpected(status)),
        Answer::Body(body) => match refs::parse_advertisement(&session.read(body, ADVERTISEMENT_BYTES_MAX)?) {
            Listing::Refs(listed) => Ok(listed),
            Listing::NotUnderstood => {
                Err(SourceError::NoRepository("the answer is not that of a Git server over smart HTTP".to_owned()))
            }
        },
    }
}
