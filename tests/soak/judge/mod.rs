//! The judge of the soak: from every write that the cluster stored, in order, to violations of S1 to S8.
//!
//! Enters: events as etcd has them, raw JSON, and what each commit declares. Leaves: violations and figures. It shares no
//! code with the agent and none with the stories' observer, reads no clock and does no I/O, so that planted histories can
//! be judged as data ([`tests`]).
//!
//! S1 and intent: [`containment`]. S2: [`evidence`]. S3 and S5: [`order`]. S4 and S6: [`content`]. S7 and S8: [`deletion`].
#![allow(dead_code, reason = "the soak shows what the tests of the judge only count")]

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

mod cluster;
mod containment;
mod content;
mod deletion;
mod evidence;
mod order;
mod record;
#[cfg(test)]
mod tests;

pub(crate) use cluster::Cluster;
pub(crate) use record::Record;

/// Lines of history that a violation is shown with, all of its own app.
const HISTORY_LINES_MAX: usize = 40;

/// The kinds that are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Our own resource.
    Application,
    /// In the apps' namespace, as all below.
    ConfigMap,
    /// As the name says.
    Deployment,
    /// As the name says.
    Pod,
    /// As the name says.
    ReplicaSet,
}

/// One stored write.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// etcd's revision of the write.
    pub(crate) revision: u64,
    /// The kind.
    pub(crate) kind: Kind,
    /// The object's name.
    pub(crate) name: String,
    /// The object as stored; `None` when it was deleted.
    pub(crate) object: Option<Value>,
}

/// What a commit declares of one app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    /// The version.
    pub(crate) version: String,
    /// The ConfigMap's greeting.
    pub(crate) greeting: String,
    /// Whether there is a second ConfigMap, `<app>-extra`.
    pub(crate) has_extra: bool,
    /// `spec.replicas`.
    pub(crate) replicas: u64,
}

/// All commits, oldest first: the branch is never rewritten during a soak.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commits {
    by_id: BTreeMap<String, (usize, BTreeMap<String, Declared>)>,
}

impl Commits {
    /// Notes the next commit of the branch. Must happen before anybody can see it.
    pub(crate) fn add(&mut self, id: &str, apps: BTreeMap<String, Declared>) {
        let place = self.by_id.len();
        self.by_id.insert(id.to_owned(), (place, apps));
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).map(|(place, _)| *place)
    }

    fn declared(&self, id: &str, app: &str) -> Option<&Declared> {
        self.by_id.get(id)?.1.get(app)
    }
}

/// A rule that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// The rule, such as `S1`.
    pub(crate) rule: &'static str,
    /// The revision of the write that broke it.
    pub(crate) revision: u64,
    /// What was seen.
    pub(crate) what: String,
    /// The writes before it, as lines.
    pub(crate) history: Vec<String>,
}

/// What was seen go by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Events judged.
    pub(crate) events: u64,
    /// Rollouts started, by lane.
    pub(crate) started: BTreeMap<String, u64>,
    /// Rollouts ended, by outcome.
    pub(crate) ended: BTreeMap<String, u64>,
    /// Waves whose gates opened.
    pub(crate) waves_passed: u64,
    /// Waves that started over, since a pod was lost.
    pub(crate) waves_restarted: u64,
    /// Times that part of the history was lost, and rules that need it were not applied.
    pub(crate) gaps: u64,
}

/// What a rule sees of one write.
struct Step<'a> {
    event: &'a Event,
    /// The object before the write.
    before: Option<&'a Value>,
    /// Everything after the write.
    cluster: &'a Cluster,
    commits: &'a Commits,
}

impl Step<'_> {
    /// The app's record before and after a write of its Application; `None` for other kinds.
    fn records(&self) -> Option<(Record<'_>, Record<'_>)> {
        let object = self.event.object.as_ref().filter(|_| self.event.kind == Kind::Application)?;
        Some((Record(self.before.unwrap_or(&Value::Null)), Record(object)))
    }
}

/// The rules with what they remember.
#[derive(Default)]
pub(crate) struct Judge {
    cluster: Cluster,
    containment: containment::Containment,
    evidence: evidence::Evidence,
    order: order::Order,
    content: content::Content,
    deletion: deletion::Deletion,
    /// Lines by app.
    history: BTreeMap<String, VecDeque<String>>,
    /// Figures so far.
    pub(crate) figures: Figures,
}

impl Judge {
    /// Judges one write.
    pub(crate) fn see(&mut self, event: &Event, commits: &Commits) -> Vec<Violation> {
        let before = self.cluster.put(event);
        let step = Step { event, before: before.as_ref(), cluster: &self.cluster, commits };
        self.figures.events += 1;
        count(&mut self.figures, &step);
        let mut found = self.containment.see(&step);
        found.extend(self.evidence.see(&step));
        found.extend(self.order.see(&step));
        found.extend(self.content.see(&step));
        found.extend(self.deletion.see(&step));
        let lines = self.history.entry(app_of(&event.name).to_owned()).or_default();
        if let Some(line) = self.cluster.line(event) {
            let what = |line: &str| line.split_once(' ').map(|(_, what)| what.to_owned());
            if lines.back().and_then(|last| what(last)) != what(&line) {
                lines.push_back(line);
            }
            if lines.len() > HISTORY_LINES_MAX {
                lines.pop_front();
            }
        }
        let history = || lines.iter().cloned().collect();
        let name = &event.name;
        let violation = |(rule, what): (&'static str, String)| Violation {
            rule,
            revision: event.revision,
            what: format!("{name}: {what}"),
            history: history(),
        };
        found.into_iter().map(violation).collect()
    }

    /// Part of the history is lost. `objects` is everything that exists now; what led there cannot be judged.
    pub(crate) fn resume(&mut self, objects: &[Event]) {
        self.figures.gaps += 1;
        self.cluster = Cluster::default();
        for object in objects {
            self.cluster.put(object);
        }
        self.containment.resume(&self.cluster);
        self.evidence.resume(&self.cluster);
        self.order.resume(&self.cluster);
    }

    /// What exists now.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// The app that an object is of: names of apps have no hyphen, and those of their objects begin with the app's.
fn app_of(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

fn count(figures: &mut Figures, step: &Step<'_>) {
    let Some((before, now)) = step.records() else { return };
    if let Some(rollout) = now.rollout().filter(|rollout| before.rollout().map(|old| old.id()) != Some(rollout.id())) {
        *figures.started.entry(rollout.lane().to_owned()).or_default() += 1;
    }
    for past in now.past().filter(|past| before.past().all(|known| known["id"] != past["id"])) {
        *figures.ended.entry(past["outcome"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    for (index, wave) in now.waves_of(now.last_id()).iter().enumerate() {
        let known = before.waves_of(now.last_id()).get(index);
        let has = |wave: Option<&Value>, field: &str| wave.is_some_and(|wave| wave[field].is_string());
        figures.waves_passed += u64::from(has(Some(wave), "passedAt") && !has(known, "passedAt"));
        figures.waves_restarted += u64::from(has(known, "readyAt") && !has(Some(wave), "readyAt"));
    }
}
