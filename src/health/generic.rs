//! Kinds without a rule of their own, by the conditions that many of them share.

use super::condition::{condition, conditions, holds, lags_if_said};
use crate::model::{Health, HealthStatus, Object};

/// Source: kstatus (`cli-utils/pkg/kstatus/status/generic.go` and its README): Stalled, Reconciling, the generation, then
/// Ready, or else Available. One that is not ready is Progressing, unless `Failed` or `Degraded` holds. An object without
/// any of them has no health: that it exists is all there is to tell, and Argo CD tells no more.
pub(super) fn judge(object: &Object) -> Option<Health> {
    conditions(object).next()?;
    if let Some(stalled) = holds(object, "Stalled") {
        return Some(stalled.health(HealthStatus::Degraded));
    }
    let ready = condition(object, "Ready").or_else(|| condition(object, "Available"));
    if let Some(health) = lags_if_said(object, ready) {
        return Some(health);
    }
    if let Some(reconciling) = holds(object, "Reconciling") {
        return Some(reconciling.health(HealthStatus::Progressing));
    }
    let ready = ready?;
    if ready.is_true() {
        return Some(Health::healthy());
    }
    let failed = holds(object, "Failed").or_else(|| holds(object, "Degraded"));
    Some(match failed {
        Some(failed) => failed.health(HealthStatus::Degraded),
        None => ready.health(HealthStatus::Progressing),
    })
}
