//! One Deployment at one wave: what is sent, and how far it has come.

use super::marks::differing;
use super::{deployment, hold};
use crate::model::marks::ANNOTATION_RELEASE;
use crate::model::{Capacity, Object, Rollout, Wave};
use crate::mutants::{Mutant, is_planted};
use crate::observe::{Window, Workload, ownership};

/// Why a Deployment takes no part in waves and moves in one step with the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waveless {
    /// Strategy `Recreate` stops everything first.
    Recreate,
    /// It has no pods.
    NoPods,
    /// One pod cannot make room in place.
    OnePodInPlace,
}

impl Waveless {
    /// What is told to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recreate => "strategy Recreate stops all pods first, so it moves in one wave",
            Self::NoPods => "it has no pods, so it moves in one wave",
            Self::OnePodInPlace => "capacity inPlace cannot hold a wave of one pod, so it moves in one wave",
        }
    }
}

/// Why a Deployment takes no part in waves, when it does not. Its size is the declared one where there is one: what
/// somebody scaled for a moment is put right first, and is no reason to leave a wave.
#[must_use]
pub fn collapse(workload: &Workload, capacity: Capacity, at_target: &Object) -> Option<Waveless> {
    if at_target.text("/spec/strategy/type") == Some("Recreate")
        || workload.object.text("/spec/strategy/type") == Some("Recreate")
    {
        return Some(Waveless::Recreate);
    }
    let live = i64::from(workload.n());
    let n =
        if is_planted(Mutant::ReplicasWithTemplate) { None } else { at_target.int("/spec/replicas") }.unwrap_or(live);
    match (n, capacity) {
        (0, Capacity::Surge | Capacity::InPlace) => Some(Waveless::NoPods),
        (1, Capacity::InPlace) => Some(Waveless::OnePodInPlace),
        (_, Capacity::Surge | Capacity::InPlace) => None,
    }
}

/// Pods that a wave wants on the new template; a held wave in place leaves at least one old pod, since a hold without
/// old pods has nothing to fall back on.
#[must_use]
pub fn wave_size(wave: &Wave, capacity: Capacity, n: u32) -> u32 {
    let k = wave.replicas.of(n);
    match capacity {
        Capacity::Surge => k,
        Capacity::InPlace => k.min(n.saturating_sub(1)),
    }
}

/// How far a Deployment has come at a wave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Pods that the wave wants on the new template.
    pub wanted: u32,
    /// Pods that stand on it.
    pub new: u32,
    /// Pods of it that are Ready.
    pub ready: u32,
    /// Pods beyond the wave's size, put there by scaling.
    pub exposure: u32,
    /// Whether the size is reached and every new pod is Ready.
    pub is_reached: bool,
    /// What is missing, in one sentence.
    pub missing: String,
}

/// What is sent at wave `index`. Growing and shrinking wait for the controller's fixpoint: until then the window that
/// stands is sent again.
pub(super) fn at_wave(
    workload: &Workload,
    rollout: &Rollout,
    index: usize,
    at_stable: Object,
    at_target: Object,
) -> Object {
    let waves = rollout.lane_waves();
    let is_last = index + 1 >= waves.len();
    let is_collapsed = collapse(workload, rollout.plan.capacity, &at_target).is_some();
    if is_last {
        let is_reached = rollout.waves.get(index).is_some_and(|record| record.ready_at.is_some());
        let is_settled = is_reached || is_recreate(&at_target);
        if is_planted(Mutant::MinReadyFirst)
            && let Some(window) = workload.window().filter(|_| workload.is_held())
        {
            return deployment::patient(&at_target, Some(window));
        }
        return if is_settled { at_target } else { deployment::patient(&at_target, None) };
    }
    let n = workload.n();
    // n became 0: with Target's template the new ReplicaSet would take everything on return
    // (`util/deployment_util.go:836`), so Stable stands until there are pods again.
    if (n == 0 || is_collapsed) && !is_planted(Mutant::HoldsAtZero) {
        return at_stable;
    }
    let k = wave_size(&waves[index], rollout.plan.capacity, n);
    let declared = deployment::declared_window(&at_target, n);
    // Somebody scaled what Git declares: what is sent now puts that right, and says nothing yet of the new size.
    let is_rescaled = at_target.int("/spec/replicas").is_some_and(|declared| declared != i64::from(n))
        && !is_planted(Mutant::ReplicasWithTemplate);
    if !carries(workload, &rollout.target.digest.to_string()) {
        let window = hold::first(rollout.plan.capacity, k, declared);
        let may_start = workload.is_spec_complete() && !is_rescaled;
        return if may_start { deployment::held(&at_target, window) } else { at_stable };
    }
    let is_retemplated = is_retemplated(&workload.object, &at_target);
    // Somebody changed both: the template first, since replicas and template never change in one step.
    let at_target = match workload.object.at("/spec/replicas") {
        Some(replicas) if is_rescaled && is_retemplated => deployment::with_replicas(&at_target, replicas.clone()),
        Some(_) | None => at_target,
    };
    let counts = workload.counts();
    let window = match workload.window().filter(|_| workload.is_held() && owns_window(workload)) {
        // A window is made for one n and for the pods that there were: under another n, or with pods of somebody else's
        // template among the old ones, one with room for missing pods would take Stable's.
        Some(window) if (is_rescaled || is_retemplated) && rollout.plan.capacity == Capacity::Surge => {
            Window { surge: window.surge.max(1), unavailable: 0 }
        }
        Some(window) if is_rescaled => window,
        Some(window) if workload.is_at_fixpoint(window) => {
            hold::next(rollout.plan.capacity, &counts, k, declared).unwrap_or(window)
        }
        Some(window) => window,
        None => hold::grow(&counts, k).unwrap_or(hold::first(rollout.plan.capacity, k, declared)),
    };
    deployment::held(&at_target, window)
}

