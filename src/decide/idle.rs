//! No rollout under way: keep Stable, or start one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Draft, plan, reconciling, removal, rolling, transitions};
use crate::diff::{Cause, Changes};
use crate::model::{
    Action, Application, Capacity, Declared, DependencyCondition, Digest, Hooks, Lane, Millis, Object, ObjectKey,
    Position, Release, ReleaseRef, Rollout, Timestamp, WavePlan, WaveRecord,
};
use crate::observe::Rehearsal;
use crate::stage::{is_deployment, is_hook, moving, trailing, waits_for_batches};
use crate::status::Phase;

/// What could not be read is read again after this.
const LOOK_AGAIN: Millis = Millis::from_seconds(5);
/// A Release that the server would refuse is tried again after this: somebody may have raised a quota.
const TRY_REFUSED_AGAIN: Millis = Millis::from_seconds(15);
/// One that the server could not answer for is tried again after this.
const TRY_AGAIN: Millis = Millis::from_seconds(2);
/// How long a new Stable may stand before its Release is kept without a rollout asking for it. A burst of first syncs
/// is over by then.
const KEEP_AFTER: Millis = Millis::from_seconds(20);

/// Decides for an app without a rollout.
pub(super) fn settle(draft: &mut Draft<'_>) {
    match draft.s.declared {
        Declared::Broken { reason, .. } => {
            draft.phase = Phase::SourceFailed;
            draft.blocked(reason.clone());
            // An app that never worked is shown all the same.
            draft.has_moved |= draft.s.history.record.is_none();
            keep_stable(draft);
        }
        Declared::Removed { deletion, .. } => removal::leave(draft, *deletion),
        Declared::Ready { application, target } => settle_declared(draft, application, target),
    }
}

fn settle_declared(draft: &mut Draft<'_>, application: &Application, target: &ReleaseRef) {
    let stable = draft.record.stable.as_ref().map(|stable| stable.digest);
    if stable == Some(target.digest) {
        keep_stable(draft);
        if !draft.has_moved {
            removal::prune(draft, application);
            keep_release_when_quiet(draft);
            draft.actions.extend(transitions::droppable(draft));
        }
        return;
    }
    if let Some(held) = draft.record.quarantined(target.digest, target.attempt) {
        let fact = format!(
            "version {} failed and is held: {}; commit a fix, raise spec.attempt, or run `tidegate retry {}`",
            held.version, held.reason, application.name
        );
        let since = held.at;
        draft.phase = Phase::Held;
        draft.blocked_since(fact, since);
        return keep_stable(draft);
    }
    if !application.sync.is_automated && !is_sync_asked(draft) {
        draft.phase = Phase::Waiting;
        let plan = draft.s.next.map(|next| plan::tell(application, draft.s.stable, next));
        draft.blocked(format!(
            "sync is manual: {}; to go on, run `kubectl annotate tgapp {} tidegate.dev/request=sync`",
            plan.unwrap_or_else(|| "what Git declares is being rendered".to_owned()),
            application.name
        ));
        // One that never ran is shown all the same: its resource is where a person asks.
        draft.has_moved |= draft.s.history.record.is_none();
        return keep_stable(draft);
    }
    if let Some(fact) = awaited(draft, application) {
        draft.phase = Phase::Waiting;
        draft.blocked(fact);
        // One that never ran is shown all the same.
        draft.has_moved |= draft.s.history.record.is_none();
        return keep_stable(draft);
    }
    start(draft, application, target);
}

/// The app that a rollout waits for, when it waits for one.
fn awaited(draft: &Draft<'_>, application: &Application) -> Option<String> {
    application.depends_on.iter().find_map(|dependency| {
        let standing = draft.s.neighbours.standings.get(&dependency.app).cloned().unwrap_or_default();
        let (is_met, wanted) = match dependency.condition {
            DependencyCondition::Healthy => (standing.is_healthy, "to be Synced and Healthy as Git declares it"),
            DependencyCondition::Release => (standing.is_released, "to complete what Git declares of it"),
        };
        let why = if standing.why.is_empty() { String::new() } else { format!(": {}", standing.why) };
        (!is_met).then(|| format!("waits for application {} {wanted}{why}", dependency.app))
    })
}

