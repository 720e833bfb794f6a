//! A rollout under way: the wave, its gates, the way on and the way back.

use std::collections::BTreeMap;

use super::progress::{is_judged, is_lagging, is_scaled_to_zero, pods_on_target, reached, unhealthy};
use super::{Draft, gates, hooks, preparing, reconciling, transitions};
use crate::model::{
    Declared, GateRecord, Lane, Millis, Moment, ObjectKey, OnFailure, PastOutcome, Position, ReleaseRef, RevertReason,
    RollbackPolicy, Rollout, Timestamp, Verdict, WaveRecord,
};
use crate::mutants::{Mutant, is_planted};
use crate::observe::{PROGRESS_DEADLINE_SECONDS_HOLD, ownership};
use crate::status::Phase;

/// A wave that is not Ready after this long counts as failing: a newer commit then need not wait for its end.
const FAILING_AFTER: Millis = Millis::from_seconds(10);
/// While a rollout is under way the cluster is looked at at least this often, whatever watches say.
const LOOK_AGAIN: Millis = Millis::from_seconds(5);

/// Decides for an app with a rollout.
pub(super) fn advance(draft: &mut Draft<'_>) {
    let Some(rollout) = draft.record.rollout.clone() else { return };
    draft.phase = Phase::Progressing;
    draft.wake(LOOK_AGAIN.after(draft.s.now));
    reconciling::report_refusals(draft, draft.s.changes);
    super::idle::remark_untried(draft, rollout.target.digest);
    let needs_target = !matches!(rollout.position, Position::Reverting { pods_are_back: true, .. });
    if draft.s.target.is_none() && needs_target {
        if rollout.lane == Lane::FirstSync && newer(draft, &rollout).is_some() {
            // A first sync has nothing to go back to, and is kept only once it is over: the newer commit goes on.
            let reason = "its Release was lost in a restart before it was kept, and a newer commit is there".to_owned();
            return transitions::end(draft, PastOutcome::Held, reason);
        }
        return without_release(draft, &format!("of version {}", rollout.target.version));
    }
    if draft.s.stable.is_none() && rollout.lane != Lane::FirstSync {
        // Without Stable nothing can be staged: neither what stays nor what is gone back to is known.
        let version = draft.record.stable.as_ref().map_or("", |stable| stable.version.as_str());
        return without_release(draft, &format!("of Stable, version {version},"));
    }
    if hooks::tidy(draft, &rollout) {
        return;
    }
    match &rollout.position {
        Position::Reverting { reason, since, pods_are_back } => {
            transitions::go_back(draft, &rollout, reason, *since, *pods_are_back);
        }
        Position::Held { reason, since } => held(draft, &rollout, reason, *since),
        Position::Preparing | Position::Wave { .. } | Position::Trailing => {
            if let Some(reason) = called_back(draft, &rollout) {
                return turn_back(draft, reason);
            }
            match rollout.position {
                Position::Preparing => preparing::prepare(draft, &rollout),
                Position::Wave { index } => wave(draft, &rollout, index),
                Position::Trailing => trail(draft, &rollout),
                Position::Reverting { .. } | Position::Held { .. } => unreachable!("matched above"),
            }
        }
    }
}

/// A Release that cannot be read says nothing of how its pods do: that time does not count.
fn without_release(draft: &mut Draft<'_>, which: &str) {
    draft.is_waiting = true;
    draft.blocked(format!("the kept Release {which} cannot be read; the cluster is left as it is"));
}

/// What Git asks for now, when it is known and not held.
fn wanted<'a>(draft: &Draft<'a>) -> Option<&'a ReleaseRef> {
    match draft.s.declared {
        Declared::Ready { target, .. } => {
            Some(target).filter(|target| draft.record.quarantined(target.digest, target.attempt).is_none())
        }
        Declared::Broken { .. } | Declared::Removed { .. } => None,
    }
}

/// The version that Git asks for instead of the Target, when it does.
fn newer(draft: &Draft<'_>, rollout: &Rollout) -> Option<String> {
    let wanted = wanted(draft).filter(|wanted| wanted.digest != rollout.target.digest)?;
    Some(wanted.version.clone())
}

