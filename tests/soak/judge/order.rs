//! S3: waves come in order and none is run again. S5: what failed is not tried again by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cluster::Cluster;
use super::record::{Record, Rollout, number, text};
use super::{Kind, Step};

/// Failed contents by app, with the highest attempt that failed.
#[derive(Default)]
pub(super) struct Order {
    failed: BTreeMap<String, BTreeMap<String, u64>>,
    ended: BTreeMap<String, BTreeSet<u64>>,
    after_gap: BTreeSet<String>,
}

impl Order {
    pub(super) fn see(&mut self, step: &Step<'_>) -> Vec<(&'static str, String)> {
        let Some((before, now)) = step.records() else { return Vec::new() };
        let app = &step.event.name;
        let mut found = Vec::new();
        if !self.after_gap.remove(app) {
            found.extend(in_order(before, now).map(|what| ("S3", what)));
            found.extend(rewritten(before, now).map(|what| ("S3", what)));
        }
        let begun = now.rollout().filter(|rollout| before.rollout().map(|old| old.id()) != Some(rollout.id()));
        let ended = self.ended.entry(app.clone()).or_default();
        if let Some(rollout) = begun {
            let (digest, attempt) = rollout.content();
            let failed = self.failed.get(app).and_then(|failed| failed.get(digest));
            if failed.is_some_and(|failed| *failed >= attempt) {
                found.push(("S5", format!("{} is rolled out again, though it failed and is held", rollout.version())));
            }
            if ended.contains(&rollout.id()) {
                found.push(("S3", format!("rollout {} is run again", rollout.id())));
            }
        }
        ended.extend(now.past().map(|past| number(&past["id"])));
        let failed = self.failed.entry(app.clone()).or_default();
        for (digest, attempt) in now.quarantine() {
            let known = failed.entry(digest.to_owned()).or_default();
            *known = attempt.max(*known);
        }
        found
    }

    /// The step over a gap may be longer than one.
    pub(super) fn resume(&mut self, cluster: &Cluster) {
        self.after_gap.extend(cluster.all(Kind::Application).map(|(name, _)| name.to_owned()));
    }
}

/// Ways back have no way forward again.
fn rank(rollout: Rollout<'_>) -> usize {
    match rollout.at() {
        "preparing" => 0,
        "wave" => 1 + rollout.wave().unwrap_or(0),
        "trailing" => usize::MAX - 2,
        "reverting" => usize::MAX - 1,
        _ => usize::MAX,
    }
}

fn in_order(before: Record<'_>, now: Record<'_>) -> Option<String> {
    let (old, new) = (before.rollout(), now.rollout());
    if now.last_id() < before.last_id() {
        return Some(format!("rollouts are counted backwards, {} after {}", now.last_id(), before.last_id()));
    }
    match (old, new) {
        (Some(old), Some(new)) if old.id() == new.id() => {
            let (from, to) = (rank(old), rank(new));
            let is_step = to == from || to == from + 1 || matches!(new.at(), "reverting" | "held" | "trailing");
            let is_forward = to >= from || old.at() == "held";
            let unpassed =
                new.waves().iter().take(new.wave().unwrap_or(0)).position(|wave| !wave["passedAt"].is_string());
            match unpassed {
                _ if !is_step || !is_forward => Some(format!("from {} to {}", before.line(), now.line())),
                Some(index) => Some(format!("wave {index} never passed: {}", now.line())),
                None if old.content() != new.content() => {
                    Some(format!("another target in the same rollout: {}", now.line()))
                }
                None => None,
            }
        }
        // A first sync's end is told by status alone; the record follows with its next write.
        (Some(_), None) if number(&now.0["record"]["rollout"]["id"]) == now.last_id() => None,
        (Some(old), _) => {
            // It ended: forward only when every wave had passed, and back only by way of a durable revert.
            let past = now.past().find(|past| number(&past["id"]) == old.id());
            let outcome = past.map_or("", |past| text(&past["outcome"]));
            let passed = now.waves_of(old.id()).iter().filter(|wave| wave["passedAt"].is_string()).count();
            let is_fine = match outcome {
                "completed" => {
                    !matches!(old.at(), "reverting" | "held")
                        && (old.lane() == "firstSync" || passed == old.planned().len())
                }
                "reverted" | "withdrawn" => old.at() == "reverting",
                "held" => old.at() == "held",
                _ => false,
            };
            (!is_fine).then(|| format!("ended as {outcome:?} with {passed} waves passed, after {}", before.line()))
        }
        (None, _) => None,
    }
}

/// What has passed is not written again.
fn rewritten(before: Record<'_>, now: Record<'_>) -> Option<String> {
    let id = before.rollout()?.id();
    let (old, new) = (before.waves_of(id), now.waves_of(id));
    let is_kept =
        |(index, wave): (usize, &Value)| !wave["passedAt"].is_string() || new.get(index).is_some_and(|now| now == wave);
    let lost = old.iter().enumerate().find(|entry| !is_kept(*entry))?;
    Some(format!("wave {} of rollout {id} had passed and is run or written again", lost.0))
}
