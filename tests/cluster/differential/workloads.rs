//! The simulated controllers against the real ones: after each change of a workload, drawn by chance, both must come to
//! rest at the same counts. Where the outcome is a race (a longer minReadySeconds reaches a ReplicaSet's status before or
//! after the next step), the real one must do what some seed of the simulated one has done all along.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};
use tidegate::model::{ClusterName, GroupKind, Millis, Object, ObjectKey, Timestamp};
use tidegate::sim::api::{Api, Deletion, Writer};
use tidegate::sim::controllers::{Behaviour, Controllers, Delays};
use tidegate::world::Part;

use super::sides::Real;
use crate::support::chance::Chance;
use crate::support::child::lock;
use crate::support::patience::{PATIENCE, until};
use crate::support::plane::runtime;

/// Namespace of the workloads.
pub(super) const NAMESPACE: &str = "differential-live";

/// Sequences under way at a time: they mostly wait for pods.
const AT_A_TIME: usize = 16;

/// A minReadySeconds that nothing here waits for.
const HOLD_SECONDS: u64 = 3600;

/// Seeds that play along.
const SEEDS: u64 = 8;

/// How often in a row a workload is seen at rest until it is taken for it.
const LOOKS: u32 = 8;

/// Wanted and ready pods by image tag; versions without any are left out.
type Counts = BTreeMap<String, (u64, u64)>;

/// One change.
#[derive(Clone, Debug)]
enum Change {
    Merge(Value),
    /// Somebody deletes a pod at once.
    KillPod,
}

/// Changes of one workload.
#[derive(Clone, Debug)]
pub(super) struct Life {
    is_stateful: bool,
    changes: Vec<Change>,
}

/// Draws changes.
pub(super) fn life(chance: &mut Chance) -> Life {
    let is_stateful = chance.below(4) == 0;
    let changes = (0..3 + chance.below(4)).map(|_| change(is_stateful, chance)).collect();
    Life { is_stateful, changes }
}

fn change(is_stateful: bool, chance: &mut Chance) -> Change {
    let tag = ["1.0.0", "1.1.0", "1.2.0", "1.3.0-neverready"][chance.below(4)];
    let most = if is_stateful { 4 } else { 9 };
    match chance.below(10) {
        0..3 => Change::Merge(json!({"spec": {"replicas": chance.below(most)}})),
        3..6 => Change::Merge(json!({"spec": {"template": template(tag)}})),
        6 => Change::KillPod,
        _ if is_stateful => {
            Change::Merge(json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": chance.below(3)}}}}))
        }
        7 => {
            let (surge, unavailable) = (chance.below(4), chance.below(4));
            let surge = if surge + unavailable == 0 { 1 } else { surge };
            let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
            Change::Merge(json!({"spec": {"strategy": {"rollingUpdate": rolling}}}))
        }
        8 => {
            let (surge, seconds) = (1 + chance.below(3), if chance.below(3) == 0 { 0 } else { HOLD_SECONDS });
            let rolling = json!({"maxSurge": surge, "maxUnavailable": 0});
            let spec = json!({"minReadySeconds": seconds, "progressDeadlineSeconds": 9999,
                "strategy": {"rollingUpdate": rolling}, "template": template(tag)});
            Change::Merge(json!({"spec": spec}))
        }
        _ => Change::Merge(json!({"spec": {"paused": chance.below(2) == 0}})),
    }
}

fn template(tag: &str) -> Value {
    json!({"spec": {"containers": [{"name": "web", "image": format!("registry.example/web:{tag}")}]}})
}

/// The workload as it begins.
fn body(life: &Life, name: &str) -> Value {
    let kind = if life.is_stateful { "StatefulSet" } else { "Deployment" };
    let mut template = template("1.0.0");
    template["metadata"] = json!({"labels": {"app": name}});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": name}}, "template": template});
    let metadata = json!({"name": name, "namespace": NAMESPACE, "labels": {"app": name}});
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec})
}

