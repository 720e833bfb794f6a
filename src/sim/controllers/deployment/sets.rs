//! ReplicaSets of a Deployment: read, found, created, annotated, scaled, cleaned up (`deployment/sync.go`).

use serde_json::{Value, json};

use super::report::Condition;
use super::{Pass, reading};
use crate::model::{Object, ObjectKey, Timestamp};
use crate::sim::controllers::chance::{hash, suffix};
use crate::sim::controllers::reading::LABEL_HASH;
use crate::world::{ApiError, Part};

const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations that a ReplicaSet does not take over from its Deployment (`annotationsToSkip`).
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// A ReplicaSet as its Deployment's controller sees it.
pub(super) struct Set {
    pub(super) object: Object,
    pub(super) replicas: i64,
    /// `status.replicas`.
    pub(super) actual: i64,
    pub(super) ready: i64,
    pub(super) available: i64,
    pub(super) desired: Option<i64>,
    pub(super) max: Option<i64>,
    revision: i64,
}

impl Set {
    pub(super) fn read(object: Object) -> Self {
        let status = |field: &str| reading::int(&object.body, &["status", field]).unwrap_or(0);
        let mark = |name: &str| object.annotation(name).and_then(|text| text.parse().ok());
        Self {
            replicas: reading::int(&object.body, &["spec", "replicas"]).unwrap_or(1),
            actual: status("replicas"),
            ready: status("readyReplicas"),
            available: status("availableReplicas"),
            desired: mark(DESIRED),
            max: mark(MAX),
            revision: mark(REVISION).unwrap_or(0),
            object,
        }
    }

    pub(super) fn template(&self) -> &Value {
        reading::at(&self.object.body, &["spec", "template"]).unwrap_or(&Value::Null)
    }

    /// What orders them by age (`ReplicaSetsByCreationTimestamp`): seconds of creation, then name.
    pub(super) fn age(&self) -> (i64, &str) {
        let created = reading::moment(&self.object.body, &["metadata", "creationTimestamp"]);
        (created.map_or(0, Timestamp::as_second), &self.object.key.name)
    }
}

impl Pass<'_, '_> {
    /// Syncs revision, copied annotations and minReadySeconds of the new ReplicaSet, if there is one
    /// (`getNewReplicaSet`), and says whether that took a write.
    pub(super) fn update_new(&mut self) -> Result<bool, ApiError> {
        let Some(new) = self.new else { return Ok(false) };
        let next = self.next_revision();
        let min_ready_seconds = self.declared.min_ready_seconds;
        let known = reading::int(&self.sets[new].object.body, &["spec", "minReadySeconds"]).unwrap_or(0);
        if known != min_ready_seconds || !self.is_annotated(new, next) {
            let mut body = (*self.sets[new].object.body).clone();
            self.annotate(&mut body, next);
            body["spec"]["minReadySeconds"] = json!(min_ready_seconds);
            self.write(new, body)?;
            return Ok(true);
        }
        self.revision = Some(self.sets[new].revision.to_string());
        if self.declared.deadline_seconds.is_some() && self.status.condition("Progressing").is_none() {
            let message = format!("Found new replica set \"{}\"", self.sets[new].object.key.name);
            self.set_condition("Progressing", "True", "FoundNewReplicaSet", message);
        }
        Ok(false)
    }

    /// The new ReplicaSet, created if it is missing (`getNewReplicaSet`).
    pub(super) fn ensure_new(&mut self) -> Result<usize, ApiError> {
        if let Some(new) = self.new {
            return Ok(new);
        }
        let set = self.fresh();
        let created = match self.desk.api.create(&self.desk.by, &set) {
            Ok(created) => created,
            Err(ApiError::AlreadyExists) => {
                // Somebody else's ReplicaSet has that name: another hash is taken in the next sync.
                self.status.collisions += 1;
                self.report_counts()?;
                return Err(ApiError::AlreadyExists);
            }
            Err(error) => {
                let message = format!("Failed to create new replica set \"{}\": {error}", set.key.name);
                if self.declared.deadline_seconds.is_some() {
                    self.set_condition("Progressing", "False", "ReplicaSetCreateError", message);
                }
                self.report_counts()?;
                return Err(error);
            }
        };
        if self.declared.deadline_seconds.is_some() {
            let message = format!("Created new replica set \"{}\"", created.key.name);
            self.set_condition("Progressing", "True", "NewReplicaSetCreated", message);
        }
        let set = Set::read(created);
        self.revision = Some(set.revision.to_string());
        self.sets.push(set);
        self.new = Some(self.sets.len() - 1);
        Ok(self.sets.len() - 1)
    }

