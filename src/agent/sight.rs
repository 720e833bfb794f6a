//! The reads of one pass: what watches do not show, and what must not come from a cache.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::tick::Passed;
use super::{App, Context, contention, rehearsal};
use crate::model::{GroupKind, Lane, Moment, Object, ObjectKey, Position, Timestamp};
use crate::observe::{Live, Workload};
use crate::stage::{hooks, is_deployment, moving};
use crate::world::{ApiError, ApplyOptions, Scope, World};

/// A ReplicaSet that quota refuses is woken this often; its own back-off goes up to 1000 s.
const KICK_SECONDS: i64 = 15;
/// After a read that failed, the next pass comes this much later.
const READ_RETRY_MILLIS: u64 = 1000;

/// A step of a rollout that takes longer than this reads the Deployment itself, whatever its watch says.
const READ_AFTER: crate::model::Millis = crate::model::Millis::from_seconds(3);

/// What a pass collects for the scheduler on its way.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Newer objects than the cache may hold.
    pub(super) learned: Vec<Object>,
    /// Objects whose deletion was accepted.
    pub(super) gone: Vec<ObjectKey>,
    /// Objects that a read by name showed not to exist.
    pub(super) absent: Vec<(ObjectKey, String)>,
    /// Events to write.
    pub(super) notices: Vec<Object>,
    /// Whether the next pass is due at once.
    pub(super) again: bool,
    /// When the next pass is due at the latest.
    pub(super) wake_at: Option<Timestamp>,
    /// Whether nothing is left of the app.
    pub(super) is_forgotten: bool,
}

impl Trace {
    /// Asks for a pass at `at` or before.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Closes the pass.
    pub(super) fn into_passed(mut self, app: App, decided: Option<Timestamp>, publish_at: Option<Timestamp>) -> Passed {
        if self.again {
            // Before all others: what was begun is finished first.
            self.wake_at = Some(Timestamp::MIN);
        }
        for at in [decided, publish_at].into_iter().flatten() {
            self.wake(at);
        }
        let Self { learned, gone, absent, notices, again: _, wake_at, is_forgotten } = self;
        Passed { app, learned, gone, absent, notices, wake_at, is_forgotten }
    }
}

/// Reads what this pass needs beside the watches.
pub(super) async fn observe<W: World>(
    context: &Context<W>,
    app: &App,
    loaded: Result<(), ApiError>,
    seen: BTreeMap<ObjectKey, Object>,
    now: Timestamp,
) -> (Live, Trace) {
    let mut trace = Trace::default();
    let mut seen = seen;
    seen.retain(|key, _| !app.unserved.contains(&key.kind));
    let contended = contention::standing(app, now);
    if let Some(until) = contention::ends_at(app, now) {
        trace.wake(until);
    }
    let (applied, unserved) = (app.applied.clone(), app.unserved.clone());
    let mut live = Live { objects: seen, applied, unserved, contended, ..Live::default() };
    if let Some(reason) = &app.unusable {
        live.unreadable = Some(reason.clone());
        return (live, trace);
    }
    let read = async {
        loaded?;
        read_secrets(context, app, &mut live, &mut trace).await?;
        read_workloads(context, app, &mut live, &mut trace, now).await?;
        read_hooks(context, app, &mut live).await?;
        live.rehearsal = rehearsal::rehearse(context, app, &live, now).await;
        ask_about_templates(context, app, &mut live).await
    };
    if let Err(error) = read.await {
        live.unreadable = Some(error.to_string());
        trace.wake(crate::model::Millis(READ_RETRY_MILLIS).after(now));
    }
    let kick = (now.as_second() / KICK_SECONDS).to_string();
    let refused = live.workloads.iter().filter(|(_, workload)| workload.failure().is_some());
    live.kicks = refused.map(|(key, _)| (key.clone(), kick.clone())).collect();
    if !live.kicks.is_empty() {
        trace.wake(crate::model::Millis::from_seconds(2).after(now));
    }
    (live, trace)
}

