//! Durable state: the record in the custom resource, and kept Releases. Every write carries what it was based on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::sight::Trace;
use super::{App, Context, recover, takeover};
use crate::decide::notices;
use crate::model::{
    AppName, Declared, Digest, GroupKind, Notice, Object, ObjectKey, Outcome, PastOutcome, Record, Release, RequestVerb,
};
use crate::mutants::{Mutant, is_planted};
use crate::store;
use crate::telemetry::StateWrite;
use crate::world::{ApiError, Part, Preconditions, Scope, World};

/// Brings the Releases that the record refers to into memory, and a lost record back from what the cluster shows. An
/// error means that it cannot be told whether there was a record: such an app must not be taken for a new one.
pub(super) async fn load<W: World>(
    context: &Context<W>,
    app: &mut App,
    seen: &mut BTreeMap<ObjectKey, Object>,
) -> Result<(), ApiError> {
    if app.history.record.is_none() && app.unusable.is_none() && !is_planted(Mutant::FirstSyncAfterLoss) {
        recover::recover(context, app, seen).await?;
    }
    if app.is_rolling() && !app.knows_kept {
        // After a restart: which Releases are kept is needed to drop the oldest ones later.
        if let Ok(kept) = kept(context, app).await {
            app.history.kept.extend(kept);
            app.knows_kept = true;
        }
    }
    let is_rollback = app.history.request.as_ref().is_some_and(|request| request.verb == RequestVerb::Rollback);
    let previous = if is_rollback { app.previous() } else { None };
    for digest in [app.stable(), app.target(), previous].into_iter().flatten() {
        if app.release(digest).is_some() {
            continue;
        }
        match restore(context, app, digest).await {
            Ok(Some(release)) => drop(app.releases.insert(digest, Arc::new(release))),
            Ok(None) if app.stable() == Some(digest) && !app.is_rolling() && app.next.is_some() => {
                recover::rebuild_stable(context, app).await;
            }
            Ok(None) => tracing::warn!(application = %app.name, release = %digest.short(), "a Release is kept nowhere"),
            Err(error) => {
                tracing::warn!(application = %app.name, release = %digest.short(), %error, "a kept Release cannot be read");
            }
        }
    }
    Ok(())
}

/// Whether the custom resource says what Git declares, so that no write is due for that alone.
pub(super) fn is_mirrored(app: &App) -> bool {
    // A resource that somebody deleted is written anew.
    let Some(object) = &app.object else { return false };
    let Declared::Ready { application, .. } = &app.declared else { return true };
    // What cannot be read is not written either.
    let spec = application.spec.clone();
    app.unusable.is_some() || store::application::mirrors(object, &application.declared_in, &spec)
}

/// Writes the record: the intent, before any effect. A lazy one waits for the next.
pub(super) async fn save<W: World>(
    context: &Context<W>,
    app: &mut App,
    record: Record,
    is_lazy: bool,
    trace: &mut Trace,
) {
    let old = app.history.record.clone();
    let is_dropped = is_planted(Mutant::WaveInMemory) && is_next_wave(old.as_deref(), &record);
    // A rollout is written with the next pass, whatever that comes to, and the declaration with it.
    let may_wait = record.rollout.is_some() || is_mirrored(app);
    if (is_lazy || is_dropped) && app.object.is_some() && may_wait {
        app.history.is_ahead = !is_dropped;
        settled(context, app, old.as_deref(), record, trace);
        return;
    }
    let (declared_in, spec) = mirror(app);
    let forgetful = is_planted(Mutant::QuarantineInMemory).then(|| Record { quarantine: Vec::new(), ..record.clone() });
    let body = store::application::write(
        &context.namespace,
        &app.name,
        &context.owner,
        &declared_in,
        &spec,
        forgetful.as_ref().unwrap_or(&record),
        app.object.as_ref(),
    );
    let answer = match &app.object {
        None => context.world.create(&body).await,
        Some(_) => context.world.update(&body, Part::Object).await,
    };
    context.telemetry.state_written(StateWrite::Record);
    match answer {
        Ok(object) => {
            app.object = Some(object);
            app.history.is_ahead = false;
            app.history.request = None;
            settled(context, app, old.as_deref(), record, trace);
        }
        Err(error) => reread(context, app, &error, trace).await,
    }
}