    /// A ReplicaSet for the Deployment's template, as large as the window allows.
    fn fresh(&self) -> Object {
        let Object { key, body, .. } = &self.object;
        let mut template = reading::at(body, &["spec", "template"]).cloned().unwrap_or_default();
        let hash = suffix(hash(format!("{template}{}", self.status.collisions).as_bytes()), 10);
        reading::map_at(&mut template, &["metadata", "labels"]).insert(LABEL_HASH.to_owned(), json!(hash));
        let mut selector = reading::at(body, &["spec", "selector"]).cloned().unwrap_or_default();
        reading::map_at(&mut selector, &["matchLabels"]).insert(LABEL_HASH.to_owned(), json!(hash));
        let name = format!("{}-{hash}", key.name);
        let size = self.new_size(self.sum(|set| set.replicas), 0);
        let mut set = json!({
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": name,
                "namespace": key.namespace,
                "labels": template["metadata"]["labels"],
                "ownerReferences": [reading::controller_reference(&self.object)],
            },
            "spec": {
                "replicas": size,
                "minReadySeconds": self.declared.min_ready_seconds,
                "selector": selector,
                "template": template,
            },
        });
        self.annotate(&mut set, self.next_revision());
        self.mark(&mut set);
        let key = ObjectKey::local("apps", "ReplicaSet", &key.namespace, &name);
        Object { key, version: "v1".to_owned(), body: set.into() }
    }

    /// One above the old ones' highest revision.
    fn next_revision(&self) -> i64 {
        self.old().into_iter().map(|index| self.sets[index].revision).max().unwrap_or(0) + 1
    }

    /// The Deployment's annotations that its ReplicaSets take over.
    fn copied(&self) -> impl Iterator<Item = (&String, &Value)> {
        let declared = reading::at(&self.object.body, &["metadata", "annotations"]).and_then(Value::as_object);
        declared.into_iter().flatten().filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()))
    }

    /// Whether a ReplicaSet has those annotations and at least that revision.
    fn is_annotated(&self, index: usize, revision: i64) -> bool {
        let set = &self.sets[index];
        let has = |name: &str, value: &Value| set.object.annotation(name) == value.as_str();
        set.revision >= revision && self.copied().all(|(name, value)| has(name, value))
    }

    /// Copies the Deployment's annotations and raises the revision (`SetNewReplicaSetAnnotations`).
    fn annotate(&self, set: &mut Value, revision: i64) {
        let annotations = reading::map_at(set, &["metadata", "annotations"]);
        for (name, value) in self.copied() {
            annotations.insert(name.clone(), value.clone());
        }
        let before = annotations.get(REVISION).and_then(Value::as_str).map(str::to_owned);
        if before.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0) < revision {
            annotations.insert(REVISION.to_owned(), json!(revision.to_string()));
            if let Some(before) = before {
                let history = annotations.get(REVISION_HISTORY).and_then(Value::as_str);
                let history = history.map_or(before.clone(), |history| format!("{history},{before}"));
                annotations.insert(REVISION_HISTORY.to_owned(), json!(history));
            }
        }
    }

    /// Writes n and n + surge into a ReplicaSet (`SetReplicasAnnotations`).
    fn mark(&self, set: &mut Value) {
        let (n, max) = (self.declared.n, self.declared.n + self.declared.surge());
        let annotations = reading::map_at(set, &["metadata", "annotations"]);
        annotations.insert(DESIRED.to_owned(), json!(n.to_string()));
        annotations.insert(MAX.to_owned(), json!(max.to_string()));
    }

    /// Scales a ReplicaSet and marks it (`scaleReplicaSet`). One that has its size already is marked only when forced.
    pub(super) fn set_scale(&mut self, index: usize, size: i64, is_forced: bool) -> Result<bool, ApiError> {
        let set = &self.sets[index];
        let is_scaled = set.replicas != size;
        let (n, max) = (self.declared.n, self.declared.n + self.declared.surge());
        let is_marked = set.desired == Some(n) && set.max == Some(max);
        if !is_scaled && (!is_forced || is_marked) {
            return Ok(false);
        }
        let mut body = (*set.object.body).clone();
        body["spec"]["replicas"] = json!(size);
        self.mark(&mut body);
        self.write(index, body)?;
        Ok(is_scaled)
    }

    fn write(&mut self, index: usize, body: Value) -> Result<(), ApiError> {
        let wanted = self.sets[index].object.with_body(body);
        self.sets[index] = Set::read(self.desk.api.update(&self.desk.by, &wanted, Part::Object)?);
        Ok(())
    }

    /// `DeploymentComplete` of the stored status, then `cleanupDeployment`.
    pub(super) fn clean_up_when_complete(&mut self) -> Result<(), ApiError> {
        let generation = reading::int(&self.object.body, &["metadata", "generation"]).unwrap_or(0);
        if self.status.is_complete(self.declared.n, generation) { self.clean_up() } else { Ok(()) }
    }

    /// Deletes empty old ReplicaSets beyond the history limit, lowest revision first (`cleanupDeployment`).
    pub(super) fn clean_up(&mut self) -> Result<(), ApiError> {
        let Some(history_max) = self.declared.history_max else { return Ok(()) };
        let mut old = self.old();
        old.retain(|index| !self.sets[*index].object.is_terminating());
        old.sort_by_key(|index| (self.sets[*index].revision, self.sets[*index].age()));
        let surplus = old.len().saturating_sub(usize::try_from(history_max).unwrap_or(0));
        for index in old.into_iter().take(surplus) {
            let set = &self.sets[index];
            let is_observed = reading::int(&set.object.body, &["status", "observedGeneration"])
                >= reading::int(&set.object.body, &["metadata", "generation"]);
            if set.actual != 0 || set.replicas != 0 || !is_observed {
                continue;
            }
            match self.desk.api.delete(&self.desk.by, &set.object.key, None) {
                Ok(()) | Err(ApiError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sets a condition, unless it is known with that status and reason (`SetDeploymentCondition`).
    pub(super) fn set_condition(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        self.status.set(Condition::new(kind, status, reason, message, self.desk.now));
    }
}