/// Secrets are not watched, since a watch would need the right to read them all: each is read once by name.
async fn read_secrets<W: World>(
    context: &Context<W>,
    app: &App,
    live: &mut Live,
    trace: &mut Trace,
) -> Result<(), ApiError> {
    for (key, version) in app.keys_of(is_secret) {
        if live.objects.contains_key(key) {
            continue;
        }
        if let Some(object) = context.world.get(key, version).await? {
            let object = without_data(object);
            trace.learned.push(object.clone());
            live.objects.insert(key.clone(), object);
        }
    }
    Ok(())
}

/// Whether it is a Secret.
pub(super) fn is_secret(key: &ObjectKey) -> bool {
    key.kind.is("", "Secret")
}

/// A Secret without what makes it one: contents are never kept in memory.
pub(super) fn without_data(object: Object) -> Object {
    if !is_secret(&object.key) {
        return object;
    }
    let mut body = (*object.body).clone();
    for field in ["data", "stringData"] {
        body.as_object_mut().map(|map| map.remove(field));
    }
    object.with_body(body)
}

/// Reads ReplicaSets and pods of the Deployments that a rollout moves, straight from the server: a hold is computed from
/// lists taken after our last write.
///
/// One that is at 0 has none: nothing is read, and no rollout of it waits for the server's answer. The Deployment itself
/// is known from its watch, and read too once the rollout takes longer than events do: a watch that lost one would let it
/// stand until it is called a failure.
async fn read_workloads<W: World>(
    context: &Context<W>,
    app: &App,
    live: &mut Live,
    trace: &mut Trace,
    now: Timestamp,
) -> Result<(), ApiError> {
    let is_slow = is_slow(app, now);
    for key in concerned(app) {
        let Some(object) = live.objects.get(&key).cloned() else { continue };
        let (object, sets, pods) = if is_empty(&object) && !is_slow {
            (object, Vec::new(), Vec::new())
        } else {
            let selector = selector(&object);
            let scope = |group: &str, kind: &str| Scope {
                kind: GroupKind::new(group, kind),
                version: "v1".to_owned(),
                namespace: Some(key.namespace.clone()),
            };
            let (set_scope, pod_scope) = (scope("apps", "ReplicaSet"), scope("", "Pod"));
            let fresh = async {
                if is_slow { context.world.get(&key, &object.version).await } else { Ok(Some(object.clone())) }
            };
            let reads = futures::future::try_join3(
                fresh,
                context.world.list(&set_scope, &selector),
                context.world.list(&pod_scope, &selector),
            );
            let (fresh, sets, pods) = reads.await?;
            let Some(fresh) = fresh else {
                live.objects.remove(&key);
                trace.absent.push((key, object.resource_version().to_owned()));
                continue;
            };
            if fresh.resource_version() != object.resource_version() {
                live.objects.insert(key.clone(), fresh.clone());
                trace.learned.push(fresh.clone());
            }
            (fresh, sets.items, pods.items)
        };
        live.workloads.insert(key, Workload::read(object, &sets, &pods));
    }
    Ok(())
}

/// Reads the runs of hooks that matter at this position by name: watches only say that there is news.
async fn read_hooks<W: World>(context: &Context<W>, app: &App, live: &mut Live) -> Result<(), ApiError> {
    let Some(rollout) = app.history.record.as_ref().and_then(|record| record.rollout.as_ref()) else { return Ok(()) };
    let Some(target) = app.target().and_then(|digest| app.release(digest)) else { return Ok(()) };
    for hook in hooks(target, rollout) {
        let is_awaited = match rollout.position {
            Position::Preparing | Position::Wave { .. } | Position::Trailing => hook.moment <= Moment::Post,
            Position::Reverting { .. } | Position::Held { .. } => hook.moment > Moment::Post,
        };
        let is_due = match rollout.hooks.run(hook.moment, &hook.key) {
            Some(run) if run.is_success => hook.deletes.is_on_success,
            Some(_) => hook.deletes.is_on_failure,
            None => is_awaited,
        };
        if is_due && let Some(found) = context.world.get(&hook.object.key, &hook.object.version).await? {
            live.hooks.insert(found.key.clone(), without_data(found));
        }
    }
    Ok(())
}

