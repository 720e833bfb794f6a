//! Carries out what a pass decided. Writes of one stage go out together; what came of them is remembered.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use futures::future::join_all;
use serde_json::{Value, json};

use super::sight::{Trace, without_data};
use super::{App, Context, contention, keep};
use crate::decide::{Failure, verdict};
use crate::diff::Changes;
use crate::model::marks::{
    ANNOTATION_CONTENT, ANNOTATION_OWNER, ANNOTATION_RELEASE, FIELD_MANAGER, LABEL_APPLICATION, REPLICAS_MANAGER,
};
use crate::model::{Action, Measurement, Millis, Object, ObjectKey, Outcome, Timestamp, Verdict};
use crate::observe::{Applied, Live, ownership};
use crate::stage::{Stage, projection};
use crate::world::{ApiError, ApplyOptions, Preconditions, World};

/// A write that failed is tried again after this long, doubled with every try.
const RETRY_MILLIS_MIN: u64 = 500;
/// ... up to this.
const RETRY_MILLIS_MAX: u64 = 60_000;

/// What the pass saw, and what it decided from.
pub(super) struct Sight<'a> {
    pub(super) stage: &'a Stage,
    pub(super) live: &'a Live,
    pub(super) changes: &'a Changes,
}

/// Carries out the actions of one pass.
pub(super) async fn execute<W: World>(
    context: &Context<W>,
    app: &mut App,
    actions: Vec<Action>,
    sight: &Sight<'_>,
    trace: &mut Trace,
) {
    let is_none =
        |action: &Action| matches!(action, Action::Measure { .. } | Action::Notice(_) | Action::Barrier { .. });
    let has_writes = !actions.iter().all(is_none);
    let mut has_failed = false;
    for (group, needs_success) in groups(actions) {
        let work = group.into_iter().map(|action| one(context, app, action));
        let outcomes = join_all(work).await;
        let now = context.world.now();
        let mut is_done = true;
        for (outcomes, notice) in outcomes {
            trace.notices.extend(notice);
            for outcome in outcomes {
                has_failed |= matches!(outcome, Outcome::Failed { .. });
                is_done &= !matches!(outcome, Outcome::Failed { .. } | Outcome::Seen(_) | Outcome::Withheld);
                remember(context, app, outcome, sight, trace, now);
            }
        }
        if needs_success && !is_done {
            break;
        }
    }
    // What was written shows in the next pass, which comes at once: events of our own writes are known already. Only what
    // failed now waits for its back-off; an older failure of something else must not keep a rollout from starting.
    trace.again |= has_writes && !has_failed;
}

/// Takes actions apart at their barriers: each group with whether what follows needs its success.
fn groups(actions: Vec<Action>) -> Vec<(Vec<Action>, bool)> {
    let mut groups = vec![(Vec::new(), false)];
    for action in actions {
        match action {
            Action::Barrier { needs_success } => {
                if let Some(last) = groups.last_mut() {
                    last.1 = needs_success;
                }
                groups.push((Vec::new(), false));
            }
            action => groups.last_mut().expect("there is always a group").0.push(action),
        }
    }
    groups
}

/// Does one thing and says what came of it.
async fn one<W: World>(context: &Context<W>, app: &App, action: Action) -> (Vec<Outcome>, Option<Object>) {
    let world = &context.world;
    let acting = app.acting();
    let outcomes = match action {
        Action::Apply { object, is_forced } => {
            let options = ApplyOptions { is_forced, is_dry_run: false, manager: FIELD_MANAGER };
            let answer = world.apply(&object, options, acting.as_deref()).await;
            context.telemetry.applied(answer.as_ref().map(|_| ()));
            written(context, object.key.clone(), &object.version, answer, Outcome::Applied).await
        }
        Action::RemoveFields { key, version, resource_version, pointers } => {
            let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": resource_version});
            let removals = pointers.iter().map(|pointer| json!({"op": "remove", "path": pointer}));
            let patch = Value::Array(std::iter::once(test).chain(removals).collect());
            let answer = world.patch(&key, &version, &patch, acting.as_deref()).await;
            written(context, key, &version, answer, Outcome::Changed).await
        }
        Action::YieldReplicas { key, version, replicas } => {
            let answer = yield_replicas(context, app, &key, &version, replicas).await;
            written(context, key, &version, answer, Outcome::Changed).await
        }
        Action::Orphan { key, version } => orphan(context, app, key, &version).await,
        Action::Delete { key, version, uid, resource_version } => {
            match world.delete(&key, &version, &Preconditions { uid, resource_version }, acting.as_deref()).await {
                Ok(()) => vec![Outcome::Deleted(key)],
                Err(error) => failed(context, key, &version, &error).await,
            }
        }
        Action::KeepRelease(digest) => vec![keep::keep_release(context, app, digest).await],
        Action::DropRelease(digest) => vec![keep::drop_release(context, app, digest).await],
        Action::Measure { analysis, provider, query } => {
            vec![Outcome::Measured { measurement: measure(context, app, &analysis, &provider, &query).await, analysis }]
        }
        Action::Notice(notice) => return (Vec::new(), Some(keep::event(context, app, &notice))),
        Action::Forget => keep::forget(context, app).await,
        // It stands between groups.
        Action::Barrier { .. } => Vec::new(),
    };
    (outcomes, None)
}