/// For a planted bug: whether the record differs by the wave's index.
fn is_next_wave(old: Option<&Record>, new: &Record) -> bool {
    let index = |record: &Record| match record.rollout.as_ref().map(|rollout| &rollout.position) {
        Some(crate::model::Position::Wave { index }) => Some(*index),
        _ => None,
    };
    old.and_then(index) < index(new) && index(new) > Some(0)
}

/// What the custom resource mirrors: the declaration, or what stood there.
fn mirror(app: &App) -> (String, Value) {
    if let Declared::Ready { application, .. } = &app.declared {
        return (application.declared_in.clone(), application.spec.clone().into());
    }
    let stored = app.object.as_ref().and_then(|object| store::application::read(object).ok());
    stored.map_or_else(
        || (String::new(), Value::Object(serde_json::Map::new())),
        |stored| (stored.declared_in, stored.spec),
    )
}

/// The record in memory is now the new one: samples of gates that ended are dropped, people and counters are told.
fn settled<W: World>(context: &Context<W>, app: &mut App, old: Option<&Record>, record: Record, trace: &mut Trace) {
    let wave = |record: &Record| {
        record.rollout.as_ref().map(|rollout| (rollout.id, rollout.waves.len(), rollout.position.clone()))
    };
    if old.and_then(wave) != wave(&record) {
        app.history.samples.clear();
    }
    if record.rollout.as_ref().map(|rollout| rollout.id)
        != old.and_then(|old| old.rollout.as_ref()).map(|rollout| rollout.id)
    {
        app.failures.clear();
    }
    for notice in notices(&app.name, old, &record) {
        trace.notices.push(event(context, app, &notice));
    }
    count(context, app, old, &record);
    app.history.record = Some(Arc::new(record));
    app.trim();
    trace.again = true;
}

fn count<W: World>(context: &Context<W>, app: &App, old: Option<&Record>, new: &Record) {
    let telemetry = &context.telemetry;
    let before = old.and_then(|record| record.rollout.as_ref());
    if let Some(rollout) = new.rollout.as_ref().filter(|now| before.is_none_or(|before| before.id != now.id)) {
        tracing::info!(application = %app.name, version = %rollout.target.version, lane = ?rollout.lane, "rollout started");
        telemetry.rollout_started(&app.name);
    }
    let ended = new.past.last().filter(|past| old.and_then(|old| old.past.last()).map(|past| past.id) != Some(past.id));
    if let Some(past) = ended {
        tracing::info!(application = %app.name, version = %past.release.version, outcome = past.outcome.as_str(), reason = %past.reason, "rollout ended");
        telemetry.rollout_ended(&app.name, past.outcome);
        let gates = past.waves.iter().flat_map(|wave| &wave.gates);
        gates.for_each(|gate| telemetry.gate_decided(&app.name, &gate.gate, gate.verdict));
        if matches!(past.outcome, PastOutcome::Reverted | PastOutcome::Withdrawn)
            && let Some(at) = new.last_revert_at
        {
            let pods = new.pods_reverted - old.map_or(0, |old| old.pods_reverted);
            telemetry.reverted(destination(app), &app.name, pods, at);
        }
    }
    if let Some(rollout) = &new.rollout {
        tracing::debug!(application = %app.name, position = ?rollout.position, "position");
    }
}

/// The namespace that an app's metrics carry.
pub(super) fn destination(app: &App) -> &str {
    app.application().map_or("", |application| application.namespace.as_str())
}

