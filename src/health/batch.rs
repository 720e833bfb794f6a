//! Jobs and CronJobs.

use serde_json::Value;

use super::condition::holds;
use crate::model::{Health, HealthStatus, Object};

/// Source: `argo-cd/resource_customizations/batch/Job`. Failed and Suspended must hold: a condition that says False is
/// none, as for a Job that was resumed.
pub(super) fn job(object: &Object) -> Option<Health> {
    if let Some(failed) = holds(object, "Failed") {
        return Some(Health::new(HealthStatus::Degraded, format!("the Job failed: {}", failed.message())));
    }
    if holds(object, "Suspended").is_some() {
        return Some(Health::new(HealthStatus::Suspended, "the Job is suspended"));
    }
    if holds(object, "Complete").is_some() {
        return Some(Health::healthy());
    }
    Some(Health::new(HealthStatus::Progressing, "the Job runs"))
}

/// Source: `argo-cd/resource_customizations/batch/CronJob`. Times compare as text: they are of one form, in UTC.
pub(super) fn cron_job(object: &Object) -> Option<Health> {
    if object.at("/spec/suspend").and_then(Value::as_bool) == Some(true) {
        return Some(Health::new(HealthStatus::Suspended, "the CronJob is suspended"));
    }
    if object.at("/status").is_none() {
        return Some(Health::new(HealthStatus::Progressing, "waiting for the CronJob's status"));
    }
    let runs = object.at("/status/active").and_then(Value::as_array).is_some_and(|active| !active.is_empty());
    let healthy = |message: &str| Some(Health::new(HealthStatus::Healthy, message));
    match (object.text("/status/lastScheduleTime"), object.text("/status/lastSuccessfulTime")) {
        (None, _) => healthy("not scheduled yet"),
        (Some(_), None) => healthy("no run has succeeded yet"),
        (Some(_), Some(_)) if runs => healthy("a run is under way"),
        (Some(scheduled), Some(succeeded)) if succeeded < scheduled => {
            Some(Health::new(HealthStatus::Degraded, "the last run did not succeed"))
        }
        (Some(_), Some(_)) => Some(Health::healthy()),
    }
}
