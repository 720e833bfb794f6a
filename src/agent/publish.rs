//! Shows an app to its readers: over HTTP at once, in the custom resource's status when it says something new.

use std::sync::Arc;

use serde_json::Value;

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
    let is_known = app.status().is_some() && app.status_of.as_ref().is_some_and(|shown| shown.says_the_same(&view));
    app.view = Some(Arc::clone(&view));
    context.world.show(&app.name, Some(Arc::clone(&view)));
    let object = app.object.clone()?;
    if app.unusable.is_some() {
        return None;
    }
    if is_known {
        // One of the two is enough to keep.
        app.status_of = Some(view);
        return None;
    }
    let status = resource_status(&view);
    if app.status() == Some(&status) {
        app.status_of = Some(view);
        return None;
    }
    let is_settled = matches!(view.report.phase, Phase::Idle | Phase::Held | Phase::SourceFailed | Phase::Waiting);
    let since = app.status_at.or(view.created_at).unwrap_or(now);
    let was_settled = app.status().is_some_and(|status| status["conditions"][1]["status"] == "False");
    let is_transient = !is_settled && (app.status_at.is_none() || !was_settled);
    let every = if app.status_at.is_none() { FIRST_STATUS_AFTER } else { STATUS_EVERY };
    if is_transient && !every.has_passed(since, now) {
        return Some(every.after(since));
    }
    // What is about to be done at once is not kept waiting for word of it.
    if trace.again && !is_settled && !STATUS_EVERY.has_passed(view.phase_since, now) {
        return Some(STATUS_EVERY.after(view.phase_since));
    }
    context.telemetry.state_written(StateWrite::Status);
    match context.world.update(&store::application::with_status(&object, status), Part::Status).await {
        Ok(object) => {
            app.object = Some(object);
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
    // After a restart, what the status says: else every app's status would be written anew for its times alone.
    let stored = app.status().filter(|_| before.is_none());
    // A fact keeps its age as long as it is the same fact.
    if let Some(blocking) = &mut report.blocking {
        let known = before.and_then(|view| view.report.blocking.as_ref()).filter(|known| known.fact == blocking.fact);
        let known = known.map(|known| known.since).or_else(|| stored_fact_since(stored?, &blocking.fact));
        blocking.since = known.map_or(blocking.since, |known| known.min(blocking.since));
    }
    let same_phase = before.filter(|view| view.report.phase == report.phase).map(|view| view.phase_since);
    let phase_since = same_phase.or_else(|| stored_phase_since(stored?, report.phase)).unwrap_or(now);
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
        rendered_from: app.rendered_from.clone(),
        application: app.application().cloned(),
        desired,
        effective: record.stable.clone(),
        held,
        phase_since,
        health_since: same_health.map_or(now, |view| view.health_since),
        reconciled_at: now,
        samples: app.history.samples.clone(),
        report,
        record,
    }
}

/// Since when a stored status has shown this phase; `None` when it shows another.
fn stored_phase_since(status: &Value, phase: Phase) -> Option<Timestamp> {
    let is_same = status.get("phase").and_then(Value::as_str) == Some(phase.as_str());
    status.pointer("/conditions/0/lastTransitionTime").filter(|_| is_same)?.as_str()?.parse().ok()
}

/// Since when a stored status has told this fact; `None` when it tells another.
fn stored_fact_since(status: &Value, fact: &str) -> Option<Timestamp> {
    let is_same = status.pointer("/why/fact").and_then(Value::as_str) == Some(fact);
    status.pointer("/why/since").filter(|_| is_same)?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_tells_since_when_only_of_the_same_phase_and_fact() {
        let status = json!({"phase": "Held", "why": {"fact": "2.0.0 failed", "since": "2026-01-02T03:04:05Z"},
            "conditions": [{"type": "Ready", "lastTransitionTime": "2026-01-02T03:04:06Z"}]});
        let at = |text: &str| Some(text.parse::<Timestamp>().expect("it is a time"));
        assert_eq!(stored_phase_since(&status, Phase::Held), at("2026-01-02T03:04:06Z"));
        assert_eq!(stored_phase_since(&status, Phase::Idle), None);
        assert_eq!(stored_fact_since(&status, "2.0.0 failed"), at("2026-01-02T03:04:05Z"));
        assert_eq!(stored_fact_since(&status, "3.0.0 failed"), None);
        assert_eq!(stored_phase_since(&json!({}), Phase::Idle), None);
    }
}