/// Somebody else wrote, or the write failed: look at what stands there and decide again.
pub(super) async fn reread<W: World>(context: &Context<W>, app: &mut App, error: &ApiError, trace: &mut Trace) {
    tracing::debug!(application = %app.name, %error, "the application's state is read again");
    let key = store::application::key(&context.namespace, &app.name);
    match context.world.get(&key, store::VERSION).await {
        // What a later leader wrote is its own to go on with.
        Ok(Some(object)) if takeover::is_overthrown(context, &object) => {}
        Ok(Some(object)) => {
            take(app, object);
            // No pass comes while no write may start.
            trace.again =
                matches!(error, ApiError::Conflict | ApiError::AlreadyExists | ApiError::TimedOut | ApiError::Deposed);
        }
        Ok(None) => {
            app.object = None;
            trace.again = true;
        }
        Err(_) => {}
    }
    if !trace.again {
        trace.wake(crate::model::Millis::from_seconds(2).after(context.world.now()));
    }
}

/// Takes the custom resource as the cluster shows it. What memory knows of the record wins as long as nothing was written
/// to it that memory does not know: a write of ours whose answer was lost is what is durable, and so what goes on. The
/// generation tells, since labels, annotations and status do not raise it.
pub(super) fn take(app: &mut App, object: Object) {
    let generation = |object: &Object| object.int("/metadata/generation");
    let is_known = app.object.as_ref().is_some_and(|known| generation(known) == generation(&object));
    match store::application::read(&object) {
        Ok(stored) => {
            app.history.request = stored.request;
            if stored.has_record && (app.history.record.is_none() || !is_known) {
                app.history.record = Some(Arc::new(store::settle(stored.record, stored.stable_in_status)));
                app.history.samples.clear();
                app.history.is_ahead = false;
            }
            app.unusable = None;
        }
        Err(error) => app.unusable = Some(format!("the state in the Application resource cannot be used: {error}")),
    }
    // A write of status whose answer was lost may stand there all the same.
    if app.status() != object.body.get("status") {
        app.status_of = None;
    }
    app.object = Some(object);
}

/// Keeps a Release in the cluster. Parts are immutable and named by digest, so one that exists is the same.
pub(super) async fn keep_release<W: World>(context: &Context<W>, app: &App, digest: Digest) -> Outcome {
    let Some(release) = app.release(digest) else {
        return Outcome::Failed {
            key: None,
            reason: format!("release {} is not in memory", digest.short()),
            is_transient: true,
            is_immutable: false,
        };
    };
    for part in store::release::keep(&context.namespace, &context.owner, release) {
        match context.world.create(&part).await {
            Ok(_) => context.telemetry.state_written(StateWrite::Release),
            Err(ApiError::AlreadyExists) => {}
            Err(error) => {
                return failure(None, format!("failed to keep release {}: {error}", digest.short()), &error);
            }
        }
    }
    Outcome::Kept(digest)
}

async fn parts<W: World>(context: &Context<W>, app: &App, digest: Option<Digest>) -> Result<Vec<Object>, ApiError> {
    let mut parts = all_parts(&*context.world, &context.namespace, &context.owner, &app.name).await?;
    parts.retain(|part| digest.is_none() || store::release::digest_of(part) == digest);
    Ok(parts)
}

/// Where Releases are kept.
pub(super) fn scope(namespace: &str) -> Scope {
    Scope { kind: GroupKind::new("", "Secret"), version: "v1".to_owned(), namespace: Some(namespace.to_owned()) }
}

/// The parts of all kept Releases of an app.
async fn all_parts<W: World>(world: &W, namespace: &str, owner: &str, app: &AppName) -> Result<Vec<Object>, ApiError> {
    let listed = world.list(&scope(namespace), &store::release::selector(owner, app)).await?;
    Ok(listed.items.into_iter().filter(|part| store::release::digest_of(part).is_some()).collect())
}

