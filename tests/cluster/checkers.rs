//! The checkers, seen to notice what they are for: a checker that never fails proves nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::log::{Entry, Log, Mark};
use crate::support::state::Kind;

/// One write: its revision, and the object's UID with its content, or its deletion.
type Write = (u64, Kind, &'static str, Option<Value>);

fn log(writes: &[Write]) -> Log {
    let entry = |(revision, kind, uid, object): &Write| Entry {
        revision: *revision,
        at: Instant::now(),
        kind: *kind,
        uid: (*uid).to_owned(),
        object: object.clone().map(Arc::new),
    };
    Log::new(writes.iter().map(entry).collect(), 0, Instant::now())
}

fn pod(revision: u64, uid: &'static str, version: &str, is_ready: bool) -> Write {
    let status = if is_ready { "True" } else { "False" };
    let pod = json!({
        "metadata": {"name": uid, "uid": uid},
        "spec": {"containers": [{"image": format!("registry.example/web:{version}")}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
    });
    (revision, Kind::Pod, uid, Some(pod))
}

fn app(revision: u64, position: &Value) -> Write {
    let rollout = json!({"target": {"version": "2"}, "position": position, "lane": "waves"});
    let record = json!({"rollout": if position.is_null() { Value::Null } else { rollout }});
    (revision, Kind::Application, "app", Some(json!({"metadata": {"name": "web"}, "record": record})))
}

fn wave(revision: u64, index: u64) -> Write {
    app(revision, &json!({"at": "wave", "index": index}))
}

#[track_caller]
fn check(name: &str, is_fine: bool, claim: impl FnOnce()) {
    assert_eq!(catch_unwind(AssertUnwindSafe(claim)).is_ok(), is_fine, "{name}");
}

#[test]
fn containment_goes_by_what_was_durable_when_the_pod_was_written() {
    let cases: [(&str, bool, Vec<Write>); 7] = [
        ("a pod in its wave", true, vec![wave(2, 0), pod(3, "a", "2", false)]),
        ("a pod before any intent", false, vec![pod(2, "a", "2", false), wave(3, 0)]),
        ("two pods in a wave of one", false, vec![wave(2, 0), pod(3, "a", "2", true), pod(4, "b", "2", true)]),
        (
            "the second pod with the second wave",
            true,
            vec![wave(2, 0), pod(3, "a", "2", true), wave(4, 1), pod(5, "b", "2", true)],
        ),
        (
            "events that arrive late count by their revision",
            true,
            vec![pod(5, "b", "2", true), pod(3, "a", "2", true), wave(4, 1), wave(2, 0)],
        ),
        ("a wave that is skipped", false, vec![wave(2, 0), wave(4, 2)]),
        (
            "a pod after the revert began",
            false,
            vec![
                wave(2, 0),
                app(3, &json!({"at": "reverting"})),
                pod(4, "a", "2", true),
                app(5, &Value::Null),
                pod(6, "b", "2", true),
            ],
        ),
    ];
    for (name, is_fine, mut writes) in cases {
        writes.push(app(1, &Value::Null));
        check(name, is_fine, || log(&writes).assert_contained(Mark(0), "web", "2", &[1, 2, 10]));
    }
}

#[test]
fn untouched_means_alive_ready_and_never_restarted() {
    let restarted = |revision| {
        let (_, kind, uid, mut object) = pod(revision, "a", "1", true);
        if let Some(object) = &mut object {
            object["status"]["containerStatuses"] = json!([{"restartCount": 1}]);
        }
        (revision, kind, uid, object)
    };
    let cases: [(&str, bool, Vec<Write>); 5] = [
        ("another version's pods do not matter", true, vec![pod(5, "b", "2", false)]),
        ("it is deleted", false, vec![(5, Kind::Pod, "a", None)]),
        ("it is not Ready for a moment", false, vec![pod(5, "a", "1", false), pod(6, "a", "1", true)]),
        ("it is restarted", false, vec![restarted(5)]),
        ("one more appears", false, vec![pod(5, "b", "1", true)]),
    ];
    for (name, is_fine, mut writes) in cases {
        writes.push(pod(1, "a", "1", true));
        check(name, is_fine, || log(&writes).assert_untouched(Mark(2), "1"));
    }
}

#[test]
fn waves_are_told_apart_by_the_durable_position() {
    let writes = [
        pod(1, "old", "1", true),
        wave(2, 0),
        pod(3, "a", "2", true),
        wave(4, 1),
        pod(5, "b", "2", true),
        (6, Kind::Pod, "old", None),
        app(7, &Value::Null),
    ];
    let waves = log(&writes).by_wave(Mark(1), "web", "2");
    let ends: Vec<_> = waves.iter().map(|wave| (wave.at_end, wave.new_max, wave.old_min)).collect();
    assert_eq!(ends, [((1, 1), 1, 1), ((0, 2), 2, 0)]);
}
