//! S1: no more pods run the Target than the wave that is durably under way may have. Counted on the specs of
//! ReplicaSets, which is what the controller wants, and on pods, which is what runs.

use super::{Found, Moment};
use crate::simulation::read::{number, position, size, text, version, waves};
use crate::simulation::story::Step;

/// Remembers what scaling did to the rollout under way.
#[derive(Debug, Default)]
pub(crate) struct Containment {
    /// The rollout, and its size when it began.
    rollout: Option<(u64, u32)>,
    /// What it rolls out.
    target: String,
    /// Whether somebody deleted the Application resource since.
    was_deleted: bool,
    /// Whether somebody scaled it or edited the pod template since, or paused it on its way back.
    was_scaled: bool,
    /// The most that the waves so far allowed.
    allowed: u32,
}

impl Containment {
    pub(crate) fn see(&mut self, moment: &Moment<'_>) -> Found {
        // Who deletes the Application resource or the Deployment does not undo what the waves allowed.
        self.was_deleted |= moment.commit.key.kind.kind == "Application" && moment.commit.after.is_none();
        let Some(deployment) = moment.standing.deployment() else { return Vec::new() };
        let n = number(deployment, "/spec/replicas");
        // Also while the record is away: the rollout that is made anew stands over what the scaling did.
        self.was_scaled |= self.was_deleted && self.rollout.is_some_and(|(_, size)| size != n);
        let Some(rollout) = moment.standing.rollout() else { return Vec::new() };
        if !matches!(text(rollout, "/lane"), "waves" | "express") {
            return Vec::new();
        }
        let id = rollout["id"].as_u64().unwrap_or_default();
        match self.rollout {
            Some((known, size)) if known == id => self.was_scaled |= size != n,
            _ => {
                // Made anew from what an agent finds, it begins again over the pods that stand.
                let is_same = self.was_deleted && self.target == text(rollout, "/target/version");
                let allowed = if is_same { self.allowed } else { 0 };
                self.was_scaled &= is_same;
                (self.rollout, self.allowed) = (Some((id, n)), allowed);
                text(rollout, "/target/version").clone_into(&mut self.target);
                self.was_deleted = false;
            }
        }
        // A template of somebody else's makes the controller move pods of all ReplicaSets, before it can be put back.
        self.was_scaled |= is_foreign_template(moment);
        self.was_scaled |= is_paused_on_the_way_back(moment, rollout);
        let waves = waves(rollout);
        let index = usize::try_from(rollout["position"]["index"].as_u64().unwrap_or_default()).unwrap_or_default();
        let is_last = index + 1 >= waves.len();
        match position(rollout) {
            // The last wave is the completion: the declared surge may stand beside it for a moment.
            "wave" if is_last => self.allowed = u32::MAX,
            "wave" => self.allowed = self.allowed.max(waves.get(index).map_or(0, |wave| size(wave, n))),
            "trailing" => self.allowed = u32::MAX,
            _ => {}
        }
        let mut found = Vec::new();
        found.extend(whole(moment, rollout));
        found.extend(third(moment, rollout));
        // Stable's pods are told by their hashes, which the record has from the first wave on: before that, pods that come
        // back when drift was corrected may look like the Target's.
        let stable =
            moment.standing.application().map_or("", |application| text(application, "/record/stable/version"));
        let are_alike = position(rollout) == "preparing" && stable == text(rollout, "/target/version");
        if self.was_scaled || are_alike || self.allowed == u32::MAX || moment.commit.key.kind.kind != "ReplicaSet" {
            // What scaling by others adds is reported as exposure.
            return found;
        }
        let target = text(rollout, "/target/version");
        let wanted: u32 = moment
            .standing
            .sets()
            .filter(|set| version(set) == target && !is_stable(rollout, set) && !is_edited(set))
            .map(|set| number(set, "/spec/replicas"))
            .sum();
        let replicas = |body: Option<&serde_json::Value>| body.map_or(0, |set| number(set, "/spec/replicas"));
        if wanted > self.allowed && replicas(moment.after()) > replicas(moment.before()) {
            let at = position(rollout);
            let allowed = self.allowed;
            found.push((
                "S1",
                format!(
                    "ReplicaSets want {wanted} pods of {target} where the waves so far allow {allowed} ({at} {index})"
                ),
            ));
        }
        found
    }
}

/// Whether somebody other than an agent changed the Deployment's pod template.
fn is_foreign_template(moment: &Moment<'_>) -> bool {
    let template = |body: Option<&serde_json::Value>| body.and_then(|body| body.pointer("/spec/template").cloned());
    !moment.is_ours()
        && moment.commit.key.kind.kind == "Deployment"
        && template(moment.before()) != template(moment.after())
}

/// Whether somebody paused the Deployment just after the agent sent the window of the way back. A Deployment that is
/// paused is only scaled (`deployment_controller.go` `syncDeployment`), and the window's room is shared among all its
/// ReplicaSets, before the pause can be taken back.
fn is_paused_on_the_way_back(moment: &Moment<'_>, rollout: &serde_json::Value) -> bool {
    let is_paused = |body: Option<&serde_json::Value>| body.is_some_and(|body| body["spec"]["paused"] == true);
    !moment.is_ours()
        && moment.commit.key.kind.kind == "Deployment"
        && position(rollout) == "reverting"
        && !is_paused(moment.before())
        && is_paused(moment.after())
}

/// A hold is whole or not there: `minReadySeconds` is never the declared one while the hold's window stands.
fn whole(moment: &Moment<'_>, rollout: &serde_json::Value) -> Found {
    let Some(after) = moment.after().filter(|_| moment.is_ours() && moment.commit.key.kind.kind == "Deployment") else {
        return Vec::new();
    };
    let window = &after["spec"]["strategy"]["rollingUpdate"];
    let is_split =
        after["spec"]["minReadySeconds"] == 1 && (window["maxSurge"] != "25%" || window["maxUnavailable"] != "25%");
    if position(rollout) == "wave" && version(after) == text(rollout, "/target/version") && is_split {
        return vec![("S1", format!("minReadySeconds is the declared one beside the hold's window {window}"))];
    }
    Vec::new()
}

/// While a wave stands, no ReplicaSet but Stable's and the Target's has pods, unless somebody else edited the template.
fn third(moment: &Moment<'_>, rollout: &serde_json::Value) -> Found {
    let is_edited = moment
        .story
        .has(|step| matches!(step, Step::SetImage(_) | Step::AddEnv | Step::Delete(_) | Step::DeleteApplication));
    if is_edited || position(rollout) != "wave" || moment.commit.key.kind.kind != "ReplicaSet" {
        return Vec::new();
    }
    let target = text(rollout, "/target/version");
    let third = moment
        .standing
        .sets()
        .find(|set| version(set) != target && !is_stable(rollout, set) && number(set, "/spec/replicas") > 0);
    third
        .map(|set| ("S1", format!("a third ReplicaSet, of {}, has pods while {target} is rolled out", version(set))))
        .into_iter()
        .collect()
}

/// Whether somebody else's environment variable is in the template.
fn is_edited(set: &serde_json::Value) -> bool {
    let env = set.pointer("/spec/template/spec/containers/0/env").and_then(serde_json::Value::as_array);
    env.is_some_and(|env| env.len() > 1)
}

/// Whether a ReplicaSet is Stable's: two Releases may share an image.
fn is_stable(rollout: &serde_json::Value, set: &serde_json::Value) -> bool {
    let hash = text(set, "/metadata/labels/pod-template-hash");
    rollout["stableHashes"].as_object().is_some_and(|hashes| hashes.values().any(|known| known.as_str() == Some(hash)))
}
