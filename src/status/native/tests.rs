//! What the native documents say at well-known moments.

use std::sync::Arc;

use serde_json::json;

use super::{list, rollout, why};
use crate::model::{Health, HealthStatus, Moment, Verdict};
use crate::status::fixture::{at, board, commit, held, hook_run, idle, measurement, measuring};

#[test]
fn a_running_rollout_shows_decided_and_open_gates() {
    let document = rollout(&measuring("shop"));
    assert_eq!(document["active"], true);
    assert_eq!(document["lane"], "Waves");
    assert_eq!(document["position"]["wave"], json!({"name": "canary", "index": 0, "count": 2}));
    assert_eq!(document["plan"]["name"], "careful");
    assert_eq!(document["plan"]["capacity"], "surge");
    assert_eq!(
        document["plan"]["waves"][0],
        json!({"name": "canary", "replicas": "25%", "bake": "1m", "timeout": "10m", "analysis": ["errors"]})
    );
    let gates = &document["waves"][0]["gates"];
    assert_eq!(gates[0]["gate"], "health");
    assert_eq!(gates[0]["verdict"], "Pass");
    assert_eq!(
        gates[1],
        json!({"gate": "errors", "verdict": "Pending", "reason": "", "decidedAt": null,
            "measurements": [{"at": "2026-01-02T03:07:10.000Z", "value": 0.01, "verdict": "Pass"}]})
    );
    assert_eq!(
        document["waves"][0]["pods"],
        json!([{"kind": "Deployment", "namespace": "shop", "name": "web", "pods": 2}])
    );
    assert_eq!(document["desired"]["commit"], commit('3'));
    assert_eq!(document["effective"]["commit"], commit('2'));
    assert_eq!(document["held"], json!(null));
}

#[test]
fn hooks_that_ended_are_shown_while_it_runs_and_after() {
    let (mut running, mut ended) = (measuring("shop"), held("shop"));
    Arc::make_mut(&mut running.record).rollout.as_mut().expect("it runs").hooks.runs =
        vec![hook_run(Moment::Pre, "migrate", "", true)];
    Arc::make_mut(&mut ended.record).past.last_mut().expect("it has one").hooks =
        vec![hook_run(Moment::Post, "smoke-hook", "smoke-3", false)];
    let at = "2026-01-02T03:06:55.000Z";
    let migrate =
        json!({"moment": "pre", "kind": "Job", "namespace": "shop", "name": "migrate", "phase": "Succeeded", "at": at});
    let smoke = json!({"moment": "post", "kind": "Job", "namespace": "shop", "name": "smoke-3", "phase": "Failed",
        "message": "it crashed", "at": at});
    assert_eq!(rollout(&running)["hooks"], json!([migrate]));
    assert_eq!(rollout(&ended)["hooks"], json!([smoke]));
    assert_eq!(rollout(&ended)["past"][2]["hooks"], json!([smoke]));
    // The custom resource tells of the rollout under way alone, as with waves.
    let migrate = json!([{"moment": "pre", "kind": "Job", "namespace": "shop", "name": "migrate", "phase": "Succeeded",
        "at": "2026-01-02T03:06:55Z"}]);
    assert_eq!(crate::status::resource_status(&running)["hooks"], migrate);
    assert_eq!(crate::status::resource_status(&ended).get("hooks"), None);
}

#[test]
fn an_ended_rollout_stays_readable() {
    for (view, id, outcome, gates) in [(held("shop"), 3, "Reverted", 2), (idle("shop"), 2, "Completed", 1)] {
        let document = rollout(&view);
        assert_eq!(document["active"], false);
        assert_eq!(document["id"], id);
        assert_eq!(document["outcome"], outcome);
        assert_eq!(document["position"], json!(null));
        assert_eq!(document["waves"][0]["gates"].as_array().unwrap().len(), gates);
        assert_eq!(document["past"].as_array().unwrap().len(), id);
    }
    assert_eq!(rollout(&held("shop"))["quarantine"][0]["version"], "1.2.0");
}

#[test]
fn an_app_without_any_rollout_has_empty_lists() {
    let mut view = idle("shop");
    view.record = Arc::default();
    view.application = None;
    let document = rollout(&view);
    for field in ["waves", "quarantine", "past", "remarks"] {
        assert_eq!(document[field], json!([]), "{field}");
    }
    assert_eq!(document["plan"], json!(null));
}

#[test]
fn a_sample_without_a_number_is_null() {
    for value in [None, Some(f64::NAN), Some(f64::INFINITY)] {
        let mut view = measuring("shop");
        view.samples.insert("errors".to_owned(), vec![measurement(431, value, Verdict::NoData)]);
        assert_eq!(rollout(&view)["waves"][0]["gates"][1]["measurements"][0]["value"], json!(null));
    }
}

#[test]
fn why_is_ok_or_gives_one_fact_with_its_age() {
    let now = at(525);
    let fine = why(&idle("shop"), now);
    assert_eq!((&fine["ok"], &fine["fact"]), (&json!(true), &json!("")));
    let stuck = why(&held("shop"), now);
    assert_eq!(stuck["ok"], false);
    assert_eq!(stuck["fact"], "1.2.0 is refused: errors above 0.05");
    assert_eq!(stuck["ageSeconds"], 100);
    assert_eq!(stuck["phase"], "Held");
    // A clock that went back makes nothing younger than new.
    assert_eq!(why(&held("shop"), at(0))["ageSeconds"], 0);
}

#[test]
fn why_never_calls_a_sick_app_fine() {
    let mut view = idle("shop");
    view.report.health = Health::new(HealthStatus::Degraded, "web crashes");
    let document = why(&view, at(300));
    assert_eq!(document["ok"], false);
    assert_eq!(document["fact"], "Idle, Degraded, Synced: web crashes");
}

#[test]
fn the_list_is_short_and_by_name() {
    assert_eq!(list(&board(Vec::new())), json!({"items": []}));
    let document = list(&board(vec![measuring("web"), idle("api")]));
    assert_eq!(document["items"][0]["name"], "api");
    assert_eq!(document["items"][0]["ok"], true);
    assert_eq!(document["items"][1]["why"], "errors: 1 of 3 samples");
}
