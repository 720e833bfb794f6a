//! Pods as controllers make, judge and choose them.

use serde_json::{Value, json};

use super::chance::hash;
use super::{Desk, reading};
use crate::model::{Millis, Object, ObjectKey, Timestamp};
use crate::world::ApiError;

/// Nobody waits for what lies further ahead: the 68 years of a hold are no appointment.
const WAIT_MAX: Millis = Millis::from_seconds(365 * 86_400);

/// A pod from a template, owned and on a node. The scheduler is left out: it only ever succeeds.
pub(super) fn build(owner: &Object, template: &Value, name: &str, node: u64) -> Object {
    let key = ObjectKey::local("", "Pod", &owner.key.namespace, name);
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": owner.key.namespace,
            "labels": reading::at(template, &["metadata", "labels"]).cloned().unwrap_or_else(|| json!({})),
            "ownerReferences": [reading::controller_reference(owner)],
        },
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
    });
    if let Some(annotations) = reading::at(template, &["metadata", "annotations"]) {
        body["metadata"]["annotations"] = annotations.clone();
    }
    body["spec"]["nodeName"] = json!(format!("node-{}", node % 3));
    Object { key, version: "v1".to_owned(), body: body.into() }
}

/// Creates a pod unless the namespace's quota is spent.
pub(super) fn create(desk: &mut Desk<'_>, pod: &Object) -> Result<(), ApiError> {
    let namespace = &pod.key.namespace;
    if let Some(max) = desk.pods_max.get(namespace) {
        let used = desk.api.objects(&pod.key.kind, Some(namespace)).count();
        if used >= usize::try_from(*max).unwrap_or(usize::MAX) {
            let name = &pod.key.name;
            return Err(ApiError::Forbidden(format!(
                "pods \"{name}\" is forbidden: exceeded quota: pods, requested: pods=1, used: pods={used}, limited: pods={max}"
            )));
        }
    }
    desk.api.create(&desk.by, pod).map(drop)
}

/// Whether it counts for its ReplicaSet (`controller_utils.go` `IsPodActive`).
pub(super) fn is_active(pod: &Object) -> bool {
    !is_terminating(pod) && !matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it is being deleted.
pub(super) fn is_terminating(pod: &Object) -> bool {
    reading::at(&pod.body, &["metadata", "deletionTimestamp"]).is_some()
}

/// Its phase; a pod that nobody has looked at is Pending.
pub(super) fn phase(pod: &Object) -> &str {
    reading::text(&pod.body, &["status", "phase"]).unwrap_or("Pending")
}

/// Since when it is Ready.
pub(super) fn ready_since(pod: &Object) -> Option<Timestamp> {
    let ready = reading::condition(&pod.body, "Ready")?;
    if reading::text(ready, &["status"]) != Some("True") {
        return None;
    }
    reading::moment(ready, &["lastTransitionTime"])
}

/// Whether it has been Ready for long enough (`api/v1/pod/util.go` `IsPodAvailable`).
pub(super) fn is_available(pod: &Object, min_ready_seconds: i64, now: Timestamp) -> bool {
    available_at(pod, min_ready_seconds).is_some_and(|moment| moment <= now)
}

fn available_at(pod: &Object, min_ready_seconds: i64) -> Option<Timestamp> {
    let seconds = u64::try_from(min_ready_seconds).unwrap_or(0);
    ready_since(pod).map(|since| Millis::from_seconds(seconds).after(since))
}

/// When the next of these pods becomes available, if that is within sight (`FindMinNextPodAvailabilityCheck`).
pub(super) fn next_available(pods: &[Object], min_ready_seconds: i64, now: Timestamp) -> Option<Timestamp> {
    let moments = pods.iter().filter_map(|pod| available_at(pod, min_ready_seconds));
    within_sight(moments.filter(|moment| *moment > now).min(), now)
}

/// A moment, unless it is too far ahead to wait for.
pub(super) fn within_sight(moment: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    moment.filter(|moment| *moment <= WAIT_MAX.after(now))
}

/// The pods to delete when `surplus` are too many (`replica_set.go` `getPodsToDelete`, `ActivePodsWithRanks.Less`):
/// pending, then not Ready, then cheap, then Ready or created for less time on a logarithmic scale. Which node a pod
/// runs on is left out. What is equal then is chosen by UID, which is as good as chance.
pub(super) fn to_delete(desk: &Desk<'_>, mut pods: Vec<Object>, surplus: usize) -> Vec<Object> {
    if surplus < pods.len() {
        pods.sort_by_cached_key(|pod| {
            let age = |since: Option<Timestamp>| since.map_or(-1, |since| logarithm(desk.now.duration_since(since)));
            let ready = ready_since(pod);
            let cost: i64 = pod
                .annotation("controller.kubernetes.io/pod-deletion-cost")
                .and_then(|cost| cost.parse().ok())
                .unwrap_or(0);
            let created = reading::moment(&pod.body, &["metadata", "creationTimestamp"]);
            (
                phase(pod) != "Pending",
                ready.is_some(),
                cost,
                age(ready),
                std::cmp::Reverse(restarts(pod)),
                age(created),
                desk.chance.draw("pod", hash(pod.uid().as_bytes())),
            )
        });
    }
    pods.truncate(surplus);
    pods
}

/// The whole part of the logarithm of an age in nanoseconds (`controller_utils.go` `logarithmicRankDiff`).
fn logarithm(age: jiff::SignedDuration) -> i64 {
    u128::try_from(age.as_nanos()).ok().and_then(u128::checked_ilog2).map_or(-1, i64::from)
}

fn restarts(pod: &Object) -> i64 {
    let statuses = reading::at(&pod.body, &["status", "containerStatuses"]).and_then(Value::as_array);
    let counts = statuses.into_iter().flatten().filter_map(|status| reading::int(status, &["restartCount"]));
    counts.max().unwrap_or(0)
}
