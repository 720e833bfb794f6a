//! The agent at rest, its memory, and how fast it is back after a kill.

use std::time::{Duration, Instant};

use super::bump::await_image;
use super::first_sync::Sync;
use super::fleet::Fleet;
use super::report::{Figure, Report};
use super::scene::Scene;
use super::served::Served;
use super::tally::Tally;
use super::trace;

/// How long the agent is watched at rest.
const WINDOW: Duration = Duration::from_secs(60);

/// What the API server needs to count what the agent left behind.
const SETTLING: Duration = Duration::from_secs(5);

/// What happened in one window in which nothing changed.
pub(crate) struct Idle {
    agent: Tally,
    /// Requests of everybody, as the API server counted them.
    served: f64,
}

/// Watches a quiet minute.
pub(crate) fn idle(scene: &Scene) -> Idle {
    let before = (Served::now(&scene.plane), Tally::now(scene));
    scene.pass(WINDOW);
    let agent = Tally::now(scene).since(&before.1);
    Idle { agent, served: Served::now(&scene.plane).since(&before.0).all }
}

/// Watches another minute without the agent, and reports the one with it.
pub(crate) fn report_idle(scene: &Scene, idle: &Idle, report: &mut Report) {
    // The agent's watches are counted as they end.
    scene.pass(SETTLING);
    let before = Served::now(&scene.plane);
    scene.pass(WINDOW);
    let alone = Served::now(&scene.plane).since(&before).all;
    report.note(
        Figure::new("idle")
            .with("seconds", WINDOW.as_secs_f64(), 0)
            .with("requests_per_min", per_minute(idle.agent.requests), 1)
            .with("server_saw_per_min", per_minute(idle.served), 1)
            .with("server_alone_per_min", per_minute(alone), 1)
            .with("watches_per_min", per_minute(idle.agent.watches), 1)
            .with("gets_per_min", per_minute(idle.agent.gets), 1)
            .with("git_per_min", per_minute(idle.agent.git), 1)
            .with("polls_per_min", per_minute(idle.agent.polls), 1)
            .with("passes", idle.agent.passes, 0)
            .with("mcpu", idle.agent.cpu.as_secs_f64() * 1000.0 / WINDOW.as_secs_f64(), 1),
    );
}

fn per_minute(count: f64) -> f64 {
    count * 60.0 / WINDOW.as_secs_f64()
}

/// The agent's memory after all measurements, its first sync included.
pub(crate) fn memory(scene: &Scene, sync: &Sync, report: &mut Report) {
    report.note(
        Figure::new("memory")
            .with("peak_mib", scene.process().memory_peak().max(sync.peak_mib), 1)
            .with("first_sync_peak_mib", sync.peak_mib, 1)
            .with("idle_mib", scene.process().memory(), 1),
    );
}

/// Kills the agent, takes its clone away, pushes a bump, and starts it again.
pub(crate) fn restart(scene: &Scene, report: &mut Report) {
    const VERSION: &str = "4.0.0";
    let app = Fleet::name(scene.fleet.apps() / 2);
    scene.agent.sigkill();
    std::fs::remove_dir_all(scene.agent.store()).expect("the agent had a clone");
    scene.repo.bump(&app, VERSION);
    let begun = Instant::now();
    scene.agent.start_again();
    let (ready, applied) = std::thread::scope(|threads| {
        let applied = threads.spawn(|| await_image(scene, &app, VERSION));
        scene.agent.await_ready();
        (begun.elapsed(), applied.join())
    });
    let applied = applied.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).saturating_duration_since(begun);
    if trace::is_wanted() {
        eprintln!("{}", scene.agent.log_tail(30));
    }
    scene.await_quiet();
    // Its counters began anew: what they show is what the new start needed, and quiet to be sure of it.
    let cost = Tally::now(scene);
    report.note(
        Figure::new("cold-restart")
            .with("ready_ms", ready.as_secs_f64() * 1000.0, 0)
            .with("bump_ms", applied.as_secs_f64() * 1000.0, 0)
            .with("cpu_s", cost.cpu.as_secs_f64(), 2)
            .with("requests", cost.requests, 0)
            .with("applies", cost.applies, 0)
            .with("state_writes", cost.writes_of_state, 0)
            .with("gets", cost.gets, 0)
            .with("renders", cost.renders, 0)
            .with("passes", cost.passes, 0)
            .with("peak_mib", scene.process().memory_peak(), 1),
    );
}
