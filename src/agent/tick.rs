//! One pass over one app. Each line is *edge* or *pure*; `decide` moves the position, the next pass stages it.

use std::collections::BTreeMap;

use super::execute::Sight;
use super::neighbours::Stood;
use super::rest::is_moving;
use super::{App, Context, execute, keep, publish, sight};
use crate::decide::{Situation, decide};
use crate::diff::diff;
use crate::model::{Object, ObjectKey, Timestamp};
use crate::stage::{Inputs, Stage, stage};
use crate::world::World;

/// What a pass brings back.
#[derive(Debug)]
pub struct Passed {
    /// The app.
    pub app: App,
    /// Objects that answers to reads and writes have shown, newer than the cache may be.
    pub learned: Vec<Object>,
    /// Objects whose deletion was accepted.
    pub gone: Vec<ObjectKey>,
    /// Objects that a read by name showed not to exist, each with the resourceVersion in which this pass knew it.
    pub absent: Vec<(ObjectKey, String)>,
    /// Events to write.
    pub notices: Vec<Object>,
    /// When to look again without being told to.
    pub wake_at: Option<Timestamp>,
    /// Whether nothing is left of the app.
    pub is_forgotten: bool,
}

/// Passes once over `app`. `seen` is what watches have shown of its objects.
pub async fn tick<W: World>(context: &Context<W>, mut app: App, mut seen: BTreeMap<ObjectKey, Object>) -> Passed {
    let now = context.world.now();
    let loaded = keep::load(context, &mut app, &mut seen).await; //                 edge
    let (live, mut trace) = sight::observe(context, &app, loaded, seen, now).await; // edge
    if live.unreadable.is_none() {
        app.attend(now);
        app.rehearsal.clone_from(&live.rehearsal);
    }
    let inputs = Inputs {
        owner: &context.owner,
        secret_key: &context.secret_key,
        application: app.application().map(AsRef::as_ref),
        stable: app.stable().and_then(|digest| app.release(digest)).map(AsRef::as_ref),
        target: app.target().and_then(|digest| app.release(digest)).map(AsRef::as_ref),
        rollout: app.history.record.as_ref().and_then(|record| record.rollout.as_ref()),
        live: &live,
        before: Some(&app.staged),
    };
    let stage = stage(&inputs); //                                                  pure
    let inventory = app.history.record.as_ref().map(|record| record.inventory.clone()).unwrap_or_default();
    let changes = diff(&stage, &inventory, &live, &context.owner); //               pure
    let decision = decide(&Situation {
        declared: &app.declared,
        history: &app.history,
        stable: inputs.stable,
        target: inputs.target,
        next: app.next.as_deref(),
        previous: app.previous().and_then(|digest| app.release(digest)).map(AsRef::as_ref),
        stage: &stage,
        changes: &changes,
        live: &live,
        neighbours: &app.neighbours,
        failures: &app.failures,
        is_mirrored: keep::is_mirrored(&app),
        now,
    }); //                                                                          pure
    if decision.is_waiting {
        app.history.attended_since = Some(now);
    }
    if let Some(record) = decision.record {
        keep::save(context, &mut app, record, decision.is_lazy, &mut trace).await; // edge: the intent ends the pass
    } else {
        execute::execute(
            context,
            &mut app,
            decision.actions,
            &Sight { stage: &stage, live: &live, changes: &changes },
            &mut trace,
        )
        .await; // edge
    }
    // An app at rest is passed over seldom: what it would save is not worth a copy of its objects.
    app.staged = if is_moving(&app) { stage } else { Stage::default() };
    app.stood = Stood::of(&app, &decision.report);
    let publish_at = publish::publish(context, &mut app, decision.report, &live, &mut trace).await; // edge
    trace.into_passed(app, decision.wake_at, publish_at)
}
