//! What exists, after each write.

use std::collections::BTreeMap;

use serde_json::Value;

use super::record::{Record, number, text};
use super::{Event, Kind};

/// All judged objects.
#[derive(Default)]
pub(crate) struct Cluster {
    objects: BTreeMap<(Kind, String), Value>,
}

impl Cluster {
    /// Takes a write; gives the object before it.
    pub(super) fn put(&mut self, event: &Event) -> Option<Value> {
        let key = (event.kind, event.name.clone());
        match &event.object {
            Some(object) => self.objects.insert(key, object.clone()),
            None => self.objects.remove(&key),
        }
    }

    /// The object of a kind and name.
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// All objects of a kind, by name.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, &Value)> {
        let from = (kind, String::new());
        self.objects
            .range(from..)
            .take_while(move |((found, _), _)| *found == kind)
            .map(|((_, name), it)| (&**name, it))
    }

    /// The record of an app.
    pub(crate) fn record(&self, app: &str) -> Option<Record<'_>> {
        self.get(Kind::Application, app).map(Record)
    }

    /// Ready and live pods of a version in a Deployment: `(ready, live)`.
    pub(super) fn pods(&self, deployment: &str, version: &str) -> (u64, u64) {
        let sets: Vec<&str> =
            self.all(Kind::ReplicaSet).filter(|(_, set)| owner(set) == deployment).map(|(name, _)| name).collect();
        let ours = self.all(Kind::Pod).map(|(_, pod)| pod).filter(|pod| sets.contains(&owner(pod)) && is_live(pod));
        let of = ours.filter(|pod| tag(&pod["spec"]) == version);
        of.fold((0, 0), |(ready, live), pod| (ready + u64::from(is_ready(pod)), live + 1))
    }

    /// A line for what a write changed, when it is worth one.
    pub(super) fn line(&self, event: &Event) -> Option<String> {
        let Event { revision, kind, name, object } = event;
        let what = match object {
            None => "deleted".to_owned(),
            Some(object) => match kind {
                Kind::Application => Record(object).line(),
                Kind::ConfigMap => format!("{}", object["data"]["greeting"]),
                Kind::Deployment => {
                    let spec = &object["spec"];
                    let pace = &spec["strategy"]["rollingUpdate"];
                    format!(
                        "generation {} (seen {}) version {} replicas {} minReady {} pace {}/{}",
                        object["metadata"]["generation"],
                        object["status"]["observedGeneration"],
                        version(object),
                        spec["replicas"],
                        spec["minReadySeconds"],
                        pace["maxSurge"],
                        pace["maxUnavailable"],
                    )
                }
                Kind::ReplicaSet => {
                    let ready = number(&object["status"]["readyReplicas"]);
                    format!("version {} replicas {} ready {ready}", version(object), object["spec"]["replicas"])
                }
                Kind::Pod => return None,
            },
        };
        (*kind != Kind::Pod).then(|| format!("@{revision} {kind:?} {name}: {what}"))
    }
}

/// The version of a workload's template.
pub(super) fn version(workload: &Value) -> &str {
    tag(&workload["spec"]["template"]["spec"])
}

/// The tag of a pod specification's first image.
fn tag(spec: &Value) -> &str {
    text(&spec["containers"][0]["image"]).rsplit_once(':').map_or("", |(_, tag)| tag)
}

/// The name of whoever controls an object.
pub(super) fn owner(object: &Value) -> &str {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
    controller.map_or("", |owner| text(&owner["name"]))
}

/// Whether a pod is neither ending nor ended.
pub(super) fn is_live(pod: &Value) -> bool {
    let has_ended = matches!(text(&pod["status"]["phase"]), "Failed" | "Succeeded");
    pod["metadata"]["deletionTimestamp"].is_null() && !has_ended
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Whether a controller has seen the object's newest specification.
pub(super) fn is_observed(workload: &Value) -> bool {
    number(&workload["status"]["observedGeneration"]) >= number(&workload["metadata"]["generation"])
}

/// `spec.replicas`, as stored.
pub(super) fn replicas(workload: Option<&Value>) -> u64 {
    workload.map_or(0, |workload| number(&workload["spec"]["replicas"]))
}
