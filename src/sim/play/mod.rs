//! Plays an app's plan: the real agent rolls out what is declared, in a simulated cluster that runs an older version.
//! Enters: a [`Script`], and what is to go wrong. Leaves: what the agent recorded and how many pods there were ([`Played`]).

mod declared;
mod script;

use std::sync::Arc;

use super::census::Census;
use super::controllers::{Behaviour, Controllers, Delays};
use super::{Act, Faults, NAMESPACE, Sim};
use crate::model::{Millis, Past, PastOutcome, Position, RevertReason, Timestamp, WavePlan};
use crate::status::{AppView, Phase};

pub use self::script::Script;

/// Every play of the same script is the same one.
const SEED: u64 = 1;
/// The share of requests that fail when a gate is to shut.
const ERRORS: f64 = 0.5;
/// After the end, pods that were told to go are waited for this long.
const AFTERWARDS: Millis = Millis::from_seconds(10);
/// Beside what the plan allows: a poll of Git, writes, and controllers.
const SLACK: Millis = Millis::from_seconds(600);

/// How it is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manner {
    /// How long a pod takes from running to Ready.
    pub ready_after: Millis,
    /// The wave, by name, that fails from its beginning, and how.
    pub fails_at: Option<(String, Ill)>,
}

/// How a wave fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ill {
    /// The new pods serve errors.
    Errors,
    /// New pods that come from then on crash.
    Crashes,
}

/// How many pods there were from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Since when.
    pub at: Timestamp,
    /// Pods of the declared version.
    pub new: usize,
    /// Pods of the older version.
    pub old: usize,
    /// Ready pods of the older version.
    pub old_ready: usize,
    /// Ready pods of both.
    pub ready: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Played {
    /// The rollout as the agent recorded it; `None` when it did not end.
    pub past: Option<Past>,
    /// Why the agent turned back or stopped, and when.
    pub turned: Option<(RevertReason, Timestamp)>,
    /// Pods over time, from the commit on.
    pub counts: Vec<Count>,
    /// What the agent showed in the end.
    pub view: Arc<AppView>,
}

/// Why nothing could be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotPlay {
    /// The older version did not come up.
    #[error("the version before did not come up in the simulated cluster: {0}")]
    NoStable(String),
    /// The agent showed nothing.
    #[error("the agent took no notice of the application")]
    NotSeen,
}

impl Played {
    /// Whether the declared version completed.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.past.as_ref().is_some_and(|past| past.outcome == PastOutcome::Completed)
    }

    /// The most pods of the declared version.
    #[must_use]
    pub fn new_most(&self) -> usize {
        self.counts.iter().map(|count| count.new).max().unwrap_or_default()
    }

    /// The most pods of both versions.
    #[must_use]
    pub fn pods_most(&self) -> usize {
        self.counts.iter().map(|count| count.new + count.old).max().unwrap_or_default()
    }

    /// The fewest Ready pods of both versions.
    #[must_use]
    pub fn ready_fewest(&self) -> usize {
        self.counts.iter().map(|count| count.ready).min().unwrap_or_default()
    }

    /// When, after the agent turned back, only pods of the older version stood, all of them Ready.
    #[must_use]
    pub fn stable_back_at(&self) -> Option<Timestamp> {
        let (_, turned_at) = self.turned.as_ref()?;
        let wanted = self.counts.first()?.old_ready;
        let is_back = |count: &&Count| count.new == 0 && count.old_ready >= wanted;
        let last = self.counts.last().filter(is_back)?;
        // The moment from which on it stayed so; when it was never otherwise, nothing had to come back.
        let stretch = self.counts.iter().rev().take_while(is_back).last().unwrap_or(last);
        Some(stretch.at.max(*turned_at))
    }
}

/// Plays a script.
///
/// # Errors
/// When the older version does not come up, so that there is nothing to go from.
pub fn play(script: &Script, manner: &Manner) -> Result<Played, CannotPlay> {
    let budget = budget(&script.application.plan, manner);
    let mut stage = Stage::open(script, manner);
    let is_up = |view: &AppView| runs(view, script.version_before) && view.report.phase == Phase::Idle;
    if !stage.run(budget, is_up) {
        let view = stage.view().ok_or(CannotPlay::NotSeen)?;
        let why = view.report.blocking.as_ref().map_or("it is not Ready", |blocking| blocking.fact.as_str());
        return Err(CannotPlay::NoStable(why.to_owned()));
    }
    stage.counts.clear();
    stage.count();
    let subject = format!("{} {}", script.application.name, script.application.version);
    stage.sim.act(&Act::Commit { subject, files: script.after.clone() });
    stage.run(budget, |view| {
        let is_done = runs(view, &script.application.version) && view.report.phase == Phase::Idle;
        let is_refused = view.held.is_some() && view.report.phase == Phase::Held;
        is_done || is_refused || is_held(view)
    });
    // What was told to go may still be on its way.
    stage.run(AFTERWARDS, |_| false);
    let view = stage.view().ok_or(CannotPlay::NotSeen)?;
    let past = view.record.past.last().filter(|past| past.release.version == script.application.version).cloned();
    Ok(Played { past, turned: stage.turned, counts: stage.counts, view })
}

