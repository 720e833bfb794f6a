//! S2: a gate passes only after the wave's pods were Ready at the observed generation, and after its samples.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::cluster::{Cluster, is_observed, owner, replicas, version};
use super::record::{Record, Rollout, number, text, wave_size};
use super::{Event, Kind, Step};

/// Measurements that a record keeps of one gate.
const MEASUREMENTS_KEPT_MAX: u64 = 20;

/// Whether each app's wave has been seen Ready since it (re)started.
#[derive(Default)]
pub(super) struct Evidence {
    seen: BTreeMap<String, Seen>,
}

struct Seen {
    /// Rollout, wave and the wave's start: a wave that starts over needs new evidence.
    wave: (u64, usize, String),
    is_ready: bool,
}

impl Evidence {
    pub(super) fn see(&mut self, step: &Step<'_>) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if let Some((before, now)) = step.records() {
            // What a write claims must have been true before it.
            found.extend(self.claims(&step.event.name, before, now));
        }
        if let Some(app) = app_of(step.event, step.cluster) {
            self.look(step.cluster, &app);
        }
        found
    }

    /// What happened in a gap may have been evidence.
    pub(super) fn resume(&mut self, cluster: &Cluster) {
        for (name, object) in cluster.all(Kind::Application) {
            if let Some(wave) = Record(object).rollout().and_then(standing) {
                self.seen.insert(name.to_owned(), Seen { wave, is_ready: true });
            }
        }
    }

    fn look(&mut self, cluster: &Cluster, app: &str) {
        let Some(record) = cluster.record(app) else { return };
        let Some(rollout) = record.rollout() else { return };
        let Some(wave) = standing(rollout) else { return };
        let index = wave.1;
        let seen = self.seen.entry(app.to_owned()).or_insert_with(|| Seen { wave: wave.clone(), is_ready: false });
        if seen.wave != wave {
            *seen = Seen { wave, is_ready: false };
        }
        let (Some(planned), Some(deployment)) = (rollout.planned().get(index), cluster.get(Kind::Deployment, app))
        else {
            return;
        };
        let wanted = wave_size(planned, replicas(Some(deployment)));
        let (ready, _) = cluster.pods(app, rollout.version());
        seen.is_ready |= version(deployment) == rollout.version() && is_observed(deployment) && ready >= wanted;
    }

    fn claims(&self, app: &str, before: Record<'_>, now: Record<'_>) -> Vec<(&'static str, String)> {
        let Some(rollout) = before.rollout() else { return Vec::new() };
        if rollout.lane() == "firstSync" {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (index, wave) in now.waves_of(rollout.id()).iter().enumerate() {
            let known = rollout.waves().get(index).unwrap_or(&Value::Null);
            let is_new = |field: &str| wave[field].is_string() && !known[field].is_string();
            let name = text(&wave["name"]);
            let has_evidence = self
                .seen
                .get(app)
                .is_some_and(|seen| (seen.wave.0, seen.wave.1) == (rollout.id(), index) && seen.is_ready);
            if (is_new("readyAt") || is_new("passedAt")) && !has_evidence {
                found.push(("S2", format!("wave {name} is said to be ready or passed, but its pods never were Ready")));
            }
            if is_new("passedAt") {
                found.extend(samples(rollout, index, wave).map(|what| ("S2", format!("wave {name} passed: {what}"))));
            }
        }
        found
    }
}

/// What is missing of the samples that the plan asks for.
fn samples(rollout: Rollout<'_>, index: usize, wave: &Value) -> Option<String> {
    let moment = |value: &Value| text(value).parse::<Timestamp>().ok();
    let Some(ready_at) = moment(&wave["readyAt"]) else { return Some("it has no readyAt".to_owned()) };
    if moment(&wave["passedAt"]).is_none_or(|passed_at| passed_at < ready_at) {
        return Some("it passed before it was Ready".to_owned());
    }
    let planned = rollout.planned().get(index)?;
    let names = planned["analysis"].as_array().into_iter().flatten();
    names.map(text).find_map(|name| {
        let analyses = rollout.0["plan"]["analysis"].as_array().into_iter().flatten();
        let wanted =
            analyses.filter(|analysis| analysis["name"] == name).map(|analysis| number(&analysis["count"])).max();
        let gate = wave["gates"].as_array().into_iter().flatten().find(|gate| gate["gate"] == name);
        let gate = gate.filter(|gate| gate["verdict"] == "pass");
        let samples = gate.and_then(|gate| gate["measurements"].as_array()).map_or(&[][..], Vec::as_slice);
        let valid = samples
            .iter()
            .filter(|sample| sample["verdict"] == "pass" && moment(&sample["at"]).is_some_and(|at| at >= ready_at));
        let (valid, wanted) = (valid.count() as u64, wanted.unwrap_or(1).min(MEASUREMENTS_KEPT_MAX));
        (gate.is_none() || valid < wanted).then(|| format!("{valid} of {wanted} samples of analysis {name}"))
    })
}

fn standing(rollout: Rollout<'_>) -> Option<(u64, usize, String)> {
    let index = rollout.wave()?;
    Some((rollout.id(), index, text(&rollout.waves().get(index)?["startedAt"]).to_owned()))
}

/// The app that an object belongs to: Application and Deployment bear its name.
fn app_of(event: &Event, cluster: &Cluster) -> Option<String> {
    let object = event.object.as_ref()?;
    match event.kind {
        Kind::Application | Kind::Deployment => Some(event.name.clone()),
        Kind::ReplicaSet => Some(owner(object).to_owned()),
        Kind::Pod => Some(owner(cluster.get(Kind::ReplicaSet, owner(object))?).to_owned()),
        Kind::ConfigMap => None,
    }
}
