//! The Git thread: one message after the other.
//!
//! Enters: messages of [`super::GitSource`]. Leaves: the answers, and the folder that blobs are read from. It owns all
//! that blocks; nothing else opens a clone for writing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use git2::Oid;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::exchange::Server;
use super::http::Http;
use super::local::Local;
use super::place::Place;
use super::remote::Remote;
use super::snapshot::Snapshots;
use super::ssh::Ssh;
use super::store::{PACKS_MAX, Store};
use super::{GitSettings, Limits};
use crate::world::{BlobId, Polled, SourceError};

/// What the Git thread is asked.
#[derive(Debug)]
pub(super) enum Message {
    /// Poll and answer.
    Poll {
        /// The commit that the caller holds.
        known: Option<String>,
        /// The commit that the head should descend from.
        proven: Option<String>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Polled, SourceError>>,
    },
    /// This blob could not be read.
    Suspect(BlobId),
}

enum Source {
    Remote(Box<Remote>),
    Local(Local),
}

/// The thread's own state.
pub(super) struct Worker {
    source: Source,
    snapshots: Snapshots,
    current: watch::Sender<Option<PathBuf>>,
}

impl Worker {
    /// Prepares the thread; a local repository is watched from here on when it is there.
    pub(super) fn new(
        settings: GitSettings,
        place: Place,
        limits: Limits,
        current: watch::Sender<Option<PathBuf>>,
        hint: Arc<Notify>,
        requests: Arc<AtomicU64>,
    ) -> Self {
        let GitSettings { repository: _, reference, access, store } = settings;
        let verify_keys = access.verify_keys.clone();
        let remote = |server: Server, url: &str| {
            let store = Store::new(&store, url, &reference);
            Source::Remote(Box::new(Remote::new(server, store, reference.clone(), verify_keys.clone())))
        };
        let source = match place {
            Place::Http(url) => {
                let http = Http::new(url.clone(), access, limits, requests);
                remote(Server::Http(Box::new(http)), &url)
            }
            Place::Ssh(address) => {
                let url = address.to_string();
                remote(Server::Ssh(Box::new(Ssh::new(address, access, limits, requests))), &url)
            }
            Place::Local(path) => Source::Local(Local::new(path, reference, verify_keys, hint)),
        };
        Self { source, snapshots: Snapshots::default(), current }
    }

    /// Serves messages until the last [`super::GitSource`] is gone.
    pub(super) fn run(&mut self, mut inbox: mpsc::Receiver<Message>) {
        while let Some(message) = inbox.blocking_recv() {
            match message {
                // Whoever asked has given up already.
                Message::Poll { reply, .. } if reply.is_closed() => {}
                Message::Poll { known, proven, reply } => {
                    let result = self.poll(known.as_deref(), proven.as_deref());
                    let packs_max = match &result {
                        // What was found is being read now, and the next may follow: that comes before order.
                        Ok(Polled::Moved(_)) => Some(2 * PACKS_MAX),
                        Ok(Polled::Unchanged) => Some(PACKS_MAX),
                        Err(_) => None,
                    };
                    self.publish();
                    drop(reply.send(result));
                    if let Some(packs_max) = packs_max {
                        self.tidy(packs_max);
                    }
                }
                Message::Suspect(blob) => self.doubt(&blob),
            }
        }
    }

    fn poll(&mut self, known: Option<&str>, proven: Option<&str>) -> Result<Polled, SourceError> {
        // A text that is no object id is no commit of this repository either.
        let [known, proven] = [known, proven].map(|id| id.map(|id| Oid::from_str(id).unwrap_or(Oid::ZERO_SHA1)));
        match &mut self.source {
            Source::Remote(remote) => remote.poll(&mut self.snapshots, known, proven),
            Source::Local(local) => local.poll(&mut self.snapshots, known, proven),
        }
    }

    /// Tells readers where the blobs are.
    fn publish(&self) {
        let folder = match &self.source {
            Source::Remote(remote) => remote.folder(),
            Source::Local(local) => Some(local.folder()),
        };
        self.current.send_if_modified(|current| {
            let is_new = *current != folder;
            *current = folder;
            is_new
        });
    }

    /// Keeps the clone small. After the answer, because nobody waits for it.
    fn tidy(&mut self, packs_max: usize) {
        let (Source::Remote(remote), Some(head)) = (&mut self.source, self.snapshots.commit()) else { return };
        if let Err(failure) = remote.compact(head, packs_max) {
            tracing::warn!(reason = %failure.into_error(), "the clone could not be compacted");
        }
        self.publish();
    }

    /// Has the clone replaced when it lacks what it should have.
    fn doubt(&mut self, blob: &BlobId) {
        if let (Source::Remote(remote), true) = (&mut self.source, self.snapshots.has(blob)) {
            tracing::warn!(blob = blob.0, "a file of the clone cannot be read; the next poll makes it anew");
            remote.distrust();
            self.snapshots.forget();
        }
    }
}
