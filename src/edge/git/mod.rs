//! Reads references of Git repositories: its commit and the files of that, without a working tree and without a subprocess.
//!
//! Enters: where the repository is ([`GitSettings`]) and what the caller knows. Leaves: [`Polled`] and contents of blobs.
//! A remote repository (`https`, `http`, `ssh`) is kept as a shallow bare clone below the store folder; a local one is opened in
//! place and only read. libgit2 blocks, so all of its work is done on a thread of its own (reads of blobs aside, which
//! never touch the network), and each answer has a deadline. It decides nothing about what was found.
//!
//! In reading order: `place` and `resolve` (what the settings say), `credentials`, `tls` and `known_hosts` (who we are, and
//! whom we trust), `connect`, `github_app` and `http` (one request), `ssh` (one command), `exchange` (what both have in
//! common), `refs` and `listing` (the cheap poll), `transport` (libgit2 over them), `store` (the clone), `ancestry`, `tree` and
//! `snapshot` (what is in it), `remote` and `local` (one poll), `watch` (hints), `worker` (the thread), `others` (several of
//! them); `revision` is what the command line reads a commit of a clone with.

mod ancestry;
mod connect;
mod credentials;
mod exchange;
mod github_app;
mod http;
mod known_hosts;
mod listing;
mod local;
mod others;
mod place;
mod refs;
mod remote;
mod resolve;
mod revision;
mod snapshot;
mod ssh;
mod store;
mod tls;
mod transport;
mod tree;
mod trust;
mod watch;
mod worker;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use git2::{ErrorCode, ObjectType, Oid, Repository};
use tokio::sync::{Notify, mpsc, oneshot};

pub use self::others::{Others, OthersSettings};
use self::place::Place;
pub use self::revision::Commit;
use self::worker::{Message, Worker};
use crate::config::GitAccess;
use crate::model::Reference;
use crate::world::{BLOB_BYTES_MAX, BlobId, Polled, SourceError};

/// Where the repository is and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitSettings {
    /// An `https`, `http` or `ssh` URL without credentials, `user@host:path`, a local path, or a `file://` path.
    pub repository: String,
    /// What of it is followed.
    pub reference: Reference,
    /// How to reach it, and who may sign: names of files, which are read again at every poll.
    pub access: GitAccess,
    /// Folder for clones; may be lost at any time.
    pub store: PathBuf,
}

/// Removes clones below a store folder that none of these settings uses: what was followed before. Those that another
/// process uses stay, and so does everything that is not ours.
pub fn sweep(store: &Path, used: &[GitSettings]) {
    let name = |settings: &GitSettings| match Place::parse(&settings.repository) {
        Ok(Place::Http(url)) => Some(store::name(&url, &settings.reference)),
        Ok(Place::Ssh(address)) => Some(store::name(&address.to_string(), &settings.reference)),
        Ok(Place::Local(_)) | Err(_) => None,
    };
    store::sweep(store, &used.iter().filter_map(name).collect());
}

/// Limits of time and size of this edge.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// To open a connection.
    connect: Duration,
    /// Between two signs of life of the server.
    idle: Duration,
    /// For all requests of one poll: a server that trickles cannot hold the thread longer.
    exchange: Duration,
    /// How long the caller waits. The poll goes on without it, and a later poll finds what it fetched.
    answer: Duration,
    /// What one poll may receive.
    received_bytes_max: u64,
}

const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    idle: Duration::from_secs(20),
    exchange: Duration::from_secs(600),
    answer: Duration::from_secs(60),
    received_bytes_max: 512 << 20,
};

/// What one call of [`GitSource::read`] may return: 256 of the largest blobs.
const READ_BYTES_MAX: usize = 256 * BLOB_BYTES_MAX;

/// Requests that may wait for the Git thread. The agent has one poll under way; the rest is for abandoned ones.
const WAITING_MAX: usize = 4;

/// A repository's reference. Cheap to clone; all clones share one Git thread, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct GitSource {
    messages: mpsc::Sender<Message>,
    current: tokio::sync::watch::Receiver<Option<PathBuf>>,
    hint: Arc<Notify>,
    requests: Arc<AtomicU64>,
    answer: Duration,
}

impl GitSource {
    /// Starts the Git thread. Nothing is fetched or read yet, so a server that is down is no error here.
    pub fn open(settings: GitSettings) -> Result<Self, SourceError> {
        Self::open_counted(settings, LIMITS, Arc::default())
    }

    /// The same for another reference, whose requests are counted with these.
    fn open_beside(&self, settings: GitSettings) -> Result<Self, SourceError> {
        Self::open_counted(settings, LIMITS, Arc::clone(&self.requests))
    }

    #[cfg(test)]
    fn open_with(settings: GitSettings, limits: Limits) -> Result<Self, SourceError> {
        Self::open_counted(settings, limits, Arc::default())
    }

