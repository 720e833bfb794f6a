//! Shows an app to its readers: over HTTP at once, in the custom resource's status when it says something new.

use std::sync::Arc;

use super::sight::Trace;
use super::{App, Context, keep};
use crate::model::{Declared, Millis, Timestamp};
use crate::observe::Live;
use crate::status::{AppView, Phase, Report, resource_status};
use crate::store;
use crate::telemetry::StateWrite;
use crate::world::{Part, World};

/// A status that is on its way somewhere is written at most this often; a settled one is written at once.
const STATUS_EVERY: Millis = Millis(1000);
/// A first sync says nothing in status before this: most are over by then, and one write of state is saved.
const FIRST_STATUS_AFTER: Millis = Millis::from_seconds(5);

/// Publishes. Returns when a status that was held back is due.
pub(super) async fn publish<W: World>(
    context: &Context<W>,
    app: &mut App,
    report: Report,
    live: &Live,
    trace: &mut Trace,
) -> Option<Timestamp> {
    if trace.is_forgotten {
        context.world.show(&app.name, None);
        return None;
    }
    let now = context.world.now();
    if app.history.record.is_none() && app.object.is_none() && live.unreadable.is_some() {
        return None;
    }
    let before = app.view.take();
    let view = Arc::new(view(context, app, before.as_deref(), report, now));
    let is_known = app.status.is_some() && app.status_of.as_ref().is_some_and(|shown| shown.says_the_same(&view));
    app.view = Some(Arc::clone(&view));
    context.world.show(&app.name, Some(Arc::clone(&view)));
    let object = app.object.clone()?;
    if app.unusable.is_some() {
        return None;
    }
    if is_known {
        return None;
    }
    let status = resource_status(&view);
    if app.status.as_ref() == Some(&status) {
        app.status_of = Some(view);
        return None;
    }
    let is_settled = matches!(view.report.phase, Phase::Idle | Phase::Held | Phase::SourceFailed | Phase::Waiting);
    let since = app.status_at.or(view.created_at).unwrap_or(now);
    let was_settled = app.status.as_ref().is_some_and(|status| status["conditions"][1]["status"] == "False");
    let is_transient = !is_settled && (app.status_at.is_none() || !was_settled);
    let every = if app.status_at.is_none() { FIRST_STATUS_AFTER } else { STATUS_EVERY };
    if is_transient && !every.has_passed(since, now) {
        return Some(every.after(since));
    }
    context.telemetry.state_written(StateWrite::Status);
    match context.world.update(&store::application::with_status(&object, status.clone()), Part::Status).await {
        Ok(object) => {
            app.object = Some(object);
            app.status = Some(status);
            app.status_at = Some(now);
            app.status_of = Some(view);
        }
        Err(error) => keep::reread(context, app, &error, trace).await,
    }
    None
}

fn view<W: World>(
    context: &Context<W>,
    app: &App,
    before: Option<&AppView>,
    mut report: Report,
    now: Timestamp,
) -> AppView {
    // A fact keeps its age as long as it is the same fact.
    if let (Some(blocking), Some(known)) = (&mut report.blocking, before.and_then(|view| view.report.blocking.as_ref()))
        && blocking.fact == known.fact
    {
        blocking.since = blocking.since.min(known.since);
    }
    let same_phase = before.filter(|view| view.report.phase == report.phase);
    let same_health = before.filter(|view| view.report.health.status == report.health.status);
    let record = app.history.record.clone().unwrap_or_default();
    let (revision, desired) = match &app.declared {
        Declared::Ready { target, .. } => (Some(target.revision.clone()), Some(target.clone())),
        Declared::Broken { revision, .. } => (revision.clone(), None),
        Declared::Removed { revision, .. } => (Some(revision.clone()), None),
    };
    let held = desired.as_ref().and_then(|desired| record.quarantined(desired.digest, desired.attempt)).cloned();
    let object = app.object.as_ref();
    AppView {
        name: app.name.clone(),
        namespace: context.namespace.clone(),
        uid: object.map(|object| object.uid().to_owned()).unwrap_or_default(),
        resource_version: object.map(|object| object.resource_version().to_owned()).unwrap_or_default(),
        generation: object.and_then(|object| object.int("/metadata/generation")).unwrap_or_default(),
        created_at: object.and_then(|object| object.text("/metadata/creationTimestamp")?.parse().ok()),
        repository: app.repository.clone(),
        revision,
        application: app.application().cloned(),
        desired,
        effective: record.stable.clone(),
        held,
        phase_since: same_phase.map_or(now, |view| view.phase_since),
        health_since: same_health.map_or(now, |view| view.health_since),
        reconciled_at: now,
        samples: app.history.samples.clone(),
        report,
        record,
    }
}