/// The Release of an app that was kept last.
pub(super) async fn newest<W: World>(
    world: &W,
    namespace: &str,
    owner: &str,
    app: &AppName,
) -> Result<Option<Release>, ApiError> {
    let mut parts = all_parts(world, namespace, owner, app).await?;
    let kept_at = |part: &Object| part.text("/metadata/creationTimestamp").unwrap_or_default().to_owned();
    let Some(newest) = parts.iter().max_by_key(|part| kept_at(part)).and_then(store::release::digest_of) else {
        return Ok(None);
    };
    parts.retain(|part| store::release::digest_of(part) == Some(newest));
    store::release::restore(&parts).map(Some).map_err(|error| ApiError::Invalid(error.to_string()))
}

/// The digests of an app's kept Releases.
pub(super) async fn kept<W: World>(context: &Context<W>, app: &App) -> Result<BTreeSet<Digest>, ApiError> {
    Ok(parts(context, app, None).await?.iter().filter_map(store::release::digest_of).collect())
}

/// The Release that was kept last, other than this one: a rollout keeps its Stable and then its Target.
pub(super) async fn newest_but<W: World>(
    context: &Context<W>,
    app: &App,
    target: Digest,
) -> Result<Option<Digest>, ApiError> {
    let parts = parts(context, app, None).await?;
    let others = parts.iter().filter_map(|part| {
        let digest = store::release::digest_of(part).filter(|digest| *digest != target)?;
        Some((part.text("/metadata/creationTimestamp").unwrap_or_default().to_owned(), digest))
    });
    Ok(others.max().map(|(_, digest)| digest))
}

/// Reads a kept Release.
pub(super) async fn restore<W: World>(
    context: &Context<W>,
    app: &App,
    digest: Digest,
) -> Result<Option<Release>, ApiError> {
    let parts = parts(context, app, Some(digest)).await?;
    if parts.is_empty() {
        return Ok(None);
    }
    store::release::restore(&parts).map(Some).map_err(|error| ApiError::Invalid(error.to_string()))
}

/// Drops a kept Release.
pub(super) async fn drop_release<W: World>(context: &Context<W>, app: &App, digest: Digest) -> Outcome {
    let failed = |error: &ApiError| failure(None, error.to_string(), error);
    let parts = match parts(context, app, Some(digest)).await {
        Ok(parts) => parts,
        Err(error) => return failed(&error),
    };
    for part in parts {
        if let Err(error) = context.world.delete(&part.key, &part.version, &preconditions(&part), None).await {
            return failed(&error);
        }
    }
    Outcome::Dropped(digest)
}

/// What is remembered of a write that did not work. One that was not sent, since this agent does not lead at present, is no
/// problem of the app's: it comes again with the next pass.
pub(super) fn failure(key: Option<ObjectKey>, reason: String, error: &ApiError) -> Outcome {
    match error {
        ApiError::Deposed => Outcome::Withheld,
        error => Outcome::Failed {
            key,
            reason,
            is_transient: error.is_transient(),
            is_immutable: matches!(error, ApiError::Immutable(_)),
        },
    }
}

fn preconditions(object: &Object) -> Preconditions {
    Preconditions { uid: object.uid().to_owned(), resource_version: object.resource_version().to_owned() }
}

/// Deletes the app's custom resource, last of all.
pub(super) async fn forget<W: World>(context: &Context<W>, app: &App) -> Vec<Outcome> {
    let Some(object) = &app.object else { return vec![Outcome::Done] };
    match context.world.delete(&object.key, &object.version, &preconditions(object), None).await {
        Ok(()) => {
            context.telemetry.forget(destination(app), &app.name);
            vec![Outcome::Done]
        }
        Err(error) => vec![failure(None, error.to_string(), &error)],
    }
}

/// A notice as a Kubernetes Event.
pub(super) fn event<W: World>(context: &Context<W>, app: &App, notice: &Notice) -> Object {
    let uid = app.object.as_ref().map(Object::uid).unwrap_or_default();
    let nonce = u64::from_le_bytes(context.world.random()[..8].try_into().expect("eight bytes of 32"));
    store::notice::event(notice, &context.namespace, uid, context.world.now(), nonce)
}
