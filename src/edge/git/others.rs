//! Other repositories that applications render from: each reference of each has a source of its own, with its own thread, so
//! that none waits for another, and least of all the repository that declares.
//!
//! Enters: which are used, as declarations name them. Leaves: their polls and files. Only what the settings list is ever
//! contacted: whoever may write declarations does not choose which hosts the agent speaks to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::{GitSettings, GitSource, sweep};
use crate::config::GitRules;
use crate::model::Elsewhere;
use crate::world::{BlobId, Polled, SourceError};

/// Their clones lie apart from the one of the repository that declares: both may be of the same URL and reference.
const FOLDER: &str = "others";

/// What all of them have in common.
#[derive(Clone, Debug)]
pub struct OthersSettings {
    /// Which repositories may be named, and how each is reached.
    pub rules: GitRules,
    /// Folder for clones; may be lost at any time.
    pub store: PathBuf,
}

impl OthersSettings {
    fn of(&self, other: &Elsewhere) -> GitSettings {
        GitSettings {
            repository: other.repository.clone(),
            reference: other.revision.clone(),
            access: self.rules.access_for(&other.repository),
            store: self.folder(),
        }
    }

    fn folder(&self) -> PathBuf {
        Path::new(&self.store).join(FOLDER)
    }
}

/// Sources by what they follow, or why one cannot be had.
type Sources = BTreeMap<Elsewhere, Result<GitSource, SourceError>>;

/// The other repositories that are used at present.
#[derive(Debug)]
pub struct Others {
    settings: Option<OthersSettings>,
    sources: watch::Sender<Sources>,
    followed: watch::Sender<BTreeSet<Elsewhere>>,
}

impl Others {
    /// None yet. Without settings no repository is listed.
    #[must_use]
    pub fn new(settings: Option<OthersSettings>) -> Self {
        Self { settings, sources: watch::Sender::default(), followed: watch::Sender::default() }
    }

    /// Those that are used, now and later: whom a push may concern.
    #[must_use]
    pub fn followed(&self) -> watch::Receiver<BTreeSet<Elsewhere>> {
        self.followed.subscribe()
    }

    /// Starts what is new and gives up what is not named any more; its clone goes once nobody reads from it. What is started
    /// counts its requests with those of `own`.
    pub fn follow(&self, others: &BTreeSet<Elsewhere>, own: &GitSource) {
        let Some(settings) = &self.settings else { return };
        let mut given_up = Vec::new();
        self.sources.send_modify(|sources| {
            given_up.extend(sources.extract_if(.., |other, _| !others.contains(other)).filter_map(|(_, it)| it.ok()));
            for other in others {
                sources.entry(other.clone()).or_insert_with(|| open(settings, other, own));
            }
        });
        self.followed.send_replace(others.clone());
        let (settings, sources) = (settings.clone(), self.sources.subscribe());
        tokio::spawn(async move {
            for source in given_up {
                source.closed().await;
            }
            let used: Vec<GitSettings> = sources.borrow().keys().map(|other| settings.of(other)).collect();
            let swept = tokio::task::spawn_blocking(move || sweep(&settings.folder(), &used));
            if swept.await.is_err() {
                tracing::warn!("clones that are not used any more could not be removed");
            }
        });
    }

    /// As [`GitSource::poll`].
    pub async fn poll(
        &self,
        other: &Elsewhere,
        known: Option<&str>,
        proven: Option<&str>,
    ) -> Result<Polled, SourceError> {
        self.source(other)?.poll(known, proven).await
    }

    /// As [`GitSource::read`].
    pub async fn read(&self, other: &Elsewhere, blobs: &[BlobId]) -> Result<Vec<Vec<u8>>, SourceError> {
        self.source(other)?.read(blobs).await
    }

    fn source(&self, other: &Elsewhere) -> Result<GitSource, SourceError> {
        let unknown = || Err(SourceError::Unreachable("it is not followed yet".to_owned()));
        self.sources.borrow().get(other).cloned().unwrap_or_else(unknown)
    }
}

fn open(settings: &OthersSettings, other: &Elsewhere, own: &GitSource) -> Result<GitSource, SourceError> {
    if !settings.rules.lists(&other.repository) {
        return Err(SourceError::Access(
            "the agent's settings do not list it; add its URL, or what that starts with up to a `/`, to `repositories`"
                .to_owned(),
        ));
    }
    own.open_beside(settings.of(other))
}
