//! Makes the cluster equal to the stage, and says who is in the way.

use super::{Draft, ordering};
use crate::diff::{Cause, Change, Changes};
use crate::model::switches;
use crate::model::{Action, Notice, NoticeKind, Object, ObjectKey, PausePolicy, WHOLE_OBJECT};
use crate::stage::{Group, Rank};
use crate::status::Phase;

/// Makes the cluster equal to the stage: writes of one rank go out together, one rank after the other.
pub(super) fn reconcile(draft: &mut Draft<'_>) {
    let s = draft.s;
    let now = s.now;
    let is_left_alone =
        |key: &ObjectKey| s.live.contended.get(key).is_some_and(|fields| fields.contains_key(WHOLE_OBJECT));
    let may_try = |draft: &mut Draft<'_>, key: &ObjectKey| match s.failures.get(key) {
        Some(failure) if failure.retry_at > now => {
            draft.wake(failure.retry_at);
            false
        }
        Some(_) | None => !is_left_alone(key),
    };
    for (object, replicas) in &s.changes.yields {
        let (key, version) = (object.key.clone(), object.version.clone());
        draft.actions.push(Action::YieldReplicas { key, version, replicas: *replicas });
    }
    for removal in &s.changes.remove_fields {
        if may_try(draft, &removal.live.key) {
            draft.actions.push(Action::RemoveFields {
                key: removal.live.key.clone(),
                version: removal.live.version.clone(),
                resource_version: removal.live.resource_version().to_owned(),
                pointers: removal.pointers.clone(),
            });
        }
    }
    let order = ordering::order(draft);
    let mut rank_before: Option<Rank> = None;
    let mut is_stuck = false;
    for (rank, change) in order.going {
        let key = &change.staged.object.key;
        if let Some(before) = rank_before.filter(|before| *before != rank) {
            // Nothing can do without its namespace or its kind. Everything else goes on, and what failed is told.
            let needs_success = order.is_strict && before.group <= Group::Definitions;
            if is_stuck && needs_success {
                break;
            }
            // A barrier after nothing keeps nothing apart.
            if draft.actions.iter().any(|action| !matches!(action, Action::Barrier { .. })) {
                draft.actions.push(Action::Barrier { needs_success });
            }
        }
        rank_before = Some(rank);
        // A template's additions are removed first: both in one pass would race each other's resourceVersion.
        let is_awaited = s.changes.remove_fields.iter().any(|removal| removal.live.key == *key);
        if is_awaited {
            is_stuck |= order.is_strict;
            continue;
        }
        if let Some(live) = s.live.objects.get(key).filter(|live| is_replaced(draft, key, &change.staged.object, live))
        {
            draft.actions.push(super::removal::delete(live));
            is_stuck |= order.is_strict;
            continue;
        }
        if !may_try(draft, key) {
            is_stuck |= order.is_strict;
            continue;
        }
        put(draft, change);
    }
}

/// Applies one object, and tells when that corrects drift.
fn put(draft: &mut Draft<'_>, change: &Change) {
    let s = draft.s;
    let key = &change.staged.object.key;
    if change.cause == Cause::Drifted
        && s.live.applied.contains_key(key)
        && let Some(app) = s.stable.or(s.target).map(|release| release.app.clone())
    {
        let by = change.by.as_ref().map(|by| format!(" by `{by}`")).unwrap_or_default();
        let message = format!("{key} was changed{by}; it is put back");
        let (kind, reason) = (NoticeKind::Warning, "DriftCorrected");
        draft.actions.push(Action::Notice(Notice { app, kind, reason, message }));
    }
    let live = s.live.objects.get(key);
    let sync = draft.application().map(|application| &application.sync);
    let forces = sync.is_none_or(|sync| sync.forces_conflicts);
    let is_given = |live| {
        let managers = crate::observe::ownership::other_managers(live);
        managers.iter().all(|manager| sync.is_some_and(|sync| sync.adopt.contains(manager)))
    };
    // What is not there has no other owner: a conflict then means that somebody made it meanwhile, and it is not ours.
    let is_forced = match change.cause {
        Cause::Missing => false,
        Cause::Adopted => live.is_some_and(is_given),
        Cause::Outdated | Cause::Drifted => forces || live.is_some_and(is_given),
    };
    draft.actions.push(Action::Apply { object: with_precondition(&change.staged.object, live), is_forced });
}

/// Whether the object goes, to be made anew: its apply was refused for a field that may never change, and somebody said
/// that it may. Not what moves in waves, and nothing protected.
fn is_replaced(draft: &Draft<'_>, key: &ObjectKey, staged: &Object, live: &Object) -> bool {
    let is_immutable = draft.s.failures.get(key).is_some_and(|failure| failure.is_immutable);
    let is_moving = draft.record.rollout.as_ref().is_some_and(|rollout| rollout.stable_hashes.contains_key(key));
    let is_allowed = switches::may_be_replaced(staged)
        || draft.application().is_some_and(|application| application.sync.replaces_immutable);
    is_immutable && is_allowed && !is_moving && !live.is_terminating() && !super::removal::is_protected(draft, live)
}

