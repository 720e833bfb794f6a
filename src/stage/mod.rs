//! (stable, target, plan, position, observed) -> the objects that should exist at this point of the rollout.
//!
//! Pure. A wave is just another desired state, so drift correction, crash recovery, revert and preview are all one
//! reconciler making the cluster equal to what this module returns.

mod deployment;
pub mod hold;
mod hook;
mod marks;
mod order;
mod waves;
mod yielding;

use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

pub use deployment::{declared_window, is_deployment, waits_for_batches};
pub use hook::{HookDeletes, StagedHook, hooks, is_hook};
pub use marks::{content_of, differing, projection, shown};
pub use order::{Group, Rank, defined_kind, group, rank, wave_of};
pub use waves::{Standing, Waveless, collapse, stand, wave_size};

use crate::model::{Application, Body, Digest, Lane, Object, ObjectKey, PausePolicy, Position, Release, Rollout};
use crate::mutants::{Mutant, is_planted};
use crate::observe::Live;
use crate::observe::ownership::Tolerated;

/// What a stage is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Marks objects as ours.
    pub owner: &'a str,
    /// Keys the hashes of Secret contents.
    pub secret_key: &'a [u8; 32],
    /// The declaration, for what it says about pausing.
    pub application: Option<&'a Application>,
    /// The last Release that completed.
    pub stable: Option<&'a Release>,
    /// The Release being rolled out.
    pub target: Option<&'a Release>,
    /// The rollout.
    pub rollout: Option<&'a Rollout>,
    /// What was observed.
    pub live: &'a Live,
    /// The stage of the same app before, if it is known: what is the same is taken from there instead of being made anew.
    pub before: Option<&'a Stage>,
}

/// The objects that should exist now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// Objects with our marks on them.
    pub objects: BTreeMap<ObjectKey, Staged>,
    /// What of the inventory is to go.
    pub removal: Removal,
    /// The runs of the rollout's hooks: they exist beside the objects, each in its time.
    pub hooks: Vec<StagedHook>,
}

/// One object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Staged {
    /// What is sent: the object with our marks, without what is left to others.
    pub object: Object,
    /// The object with our marks as it is declared.
    pub whole: Object,
    /// JSON pointers into `whole`: the fields that are left to others.
    pub ignored: Vec<String>,
    /// What others may add: below these JSON pointers, and by these field managers.
    pub tolerated: Tolerated,
    /// Hash over `whole`.
    pub content: Digest,
    /// Its body before the marks.
    pub unmarked: Body,
}

impl Staged {
    /// What live is compared with: what is declared, without the fields that are left to others.
    #[must_use]
    pub fn compared(&self) -> Cow<'_, Value> {
        if self.ignored.is_empty() {
            return Cow::Borrowed(&self.whole.body);
        }
        let mut body = (*self.whole.body).clone();
        self.ignored.iter().rev().for_each(|pointer| yielding::remove(&mut body, pointer));
        Cow::Owned(body)
    }
}

/// What of the inventory is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Removal {
    /// Nothing at this position.
    #[default]
    Nothing,
    /// What is inventoried and not staged, if the application prunes.
    Prune,
    /// What this very rollout added: that is not pruning, and always happens.
    Added(BTreeSet<ObjectKey>),
}

/// Returns the stage of one app.
#[must_use]
pub fn stage(inputs: &Inputs<'_>) -> Stage {
    let Some(rollout) = inputs.rollout else {
        return finish(inputs, whole(inputs.stable, inputs), Removal::Prune);
    };
    let target = || whole(inputs.target, inputs);
    if matches!(rollout.lane, Lane::FirstSync) {
        return finish(inputs, target(), Removal::Nothing);
    }
    match &rollout.position {
        Position::Preparing if is_planted(Mutant::EffectBeforeIntent) => finish(inputs, target(), Removal::Nothing),
        Position::Preparing => finish(inputs, preparing(inputs, &moving_now(inputs)), Removal::Nothing),
        Position::Wave { index } => finish(inputs, wave(inputs, rollout, *index), Removal::Nothing),
        Position::Held { .. } => {
            finish(inputs, wave(inputs, rollout, rollout.waves.len().saturating_sub(1)), Removal::Nothing)
        }
        Position::Trailing => {
            let mut objects = target();
            keep_others(&mut objects, inputs.stable, inputs);
            finish(inputs, objects, Removal::Nothing)
        }
        Position::Reverting { pods_are_back: false, .. } => {
            finish(inputs, reverting(inputs, rollout), Removal::Nothing)
        }
        Position::Reverting { pods_are_back: true, .. } => {
            let added = if is_planted(Mutant::KeepsAdded) { BTreeSet::new() } else { rollout.added.clone() };
            finish(inputs, whole(inputs.stable, inputs), Removal::Added(added))
        }
    }
}

/// The Deployments whose pod template changes between Stable and Target: the ones that move in waves.
#[must_use]
pub fn moving(stable: &Release, target: &Release) -> BTreeSet<ObjectKey> {
    template_changes(stable, target, is_deployment)
}

/// The StatefulSets and DaemonSets whose pod template changes: one gated step after the last wave.
#[must_use]
pub fn trailing(stable: &Release, target: &Release) -> BTreeSet<ObjectKey> {
    template_changes(stable, target, waits_for_batches)
}

