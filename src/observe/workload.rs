//! A Deployment with its ReplicaSets and pods, read into the counts that a hold needs.

use serde_json::Value;

use super::law::{Counts, MIN_READY_SECONDS_HOLD, Window, law};
use crate::model::Object;
use crate::mutants::{Mutant, is_planted};

/// Label that the controller gives to ReplicaSets and their pods.
const LABEL_HASH: &str = "pod-template-hash";

/// One Deployment as observed: itself, its ReplicaSets by controllerRef UID, and their pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// The Deployment.
    pub object: Object,
    /// Its ReplicaSets, oldest first.
    pub sets: Vec<SetFacts>,
    /// Their pods.
    pub pods: Vec<PodFacts>,
}

/// One ReplicaSet. Sizes are from `spec`; status lags and serves readiness only.
#[derive(Clone, Debug, PartialEq)]
pub struct SetFacts {
    /// Its UID.
    pub uid: String,
    /// Its `pod-template-hash` label, read and never computed.
    pub hash: String,
    /// Its pod template without that label.
    pub template: Value,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `status.replicas`.
    pub status_replicas: u32,
    /// `status.readyReplicas`.
    pub ready: u32,
    /// `status.availableReplicas`.
    pub available: u32,
    /// Annotation `deployment.kubernetes.io/desired-replicas`.
    pub desired_mark: Option<u32>,
    /// Why pods could not be created (`ReplicaFailure`), such as a quota.
    pub failure: Option<String>,
}

/// One pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// UID of its ReplicaSet.
    pub set_uid: String,
    /// Whether its `Ready` condition is True.
    pub is_ready: bool,
    /// Whether it is being deleted.
    pub is_terminating: bool,
    /// Container restarts, summed.
    pub restarts: u32,
    /// The container that crash-loops, with what it says.
    pub crash_loop: Option<String>,
    /// What a container waits for (image pull, configuration), when it does.
    pub waiting: Option<String>,
}

impl Workload {
    /// Reads a Deployment's ReplicaSets and pods out of lists that may hold others' too.
    #[must_use]
    pub fn read(object: Object, sets: &[Object], pods: &[Object]) -> Self {
        let uid = object.uid().to_owned();
        let mut owned: Vec<&Object> = sets.iter().filter(|set| controller_uid(set) == Some(uid.as_str())).collect();
        owned.sort_by_key(|set| {
            (set.text("/metadata/creationTimestamp").unwrap_or_default().to_owned(), set.key.name.clone())
        });
        let sets: Vec<SetFacts> = owned.into_iter().map(read_set).collect();
        let pods = pods
            .iter()
            .filter(|pod| controller_uid(pod).is_some_and(|uid| sets.iter().any(|set| set.uid == uid)))
            .map(read_pod)
            .collect();
        Self { object, sets, pods }
    }

    /// `spec.replicas`; the API server defaults it to 1.
    #[must_use]
    pub fn n(&self) -> u32 {
        count(self.object.int("/spec/replicas").unwrap_or(1))
    }

    /// The ReplicaSet that the controller takes for the new one: the one whose template equals the Deployment's
    /// (`util/deployment_util.go` `FindNewReplicaSet`; the oldest wins).
    #[must_use]
    pub fn current(&self) -> Option<&SetFacts> {
        let template = self.object.at("/spec/template")?;
        self.sets.iter().find(|set| same_template(&set.template, template))
    }

