//! How a Deployment is held, beyond how many pods that gives: what is sent never takes Stable's pods away where the plan
//! only ever adds, never changes size and template at once, and never holds where no Stable pod is left.

use serde_json::Value;

use super::{Found, Moment, ON_ITS_WAY};
use crate::simulation::read::{number, position, rollout, text, version, waves};
use crate::simulation::story::Step;
use tidegate::model::{Millis, Timestamp};

/// A Deployment that somebody scaled to nothing is Stable's again within this, in a world where nothing goes wrong.
const STABLE_AGAIN: Millis = Millis::from_seconds(20);

/// Remembers since when there are no pods.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    empty_since: Option<Timestamp>,
    /// The rollout that stood without pods for so long that Stable must have come back.
    emptied: Option<u64>,
    /// When somebody else last changed how many pods there are to be: an apply may be on its way by then.
    scaled_at: Option<Timestamp>,
}

impl Hold {
    pub(crate) fn see(&mut self, moment: &Moment<'_>) -> Found {
        let (Some(application), Some(deployment)) = (moment.standing.application(), moment.standing.deployment())
        else {
            return Vec::new();
        };
        let under_way = rollout(application).filter(|rollout| is_held(rollout));
        let n = number(deployment, "/spec/replicas");
        let now = moment.commit.at;
        if moment.commit.key.kind.kind == "Deployment"
            && !moment.is_ours()
            && moment.before().is_some_and(|before| number(before, "/spec/replicas") != n)
        {
            self.scaled_at = Some(now);
        }
        let is_scaled = self.scaled_at.is_some_and(|at| !ON_ITS_WAY.has_passed(at, now));
        match (under_way, n) {
            (None, _) => (self.empty_since, self.emptied) = (None, None),
            (Some(_), 0) => drop(self.empty_since.get_or_insert(now)),
            (Some(rollout), _) => {
                if self.empty_since.take().is_some_and(|since| STABLE_AGAIN.has_passed(since, now)) {
                    self.emptied = rollout["id"].as_u64();
                }
            }
        }
        let Some(rollout) = under_way else { return Vec::new() };
        match moment.commit.key.kind.kind.as_str() {
            "Deployment" => sent(moment, rollout, n, is_scaled),
            "ReplicaSet" if self.emptied == rollout["id"].as_u64() => nothing_left(moment, rollout, n),
            _ => Vec::new(),
        }
    }
}

/// Whether a rollout stands at a wave that is held: any but the last.
fn is_held(rollout: &Value) -> bool {
    let index = rollout["position"]["index"].as_u64().unwrap_or_default();
    let is_waved = matches!(text(rollout, "/lane"), "waves" | "express");
    is_waved && position(rollout) == "wave" && index + 1 < waves(rollout).len() as u64
}

/// What an agent sent to the Deployment.
fn sent(moment: &Moment<'_>, rollout: &Value, n: u32, is_scaled: bool) -> Found {
    let (Some(before), Some(after)) = (moment.before(), moment.after()) else { return Vec::new() };
    let target = text(rollout, "/target/version");
    if !moment.is_ours() || version(after) != target {
        return Vec::new();
    }
    let mut found = Vec::new();
    let was = number(before, "/spec/replicas");
    if version(before) != target && was != n && !is_scaled {
        found.push(("hold", format!("{target} came together with a change from {was} to {n} replicas")));
    }
    if rollout["plan"]["capacity"] != "surge" {
        return found;
    }
    // Where the controller stops: R = max(0, min(R, n - maxUnavailable - available)).
    let window = &after["spec"]["strategy"]["rollingUpdate"];
    let Some(unavailable) = window["maxUnavailable"].as_u64().and_then(|count| u32::try_from(count).ok()) else {
        return found;
    };
    let of_target = |set: &&Value| version(set) == target;
    let old: u32 = moment.standing.sets().filter(|set| !of_target(set)).map(|set| number(set, "/spec/replicas")).sum();
    let available: u32 =
        moment.standing.sets().filter(of_target).map(|set| number(set, "/status/availableReplicas")).sum();
    let left = old.min(n.saturating_sub(unavailable).saturating_sub(available));
    if left < old.min(n) {
        found.push(("hold", format!("a wave that only adds pods leaves {left} of {old} old ones ({window}, n {n})")));
    }
    found
}

/// After it had no pods for a while: they do not all come back new.
fn nothing_left(moment: &Moment<'_>, rollout: &Value, n: u32) -> Found {
    // Whatever keeps the agent or the controller from acting in time may have this come about.
    let is_calm = moment.story.faults.is_empty()
        && !moment.story.has(|step| !matches!(step, Step::Scale(_) | Step::Declare(_) | Step::KillPod(_)));
    let target = text(rollout, "/target/version");
    let count = |is_new: bool| -> u32 {
        let sets = moment.standing.sets().filter(|set| (version(set) == target) == is_new);
        sets.map(|set| number(set, "/spec/replicas")).sum()
    };
    let (new, old) = (count(true), count(false));
    if is_calm && n > 1 && new > 0 && old == 0 {
        return vec![("hold", format!("{new} pods of {target} and none of Stable came back from nothing (n {n})"))];
    }
    Vec::new()
}
