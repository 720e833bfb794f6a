//! What Argo CD's clients read at well-known moments.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{application, list};
use crate::model::{Elsewhere, Health, HealthStatus, Moment, PastOutcome, Reference, Revision, SourcePath};
use crate::status::fixture::{at, board, commit, held, hook_run, idle, measuring, past, release, report, resource};
use crate::status::{Phase, SyncStatus};

/// A whole Application: field by field what Argo CD's own server writes for the same state.
#[test]
fn an_idle_app_is_written_as_go_writes_it() {
    let source = json!({"repoURL": "https://git.example/shop.git", "path": "apps/shop", "targetRevision": "main"});
    let destination = json!({"server": "https://kubernetes.default.svc", "namespace": "shop"});
    let result = |group: &str, kind: &str, name: &str| {
        json!({"group": group, "version": "v1", "kind": kind, "namespace": "shop", "name": name,
            "status": "Synced", "hookPhase": "Running", "syncPhase": "Sync"})
    };
    let entry = |id: u64, revision: &str, started: &str, deployed: &str| {
        json!({"id": id, "revision": revision, "source": source, "deployStartedAt": started, "deployedAt": deployed,
            "initiatedBy": {"automated": true}})
    };
    assert_eq!(
        application(&idle("shop")),
        json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": "shop", "namespace": "tidegate", "uid": "0b5e1a52", "resourceVersion": "1234",
                "generation": 7, "creationTimestamp": "2026-01-02T03:00:00Z"},
            "spec": {"project": "default", "source": source, "destination": destination,
                "syncPolicy": {"automated": {"selfHeal": true}}, "revisionHistoryLimit": 10},
            "status": {
                "sync": {"status": "Synced", "revision": commit('2'),
                    "comparedTo": {"source": source, "destination": destination}},
                "health": {"status": "Healthy", "lastTransitionTime": "2026-01-02T03:04:10Z"},
                "reconciledAt": "2026-01-02T03:05:00Z",
                "sourceType": "Directory",
                "summary": {"images": ["registry.example/web:1.1.0"]},
                "sourceHydrator": {},
                "resources": [
                    {"version": "v1", "kind": "ConfigMap", "namespace": "shop", "name": "settings", "status": "Synced"},
                    {"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "shop", "name": "web",
                        "status": "Synced", "health": {"status": "Healthy"}},
                ],
                "history": [
                    entry(1, &commit('1'), "2026-01-02T03:01:40Z", "2026-01-02T03:02:40Z"),
                    entry(2, &commit('2'), "2026-01-02T03:03:20Z", "2026-01-02T03:04:20Z"),
                ],
                "operationState": {
                    "phase": "Succeeded",
                    "message": "successfully synced (all tasks run)",
                    "startedAt": "2026-01-02T03:03:20Z",
                    "finishedAt": "2026-01-02T03:04:20Z",
                    "operation": {"sync": {"revision": commit('2')}, "initiatedBy": {"automated": true}, "retry": {}},
                    "syncResult": {"revision": commit('2'), "source": source,
                        "resources": [result("", "ConfigMap", "settings"), result("apps", "Deployment", "web")]},
                },
            },
        })
    );
}

#[test]
fn hooks_that_ended_are_in_the_sync_result() {
    let mut view = idle("shop");
    let runs = [hook_run(Moment::Pre, "migrate", "", true), hook_run(Moment::Post, "smoke-hook", "smoke-2", false)];
    Arc::make_mut(&mut view.record).past.last_mut().expect("it has one").hooks = runs.into();
    let document = application(&view);
    let results = document["status"]["operationState"]["syncResult"]["resources"].as_array().expect("a list");
    assert_eq!(
        results[2..],
        [
            json!({"group": "batch", "version": "", "kind": "Job", "namespace": "shop", "name": "migrate",
                "hookType": "PreSync", "hookPhase": "Succeeded", "syncPhase": "PreSync"}),
            json!({"group": "batch", "version": "", "kind": "Job", "namespace": "shop", "name": "smoke-2",
                "message": "it crashed", "hookType": "PostSync", "hookPhase": "Failed", "syncPhase": "PostSync"}),
        ]
    );
    assert!(results[0].get("hookType").is_none(), "an object is no hook: {}", results[0]);
}