    /// Counts with the current ReplicaSet as the new side.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let current = self.current();
        let mut counts = Counts { n: self.n(), ..Counts::default() };
        for set in &self.sets {
            let size = if is_planted(Mutant::StaleStatusCount) { set.status_replicas } else { set.replicas };
            if current.is_some_and(|current| current.uid == set.uid) {
                counts.new = size;
                counts.new_ready = set.ready;
                counts.new_available = set.available;
            } else {
                counts.others += size;
                counts.others_ready += set.ready;
                counts.others_available += set.available;
            }
        }
        counts
    }

    /// The window that stands in the live Deployment, when it is made of integers.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        Some(Window {
            surge: count(self.object.int("/spec/strategy/rollingUpdate/maxSurge")?),
            unavailable: count(self.object.int("/spec/strategy/rollingUpdate/maxUnavailable")?),
        })
    }

    /// Whether the live Deployment carries hold values.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.object.int("/spec/minReadySeconds") == Some(MIN_READY_SECONDS_HOLD)
    }

    /// Whether the controller has seen the newest generation.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        if is_planted(Mutant::UnobservedReadiness) {
            return true;
        }
        self.object.int("/status/observedGeneration") >= self.object.int("/metadata/generation")
    }

    /// Whether the controller has stopped where `window` lets it: generation observed, sizes at the law's values, every
    /// active ReplicaSet marked with n. The mark with n + maxSurge says nothing: the controller writes it only when it
    /// scales that very ReplicaSet, so Stable's keeps the old one for the whole of a surge wave (seen on 1.36.3).
    #[must_use]
    pub fn is_at_fixpoint(&self, window: Window) -> bool {
        let counts = self.counts();
        let is_where_it_stops =
            law(&counts, window) == (counts.others, counts.new) || is_planted(Mutant::StaleStatusCount);
        self.is_observed()
            && self.current().is_some()
            && is_where_it_stops
            && self.sets.iter().filter(|set| set.replicas > 0).all(|set| set.desired_mark == Some(counts.n))
    }

    /// Whether exactly one ReplicaSet is active, the current one, at n: what a rollout may start from. Availability is
    /// not asked for, since a broken Stable must not block its own fix.
    #[must_use]
    pub fn is_spec_complete(&self) -> bool {
        let counts = self.counts();
        self.is_observed()
            && counts.others == 0
            && counts.new == counts.n
            && (self.current().is_some() || counts.n == 0)
            && self.sets.iter().all(|set| set.replicas > 0 || set.status_replicas == 0)
    }

    /// Whether the declared rollout is complete: `kubectl rollout status`'s rule.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let status = |field: &str| count(self.object.int(&format!("/status/{field}")).unwrap_or(0));
        let n = self.n();
        self.is_observed()
            && status("updatedReplicas") == n
            && status("replicas") == n
            && status("availableReplicas") == n
    }

    /// The pods of one ReplicaSet that are not on their way out.
    pub fn pods_of(&self, set_uid: &str) -> impl Iterator<Item = &PodFacts> {
        self.pods.iter().filter(move |pod| pod.set_uid == set_uid && !pod.is_terminating)
    }

    /// What keeps a ReplicaSet from creating its pods, when something does.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.sets.iter().find_map(|set| set.failure.as_deref())
    }
}

fn same_template(set: &Value, deployment: &Value) -> bool {
    if deployment.get("metadata").and_then(|metadata| metadata.get("labels")?.get(LABEL_HASH)).is_none() {
        return set == deployment;
    }
    let mut template = deployment.clone();
    remove_hash(&mut template);
    *set == template
}

fn remove_hash(template: &mut Value) {
    let labels = template.get_mut("metadata").and_then(|metadata| metadata.get_mut("labels")?.as_object_mut());
    labels.map(|labels| labels.remove(LABEL_HASH));
}

fn controller_uid(object: &Object) -> Option<&str> {
    let owners = object.at("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?.get("uid")?.as_str()
}

fn read_set(object: &Object) -> SetFacts {
    let mut template = object.at("/spec/template").cloned().unwrap_or_default();
    remove_hash(&mut template);
    let mark = |name: &str| object.annotation(name).and_then(|text| text.parse().ok());
    let status = |field: &str| count(object.int(&format!("/status/{field}")).unwrap_or(0));
    SetFacts {
        uid: object.uid().to_owned(),
        hash: object.label(LABEL_HASH).unwrap_or_default().to_owned(),
        template,
        replicas: count(object.int("/spec/replicas").unwrap_or(1)),
        status_replicas: status("replicas"),
        ready: status("readyReplicas"),
        available: status("availableReplicas"),
        desired_mark: mark("deployment.kubernetes.io/desired-replicas"),
        failure: condition(object, "ReplicaFailure").filter(|(is_true, _)| *is_true).map(|(_, message)| message),
    }
}

fn read_pod(object: &Object) -> PodFacts {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|pointer| object.at(pointer)?.as_array())
        .flatten();
    let mut facts = PodFacts {
        name: object.key.name.clone(),
        set_uid: controller_uid(object).unwrap_or_default().to_owned(),
        is_ready: condition(object, "Ready").is_some_and(|(is_true, _)| is_true),
        is_terminating: object.is_terminating(),
        restarts: 0,
        crash_loop: None,
        waiting: None,
    };
    for status in statuses {
        facts.restarts += count(status.get("restartCount").and_then(Value::as_i64).unwrap_or(0));
        let container = status.get("name").and_then(Value::as_str).unwrap_or_default();
        let reason = status.pointer("/state/waiting/reason").and_then(Value::as_str);
        match reason {
            Some("CrashLoopBackOff") => {
                facts.crash_loop =
                    Some(format!("container {container} of pod {} is in CrashLoopBackOff", object.key.name));
            }
            Some("ContainerCreating" | "PodInitializing") | None => {}
            Some(reason) => {
                facts.waiting = Some(format!("container {container} of pod {} waits: {reason}", object.key.name));
            }
        }
    }
    facts
}

fn condition(object: &Object, kind: &str) -> Option<(bool, String)> {
    let conditions = object.at("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))?;
    let is_true = found.get("status").and_then(Value::as_str) == Some("True");
    Some((is_true, found.get("message").and_then(Value::as_str).unwrap_or_default().to_owned()))
}

fn count(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
