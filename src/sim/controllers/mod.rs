//! The controllers and the kubelet of the simulated world. Enters: commits (what their informers would see) and the time.
//! Leaves: writes through the [`Api`], one piece of work at a time, each after a delay drawn from the seed.
//!
//! The Deployment, ReplicaSet and StatefulSet controllers follow `pkg/controller` of Kubernetes 1.36.3; comments name the
//! functions. They read the store as it is when they run: what lags, as on a real cluster, is when they run and what
//! ReplicaSets say in their status. Left out: the scheduler, adoption of orphans, volumes, `terminatingReplicas`, and
//! ControllerRevisions as objects (a StatefulSet's history is kept here).

mod chance;
mod deployment;
mod garbage;
mod kubelet;
mod owners;
mod pods;
mod queue;
mod reading;
mod replica_set;
mod stateful_set;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chance::Chance;
use owners::Owners;
use queue::{Queue, Task, Work};

use super::api::{Api, Commit, Writer};
use crate::model::{Millis, Object, ObjectKey, Timestamp};
use crate::world::ApiError;

/// How long each step takes, at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// From a change to the Deployment controller's sync.
    pub deployment: (Millis, Millis),
    /// From a change to the ReplicaSet controller's sync.
    pub replica_set: (Millis, Millis),
    /// From a change to the StatefulSet controller's sync.
    pub stateful_set: (Millis, Millis),
    /// From a change of a pod's status to the sync that reports it in its workload's status.
    pub report: (Millis, Millis),
    /// From a pod's creation until it runs.
    pub start: (Millis, Millis),
    /// From running to Ready.
    pub ready: (Millis, Millis),
    /// From a pod's deletion until it is gone.
    pub grace: (Millis, Millis),
    /// From an owner's end to the deletion of its children.
    pub collect: (Millis, Millis),
}

/// How the pods of an image behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// They become Ready.
    Ready,
    /// They become Ready this long after they run.
    ReadyAfter(Millis),
    /// They run and never become Ready.
    NeverReady,
    /// They run and crash, over and over.
    CrashLoop,
    /// Their image cannot be pulled.
    PullError,
    /// They become Ready and lose readiness once.
    Lapses {
        /// How long after they became Ready.
        after: Millis,
        /// For how long.
        lasts: Millis,
    },
}

/// What a sync may use.
struct Desk<'a> {
    api: &'a mut Api,
    owners: &'a Owners,
    pods_max: &'a BTreeMap<String, u32>,
    by: Writer,
    now: Timestamp,
    chance: Chance,
}

impl Desk<'_> {
    /// The objects of a kind that an object controls.
    fn children(&self, owner: &Object, kind: &str) -> Vec<Object> {
        let uid = owner.uid();
        let keys = self.owners.children(uid).filter(|key| key.kind.kind == kind);
        let found = keys.filter_map(|key| self.api.get(key));
        found.filter(|child| reading::controller_uid(&child.body) == Some(uid)).cloned().collect()
    }
}

/// The controllers and the kubelet.
#[derive(Debug)]
pub struct Controllers {
    delays: Delays,
    chance: Chance,
    now: Timestamp,
    stalled_until: Option<Timestamp>,
    /// The controller manager's work, lost when it restarts.
    queue: Queue,
    /// The kubelet's work.
    nodes: Queue,
    /// How far each running pod is in its life.
    stages: BTreeMap<ObjectKey, u32>,
    owners: Owners,
    histories: stateful_set::Histories,
    behaviours: Vec<(String, Behaviour)>,
    pods_max: BTreeMap<String, u32>,
}

impl Controllers {
    /// Controllers of an empty cluster.
    #[must_use]
    pub fn new(delays: Delays, seed: u64) -> Self {
        Self {
            delays,
            chance: Chance::new(seed),
            now: Timestamp::UNIX_EPOCH,
            stalled_until: None,
            queue: Queue::default(),
            nodes: Queue::default(),
            stages: BTreeMap::new(),
            owners: Owners::default(),
            histories: stateful_set::Histories::default(),
            behaviours: Vec::new(),
            pods_max: BTreeMap::new(),
        }
    }

