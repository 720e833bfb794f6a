//! Live object -> Health, in Argo CD's words. `None` for kinds without a health rule.
//!
//! Rules follow Argo CD's built-in checks (`gitops-engine/pkg/health`) and kstatus: a status that does not reflect the
//! newest generation is Progressing.

use serde_json::Value;

use crate::model::{Health, HealthStatus, Object};

/// Judges one live object.
#[must_use]
pub fn health(object: &Object) -> Option<Health> {
    if object.is_terminating() {
        return Some(Health::new(HealthStatus::Progressing, "pending deletion"));
    }
    let kind = (object.key.kind.group.as_str(), object.key.kind.kind.as_str());
    match kind {
        ("apps", "Deployment") => Some(deployment(object)),
        ("apps", "StatefulSet") => Some(stateful_set(object)),
        ("apps", "DaemonSet") => Some(daemon_set(object)),
        ("batch", "Job") => Some(job(object)),
        ("", "PersistentVolumeClaim") => Some(claim(object)),
        ("", "Service") => service(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Some(established(object)),
        _ => None,
    }
}

/// The worst of many, in Argo CD's order; Healthy when there is none.
#[must_use]
pub fn worst(all: impl IntoIterator<Item = Health>) -> Health {
    all.into_iter().max_by_key(|health| health.status).unwrap_or_else(Health::healthy)
}

fn count(object: &Object, pointer: &str) -> i64 {
    object.int(pointer).unwrap_or(0)
}

fn lags(object: &Object) -> Option<Health> {
    let is_behind = count(object, "/status/observedGeneration") < count(object, "/metadata/generation");
    is_behind.then(|| Health::new(HealthStatus::Progressing, "waiting for the controller to see the newest generation"))
}

fn condition<'a>(object: &'a Object, kind: &str) -> Option<&'a Value> {
    let conditions = object.at("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))
}

fn says(condition: Option<&Value>, field: &str, value: &str) -> bool {
    condition.and_then(|condition| condition.get(field)).and_then(Value::as_str) == Some(value)
}

