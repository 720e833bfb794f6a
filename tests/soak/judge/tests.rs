//! Planted histories: a rule that is never seen to be broken proves nothing.

use serde_json::{Value, json};

use super::{Commits, Declared, Event, Judge, Kind, Violation};

/// The app of all histories: ten pods, waves of one, three and all; 1 is Stable, 2 the Target.
const APP: &str = "web";

/// A history that is written and judged write by write.
struct History {
    judge: Judge,
    commits: Commits,
    revision: u64,
    generation: u64,
    found: Vec<Violation>,
}

impl History {
    /// Version 1 stands and is observed, with ten Ready pods; nothing is under way.
    fn standing() -> Self {
        let mut commits = Commits::default();
        for (id, version) in [("c1", "1"), ("c2", "2"), ("c3", "3")] {
            let declared = Declared {
                version: version.to_owned(),
                greeting: format!("hello {version}"),
                has_extra: version == "1",
                replicas: 10,
            };
            commits.add(id, [(APP.to_owned(), declared)].into());
        }
        let mut history = Self { judge: Judge::default(), commits, revision: 0, generation: 0, found: Vec::new() };
        history.app(record(1, None, &[])).deployment("1").seen("1").set("1", 10).pods("1", 10);
        history.config(APP, "hello 1").config("web-extra", "hello 1");
        assert!(history.found.is_empty(), "{:?}", history.found);
        history
    }

    /// As above, and the first of three waves of version 2 stands, Ready.
    fn in_first_wave() -> Self {
        let mut history = Self::standing();
        history.app(record(2, Some(rollout("preparing", None)), &[])).config(APP, "hello 2");
        history.enter(0, &[]).deployment("2").seen("2").set("2", 1).pods("2", 1);
        history.app(record(2, Some(rollout("wave", Some(0))), &[wave(0, true, false)]));
        assert!(history.found.is_empty(), "{:?}", history.found);
        history
    }

    fn write(&mut self, kind: Kind, name: &str, object: Option<Value>) -> &mut Self {
        self.revision += 1;
        let event = Event { revision: self.revision, kind, name: name.to_owned(), object };
        self.found.extend(self.judge.see(&event, &self.commits));
        self
    }

    fn app(&mut self, object: Value) -> &mut Self {
        self.write(Kind::Application, APP, Some(object))
    }

    /// The intent of a wave, with those before it.
    fn enter(&mut self, index: usize, before: &[Value]) -> &mut Self {
        let mut waves = before.to_vec();
        waves.push(wave(index, false, false));
        self.app(record(2, Some(rollout("wave", Some(index))), &waves))
    }

    /// A new generation.
    fn deployment(&mut self, version: &str) -> &mut Self {
        self.generation += 1;
        self.workload(version, self.generation - 1)
    }

    /// The controller has seen it.
    fn seen(&mut self, version: &str) -> &mut Self {
        self.workload(version, self.generation)
    }

    fn workload(&mut self, version: &str, observed: u64) -> &mut Self {
        let mut object = workload(APP, version, 10);
        object["metadata"]["generation"] = self.generation.into();
        object["status"]["observedGeneration"] = observed.into();
        self.write(Kind::Deployment, APP, Some(object))
    }

    fn set(&mut self, version: &str, replicas: u64) -> &mut Self {
        let mut object = workload(&format!("web-{version}"), version, replicas);
        object["metadata"]["ownerReferences"] = json!([{"name": APP, "controller": true}]);
        self.write(Kind::ReplicaSet, &format!("web-{version}"), Some(object))
    }

    fn pods(&mut self, version: &str, count: usize) -> &mut Self {
        for number in 0..count {
            self.write(Kind::Pod, &format!("web-{version}-{number}"), Some(pod(version, true)));
        }
        self
    }

    fn config(&mut self, name: &str, greeting: &str) -> &mut Self {
        self.write(Kind::ConfigMap, name, Some(json!({"data": {"greeting": greeting}})))
    }

    fn delete(&mut self, kind: Kind, name: &str) -> &mut Self {
        self.write(kind, name, None)
    }

    fn revert(&mut self) -> &mut Self {
        self.app(record(2, Some(rollout("reverting", None)), &[wave(0, true, false)]))
    }

    /// What was found, by rule.
    fn rules(&self) -> Vec<&'static str> {
        self.found.iter().map(|violation| violation.rule).collect()
    }
}