/// What came of a write. The answer to one that is no apply of the stage is [`Outcome::Changed`]: what stands there then
/// says nothing of what the server makes of the stage.
async fn written<W: World>(
    context: &Context<W>,
    key: ObjectKey,
    version: &str,
    answer: Result<Object, ApiError>,
    as_outcome: fn(Object) -> Outcome,
) -> Vec<Outcome> {
    match answer {
        Ok(object) => vec![as_outcome(object)],
        Err(error) => failed(context, key, version, &error).await,
    }
}

/// A conflict is answered by looking again at once; everything else waits for its back-off.
async fn failed<W: World>(context: &Context<W>, key: ObjectKey, version: &str, error: &ApiError) -> Vec<Outcome> {
    let failure = keep::failure(Some(key.clone()), error.to_string(), error);
    if matches!(error, ApiError::Conflict | ApiError::TimedOut) {
        return match context.world.get(&key, version).await {
            Ok(Some(object)) if *error == ApiError::Conflict => vec![Outcome::Seen(object)],
            Ok(Some(object)) => vec![Outcome::Seen(object), failure],
            Ok(None) => vec![Outcome::Absent(key)],
            Err(_) => vec![failure],
        };
    }
    vec![failure]
}

async fn yield_replicas<W: World>(
    context: &Context<W>,
    app: &App,
    key: &ObjectKey,
    version: &str,
    replicas: u32,
) -> Result<Object, ApiError> {
    let group = &key.kind.group;
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let body = json!({"apiVersion": api_version, "kind": key.kind.kind,
        "metadata": {"name": key.name, "namespace": key.namespace}, "spec": {"replicas": replicas}});
    let object = Object { key: key.clone(), version: version.to_owned(), body: body.into() };
    let options = ApplyOptions { is_forced: true, is_dry_run: false, manager: REPLICAS_MANAGER };
    context.world.apply(&object, options, app.acting().as_deref()).await
}

/// Takes our marks off an object that stays.
async fn orphan<W: World>(context: &Context<W>, app: &App, key: ObjectKey, version: &str) -> Vec<Outcome> {
    let live = match context.world.get(&key, version).await {
        Ok(Some(live)) => live,
        Ok(None) => return vec![Outcome::Absent(key)],
        Err(error) => return failed(context, key, version, &error).await,
    };
    let mut operations =
        vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": live.resource_version()})];
    for annotation in [ANNOTATION_OWNER, ANNOTATION_CONTENT, ANNOTATION_RELEASE] {
        if live.annotation(annotation).is_some() {
            operations.push(
                json!({"op": "remove", "path": format!("/metadata/annotations/{}", annotation.replace('/', "~1"))}),
            );
        }
    }
    if live.label(LABEL_APPLICATION).is_some() {
        operations.push(
            json!({"op": "remove", "path": format!("/metadata/labels/{}", LABEL_APPLICATION.replace('/', "~1"))}),
        );
    }
    let answer = context.world.patch(&key, version, &Value::Array(operations), app.acting().as_deref()).await;
    written(context, key, version, answer, Outcome::Changed).await
}

async fn measure<W: World>(
    context: &Context<W>,
    app: &App,
    analysis: &str,
    provider: &str,
    query: &str,
) -> Measurement {
    let answer = context.world.measure(provider, query).await;
    let at = context.world.now();
    let rollout = app.history.record.as_ref().and_then(|record| record.rollout.as_ref());
    let declared = rollout.and_then(|rollout| rollout.plan.analysis(analysis));
    match (answer, declared) {
        (Ok(Some(value)), Some(declared)) => {
            let (verdict, message) = verdict(declared, value);
            Measurement { at, value: Some(value), verdict, message }
        }
        (Ok(_), _) => {
            Measurement { at, value: None, verdict: Verdict::NoData, message: "the query gave no data".to_owned() }
        }
        (Err(error), _) => Measurement { at, value: None, verdict: Verdict::Error, message: error.to_string() },
    }
}

