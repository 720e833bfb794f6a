//! What `.status` says at well-known moments.

use std::sync::Arc;

use serde_json::{Value, json};

use super::resource_status;
use crate::model::{Health, HealthStatus, Position, Request, RequestVerb, RevertReason, Verdict};
use crate::status::fixture::{at, commit, gate, held, idle, measuring, report};
use crate::status::{AppView, Phase, SyncStatus};

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == kind).unwrap()
}

#[test]
fn every_phase_sets_the_three_standard_conditions() {
    for (phase, ready, reconciling, stalled, reason) in [
        (Phase::Idle, "True", "False", "False", "Succeeded"),
        (Phase::Progressing, "False", "True", "False", "Progressing"),
        (Phase::Baking, "False", "True", "False", "Baking"),
        (Phase::Measuring, "False", "True", "False", "Measuring"),
        (Phase::Waiting, "False", "True", "False", "Waiting"),
        (Phase::Reverting, "False", "True", "False", "Reverting"),
        (Phase::Held, "False", "False", "True", "Held"),
        (Phase::Drifted, "False", "False", "False", "Drifted"),
        (Phase::SourceFailed, "False", "False", "True", "SourceFailed"),
        (Phase::Unhealthy, "False", "False", "False", "Unhealthy"),
        (Phase::Contended, "False", "False", "False", "Contended"),
    ] {
        let mut view = idle("shop");
        view.report = report(phase, HealthStatus::Progressing, SyncStatus::OutOfSync, "the fact");
        let status = resource_status(&view);
        assert_eq!(status["phase"], phase.as_str());
        for (kind, expected) in [("Ready", ready), ("Reconciling", reconciling), ("Stalled", stalled)] {
            let found = condition(&status, kind);
            assert_eq!(found["status"], expected, "{kind} of {phase:?}");
            assert_eq!(found["reason"], reason, "{kind} of {phase:?}");
            assert_eq!(found["message"], "the fact");
            assert_eq!(found["observedGeneration"], 7);
            assert_eq!(found["lastTransitionTime"], "2026-01-02T03:04:20Z");
        }
    }
}

#[test]
fn an_idle_app_is_told_in_full() {
    let stable = "02".repeat(32);
    let version = json!({"version": "1.1.0", "digest": stable, "commit": commit('2'), "branch": "main", "attempt": 0});
    let condition = |kind: &str, status: &str| {
        json!({"type": kind, "status": status, "reason": "Succeeded", "message": "1.1.0 is as declared",
            "lastTransitionTime": "2026-01-02T03:04:20Z", "observedGeneration": 7})
    };
    assert_eq!(
        resource_status(&idle("shop")),
        json!({
            "observedGeneration": 7,
            "phase": "Idle",
            "health": {"status": "Healthy"},
            "sync": {"status": "Synced", "revision": commit('2')},
            "desired": version,
            "effective": version,
            "exposure": 0,
            "stableDigest": stable,
            "conditions": [condition("Ready", "True"), condition("Reconciling", "False"), condition("Stalled", "False")],
        })
    );
}

#[test]
fn a_rollout_shows_its_wave_and_its_decided_gates() {
    let status = resource_status(&measuring("shop"));
    assert_eq!(status["rollout"]["id"], 3);
    assert_eq!(status["rollout"]["lane"], "Waves");
    assert_eq!(status["rollout"]["step"], "Wave");
    assert_eq!(status["rollout"]["wave"], json!({"name": "canary", "index": 0, "count": 2}));
    assert_eq!(status["rollout"]["progress"], "1/2");
    assert_eq!(status["rollout"]["target"]["version"], "1.2.0");
    assert_eq!(
        status["waves"],
        json!([{"name": "canary", "startedAt": "2026-01-02T03:06:45Z", "readyAt": "2026-01-02T03:06:55Z",
            "gates": [{"gate": "health", "verdict": "Pass", "reason": "health says Pass"}]}])
    );
    assert_eq!(status["why"], json!({"fact": "errors: 1 of 3 samples", "since": "2026-01-02T03:07:05Z"}));
    assert_eq!(status["effective"]["version"], "1.1.0");
}

#[test]
fn a_turned_rollout_says_why_and_since_when() {
    let reason = RevertReason::GateShut { wave: "canary".into(), gate: "errors".into(), message: "0.4".into() };
    for (position, step) in [
        (Position::Reverting { reason: reason.clone(), since: at(436), pods_are_back: false }, "Reverting"),
        (Position::Held { reason, since: at(436) }, "Held"),
    ] {
        let mut view = measuring("shop");
        Arc::make_mut(&mut view.record).rollout.as_mut().unwrap().position = position;
        let status = resource_status(&view);
        assert_eq!(status["rollout"]["step"], step);
        assert_eq!(status["rollout"]["reason"], "gate errors of wave canary shut: 0.4");
        assert_eq!(status["rollout"]["since"], "2026-01-02T03:07:16Z");
        assert!(status["rollout"].get("wave").is_none());
    }
}

#[test]
fn a_refused_release_keeps_the_three_revisions_apart() {
    let mut view = held("shop");
    Arc::make_mut(&mut view.record).answered =
        Some((Request { verb: RequestVerb::Retry, text: "retry:2".into() }, "freed 1.2.0".into()));
    let status = resource_status(&view);
    let versions = &status;
    assert_eq!(versions["desired"]["version"], "1.2.0");
    assert_eq!(versions["effective"]["version"], "1.1.0");
    assert_eq!(versions["held"]["commit"], commit('3'));
    assert_eq!(versions["held"]["reason"], "gate errors of wave canary shut: 0.4 is above 0.05");
    assert_eq!(status["answered"], json!({"request": "retry:2", "answer": "freed 1.2.0"}));
}

#[test]
fn time_and_open_samples_alone_change_nothing() {
    let before = measuring("shop");
    let mut after = before.clone();
    after.reconciled_at = at(3000);
    after.samples.get_mut("errors").unwrap().push(crate::status::fixture::measurement(440, None, Verdict::NoData));
    after.resource_version = "9999".into();
    assert_eq!(resource_status(&before), resource_status(&after));
}

#[test]
fn a_message_is_never_empty_while_a_rollout_is_under_way() {
    let mut view: AppView = measuring("shop");
    view.report.blocking = None;
    let rollout = Arc::make_mut(&mut view.record).rollout.as_mut().unwrap();
    rollout.waves[0].gates.push(gate("errors", Verdict::Pass, 440));
    view.report.health = Health::new(HealthStatus::Progressing, "");
    assert_eq!(condition(&resource_status(&view), "Ready")["message"], "1.2.0: wave 1 of 2 (canary)");
}
