//! The ends of a rollout, and what people are told when a record changes.

use super::{Draft, hooks, reconciling};
use crate::model::history::{COMPLETED_MAX, PAST_WITH_WAVES_MAX};
use crate::model::{
    Action, AppName, Application, Lane, Moment, Notice, NoticeKind, Past, PastOutcome, Position, Record, ReleaseRef,
    RevertReason, Rollout, Timestamp, Verdict, WaveRecord,
};
use crate::stage::is_hook;
use crate::status::Phase;

/// The Target is the new Stable.
pub(super) fn complete(draft: &mut Draft<'_>) {
    let Some(rollout) = &draft.record.rollout else { return };
    draft.is_lazy = rollout.lane == Lane::FirstSync;
    let target = rollout.target.clone();
    draft.record.completed.retain(|digest| *digest != target.digest);
    draft.record.completed.push(target.digest);
    let excess = draft.record.completed.len().saturating_sub(COMPLETED_MAX);
    draft.record.completed.drain(..excess);
    draft.record.stable = Some(target);
    // What became a hook is no object that stands any more.
    for (key, _) in draft.s.target.iter().flat_map(|target| &target.objects).filter(|(_, object)| is_hook(object)) {
        draft.record.inventory.remove(key);
    }
    end(draft, PastOutcome::Completed, String::new());
}

/// Past rollouts that an app remembers.
fn history_max(application: Option<&Application>) -> usize {
    application.map_or(10, |application| application.history_max as usize)
}

/// Remembers that a Release failed.
pub(super) fn quarantine(draft: &mut Draft<'_>, release: &ReleaseRef, reason: String) {
    let entry = crate::model::Quarantined {
        digest: release.digest,
        attempt: release.attempt,
        version: release.version.clone(),
        reason,
        at: draft.s.now,
    };
    let quarantine = &mut draft.record.quarantine;
    quarantine.retain(|held| held.digest != entry.digest);
    quarantine.push(entry);
    let excess = quarantine.len().saturating_sub(crate::model::history::QUARANTINE_MAX);
    quarantine.drain(..excess);
}

/// Closes the rollout and files it.
pub(super) fn end(draft: &mut Draft<'_>, outcome: PastOutcome, reason: String) {
    let ended_at = draft.s.now;
    let keep = history_max(draft.application());
    let Some(rollout) = draft.record.rollout.take() else { return };
    let (release, started_at) = (rollout.target, rollout.started_at);
    let past = &mut draft.record.past;
    past.push(Past {
        id: rollout.id,
        release,
        lane: rollout.lane,
        started_at,
        ended_at,
        outcome,
        reason,
        waves: rollout.waves,
        hooks: rollout.hooks.runs,
    });
    let excess = past.len().saturating_sub(keep);
    past.drain(..excess);
    let with_waves = past.len().saturating_sub(PAST_WITH_WAVES_MAX);
    for past in past.iter_mut().take(with_waves) {
        past.waves.clear();
        past.hooks.clear();
    }
    draft.has_moved = true;
}

/// One step of the way back to Stable. It waits for nothing but the pods.
pub(super) fn go_back(
    draft: &mut Draft<'_>,
    rollout: &Rollout,
    reason: &RevertReason,
    since: Timestamp,
    pods_are_back: bool,
) {
    draft.phase = Phase::Reverting;
    draft.blocked_since(format!("going back to Stable: {reason}"), since);
    if rollout.plan.revert_timeout.has_passed(since, draft.s.now) {
        let limit = rollout.plan.revert_timeout;
        draft.facts.insert(0, (format!("the way back to Stable takes longer than {limit}: {reason}"), since));
    }
    // Beside the way back, which waits for nothing but the pods.
    let runs_hooks = !hooks::are_over(draft, rollout, Moment::OnFail);
    if draft.has_moved {
        return;
    }
    if !draft.s.changes.apply.is_empty()
        || !draft.s.changes.remove_fields.is_empty()
        || !draft.s.changes.yields.is_empty()
    {
        return reconciling::reconcile(draft);
    }
    if !pods_are_back {
        // That the template is Stable's is told by there being no changes. Its hash may be another than at the start: the
        // controller counts collisions when a Deployment is deleted and made again.
        let is_back = rollout.stable_hashes.keys().all(|key| match draft.s.live.workloads.get(key) {
            Some(workload) => workload.is_spec_complete(),
            None => !draft.s.stage.objects.contains_key(key),
        });
        // Where Stable's own pods fail, the controller keeps what works of the other version for good. No newer commit may
        // be kept waiting by that: Stable is declared again, and at rest its health says the rest.
        let attended = draft.s.history.attended_since.map_or(since, |attended| attended.max(since));
        if !is_back && !rollout.plan.revert_timeout.has_passed(attended, draft.s.now) {
            return;
        }
        set_pods_back(draft);
        return;
    }
    draft.actions.extend(super::removal::next(&draft.s.changes.delete.iter().collect::<Vec<_>>()));
    if draft.s.changes.delete.is_empty() && !runs_hooks && hooks::are_over(draft, rollout, Moment::OnRollback) {
        finish_revert(draft, rollout, reason);
    }
}