/// Why the rollout must turn back at once, whatever its wave looks like.
fn called_back(draft: &Draft<'_>, rollout: &Rollout) -> Option<RevertReason> {
    if rollout.lane == Lane::FirstSync {
        return None;
    }
    if matches!(draft.s.declared, Declared::Removed { .. }) {
        return Some(RevertReason::RevertedInGit);
    }
    let stable = draft.record.stable.as_ref()?;
    if wanted(draft).is_some_and(|wanted| wanted.digest == stable.digest && wanted.digest != rollout.target.digest) {
        return Some(RevertReason::RevertedInGit);
    }
    is_undone(draft, rollout).then(|| RevertReason::Requested { by: "kubectl rollout undo".to_owned() })
}

/// Whether somebody put Stable's template back (`kubectl rollout undo`): the ReplicaSet that the controller takes for
/// the new one is Stable's, while the hold values that only ever come with Target's template stand.
fn is_undone(draft: &Draft<'_>, rollout: &Rollout) -> bool {
    let Position::Wave { index } = rollout.position else { return false };
    let is_last = index + 1 == rollout.lane_waves().len();
    let ready_at = rollout.waves.get(index).filter(|_| is_last).and_then(|wave| wave.ready_at);
    rollout.stable_hashes.iter().any(|(key, hash)| {
        let Some(workload) = draft.s.live.workloads.get(key) else { return false };
        let is_patient = workload.object.int("/spec/progressDeadlineSeconds") == Some(PROGRESS_DEADLINE_SECONDS_HOLD);
        let is_stable = workload.current().is_some_and(|current| current.hash == *hash);
        // One that somebody deleted since is made anew as Stable, by us: nobody else has a part in its template. (The server
        // says when it was made, and our clock may be another.)
        let created = workload.object.text("/metadata/creationTimestamp").and_then(|at| at.parse::<Timestamp>().ok());
        let was_ready =
            ready_at.is_some_and(|ready| created.is_none_or(|created| created.as_second() < ready.as_second()));
        let is_by_others = || ownership::is_template_shared(&workload.object);
        workload.n() > 0 && is_stable && (is_patient || was_ready && is_by_others())
    })
}

/// A wave that starts now.
pub(super) fn wave_record(name: &str, now: Timestamp) -> WaveRecord {
    WaveRecord {
        name: name.to_owned(),
        started_at: now,
        ready_at: None,
        passed_at: None,
        gates: Vec::new(),
        pods: BTreeMap::new(),
    }
}

/// Writes the intent of wave `index`.
pub(super) fn enter_wave(draft: &mut Draft<'_>, index: usize, hashes: Option<BTreeMap<ObjectKey, String>>) {
    let now = draft.s.now;
    let Some(rollout) = &mut draft.record.rollout else { return };
    let names: Vec<String> = rollout.lane_waves().iter().map(|wave| wave.name.clone()).collect();
    // Waves that collapsed are recorded as passed, so that a wave's record is found by its index.
    while rollout.waves.len() < index {
        let skipped = WaveRecord { passed_at: Some(now), ..wave_record(&names[rollout.waves.len()], now) };
        rollout.waves.push(skipped);
    }
    rollout.waves.truncate(index);
    rollout.waves.push(wave_record(&names[index], now));
    rollout.position = Position::Wave { index };
    if let Some(hashes) = hashes {
        rollout.stable_hashes = hashes;
    }
    draft.has_moved = true;
}

