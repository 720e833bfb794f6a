//! Deployment, StatefulSet, DaemonSet and ReplicaSet.

use super::condition::{condition, count, holds, lags};
use crate::model::{Health, HealthStatus, Object};

fn progressing(message: String) -> Health {
    Health::new(HealthStatus::Progressing, message)
}

/// Source: `gitops-engine/pkg/health/health_deployment.go`. As there, a paused one is Suspended whatever its counts.
pub(super) fn deployment(object: &Object) -> Option<Health> {
    if object.at("/spec/paused").and_then(serde_json::Value::as_bool) == Some(true) {
        return Some(Health::new(HealthStatus::Suspended, "the Deployment is paused"));
    }
    if let Some(health) = lags(object) {
        return Some(health);
    }
    if condition(object, "Progressing").is_some_and(|condition| condition.reason() == "ProgressDeadlineExceeded") {
        return Some(Health::new(HealthStatus::Degraded, "the Deployment exceeded its progress deadline"));
    }
    let wanted = object.int("/spec/replicas").unwrap_or(1);
    let updated = count(object, "/status/updatedReplicas");
    let all = count(object, "/status/replicas");
    let available = count(object, "/status/availableReplicas");
    if updated < wanted {
        let failure = condition(object, "ReplicaFailure").map(|condition| format!(": {}", condition.message()));
        return Some(progressing(format!("{updated} of {wanted} new pods exist{}", failure.unwrap_or_default())));
    }
    if all > updated {
        return Some(progressing(format!("{} old pods are still there", all - updated)));
    }
    if available < updated {
        return Some(progressing(format!("{available} of {updated} pods are available")));
    }
    Some(Health::healthy())
}

/// Source: `gitops-engine/pkg/health/health_statefulset.go`. With a partition the pods above it must be updated; with
/// `OnDelete` whoever deletes pods decides when.
pub(super) fn stateful_set(object: &Object) -> Option<Health> {
    if let Some(health) = lags(object) {
        return Some(health);
    }
    let wanted = object.int("/spec/replicas").unwrap_or(1);
    let ready = count(object, "/status/readyReplicas");
    if ready < wanted {
        return Some(progressing(format!("{ready} of {wanted} pods are ready")));
    }
    if object.text("/spec/updateStrategy/type") == Some("OnDelete") {
        return Some(Health::healthy());
    }
    let partition = count(object, "/spec/updateStrategy/rollingUpdate/partition");
    let updated = count(object, "/status/updatedReplicas");
    if partition > 0 {
        let above = (wanted - partition).max(0);
        if updated < above {
            return Some(progressing(format!("{updated} of {above} pods above the partition are updated")));
        }
        return Some(Health::healthy());
    }
    if object.text("/status/updateRevision") != object.text("/status/currentRevision") {
        return Some(progressing(format!("pods are being replaced: {updated} of {wanted} are updated")));
    }
    Some(Health::healthy())
}

/// Source: `gitops-engine/pkg/health/health_daemonset.go`.
pub(super) fn daemon_set(object: &Object) -> Option<Health> {
    if let Some(health) = lags(object) {
        return Some(health);
    }
    let wanted = count(object, "/status/desiredNumberScheduled");
    let updated = count(object, "/status/updatedNumberScheduled");
    if object.text("/spec/updateStrategy/type") != Some("OnDelete") && updated < wanted {
        return Some(progressing(format!("{updated} of {wanted} pods are updated")));
    }
    let available = count(object, "/status/numberAvailable");
    if available < wanted {
        return Some(progressing(format!("{available} of {wanted} pods are available")));
    }
    Some(Health::healthy())
}

/// Source: `gitops-engine/pkg/health/health_replicaset.go`.
pub(super) fn replica_set(object: &Object) -> Option<Health> {
    if let Some(health) = lags(object) {
        return Some(health);
    }
    if let Some(failure) = holds(object, "ReplicaFailure") {
        return Some(failure.health(HealthStatus::Degraded));
    }
    let wanted = object.int("/spec/replicas").unwrap_or(1);
    let available = count(object, "/status/availableReplicas");
    if available < wanted {
        return Some(progressing(format!("{available} of {wanted} pods are available")));
    }
    Some(Health::healthy())
}
