//! What must hold, told from the durable record and the pods alone. Nothing of `src/decide` or `src/stage` is used: the
//! sizes of the waves stand here a second time.

use tidegate::model::{Lane, Position, Record, RevertReason, Rollout};

use super::agent::{Agent, View};
use super::cluster::{Cluster, PODS, RELEASES, Spec};
use super::manifests::name;
use super::search::State;

/// Pods that each wave wants.
const WAVES: [u8; 3] = [1, 2, PODS];

/// The bit of a Release's attempt among those that failed.
pub(super) fn bit(release: u8, attempt: u32) -> u8 {
    1 << (u32::from(release) * 2 + attempt.min(1))
}

fn stable(record: &Record, agent: &Agent) -> u8 {
    agent.release_of(record.stable.as_ref().expect("the app starts with a Stable").digest)
}

/// Gates that are durably passed, from the first on without a gap.
fn passed(rollout: &Rollout) -> usize {
    rollout.waves.iter().take_while(|wave| wave.passed_at.is_some()).count()
}

fn sizes(rollout: &Rollout) -> &'static [u8] {
    match rollout.lane {
        Lane::Waves => &WAVES,
        Lane::Express => &WAVES[2..],
        Lane::FirstSync | Lane::Direct => &[],
    }
}

/// Pods of the Target that the durable record allows: none before an intent, then those of the wave after the highest
/// passed gate.
fn allowed(rollout: &Rollout) -> u8 {
    if rollout.waves.is_empty() {
        return 0;
    }
    let sizes = sizes(rollout);
    sizes.get(passed(rollout)).or(sizes.last()).copied().unwrap_or(0)
}

/// S1, in every state: no template but Stable's and the Target's has pods, and the Target's has no more than allowed.
pub(super) fn contained(view: &View, agent: &Agent) -> Result<(), String> {
    let record = agent.record(view.record);
    let stable = stable(record, agent);
    for release in (0..3).filter(|release| *release != stable) {
        let target = record.rollout.as_ref().filter(|rollout| agent.release_of(rollout.target.digest) == release);
        let allowed = target.map_or(0, allowed);
        let pods = view.cluster.sets[usize::from(release)].exposure();
        if pods > allowed {
            return Err(format!("S1: {pods} pods of {} where the durable record allows {allowed}", name(release)));
        }
    }
    Ok(())
}

/// S4 and intent before effect, at every apply: a template that is not Stable's goes out only as the Target of a durable
/// wave.
pub(super) fn may_apply(spec: Spec, record: &Record, agent: &Agent) -> Result<(), String> {
    if spec.template == stable(record, agent) {
        return Ok(());
    }
    let template = name(spec.template);
    let Some(rollout) = &record.rollout else {
        return Err(format!("S10: {template} is applied without a durable rollout"));
    };
    if agent.release_of(rollout.target.digest) != spec.template {
        return Err(format!("S1: {template} is applied, which is neither Stable nor Target"));
    }
    match rollout.position {
        Position::Wave { .. } => Ok(()),
        Position::Reverting { .. } => Err(format!("S4: {template} is applied after going back was decided")),
        Position::Preparing | Position::Trailing | Position::Held { .. } => {
            Err(format!("S10: {template} is applied before its wave is durable"))
        }
    }
}

/// S3, S4 and S5, at every write of the record. Returns the attempts that have failed so far.
pub(super) fn may_save(state: &State, after: &Record, agent: &Agent) -> Result<u8, String> {
    let before = agent.record(state.view.record);
    let mut failed = state.failed;
    if before.answered != after.answered && after.answered.as_ref().is_some_and(|(asked, _)| asked.text == "retry") {
        let declared = state.view.declared.release;
        failed &= !(bit(declared, 0) | bit(declared, 1));
    }
    match (&before.rollout, &after.rollout) {
        (None, None) => {}
        (None, Some(started)) => starts(before, started, failed, agent)?,
        (Some(ended), None) => ends(ended, before, after, state, agent)?,
        (Some(old), Some(new)) => goes_on(old, new, state, agent)?,
    }
    let is_unchanged =
        before.stable.as_ref().map(|stable| stable.digest) == after.stable.as_ref().map(|stable| stable.digest);
    if !is_unchanged && (before.rollout.is_none() || after.rollout.is_some()) {
        return Err("Stable changed without the end of a rollout".to_owned());
    }
    if let Some(Rollout { position: Position::Reverting { reason, .. }, target, .. }) = &after.rollout {
        let has_failed = match reason {
            RevertReason::GateShut { .. } | RevertReason::Deadline { .. } | RevertReason::Requested { .. } => true,
            RevertReason::RevertedInGit | RevertReason::Superseded { .. } => false,
        };
        if has_failed {
            failed |= bit(agent.release_of(target.digest), target.attempt);
        }
    }
    Ok(failed)
}

/// A new rollout: the next number, from the start, and of nothing that failed.
fn starts(before: &Record, rollout: &Rollout, failed: u8, agent: &Agent) -> Result<(), String> {
    let release = agent.release_of(rollout.target.digest);
    if failed & bit(release, rollout.target.attempt) != 0 {
        let attempt = rollout.target.attempt;
        return Err(format!("S5: {} (attempt {attempt}) failed and is started again by itself", name(release)));
    }
    let is_fresh = rollout.position == Position::Preparing && rollout.waves.is_empty();
    if !is_fresh || rollout.id != before.rollouts + 1 {
        return Err(format!("S3: a rollout starts at {:?} with number {}", rollout.position, rollout.id));
    }
    Ok(())
}