fn wave(draft: &mut Draft<'_>, rollout: &Rollout, index: usize) {
    let waves = rollout.lane_waves();
    let (Some(wave), Some(record)) = (waves.get(index), rollout.waves.get(index)) else {
        return draft.blocked("the recorded wave is not in the recorded plan; run `tidegate abort`".to_owned());
    };
    let is_first = rollout.lane == Lane::FirstSync;
    if is_first && !hooks::pass(draft, rollout, Moment::Pre) {
        return;
    }
    let sick = draft.s.live.workloads.values().filter(|workload| is_judged(workload, rollout));
    if let Some(message) = sick.into_iter().find_map(|workload| gates::sickness(workload, rollout.plan.restarts_max)) {
        return shut(draft, rollout, "health", message);
    }
    if let Some(key) = reconciling::paused_by_user(draft) {
        let fact = format!("{key} is paused by `kubectl rollout pause`: resume it to go on");
        return stand_still(draft, index, record, fact);
    }
    if index + 1 < waves.len() && is_scaled_to_zero(draft, rollout) {
        let fact = "it was scaled to 0: Stable stands, and the wave starts again with the first pod".to_owned();
        reconciling::reconcile(draft);
        return stand_still(draft, index, record, fact);
    }
    if !draft.s.changes.is_empty() {
        reconciling::report_contention(draft);
        draft.blocked_since(format!("wave {} is being applied", wave.name), record.started_at);
        reconciling::reconcile(draft);
        // Drift that is corrected during a long bake is no reason to turn back.
        if record.ready_at.is_none() {
            check_deadline(draft, rollout, record.started_at, &wave.name, "it could not be applied");
        }
        return;
    }
    if is_first && !hooks::pass(draft, rollout, Moment::Sync) {
        return;
    }
    let (is_reached, missing) = reached(draft, rollout, index);
    let is_failing = !is_reached && FAILING_AFTER.has_passed(record.started_at, draft.s.now);
    if let Some(by) = newer(draft, rollout).filter(|_| is_failing && index + 1 < waves.len()) {
        return turn_back(draft, RevertReason::Superseded { by });
    }
    if !is_reached {
        if newer(draft, rollout).is_some() {
            draft.wake(FAILING_AFTER.after(record.started_at));
        }
        draft.blocked_since(format!("wave {}: {missing}", wave.name), record.started_at);
        if record.ready_at.is_some() && is_lagging(draft, rollout) {
            // The controller has yet to see our own last write: that is no loss of readiness.
            return;
        }
        if record.ready_at.is_some() {
            // Gates judge pods that are Ready throughout: a pod that died, or a node that was drained, starts them again,
            // with the whole time to become Ready.
            return restart_wave(draft, index, &record.name);
        }
        return check_deadline(draft, rollout, record.started_at, &wave.name, &missing);
    }
    let has_gates = wave.bake > Millis(0) || !wave.analysis.is_empty();
    let needs_ready = has_gates || rollout.lane != Lane::FirstSync;
    match record.ready_at {
        None if needs_ready => {
            let pods = pods_on_target(draft, rollout);
            let now = draft.s.now;
            edit_wave(draft, index, |record| {
                record.ready_at = Some(now);
                record.pods = pods;
            });
        }
        ready_at => judge(draft, rollout, index, ready_at.unwrap_or(draft.s.now)),
    }
}

/// Somebody keeps the wave from going on, and may. That time does not count, and its gates start again afterwards.
fn stand_still(draft: &mut Draft<'_>, index: usize, record: &WaveRecord, fact: String) {
    draft.phase = Phase::Waiting;
    draft.is_waiting = true;
    draft.blocked_since(fact, record.started_at);
    if record.ready_at.is_some() {
        restart_wave(draft, index, &record.name);
    }
}

fn restart_wave(draft: &mut Draft<'_>, index: usize, name: &str) {
    let fresh = wave_record(name, draft.s.now);
    edit_wave(draft, index, |record| *record = fresh);
}

fn judge(draft: &mut Draft<'_>, rollout: &Rollout, index: usize, ready_at: Timestamp) {
    let wave = &rollout.lane_waves()[index];
    let variables =
        draft.application().map(|application| gates::variables(application, rollout, draft.s.live)).unwrap_or_default();
    let judged = gates::judge(wave, rollout, &draft.s.history.samples, &variables, ready_at, draft.s.now);
    if let Some((gate, message)) = judged.shut {
        edit_wave(draft, index, |record| record.gates = judged.decided);
        return shut(draft, rollout, &gate, message);
    }
    if !judged.are_open {
        draft.phase = if judged.is_measuring { Phase::Measuring } else { Phase::Baking };
        draft.blocked_since(format!("wave {}: {}", wave.name, judged.waits_for), ready_at);
        draft.actions.extend(judged.actions);
        if let Some(at) = judged.wake_at {
            draft.wake(at);
        }
        return;
    }
    let is_end = index + 1 >= rollout.lane_waves().len() && !trails(draft, rollout);
    if !is_end || hooks::pass(draft, rollout, Moment::Post) {
        pass(draft, rollout, index, judged.decided);
    }
}