/// What is sent while the pods go back to Stable. The window is chosen once, from the counts that the revert found, and
/// then stands until the pods are back.
pub(super) fn at_revert(workload: &Workload, at_stable: &Object) -> Object {
    if is_recreate(at_stable) || workload.n() == 0 {
        return at_stable.clone();
    }
    let release = at_stable.annotation(ANNOTATION_RELEASE).unwrap_or_default();
    if carries(workload, release) && !workload.is_held() {
        let is_under_way = workload.object.int("/spec/progressDeadlineSeconds")
            == Some(crate::observe::PROGRESS_DEADLINE_SECONDS_HOLD);
        let window = workload.window().filter(|_| owns_window(workload));
        return match window {
            Some(window) if is_under_way => deployment::patient(at_stable, Some(window)),
            _ if is_under_way => deployment::patient(at_stable, None),
            _ => at_stable.clone(),
        };
    }
    let declared = deployment::declared_window(at_stable, workload.n());
    let counts = workload.counts();
    if workload.is_held() {
        return deployment::patient(at_stable, Some(hold::revert(&counts, declared)));
    }
    // Beyond the hold: an ordinary roll at declared speed, unless pods are missing already.
    let revert = hold::revert(&counts, declared);
    deployment::patient(at_stable, Some(Window { surge: declared.surge, unavailable: revert.unavailable }))
}

/// How far a Deployment has come at wave `index`.
#[must_use]
pub fn stand(workload: &Workload, rollout: &Rollout, index: usize, at_target: &Object) -> Standing {
    let waves = rollout.lane_waves();
    let is_last = index + 1 >= waves.len();
    let counts = workload.counts();
    let on_target = carries(workload, &rollout.target.digest.to_string());
    let (new, ready) = if on_target { (counts.new, counts.new_ready) } else { (0, 0) };
    if is_last {
        let is_reached = on_target && !workload.is_held() && workload.is_complete();
        let missing = format!("{} of {} pods are available on the new template", available(workload), counts.n);
        return Standing { wanted: counts.n, new, ready, exposure: 0, is_reached, missing };
    }
    if collapse(workload, rollout.plan.capacity, at_target).is_some() && counts.n > 0 {
        return Standing { wanted: 0, new: 0, ready: 0, exposure: 0, is_reached: true, missing: String::new() };
    }
    let wanted = waves.get(index).map_or(counts.n, |wave| wave_size(wave, rollout.plan.capacity, counts.n));
    let others_are_right = match rollout.plan.capacity {
        Capacity::Surge => true,
        Capacity::InPlace => counts.others <= counts.n.saturating_sub(wanted) || new > wanted,
    };
    let is_still = workload.window().is_some_and(|window| workload.is_at_fixpoint(window));
    let is_reached = counts.n > 0
        && on_target
        && is_still
        && workload.is_held()
        && others_are_right
        && new >= wanted
        && ready >= new;
    let missing = match (counts.n, on_target) {
        (0, _) => "it was scaled to 0: Stable stands until there are pods again".to_owned(),
        (_, false) => "waiting for Stable's pods to be complete".to_owned(),
        (_, true) => match workload.failure() {
            Some(failure) => format!("{ready} of {wanted} new pods are ready: {failure}"),
            None => format!("{ready} of {wanted} new pods are ready"),
        },
    };
    Standing { wanted, new, ready, exposure: new.saturating_sub(wanted), is_reached, missing }
}

fn available(workload: &Workload) -> u32 {
    workload.current().map_or(0, |set| set.available)
}

fn carries(workload: &Workload, release: &str) -> bool {
    workload.object.annotation(ANNOTATION_RELEASE) == Some(release)
}

fn is_recreate(object: &Object) -> bool {
    object.text("/spec/strategy/type") == Some("Recreate")
}

/// Whether somebody else gave a field of the pod template another value. What the server itself makes of a template is
/// ours by ownership.
fn is_retemplated(live: &Object, at_target: &Object) -> bool {
    let others = ownership::other_managers(live);
    let theirs = ownership::stated_by(live, &others.iter().map(String::as_str).collect(), &at_target.body);
    let is_theirs = |pointer: &String| {
        theirs
            .iter()
            .any(|field| pointer.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    let differing = differing(&at_target.body, &live.body);
    differing.iter().any(|pointer| pointer.starts_with("/spec/template/") && is_theirs(pointer))
}

/// Whether the window in the live Deployment is the one that we sent.
fn owns_window(workload: &Workload) -> bool {
    let owns = |field| ownership::owns(&workload.object, &["spec", "strategy", "rollingUpdate", field]);
    owns("maxSurge") && owns("maxUnavailable")
}