/// Lives all lives on both sides; gives what differs.
pub(super) fn compare(real: &Real, lives: &[Life]) -> Vec<String> {
    let (next, found) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    let ends = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((index, life)) = take(lives, &next) {
                    let name = format!("live-{index}");
                    match live(real, life, &name) {
                        Ok(end) => lock(&ends).push((name, end)),
                        Err(difference) => lock(&found).push(difference),
                    }
                }
            });
        }
    });
    // Whoever only passed by has gone on since.
    for (name, end) in lock(&ends).iter() {
        if !until(PATIENCE, || counts(&real_objects(real, name)) == *end) {
            lock(&found).push(format!("{name} did not stay at {end:?}"));
        }
    }
    found.into_inner().unwrap_or_default()
}

fn take<'a>(lives: &'a [Life], next: &AtomicUsize) -> Option<(usize, &'a Life)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, lives.get(index)?))
}

fn live(real: &Real, life: &Life, name: &str) -> Result<Counts, String> {
    let mut simulated: Vec<Simulated> = (1..=SEEDS).map(|seed| Simulated::new(life, name, seed)).collect();
    let plural = if life.is_stateful { "statefulsets" } else { "deployments" };
    let home = format!("/apis/apps/v1/namespaces/{NAMESPACE}/{plural}");
    let path = format!("{home}/{name}");
    let send = |method: Method, path: &str, content: &str, body: &Value| {
        runtime().block_on(real.send(method, path, "", content, body)).unwrap_or_else(|class| panic!("{path}: {class}"))
    };
    send(Method::POST, &home, "application/json", &body(life, name));
    for step in 0..=life.changes.len() {
        let possible: Vec<Counts> = simulated.iter_mut().map(Simulated::rest).collect();
        let looks = Cell::new(0);
        let at_rest = || {
            let objects = real_objects(real, name);
            let is_so = is_observed(&objects) && possible.contains(&counts(&objects));
            looks.set(if is_so { looks.get() + 1 } else { 0 });
            looks.get() >= LOOKS
        };
        let is_at_rest = until(PATIENCE, at_rest);
        let now = counts(&real_objects(real, name));
        if !is_at_rest || !possible.contains(&now) {
            let story: Vec<String> = life.changes[..step].iter().map(|change| format!("  {change:?}")).collect();
            let story = story.join("\n");
            return Err(format!("{plural} {name} after:\n{story}\n  real      {now:?}\n  simulated {possible:?}"));
        }
        let mut fits = possible.iter().map(|counts| *counts == now);
        simulated.retain(|_| fits.next() == Some(true));
        let Some(change) = life.changes.get(step) else { return Ok(now) };
        match change {
            Change::Merge(change) => {
                send(Method::PATCH, &path, "application/merge-patch+json", change);
                simulated.iter_mut().for_each(|each| each.merge(change));
            }
            Change::KillPod => {
                let objects = real_objects(real, name);
                let mut pods: Vec<&str> =
                    objects.pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
                pods.sort_unstable();
                // Which pod of a Deployment dies is no matter as long as all are of one version.
                if let Some(pod) = pods.first().filter(|_| life.is_stateful || now.len() == 1) {
                    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}");
                    let uid = objects.pods.iter().find(|each| each["metadata"]["name"] == *pod);
                    let uid = uid.map(|pod| pod["metadata"]["uid"].clone());
                    send(Method::DELETE, &path, "application/json", &json!({"gracePeriodSeconds": 0}));
                    let is_gone = || {
                        real_objects(real, name).pods.iter().all(|pod| Some(&pod["metadata"]["uid"]) != uid.as_ref())
                    };
                    assert!(until(PATIENCE, is_gone), "{pod} is gone");
                    simulated.iter_mut().for_each(Simulated::kill_first);
                }
            }
        }
    }
    unreachable!("the last step has no change")
}

/// What there is of a workload.
struct Objects {
    workloads: Vec<Value>,
    sets: Vec<Value>,
    pods: Vec<Value>,
}

fn real_objects(real: &Real, name: &str) -> Objects {
    let list = |home: &str| {
        let path = format!("{home}/namespaces/{NAMESPACE}");
        move |plural: &str| {
            let query = format!("labelSelector=app%3D{name}");
            let list = runtime().block_on(real.send(
                Method::GET,
                &format!("{path}/{plural}"),
                &query,
                "application/json",
                &Value::Null,
            ));
            list.ok().and_then(|list| list["items"].as_array().cloned()).unwrap_or_default()
        }
    };
    let (apps, core) = (list("/apis/apps/v1"), list("/api/v1"));
    let workloads = [apps("deployments"), apps("statefulsets")].concat();
    Objects { workloads, sets: apps("replicasets"), pods: core("pods") }
}

