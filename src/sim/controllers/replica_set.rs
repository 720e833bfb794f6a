//! The ReplicaSet controller (`pkg/controller/replicaset/replica_set.go`). Enters: a ReplicaSet and its pods. Leaves:
//! pods created and deleted, and a status that tells of the pods as they were before.

use serde_json::{Map, Value, json};

use super::chance::suffix;
use super::{Desk, pods, reading};
use crate::model::{Object, ObjectKey, Timestamp};
use crate::world::{ApiError, Part};

/// Pods that one sync creates or deletes at most (`BurstReplicas`).
const BURST: usize = 500;

/// Brings the pods towards `spec.replicas` (`syncReplicaSet`) and returns when to look again. A failure to create pods
/// is written into the status first and then returned, so that the queue tries again with pauses.
pub(super) fn sync(desk: &mut Desk<'_>, key: &ObjectKey) -> Result<Option<Timestamp>, ApiError> {
    let Some(set) = desk.api.get(key).cloned() else { return Ok(None) };
    let active: Vec<Object> = desk.children(&set, "Pod").into_iter().filter(pods::is_active).collect();
    let managed = if set.is_terminating() { Ok(()) } else { manage(desk, &set, &active) };
    let min_ready_seconds = reading::int(&set.body, &["spec", "minReadySeconds"]).unwrap_or(0);
    let status = status(desk, &set, &active, min_ready_seconds, managed.as_ref().err());
    if set.body.get("status") != Some(&status) {
        let mut body = (*set.body).clone();
        body["status"] = status;
        desk.api.update(&desk.by, &set.with_body(body), Part::Status)?;
    }
    managed?;
    Ok(pods::next_available(&active, min_ready_seconds, desk.now))
}

/// Creates what is missing, deletes what is too much (`manageReplicas`).
fn manage(desk: &mut Desk<'_>, set: &Object, active: &[Object]) -> Result<(), ApiError> {
    let wanted = reading::int(&set.body, &["spec", "replicas"]).unwrap_or(1);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    if active.len() < wanted {
        return create(desk, set, (wanted - active.len()).min(BURST));
    }
    let surplus = (active.len() - wanted).min(BURST);
    if surplus == 0 {
        return Ok(());
    }
    for pod in pods::to_delete(desk, active.to_vec(), surplus) {
        match desk.api.delete(&desk.by, &pod.key, None) {
            Ok(()) | Err(ApiError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Creates pods in batches of 1, 2, 4 and so on, and stops after the first batch with a failure (`slowStartBatch`).
fn create(desk: &mut Desk<'_>, set: &Object, missing: usize) -> Result<(), ApiError> {
    let template = reading::at(&set.body, &["spec", "template"]).cloned().unwrap_or_default();
    let (mut made, mut batch) = (0, 1);
    while made < missing {
        let mut failure = None;
        for _ in 0..batch.min(missing - made) {
            made += 1;
            let drawn = desk.chance.draw(set.uid(), u64::try_from(made).unwrap_or(0) ^ (desk.api.revision() << 16));
            let name = format!("{}-{}", set.key.name, suffix(drawn, 5));
            failure = pods::create(desk, &pods::build(set, &template, &name, drawn)).err().or(failure);
        }
        match failure {
            Some(error) => return Err(error),
            None => batch *= 2,
        }
    }
    Ok(())
}

/// Counts the pods as they were when the sync began (`calculateStatus`). `terminatingReplicas` is left out: nobody here
/// reads it, and it would double the reports of a rollout.
fn status(
    desk: &Desk<'_>,
    set: &Object,
    active: &[Object],
    min_ready_seconds: i64,
    failure: Option<&ApiError>,
) -> Value {
    let labels = reading::at(&set.body, &["spec", "template", "metadata", "labels"]).and_then(Value::as_object);
    let count = |matches: &dyn Fn(&Object) -> bool| {
        i64::try_from(active.iter().filter(|pod| matches(pod)).count()).unwrap_or(i64::MAX)
    };
    let is_labelled = |pod: &Object| {
        labels.into_iter().flatten().all(|(name, value)| pod.label(name).is_some_and(|found| value == found))
    };
    let mut status = Map::new();
    status.insert("replicas".to_owned(), json!(active.len()));
    reading::put_count(&mut status, "fullyLabeledReplicas", count(&is_labelled));
    reading::put_count(&mut status, "readyReplicas", count(&|pod| pods::ready_since(pod).is_some()));
    let is_available = |pod: &Object| pods::is_available(pod, min_ready_seconds, desk.now);
    reading::put_count(&mut status, "availableReplicas", count(&is_available));
    reading::put_count(
        &mut status,
        "observedGeneration",
        reading::int(&set.body, &["metadata", "generation"]).unwrap_or(0),
    );
    if let Some(error) = failure {
        let known = reading::condition(&set.body, "ReplicaFailure").cloned();
        let condition = known.unwrap_or_else(|| {
            let message = match error {
                ApiError::Forbidden(message) => message.clone(),
                error => error.to_string(),
            };
            json!({
                "type": "ReplicaFailure",
                "status": "True",
                "reason": "FailedCreate",
                "message": message,
                "lastTransitionTime": reading::written(desk.now),
            })
        });
        status.insert("conditions".to_owned(), json!([condition]));
    }
    Value::Object(status)
}