/// Whether a person asked for this very state of Git. The answered request stays in the record until the next one.
fn is_sync_asked(draft: &Draft<'_>) -> bool {
    let asked = draft.record.answered.as_ref().filter(|(request, _)| request.verb == crate::model::RequestVerb::Sync);
    asked.is_some_and(|(_, answer)| draft.s.declared.digest().is_some_and(|digest| answer.contains(&digest.short())))
}

fn start(draft: &mut Draft<'_>, application: &Application, target: &ReleaseRef) {
    let Some(next) = draft.s.next else {
        return draft.blocked("the Release that Git declares is being rendered".to_owned());
    };
    let Some(stable_ref) = draft.record.stable.clone() else {
        return start_first_sync(draft, application, target, next);
    };
    let Some(stable) = draft.s.stable else {
        draft.phase = Phase::SourceFailed;
        // Perhaps it could not be read just now.
        draft.wake(LOOK_AGAIN.after(draft.s.now));
        let version = &stable_ref.version;
        return draft.blocked(format!("the Release of version {version} that runs is kept nowhere, so nothing could be reverted to; commit version {version} once more"));
    };
    if let Some(fact) = refusal(draft, application, stable, next) {
        draft.phase = Phase::Waiting;
        return draft.blocked(fact);
    }
    // A revert needs neither Git nor a renderer: both Releases are kept before the first write.
    for digest in [stable_ref.digest, target.digest] {
        if !draft.s.history.kept.contains(&digest) {
            draft.actions.push(Action::KeepRelease(digest));
        }
    }
    draft.phase = Phase::Progressing;
    if !draft.actions.is_empty() {
        return;
    }
    match rehearsed(draft, target) {
        None => {
            draft.is_lazy = has_nothing_to_prepare(draft.s.changes, stable, next);
            begin(draft, application, target, stable, next);
        }
        Some((fact, rehearsal)) => {
            draft.phase = Phase::Waiting;
            draft.wake(tried_again_at(rehearsal));
            draft.blocked_since(fact, rehearsal.at);
            keep_stable(draft);
        }
    }
}

/// When a trial that the Release did not pass is made again.
#[must_use]
pub fn tried_again_at(rehearsal: &Rehearsal) -> Timestamp {
    let wait = if rehearsal.refused.is_empty() { TRY_AGAIN } else { TRY_REFUSED_AGAIN };
    wait.after(rehearsal.at)
}

/// What the server says against what is to be rolled out.
fn rehearsed<'a>(draft: &Draft<'a>, target: &ReleaseRef) -> Option<(String, &'a Rehearsal)> {
    let rehearsal = draft.s.live.rehearsal.as_ref().filter(|rehearsal| rehearsal.target == target.digest)?;
    let version = &target.version;
    let fact = match (rehearsal.refused.as_slice(), &rehearsal.failure) {
        ([(key, reason), more @ ..], _) => {
            let more = if more.is_empty() { String::new() } else { format!(" (and {} more)", more.len()) };
            format!(
                "version {version} would be refused, so nothing of it is applied: {key}: {reason}{more}; commit a fix, or mend that in the cluster: it is tried again every {TRY_REFUSED_AGAIN}"
            )
        }
        ([], Some(failure)) => format!("version {version} cannot be tried by dry run: {failure}"),
        ([], None) => return None,
    };
    Some((fact, rehearsal))
}

/// Says what a rollout begins with untried.
pub(super) fn remark_untried(draft: &mut Draft<'_>, target: Digest) {
    let rehearsal = draft.s.live.rehearsal.as_ref().filter(|rehearsal| rehearsal.target == target);
    let untried: Vec<String> =
        rehearsal.iter().flat_map(|rehearsal| &rehearsal.exempt).map(ToString::to_string).collect();
    if !untried.is_empty() {
        draft.remarks.push(format!("could not be tried by dry run before the rollout: {}", untried.join(", ")));
    }
}