fn release(version: &str) -> Value {
    json!({"digest": format!("digest {version}"), "attempt": 0, "version": version,
        "revision": {"branch": "main", "commit": format!("c{version}")}})
}

fn rollout(at: &str, index: Option<usize>) -> Value {
    let mut position = json!({"at": at});
    if let Some(index) = index {
        position["index"] = index.into();
    }
    let wave = |replicas: Value| json!({"replicas": replicas, "analysis": []});
    let mut waves = [wave(json!(1)), wave(json!("25%")), wave(json!("100%"))];
    waves[1]["analysis"] = json!(["errors"]);
    json!({"id": 2, "target": release("2"), "lane": "waves", "position": position,
        "plan": {"waves": waves, "express": [wave(json!("100%"))], "analysis": [{"name": "errors", "count": 2}]}})
}

/// An Application with Stable 1 and so many rollouts started.
fn record(rollouts: u64, rollout: Option<Value>, waves: &[Value]) -> Value {
    let rollout = rollout.map(|mut rollout| {
        rollout["waves"] = waves.into();
        rollout
    });
    json!({"record": {"rollouts": rollouts, "stable": release("1"), "rollout": rollout, "quarantine": [], "past": []}})
}

/// The end of rollout 2.
fn ended(outcome: &str, waves: &[Value]) -> Value {
    let mut object = record(2, None, &[]);
    object["record"]["past"] = json!([{"id": 2, "outcome": outcome, "release": release("2"), "waves": waves}]);
    match outcome {
        "completed" => object["record"]["stable"] = release("2"),
        _ => object["record"]["quarantine"] = json!([{"digest": "digest 2", "attempt": 0, "version": "2"}]),
    }
    object
}

fn wave(index: usize, is_ready: bool, is_passed: bool) -> Value {
    let at =
        |second: usize, is: bool| if is { json!(format!("2026-01-01T00:0{index}:0{second}Z")) } else { Value::Null };
    json!({"name": format!("wave {index}"), "startedAt": at(0, true), "readyAt": at(1, is_ready),
        "passedAt": at(9, is_passed), "gates": []})
}

/// The second wave, passed with so many samples that began at this second (it was Ready at second 1).
fn measured(samples: usize, second: usize) -> Value {
    let mut wave = wave(1, true, true);
    let at = |number: usize| format!("2026-01-01T00:01:0{}Z", second + number);
    let samples: Vec<Value> = (0..samples).map(|number| json!({"at": at(number), "verdict": "pass"})).collect();
    wave["gates"] = json!([{"gate": "errors", "verdict": "pass", "measurements": samples}]);
    wave
}

fn workload(name: &str, version: &str, replicas: u64) -> Value {
    json!({"metadata": {"name": name}, "status": {}, "spec": {"replicas": replicas,
        "template": {"spec": {"containers": [{"image": format!("registry.example/web:{version}")}]}}}})
}

fn pod(version: &str, is_ready: bool) -> Value {
    json!({"metadata": {"ownerReferences": [{"name": format!("web-{version}"), "controller": true}]},
        "spec": {"containers": [{"image": format!("registry.example/web:{version}")}]},
        "status": {"conditions": [{"type": "Ready", "status": if is_ready { "True" } else { "False" }}]}})
}

#[track_caller]
fn check(name: &str, rules: &[&str], mut history: History, go_on: impl FnOnce(&mut History)) {
    go_on(&mut history);
    assert_eq!(history.rules(), rules, "{name}: {:#?}", history.found);
}

#[test]
fn a_rollout_by_the_book_breaks_no_rule() {
    check("three waves, and prune", &[], History::in_first_wave(), |it| {
        it.enter(1, &[wave(0, true, true)]).deployment("2").seen("2").set("2", 3).pods("2", 3);
        it.app(record(2, Some(rollout("wave", Some(1))), &[wave(0, true, true), wave(1, true, false)]));
        it.enter(2, &[wave(0, true, true), measured(2, 2)]).deployment("2").seen("2").set("2", 10).pods("2", 10);
        let waves = [wave(0, true, true), measured(2, 2), wave(2, true, false)];
        it.app(record(2, Some(rollout("wave", Some(2))), &waves)).set("1", 0);
        it.app(ended("completed", &[wave(0, true, true), measured(2, 2), wave(2, true, true)]));
        it.delete(Kind::ConfigMap, "web-extra").delete(Kind::ReplicaSet, "web-1");
    });
    check("a wave that starts over", &[], History::in_first_wave(), |it| {
        it.write(Kind::Pod, "web-2-0", Some(pod("2", false))).enter(0, &[]).pods("2", 1);
        it.enter(1, &[wave(0, true, true)]);
    });
    check("a revert", &[], History::in_first_wave(), |it| {
        it.revert().config(APP, "hello 1").deployment("1").seen("1").set("2", 0).app(ended("reverted", &[]));
    });
}

