//! A Deployment as it is sent: every field that a hold touches is stated at every position, because an omitted field
//! that only we own is re-defaulted and one that others own too keeps whatever it has.

use serde_json::{Value, json};

use crate::model::marks::ANNOTATION_RELEASE;
use crate::model::{Digest, Object, ObjectKey, PausePolicy, Release};
use crate::observe::{PROGRESS_DEADLINE_SECONDS_HOLD, Window};

/// Kubernetes' defaults (`pkg/apis/apps/v1/defaults.go`).
const PROGRESS_DEADLINE_SECONDS_DEFAULT: i64 = 600;

/// Whether the object moves in waves.
#[must_use]
pub fn is_deployment(key: &ObjectKey) -> bool {
    key.kind.is("apps", "Deployment")
}

/// Whether the object is a workload that is, for now, updated in one step after the last wave.
#[must_use]
pub fn waits_for_batches(key: &ObjectKey) -> bool {
    key.kind.is("apps", "StatefulSet") || key.kind.is("apps", "DaemonSet")
}

/// The object with the Release's digest on workloads and, for a Deployment, the hold's fields stated as declared.
pub(super) fn explicit(object: &Object, release: Digest, pause: PausePolicy, is_autoscaled: bool) -> Object {
    if !is_deployment(&object.key) && !waits_for_batches(&object.key) {
        return object.clone();
    }
    let mut body = (*object.body).clone();
    if !body["metadata"]["annotations"].is_object() {
        body["metadata"]["annotations"] = json!({});
    }
    body["metadata"]["annotations"][ANNOTATION_RELEASE] = Value::String(release.to_string());
    if is_autoscaled && let Some(spec) = body["spec"].as_object_mut() {
        spec.remove("replicas");
    }
    if is_deployment(&object.key) {
        let spec = &mut body["spec"];
        default(spec, "minReadySeconds", json!(0));
        default(spec, "progressDeadlineSeconds", json!(PROGRESS_DEADLINE_SECONDS_DEFAULT));
        match pause {
            PausePolicy::Agent => spec["paused"] = json!(false),
            PausePolicy::User => drop(spec.as_object_mut().map(|spec| spec.remove("paused"))),
        }
        default(spec, "strategy", json!({}));
        default(&mut spec["strategy"], "type", json!("RollingUpdate"));
        if spec["strategy"]["type"] == "RollingUpdate" {
            default(&mut spec["strategy"], "rollingUpdate", json!({}));
            default(&mut spec["strategy"]["rollingUpdate"], "maxSurge", json!("25%"));
            default(&mut spec["strategy"]["rollingUpdate"], "maxUnavailable", json!("25%"));
        }
    }
    object.with_body(body)
}

fn default(map: &mut Value, field: &str, value: Value) {
    if map.get(field).is_none_or(Value::is_null) {
        map[field] = value;
    }
}

/// The same object with another replica count.
pub(super) fn with_replicas(object: &Object, replicas: Value) -> Object {
    let mut body = (*object.body).clone();
    body["spec"]["replicas"] = replicas;
    object.with_body(body)
}

/// The same Deployment held by `window`: pods that come up now are Ready and never Available.
pub(super) fn held(object: &Object, window: Window) -> Object {
    let mut body = (*object.body).clone();
    body["spec"]["minReadySeconds"] = json!(crate::observe::MIN_READY_SECONDS_HOLD);
    body["spec"]["progressDeadlineSeconds"] = json!(PROGRESS_DEADLINE_SECONDS_HOLD);
    put_window(&mut body, window);
    object.with_body(body)
}

/// The same Deployment at its declared pace, with the deadline still huge: restored early it would report a false
/// ProgressDeadlineExceeded after a long bake (`deployment/progress.go:63`).
pub(super) fn patient(object: &Object, window: Option<Window>) -> Object {
    let mut body = (*object.body).clone();
    body["spec"]["progressDeadlineSeconds"] = json!(PROGRESS_DEADLINE_SECONDS_HOLD);
    if let Some(window) = window {
        put_window(&mut body, window);
    }
    object.with_body(body)
}

fn put_window(body: &mut Value, window: Window) {
    body["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": window.surge, "maxUnavailable": window.unavailable});
}

/// The declared window for `n` pods, resolved as Kubernetes does: surge rounds up, unavailable rounds down, and both
/// zero means one unavailable (`deployment/util/deployment_util.go` `ResolveFenceposts`).
#[must_use]
pub fn declared_window(object: &Object, n: u32) -> Window {
    let strategy = object.at("/spec/strategy/rollingUpdate");
    let field = |name: &str| strategy.and_then(|strategy| strategy.get(name)).cloned().unwrap_or(json!("25%"));
    let surge = resolve(&field("maxSurge"), n, true);
    let unavailable = resolve(&field("maxUnavailable"), n, false);
    if surge == 0 && unavailable == 0 { Window { surge, unavailable: 1 } } else { Window { surge, unavailable } }
}

fn resolve(value: &Value, n: u32, rounds_up: bool) -> u32 {
    let percent = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<u64>().ok());
    let pods = match percent {
        Some(percent) if rounds_up => (percent * u64::from(n)).div_ceil(100),
        Some(percent) => percent * u64::from(n) / 100,
        None => value.as_u64().unwrap_or(0),
    };
    u32::try_from(pods).unwrap_or(u32::MAX)
}

/// Whether a HorizontalPodAutoscaler of the Release scales this object: its replicas are then not ours to state.
pub(super) fn is_scaled_by_autoscaler(release: &Release, key: &ObjectKey) -> bool {
    let scalers =
        release.objects.values().filter(|object| object.key.kind.is("autoscaling", "HorizontalPodAutoscaler"));
    scalers.into_iter().any(|scaler| {
        scaler.key.namespace == key.namespace
            && scaler.text("/spec/scaleTargetRef/name") == Some(key.name.as_str())
            && scaler.text("/spec/scaleTargetRef/kind") == Some(key.kind.kind.as_str())
    })
}