/// Starts the rollout of `next`: the intent, before any effect.
pub(super) fn begin(
    draft: &mut Draft<'_>,
    application: &Application,
    target: &ReleaseRef,
    stable: &Release,
    next: &Release,
) {
    let has_template_change = !moving(stable, next).is_empty() || !trailing(stable, next).is_empty();
    if !has_template_change && next.objects.keys().any(|key| is_lost(key, stable, draft)) {
        // There is nothing to go back to.
        return start_first_sync(draft, application, target, next);
    }
    let has_completed = draft.record.completed.contains(&target.digest);
    let lane = match (has_template_change, has_completed) {
        (false, _) => Lane::Direct,
        (true, true) => Lane::Express,
        (true, false) => Lane::Waves,
    };
    let position = Position::Preparing;
    let added = next
        .objects
        .iter()
        .filter(|(_, object)| !is_hook(object))
        .map(|(key, _)| key)
        .filter(|key| !stable.objects.contains_key(*key))
        .filter(|key| !draft.record.inventory.contains_key(*key));
    let added: BTreeSet<_> = added.cloned().collect();
    put(draft, application, target, next, lane, position, added, Vec::new());
}

/// Whether a rollout begins with its first wave: all is as declared, and only pod templates of Deployments change.
fn has_nothing_to_prepare(changes: &Changes, stable: &Release, next: &Release) -> bool {
    let moving = moving(stable, next);
    let replicas = |object: &Object| object.at("/spec/replicas").cloned();
    let is_same = |before: &Object, after: &Object| match moving.contains(&after.key) {
        true => replicas(before) == replicas(after),
        // Every workload is marked with the Release that it is of.
        false => before.body == after.body && !runs_pods(&after.key) && !is_hook(after),
    };
    let pairs = || stable.objects.values().zip(next.objects.values());
    changes.is_empty()
        && stable.objects.keys().eq(next.objects.keys())
        && pairs().all(|(before, after)| is_same(before, after))
}

/// Whether Stable knows nothing of a workload that we have: its Release was kept nowhere and had to be made from what
/// ran, when somebody had deleted this already; or it left Git without being pruned. What stands of it, if anything, is
/// nothing that could be gone back to.
fn is_lost(key: &ObjectKey, stable: &Release, draft: &Draft<'_>) -> bool {
    let is_served = !draft.s.live.unserved.contains(&key.kind);
    runs_pods(key) && is_served && !stable.objects.contains_key(key) && draft.record.inventory.contains_key(key)
}

fn runs_pods(key: &ObjectKey) -> bool {
    is_deployment(key) || waits_for_batches(key)
}

fn start_first_sync(draft: &mut Draft<'_>, application: &Application, target: &ReleaseRef, next: &Release) {
    let name = application.plan.waves.last().map(|wave| wave.name.clone()).unwrap_or_default();
    let wave = rolling::wave_record(&name, draft.s.now);
    put(draft, application, target, next, Lane::FirstSync, Position::Wave { index: 0 }, BTreeSet::new(), vec![wave]);
}

#[expect(clippy::too_many_arguments, reason = "the parts of a rollout, named once, right where it is built")]
fn put(
    draft: &mut Draft<'_>,
    application: &Application,
    target: &ReleaseRef,
    next: &Release,
    lane: Lane,
    position: Position,
    added: BTreeSet<ObjectKey>,
    waves: Vec<WaveRecord>,
) {
    let record = &mut draft.record;
    record.rollouts += 1;
    for (key, object) in next.objects.iter().filter(|(_, object)| !is_hook(object)) {
        record.inventory.insert(key.clone(), object.version.clone());
    }
    record.rollout = Some(Rollout {
        id: record.rollouts,
        target: target.clone(),
        lane,
        plan: WavePlan::clone(&application.plan),
        started_at: draft.s.now,
        position,
        waves,
        stable_hashes: BTreeMap::new(),
        added,
        pods_to_revert: BTreeMap::new(),
        hooks: Hooks::default(),
    });
    draft.has_moved = true;
    draft.phase = Phase::Progressing;
}

