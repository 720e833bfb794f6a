//! Argo: Rollouts, their analyses and experiments, and Argo CD's Applications.

use serde_json::Value;

use super::condition::{behind, conditions, count, generation};
use crate::model::{Health, HealthStatus, Object};

/// Source: `argo-cd/resource_customizations/argoproj.io/Rollout`. Its `observedGeneration` is text.
pub(super) fn rollout(object: &Object) -> Option<Health> {
    let observed = object.at("/status/observedGeneration");
    let observed = observed.and_then(|seen| seen.as_i64().or_else(|| seen.as_str()?.parse().ok()));
    // Before version 1.0 it was a hash, which `parse` refuses; then there is nothing to compare.
    let is_hash = object.text("/status/observedGeneration").is_some() && observed.is_none();
    if !is_hash && observed != Some(generation(object)) {
        return Some(behind());
    }
    let failure = conditions(object).find(|each| match each.kind() {
        "InvalidSpec" => true,
        "Progressing" => matches!(each.reason(), "RolloutAborted" | "ProgressDeadlineExceeded"),
        _ => false,
    });
    if let Some(failure) = failure {
        return Some(failure.health(HealthStatus::Degraded));
    }
    let pauses = object.at("/status/pauseConditions").and_then(Value::as_array);
    let is_paused = object.at("/spec/paused").and_then(Value::as_bool) == Some(true);
    if is_paused || pauses.is_some_and(|pauses| !pauses.is_empty()) {
        return Some(Health::new(HealthStatus::Suspended, "the Rollout is paused"));
    }
    Some(match unfinished(object) {
        Some(message) => Health::new(HealthStatus::Progressing, message),
        None => Health::healthy(),
    })
}

/// What a rollout that is under way still lacks.
fn unfinished(object: &Object) -> Option<String> {
    let Some(newest) = object.text("/status/currentPodHash") else {
        return Some("waiting for the Rollout's status".to_owned());
    };
    let wanted = object.int("/spec/replicas").unwrap_or(1);
    let updated = count(object, "/status/updatedReplicas");
    let available = count(object, "/status/availableReplicas");
    if updated < wanted {
        return Some(format!("{updated} of {wanted} new pods exist"));
    }
    if available < updated {
        return Some(format!("{available} of {updated} pods are available"));
    }
    let stable = object.text("/status/stableRS").or_else(|| object.text("/status/canary/stableRS")).unwrap_or_default();
    if object.at("/spec/strategy/blueGreen").is_some() {
        if object.text("/status/blueGreen/activeSelector") != Some(newest) {
            return Some("the active Service does not point to the new pods yet".to_owned());
        }
        return (!stable.is_empty() && stable != newest).then(|| "waiting for an analysis to complete".to_owned());
    }
    if object.at("/spec/strategy/canary").is_some() {
        let all = count(object, "/status/replicas");
        if all > updated {
            return Some(format!("{} old pods are still there", all - updated));
        }
        return (stable != newest).then(|| "waiting for the steps of the canary".to_owned());
    }
    None
}

/// Source: `argo-cd/resource_customizations/argoproj.io/AnalysisRun`.
pub(super) fn analysis_run(object: &Object) -> Option<Health> {
    Some(phase(object, "the analysis"))
}

/// Source: `argo-cd/resource_customizations/argoproj.io/Experiment`.
pub(super) fn experiment(object: &Object) -> Option<Health> {
    Some(phase(object, "the experiment"))
}

fn phase(object: &Object, what: &str) -> Health {
    let (status, said) = match object.text("/status/phase") {
        Some("Successful") => (HealthStatus::Healthy, ""),
        Some("Failed") => (HealthStatus::Degraded, " failed"),
        Some("Error") => (HealthStatus::Degraded, " had an error"),
        Some("Inconclusive") => (HealthStatus::Unknown, " was inconclusive"),
        Some("Pending") => (HealthStatus::Progressing, " is pending"),
        Some(_) => (HealthStatus::Progressing, " runs"),
        None => (HealthStatus::Progressing, " has no status yet"),
    };
    let message = object.text("/status/message").filter(|message| !message.is_empty());
    let otherwise = if said.is_empty() { String::new() } else { format!("{what}{said}") };
    Health::new(status, message.map_or(otherwise, str::to_owned))
}

/// Source: `argo-cd/resource_customizations/argoproj.io/Application`: what Argo CD says itself.
pub(super) fn application(object: &Object) -> Option<Health> {
    let status = match object.text("/status/health/status") {
        Some("Healthy") => HealthStatus::Healthy,
        Some("Suspended") => HealthStatus::Suspended,
        Some("Progressing") => HealthStatus::Progressing,
        Some("Missing") => HealthStatus::Missing,
        Some("Degraded") => HealthStatus::Degraded,
        Some(_) => HealthStatus::Unknown,
        None => return Some(Health::new(HealthStatus::Progressing, "waiting for Argo CD to reconcile it")),
    };
    Some(Health::new(status, object.text("/status/health/message").unwrap_or_default()))
}