fn message(condition: Option<&Value>) -> String {
    condition.and_then(|condition| condition.get("message")).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn deployment(object: &Object) -> Health {
    if object.at("/spec/paused") == Some(&Value::Bool(true)) {
        return Health::new(HealthStatus::Suspended, "the Deployment is paused");
    }
    if let Some(health) = lags(object) {
        return health;
    }
    let progressing = condition(object, "Progressing");
    if says(progressing, "reason", "ProgressDeadlineExceeded") {
        return Health::new(HealthStatus::Degraded, "the Deployment exceeded its progress deadline");
    }
    let wanted = object.int("/spec/replicas").unwrap_or(1);
    let (updated, all, available) = (
        count(object, "/status/updatedReplicas"),
        count(object, "/status/replicas"),
        count(object, "/status/availableReplicas"),
    );
    if updated < wanted {
        let failure = message(condition(object, "ReplicaFailure"));
        let detail = if failure.is_empty() { String::new() } else { format!(": {failure}") };
        return Health::new(HealthStatus::Progressing, format!("{updated} of {wanted} new pods exist{detail}"));
    }
    if all > updated {
        return Health::new(HealthStatus::Progressing, format!("{} old pods are still there", all - updated));
    }
    if available < updated {
        return Health::new(HealthStatus::Progressing, format!("{available} of {updated} pods are available"));
    }
    Health::healthy()
}

fn stateful_set(object: &Object) -> Health {
    if let Some(health) = lags(object) {
        return health;
    }
    let wanted = object.int("/spec/replicas").unwrap_or(1);
    let ready = count(object, "/status/readyReplicas");
    if ready < wanted {
        return Health::new(HealthStatus::Progressing, format!("{ready} of {wanted} pods are ready"));
    }
    let is_on_delete = object.text("/spec/updateStrategy/type") == Some("OnDelete");
    let is_updated = object.text("/status/updateRevision") == object.text("/status/currentRevision");
    let partition = count(object, "/spec/updateStrategy/rollingUpdate/partition");
    if !is_on_delete && partition == 0 && !is_updated {
        return Health::new(HealthStatus::Progressing, "pods are being replaced");
    }
    Health::healthy()
}

fn daemon_set(object: &Object) -> Health {
    if let Some(health) = lags(object) {
        return health;
    }
    let wanted = count(object, "/status/desiredNumberScheduled");
    let updated = count(object, "/status/updatedNumberScheduled");
    if object.text("/spec/updateStrategy/type") != Some("OnDelete") && updated < wanted {
        return Health::new(HealthStatus::Progressing, format!("{updated} of {wanted} pods are updated"));
    }
    let available = count(object, "/status/numberAvailable");
    if available < wanted {
        return Health::new(HealthStatus::Progressing, format!("{available} of {wanted} pods are available"));
    }
    Health::healthy()
}

fn job(object: &Object) -> Health {
    let failed = condition(object, "Failed");
    if says(failed, "status", "True") {
        return Health::new(HealthStatus::Degraded, format!("the Job failed: {}", message(failed)));
    }
    if says(condition(object, "Suspended"), "status", "True") {
        return Health::new(HealthStatus::Suspended, "the Job is suspended");
    }
    if says(condition(object, "Complete"), "status", "True") {
        return Health::healthy();
    }
    Health::new(HealthStatus::Progressing, "the Job runs")
}

fn claim(object: &Object) -> Health {
    match object.text("/status/phase") {
        Some("Bound") => Health::healthy(),
        Some("Lost") => Health::new(HealthStatus::Degraded, "the claim lost its volume"),
        _ => Health::new(HealthStatus::Progressing, "the claim is not bound yet"),
    }
}

fn service(object: &Object) -> Option<Health> {
    if object.text("/spec/type") != Some("LoadBalancer") {
        return None;
    }
    let has_address = object.at("/status/loadBalancer/ingress/0").is_some();
    Some(if has_address {
        Health::healthy()
    } else {
        Health::new(HealthStatus::Progressing, "no load balancer address yet")
    })
}

fn established(object: &Object) -> Health {
    let names = condition(object, "NamesAccepted");
    if says(names, "status", "False") {
        return Health::new(HealthStatus::Degraded, message(names));
    }
    if says(condition(object, "Established"), "status", "True") {
        return Health::healthy();
    }
    Health::new(HealthStatus::Progressing, "the definition is not established yet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterName;
    use serde_json::json;

    fn check(kind: &str, spec: &Value, status: &Value, expected: Option<HealthStatus>) {
        let (group, kind) = kind.split_once('/').expect("group/kind");
        let body = json!({"apiVersion": group, "kind": kind, "metadata": {"name": "x", "generation": 2}, "spec": spec, "status": status});
        let mut object = Object::from_value(&ClusterName::local(), body).expect("well formed");
        object.key.kind.group = if group == "v1" { String::new() } else { group.to_owned() };
        assert_eq!(health(&object).map(|health| health.status), expected, "{kind} {status}");
    }

    #[test]
    fn workloads_are_healthy_only_when_their_status_is_current_and_full() {
        let spec = json!({"replicas": 2});
        let full = json!({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2});
        check("apps/Deployment", &spec, &full, Some(HealthStatus::Healthy));
        let behind = json!({"observedGeneration": 1, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2});
        check("apps/Deployment", &spec, &behind, Some(HealthStatus::Progressing));
        let old = json!({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 3, "availableReplicas": 3});
        check("apps/Deployment", &spec, &old, Some(HealthStatus::Progressing));
        let late = json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]});
        check("apps/Deployment", &spec, &late, Some(HealthStatus::Degraded));
        check(
            "apps/Deployment",
            &json!({"replicas": 0}),
            &json!({"observedGeneration": 2}),
            Some(HealthStatus::Healthy),
        );
        check("v1/ConfigMap", &json!({}), &json!({}), None);
        check(
            "batch/Job",
            &json!({}),
            &json!({"conditions": [{"type": "Failed", "status": "True"}]}),
            Some(HealthStatus::Degraded),
        );
    }
}
