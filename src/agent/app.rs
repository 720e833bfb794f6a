//! One app in the agent's memory. Everything in here can be lost: what must not be is in the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::decide::Failure;
use crate::model::{AppName, Application, Declared, Digest, History, Object, ObjectKey, Release, Timestamp};
use crate::observe::Applied;
use crate::stage::Stage;
use crate::status::AppView;

/// One app.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// What Git says.
    pub declared: Declared,
    /// What Git says rendered, when that is known.
    pub next: Option<Arc<Release>>,
    /// The custom resource as last written or seen.
    pub object: Option<Object>,
    /// What is durable, and what memory adds.
    pub history: History,
    /// Whether `history.kept` is what the cluster holds, and not only what this process wrote.
    pub knows_kept: bool,
    /// Whether the record in memory is the stored one.
    pub is_saved: bool,
    /// Why the stored state cannot be used; the app is read-only then.
    pub unusable: Option<String>,
    /// Releases in memory.
    pub releases: BTreeMap<Digest, Arc<Release>>,
    /// What the server made of our applies.
    pub applied: BTreeMap<ObjectKey, Applied>,
    /// The stage of the last pass while a rollout is under way, so that the next one makes only what differs.
    pub staged: Stage,
    /// Writes that do not work.
    pub failures: BTreeMap<ObjectKey, Failure>,
    /// When drift was corrected, by object, newest last.
    pub corrections: BTreeMap<ObjectKey, Vec<Timestamp>>,
    /// The status as last written.
    pub status: Option<Value>,
    /// When it was last written.
    pub status_at: Option<Timestamp>,
    /// What readers see.
    pub view: Option<Arc<AppView>>,
    /// The repository's URL, for readers.
    pub repository: String,
}

impl App {
    /// An app that was just heard of.
    #[must_use]
    pub fn new(name: AppName, declared: Declared, repository: &str) -> Self {
        Self {
            name,
            declared,
            next: None,
            object: None,
            history: History::default(),
            knows_kept: false,
            is_saved: true,
            unusable: None,
            releases: BTreeMap::new(),
            applied: BTreeMap::new(),
            staged: Stage::default(),
            failures: BTreeMap::new(),
            corrections: BTreeMap::new(),
            status: None,
            status_at: None,
            view: None,
            repository: repository.to_owned(),
        }
    }

    /// The Release with this digest, when it is in memory.
    #[must_use]
    pub fn release(&self, digest: Digest) -> Option<&Arc<Release>> {
        self.next.as_ref().filter(|next| next.reference.digest == digest).or_else(|| self.releases.get(&digest))
    }

    /// The digest of Stable.
    #[must_use]
    pub fn stable(&self) -> Option<Digest> {
        Some(self.history.record.as_ref()?.stable.as_ref()?.digest)
    }

    /// The digest of the rollout's Target.
    #[must_use]
    pub fn target(&self) -> Option<Digest> {
        Some(self.history.record.as_ref()?.rollout.as_ref()?.target.digest)
    }

    /// The Release that a rollback on request goes to: the newest completed one before Stable.
    #[must_use]
    pub fn previous(&self) -> Option<Digest> {
        let stable = self.stable()?;
        let record = self.history.record.as_ref()?;
        let completed = record
            .completed
            .iter()
            .rev()
            .find(|digest| **digest != stable && record.quarantined(**digest, 0).is_none());
        completed.copied()
    }

    /// Whether a rollout is under way.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        self.target().is_some()
    }

    /// The last good declaration.
    #[must_use]
    pub fn application(&self) -> Option<&Arc<Application>> {
        match &self.declared {
            Declared::Ready { application, .. } => Some(application),
            Declared::Broken { last, .. } => last.as_ref(),
            Declared::Removed { .. } => None,
        }
    }

    /// Every object that the app has to do with, with its API version.
    #[must_use]
    pub fn keys(&self) -> BTreeMap<ObjectKey, String> {
        let mut keys = self.history.record.as_ref().map(|record| record.inventory.clone()).unwrap_or_default();
        let releases = self.releases.values().chain(&self.next);
        for (key, object) in releases.flat_map(|release| &release.objects) {
            keys.insert(key.clone(), object.version.clone());
        }
        keys
    }

    /// Drops Releases from memory that nothing refers to.
    pub fn trim(&mut self) {
        let needed: BTreeSet<Digest> = [self.stable(), self.target()].into_iter().flatten().collect();
        if let Some(next) = self.next.clone().filter(|next| needed.contains(&next.reference.digest)) {
            self.releases.insert(next.reference.digest, next);
        }
        self.releases.retain(|digest, _| needed.contains(digest));
    }
}