/// All gates of wave `index` are open.
fn pass(draft: &mut Draft<'_>, rollout: &Rollout, index: usize, decided: Vec<GateRecord>) {
    let now = draft.s.now;
    edit_wave(draft, index, |record| {
        let reason = "pods are ready, without crash loops".to_owned();
        let health = GateRecord {
            gate: "health".to_owned(),
            verdict: Verdict::Pass,
            reason,
            decided_at: now,
            measurements: Vec::new(),
        };
        record.gates = std::iter::once(health).chain(decided).collect();
        record.passed_at = Some(now);
    });
    let is_last = index + 1 >= rollout.lane_waves().len();
    match newer(draft, rollout) {
        Some(_) if !is_last && is_planted(Mutant::ThirdSet) => supersede_in_place(draft),
        Some(by) if !is_last => turn_back(draft, RevertReason::Superseded { by }),
        _ if !is_last => enter_wave(draft, index + 1, None),
        _ if trails(draft, rollout) => {
            if let Some(rollout) = &mut draft.record.rollout {
                rollout.position = Position::Trailing;
            }
        }
        _ => transitions::complete(draft),
    }
}

/// A planted bug: the newer version starts where the older one stands.
fn supersede_in_place(draft: &mut Draft<'_>) {
    let (Declared::Ready { application, target }, Some(stable), Some(next)) =
        (draft.s.declared, draft.s.stable, draft.s.next)
    else {
        return;
    };
    transitions::end(draft, PastOutcome::Withdrawn, String::new());
    super::idle::begin(draft, application, target, stable, next);
}

/// Whether something is left to move after the last wave.
fn trails(draft: &Draft<'_>, rollout: &Rollout) -> bool {
    if rollout.lane == Lane::FirstSync {
        return false;
    }
    let (Some(stable), Some(target)) = (draft.s.stable, draft.s.target) else { return false };
    !crate::stage::trailing(stable, target).is_empty()
}

/// StatefulSets and DaemonSets whose template changes: one gated step.
fn trail(draft: &mut Draft<'_>, rollout: &Rollout) {
    let since = rollout.waves.last().and_then(|wave| wave.passed_at).unwrap_or(rollout.started_at);
    if !draft.s.changes.is_empty() {
        draft.blocked_since("StatefulSets and DaemonSets are being applied".to_owned(), since);
        reconciling::reconcile(draft);
        return check_deadline(draft, rollout, since, "trailing", "they could not be applied");
    }
    let worst = unhealthy(draft);
    match worst {
        None if hooks::pass(draft, rollout, Moment::Post) => transitions::complete(draft),
        None => {}
        Some((key, health)) => {
            let fact = format!("{key}: {}", health.message);
            draft.blocked_since(fact.clone(), since);
            check_deadline(draft, rollout, since, "trailing", &fact);
        }
    }
}

fn edit_wave(draft: &mut Draft<'_>, index: usize, edit: impl FnOnce(&mut WaveRecord)) {
    if let Some(record) = draft.record.rollout.as_mut().and_then(|rollout| rollout.waves.get_mut(index)) {
        edit(record);
        draft.has_moved = true;
    }
}

/// The time limit of what the rollout waits for since `since`, and when it is over.
pub(super) fn time_limit(draft: &Draft<'_>, rollout: &Rollout, since: Timestamp) -> (Millis, Timestamp) {
    let wave = match rollout.position {
        Position::Wave { index } => rollout.lane_waves().get(index),
        Position::Preparing | Position::Trailing | Position::Reverting { .. } | Position::Held { .. } => {
            rollout.lane_waves().last()
        }
    };
    let timeout = wave.map_or(crate::model::plan::WAVE_TIMEOUT_DEFAULT, |wave| wave.timeout);
    let since = draft.s.history.attended_since.map_or(since, |attended| attended.max(since));
    // What hooks took is their own time.
    let since = rollout.hooks.runs.last().map_or(since, |run| run.at.max(since));
    (timeout, timeout.after(since))
}

pub(super) fn check_deadline(draft: &mut Draft<'_>, rollout: &Rollout, since: Timestamp, wave: &str, missing: &str) {
    let (timeout, ends_at) = time_limit(draft, rollout, since);
    if draft.s.now < ends_at {
        return draft.wake(ends_at);
    }
    match rollout.position {
        Position::Wave { index } if is_planted(Mutant::TimeoutPasses) => pass(draft, rollout, index, Vec::new()),
        _ => {
            let message = format!("{missing} within {timeout}");
            fail(draft, rollout, RevertReason::Deadline { wave: wave.to_owned(), message });
        }
    }
}

