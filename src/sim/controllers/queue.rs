//! Work that waits for its time. One entry per piece of work: whoever adds it again may only bring it forward, as
//! `client-go/util/workqueue` does with `AddAfter`.

use std::collections::BTreeMap;

use crate::model::{Millis, ObjectKey, Timestamp};

/// What is to be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// Sync a Deployment.
    Deployment,
    /// Sync a ReplicaSet.
    ReplicaSet,
    /// Sync a StatefulSet.
    StatefulSet,
    /// Delete an object if its owners are gone.
    Collect,
    /// The kubelet carries a pod to its next state.
    Run,
    /// The kubelet has stopped a pod.
    Stop,
}

/// A task and its object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Work {
    /// What.
    pub(super) task: Task,
    /// With which object.
    pub(super) key: ObjectKey,
}

/// First and longest pause after a failure (`DefaultTypedControllerRateLimiter`): 5 ms, doubled up to 1000 s.
const PAUSE_FIRST: u64 = 5;
const PAUSE_MAX: u64 = 1_000_000;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: BTreeMap<(Timestamp, u64), Work>,
    places: BTreeMap<Work, (Timestamp, u64)>,
    failures: BTreeMap<Work, u32>,
    serial: u64,
}

impl Queue {
    /// Adds work; if it waits already, the earlier time counts.
    pub(super) fn add(&mut self, work: Work, due: Timestamp) {
        if let Some(place) = self.places.get(&work) {
            if place.0 <= due {
                return;
            }
            self.order.remove(place);
        }
        self.serial += 1;
        self.order.insert((due, self.serial), work.clone());
        self.places.insert(work, (due, self.serial));
    }

    /// Adds failed work again, later each time.
    pub(super) fn retry(&mut self, work: Work, now: Timestamp) {
        let failures = self.failures.entry(work.clone()).or_default();
        let pause = PAUSE_FIRST.saturating_mul(1 << (*failures).min(32)).min(PAUSE_MAX);
        *failures += 1;
        self.add(work, Millis(pause).after(now));
    }

    /// Forgets that work had failed.
    pub(super) fn succeeded(&mut self, work: &Work) {
        self.failures.remove(work);
    }

    /// Takes work out, whenever it was due.
    pub(super) fn cancel(&mut self, work: &Work) {
        if let Some(place) = self.places.remove(work) {
            self.order.remove(&place);
        }
        self.failures.remove(work);
    }

    /// When something is due.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.order.keys().next().map(|(due, _)| *due)
    }

    /// Takes the work that has been due for longest.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Work> {
        let entry = self.order.first_entry().filter(|entry| entry.key().0 <= now)?;
        let work = entry.remove();
        self.places.remove(&work);
        Some(work)
    }

    /// Loses everything.
    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.places.clear();
        self.failures.clear();
    }
}
