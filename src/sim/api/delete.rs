//! Deletion: preconditions, grace, finalizers, and what is left behind by owners that are gone.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::admission::Verb;
use super::served::{Served, has_finalizers, is_graceful, metadata};
use super::{Api, Stored, Writer};
use crate::model::{GroupKind, Object, ObjectKey};
use crate::world::{ApiError, Preconditions};

/// How to delete.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    /// What must be true of the object; nothing.
    pub preconditions: Option<Preconditions>,
    /// How long a pod may take to stop; as its spec says. The kubelet ends with zero.
    pub grace_seconds: Option<i64>,
}

impl Api {
    /// Deletes in the background; with finalizers it only marks, and so it does pods that still have to stop.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when a precondition fails, `Forbidden`.
    pub fn delete(
        &mut self,
        by: &Writer,
        key: &ObjectKey,
        preconditions: Option<&Preconditions>,
    ) -> Result<(), ApiError> {
        self.delete_with(by, key, &Deletion { preconditions: preconditions.cloned(), grace_seconds: None })
    }

    /// Deletes, with a say in how.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when a precondition fails, `Forbidden`.
    pub fn delete_with(&mut self, by: &Writer, key: &ObjectKey, deletion: &Deletion) -> Result<(), ApiError> {
        let Stored { object, owners } = self.objects.get(key).ok_or(ApiError::NotFound)?.clone();
        if let Some(Preconditions { uid, resource_version }) = &deletion.preconditions
            && (uid != object.uid() || resource_version != object.resource_version())
        {
            return Err(ApiError::Conflict);
        }
        self.admit(Verb::Delete, key)?;
        let served = Served::of(&object)?;
        let grace = match served.kind {
            "Pod" => pod_grace(&object, deletion.grace_seconds),
            _ => 0,
        };
        let is_held = has_finalizers(&object.body) || served.kind == "Namespace";
        if grace == 0 && !is_held {
            self.commit(by, key.clone(), None);
            return Ok(());
        }
        let shortest = object.int("/metadata/deletionGracePeriodSeconds").unwrap_or(i64::MAX);
        if object.is_terminating() && grace >= shortest {
            return Ok(());
        }
        let mut body = (*object.body).clone();
        let is_first = !object.is_terminating();
        let ends = self.now.as_second().saturating_add(grace);
        let ends = super::clock(crate::model::Timestamp::from_second(ends).unwrap_or(self.now));
        let fields = metadata(&mut body);
        fields.insert("deletionTimestamp".to_owned(), json!(&*ends));
        fields.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        if let Some(generation) = fields.get("generation").and_then(Value::as_i64).filter(|_| is_first) {
            fields.insert("generation".to_owned(), json!(generation + 1));
        }
        if served.kind == "Namespace" {
            body["status"]["phase"] = json!("Terminating");
        }
        self.commit(by, key.clone(), Some(Stored { object: object.with_body(body), owners }));
        Ok(())
    }

    /// Objects whose owners are all gone, and what is in namespaces that are going.
    #[must_use]
    pub fn orphans(&self) -> Vec<ObjectKey> {
        if self.is_collected {
            return Vec::new();
        }
        let uids: BTreeSet<&str> = self.objects.values().map(|stored| stored.object.uid()).collect();
        let namespaces = GroupKind::new("", "Namespace");
        let ending: BTreeSet<&str> = self
            .objects(&namespaces, None)
            .filter(|namespace| namespace.is_terminating())
            .map(|namespace| namespace.key.name.as_str())
            .collect();
        let is_orphan = |object: &Object| {
            let owners = object.body["metadata"].get("ownerReferences").and_then(Value::as_array);
            let is_gone = |owner: &Value| owner["uid"].as_str().is_none_or(|uid| !uids.contains(uid));
            owners.is_some_and(|owners| !owners.is_empty() && owners.iter().all(is_gone))
        };
        let goes = |object: &&Object| {
            // What is on its way already needs no second push.
            let is_left = ending.contains(object.key.namespace.as_str()) || is_orphan(object);
            is_left && !object.is_terminating()
        };
        self.objects.values().map(|stored| &stored.object).filter(goes).map(|object| object.key.clone()).collect()
    }

    /// The garbage collector and the namespace controller: deletes what is left behind, once over. Gives how many objects
    /// it touched; what those leave behind is for the next time.
    pub fn collect(&mut self) -> usize {
        let by = Writer::other("kube-controller-manager");
        let orphans = self.orphans();
        for key in &orphans {
            // Admission may hold it; the next time tries again.
            let _ = self.delete(&by, key, None);
        }
        let is_empty = |api: &Self, name: &str| !api.objects.keys().any(|key| key.namespace == name);
        let namespaces = GroupKind::new("", "Namespace");
        let ended: Vec<ObjectKey> = self
            .objects(&namespaces, None)
            .filter(|namespace| namespace.is_terminating() && is_empty(self, &namespace.key.name))
            .map(|namespace| namespace.key.clone())
            .collect();
        for key in &ended {
            self.commit(&by, key.clone(), None);
        }
        let touched = orphans.len() + ended.len();
        let is_ending = self.objects(&namespaces, None).any(Object::is_terminating);
        self.is_collected = touched == 0 && !is_ending;
        touched
    }
}

/// How long a pod may take to stop: no time when it never ran or has ended.
fn pod_grace(pod: &Object, wanted: Option<i64>) -> i64 {
    let has_node = pod.text("/spec/nodeName").is_some_and(|node| !node.is_empty());
    let has_ended = matches!(pod.text("/status/phase"), Some("Succeeded" | "Failed"));
    if !has_node || has_ended {
        return 0;
    }
    let declared = pod.int("/spec/terminationGracePeriodSeconds").unwrap_or(30);
    let wanted = wanted.unwrap_or(declared).max(0);
    // A pod that is on its way keeps the shorter time.
    if is_graceful(&pod.body) {
        wanted.min(pod.int("/metadata/deletionGracePeriodSeconds").unwrap_or(wanted))
    } else {
        wanted
    }
}
