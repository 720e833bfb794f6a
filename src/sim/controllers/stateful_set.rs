//! The StatefulSet controller (`pkg/controller/statefulset/stateful_set_control.go`). Enters: a StatefulSet, its pods and
//! its history of templates. Leaves: pods created and deleted by ordinal, and the set's status.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::chance::{hash, suffix};
use super::{Desk, pods, reading};
use crate::model::{Object, ObjectKey, Timestamp};
use crate::world::{ApiError, Part};

/// Label of a pod that names its revision.
const LABEL_REVISION: &str = "controller-revision-hash";

/// The templates that StatefulSets have had, by UID, oldest first: on a real cluster, ControllerRevisions.
pub(super) type Histories = BTreeMap<String, Vec<Past>>;

/// One template under its name.
#[derive(Clone, Debug)]
pub(super) struct Past {
    name: String,
    template: Value,
}

/// One sync of one StatefulSet.
struct Pass<'a, 'b> {
    desk: &'a mut Desk<'b>,
    set: Object,
    n: i64,
    start: i64,
    /// Pods with a lower ordinal than this stay at the current revision.
    partition: i64,
    min_ready_seconds: i64,
    is_rolling: bool,
    is_ordered: bool,
    current: Past,
    update: Past,
    /// By ordinal. One that this sync has created appears as it was created: not Ready.
    pods: BTreeMap<i64, Object>,
}

/// Whether the sync goes on after a step.
enum Step {
    Next,
    Enough,
}

/// Brings the pods one step further (`UpdateStatefulSet`) and returns when to look again.
pub(super) fn sync(
    desk: &mut Desk<'_>,
    histories: &mut Histories,
    key: &ObjectKey,
) -> Result<Option<Timestamp>, ApiError> {
    let Some(set) = desk.api.get(key).cloned() else { return Ok(None) };
    let (current, update) = revisions(&set, histories.entry(set.uid().to_owned()).or_default());
    let mut pass = Pass::read(desk, set, current, update);
    // A failed step is told only after the status is written, as the real one does.
    let done = if pass.set.is_terminating() { Ok(()) } else { pass.work() };
    pass.report()?;
    done?;
    let pods: Vec<Object> = pass.pods.values().cloned().collect();
    Ok(pods::next_available(&pods, pass.min_ready_seconds, pass.desk.now))
}

/// Current and update revision (`getStatefulSetRevisions`): a template that was there before becomes the newest again.
fn revisions(set: &Object, history: &mut Vec<Past>) -> (Past, Past) {
    let template = reading::at(&set.body, &["spec", "template"]).cloned().unwrap_or_default();
    let update = match history.iter().rposition(|past| past.template == template) {
        Some(index) => history.remove(index),
        None => {
            let digest = suffix(hash(template.to_string().as_bytes()), 10);
            Past { name: format!("{}-{digest}", set.key.name), template }
        }
    };
    history.push(update.clone());
    let name = reading::text(&set.body, &["status", "currentRevision"]);
    let current = history.iter().find(|past| Some(past.name.as_str()) == name).unwrap_or(&update).clone();
    (current, update)
}

impl<'a, 'b> Pass<'a, 'b> {
    fn read(desk: &'a mut Desk<'b>, set: Object, current: Past, update: Past) -> Self {
        let spec = set.body.get("spec").unwrap_or(&Value::Null);
        let number = |path: &[&str], default| reading::int(spec, path).unwrap_or(default);
        let mut pods = BTreeMap::new();
        for pod in desk.children(&set, "Pod") {
            let ordinal = pod.key.name.strip_prefix(&set.key.name).and_then(|rest| rest.strip_prefix('-'));
            if let Some(ordinal) = ordinal.and_then(|ordinal| ordinal.parse().ok()) {
                pods.insert(ordinal, pod);
            }
        }
        Self {
            n: number(&["replicas"], 1),
            start: number(&["ordinals", "start"], 0),
            partition: number(&["updateStrategy", "rollingUpdate", "partition"], 0),
            min_ready_seconds: number(&["minReadySeconds"], 0),
            is_rolling: reading::text(spec, &["updateStrategy", "type"]) != Some("OnDelete"),
            is_ordered: reading::text(spec, &["podManagementPolicy"]) != Some("Parallel"),
            desk,
            set,
            current,
            update,
            pods,
        }
    }

    /// `updateStatefulSet`: first pods that are missing, then pods that are too many, then pods of an old revision.
    fn work(&mut self) -> Result<(), ApiError> {
        let replicas: Vec<i64> = (self.start..self.start + self.n).collect();
        let condemned: Vec<i64> =
            self.pods.keys().rev().copied().filter(|ordinal| !replicas.contains(ordinal)).collect();
        let first_broken = self.first_broken(&replicas, &condemned);
        for &ordinal in &replicas {
            if let Step::Enough = self.stand(ordinal)? {
                return Ok(());
            }
        }
        for &ordinal in &condemned {
            if let Step::Enough = self.retire(ordinal, first_broken)? {
                return Ok(());
            }
        }
        if self.is_rolling { self.update_one(&replicas) } else { Ok(()) }
    }

    fn first_broken(&self, replicas: &[i64], condemned: &[i64]) -> Option<i64> {
        replicas.iter().chain(condemned.iter().rev()).copied().find(|ordinal| self.is_unavailable(*ordinal))
    }

    /// `isUnavailable`.
    fn is_unavailable(&self, ordinal: i64) -> bool {
        self.pods.get(&ordinal).is_none_or(|pod| {
            pods::is_terminating(pod) || !pods::is_available(pod, self.min_ready_seconds, self.desk.now)
        })
    }

