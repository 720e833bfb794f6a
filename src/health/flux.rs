//! Flux: Kustomizations, Helm releases and sources.
//!
//! Source of all: `argo-cd/resource_customizations/*.toolkit.fluxcd.io`, and kstatus, which Flux speaks. Beyond Argo CD a
//! status of an older generation, and a `Ready` that is `Unknown`, are Progressing; and a release whose test ran too is
//! as Healthy as one without a test.

use serde_json::Value;

use super::condition::{condition, conditions, holds, lags_if_said};
use crate::model::{Health, HealthStatus, Object};

/// Kustomization: Ready, unless suspended.
pub(super) fn reconciled(object: &Object) -> Option<Health> {
    Some(judge(object, None))
}

/// `HelmRelease`: Ready, and released.
pub(super) fn release(object: &Object) -> Option<Health> {
    Some(judge(object, Some("Released")))
}

/// `GitRepository`, `OCIRepository`, `HelmChart` and `Bucket`: Ready, and what was fetched is kept.
pub(super) fn source(object: &Object) -> Option<Health> {
    Some(judge(object, Some("ArtifactInStorage")))
}

/// `HelmRepository`: as other sources; one of type `oci` only holds settings and has no status.
pub(super) fn helm_repository(object: &Object) -> Option<Health> {
    if !is_suspended(object) && object.text("/spec/type") == Some("oci") {
        return Some(Health::healthy());
    }
    source(object)
}

fn is_suspended(object: &Object) -> bool {
    object.at("/spec/suspend").and_then(Value::as_bool) == Some(true)
}

/// Ready; a condition `beside` it must not say otherwise.
fn judge(object: &Object, beside: Option<&str>) -> Health {
    if is_suspended(object) {
        return Health::new(HealthStatus::Suspended, format!("the {} is suspended", object.key.kind.kind));
    }
    if conditions(object).next().is_none() {
        return Health::new(HealthStatus::Progressing, "waiting for Flux to reconcile it");
    }
    let ready = condition(object, "Ready");
    if let Some(health) = lags_if_said(object, ready) {
        return health;
    }
    if let Some(stalled) = holds(object, "Stalled") {
        return stalled.health(HealthStatus::Degraded);
    }
    let failed = beside.and_then(|kind| condition(object, kind)).filter(|condition| condition.is_false());
    match (ready, failed) {
        (Some(ready), None) if ready.is_true() => Health::healthy(),
        (Some(ready), Some(failed)) if ready.is_true() => failed.health(HealthStatus::Degraded),
        (Some(ready), _) if ready.is_false() => ready.health(HealthStatus::Degraded),
        (Some(ready), _) => ready.health(HealthStatus::Progressing),
        (None, _) => match holds(object, "Reconciling") {
            Some(reconciling) => reconciling.health(HealthStatus::Progressing),
            None => Health::new(HealthStatus::Progressing, "waiting for Flux to reconcile it"),
        },
    }
}