    /// Says how pods behave whose image contains a text. The rule added last wins; without one they become Ready.
    pub fn behave(&mut self, image_contains: &str, behaviour: Behaviour) {
        self.behaviours.push((image_contains.to_owned(), behaviour));
    }

    /// Takes a commit in and puts what it concerns into the queue.
    pub fn notice(&mut self, commit: &Commit) {
        self.now = self.now.max(commit.at);
        self.owners.note(commit);
        let Some(object) = commit.after.as_ref().or(commit.before.as_ref()) else { return };
        let kind = &commit.key.kind;
        let controller = reading::controller_uid(&object.body).map(str::to_owned);
        if kind.is("", "Pod") {
            self.notice_pod(commit, object);
        } else if let Some(task) = task_of(&commit.key) {
            self.enqueue(task, commit.key.clone());
            if task == Task::StatefulSet && commit.after.is_none() {
                self.histories.remove(object.uid());
            }
        }
        let parent = controller.as_deref().and_then(|uid| self.owners.key_of(uid)).cloned();
        if let Some(parent) = parent
            && !kind.is("", "Pod")
            && let Some(task) = task_of(&parent)
        {
            self.enqueue(task, parent);
        }
        self.notice_owners(commit, object);
    }

    /// Wakes the workload of a pod, and the kubelet.
    fn notice_pod(&mut self, commit: &Commit, pod: &Object) {
        let key = &commit.key;
        let is_leaving = commit.after.is_none() || pods::is_terminating(pod);
        let uid = reading::controller_uid(&pod.body).unwrap_or_default();
        if let Some(parent) = self.owners.key_of(uid).cloned()
            && let Some(task) = task_of(&parent)
        {
            let range = if is_leaving { self.delay_of(task) } else { self.delays.report };
            self.enqueue_within(task, parent, range);
        }
        if commit.after.is_none() {
            // A Recreate waits for the last old pod (`deployment_controller.go` `deletePod`).
            if let Some(grandparent) = self.owners.controller_of(uid).cloned() {
                self.enqueue(Task::Deployment, grandparent);
            }
            self.stages.remove(key);
            self.nodes.cancel(&Work { task: Task::Run, key: key.clone() });
            self.nodes.cancel(&Work { task: Task::Stop, key: key.clone() });
        } else if pods::is_terminating(pod) {
            let grace = self.chance.delay(self.delays.grace, Task::Stop, key, self.now);
            self.nodes.add(Work { task: Task::Stop, key: key.clone() }, grace.after(self.now));
        } else if commit.before.is_none() {
            let start = self.chance.delay(self.delays.start, Task::Run, key, self.now);
            let ready = self.chance.delay(self.delays.ready, Task::Stop, key, self.now);
            let first = kubelet::first(kubelet::behaviour(&self.behaviours, pod), start, ready);
            self.nodes.add(Work { task: Task::Run, key: key.clone() }, first.after(self.now));
        }
    }

    /// Wakes the garbage collector: for the children of what is gone, and for a child that was born an orphan.
    fn notice_owners(&mut self, commit: &Commit, object: &Object) {
        if commit.after.is_none() {
            let children: Vec<ObjectKey> = self.owners.children(object.uid()).cloned().collect();
            for child in children {
                self.enqueue(Task::Collect, child);
            }
            return;
        }
        let exists = |owner: &serde_json::Value| {
            reading::text(owner, &["uid"]).is_some_and(|uid| self.owners.key_of(uid).is_some())
        };
        if commit.before.is_none() && !reading::owners(&object.body).iter().all(exists) {
            self.enqueue(Task::Collect, commit.key.clone());
        }
    }