#[test]
fn s1_sees_pods_beyond_the_durable_wave() {
    check("two pods in a wave of one", &["S1"], History::in_first_wave(), |it| {
        it.set("2", 2);
    });
    check("the second wave's pods before its intent", &["S1"], History::in_first_wave(), |it| {
        it.set("2", 3).enter(1, &[wave(0, true, true)]);
    });
    check("the template before the wave's intent", &["S1"], History::standing(), |it| {
        it.app(record(2, Some(rollout("preparing", None)), &[])).deployment("2");
    });
    check("a template that nothing durable names", &["S1"], History::in_first_wave(), |it| {
        it.deployment("3");
    });
    check("pods of a version that nothing durable names", &["S1"], History::standing(), |it| {
        it.set("3", 1);
    });
    check("pods after the revert was seen", &["S1"], History::in_first_wave(), |it| {
        it.revert().deployment("1").seen("1").set("2", 0).set("2", 1);
    });
}

#[test]
fn s2_sees_gates_without_evidence() {
    check("pods that never were Ready", &["S2", "S2"], History::in_first_wave(), |it| {
        it.enter(1, &[wave(0, true, true)]).set("2", 3).pods("2", 2);
        it.app(record(2, Some(rollout("wave", Some(1))), &[wave(0, true, true), wave(1, true, false)]));
        it.enter(2, &[wave(0, true, true), measured(2, 2)]);
    });
    check("a generation that was not observed", &["S2"], History::in_first_wave(), |it| {
        it.enter(1, &[wave(0, true, true)]).deployment("2").set("2", 3).pods("2", 3);
        it.app(record(2, Some(rollout("wave", Some(1))), &[wave(0, true, true), wave(1, true, false)]));
    });
    for (name, samples, second) in [("too few samples", 1, 2), ("a sample from before Ready", 2, 0)] {
        check(name, &["S2"], History::in_first_wave(), |it| {
            it.enter(1, &[wave(0, true, true)]).deployment("2").seen("2").set("2", 3).pods("2", 3);
            it.enter(2, &[wave(0, true, true), measured(samples, second)]);
        });
    }
}

#[test]
fn s3_sees_waves_out_of_order() {
    check("a wave that is skipped", &["S3"], History::in_first_wave(), |it| {
        it.enter(2, &[wave(0, true, true), wave(1, false, false)]);
    });
    check("a wave that is left before it passed", &["S3"], History::in_first_wave(), |it| {
        it.enter(1, &[wave(0, true, false)]);
    });
    check("a wave that is run again", &["S3", "S3"], History::in_first_wave(), |it| {
        it.enter(1, &[wave(0, true, true)]).enter(0, &[]);
    });
    check("a rollout that completes in its first wave", &["S3"], History::in_first_wave(), |it| {
        it.app(ended("completed", &[wave(0, true, true)]));
    });
    check("a way back that turns forward", &["S3"], History::in_first_wave(), |it| {
        it.revert().app(record(2, Some(rollout("wave", Some(0))), &[wave(0, true, false)]));
    });
}

#[test]
fn s4_sees_a_revert_that_goes_forward_or_ends_elsewhere() {
    check("a write with the Target", &["S4"], History::in_first_wave(), |it| {
        it.revert().deployment("2");
    });
    check("an end on the Target", &["S4"], History::in_first_wave(), |it| {
        it.revert().app(ended("reverted", &[wave(0, true, false)]));
    });
}