fn set_pods_back(draft: &mut Draft<'_>) {
    if let Some(Rollout { position: Position::Reverting { pods_are_back, .. }, .. }) = &mut draft.record.rollout {
        *pods_are_back = true;
        draft.has_moved = true;
    }
}

fn finish_revert(draft: &mut Draft<'_>, rollout: &Rollout, reason: &RevertReason) {
    for key in &rollout.added {
        draft.record.inventory.remove(key);
    }
    draft.record.pods_reverted += rollout.pods_to_revert.values().map(|pods| u64::from(*pods)).sum::<u64>();
    draft.record.last_revert_at = Some(draft.s.now);
    let outcome = if reason.quarantines() {
        quarantine(draft, &rollout.target, reason.to_string());
        PastOutcome::Reverted
    } else {
        PastOutcome::Withdrawn
    };
    end(draft, outcome, reason.to_string());
}

/// What people are told when an app's record changes from `old` to `new`. A first sync that goes well is not news: it has
/// neither waves nor anything to go back to, and three Events for each of thousands of apps would cost more than their state.
#[must_use]
pub fn notices(app: &AppName, old: Option<&Record>, new: &Record) -> Vec<Notice> {
    let mut told = Vec::new();
    let mut tell = |kind, reason, message| told.push(Notice { app: app.clone(), kind, reason, message });
    let before = old.and_then(|record| record.rollout.as_ref());
    let ended = new.past.last().filter(|past| old.and_then(|old| old.past.last()).map(|past| past.id) != Some(past.id));
    let now = new.rollout.as_ref();
    let same = before.filter(|before| now.map(|now| now.id).or(ended.map(|past| past.id)) == Some(before.id));
    if let Some(now) = now.filter(|now| same.is_none() && now.lane != Lane::FirstSync) {
        tell(NoticeKind::Normal, "RolloutStarted", format!("version {} by lane {:?}", now.target.version, now.lane));
    }
    let known = same.map_or(&[][..], |same| &same.waves);
    match (now, ended) {
        (Some(now), _) if now.lane == Lane::FirstSync => {}
        (Some(now), _) => tell_waves(&mut tell, &now.target.version, &now.waves, known),
        (None, Some(past)) if past.lane == Lane::FirstSync => {}
        (None, Some(past)) => tell_waves(&mut tell, &past.release.version, &past.waves, known),
        (None, None) => {}
    }
    match (now.map(|now| &now.position), same.map(|same| &same.position)) {
        (Some(Position::Reverting { reason, .. }), before) if !matches!(before, Some(Position::Reverting { .. })) => {
            tell(NoticeKind::Warning, "Reverting", reason.to_string());
        }
        (Some(Position::Held { reason, .. }), before) if !matches!(before, Some(Position::Held { .. })) => {
            tell(NoticeKind::Warning, "Held", reason.to_string());
        }
        _ => {}
    }
    let runs = now.map_or(&[][..], |now| &now.hooks.runs);
    let known = same.map_or(&[][..], |same| &same.hooks.runs);
    for run in runs.iter().filter(|run| !known.contains(run)) {
        let (kind, reason) = match run.is_success {
            true => (NoticeKind::Normal, "HookSucceeded"),
            false => (NoticeKind::Warning, "HookFailed"),
        };
        tell(kind, reason, format!("{} hook {} {}", run.moment.as_str(), run.key, run.message).trim_end().to_owned());
    }
    if let Some(past) = ended {
        tell_end(&mut tell, past);
    }
    told
}