/// Why this rollout must not start, when it must not.
fn refusal(draft: &Draft<'_>, application: &Application, stable: &Release, next: &Release) -> Option<String> {
    for key in moving(stable, next) {
        let live = draft.s.live.objects.get(&key)?;
        let other = crate::observe::ownership::other_applier(live);
        if let Some(manager) = other.filter(|manager| !application.sync.adopt.contains(manager)) {
            return Some(format!(
                "{key} is also applied by `{manager}`; stop that, or list `{manager}` in spec.sync.adopt to take it over"
            ));
        }
        let is_scaled = next.objects.values().any(|object| {
            object.key.kind.is("autoscaling", "HorizontalPodAutoscaler")
                && object.text("/spec/scaleTargetRef/name") == Some(key.name.as_str())
        });
        if is_scaled && application.plan.capacity == Capacity::InPlace {
            return Some(format!(
                "{key} is scaled by a HorizontalPodAutoscaler, and capacity inPlace cannot hold a wave of it; use `surge`"
            ));
        }
    }
    None
}

/// Applies what separates live from Stable, within what the app allows.
pub(super) fn keep_stable(draft: &mut Draft<'_>) {
    let heals = draft.application().is_none_or(|application| application.sync.self_heals);
    let changes = draft.s.changes;
    reconciling::report_refusals(draft, changes);
    reconciling::report_contended(draft);
    if changes.is_empty() || draft.record.stable.is_none() {
        return;
    }
    let is_due_to_us = |changes: &Changes| changes.apply.iter().any(|change| change.cause == Cause::Outdated);
    if changes.has_drift() && draft.phase == Phase::Idle {
        draft.phase = Phase::Drifted;
        draft.blocked(reconciling::drift_fact(changes));
    }
    if heals || is_due_to_us(changes) {
        reconciling::reconcile(draft);
    }
}

/// Keeps the Release of a Stable that came by first sync, once things are quiet: a revert must work with Git down.
fn keep_release_when_quiet(draft: &mut Draft<'_>) {
    let Some(stable) = draft.record.stable.as_ref().map(|stable| stable.digest) else { return };
    if draft.s.history.kept.contains(&stable) || draft.s.stable.is_none() {
        return;
    }
    let since = draft.record.past.last().map_or(draft.s.now, |past| past.ended_at);
    if KEEP_AFTER.has_passed(since, draft.s.now) {
        draft.actions.push(Action::KeepRelease(stable));
    } else {
        draft.wake(KEEP_AFTER.after(since));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{AppName, ClusterName, Revision};

    /// A Release of one moving Deployment, a ConfigMap, and whatever else.
    fn release(image: &str, replicas: u32, content: &str, others: &[&str]) -> Release {
        let deployment = |name: &str, image: &str| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "a"},
                "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
        };
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "a"},
            "data": {"content": content}});
        let bodies =
            [deployment("web", image), map].into_iter().chain(others.iter().map(|name| deployment(name, "same")));
        let objects = bodies.map(|body| Object::from_value(&ClusterName::local(), body).expect("well formed"));
        let revision = Revision { branch: "main".to_owned(), commit: "0".repeat(40), signer: None };
        let reference = ReleaseRef { digest: Digest([0; 32]), attempt: 0, version: image.to_owned(), revision };
        Release {
            app: AppName::from("web"),
            reference,
            objects: objects.map(|object| (object.key.clone(), object)).collect(),
        }
    }

    #[test]
    fn only_pod_templates_of_deployments_change_without_being_prepared() {
        let one = release("one", 3, "x", &[]);
        let nothing = Changes::default();
        let has_nothing = |before: &Release, after: &Release| has_nothing_to_prepare(&nothing, before, after);
        assert!(has_nothing(&one, &release("two", 3, "x", &[])));
        assert!(!has_nothing(&one, &release("two", 4, "x", &[])), "replicas go first");
        assert!(!has_nothing(&one, &release("two", 3, "y", &[])), "what pods read goes first");
        assert!(!has_nothing(&one, &release("two", 3, "x", &["more"])), "what is new goes first");
        assert!(!has_nothing(&release("one", 3, "x", &["old"]), &release("two", 3, "x", &[])));
        let beside = |image| release(image, 3, "x", &["beside"]);
        assert!(!has_nothing(&beside("one"), &beside("two")), "a workload that stays is marked with the Release");
        let apart = Changes { yields: one.objects.values().map(|object| (object.clone(), 3)).collect(), ..nothing };
        assert!(!has_nothing_to_prepare(&apart, &one, &release("two", 3, "x", &[])), "drift is corrected first");
    }
}