/// Where a rollout under way may go: forward by one, and only past a gate that is open; or back, for good.
fn goes_on(old: &Rollout, new: &Rollout, state: &State, agent: &Agent) -> Result<(), String> {
    if old.id != new.id || old.target != new.target {
        return Err("S3: another rollout takes the place of one that has not ended".to_owned());
    }
    let (before, after) = (passed(old), passed(new));
    if after < before {
        return Err(format!("S3: the gate of wave {before} was passed and is no longer"));
    }
    if after > before + 1 {
        return Err(format!("S3: the gates of waves {} to {after} pass at once", before + 1));
    }
    if after == before + 1 {
        gate_holds(new, before, state, agent)?;
    }
    match (&old.position, &new.position) {
        (Position::Reverting { .. }, Position::Reverting { .. }) => Ok(()),
        (Position::Reverting { .. }, position) => Err(format!("S4: from going back to {position:?}")),
        (_, Position::Reverting { .. }) => Ok(()),
        (Position::Preparing, Position::Preparing | Position::Wave { index: 0 }) => Ok(()),
        (Position::Wave { index }, Position::Wave { index: next }) if *next == *index && after <= *index => Ok(()),
        (Position::Wave { index }, Position::Wave { index: next }) if *next == *index + 1 && after == *next => Ok(()),
        (from, to) => Err(format!("S3: from {from:?} to {to:?} with {after} gates passed")),
    }
}

/// What must be seen when the gate of wave `index` passes: its pods, all Ready, none in a crash loop, and a sample that
/// passed where the wave is gated by one.
fn gate_holds(rollout: &Rollout, index: usize, state: &State, agent: &Agent) -> Result<(), String> {
    let set = state.view.cluster.sets[usize::from(agent.release_of(rollout.target.digest))];
    let wanted = sizes(rollout).get(index).copied().unwrap_or(PODS);
    if set.ready < wanted || set.ready < set.pods {
        return Err(format!("gate of wave {} passes with {} of {wanted} pods Ready", index + 1, set.ready));
    }
    let last = state.view.memory.samples.iter().flatten().last();
    if rollout.lane == Lane::Waves && last.is_none_or(|sample| !sample.has_passed) {
        return Err(format!("gate of wave {} passes without a sample that does", index + 1));
    }
    Ok(())
}

/// The end of a rollout: completed with every gate passed and every pod on it, or back at Stable with every pod.
fn ends(rollout: &Rollout, before: &Record, after: &Record, state: &State, agent: &Agent) -> Result<(), String> {
    let target = agent.release_of(rollout.target.digest);
    let spec = agent.body(state.view.deployment).spec;
    if stable(after, agent) == target {
        let is_last = rollout.position == Position::Wave { index: sizes(rollout).len() - 1 };
        if !is_last || passed(rollout) + 1 < sizes(rollout).len() {
            return Err(format!("S3: {} completes at {:?}", name(target), rollout.position));
        }
        gate_holds(rollout, sizes(rollout).len() - 1, state, agent)?;
        return runs_alone(state.view.cluster, spec, target).map_err(|what| format!("completed, but {what}"));
    }
    if stable(after, agent) != stable(before, agent) {
        return Err("S4: a revert ends with another Stable".to_owned());
    }
    if !matches!(rollout.position, Position::Reverting { .. }) {
        return Err(format!("S4: a rollout ends at {:?}", rollout.position));
    }
    runs_alone(state.view.cluster, spec, stable(before, agent)).map_err(|what| format!("S4: went back, but {what}"))
}

/// Whether `release` has all pods and nothing else has any.
fn runs_alone(cluster: Cluster, spec: Spec, release: u8) -> Result<(), String> {
    for index in 0..RELEASES {
        let set = cluster.sets[index];
        let wanted = if index == usize::from(release) { PODS } else { 0 };
        if set.wanted != wanted || (wanted == 0 && set.pods > 0) {
            return Err(format!("{wanted} pods are wanted where there are {set:?}"));
        }
    }
    if spec.template != release || spec.is_held {
        return Err(format!("the Deployment is {spec:?}"));
    }
    Ok(())
}

/// An end: nothing is under way, the Deployment is as declared for Stable, all its pods are available, and Stable is what
/// Git asks for unless that failed.
pub(super) fn is_end(state: &State, pass: &super::agent::Pass, agent: &Agent) -> Result<(), String> {
    let View { record, deployment, cluster, declared, .. } = state.view;
    let record = agent.record(record);
    if record.rollout.is_some() || state.pending.is_some() {
        return Err("a rollout stands still".to_owned());
    }
    let stable = stable(record, agent);
    let spec = agent.body(deployment).spec;
    runs_alone(cluster, spec, stable)?;
    if spec.is_patient || (spec.surge, spec.unavailable) != (1, 0) {
        return Err(format!("the declared strategy is not restored: {spec:?}"));
    }
    if cluster.sets[usize::from(stable)].available < PODS {
        return Err("Stable's pods are not available".to_owned());
    }
    let has_failed = state.failed & bit(declared.release, u32::from(declared.attempt)) != 0;
    match declared.release == stable {
        true if pass.is_synced && pass.phase == tidegate::status::Phase::Idle => Ok(()),
        false if has_failed && pass.phase == tidegate::status::Phase::Held => Ok(()),
        _ => Err(format!(
            "Git asks for {}, Stable is {}, and the agent says {:?}: {}",
            name(declared.release),
            name(stable),
            pass.phase,
            pass.blocking.as_deref().unwrap_or("nothing")
        )),
    }
}
