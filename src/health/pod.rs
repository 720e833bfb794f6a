//! Pods.

use serde_json::Value;

use super::condition::holds;
use crate::model::{Health, HealthStatus, Object};

/// Source: `gitops-engine/pkg/health/health_pod.go`. As there, what a container waits for counts only where pods are
/// restarted for ever: a pod that is to end may still be helped by a mended image. Init containers are looked at too.
pub(super) fn pod(object: &Object) -> Option<Health> {
    let is_restarted = object.text("/spec/restartPolicy").unwrap_or("Always") == "Always";
    if is_restarted && let Some(message) = containers(object).find_map(stuck) {
        return Some(Health::new(HealthStatus::Degraded, message));
    }
    let said = object.text("/status/message").unwrap_or_default().to_owned();
    let or = |otherwise: &str| if said.is_empty() { otherwise.to_owned() } else { said.clone() };
    Some(match object.text("/status/phase") {
        Some("Pending") => Health::new(HealthStatus::Progressing, or(&waiting(object))),
        Some("Succeeded") => Health::new(HealthStatus::Healthy, said),
        Some("Failed") => {
            let failure = containers(object).find_map(failed).unwrap_or_else(|| "the pod failed".to_owned());
            Health::new(HealthStatus::Degraded, or(&failure))
        }
        Some("Running") if !is_restarted => Health::new(HealthStatus::Progressing, or("the pod has not ended yet")),
        Some("Running") if holds(object, "Ready").is_some() => Health::new(HealthStatus::Healthy, said),
        Some("Running") => match containers(object).find(|each| each.pointer("/lastState/terminated").is_some()) {
            Some(container) => Health::new(
                HealthStatus::Degraded,
                or(&format!("container {} ended and is not ready", name(container))),
            ),
            None => Health::new(HealthStatus::Progressing, or("the pod is not ready yet")),
        },
        Some(_) | None => Health::new(HealthStatus::Unknown, or("the pod has no known phase")),
    })
}

/// The statuses of a pod's containers, in the order in which they start.
fn containers(object: &Object) -> impl Iterator<Item = &Value> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    lists.into_iter().filter_map(|list| object.at(list)?.as_array()).flatten()
}

fn text<'a>(container: &'a Value, pointer: &str) -> &'a str {
    container.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn name(container: &Value) -> &str {
    text(container, "/name")
}

/// What a container waits for that it will not get by itself.
fn stuck(container: &Value) -> Option<String> {
    let reason = text(container, "/state/waiting/reason");
    let is_stuck = reason.starts_with("Err") || reason.ends_with("Error") || reason.ends_with("BackOff");
    is_stuck.then(|| {
        let message = text(container, "/state/waiting/message");
        let detail = if message.is_empty() { String::new() } else { format!(": {message}") };
        format!("container {}: {reason}{detail}", name(container))
    })
}

/// How a container failed.
fn failed(container: &Value) -> Option<String> {
    let message = text(container, "/state/terminated/message");
    if !message.is_empty() {
        return Some(message.to_owned());
    }
    if text(container, "/state/terminated/reason") == "OOMKilled" {
        return Some(format!("container {} was killed for its memory", name(container)));
    }
    let code = container.pointer("/state/terminated/exitCode").and_then(Value::as_i64).filter(|code| *code != 0)?;
    Some(format!("container {} failed with exit code {code}", name(container)))
}

/// Why a pod is pending: nobody takes it, or its first container that is not there yet.
fn waiting(object: &Object) -> String {
    let scheduled = super::condition::condition(object, "PodScheduled").filter(|condition| condition.is_false());
    let container = containers(object).find(|each| !text(each, "/state/waiting/reason").is_empty());
    match (scheduled, container) {
        (Some(condition), _) => condition.message(),
        (None, Some(container)) => {
            format!("container {}: {}", name(container), text(container, "/state/waiting/reason"))
        }
        (None, None) => "the pod is pending".to_owned(),
    }
}