fn template_changes(stable: &Release, target: &Release, is_concerned: fn(&ObjectKey) -> bool) -> BTreeSet<ObjectKey> {
    fn template(object: &Object) -> Option<&Value> {
        object.at("/spec/template")
    }
    let changes = |key: &ObjectKey, object: &Object| {
        stable.objects.get(key).is_some_and(|before| template(before) != template(object))
    };
    let objects =
        target.objects.iter().filter(|(key, object)| is_concerned(key) && !is_hook(object) && changes(key, object));
    objects.map(|(key, _)| key.clone()).collect()
}

fn moving_now(inputs: &Inputs<'_>) -> BTreeSet<ObjectKey> {
    let (Some(stable), Some(target)) = (inputs.stable, inputs.target) else { return BTreeSet::new() };
    let mut keys = moving(stable, target);
    keys.retain(|key| !inputs.live.unchanged_templates.contains(key));
    keys
}

/// Every object of a Release as declared.
fn whole(release: Option<&Release>, inputs: &Inputs<'_>) -> BTreeMap<ObjectKey, Object> {
    let Some(release) = release else { return BTreeMap::new() };
    let objects = release.objects.iter().filter(|(_, object)| !is_hook(object));
    objects.map(|(key, object)| (key.clone(), declared(release, object, inputs))).collect()
}

fn declared(release: &Release, object: &Object, inputs: &Inputs<'_>) -> Object {
    let is_scaled =
        deployment::is_scaled_by_autoscaler(release, &object.key) || yielding::leaves_replicas(object, inputs);
    deployment::explicit(object, release.reference.digest, pause(inputs), is_scaled)
}

fn pause(inputs: &Inputs<'_>) -> PausePolicy {
    inputs.application.map_or(PausePolicy::Agent, |application| application.pause)
}

/// Adds the objects of `release` that are not staged yet.
fn keep_others(objects: &mut BTreeMap<ObjectKey, Object>, release: Option<&Release>, inputs: &Inputs<'_>) {
    let Some(release) = release else { return };
    for (key, object) in &release.objects {
        if !objects.contains_key(key) && !is_hook(object) {
            objects.insert(key.clone(), declared(release, object, inputs));
        }
    }
}

/// Everything but pod templates at Target; replicas of what moves at Target too, since replicas and template never
/// change in one step (`deployment/sync.go:539`: the old ReplicaSet scales first otherwise).
fn preparing(inputs: &Inputs<'_>, moving: &BTreeSet<ObjectKey>) -> BTreeMap<ObjectKey, Object> {
    let mut objects = whole(inputs.target, inputs);
    keep_others(&mut objects, inputs.stable, inputs);
    let (Some(stable), Some(target)) = (inputs.stable, inputs.target) else { return objects };
    for key in moving.iter().chain(&trailing(stable, target)) {
        if let Some(before) = stable.objects.get(key) {
            let mut object = declared(stable, before, inputs);
            let replicas = objects.get(key).and_then(|after| after.at("/spec/replicas")).cloned();
            if let Some(replicas) = replicas.filter(|_| !is_planted(Mutant::ReplicasWithTemplate)) {
                object = deployment::with_replicas(&object, replicas);
            }
            objects.insert(key.clone(), object);
        }
    }
    objects
}

fn wave(inputs: &Inputs<'_>, rollout: &Rollout, index: usize) -> BTreeMap<ObjectKey, Object> {
    let moving: BTreeSet<ObjectKey> = rollout.stable_hashes.keys().cloned().collect();
    let mut objects = preparing(inputs, &moving);
    for key in &moving {
        let at_stable = objects.get(key).cloned();
        let at_target = inputs.target.and_then(|target| Some(declared(target, target.objects.get(key)?, inputs)));
        let (Some(at_stable), Some(at_target)) = (at_stable, at_target) else { continue };
        let staged = match inputs.live.workloads.get(key) {
            Some(workload) => waves::at_wave(workload, rollout, index, at_stable, at_target),
            // Not observed in this pass: stage what is live, which changes nothing.
            None => continue,
        };
        objects.insert(key.clone(), staged);
    }
    objects
}

fn reverting(inputs: &Inputs<'_>, rollout: &Rollout) -> BTreeMap<ObjectKey, Object> {
    let mut objects = whole(inputs.stable, inputs);
    keep_others(&mut objects, inputs.target, inputs);
    for key in rollout.stable_hashes.keys() {
        if let (Some(workload), Some(object)) = (inputs.live.workloads.get(key), objects.get(key)) {
            let staged = waves::at_revert(workload, object);
            objects.insert(key.clone(), staged);
        }
    }
    objects
}

fn finish(inputs: &Inputs<'_>, objects: BTreeMap<ObjectKey, Object>, removal: Removal) -> Stage {
    let app = inputs.stable.or(inputs.target).map(|release| release.app.clone());
    let objects = objects.into_iter().filter_map(|(key, object)| {
        let kick = inputs.live.kicks.get(&key).map(String::as_str);
        let known = inputs.before.and_then(|before| before.objects.get(&key));
        let is_same = |known: &&Staged| known.unmarked == object.body && marks::kick_of(&known.object) == kick;
        let staged = match known.filter(is_same) {
            Some(known) => known.clone(),
            None => marks::mark(object, app.as_ref()?, inputs.owner, kick, inputs.secret_key),
        };
        Some((key, yielding::leave_to_others(staged, inputs)))
    });
    let hooks = match (inputs.target, inputs.rollout, &app) {
        (Some(target), Some(rollout), Some(app)) => hook::staged(target, rollout, app, inputs.owner, inputs.secret_key),
        (_, _, _) => Vec::new(),
    };
    Stage { objects: objects.collect(), removal, hooks }
}