fn shut(draft: &mut Draft<'_>, rollout: &Rollout, gate: &str, message: String) {
    let wave = rollout.waves.last().map(|wave| wave.name.clone()).unwrap_or_default();
    let index = rollout.waves.len().saturating_sub(1);
    let now = draft.s.now;
    let reason = message.clone();
    edit_wave(draft, index, |record| {
        if !record.gates.iter().any(|known| known.gate == gate) {
            let (gate, verdict) = (gate.to_owned(), Verdict::Fail);
            record.gates.push(GateRecord { gate, verdict, reason, decided_at: now, measurements: Vec::new() });
        }
    });
    fail(draft, rollout, RevertReason::GateShut { wave, gate: gate.to_owned(), message });
}

/// The Target failed: back to Stable, unless there is none or a person is to decide.
pub(super) fn fail(draft: &mut Draft<'_>, rollout: &Rollout, reason: RevertReason) {
    let is_manual = draft.application().is_some_and(|application| application.rollback == RollbackPolicy::Manual);
    let holds = is_manual || rollout.plan.on_failure == OnFailure::Hold || rollout.lane == Lane::FirstSync;
    if !holds {
        return turn_back(draft, reason);
    }
    let now = draft.s.now;
    if let Some(rollout) = &mut draft.record.rollout {
        rollout.position = Position::Held { reason, since: now };
        draft.has_moved = true;
    }
}

/// Writes the intent to go back to Stable.
pub(super) fn turn_back(draft: &mut Draft<'_>, reason: RevertReason) {
    let Some(rollout) = draft.record.rollout.clone() else { return };
    let pods = pods_on_target(draft, &rollout);
    let since = draft.s.now;
    if let Some(rollout) = &mut draft.record.rollout {
        rollout.pods_to_revert = pods;
        rollout.position = Position::Reverting { reason, since, pods_are_back: false };
        draft.has_moved = true;
    }
}

/// A wave is held: by choice, or because there is no Stable to go to.
fn held(draft: &mut Draft<'_>, rollout: &Rollout, reason: &RevertReason, since: Timestamp) {
    draft.phase = Phase::Held;
    let what = if rollout.lane == Lane::FirstSync {
        "the first sync failed and there is nothing to go back to; commit a fix"
    } else {
        "the wave is held for a person to decide: `tidegate abort` or `tidegate retry`"
    };
    draft.blocked_since(format!("{reason}; {what}"), since);
    if let Some(wanted) = wanted(draft).cloned() {
        let is_other = wanted.digest != rollout.target.digest || wanted.attempt > rollout.target.attempt;
        if is_other && rollout.lane == Lane::FirstSync {
            transitions::end(draft, PastOutcome::Held, reason.to_string());
            draft.has_moved = true;
            return;
        }
        if is_other {
            return turn_back(draft, RevertReason::Superseded { by: wanted.version });
        }
    }
    if rollout.lane == Lane::FirstSync && matches!(reason, RevertReason::Deadline { .. }) && is_there(draft, rollout) {
        return resume(draft);
    }
    hooks::are_over(draft, rollout, Moment::OnFail);
    // What a hook was to go before does not go out without it.
    if rollout.hooks.failed(Moment::Pre).is_none() {
        reconciling::reconcile(draft);
    }
}

/// Whether a first sync that ran out of time has got what it waited for after all, from controllers that came late or a
/// quota that was raised: nothing is won by holding it.
fn is_there(draft: &mut Draft<'_>, rollout: &Rollout) -> bool {
    let mut judged = draft.s.live.workloads.values().filter(|workload| is_judged(workload, rollout));
    let is_sick = judged.any(|workload| gates::sickness(workload, rollout.plan.restarts_max).is_some());
    let index = rollout.waves.len().saturating_sub(1);
    !is_sick && !rollout.waves.is_empty() && draft.s.changes.is_empty() && reached(draft, rollout, index).0
}

/// The held wave is tried again: a person asks for it, or it is there already.
pub(super) fn resume(draft: &mut Draft<'_>) {
    let Some(rollout) = &mut draft.record.rollout else { return };
    rollout.hooks.tries += 1;
    rollout.hooks.runs.retain(|run| run.is_success && run.moment <= Moment::Post);
    if rollout.waves.is_empty() {
        rollout.position = Position::Preparing;
        rollout.started_at = draft.s.now;
        draft.has_moved = true;
        return;
    }
    let index = rollout.waves.len() - 1;
    enter_wave(draft, index, None);
}
