//! Before the first wave: what its pods read, and a Stable that stands still.

use std::collections::BTreeMap;

use super::rolling::{check_deadline, enter_wave, time_limit};
use super::{Draft, gates, hooks, reconciling};
use crate::model::{Lane, Moment, Rollout};
use crate::stage::{collapse, moving};

/// Applies what waves need, and begins with the first as soon as nothing else is being rolled out.
pub(super) fn prepare(draft: &mut Draft<'_>, rollout: &Rollout) {
    if !hooks::pass(draft, rollout, Moment::Pre) {
        return;
    }
    if !draft.s.changes.is_empty() {
        draft.blocked_since("what the waves need is being applied first".to_owned(), rollout.started_at);
        check_deadline(draft, rollout, rollout.started_at, "preparing", "objects could not be applied");
        return reconciling::reconcile(draft);
    }
    if !hooks::pass(draft, rollout, Moment::Sync) {
        return;
    }
    let (Some(stable), Some(target)) = (draft.s.stable, draft.s.target) else { return };
    let mut keys = moving(stable, target);
    keys.retain(|key| !draft.s.live.unchanged_templates.contains(key));
    let mut hashes = BTreeMap::new();
    let mut is_collapsed = true;
    for key in &keys {
        let Some(workload) = draft.s.live.workloads.get(key) else { continue };
        if !workload.is_spec_complete() {
            let is_over = time_limit(draft, rollout, rollout.started_at).1 <= draft.s.now;
            if is_over && gates::sickness(workload, rollout.plan.restarts_max).is_some() {
                return without_stable(draft);
            }
            draft.blocked_since(format!("{key} is still rolling out something else"), rollout.started_at);
            return check_deadline(draft, rollout, rollout.started_at, "preparing", "Stable's pods are not complete");
        }
        let at_target = target.objects.get(key).unwrap_or(&workload.object);
        match collapse(workload, rollout.plan.capacity, at_target) {
            Some(reason) => draft.remarks.push(format!("{key}: {}", reason.as_str())),
            None => is_collapsed = false,
        }
        hashes.insert(key.clone(), workload.current().map(|set| set.hash.clone()).unwrap_or_default());
    }
    let last = rollout.lane_waves().len() - 1;
    let index = if is_collapsed { last } else { 0 };
    enter_wave(draft, index, Some(hashes));
}

/// Stable's own pods fail in the midst of being rolled out, so that they are never complete: there is nothing to go back
/// to, and what is declared now may be what mends it.
fn without_stable(draft: &mut Draft<'_>) {
    let Some(rollout) = &mut draft.record.rollout else { return };
    rollout.lane = Lane::FirstSync;
    enter_wave(draft, 0, None);
}
