//! Stage + Live + History + now -> what to do, and what to say.
//!
//! Pure and total: no `Result`, because what can go wrong in the world is already in `live` or `history`, and what is
//! wrong in Git was refused by `declare`. A decision either moves the position (a state write, which ends the pass) or
//! makes the cluster equal to the stage of the position that stands.

mod gates;
mod hooks;
mod idle;
pub mod lease;
mod ordering;
mod plan;
mod preparing;
mod progress;
mod reconciling;
mod removal;
mod reports;
mod requests;
mod rolling;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod tests;
mod transitions;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

pub use gates::{variables, verdict};
pub use idle::tried_again_at;
pub use transitions::notices;

use crate::diff::Changes;
use crate::model::{
    Action, AppName, Application, Declared, HealthRule, History, ObjectKey, Record, Release, Timestamp,
};
use crate::observe::Live;
use crate::stage::Stage;
use crate::status::Report;

/// What a pass knows.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What Git says.
    pub declared: &'a Declared,
    /// What is durable, and what memory adds.
    pub history: &'a History,
    /// The last Release that completed, whole.
    pub stable: Option<&'a Release>,
    /// The Release being rolled out, whole.
    pub target: Option<&'a Release>,
    /// The Release that Git declares, whole.
    pub next: Option<&'a Release>,
    /// The Release that a rollback on request would go to, whole.
    pub previous: Option<&'a Release>,
    /// What should exist now.
    pub stage: &'a Stage,
    /// What separates live from it.
    pub changes: &'a Changes,
    /// What was observed.
    pub live: &'a Live,
    /// What the app and others are to each other.
    pub neighbours: &'a Neighbours,
    /// What failed in passes before, by object.
    pub failures: &'a BTreeMap<ObjectKey, Failure>,
    /// Whether the custom resource mirrors the declaration.
    pub is_mirrored: bool,
    /// Now.
    pub now: Timestamp,
}

/// What an app and others are to each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// How those stand that it waits for.
    pub standings: BTreeMap<AppName, AppStanding>,
    /// Those that wait for it and still exist. Told only when it has left Git.
    pub dependants: BTreeSet<AppName>,
}

/// How an app stands that another one waits for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppStanding {
    /// Whether it has completed what Git declares.
    pub is_released: bool,
    /// Whether it is Synced and Healthy besides.
    pub is_healthy: bool,
    /// What it says of itself.
    pub why: String,
}

/// A write that did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub reason: String,
    /// Since when it has not worked.
    pub since: Timestamp,
    /// When it may be tried again.
    pub retry_at: Timestamp,
    /// Tries so far.
    pub tries: u32,
    /// Whether a field would have to change that never may: the object can only be made anew.
    pub is_immutable: bool,
}

/// What a pass came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The new durable state, when the position moves. Writing it ends the pass.
    pub record: Option<Record>,
    /// Whether the record may stay in memory for now. A first sync that completed does, because the status that is
    /// published anyway says the same, and a rollout that has nothing to prepare: its intent is written with its first
    /// wave. Each costs one state write less.
    pub is_lazy: bool,
    /// What to do when it does not.
    pub actions: Vec<Action>,
    /// What to say.
    pub report: Report,
    /// Whether a person, or a Release that cannot be read, keeps the rollout from going on: that time counts against no
    /// limit.
    pub is_waiting: bool,
    /// When to look again without being told to.
    pub wake_at: Option<Timestamp>,
}

/// Decides the next actions. Same inputs, same decision.
#[must_use]
pub fn decide(situation: &Situation<'_>) -> Decision {
    let mut draft = Draft::new(situation);
    if let Some(reason) = &situation.live.unreadable {
        draft.blocked(format!("the cluster cannot be read: {reason}"));
        return draft.finish();
    }
    requests::answer(&mut draft);
    if draft.has_moved {
        return draft.finish();
    }
    match &draft.record.rollout {
        Some(_) => rolling::advance(&mut draft),
        None => idle::settle(&mut draft),
    }
    draft.finish()
}

/// The record as it is to be: the one that stands, copied when it is first changed. Most passes change nothing.
struct NextRecord(Arc<Record>);

impl Deref for NextRecord {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.0
    }
}

impl DerefMut for NextRecord {
    fn deref_mut(&mut self) -> &mut Record {
        Arc::make_mut(&mut self.0)
    }
}

/// A decision in the making.
struct Draft<'a> {
    s: &'a Situation<'a>,
    record: NextRecord,
    has_moved: bool,
    is_lazy: bool,
    is_waiting: bool,
    actions: Vec<Action>,
    wake_at: Option<Timestamp>,
    phase: crate::status::Phase,
    facts: Vec<(String, Timestamp)>,
    remarks: Vec<String>,
    exposure: u32,
}

impl<'a> Draft<'a> {
    fn new(s: &'a Situation<'a>) -> Self {
        Self {
            s,
            record: NextRecord(s.history.record.clone().unwrap_or_default()),
            has_moved: false,
            is_lazy: false,
            is_waiting: false,
            actions: Vec::new(),
            wake_at: None,
            phase: crate::status::Phase::Idle,
            facts: Vec::new(),
            remarks: Vec::new(),
            exposure: 0,
        }
    }

    fn application(&self) -> Option<&'a Application> {
        match self.s.declared {
            Declared::Ready { application, .. } => Some(application),
            Declared::Broken { last, .. } => last.as_deref(),
            Declared::Removed { .. } => None,
        }
    }

    /// What the Application declares about the health of its objects.
    fn health_rules(&self) -> &'a [HealthRule] {
        self.application().map_or(&[], |application| application.health.as_slice())
    }

    /// A fact that keeps the app from being Synced and Healthy; the first one told wins.
    fn blocked(&mut self, fact: String) {
        self.facts.push((fact, self.s.now));
    }

    fn blocked_since(&mut self, fact: String, since: Timestamp) {
        self.facts.push((fact, since));
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Whether a rollout that began in memory is to be written before anything else of it is done.
    fn is_due(&self) -> bool {
        let history = self.s.history;
        let is_rolling = history.record.as_ref().is_some_and(|record| record.rollout.is_some());
        history.is_ahead && is_rolling && self.s.live.unreadable.is_none()
    }

    fn finish(self) -> Decision {
        let report = reports::report(&self);
        // A Release is kept for a rollout that starts with the next pass: its intent brings the declaration along.
        let is_kept = |action: &Action| matches!(action, Action::KeepRelease(_));
        let is_starting = self.s.failures.is_empty() && self.actions.iter().any(is_kept);
        let mirrors = !self.s.is_mirrored && self.s.history.record.is_some() && !is_starting;
        let needs_write = self.has_moved || mirrors || self.is_due();
        let actions = if needs_write { Vec::new() } else { self.actions };
        let record = needs_write.then(|| Arc::unwrap_or_clone(self.record.0));
        let (is_lazy, is_waiting) = (self.is_lazy, self.is_waiting);
        Decision { record, is_lazy, is_waiting, actions, report, wake_at: self.wake_at }
    }
}
