//! A Deployment's status: counts and conditions (`deployment/sync.go` `calculateStatus`, `deployment/progress.go`).

use serde_json::{Map, Value, json};

use super::{Pass, pods, reading};
use crate::model::{Millis, Timestamp};
use crate::world::{ApiError, Part};

/// `status.conditions[]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    kind: String,
    status: String,
    reason: String,
    message: String,
    updated: String,
    changed: String,
}

impl Condition {
    pub(super) fn new(kind: &str, status: &str, reason: &str, message: String, now: Timestamp) -> Self {
        let now = reading::written(now);
        Self {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            updated: now.clone(),
            changed: now,
        }
    }

    /// Reads one; a ReplicaSet's has no time of update (`ReplicaSetToDeploymentCondition`).
    fn read(value: &Value) -> Self {
        let text = |field: &str| reading::text(value, &[field]).unwrap_or_default().to_owned();
        let changed = text("lastTransitionTime");
        let updated = reading::text(value, &["lastUpdateTime"]).map_or_else(|| changed.clone(), str::to_owned);
        Self {
            kind: text("type"),
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
            updated,
            changed,
        }
    }

    fn to_value(&self) -> Value {
        json!({
            "type": self.kind,
            "status": self.status,
            "lastUpdateTime": self.updated,
            "lastTransitionTime": self.changed,
            "reason": self.reason,
            "message": self.message,
        })
    }
}

/// A Deployment's status.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Status {
    observed: i64,
    pub(super) replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    unavailable: i64,
    pub(super) collisions: i64,
    conditions: Vec<Condition>,
}

impl Status {
    pub(super) fn read(value: &Value) -> Self {
        let count = |field: &str| reading::int(value, &[field]).unwrap_or(0);
        let conditions = value.get("conditions").and_then(Value::as_array);
        Self {
            observed: count("observedGeneration"),
            replicas: count("replicas"),
            updated: count("updatedReplicas"),
            ready: count("readyReplicas"),
            available: count("availableReplicas"),
            unavailable: count("unavailableReplicas"),
            collisions: count("collisionCount"),
            conditions: conditions.into_iter().flatten().map(Condition::read).collect(),
        }
    }

    fn to_value(&self) -> Value {
        let mut status = Map::new();
        for (field, count) in [
            ("observedGeneration", self.observed),
            ("replicas", self.replicas),
            ("updatedReplicas", self.updated),
            ("readyReplicas", self.ready),
            ("availableReplicas", self.available),
            ("unavailableReplicas", self.unavailable),
            ("collisionCount", self.collisions),
        ] {
            reading::put_count(&mut status, field, count);
        }
        if !self.conditions.is_empty() {
            let conditions = self.conditions.iter().map(Condition::to_value).collect();
            status.insert("conditions".to_owned(), Value::Array(conditions));
        }
        Value::Object(status)
    }

    pub(super) fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// `SetDeploymentCondition`.
    pub(super) fn set(&mut self, mut condition: Condition) {
        if let Some(known) = self.condition(&condition.kind)
            && known.status == condition.status
        {
            if known.reason == condition.reason {
                return;
            }
            condition.changed.clone_from(&known.changed);
        }
        self.remove(&condition.kind);
        self.conditions.push(condition);
    }

    fn remove(&mut self, kind: &str) {
        self.conditions.retain(|condition| condition.kind != kind);
    }

    /// `DeploymentComplete`.
    pub(super) fn is_complete(&self, n: i64, generation: i64) -> bool {
        self.updated == n && self.replicas == n && self.available == n && self.observed >= generation
    }

    /// `DeploymentProgressing`: more new, fewer old, more Ready or more available pods than `before`.
    fn has_progressed(&self, before: &Self) -> bool {
        self.updated > before.updated
            || self.replicas - self.updated < before.replicas - before.updated
            || self.ready > before.ready
            || self.available > before.available
    }
}