/// Whether the step that the rollout is at takes longer than events do.
fn is_slow(app: &App, now: Timestamp) -> bool {
    let Some(rollout) = app.history.record.as_ref().and_then(|record| record.rollout.as_ref()) else { return false };
    let since = match &rollout.position {
        Position::Reverting { since, .. } | Position::Held { since, .. } => *since,
        Position::Preparing | Position::Wave { .. } | Position::Trailing => {
            rollout.waves.last().map_or(rollout.started_at, |wave| wave.started_at)
        }
    };
    READ_AFTER.has_passed(since, now)
}

/// Whether the Deployment wants no pods and has none, as far as it says. Without pods nothing is computed from counts, and
/// no wave passes before the controller has seen the generation. Should it be scaled up meanwhile, what is written to it
/// is refused, since that carries the resourceVersion that was seen.
fn is_empty(object: &Object) -> bool {
    object.int("/spec/replicas") == Some(0) && object.int("/status/replicas").unwrap_or(0) == 0
}

/// The Deployments whose pods matter in this pass.
fn concerned(app: &App) -> BTreeSet<ObjectKey> {
    let Some(rollout) = app.history.record.as_ref().and_then(|record| record.rollout.as_ref()) else {
        return BTreeSet::new();
    };
    let target = app.target().and_then(|digest| app.release(digest));
    let stable = app.stable().and_then(|digest| app.release(digest));
    match (rollout.lane, &rollout.position, stable, target) {
        (Lane::FirstSync | Lane::Direct, _, _, Some(target)) => {
            target.objects.keys().filter(|key| is_deployment(key)).cloned().collect()
        }
        (Lane::Waves | Lane::Express, Position::Preparing, Some(stable), Some(target)) => moving(stable, target),
        (Lane::FirstSync | Lane::Direct | Lane::Waves | Lane::Express, _, _, _) => {
            rollout.stable_hashes.keys().cloned().collect()
        }
    }
}

/// Asks the server by dry run which templates Target would really change: no hold where nothing would change, since the
/// ReplicaSet that stands would match the "new" template.
async fn ask_about_templates<W: World>(context: &Context<W>, app: &App, live: &mut Live) -> Result<(), ApiError> {
    let Some(rollout) = app.history.record.as_ref().and_then(|record| record.rollout.as_ref()) else { return Ok(()) };
    let Some(target) = app.target().and_then(|digest| app.release(digest)) else { return Ok(()) };
    if rollout.position != Position::Preparing || rollout.lane == Lane::Direct {
        return Ok(());
    }
    let acting = app.acting();
    for (key, workload) in live.workloads.iter().filter(|(_, workload)| workload.n() > 0 && !workload.is_held()) {
        let Some(object) = target.objects.get(key) else { continue };
        let options = ApplyOptions { is_forced: true, is_dry_run: true, manager: crate::model::marks::FIELD_MANAGER };
        match context.world.apply(object, options, acting.as_deref()).await {
            Ok(after) if after.at("/spec/template") == workload.object.at("/spec/template") => {
                live.unchanged_templates.push(key.clone());
            }
            // What the server refuses is told by the apply itself, at its wave.
            Ok(_)
            | Err(ApiError::Invalid(_) | ApiError::Immutable(_) | ApiError::Forbidden(_) | ApiError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The Deployment's own selector, as a label selector.
fn selector(object: &Object) -> String {
    let labels = object.at("/spec/selector/matchLabels").and_then(Value::as_object);
    let pairs = labels.into_iter().flatten().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    pairs.collect::<Vec<_>>().join(",")
}