#[test]
fn an_operation_is_shown_exactly_while_it_runs() {
    for (phase, operation, is_running) in [
        (Phase::Idle, "Succeeded", false),
        (Phase::Progressing, "Running", true),
        (Phase::Baking, "Running", true),
        (Phase::Measuring, "Running", true),
        (Phase::Waiting, "Running", true),
        (Phase::Reverting, "Terminating", true),
        (Phase::Held, "Failed", false),
        (Phase::Drifted, "Succeeded", false),
        (Phase::SourceFailed, "Error", false),
        (Phase::Unhealthy, "Succeeded", false),
        (Phase::Contended, "Succeeded", false),
    ] {
        for base in [idle("shop"), measuring("shop"), held("shop")] {
            let mut view = base;
            view.report = report(phase, HealthStatus::Progressing, SyncStatus::OutOfSync, "the fact");
            let document = application(&view);
            let state = &document["status"]["operationState"];
            assert_eq!(state["phase"], operation, "{phase:?}");
            assert_eq!(document.get("operation").is_some(), is_running, "{phase:?}");
            assert_eq!(state.get("finishedAt").is_none(), is_running, "{phase:?}");
            assert!(state["syncResult"]["revision"].is_string(), "{phase:?}");
            let message = if operation == "Succeeded" { "successfully synced (all tasks run)" } else { "the fact" };
            assert_eq!(state["message"], message, "{phase:?}");
        }
    }
}

#[test]
fn a_comparison_is_never_older_than_the_operation() {
    for (reconciled, expected) in [(0, "2026-01-02T03:04:20Z"), (900, "2026-01-02T03:15:00Z")] {
        let mut view = idle("shop");
        view.reconciled_at = at(reconciled);
        let document = application(&view);
        assert_eq!(document["status"]["reconciledAt"], expected);
        assert_eq!(document["status"]["operationState"]["finishedAt"], "2026-01-02T03:04:20Z");
    }
}

#[test]
fn a_rollout_compares_with_git_and_is_about_its_target() {
    let document = application(&measuring("shop"));
    assert_eq!(document["status"]["sync"]["status"], "OutOfSync");
    assert_eq!(document["status"]["sync"]["revision"], commit('3'));
    assert_eq!(document["operation"]["sync"]["revision"], commit('3'));
    assert_eq!(document["status"]["operationState"]["startedAt"], "2026-01-02T03:06:40Z");
    assert_eq!(document["status"]["summary"], json!({}), "what runs is not what is declared");
}

#[test]
fn a_failed_release_is_an_error_condition() {
    for (phase, kind) in
        [(Phase::Held, Some("SyncError")), (Phase::SourceFailed, Some("ComparisonError")), (Phase::Idle, None)]
    {
        let mut view = held("shop");
        view.report.phase = phase;
        let status = application(&view)["status"].clone();
        assert_eq!(status.pointer("/conditions/0/type").and_then(Value::as_str), kind, "{phase:?}");
    }
    let status = application(&held("shop"))["status"].clone();
    assert_eq!(status["operationState"]["finishedAt"], "2026-01-02T03:07:40Z");
    assert_eq!(status["operationState"]["syncResult"]["revision"], commit('3'));
    assert_eq!(status["history"].as_array().unwrap().len(), 2, "only what completed is history");
}

#[test]
fn what_is_out_of_sync_has_no_sync_result_unless_it_waits_for_pruning() {
    let mut view = idle("shop");
    let stray = |name: &str, requires_pruning: bool| crate::status::Resource {
        sync: SyncStatus::OutOfSync,
        requires_pruning,
        ..resource("apps", "Deployment", name, Some(Health::new(HealthStatus::Degraded, "crashes")))
    };
    view.report.resources = vec![stray("late", false), stray("gone", true)];
    let status = application(&view)["status"].clone();
    assert_eq!(status["resources"][0]["health"], json!({"status": "Degraded", "message": "crashes"}));
    assert!(status["resources"][0].get("requiresPruning").is_none());
    assert_eq!(status["resources"][1]["requiresPruning"], true);
    let results = status["operationState"]["syncResult"]["resources"].as_array().unwrap();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["status"], "PruneSkipped");
}