    /// When something is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Timestamp> {
        self.managers_next_at().into_iter().chain(self.nodes.next_at()).min()
    }

    fn managers_next_at(&self) -> Option<Timestamp> {
        self.queue.next_at().map(|due| self.stalled_until.map_or(due, |until| due.max(until)))
    }

    /// Does the piece of work that has been due for longest, if any is due. Its commits come back through
    /// [`Self::notice`] before the next step.
    pub fn step(&mut self, api: &mut Api, now: Timestamp) {
        self.now = self.now.max(now);
        api.set_now(self.now);
        let (manager, node) = (self.managers_next_at(), self.nodes.next_at());
        let is_node = node.is_some_and(|node| manager.is_none_or(|manager| node < manager));
        let queue = if is_node { &mut self.nodes } else { &mut self.queue };
        if !is_node && manager.is_none_or(|manager| manager > self.now) {
            return;
        }
        let Some(work) = queue.pop(self.now) else { return };
        let done = self.work(api, &work, if is_node { "kubelet" } else { "kube-controller-manager" });
        let queue = if is_node { &mut self.nodes } else { &mut self.queue };
        match done {
            Ok(again) => {
                queue.succeeded(&work);
                if let Some(again) = again {
                    queue.add(work, again);
                }
            }
            Err(_) => queue.retry(work, self.now),
        }
    }

    fn work(&mut self, api: &mut Api, work: &Work, by: &str) -> Result<Option<Timestamp>, ApiError> {
        let Work { task, key } = work;
        let mut desk = Desk {
            api,
            owners: &self.owners,
            pods_max: &self.pods_max,
            by: Writer::other(by),
            now: self.now,
            chance: self.chance,
        };
        match task {
            Task::Deployment => deployment::sync(&mut desk, key),
            Task::ReplicaSet => replica_set::sync(&mut desk, key),
            Task::StatefulSet => stateful_set::sync(&mut desk, &mut self.histories, key),
            Task::Collect => garbage::collect(&mut desk, key).map(|()| None),
            Task::Stop => kubelet::stop(&mut desk, key).map(|()| None),
            Task::Run => {
                let Some(pod) = desk.api.get(key).cloned() else { return Ok(None) };
                let stage = self.stages.entry(key.clone()).or_default();
                let next = kubelet::run(&mut desk, key, kubelet::behaviour(&self.behaviours, &pod), *stage)?;
                *stage += 1;
                Ok(next.map(|next| next.after(self.now)))
            }
        }
    }

    /// A pod dies with its node: it is gone at once.
    pub fn kill_pod(&mut self, api: &mut Api, key: &ObjectKey) {
        let by = Writer::other("kube-controller-manager");
        let mut desk =
            Desk { api, owners: &self.owners, pods_max: &self.pods_max, by, now: self.now, chance: self.chance };
        // A pod that is gone already is as dead as can be.
        drop(kubelet::remove(&mut desk, key));
    }

    /// The controller manager restarts: its queue is lost, and everything is looked at again.
    pub fn restart(&mut self) {
        self.queue.clear();
        let all: Vec<ObjectKey> = self.owners.all().cloned().collect();
        for key in all {
            if let Some(task) = task_of(&key) {
                self.enqueue(task, key.clone());
            }
            self.enqueue(Task::Collect, key);
        }
    }

    /// Controllers do nothing until then; the kubelet goes on.
    pub fn stall(&mut self, until: Timestamp) {
        self.stalled_until = Some(until);
    }

    /// Limits the pods of a namespace; `None` lifts the limit.
    pub fn set_quota(&mut self, namespace: &str, pods_max: Option<u32>) {
        match pods_max {
            Some(max) => drop(self.pods_max.insert(namespace.to_owned(), max)),
            None => drop(self.pods_max.remove(namespace)),
        }
    }

    const fn delay_of(&self, task: Task) -> (Millis, Millis) {
        match task {
            Task::Deployment => self.delays.deployment,
            Task::ReplicaSet => self.delays.replica_set,
            Task::StatefulSet => self.delays.stateful_set,
            Task::Collect => self.delays.collect,
            Task::Run => self.delays.start,
            Task::Stop => self.delays.grace,
        }
    }

    fn enqueue(&mut self, task: Task, key: ObjectKey) {
        self.enqueue_within(task, key, self.delay_of(task));
    }

    fn enqueue_within(&mut self, task: Task, key: ObjectKey, range: (Millis, Millis)) {
        let delay = self.chance.delay(range, task, &key, self.now);
        self.queue.add(Work { task, key }, delay.after(self.now));
    }
}

/// Which controller syncs objects of this kind.
fn task_of(key: &ObjectKey) -> Option<Task> {
    if key.kind.group != "apps" {
        return None;
    }
    match key.kind.kind.as_str() {
        "Deployment" => Some(Task::Deployment),
        "ReplicaSet" => Some(Task::ReplicaSet),
        "StatefulSet" => Some(Task::StatefulSet),
        _ => None,
    }
}