    /// `processReplica`: the pod exists, and under OrderedReady is available before the next one is looked at. That is
    /// also why a broken pod is stuck: nothing deletes it (kubernetes#67250).
    fn stand(&mut self, ordinal: i64) -> Result<Step, ApiError> {
        match self.pods.get(&ordinal) {
            None => {
                let pod = self.build(ordinal);
                pods::create(self.desk, &pod)?;
                let created = self.desk.api.get(&pod.key).cloned().unwrap_or(pod);
                self.pods.insert(ordinal, created);
                return Ok(if self.is_ordered { Step::Enough } else { Step::Next });
            }
            Some(pod) if matches!(pods::phase(pod), "Failed" | "Succeeded") => {
                if !pods::is_terminating(pod) {
                    self.delete(ordinal)?;
                }
                return Ok(Step::Enough);
            }
            Some(_) => {}
        }
        Ok(if self.is_ordered && self.is_unavailable(ordinal) { Step::Enough } else { Step::Next })
    }

    /// `processCondemned`.
    fn retire(&mut self, ordinal: i64, first_broken: Option<i64>) -> Result<Step, ApiError> {
        let is_terminating = self.pods.get(&ordinal).is_some_and(pods::is_terminating);
        let waits = is_terminating || (self.is_unavailable(ordinal) && first_broken != Some(ordinal));
        if self.is_ordered && waits {
            return Ok(Step::Enough);
        }
        if !is_terminating {
            self.delete(ordinal)?;
        }
        Ok(if self.is_ordered { Step::Enough } else { Step::Next })
    }

    /// Replaces the highest pod of an old revision, one at a time, down to the partition.
    fn update_one(&mut self, replicas: &[i64]) -> Result<(), ApiError> {
        // The partition counts from the first ordinal (`updateMin` indexes `replicas`).
        for &ordinal in replicas.iter().rev().take_while(|ordinal| **ordinal - self.start >= self.partition) {
            let Some(pod) = self.pods.get(&ordinal) else { return Ok(()) };
            if pod.label(LABEL_REVISION) != Some(&self.update.name) && !pods::is_terminating(pod) {
                return self.delete(ordinal);
            }
            if self.is_unavailable(ordinal) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn delete(&mut self, ordinal: i64) -> Result<(), ApiError> {
        let Some(pod) = self.pods.get(&ordinal) else { return Ok(()) };
        match self.desk.api.delete(&self.desk.by, &pod.key, None) {
            Ok(()) | Err(ApiError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// `newVersionedStatefulSetPod`.
    fn build(&self, ordinal: i64) -> Object {
        let has_bound = reading::at(&self.set.body, &["spec", "updateStrategy", "rollingUpdate"]).is_some();
        let current_count = reading::int(&self.set.body, &["status", "currentReplicas"]).unwrap_or(0);
        let below = self.start + if has_bound { self.partition } else { current_count };
        let past = if self.is_rolling && ordinal < below { &self.current } else { &self.update };
        let name = format!("{}-{ordinal}", self.set.key.name);
        let mut pod = pods::build(&self.set, &past.template, &name, ordinal.unsigned_abs());
        let mut body = (*pod.body).clone();
        let labels = reading::map_at(&mut body, &["metadata", "labels"]);
        labels.insert(LABEL_REVISION.to_owned(), json!(past.name));
        labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), json!(name));
        labels.insert("apps.kubernetes.io/pod-index".to_owned(), json!(ordinal.to_string()));
        pod.body = body.into();
        pod
    }

    /// `updateStatus`, `completeRollingUpdate` and `updateStatefulSetStatus`. Pods deleted by this very sync still count
    /// here, and their deletion wakes the next one.
    fn report(&mut self) -> Result<(), ApiError> {
        let count = |matches: &dyn Fn(&Object) -> bool| {
            i64::try_from(self.pods.values().filter(|pod| matches(pod)).count()).unwrap_or(i64::MAX)
        };
        let of = |revision: &Past, pod: &Object| {
            !pods::is_terminating(pod) && pod.label(LABEL_REVISION) == Some(&revision.name)
        };
        let replicas = count(&|_| true);
        let ready = count(&|pod| pods::ready_since(pod).is_some());
        let available = count(&|pod| pods::is_available(pod, self.min_ready_seconds, self.desk.now));
        let updated = count(&|pod| of(&self.update, pod));
        let mut current = count(&|pod| of(&self.current, pod));
        let mut current_name = &self.current.name;
        if self.is_rolling && updated == self.n && ready == self.n && replicas == self.n {
            current = updated;
            current_name = &self.update.name;
        }
        let mut status = Map::new();
        status.insert("replicas".to_owned(), json!(replicas));
        status.insert("availableReplicas".to_owned(), json!(available));
        status.insert("collisionCount".to_owned(), json!(0));
        status.insert("currentRevision".to_owned(), json!(current_name));
        status.insert("updateRevision".to_owned(), json!(self.update.name));
        for (field, count) in [
            ("readyReplicas", ready),
            ("currentReplicas", current),
            ("updatedReplicas", updated),
            ("observedGeneration", reading::int(&self.set.body, &["metadata", "generation"]).unwrap_or(0)),
        ] {
            reading::put_count(&mut status, field, count);
        }
        let status = Value::Object(status);
        if self.set.body.get("status") == Some(&status) {
            return Ok(());
        }
        let mut body = (*self.set.body).clone();
        body["status"] = status;
        self.desk.api.update(&self.desk.by, &self.set.with_body(body), Part::Status).map(drop)
    }
}
