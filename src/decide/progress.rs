//! How far the objects of a rollout have come: what is read off them, and nothing done about it.

use std::collections::BTreeMap;

use super::Draft;
use crate::health::health;
use crate::model::marks::ANNOTATION_RELEASE;
use crate::model::{Health, HealthStatus, Lane, Object, ObjectKey, Rollout};
use crate::stage::{Standing, stand};

/// Whether the controller has yet to see our own last write to something that moves.
pub(super) fn is_lagging(draft: &Draft<'_>, rollout: &Rollout) -> bool {
    let mut workloads = rollout.stable_hashes.keys().filter_map(|key| draft.s.live.workloads.get(key));
    workloads.any(|workload| !workload.is_observed())
}

/// Whether everything that moves has no pods.
pub(super) fn is_scaled_to_zero(draft: &Draft<'_>, rollout: &Rollout) -> bool {
    let mut workloads = rollout.stable_hashes.keys().filter_map(|key| draft.s.live.workloads.get(key)).peekable();
    workloads.peek().is_some() && workloads.all(|workload| workload.n() == 0)
}

/// Whether a workload's pods are judged by the health gate: those on Target's template.
pub(super) fn is_judged(workload: &crate::observe::Workload, rollout: &Rollout) -> bool {
    let digest = rollout.target.digest.to_string();
    workload.object.annotation(ANNOTATION_RELEASE) == Some(digest.as_str())
}

/// The worst staged object that is not Healthy. One that is suspended because its manifest says so is as declared.
pub(super) fn unhealthy(draft: &Draft<'_>) -> Option<(ObjectKey, Health)> {
    let rules = draft.health_rules();
    let is_declared = |health: &Health, object: &Object| {
        health.status == HealthStatus::Suspended && object.at("/spec/suspend") == Some(&serde_json::Value::Bool(true))
    };
    let judged = draft.s.stage.objects.keys().filter_map(|key| match draft.s.live.objects.get(key) {
        None => Some((key.clone(), Health::new(HealthStatus::Missing, "it does not exist"))),
        Some(object) => Some((key.clone(), health(object, rules).filter(|health| !is_declared(health, object))?)),
    });
    judged.filter(|(_, health)| health.status != HealthStatus::Healthy).max_by_key(|(_, health)| health.status)
}

/// Whether every Deployment has come to wave `index`, and what is missing otherwise.
pub(super) fn reached(draft: &mut Draft<'_>, rollout: &Rollout, index: usize) -> (bool, String) {
    let mut all_reached = true;
    let mut missing = String::new();
    for key in rollout.stable_hashes.keys() {
        let (Some(workload), Some(target)) = (draft.s.live.workloads.get(key), draft.s.target) else { continue };
        let at_target = target.objects.get(key).unwrap_or(&workload.object);
        let standing: Standing = stand(workload, rollout, index, at_target);
        draft.exposure += standing.exposure;
        if !standing.is_reached {
            all_reached = false;
            missing = format!("{}: {}", key.name, standing.missing);
        }
    }
    let judges_all = matches!(rollout.lane, Lane::FirstSync | Lane::Direct);
    if judges_all && let Some((key, health)) = unhealthy(draft) {
        return (false, format!("{key}: {}", health.message));
    }
    (all_reached, missing)
}

/// Pods that stand on the Target, by Deployment.
pub(super) fn pods_on_target(draft: &Draft<'_>, rollout: &Rollout) -> BTreeMap<ObjectKey, u32> {
    let keys = rollout.stable_hashes.iter();
    let on_target = keys.filter_map(|(key, stable)| {
        let workload = draft.s.live.workloads.get(key)?;
        let current = workload.current().filter(|current| current.hash != *stable)?;
        Some((key.clone(), current.replicas))
    });
    on_target.collect()
}