/// Says which fields are left to somebody who keeps changing them.
pub(super) fn report_contended(draft: &mut Draft<'_>) {
    for (key, fields) in &draft.s.live.contended {
        let Some((pointer, by)) = fields.first_key_value() else { continue };
        let more = if fields.len() > 1 { format!(" and {} more", fields.len() - 1) } else { String::new() };
        draft.phase = if draft.phase == Phase::Idle { Phase::Contended } else { draft.phase };
        if pointer == WHOLE_OBJECT {
            draft.blocked(format!(
                "Contended: {key} was put back six times within an hour and is deleted or stripped of its marks again by `{by}`; it is left alone for an hour: stop that writer, or take the object out of Git"
            ));
            continue;
        }
        draft.blocked(format!(
            "Contended: {key}: {pointer}{more} was put back six times within an hour and is changed again by `{by}`; it is left alone for an hour: stop that writer, or list the field in spec.sync.ignore"
        ));
    }
}

/// Writes to Deployments depend on what was observed: they carry its resourceVersion, and its UID, without which one that
/// was deleted meanwhile would be made anew with the Target's template, and all of its pods with it.
fn with_precondition(staged: &crate::model::Object, live: Option<&crate::model::Object>) -> crate::model::Object {
    let Some(live) = live.filter(|_| crate::stage::is_deployment(&staged.key)) else { return staged.clone() };
    let mut body = (*staged.body).clone();
    body["metadata"]["resourceVersion"] = serde_json::Value::String(live.resource_version().to_owned());
    body["metadata"]["uid"] = serde_json::Value::String(live.uid().to_owned());
    staged.with_body(body)
}

/// What drifted, in one sentence.
pub(super) fn drift_fact(changes: &Changes) -> String {
    let drifted = changes.apply.iter().find(|change| change.cause == Cause::Drifted);
    match (drifted, changes.remove_fields.first()) {
        (Some(change), _) => {
            let by = change.by.as_ref().map(|by| format!(" by `{by}`")).unwrap_or_default();
            format!("{} was changed{by} and is put back", change.staged.object.key)
        }
        (None, Some(removal)) if removal.is_of_ownership() => {
            format!("{}: field ownership was reset; its fields are made ours again", removal.live.key)
        }
        (None, Some(removal)) => format!("{}: additions to the pod template are removed", removal.live.key),
        (None, None) => "live differs from what is declared".to_owned(),
    }
}

/// Objects that we must not touch, and writes that fail, block visibly.
pub(super) fn report_refusals(draft: &mut Draft<'_>, changes: &Changes) {
    for (key, reason) in &changes.refused {
        draft.blocked(format!("{key}: {reason}"));
    }
    let failing: Vec<_> =
        changes.apply.iter().filter_map(|change| draft.s.failures.get_key_value(&change.staged.object.key)).collect();
    for (key, failure) in failing {
        let hint = match failure.is_immutable {
            true => {
                "; set the annotation tidegate.dev/replace: \"true\" or spec.sync.replaceImmutable to have it made anew"
            }
            false => "",
        };
        draft.blocked_since(format!("{key}: {}{hint}", failure.reason), failure.since);
    }
}

/// The workload that a person paused, where the Application says that people may.
pub(super) fn paused_by_user(draft: &Draft<'_>) -> Option<ObjectKey> {
    let may_pause = draft.application().is_some_and(|application| application.pause == PausePolicy::User);
    let paused = draft.s.live.workloads.iter().find(|(_, workload)| is_paused(&workload.object));
    paused.filter(|_| may_pause).map(|(key, _)| key.clone())
}

fn is_paused(object: &Object) -> bool {
    object.at("/spec/paused") == Some(&serde_json::Value::Bool(true))
}

/// Says who keeps a wave from its shape, when somebody does.
pub(super) fn report_contention(draft: &mut Draft<'_>) {
    if !draft.s.changes.has_drift() {
        return;
    }
    let paused = draft.s.live.workloads.iter().find(|(_, workload)| is_paused(&workload.object));
    let fact = match paused {
        Some((key, workload)) => {
            let by = crate::observe::ownership::owner_of(&workload.object, &["spec", "paused"]);
            format!(
                "Contended: {key} was paused by `{}`; it is resumed, since pause is `agent`",
                by.unwrap_or_else(|| "somebody".to_owned())
            )
        }
        None => drift_fact(draft.s.changes),
    };
    if paused.is_some() {
        draft.phase = Phase::Contended;
    }
    draft.blocked(fact);
}
