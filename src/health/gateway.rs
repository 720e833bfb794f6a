//! Gateway API: classes, gateways and routes.

use serde_json::Value;

use super::condition::{Condition, all, generation};
use crate::model::{Health, HealthStatus, Object};

/// Source: `argo-cd/resource_customizations/gateway.networking.k8s.io/GatewayClass`, and the API's own words: a class
/// that no controller has looked at is `Accepted: Unknown`.
pub(super) fn class(object: &Object) -> Option<Health> {
    let accepted = current(object, object.at("/status/conditions")).find(|condition| condition.kind() == "Accepted");
    Some(match accepted {
        Some(accepted) if accepted.is_true() => Health::healthy(),
        Some(accepted) if accepted.is_false() => accepted.health(HealthStatus::Degraded),
        Some(accepted) => accepted.health(HealthStatus::Progressing),
        None => Health::new(HealthStatus::Progressing, "waiting for a controller to accept the class"),
    })
}

/// Source: `argo-cd/resource_customizations/gateway.networking.k8s.io/Gateway`: the gateway's own conditions, then each
/// listener's. Conditions of an older generation count for nothing.
pub(super) fn gateway(object: &Object) -> Option<Health> {
    if let Some(health) = judge(object, object.at("/status/conditions"), "") {
        return Some(health);
    }
    let listeners = object.at("/status/listeners").and_then(Value::as_array);
    for listener in listeners.into_iter().flatten() {
        let whose = format!("listener {}: ", listener.get("name").and_then(Value::as_str).unwrap_or_default());
        if let Some(health) = judge(object, listener.get("conditions"), &whose) {
            return Some(health);
        }
    }
    if current(object, object.at("/status/conditions")).next().is_some() {
        return Some(Health::healthy());
    }
    Some(Health::new(HealthStatus::Progressing, "waiting for the Gateway's status"))
}

/// Source: `argo-cd/resource_customizations/gateway.networking.k8s.io/{HTTPRoute,GRPCRoute}`: the first parent that has
/// something to say of this generation. A route is Healthy when one parent has taken it and none objects.
pub(super) fn route(object: &Object) -> Option<Health> {
    let parents = object.at("/status/parents").and_then(Value::as_array);
    let mut is_seen = false;
    for parent in parents.into_iter().flatten() {
        let name = parent.pointer("/parentRef/name").and_then(Value::as_str).unwrap_or_default();
        let list = parent.get("conditions");
        if let Some(health) = judge(object, list, &format!("parent {name}: ")) {
            return Some(health);
        }
        is_seen |= current(object, list).next().is_some();
    }
    if is_seen {
        return Some(Health::healthy());
    }
    Some(Health::new(HealthStatus::Progressing, "waiting for a parent to take the route"))
}

/// Conditions that speak of the newest generation; those that do not say of which count.
fn current<'a>(object: &'a Object, list: Option<&'a Value>) -> impl Iterator<Item = Condition<'a>> {
    all(list).filter(|condition| condition.generation().is_none_or(|seen| seen >= generation(object)))
}

/// What is wrong in a list of conditions, if anything is.
fn judge(object: &Object, list: Option<&Value>, whose: &str) -> Option<Health> {
    let health = |condition: Condition<'_>, status| Health::new(status, format!("{whose}{}", condition.message()));
    for kind in ["ResolvedRefs", "Accepted"] {
        if let Some(failure) = current(object, list).find(|each| each.kind() == kind && each.is_false()) {
            return Some(health(failure, HealthStatus::Degraded));
        }
    }
    let open = current(object, list).find(|each| matches!(each.kind(), "Programmed" | "Accepted") && !each.is_true());
    open.map(|condition| health(condition, HealthStatus::Progressing))
}
