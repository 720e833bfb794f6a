//! A Deployment with its ReplicaSets and pods, read into the counts that a hold needs.

use serde_json::{Map, Value};

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
    /// Whether the controller takes it for the new one: the oldest whose template equals the Deployment's but for that
    /// label (`util/deployment_util.go` `FindNewReplicaSet`).
    pub is_current: bool,
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
        let template = object.at("/spec/template");
        let is_current = |set: &&Object| template.is_some() && is_same_template(set.at("/spec/template"), template);
        let current = owned.iter().position(is_current);
        let sets: Vec<SetFacts> =
            owned.into_iter().enumerate().map(|(index, set)| read_set(set, current == Some(index))).collect();
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

    /// The ReplicaSet that the controller takes for the new one.
    #[must_use]
    pub fn current(&self) -> Option<&SetFacts> {
        self.sets.iter().find(|set| set.is_current)
    }

    /// Counts with the current ReplicaSet as the new side.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { n: self.n(), ..Counts::default() };
        for set in &self.sets {
            let size = if is_planted(Mutant::StaleStatusCount) { set.status_replicas } else { set.replicas };
            if set.is_current {
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

fn is_same_template(set: Option<&Value>, deployment: Option<&Value>) -> bool {
    is_same(set, deployment, &["metadata", "labels", LABEL_HASH])
}

/// Whether two values are equal but for what is at the end of `path`.
fn is_same(left: Option<&Value>, right: Option<&Value>, path: &[&str]) -> bool {
    let (Some(Value::Object(left)), Some(Value::Object(right)), [step, rest @ ..]) = (left, right, path) else {
        return left == right;
    };
    let others = |map: &'_ Map<String, Value>| map.len() - usize::from(map.contains_key(*step));
    others(left) == others(right)
        && left.iter().filter(|(name, _)| name != step).all(|(name, value)| right.get(name) == Some(value))
        && (rest.is_empty() || is_same(left.get(*step), right.get(*step), rest))
}

fn controller_uid(object: &Object) -> Option<&str> {
    let owners = object.at("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?.get("uid")?.as_str()
}

fn read_set(object: &Object, is_current: bool) -> SetFacts {
    let mark = |name: &str| object.annotation(name).and_then(|text| text.parse().ok());
    let status = |field: &str| count(object.int(&format!("/status/{field}")).unwrap_or(0));
    SetFacts {
        uid: object.uid().to_owned(),
        hash: object.label(LABEL_HASH).unwrap_or_default().to_owned(),
        is_current,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_is_the_same_but_for_the_hash_that_the_controller_adds() {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": "x:1"}]}});
        let check = |change: fn(&mut Value), expected: bool| {
            let mut set = template.clone();
            set["metadata"]["labels"][LABEL_HASH] = json!("5d8f");
            change(&mut set);
            assert_eq!(is_same_template(Some(&set), Some(&template)), expected, "{set}");
        };
        check(|_| {}, true);
        check(|set| set["metadata"]["labels"][LABEL_HASH] = json!("other"), true);
        check(|set| set["metadata"]["labels"]["app"] = json!("other"), false);
        check(|set| set["metadata"]["labels"]["more"] = json!("x"), false);
        check(|set| set["metadata"]["annotations"] = json!({"a": "b"}), false);
        check(|set| set["spec"]["containers"][0]["image"] = json!("x:2"), false);
        check(|set| drop(set["metadata"].as_object_mut().map(|map| map.remove("labels"))), false);
    }
}