    fn open_counted(settings: GitSettings, limits: Limits, requests: Arc<AtomicU64>) -> Result<Self, SourceError> {
        let place = Place::parse(&settings.repository)?;
        transport::register();
        let (messages, inbox) = mpsc::channel(WAITING_MAX);
        let (current_sender, current) = tokio::sync::watch::channel(None);
        let hint = Arc::new(Notify::new());
        let mut worker = Worker::new(settings, place, limits, current_sender, Arc::clone(&hint), Arc::clone(&requests));
        std::thread::Builder::new()
            .name("git".to_owned())
            .spawn(move || worker.run(inbox))
            .map_err(|error| SourceError::Unreachable(format!("the Git thread cannot be started: {error}")))?;
        Ok(Self { messages, current, hint, requests, answer: limits.answer })
    }

    /// Asks for the reference's commit, and fetches it when it is not `known`. `proven` is the commit that the head is expected
    /// to descend from.
    pub async fn poll(&self, known: Option<&str>, proven: Option<&str>) -> Result<Polled, SourceError> {
        let (reply, answer) = oneshot::channel();
        let message =
            Message::Poll { known: known.map(ToOwned::to_owned), proven: proven.map(ToOwned::to_owned), reply };
        let exchange = async {
            let ended = |()| SourceError::Unreachable("the Git thread has ended".to_owned());
            self.messages.send(message).await.map_err(|_| ended(()))?;
            answer.await.map_err(|_| ended(()))?
        };
        tokio::time::timeout(self.answer, exchange)
            .await
            .unwrap_or_else(|_| Err(SourceError::Unreachable("no complete answer in time".to_owned())))
    }

    /// Reads blobs of the newest snapshot, in the order asked for.
    ///
    /// It does not wait for a poll under way, so that a slow server never delays it. When a blob of the newest snapshot
    /// cannot be read, the store is made anew by the next poll.
    pub async fn read(&self, blobs: &[BlobId]) -> Result<Vec<Vec<u8>>, SourceError> {
        if blobs.is_empty() {
            return Ok(Vec::new());
        }
        let Some(path) = self.current.borrow().clone() else {
            return Err(SourceError::Unreachable("nothing was fetched yet".to_owned()));
        };
        let wanted = blobs.to_vec();
        let reading = tokio::task::spawn_blocking(move || read_blobs(&path, &wanted));
        match tokio::time::timeout(self.answer, reading).await {
            Ok(Ok(Ok(contents))) => Ok(contents),
            Ok(Ok(Err(failure))) => {
                if let Some(blob) = failure.suspect {
                    // A full inbox loses this; the next read that fails says it again.
                    drop(self.messages.try_send(Message::Suspect(blob)));
                }
                Err(failure.error)
            }
            Ok(Err(_)) => Err(SourceError::Corrupt("reading blobs ended unexpectedly".to_owned())),
            Err(_) => Err(SourceError::Unreachable("the store did not answer in time".to_owned())),
        }
    }

    /// Waits until a local repository changed; for a remote one, for ever. Changes since the last call are not lost, and
    /// several count as one. Safe to cancel.
    pub async fn hinted(&self) {
        self.hint.notified().await;
    }

    /// Gives it up; returns once nothing of it is in use any more.
    async fn closed(self) {
        let Self { messages, mut current, .. } = self;
        drop(messages);
        while current.changed().await.is_ok() {}
    }

    /// How many requests (over SSH: commands) were sent so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Why blobs could not be read, and the blob that should have been there.
struct ReadFailure {
    error: SourceError,
    suspect: Option<BlobId>,
}

fn read_blobs(path: &Path, blobs: &[BlobId]) -> Result<Vec<Vec<u8>>, ReadFailure> {
    let limit = |error| ReadFailure { error: SourceError::TooLarge(error), suspect: None };
    let repository = Repository::open(path).map_err(|error| unreadable(blobs.first(), &error))?;
    let odb = repository.odb().map_err(|error| unreadable(blobs.first(), &error))?;
    let mut contents = Vec::with_capacity(blobs.len());
    let mut bytes_total = 0;
    for blob in blobs {
        let id = Oid::from_str(&blob.0).map_err(|_| ReadFailure {
            error: SourceError::Corrupt(format!("`{}` is not an object id", blob.0)),
            suspect: None,
        })?;
        let (bytes, kind) = odb.read_header(id).map_err(|error| unreadable(Some(blob), &error))?;
        if kind != ObjectType::Blob {
            let error = SourceError::Corrupt(format!("object {} is not a file", blob.0));
            return Err(ReadFailure { error, suspect: None });
        }
        if bytes > BLOB_BYTES_MAX {
            return Err(limit(format!("blob {} has {bytes} bytes, more than {BLOB_BYTES_MAX}", blob.0)));
        }
        bytes_total += bytes;
        if bytes_total > READ_BYTES_MAX {
            return Err(limit(format!("the files asked for have more than {READ_BYTES_MAX} bytes together")));
        }
        contents.push(odb.read(id).map_err(|error| unreadable(Some(blob), &error))?.data().to_vec());
    }
    Ok(contents)
}

fn unreadable(blob: Option<&BlobId>, error: &git2::Error) -> ReadFailure {
    let what = blob.map_or("the store".to_owned(), |blob| format!("blob {}", blob.0));
    let why = if error.code() == ErrorCode::NotFound { "is missing" } else { "cannot be read" };
    ReadFailure { error: SourceError::Corrupt(format!("{what} {why}")), suspect: blob.cloned() }
}
