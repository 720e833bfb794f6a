//! From the agent's start to a fleet that is settled.

use std::time::Duration;

use super::scene::{OBJECTS, Scene};
use super::served::Served;
use super::support::application::App;
use super::support::patience::until;
use super::support::state::{Kind, State};
use super::tally::Tally;

/// What the agent's first sync took.
pub(crate) struct Sync {
    /// From the agent's start to the last object.
    pub(crate) objects_seconds: f64,
    /// From the agent's start until every app is settled.
    pub(crate) seconds: f64,
    /// What the API server counted meanwhile.
    pub(crate) served: Served,
    /// Apps rendered.
    pub(crate) renders: f64,
    /// Processor time of the agent.
    pub(crate) cpu: Duration,
    /// Its peak memory in MiB.
    pub(crate) peak_mib: f64,
}

/// Waits for the first sync.
pub(crate) fn measure(scene: &Scene) -> Sync {
    let Scene { agent, observer, fleet, .. } = scene;
    let limit = scene.limit();
    let objects = || observer.now(|state| OBJECTS.iter().all(|kind| fleet.count(state, *kind) == fleet.apps()));
    assert!(until(limit, objects), "the objects did not arrive in {limit:?}\n{}", agent.log_tail(40));
    let objects_seconds = scene.launched.elapsed().as_secs_f64();
    let settled = |state: &State| state.all(Kind::Application).filter(|app| App(app).is_settled()).count();
    assert!(
        until(limit, || observer.now(settled) == fleet.apps()),
        "{} of {} apps settled in {limit:?}\n{}",
        observer.now(settled),
        fleet.apps(),
        agent.log_tail(40)
    );
    let seconds = scene.launched.elapsed().as_secs_f64();
    let (cpu, peak_mib) = (scene.process().cpu(), scene.process().memory_peak());
    let served = Served::now(&scene.plane).since(&scene.served);
    Sync { objects_seconds, seconds, served, renders: Tally::now(scene).renders, cpu, peak_mib }
}
