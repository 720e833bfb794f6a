//! The API server. Enters: verbs with raw objects, by whom. Leaves: what Kubernetes would answer, and a log of commits
//! that watches, controllers and checkers read. It knows no time but what it is told, and decides nothing.

mod admission;
mod default;
mod delete;
pub mod fields;
mod owners;
mod schema;
mod served;
mod validate;
mod walk;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{ClusterName, GroupKind, Object, ObjectKey, Timestamp};
use crate::world::{Kinds, Listed, Scope};

pub use self::admission::{Mutation, Quota, Refusal, Rules, Verb};
pub use self::delete::Deletion;
use self::owners::Owner;

/// The kinds that this API server serves: group, version, kind, whether namespaced, whether it has a status subresource.
pub const KINDS: &[(&str, &str, &str, bool, bool)] = &[
    ("", "v1", "ConfigMap", true, false),
    ("", "v1", "Pod", true, true),
    ("", "v1", "Secret", true, false),
    ("", "v1", "Service", true, true),
    ("apps", "v1", "Deployment", true, true),
    ("apps", "v1", "ReplicaSet", true, true),
    ("apps", "v1", "StatefulSet", true, true),
    ("tidegate.dev", "v1alpha1", "Application", true, true),
    // Bookkeeping beside the eight: leases elect, events tell, namespaces hold.
    ("coordination.k8s.io", "v1", "Lease", true, false),
    ("", "v1", "Event", true, false),
    ("", "v1", "Namespace", false, true),
];

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Field manager.
    pub manager: Arc<str>,
    /// Which agent process, when it is one of ours.
    pub agent: Option<u32>,
}

impl Writer {
    /// Somebody who is no agent of ours.
    #[must_use]
    pub fn other(manager: &str) -> Self {
        Self { manager: Arc::from(manager), agent: None }
    }
}

/// One committed write.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The resourceVersion that it made.
    pub revision: u64,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Writer,
    /// What was written.
    pub key: ObjectKey,
    /// The object before; `None` when it was created.
    pub before: Option<Object>,
    /// The object after; `None` when it was removed.
    pub after: Option<Object>,
}

/// What is stored of an object: itself, and who owns what of it, parsed.
#[derive(Clone, Debug)]
struct Stored {
    object: Object,
    owners: Arc<Vec<Owner>>,
}

/// The API server and what it stores.
#[derive(Clone, Debug)]
pub struct Api {
    now: Timestamp,
    /// The time as objects tell it.
    clock: Arc<str>,
    revision: u64,
    uids: u64,
    objects: BTreeMap<ObjectKey, Stored>,
    log: Vec<Commit>,
    /// Watches cannot start from before this resourceVersion.
    compacted: u64,
    rules: Rules,
    /// Kinds whose owners are not kept track of.
    untracked: Vec<String>,
    /// Whether nothing was left behind when it was last looked for, and no object went since.
    is_collected: bool,
}

impl Api {
    /// An empty cluster at a moment.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            clock: clock(now),
            revision: 1,
            uids: 0,
            objects: BTreeMap::new(),
            log: Vec::new(),
            compacted: 0,
            rules: Rules::default(),
            untracked: Vec::new(),
            is_collected: true,
        }
    }

    /// The same, without keeping track of who owns the fields of some kinds, by name: their objects show no
    /// `managedFields`, and nobody is in the way of an apply.
    #[must_use]
    pub fn untracked(mut self, kinds: &[&str]) -> Self {
        self.untracked = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        self
    }

    /// The same with a namespace in it.
    #[must_use]
    pub fn with_namespace(mut self, name: &str) -> Self {
        let body = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let namespace = Object::from_value(&ClusterName::local(), body).expect("it has a name");
        self.create(&Writer::other("kubectl-create"), &namespace).expect("its name is valid and not taken");
        self
    }

    /// Tells the time. It never goes back.
    pub fn set_now(&mut self, now: Timestamp) {
        if now.as_second() > self.now.as_second() {
            self.clock = clock(now);
        }
        self.now = self.now.max(now);
    }

    /// The newest resourceVersion.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// What the server serves.
    #[must_use]
    pub fn kinds(&self) -> Kinds {
        let kinds = KINDS.iter().map(|(group, version, kind, is_namespaced, _)| {
            ((GroupKind::new(group, kind), (*version).to_owned()), *is_namespaced)
        });
        kinds.collect()
    }

    /// Reads one object.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key).map(|stored| &stored.object)
    }

    /// The objects of a kind, in one namespace or in all, in order of namespace and name.
    pub fn objects<'a>(
        &'a self,
        kind: &'a GroupKind,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Object> + 'a {
        let first = ObjectKey::new(ClusterName::local(), kind.clone(), namespace.unwrap_or_default(), "");
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.kind == *kind && namespace.is_none_or(|wanted| key.namespace == wanted))
            .map(|(_, stored)| &stored.object)
    }

    /// A collection as it is now. The selector is a comma-separated list of `name=value`.
    #[must_use]
    pub fn list(&self, scope: &Scope, label_selector: &str) -> Listed {
        let wanted: Vec<(&str, &str)> = label_selector.split(',').filter_map(|pair| pair.split_once('=')).collect();
        let matches = |object: &&Object| wanted.iter().all(|(name, value)| object.label(name) == Some(*value));
        let items = self.objects(&scope.kind, scope.namespace.as_deref()).filter(matches).cloned().collect();
        Listed { items, resource_version: self.revision.to_string() }
    }

    /// Commits with a resourceVersion above `revision`, oldest first; `None` when those are compacted away (410).
    #[must_use]
    pub fn commits_after(&self, revision: u64) -> Option<&[Commit]> {
        if revision < self.compacted {
            return None;
        }
        let start = self.log.partition_point(|commit| commit.revision <= revision);
        Some(&self.log[start..])
    }

    /// Forgets the log up to a resourceVersion; watches from before it end with 410.
    pub fn compact(&mut self, revision: u64) {
        self.compacted = self.compacted.max(revision.min(self.revision));
        self.log.retain(|commit| commit.revision > self.compacted);
    }
}

/// A moment as the API server writes it: to the second.
fn clock(now: Timestamp) -> Arc<str> {
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    Arc::from(whole.to_string())
}