#[test]
fn s5_sees_a_failed_release_tried_again() {
    check("the same attempt", &["S5"], History::in_first_wave(), |it| {
        it.revert().deployment("1").app(ended("reverted", &[]));
        let mut again = record(3, Some(rollout("preparing", None)), &[]);
        again["record"]["rollout"]["id"] = 3.into();
        it.app(again);
    });
    check("a higher attempt is free to go", &[], History::in_first_wave(), |it| {
        it.revert().deployment("1").app(ended("reverted", &[]));
        let mut again = record(3, Some(rollout("preparing", None)), &[]);
        again["record"]["rollout"]["id"] = 3.into();
        again["record"]["rollout"]["target"]["attempt"] = 1.into();
        it.app(again);
    });
}

#[test]
fn s6_sees_old_commits_come_back() {
    check("a rollout of an ancestor", &["S6"], History::in_first_wave(), |it| {
        it.revert().deployment("1").app(ended("withdrawn", &[]));
        let mut older = record(3, Some(rollout("preparing", None)), &[]);
        older["record"]["rollout"]["id"] = 3.into();
        older["record"]["rollout"]["target"] = release("1");
        it.app(older);
    });
    check("configuration of a commit that is not durable", &["S6"], History::standing(), |it| {
        it.config(APP, "hello 2");
    });
    check("the Target's configuration on the way back", &["S6"], History::in_first_wave(), |it| {
        it.revert().config(APP, "hello 1").config(APP, "hello 2");
    });
}

#[test]
fn s7_sees_declared_objects_deleted() {
    for (kind, name) in [(Kind::Deployment, APP), (Kind::Application, APP), (Kind::ConfigMap, APP)] {
        check(name, &["S7"], History::standing(), |it| {
            it.delete(kind, name);
        });
    }
    check("what Stable declares", &["S7"], History::standing(), |it| {
        it.delete(Kind::ConfigMap, "web-extra");
    });
}

#[test]
fn s8_sees_strangers_and_wanted_pods_deleted() {
    let ending = |version: &str| {
        let mut pod = pod(version, true);
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod
    };
    check("a pod that its ReplicaSet wants", &["S8"], History::standing(), |it| {
        it.write(Kind::Pod, "web-1-0", Some(ending("1")));
    });
    check("a pod that its ReplicaSet does not want", &[], History::standing(), |it| {
        it.set("1", 9).write(Kind::Pod, "web-1-0", Some(ending("1")));
    });
    check("a ReplicaSet with pods", &["S8"], History::standing(), |it| {
        it.delete(Kind::ReplicaSet, "web-1");
    });
    let stranger = json!({"metadata": {"name": "bystander", "labels": {"app": "web"}}, "data": {"greeting": "mine"}});
    let mut changed = stranger.clone();
    changed["data"]["greeting"] = "ours".into();
    for (name, then) in [("deleted", None), ("changed", Some(changed))] {
        check(name, &["S8"], History::standing(), |it| {
            it.write(Kind::ConfigMap, "bystander", Some(stranger.clone())).write(Kind::ConfigMap, "bystander", then);
        });
    }
}

#[test]
fn what_happened_in_a_gap_is_not_judged() {
    check("waves and pods after a gap", &[], History::in_first_wave(), |it| {
        let mut deployment = workload(APP, "2", 10);
        deployment["metadata"]["generation"] = 2.into();
        let mut set = workload("web-2", "2", 3);
        set["metadata"]["ownerReferences"] = json!([{"name": APP, "controller": true}]);
        let waves = [wave(0, true, true), wave(1, false, false)];
        let objects = [
            (Kind::Application, APP, record(2, Some(rollout("wave", Some(1))), &waves)),
            (Kind::Deployment, APP, deployment),
            (Kind::ReplicaSet, "web-2", set),
        ];
        let events = objects.map(|(kind, name, object)| Event {
            revision: 100,
            kind,
            name: name.to_owned(),
            object: Some(object),
        });
        it.judge.resume(&events);
        it.app(record(2, Some(rollout("wave", Some(1))), &[wave(0, true, true), wave(1, true, false)]));
        assert_eq!(it.judge.figures.gaps, 1);
    });
    check("after it the rules hold again", &["S1"], History::in_first_wave(), |it| {
        let object = |kind: Kind, name: &str| Event {
            revision: 100,
            kind,
            name: name.to_owned(),
            object: it.judge.cluster().get(kind, name).cloned(),
        };
        let events = [object(Kind::Application, APP), object(Kind::Deployment, APP), object(Kind::ReplicaSet, "web-2")];
        it.judge.resume(&events);
        it.set("2", 2);
    });
}
