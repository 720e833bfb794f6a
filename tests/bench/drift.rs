//! Somebody else's change of an object, until it is as declared again.

use std::time::Instant;

use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use super::report::{Figure, Report};
use super::scene::{FLEET, Scene};
use super::support::chance::Chance;
use super::support::plane::runtime;
use super::support::state::{Kind, State};
use super::tally::Tally;

/// Changes at most. Each app is changed once: a field that somebody fights for is left alone after a while.
const SAMPLES_MAX: usize = 200;

/// Measures from the API server's answer to the change, to the event that undoes it.
pub(crate) fn measure(scene: &Scene, chance: &mut Chance, report: &mut Report) {
    let kind = GroupVersionKind::gvk("", "v1", "ConfigMap");
    let api: Api<DynamicObject> = Api::namespaced_with(scene.plane.client(), FLEET, &ApiResource::from_gvk(&kind));
    let before = Tally::now(scene);
    let mut times = Vec::new();
    for app in scene.fleet.draw(scene.fleet.apps().min(SAMPLES_MAX), chance) {
        let change = Patch::Merge(json!({"data": {"GREETING": "changed by hand"}}));
        let parameters = PatchParams { field_manager: Some("intruder".to_owned()), ..PatchParams::default() };
        let changed = runtime().block_on(api.patch(&app, &parameters, &change)).expect("the change is accepted");
        let acknowledged = Instant::now();
        let revision = number(changed.metadata.resource_version.as_deref());
        let is_restored = |state: &State| {
            state.find(Kind::ConfigMap, &app).is_some_and(|object| {
                number(object["metadata"]["resourceVersion"].as_str()) > revision
                    && object["data"]["GREETING"] == "hello"
            })
        };
        let restored = scene.await_event(&format!("ConfigMap {app} is restored"), is_restored);
        times.push(restored.saturating_duration_since(acknowledged));
    }
    scene.await_quiet();
    let cost = Tally::now(scene).since(&before);
    let samples = super::run::as_f64(times.len());
    report.note(
        Figure::new("drift")
            .with("samples", samples, 0)
            .with_times("", &times)
            // Of the whole measurement: applies are what was needed, the rest is the price.
            .with("applies", cost.applies, 0)
            .with("state_writes", cost.writes_of_state, 0)
            .with("gets", cost.gets, 0),
    );
}

fn number(revision: Option<&str>) -> u64 {
    revision.and_then(|text| text.parse().ok()).expect("resourceVersions are etcd's revisions")
}