/// All that the plan allows, there and back, and some time more.
fn budget(plan: &WavePlan, manner: &Manner) -> Millis {
    let analyses: u64 = plan.analysis.iter().map(|analysis| analysis.interval.0 * u64::from(analysis.count)).sum();
    let waves: u64 = plan.waves.iter().map(|wave| wave.timeout.0 + wave.bake.0 + analyses + manner.ready_after.0).sum();
    Millis(waves + plan.revert_timeout.0 + SLACK.0)
}

fn runs(view: &AppView, version: &str) -> bool {
    view.effective.as_ref().is_some_and(|release| release.version == version)
}

fn is_held(view: &AppView) -> bool {
    view.record.rollout.as_ref().is_some_and(|rollout| matches!(rollout.position, Position::Held { .. }))
}

/// The world while it is played.
struct Stage<'a> {
    script: &'a Script,
    fails_at: Option<(&'a str, Ill)>,
    sim: Sim,
    census: Census,
    counts: Vec<Count>,
    turned: Option<(RevertReason, Timestamp)>,
}

impl<'a> Stage<'a> {
    fn open(script: &'a Script, manner: &'a Manner) -> Self {
        let delays = Delays { ready: (manner.ready_after, manner.ready_after), ..Delays::default() };
        let mut sim = Sim::new(SEED, Controllers::new(delays, SEED), Faults::default());
        for namespace in script.namespaces.iter().map(String::as_str).chain([NAMESPACE]) {
            sim.add_namespace(namespace);
        }
        sim.with(|_, _, _, metrics| {
            script.application.plan.analysis.iter().for_each(|analysis| metrics.learn(analysis, &script.space));
        });
        let subject = format!("{} {}", script.application.name, script.version_before);
        sim.act(&Act::Commit { subject, files: script.before.clone() });
        sim.start("simulated", 1000);
        let fails_at = manner.fails_at.as_ref().map(|(wave, ill)| (wave.as_str(), *ill));
        Self { script, fails_at, sim, census: Census::default(), counts: Vec::new(), turned: None }
    }

    /// Lets things happen until it is over, but no longer than this. Whether it was over.
    fn run(&mut self, budget: Millis, is_over: impl Fn(&AppView) -> bool) -> bool {
        let until = budget.after(self.sim.now());
        loop {
            let goes_on = self.sim.step(until);
            for commit in self.sim.take_commits() {
                if self.census.note(&commit) {
                    self.count();
                }
            }
            let Some(view) = self.view() else {
                if goes_on {
                    continue;
                }
                return false;
            };
            self.note(&view);
            if is_over(&view) {
                return true;
            }
            if !goes_on {
                return false;
            }
        }
    }

    fn view(&self) -> Option<Arc<AppView>> {
        self.sim.view(&self.script.application.name)
    }

    /// Lets the wave fail that is to fail, and notes when the agent turns back.
    fn note(&mut self, view: &AppView) {
        let Some(rollout) = view.record.rollout.as_ref() else { return };
        if rollout.target.version != self.script.application.version {
            return;
        }
        if let Position::Reverting { reason, since, .. } | Position::Held { reason, since } = &rollout.position {
            self.turned.get_or_insert_with(|| (reason.clone(), *since));
        }
        let begun = rollout.waves.last().map(|wave| wave.name.as_str());
        let Some((_, ill)) = self.fails_at.filter(|(wave, _)| begun == Some(*wave)) else { return };
        self.fails_at = None;
        let images = &self.script.images;
        self.sim.with(|_, controllers, _, metrics| {
            for image in images {
                match ill {
                    Ill::Errors => metrics.fail(image, ERRORS),
                    Ill::Crashes => controllers.behave(image, Behaviour::CrashLoop),
                }
            }
        });
    }

    /// Counts the pods.
    fn count(&mut self) {
        let mut count = Count { at: self.sim.now(), new: 0, old: 0, old_ready: 0, ready: 0 };
        for (_, pod) in self.census.pods() {
            let runs =
                |images: &std::collections::BTreeSet<String>| pod.images.iter().any(|image| images.contains(image));
            let ready = usize::from(pod.is_ready);
            if runs(&self.script.images) {
                count.new += 1;
                count.ready += ready;
            } else if runs(&self.script.images_before) {
                count.old += 1;
                count.old_ready += ready;
                count.ready += ready;
            }
        }
        match self.counts.last_mut().filter(|last| last.at == count.at) {
            Some(last) => *last = count,
            None => self.counts.push(count),
        }
    }
}