type Tell<'a> = dyn FnMut(NoticeKind, &'static str, String) + 'a;

fn tell_waves(tell: &mut Tell<'_>, version: &str, waves: &[WaveRecord], known: &[WaveRecord]) {
    for (index, wave) in waves.iter().enumerate() {
        let known = known.get(index);
        if known.is_none() {
            tell(NoticeKind::Normal, "WaveStarted", format!("wave {} of version {version}", wave.name));
        }
        if wave.ready_at.is_some() && known.is_none_or(|known| known.ready_at.is_none()) {
            tell(NoticeKind::Normal, "WaveReady", format!("wave {} of version {version}", wave.name));
        }
        for gate in wave.gates.iter().filter(|gate| !known.is_some_and(|known| known.gates.contains(gate))) {
            let (kind, reason) = match gate.verdict {
                Verdict::Pass => (NoticeKind::Normal, "GateOpened"),
                Verdict::Fail | Verdict::NoData | Verdict::Error | Verdict::Inconclusive => {
                    (NoticeKind::Warning, "GateShut")
                }
            };
            tell(kind, reason, format!("gate {} of wave {}: {}", gate.gate, wave.name, gate.reason));
        }
    }
}

fn tell_end(tell: &mut Tell<'_>, past: &Past) {
    let Past { release, lane, outcome, reason, .. } = past;
    let version = &release.version;
    match outcome {
        PastOutcome::Completed if *lane == Lane::FirstSync => {}
        PastOutcome::Completed => {
            tell(NoticeKind::Normal, "RolloutCompleted", format!("version {version} is the new Stable"));
        }
        PastOutcome::Reverted => {
            tell(NoticeKind::Warning, "Reverted", format!("version {version} was reverted and is held: {reason}"));
        }
        PastOutcome::Withdrawn => {
            tell(NoticeKind::Normal, "Withdrawn", format!("version {version} was taken back: {reason}"));
        }
        PastOutcome::Held => {
            tell(
                NoticeKind::Warning,
                "FirstSyncEnded",
                format!("version {version} is given up for a newer commit: {reason}"),
            );
        }
    }
}

/// Kept Releases that nothing refers to any more: older than the past that is remembered.
pub(super) fn droppable(draft: &Draft<'_>) -> Vec<Action> {
    let record = &draft.record;
    let needed = |digest: &crate::model::Digest| {
        record.stable.as_ref().is_some_and(|stable| stable.digest == *digest)
            || record.rollout.as_ref().is_some_and(|rollout| rollout.target.digest == *digest)
            || record.past.iter().any(|past| past.release.digest == *digest)
            || draft.s.declared.digest() == Some(*digest)
    };
    draft.s.history.kept.iter().filter(|digest| !needed(digest)).map(|digest| Action::DropRelease(*digest)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use crate::model::{Digest, Hooks, Lane, Position, ReleaseRef, Revision, Rollout, Timestamp, WavePlan};

    /// A rollout at its first wave under `plan`.
    pub(in crate::decide) fn rollout(plan: WavePlan) -> Rollout {
        Rollout {
            id: 1,
            target: ReleaseRef {
                digest: Digest([1; 32]),
                attempt: 0,
                version: "1".to_owned(),
                revision: Revision { branch: "main".to_owned(), commit: "0".repeat(40), signer: None },
            },
            lane: Lane::Waves,
            plan,
            started_at: Timestamp::UNIX_EPOCH,
            position: Position::Wave { index: 0 },
            waves: Vec::new(),
            stable_hashes: BTreeMap::new(),
            added: BTreeSet::new(),
            pods_to_revert: BTreeMap::new(),
            hooks: Hooks::default(),
        }
    }
}
