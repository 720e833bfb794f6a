//! The kubelet: pods start, become Ready or fail, and stop. Enters: a pod and how its image behaves. Leaves: its next
//! status, and how long until the one after it.

use serde_json::{Value, json};

use super::{Behaviour, Delays, Desk, pods, reading};
use crate::model::{Millis, Object, ObjectKey};
use crate::sim::api::Deletion;
use crate::world::{ApiError, Part};

/// Pauses between restarts: 10 s, doubled up to 5 minutes.
const RESTART_FIRST: Millis = Millis::from_seconds(10);
const RESTART_MAX: Millis = Millis::from_seconds(300);

/// What a pod shows at a stage of its life.
struct Face {
    is_ready: bool,
    restarts: u32,
    waiting: Option<&'static str>,
}

/// How long after its creation a pod first shows itself.
pub(super) fn first(behaviour: &Behaviour, start: Millis, ready: Millis) -> Millis {
    match behaviour {
        Behaviour::Ready | Behaviour::Lapses { .. } => Millis(start.0 + ready.0),
        Behaviour::ReadyAfter(time) => Millis(start.0 + time.0),
        Behaviour::NeverReady | Behaviour::CrashLoop | Behaviour::PullError => start,
    }
}

/// Shows a pod's stage (0 is the first) and returns how long until the next one.
pub(super) fn run(
    desk: &mut Desk<'_>,
    key: &ObjectKey,
    behaviour: &Behaviour,
    stage: u32,
) -> Result<Option<Millis>, ApiError> {
    let Some(pod) = desk.api.get(key).cloned() else { return Ok(None) };
    if pods::is_terminating(&pod) {
        return Ok(None);
    }
    let (face, next) = face(behaviour, stage);
    let mut body = (*pod.body).clone();
    body["status"] = status(desk, &pod, &face);
    desk.api.update(&desk.by, &pod.with_body(body), Part::Status)?;
    Ok(next)
}

/// The stages of a life. Ready pods come up Running and Ready in one report; a crash-looping one runs twice before it is
/// made to wait; a lapse is one loss of readiness.
fn face(behaviour: &Behaviour, stage: u32) -> (Face, Option<Millis>) {
    let running = |is_ready| Face { is_ready, restarts: 0, waiting: None };
    match behaviour {
        Behaviour::Ready | Behaviour::ReadyAfter(_) => (running(true), None),
        Behaviour::NeverReady => (running(false), None),
        Behaviour::PullError => (Face { waiting: Some("ImagePullBackOff"), ..running(false) }, None),
        Behaviour::Lapses { after, lasts } => match stage {
            0 => (running(true), Some(*after)),
            1 => (running(false), Some(*lasts)),
            2.. => (running(true), None),
        },
        Behaviour::CrashLoop => {
            let restarts = stage.min(1) + stage.saturating_sub(2);
            let face = Face { restarts, waiting: (stage > 1).then_some("CrashLoopBackOff"), is_ready: false };
            let pause = RESTART_FIRST.0 << stage.saturating_sub(2).min(10);
            let next = if stage < 2 { Millis::from_seconds(1) } else { Millis(pause).min(RESTART_MAX) };
            (face, Some(next))
        }
    }
}

fn status(desk: &Desk<'_>, pod: &Object, face: &Face) -> Value {
    let now = reading::written(desk.now);
    let is_pulling = face.waiting == Some("ImagePullBackOff");
    let state = match face.waiting {
        Some(reason) => json!({"waiting": {"reason": reason}}),
        None => json!({"running": {"startedAt": now}}),
    };
    let containers = reading::at(&pod.body, &["spec", "containers"]).and_then(Value::as_array);
    let statuses: Vec<Value> = containers
        .into_iter()
        .flatten()
        .map(|container| {
            json!({
                "name": container.get("name"),
                "image": container.get("image"),
                "ready": face.is_ready,
                "started": face.waiting.is_none(),
                "restartCount": face.restarts,
                "state": state,
            })
        })
        .collect();
    let ready = if face.is_ready { "True" } else { "False" };
    let since = reading::condition(&pod.body, "Ready")
        .filter(|known| reading::text(known, &["status"]) == Some(ready))
        .and_then(|known| known.get("lastTransitionTime").cloned());
    json!({
        "phase": if is_pulling { "Pending" } else { "Running" },
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since.unwrap_or_else(|| json!(now))}],
        "startTime": reading::text(&pod.body, &["status", "startTime"]).unwrap_or(&now),
        "containerStatuses": statuses,
    })
}

/// Reports that a deleted pod has stopped: it leaves the store.
pub(super) fn stop(desk: &mut Desk<'_>, key: &ObjectKey) -> Result<(), ApiError> {
    match desk.api.get(key) {
        Some(pod) if pods::is_terminating(pod) => remove(desk, key),
        Some(_) | None => Ok(()),
    }
}

/// Removes a pod at once.
pub(super) fn remove(desk: &mut Desk<'_>, key: &ObjectKey) -> Result<(), ApiError> {
    let deletion = Deletion { preconditions: None, grace_seconds: Some(0) };
    match desk.api.delete_with(&desk.by, key, &deletion) {
        Ok(()) | Err(ApiError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

/// How a pod behaves: the rule added last whose text is part of one of its images.
pub(super) fn behaviour<'a>(rules: &'a [(String, Behaviour)], pod: &Object) -> &'a Behaviour {
    let containers = reading::at(&pod.body, &["spec", "containers"]).and_then(Value::as_array);
    let images: Vec<&str> =
        containers.into_iter().flatten().filter_map(|container| reading::text(container, &["image"])).collect();
    let found = rules.iter().rev().find(|(part, _)| images.iter().any(|image| image.contains(part.as_str())));
    found.map_or(&Behaviour::Ready, |(_, behaviour)| behaviour)
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            deployment: (Millis(5), Millis(60)),
            replica_set: (Millis(5), Millis(60)),
            stateful_set: (Millis(5), Millis(60)),
            report: (Millis(10), Millis(150)),
            start: (Millis(300), Millis(700)),
            ready: (Millis(700), Millis(1300)),
            grace: (Millis(300), Millis(1500)),
            collect: (Millis(20), Millis(500)),
        }
    }
}
