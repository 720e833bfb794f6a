//! The API server with its controllers, driven to quiescence on virtual time.

mod deployments;
mod holds;
mod stateful_sets;

use serde_json::{Value, json};

use super::*;
use crate::model::ClusterName;
use crate::observe::Workload;
use crate::world::Part;

/// `minReadySeconds` of a hold.
const HOLD: i64 = 2_147_483_000;
/// Who owns which field is no matter of these tests.
const KINDS: &[&str] = &["Deployment", "ReplicaSet", "StatefulSet", "Pod"];

/// A small cluster.
struct Play {
    api: Api,
    controllers: Controllers,
    now: Timestamp,
    seen: u64,
    by: Writer,
}

impl Play {
    fn new(seed: u64) -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut controllers = Controllers::new(Delays::default(), seed);
        for (image, behaviour) in [
            ("crash", Behaviour::CrashLoop),
            ("neverready", Behaviour::NeverReady),
            ("nopull", Behaviour::PullError),
            ("slow", Behaviour::ReadyAfter(Millis::from_seconds(30))),
            ("lapse", Behaviour::Lapses { after: Millis::from_seconds(20), lasts: Millis::from_seconds(40) }),
        ] {
            controllers.behave(image, behaviour);
        }
        let mut play =
            Self { api: Api::new(now).untracked(KINDS), controllers, now, seen: 0, by: Writer::other("kubectl") };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
        let namespace = Object::from_value(&ClusterName::local(), namespace).unwrap();
        play.api.create(&play.by.clone(), &namespace).unwrap();
        play
    }

    /// A Deployment `web` of ten pods at 1.0.0, complete.
    fn of_ten(seed: u64) -> Self {
        let mut play = Self::new(seed);
        play.create(deployment(10));
        play.settle();
        assert_eq!(play.sizes(), [("1.0.0".to_owned(), 10)]);
        play
    }

    fn create(&mut self, body: Value) {
        let object = Object::from_value(&ClusterName::local(), body).unwrap();
        self.api.create(&self.by, &object).unwrap();
        self.feed();
    }

    /// Merges a change into the spec of `web`, of whichever kind it is.
    fn change(&mut self, spec: Value) {
        let key = self.web().key.clone();
        let change = Value::Object([("spec".to_owned(), spec)].into_iter().collect());
        self.api.merge(&self.by, &key, &change, Part::Object).unwrap();
        self.feed();
    }

    /// Holds a version of the Deployment within a window.
    fn hold(&mut self, version: &str, surge: i64, unavailable: i64) {
        let mut spec = template(version);
        spec["minReadySeconds"] = json!(HOLD);
        spec["progressDeadlineSeconds"] = json!(2_147_483_646);
        spec["strategy"] = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        self.change(spec);
    }

    /// Rolls a version out at the declared pace.
    fn declare(&mut self, version: &str) {
        let mut spec = template(version);
        spec["minReadySeconds"] = json!(0);
        spec["progressDeadlineSeconds"] = json!(2_147_483_646);
        spec["strategy"] = json!({"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
        self.change(spec);
    }

    /// Takes a wave of at most three back: ms = max(1, w), mu = max(dmu, n - A - W).
    fn revert(&mut self) {
        let mut spec = template("1.0.0");
        spec["minReadySeconds"] = json!(0);
        spec["strategy"] = json!({"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}});
        self.change(spec);
    }

    fn feed(&mut self) {
        for commit in self.api.commits_after(self.seen).unwrap() {
            self.controllers.notice(commit);
        }
        self.seen = self.api.revision();
    }

    /// Runs until nothing is due for a minute, for half an hour at most (crash loops never end).
    fn settle(&mut self) {
        let end = Millis::from_seconds(1800).after(self.now);
        while let Some(next) = self.controllers.next_at()
            && next <= end.min(Millis::from_seconds(60).after(self.now))
        {
            self.step_at(next);
        }
    }

    /// Runs for a while.
    fn run_for(&mut self, time: Millis) {
        let end = time.after(self.now);
        while let Some(next) = self.controllers.next_at()
            && next <= end
        {
            self.step_at(next);
        }
        self.now = end;
        self.api.set_now(end);
    }

    fn step_at(&mut self, next: Timestamp) {
        self.now = self.now.max(next);
        self.controllers.step(&mut self.api, self.now);
        self.feed();
    }

    fn all(&self, group: &str, kind: &str) -> Vec<Object> {
        self.api.objects(&crate::model::GroupKind::new(group, kind), Some("shop")).cloned().collect()
    }

    fn sets(&self) -> Vec<Object> {
        self.all("apps", "ReplicaSet")
    }

    fn pods(&self) -> Vec<Object> {
        self.all("", "Pod")
    }

    fn web(&self) -> Object {
        self.all("apps", "Deployment").into_iter().chain(self.all("apps", "StatefulSet")).next().unwrap()
    }

    fn status(&self, field: &str) -> i64 {
        self.web().int(&format!("/status/{field}")).unwrap_or(0)
    }

    /// Status and reason of a condition of `web`.
    fn condition(&self, kind: &str) -> Option<(String, String)> {
        let web = self.web();
        let found = reading::condition(&web.body, kind)?;
        let text = |field| reading::text(found, &[field]).unwrap_or_default().to_owned();
        Some((text("status"), text("reason")))
    }

    fn workload(&self) -> Workload {
        Workload::read(self.web(), &self.sets(), &self.pods())
    }

    /// Version and `spec.replicas` of the active ReplicaSets.
    fn sizes(&self) -> Vec<(String, i64)> {
        let sets = self.sets();
        let mut sizes: Vec<(String, i64)> =
            sets.iter().map(|set| (version(set), set.int("/spec/replicas").unwrap())).collect();
        sizes.retain(|(_, size)| *size > 0);
        sizes.sort();
        sizes
    }

    /// Live pods of a version, and how many of them are Ready.
    fn live(&self, wanted: &str) -> (usize, usize) {
        let pods = self.pods();
        let of = pods.iter().filter(|pod| pod.text("/spec/containers/0/image") == Some(&format!("web:{wanted}")));
        let live: Vec<&Object> = of.filter(|pod| !pod.is_terminating()).collect();
        (live.len(), live.iter().filter(|pod| pods::ready_since(pod).is_some()).count())
    }

    /// Sizes of 1.0.0 and of 1.1.0, all their pods Ready and no other pod left: where a step of a hold ends.
    #[track_caller]
    fn assert_stands(&self, old: usize, new: usize) {
        let wanted: Vec<(String, i64)> = [("1.0.0", old), ("1.1.0", new)]
            .into_iter()
            .filter(|(_, size)| *size > 0)
            .map(|(version, size)| (version.to_owned(), i64::try_from(size).unwrap()))
            .collect();
        assert_eq!(self.sizes(), wanted);
        assert_eq!((self.live("1.0.0"), self.live("1.1.0")), ((old, old), (new, new)));
        assert_eq!(self.pods().len(), old + new);
    }

    fn scale(&mut self, n: i64) {
        self.change(json!({"replicas": n}));
    }
}

/// The version in a ReplicaSet's template.
fn version(set: &Object) -> String {
    set.text("/spec/template/spec/containers/0/image").unwrap().trim_start_matches("web:").to_owned()
}

/// The template of a version, as a change of spec.
fn template(version: &str) -> Value {
    json!({"template": {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": format!("web:{version}")}]},
    }})
}

fn deployment(n: i64) -> Value {
    let mut body = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop", "annotations": {"team": "shop"}},
        "spec": {
            "replicas": n,
            "minReadySeconds": 0,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        },
    });
    body["spec"]["template"] = template("1.0.0")["template"].clone();
    body
}
