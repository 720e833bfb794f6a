//! A Release is tried by dry run before the first write of its rollout: what admission, quota or the schema refuses is found
//! while Stable still stands whole.

use std::collections::BTreeSet;

use futures::future::join_all;

use super::{App, Context};
use crate::decide::tried_again_at;
use crate::model::marks::FIELD_MANAGER;
use crate::model::{Declared, GroupKind, Object, ObjectKey, Release, Timestamp};
use crate::observe::{Live, Rehearsal};
use crate::stage::{defined_kind, is_hook};
use crate::world::{ApiError, ApplyOptions, World};

/// Tries what `app` is about to roll out; `None` when it is about to do no such thing. What was tried is not tried again.
pub(super) async fn rehearse<W: World>(
    context: &Context<W>,
    app: &App,
    live: &Live,
    now: Timestamp,
) -> Option<Rehearsal> {
    let rollout = app.target();
    if let Some(known) = app.rehearsal.as_ref().filter(|known| Some(known.target) == rollout) {
        // What it could not try is told as long as the rollout lasts.
        return Some(known.clone());
    }
    let (stable, next) = due(app)?;
    let target = next.reference.digest;
    let known = app.rehearsal.as_ref().filter(|known| known.target == target);
    if let Some(known) = known.filter(|known| known.is_passed() || now < tried_again_at(known)) {
        return Some(known.clone());
    }
    let mut rehearsal = Rehearsal { target, at: now, refused: Vec::new(), exempt: Vec::new(), failure: None };
    let is_changed = |object: &&Object| {
        !is_hook(object) && stable.objects.get(&object.key).is_none_or(|before| before.body != object.body)
    };
    let made = Setting::of(next.objects.values().filter(|object| !live.objects.contains_key(&object.key)));
    let changed = Setting::of(next.objects.values().filter(is_changed));
    let acting = app.acting();
    let mut asked = Vec::new();
    for object in next.objects.values().filter(is_changed) {
        let key = &object.key;
        if made.namespaces.contains(key.namespace.as_str())
            || made.kinds.contains(&key.kind)
            || live.unserved.contains(&key.kind)
        {
            rehearsal.exempt.push(key.clone());
        } else {
            let options = ApplyOptions { is_forced: true, is_dry_run: true, manager: FIELD_MANAGER };
            let acting = acting.as_deref();
            asked.push(async move { (key, context.world.apply(object, options, acting).await) });
        }
    }
    for (key, answer) in join_all(asked).await {
        match answer {
            Ok(_) => {}
            Err(error) if is_for_the_apply(&error) || changed.may_allow(key, &error) => {
                rehearsal.exempt.push(key.clone());
            }
            Err(error @ (ApiError::Invalid(_) | ApiError::Forbidden(_) | ApiError::NotFound)) => {
                rehearsal.refused.push((key.clone(), error.to_string()));
            }
            Err(error) => rehearsal.failure = Some(format!("{key}: {error}")),
        }
    }
    Some(rehearsal)
}

/// Stable and what is to replace it, once both are kept and nothing else is under way.
fn due(app: &App) -> Option<(&Release, &Release)> {
    let record = app.history.record.as_ref().filter(|record| record.rollout.is_none())?;
    let Declared::Ready { target, .. } = &app.declared else { return None };
    let stable = record.stable.as_ref().filter(|stable| stable.digest != target.digest)?;
    let is_kept = [stable.digest, target.digest].iter().all(|digest| app.history.kept.contains(digest));
    if !is_kept || record.quarantined(target.digest, target.attempt).is_some() {
        return None;
    }
    Some((app.release(stable.digest)?, app.release(target.digest)?))
}

/// What objects live in and by: namespaces, what limits them, and definitions of kinds.
#[derive(Default)]
struct Setting<'a> {
    namespaces: BTreeSet<&'a str>,
    /// Namespaces whose quotas or limits are among the objects.
    limited: BTreeSet<&'a str>,
    kinds: BTreeSet<GroupKind>,
}

impl<'a> Setting<'a> {
    /// What of it these objects are.
    fn of(objects: impl Iterator<Item = &'a Object>) -> Self {
        let mut setting = Self::default();
        for object in objects {
            let key = &object.key;
            if key.kind.is("", "Namespace") {
                setting.namespaces.insert(&key.name);
            } else if key.kind.is("", "ResourceQuota") || key.kind.is("", "LimitRange") {
                setting.limited.insert(&key.namespace);
            }
            setting.kinds.extend(defined_kind(object));
        }
        setting
    }

    /// Whether an object that is refused today may be accepted once these changes are there: a definition with other
    /// rules, a larger quota, a namespace with other labels.
    fn may_allow(&self, key: &ObjectKey, error: &ApiError) -> bool {
        let lives_in = |namespaces: &BTreeSet<&str>| namespaces.contains(key.namespace.as_str());
        matches!(error, ApiError::Invalid(_) | ApiError::Forbidden(_))
            && (self.kinds.contains(&key.kind) || lives_in(&self.namespaces) || lives_in(&self.limited))
    }
}

/// Whether an answer speaks of this object alone and not against the Release.
fn is_for_the_apply(error: &ApiError) -> bool {
    match error {
        // Its kind comes or goes by other hands. What may never change may be made anew, if the app says so.
        ApiError::UnknownKind(_) | ApiError::Immutable(_) => true,
        // A missing right keeps back the objects concerned, and nothing else.
        ApiError::Forbidden(text) => text.contains(" cannot ") && text.contains(" resource "),
        // A webhook that has side effects cannot be asked.
        ApiError::Invalid(text) => text.contains("does not support dry run"),
        ApiError::AlreadyExists
        | ApiError::Busy { .. }
        | ApiError::Conflict
        | ApiError::Deposed
        | ApiError::Gone
        | ApiError::NotFound
        | ApiError::Owned(_)
        | ApiError::Server(_)
        | ApiError::TimedOut
        | ApiError::Unreachable(_) => false,
    }
}
