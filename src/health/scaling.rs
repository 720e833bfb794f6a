//! HorizontalPodAutoscalers and PodDisruptionBudgets.

use serde_json::Value;

use super::condition::{Condition, all, conditions, lags_if_said};
use crate::model::{Health, HealthStatus, Object};

/// Reasons for which an autoscaler cannot do its work.
const FAILURES: [(&str, &str); 4] = [
    ("AbleToScale", "FailedGetScale"),
    ("AbleToScale", "FailedUpdateScale"),
    ("ScalingActive", "FailedGetResourceMetric"),
    ("ScalingActive", "InvalidSelector"),
];

/// Reasons that say that it works.
const SUCCESSES: [(&str, &str); 4] = [
    ("AbleToScale", "SucceededRescale"),
    ("ScalingLimited", "DesiredWithinRange"),
    ("ScalingLimited", "TooFewReplicas"),
    ("ScalingLimited", "TooManyReplicas"),
];

/// Source: `gitops-engine/pkg/health/health_hpa.go`: the first condition that says anything counts. `autoscaling/v1`
/// keeps its conditions in an annotation.
pub(super) fn autoscaler(object: &Object) -> Option<Health> {
    let annotation = object.annotation("autoscaling.alpha.kubernetes.io/conditions");
    let annotated: Option<Value> = annotation.and_then(|text| serde_json::from_str(text).ok());
    let list = object.at("/status/conditions").or(annotated.as_ref());
    let says =
        |table: &[(&str, &str)], condition: Condition<'_>| table.contains(&(condition.kind(), condition.reason()));
    let judged = all(list).find_map(|condition| {
        if says(&FAILURES, condition) {
            return Some(condition.health(HealthStatus::Degraded));
        }
        says(&SUCCESSES, condition).then(|| condition.health(HealthStatus::Healthy))
    });
    Some(judged.unwrap_or_else(|| Health::new(HealthStatus::Progressing, "waiting to autoscale")))
}

/// Source: `argo-cd/resource_customizations/policy/PodDisruptionBudget`. Too few pods to allow a disruption is what a
/// budget is for.
pub(super) fn disruption_budget(object: &Object) -> Option<Health> {
    if let Some(health) = lags_if_said(object, None) {
        return Some(health);
    }
    let failure = conditions(object).find(|each| each.is_false() && each.reason() != "InsufficientPods");
    if let Some(failure) = failure {
        return Some(failure.health(HealthStatus::Degraded));
    }
    Some(match conditions(object).last() {
        Some(condition) => Health::new(HealthStatus::Healthy, condition.reason()),
        None => Health::new(HealthStatus::Progressing, "waiting for the budget's status"),
    })
}
