//! The exchange of one poll with a server, over HTTP or SSH: what both have in common.
//!
//! Enters: limits. Leaves: time that is left, and the first failure. A server is asked by one exchange after the other; each
//! begins with the files of credentials as they are then.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;

use super::Limits;
use super::http::{self, Http};
use super::ssh::{self, Ssh};
use crate::world::SourceError;

/// A server that is not this machine.
pub(super) enum Server {
    /// Behind a URL.
    Http(Box<Http>),
    /// Behind an account.
    Ssh(Box<Ssh>),
}

impl Server {
    /// Begins the exchange of one poll.
    pub(super) fn exchange(&mut self) -> Result<Arc<Exchange>, SourceError> {
        let wire = match self {
            Self::Http(http) => Wire::Http(Arc::new(http.session()?)),
            Self::Ssh(ssh) => Wire::Ssh(Arc::new(ssh.session()?)),
        };
        Ok(Arc::new(Exchange {
            wire,
            foretold: Mutex::default(),
            abilities: OnceLock::new(),
            failure: OnceLock::new(),
        }))
    }
}

/// How bytes come and go.
pub(super) enum Wire {
    /// By requests.
    Http(Arc<http::Session>),
    /// By commands that run over there.
    Ssh(Arc<ssh::Session>),
}

/// What a server would answer in a fetch of one ref.
#[derive(Clone)]
pub(super) struct Foretold {
    /// To what refs there are, and what it can do.
    pub(super) advertisement: Bytes,
    /// To which commits of a history of one commit lack their parents.
    pub(super) shallow: Bytes,
}

/// The exchange of one poll.
pub(super) struct Exchange {
    /// How bytes come and go.
    pub(super) wire: Wire,
    /// Answers of a server behind a URL that are known, so that it need not be asked.
    foretold: Mutex<Option<Foretold>>,
    abilities: OnceLock<String>,
    failure: OnceLock<SourceError>,
}

impl Exchange {
    /// Says what libgit2 is told from now on without asking: nothing is, and the server is asked.
    pub(super) fn foretell(&self, foretold: Option<Foretold>) {
        *self.foretold.lock().unwrap_or_else(PoisonError::into_inner) = foretold;
    }

    /// What libgit2 is told.
    pub(super) fn foretold(&self) -> Option<Foretold> {
        self.foretold.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what the server said that it can do.
    pub(super) fn learn(&self, abilities: String) {
        drop(self.abilities.set(abilities));
    }

    /// What the server said that it can do, if it was asked.
    pub(super) fn abilities(&self) -> Option<&String> {
        self.abilities.get()
    }

    /// Keeps the first failure: libgit2 passes on no more than that there was one.
    pub(super) fn fail(&self, error: &SourceError) {
        // A second one follows from the first.
        drop(self.failure.set(error.clone()));
    }

    /// The first failure of this exchange.
    pub(super) fn failure(&self) -> Option<&SourceError> {
        self.failure.get()
    }
}

/// How long to wait for the next sign of life.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    ends_at: Instant,
    idle: Duration,
}

impl Patience {
    /// Begins now.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { ends_at: Instant::now() + limits.exchange, idle: limits.idle }
    }

    /// What is left for the next step.
    pub(super) fn left(&self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now()).min(self.idle)
    }
}

/// Starts what drives the network on this thread. It must not be dropped on a thread that runs async tasks.
pub(super) fn start_runtime() -> Result<Runtime, SourceError> {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    started.map_err(|error| SourceError::Unreachable(format!("the Git thread cannot use the network: {error}")))
}

/// An error with its causes, which clients leave out of their own text.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