impl Pass<'_, '_> {
    /// `checkPausedConditions`.
    pub(super) fn check_paused(&mut self) {
        let reason = self.status.condition("Progressing").map(|known| known.reason.clone()).unwrap_or_default();
        if self.declared.deadline_seconds.is_none() || reason == "ProgressDeadlineExceeded" {
            return;
        }
        let is_said = reason == "DeploymentPaused";
        if self.declared.is_paused && !is_said {
            self.set_condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused".to_owned());
        } else if !self.declared.is_paused && is_said {
            self.set_condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned());
        }
    }

    /// `syncDeploymentStatus`: the counts, whatever they are.
    pub(super) fn report_counts(&mut self) -> Result<Option<Timestamp>, ApiError> {
        let status = self.counted();
        self.write_status(&status).map(|_| None)
    }

    /// `syncRolloutStatus`: the counts and how the rollout fares.
    pub(super) fn report_progress(&mut self) -> Result<Option<Timestamp>, ApiError> {
        let mut status = self.counted();
        let generation = reading::int(&self.object.body, &["metadata", "generation"]).unwrap_or(0);
        let is_complete = status.is_complete(self.declared.n, generation);
        match self.declared.deadline_seconds {
            None => status.remove("Progressing"),
            Some(deadline_seconds) => self.judge(&mut status, is_complete, deadline_seconds),
        }
        match self.replica_failure() {
            Some(failure) => status.set(failure),
            None => status.remove("ReplicaFailure"),
        }
        if self.write_status(&status)? || is_complete {
            return Ok(None);
        }
        Ok(self.next_check(&status))
    }

    /// Sets the condition `Progressing`, unless the rollout has completed before.
    fn judge(&self, status: &mut Status, is_complete: bool, deadline_seconds: i64) {
        let known = self.status.condition("Progressing");
        let reason = known.map(|known| known.reason.as_str());
        if status.replicas == status.updated && reason == Some("NewReplicaSetAvailable") {
            return;
        }
        let named = match self.new {
            Some(new) => format!("ReplicaSet \"{}\"", self.sets[new].object.key.name),
            None => format!("Deployment \"{}\"", self.object.key.name),
        };
        let now = self.desk.now;
        let say = |truth, reason, what| Condition::new("Progressing", truth, reason, format!("{named} {what}"), now);
        if is_complete {
            status.set(say("True", "NewReplicaSetAvailable", "has successfully progressed."));
        } else if status.has_progressed(&self.status) {
            let mut condition = say("True", "ReplicaSetUpdated", "is progressing.");
            if let Some(known) = known.filter(|known| known.status == "True") {
                condition.changed.clone_from(&known.changed);
            }
            // Progress renews the time of update even when nothing else changes.
            status.remove("Progressing");
            status.set(condition);
        } else if self.has_timed_out(status, deadline_seconds) {
            status.set(say("False", "ProgressDeadlineExceeded", "has timed out progressing."));
        }
    }

    /// `DeploymentTimedOut`.
    fn has_timed_out(&self, status: &Status, deadline_seconds: i64) -> bool {
        let Some(known) = status.condition("Progressing") else { return false };
        match known.reason.as_str() {
            "NewReplicaSetAvailable" => false,
            "ProgressDeadlineExceeded" => true,
            _ => deadline(known, deadline_seconds).is_some_and(|deadline| deadline < self.desk.now),
        }
    }

    /// When to look whether the deadline has passed (`requeueStuckDeployment`).
    fn next_check(&self, status: &Status) -> Option<Timestamp> {
        let known = status.condition("Progressing").filter(|known| known.reason != "ProgressDeadlineExceeded")?;
        let deadline = deadline(known, self.declared.deadline_seconds?)?;
        let second = Millis::from_seconds(1);
        pods::within_sight(Some(second.after(deadline.max(self.desk.now))), self.desk.now)
    }

    /// `getReplicaFailures`: the new ReplicaSet's before the others'.
    fn replica_failure(&self) -> Option<Condition> {
        let sets = self.new.into_iter().chain(self.old());
        sets.filter_map(|index| reading::condition(&self.sets[index].object.body, "ReplicaFailure"))
            .map(Condition::read)
            .next()
    }

    /// `calculateStatus`.
    fn counted(&self) -> Status {
        let available = self.sum(|set| set.available);
        let mut status = Status {
            observed: reading::int(&self.object.body, &["metadata", "generation"]).unwrap_or(0),
            replicas: self.sum(|set| set.actual),
            updated: self.new.map_or(0, |new| self.sets[new].actual),
            ready: self.sum(|set| set.ready),
            available,
            unavailable: (self.sum(|set| set.replicas) - available).max(0),
            collisions: self.status.collisions,
            conditions: self.status.conditions.clone(),
        };
        let (truth, reason, message) = if available >= self.declared.n - self.declared.unavailable() {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        status.set(Condition::new("Available", truth, reason, message.to_owned(), self.desk.now));
        status
    }

    /// Writes the status, and the revision annotation with it as the status strategy allows; says whether it changed.
    fn write_status(&mut self, status: &Status) -> Result<bool, ApiError> {
        const REVISION: &str = "deployment.kubernetes.io/revision";
        let stored = Status::read(self.object.body.get("status").unwrap_or(&Value::Null));
        let revision = self.revision.as_deref().filter(|revision| self.object.annotation(REVISION) != Some(*revision));
        if stored == *status && revision.is_none() {
            return Ok(false);
        }
        let mut body = (*self.object.body).clone();
        body["status"] = status.to_value();
        if let Some(revision) = revision {
            reading::map_at(&mut body, &["metadata", "annotations"]).insert(REVISION.to_owned(), json!(revision));
        }
        let written = self.desk.api.update(&self.desk.by, &self.object.with_body(body), Part::Status)?;
        let is_changed = written.resource_version() != self.object.resource_version();
        self.object = written;
        Ok(is_changed)
    }
}

fn deadline(progressing: &Condition, deadline_seconds: i64) -> Option<Timestamp> {
    let updated: Timestamp = progressing.updated.parse().ok()?;
    Some(Millis::from_seconds(u64::try_from(deadline_seconds).unwrap_or(0)).after(updated))
}
