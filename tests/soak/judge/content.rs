//! S4: once Reverting is durable nothing moves to the Target, and the end is Stable. S6: no way back to older commits.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cluster::version;
use super::record::{Record, number, text};
use super::{Declared, Kind, Step};

/// The newest commit that each app's rollouts came from.
#[derive(Default)]
pub(super) struct Content {
    newest: BTreeMap<String, usize>,
}

impl Content {
    pub(super) fn see(&mut self, step: &Step<'_>) -> Vec<(&'static str, String)> {
        match step.event.kind {
            Kind::Application => self.rollouts(step),
            Kind::Deployment => forward_again(step).into_iter().collect(),
            Kind::ConfigMap => greeting(step).into_iter().collect(),
            Kind::Pod | Kind::ReplicaSet => Vec::new(),
        }
    }

    fn rollouts(&mut self, step: &Step<'_>) -> Vec<(&'static str, String)> {
        let Some((before, now)) = step.records() else { return Vec::new() };
        let app = &step.event.name;
        let (old, new) = (before.rollout(), now.rollout());
        let mut found = Vec::new();
        if let Some(old) = old.filter(|old| old.at() == "reverting" && new.map(|new| new.id()) != Some(old.id())) {
            let live = step.cluster.get(Kind::Deployment, app).map_or("", version);
            if live != now.stable_version() {
                found.push(("S4", format!("the revert of {} ended with {live}: {}", old.version(), now.line())));
            }
        }
        let Some(new) = new.filter(|new| old.map(|old| old.id()) != Some(new.id())) else { return found };
        let Some(place) = step.commits.place(new.commit()) else {
            found.push(("S6", format!("rollout {} is of an unknown commit {}", new.id(), new.commit())));
            return found;
        };
        let newest = self.newest.entry(app.clone()).or_default();
        if place < *newest {
            found.push(("S6", format!("rollout {} is of commit {place}, older than {newest}", new.id())));
        }
        *newest = place.max(*newest);
        let declared = step.commits.declared(new.commit(), app);
        if declared.is_none_or(|declared| declared.version != new.version()) {
            found.push(("S6", format!("{} is not what commit {place} declares", new.version())));
        }
        found
    }
}

/// A new generation with the Target's template, while the way back is durable.
fn forward_again(step: &Step<'_>) -> Option<(&'static str, String)> {
    let (now, before) = (step.event.object.as_ref()?, step.before?);
    let record = step.cluster.record(&step.event.name)?;
    let rollout = record.rollout().filter(|rollout| rollout.at() == "reverting")?;
    let is_written = number(&now["metadata"]["generation"]) > number(&before["metadata"]["generation"]);
    (is_written && rollout.moves_from(record.stable_version()) && version(now) == rollout.version())
        .then(|| ("S4", format!("written with {} while reverting: {}", rollout.version(), record.line())))
}

/// The greeting changes only to what the durable Target, or Stable on the way back, declares.
fn greeting(step: &Step<'_>) -> Option<(&'static str, String)> {
    let now = text(&step.event.object.as_ref()?["data"]["greeting"]);
    let record = step.cluster.record(&step.event.name)?;
    if step.before.is_some_and(|before| before["data"]["greeting"] == now) {
        return None;
    }
    let allowed = allowed(record, step);
    (!allowed.iter().any(|declared| declared.greeting == now))
        .then(|| ("S6", format!("the greeting becomes {now:?}, which nothing durable declares: {}", record.line())))
}

/// What the durable record allows to be written now.
pub(super) fn allowed<'a>(record: Record<'_>, step: &Step<'a>) -> Vec<&'a Declared> {
    let target = record.rollout().filter(|rollout| rollout.at() != "reverting").map(|rollout| rollout.commit());
    let stable = record.stable().map(|stable: &Value| text(&stable["revision"]["commit"]));
    let commits = [target, stable].into_iter().flatten();
    commits.filter_map(|commit| step.commits.declared(commit, step.event.name.trim_end_matches("-extra"))).collect()
}