/// Whether controllers have seen the newest of what is wanted, and no pod is on its way.
fn is_observed(objects: &Objects) -> bool {
    let is_current = |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    let has_all = |set: &Value| set["status"]["replicas"] == set["spec"]["replicas"];
    objects.workloads.iter().all(is_current)
        && objects.sets.iter().all(|set| is_current(set) && has_all(set))
        && objects.pods.iter().all(|pod| pod["metadata"].get("deletionTimestamp").is_none())
}

/// Counts by image tag: what ReplicaSets want, or how many pods a StatefulSet has, and how many pods are ready.
fn counts(objects: &Objects) -> Counts {
    let mut counts = Counts::new();
    let tag = |spec: &Value| {
        let image = spec["containers"][0]["image"].as_str().unwrap_or_default();
        image.rsplit(':').next().unwrap_or_default().to_owned()
    };
    for set in &objects.sets {
        let wanted = set["spec"]["replicas"].as_u64().unwrap_or_default();
        counts.entry(tag(&set["spec"]["template"]["spec"])).or_default().0 += wanted;
    }
    let is_stateful = objects.workloads.iter().any(|workload| workload["spec"].get("updateStrategy").is_some());
    for pod in &objects.pods {
        let count = counts.entry(tag(&pod["spec"])).or_default();
        count.0 += u64::from(is_stateful);
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        let mut ready = conditions.filter(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        count.1 += u64::from(ready.next().is_some());
    }
    counts.retain(|_, count| *count != (0, 0));
    counts
}

/// One workload in a simulated cluster.
struct Simulated {
    api: Api,
    controllers: Controllers,
    key: ObjectKey,
    now: Timestamp,
    seen: u64,
}

impl Simulated {
    fn new(life: &Life, name: &str, seed: u64) -> Self {
        let now = Timestamp::now();
        let mut controllers = Controllers::new(Delays::default(), seed);
        controllers.behave("neverready", Behaviour::NeverReady);
        let mut api =
            Api::new(now).untracked(&["Deployment", "ReplicaSet", "StatefulSet", "Pod"]).with_namespace(NAMESPACE);
        let object = Object::from_value(&ClusterName::local(), body(life, name)).expect("it has a name");
        api.create(&Writer::other("kubectl"), &object).expect("it is valid");
        Self { api, controllers, key: object.key, now, seen: 0 }
    }

    fn merge(&mut self, change: &Value) {
        self.api.merge(&Writer::other("kubectl"), &self.key, change, Part::Object).expect("the real server took it");
    }

    fn kill_first(&mut self) {
        let first = self.objects("", "Pod").first().map(|pod| pod["metadata"]["name"].clone());
        let first = first.as_ref().and_then(Value::as_str).expect("the real side had one");
        let key = ObjectKey::local("", "Pod", NAMESPACE, first);
        let deletion = Deletion { grace_seconds: Some(0), ..Deletion::default() };
        self.api.delete_with(&Writer::other("kubectl"), &key, &deletion).expect("it is there");
    }

    /// Runs until nothing is due for a minute.
    fn rest(&mut self) -> Counts {
        loop {
            for commit in self.api.commits_after(self.seen).expect("nothing is compacted") {
                self.controllers.notice(commit);
            }
            self.seen = self.api.revision();
            let horizon = Millis::from_seconds(60).after(self.now);
            let Some(next) = self.controllers.next_at().filter(|next| *next <= horizon) else { break };
            self.now = self.now.max(next);
            self.controllers.step(&mut self.api, self.now);
        }
        let workloads = [self.objects("apps", "Deployment"), self.objects("apps", "StatefulSet")].concat();
        counts(&Objects { workloads, sets: self.objects("apps", "ReplicaSet"), pods: self.objects("", "Pod") })
    }

    fn objects(&self, group: &str, kind: &str) -> Vec<Value> {
        let kind = GroupKind::new(group, kind);
        self.api.objects(&kind, Some(NAMESPACE)).map(|object| (*object.body).clone()).collect()
    }
}