#[test]
fn an_app_that_was_never_read_still_has_every_structure() {
    let mut view = idle("shop");
    view.application = None;
    view.revision = None;
    view.desired = None;
    view.effective = None;
    view.created_at = None;
    view.uid = String::new();
    view.record = Arc::default();
    view.report = report(Phase::SourceFailed, HealthStatus::Unknown, SyncStatus::Unknown, "line 3: unknown field");
    view.report.resources = Vec::new();
    let document = application(&view);
    assert_eq!(document["spec"]["source"], json!({"repoURL": "https://git.example/shop.git"}));
    assert_eq!(document["spec"]["destination"], json!({"server": "https://kubernetes.default.svc"}));
    assert!(document["spec"].get("syncPolicy").is_none());
    let status = &document["status"];
    assert_eq!(status["summary"], json!({}));
    assert_eq!(status["sync"]["comparedTo"]["source"], document["spec"]["source"]);
    assert_eq!(status["operationState"]["syncResult"]["revision"], "");
    assert_eq!(status["operationState"]["operation"], json!({"sync": {}, "initiatedBy": {}, "retry": {}}));
    for absent in ["history", "resources", "sourceType"] {
        assert!(status.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn nothing_has_operated_before_the_first_sync() {
    let mut view = idle("shop");
    view.effective = None;
    view.record = Arc::default();
    assert!(application(&view)["status"].get("operationState").is_none());
}

#[test]
fn folders_and_digests_are_written_in_argo_cds_terms() {
    let mut view = idle("shop");
    let mut declared = crate::status::fixture::application("shop");
    declared.sources[0].path = String::new();
    declared.sources[0].is_recursive = true;
    declared.images[0].digest = Some("sha256:abc".to_owned());
    view.application = Some(Arc::new(declared));
    Arc::make_mut(&mut view.record).past.push(past(3, release("1.2.0", 3), PastOutcome::Withdrawn));
    let document = application(&view);
    assert_eq!(document["spec"]["source"]["path"], ".");
    assert_eq!(document["spec"]["source"]["directory"], json!({"recurse": true, "jsonnet": {}}));
    assert_eq!(document["status"]["summary"]["images"], json!(["registry.example/web@sha256:abc"]));
}

#[test]
fn several_sources_are_told_with_the_commit_of_each() {
    let mut view = idle("shop");
    let mut declared = crate::status::fixture::application("shop");
    let charts = Elsewhere { repository: "https://git.example/charts".to_owned(), revision: Reference::Default };
    let other = SourcePath { elsewhere: Some(charts.clone()), path: "web".to_owned(), ..SourcePath::default() };
    declared.sources.push(other);
    view.application = Some(Arc::new(declared));
    let revision = Revision { branch: "trunk".to_owned(), commit: commit('7'), signer: None };
    view.rendered_from = BTreeMap::from([(charts, revision)]);
    let document = application(&view);
    let own = json!({"repoURL": "https://git.example/shop.git", "path": "apps/shop", "targetRevision": "main"});
    let other = json!({"repoURL": "https://git.example/charts", "path": "web", "targetRevision": "HEAD"});
    assert_eq!(document["spec"]["source"], own);
    assert_eq!(document["spec"]["sources"], json!([own, other]));
    assert_eq!(document["status"]["sync"]["revision"], commit('2'));
    assert_eq!(document["status"]["sync"]["revisions"], json!([commit('2'), commit('7')]));

    let of_one = application(&idle("shop"));
    assert!(of_one["spec"].get("sources").is_none() && of_one["status"]["sync"].get("revisions").is_none());
    let sources = json!([{"repository": "https://git.example/charts", "revision": "trunk", "commit": commit('7')}]);
    assert_eq!(crate::status::resource_status(&view)["sync"]["sources"], sources);
    assert_eq!(crate::status::native::rollout(&view)["sources"], sources);
}

#[test]
fn a_list_is_by_name_and_null_when_empty() {
    assert_eq!(list(&board(Vec::new()), |_| true), json!({"metadata": {}, "items": null}));
    let mut newer = idle("api");
    newer.resource_version = "10001".to_owned();
    let board = board(vec![idle("web"), newer, measuring("db")]);
    let all = list(&board, |_| true);
    let names: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["api", "db", "web"]);
    assert_eq!(all["metadata"]["resourceVersion"], "10001");
    let none = list(&board, |view| view.name.as_str() == "absent");
    assert_eq!(none, json!({"metadata": {"resourceVersion": "10001"}, "items": null}));
}