fn remember<W: World>(
    context: &Context<W>,
    app: &mut App,
    outcome: Outcome,
    sight: &Sight<'_>,
    trace: &mut Trace,
    now: Timestamp,
) {
    match outcome {
        Outcome::Applied(object) => {
            app.failures.remove(&object.key);
            if let Some(staged) = sight.stage.objects.get(&object.key) {
                if let Some(change) = sight.changes.apply.iter().find(|change| change.staged.object.key == object.key) {
                    contention::note_change(app, change, now);
                }
                trace
                    .notices
                    .extend(contention::mutated(app, staged, &object).map(|notice| keep::event(context, app, &notice)));
                let applied = Applied {
                    content: staged.content,
                    resource_version: object.resource_version().to_owned(),
                    projection: projection(&staged.compared(), &object.body),
                };
                app.applied.insert(object.key.clone(), applied);
            }
            trace.learned.push(without_data(object));
        }
        Outcome::Changed(object) => {
            app.failures.remove(&object.key);
            let removal = sight.changes.remove_fields.iter().find(|removal| removal.live.key == object.key);
            if let Some(removal) = removal {
                let by = ownership::changed_by(&removal.live, &removal.live.body, &removal.pointers);
                contention::note(app, &object.key, &removal.pointers, by.as_deref(), now);
            }
            trace.learned.push(without_data(object));
        }
        Outcome::Seen(object) => trace.learned.push(without_data(object)),
        Outcome::Deleted(key) => {
            app.failures.remove(&key);
            app.applied.remove(&key);
            trace.gone.push(key);
        }
        Outcome::Absent(key) => {
            app.failures.remove(&key);
            app.applied.remove(&key);
            let known = sight.live.objects.get(&key).map(Object::resource_version).unwrap_or_default().to_owned();
            trace.absent.push((key, known));
        }
        Outcome::Kept(digest) => {
            app.failures.remove(&own(app));
            app.history.kept.insert(digest);
        }
        Outcome::Dropped(digest) => {
            app.failures.remove(&own(app));
            app.history.kept.remove(&digest);
        }
        Outcome::Measured { analysis, measurement } => {
            app.history.samples.entry(analysis).or_default().push(measurement);
            trace.again = true;
        }
        Outcome::Failed { key, reason, is_transient: _, is_immutable } => {
            note_failure(app, key, reason, is_immutable, trace, now);
        }
        Outcome::Withheld => trace.again = true,
        Outcome::Done => trace.is_forgotten = true,
    }
}

/// Where failures are noted that are no single object's: those of keeping and dropping Releases.
fn own(app: &App) -> ObjectKey {
    crate::store::application::key("", &app.name)
}

/// A wait with up to a quarter more of it, so that what failed together is not tried again together: by the object and
/// the try, since a pass has no dice.
fn spread(wait: Millis, key: &ObjectKey, tries: u32) -> Millis {
    let mut hasher = DefaultHasher::new();
    (key.to_string(), tries).hash(&mut hasher);
    Millis(wait.0 + wait.0 * (hasher.finish() % 256) / 1024)
}

fn note_failure(
    app: &mut App,
    key: Option<ObjectKey>,
    reason: String,
    is_immutable: bool,
    trace: &mut Trace,
    now: Timestamp,
) {
    let key = key.unwrap_or_else(|| own(app));
    let before = app.failures.get(&key);
    let tries = before.map_or(0, |failure| failure.tries) + 1;
    let wait = spread(Millis((RETRY_MILLIS_MIN << tries.min(10)).min(RETRY_MILLIS_MAX)), &key, tries);
    let since = before.map_or(now, |failure| failure.since);
    tracing::warn!(application = %app.name, object = %key, %reason, tries, "a write failed");
    let retry_at = wait.after(now);
    // What can only be made anew is decided by the next pass.
    trace.wake(if is_immutable { now } else { retry_at });
    app.failures.insert(key, Failure { reason, since, retry_at, tries, is_immutable });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_together_is_tried_again_apart() {
        let key = |name: &str| ObjectKey::local("", "ConfigMap", "a", name);
        let waits: std::collections::BTreeSet<u64> =
            (0..20).map(|index| spread(Millis(1000), &key(&index.to_string()), 1).0).collect();
        assert!(waits.len() > 15 && waits.iter().all(|wait| (1000..=1250).contains(wait)), "{waits:?}");
        assert_eq!(spread(Millis(1000), &key("x"), 1), spread(Millis(1000), &key("x"), 1));
        assert_ne!(spread(Millis(1000), &key("x"), 1), spread(Millis(1000), &key("x"), 2));
    }
}
