//! One app in the agent's memory. Everything in here can be lost: what must not be is in the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::contention::Contended;
use super::neighbours::Stood;
use crate::decide::{Failure, Neighbours};
use crate::model::{
    AppName, Application, Declared, Digest, Elsewhere, GroupKind, History, Millis, Object, ObjectKey, Release,
    Revision, Timestamp,
};
use crate::observe::{Applied, Rehearsal};
use crate::stage::Stage;
use crate::status::AppView;

/// A rollout is looked at every five seconds at least; when three looks are missing, nobody was there.
const ATTENDED_FOR: Millis = Millis::from_seconds(15);

/// One app.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name.
    pub name: AppName,
    /// What Git says.
    pub declared: Declared,
    /// What Git says rendered, when that is known.
    pub next: Option<Arc<Release>>,
    /// Of which commits of other repositories it was rendered.
    pub rendered_from: BTreeMap<Elsewhere, Revision>,
    /// The custom resource as last written or seen.
    pub object: Option<Object>,
    /// What is durable, and what memory adds.
    pub history: History,
    /// Whether `history.kept` is what the cluster holds, and not only what this process wrote.
    pub knows_kept: bool,
    /// Why the stored state cannot be used; the app is read-only then.
    pub unusable: Option<String>,
    /// Releases in memory.
    pub releases: BTreeMap<Digest, Arc<Release>>,
    /// What the server made of our applies.
    pub applied: BTreeMap<ObjectKey, Applied>,
    /// The stage of the last pass while a rollout is under way, so that the next one makes only what differs.
    pub staged: Stage,
    /// Kinds of its objects that the cluster does not serve at present.
    pub unserved: BTreeSet<GroupKind>,
    /// What it and others are to each other.
    pub neighbours: Neighbours,
    /// How it stood after its last pass.
    pub stood: Stood,
    /// What came of trying by dry run what Git declares.
    pub rehearsal: Option<Rehearsal>,
    /// Writes that do not work.
    pub failures: BTreeMap<ObjectKey, Failure>,
    /// When drift was corrected, by object and field, newest last.
    pub corrections: BTreeMap<ObjectKey, BTreeMap<String, Vec<Timestamp>>>,
    /// Fields over which somebody fights with us, by JSON pointer.
    pub contended: BTreeMap<ObjectKey, BTreeMap<String, Contended>>,
    /// Fields that admission changed in our last apply, by JSON pointer.
    pub mutated: BTreeMap<ObjectKey, Vec<String>>,
    /// When its objects were last looked at with success.
    pub looked_at: Option<Timestamp>,
    /// The view that it tells of.
    pub status_of: Option<Arc<AppView>>,
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
            rendered_from: BTreeMap::new(),
            object: None,
            history: History::default(),
            knows_kept: false,
            unusable: None,
            releases: BTreeMap::new(),
            applied: BTreeMap::new(),
            staged: Stage::default(),
            unserved: BTreeSet::new(),
            neighbours: Neighbours::default(),
            stood: Stood::default(),
            rehearsal: None,
            failures: BTreeMap::new(),
            corrections: BTreeMap::new(),
            contended: BTreeMap::new(),
            mutated: BTreeMap::new(),
            looked_at: None,
            status_of: None,
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

    /// The status that stands in the custom resource.
    #[must_use]
    pub fn status(&self) -> Option<&Value> {
        self.object.as_ref()?.body.get("status")
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

    /// On whose behalf the app's objects are written: the service account that it names, also when Git no longer does.
    #[must_use]
    pub fn acting(&self) -> Option<String> {
        let user = |namespace: &str, name: &str| format!("system:serviceaccount:{namespace}:{name}");
        if let Some(application) = self.application() {
            return Some(user(&application.namespace, application.service_account.as_deref()?));
        }
        let object = self.object.as_ref()?;
        let named = object.text("/spec/destination/serviceAccount")?;
        Some(user(object.text("/spec/destination/namespace")?, named))
    }

    /// Every object that the app has to do with, with its API version: what Git says comes before what is recorded. In
    /// order, each once.
    #[must_use]
    pub fn keys(&self) -> Vec<(&ObjectKey, &str)> {
        self.keys_of(|_| true)
    }

    /// The same, of these objects only.
    #[must_use]
    pub fn keys_of(&self, is_wanted: fn(&ObjectKey) -> bool) -> Vec<(&ObjectKey, &str)> {
        let releases = self.next.iter().chain(self.releases.values().rev());
        let objects = releases.flat_map(|release| &release.objects).map(|(key, object)| (key, object.version.as_str()));
        let inventory = self.history.record.iter().flat_map(|record| &record.inventory);
        let inventory = inventory.map(|(key, version)| (key, version.as_str()));
        let mut keys: Vec<_> = objects.chain(inventory).filter(|(key, _)| is_wanted(key)).collect();
        // Runs that are in order already: merging them costs little more than reading them.
        keys.sort_by_key(|(key, _)| *key);
        keys.dedup_by_key(|(key, _)| *key);
        keys
    }

    /// Notes that the app's objects were looked at. Time limits of waves count from where looks come without a break.
    pub fn attend(&mut self, now: Timestamp) {
        let is_unbroken = self.looked_at.is_some_and(|last| !ATTENDED_FOR.has_passed(last, now));
        if !is_unbroken {
            self.history.attended_since = Some(now);
        }
        self.looked_at = Some(now);
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
