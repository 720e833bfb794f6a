//! One run: a control plane of its own, one agent, every measurement after the other.

use super::fleet::Fleet;
use super::report::{Figure, Report};
use super::scene::Scene;
use super::support::chance::Chance;
use super::support::plane::Plane;
use super::{bump, drift, first_sync, no_op, rest};

/// Measures everything once.
pub(crate) fn run(apps: usize, chance: &mut Chance) -> Report {
    let mut report = Report::new(apps);
    let fleet = Fleet::new(apps);
    let plane = Plane::own();
    plane.install_crds();
    progress("raw limit, before");
    let before = fleet.apply_raw(&plane, "raw-before");
    Fleet::remove_raw(&plane, "raw-before");

    progress("first sync");
    let scene = Scene::start(plane, fleet);
    let sync = first_sync::measure(&scene);
    progress("raw limit, after");
    // At once, since the machine's mood changes in minutes; and without the agent, which would watch these objects too.
    scene.agent.stop();
    let after = scene.fleet.apply_raw(&scene.plane, "raw-after");
    Fleet::remove_raw(&scene.plane, "raw-after");
    report_limit(&scene.fleet, &sync, (before, after), &mut report);
    scene.agent.start_again();
    scene.agent.await_ready();
    progress("waiting until all is kept");
    scene.await_quiet();
    progress("passes that find nothing to do");
    no_op::measure(&scene, &mut report);
    progress("drift");
    drift::measure(&scene, chance, &mut report);
    progress("bumps, told by webhook");
    bump::hinted(&scene, chance, &mut report);
    progress("bumps, found by polling");
    bump::polled(&scene, chance, &mut report);
    progress("waiting until all is kept");
    scene.await_quiet();
    progress("idle");
    let idle = rest::idle(&scene);
    rest::memory(&scene, &sync, &mut report);
    progress("cold restart");
    rest::restart(&scene, &mut report);

    progress("the control plane alone");
    scene.agent.stop();
    rest::report_idle(&scene, &idle, &mut report);
    report
}

/// The first sync as a fraction of what the API server takes.
fn report_limit(fleet: &Fleet, sync: &first_sync::Sync, (before, after): (f64, f64), report: &mut Report) {
    let objects = as_f64(fleet.objects());
    let raw_objects = as_f64(fleet.raw_objects());
    let raw = f64::midpoint(before, after);
    let per_second = raw_objects / raw;
    let state_writes = sync.served.records + sync.served.statuses + sync.served.releases;
    report.note(
        Figure::new("raw-apply")
            .with("objects", raw_objects, 0)
            .with("seconds", raw, 2)
            .with("before", before, 2)
            .with("after", after, 2)
            .with("per_second", per_second, 0),
    );
    let ratio = (objects + state_writes) / per_second / sync.seconds;
    report.note(
        Figure::new("first-sync")
            .with("ratio", ratio, 2)
            .with("times_raw", 1.0 / ratio, 2)
            .with("seconds", sync.seconds, 2)
            .with("objects_seconds", sync.objects_seconds, 2)
            .with("writes", sync.served.objects + state_writes, 0)
            .with("writes_per_app", state_writes / as_f64(fleet.apps()), 2)
            .with("records", sync.served.records, 0)
            .with("statuses", sync.served.statuses, 0)
            .with("releases", sync.served.releases, 0)
            .with("events", sync.served.events, 0)
            .with("renders", sync.renders, 0)
            .with("cpu_s", sync.cpu.as_secs_f64(), 2)
            .with("peak_mib", sync.peak_mib, 1),
    );
}

fn progress(what: &str) {
    eprintln!("   {what}");
}

/// A count as a figure.
pub(crate) fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("fleets are small"))
}
