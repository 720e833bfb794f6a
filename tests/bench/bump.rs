//! A one-line bump, from the push to the new image in the cluster.

use std::time::{Duration, Instant, SystemTime};

use super::report::{Figure, Report};
use super::run::as_f64;
use super::scene::{POLL_INTERVAL, Scene};
use super::support::chance::Chance;
use super::support::state::{State, template_version};
use super::tally::Tally;
use super::trace;

/// Bumps when the agent is told: at least, and at most; between them, one per app.
const SAMPLES: (usize, usize) = (50, 200);

/// So many times fewer when it must find out by polling, since each takes half of the interval before and after.
const POLLED_SHARE: usize = 40;

/// One bump.
struct Sample {
    commit: String,
    /// From the end of `git push`.
    from_push: Duration,
    /// When the event with the new image was seen.
    applied_at: SystemTime,
}

/// Bumps that a webhook tells of.
pub(crate) fn hinted(scene: &Scene, chance: &mut Chance, report: &mut Report) {
    let count = scene.fleet.apps().clamp(SAMPLES.0, SAMPLES.1);
    let before = Tally::now(scene);
    let mut samples = Vec::new();
    for (number, app) in scene.fleet.draw(count, chance).iter().enumerate() {
        samples.push(bump(scene, app, &format!("2.{number}.0"), true));
    }
    let cost = Tally::now(scene).since(&before);
    note("bump", scene, &samples, &cost, report);
}

/// Bumps that are found by polling, at random moments between two polls.
pub(crate) fn polled(scene: &Scene, chance: &mut Chance, report: &mut Report) {
    let count = scene.fleet.apps().clamp(SAMPLES.0, SAMPLES.1) / POLLED_SHARE;
    let before = Tally::now(scene);
    let mut samples = Vec::new();
    for (number, app) in scene.fleet.draw(count, chance).iter().enumerate() {
        // The polls after a rollout come sooner: they are over after this.
        let milliseconds = u64::try_from(POLL_INTERVAL.1.as_millis()).expect("intervals are short");
        let phase = u64::try_from(chance.below(milliseconds)).expect("intervals are short");
        scene.pass(POLL_INTERVAL.1 + Duration::from_millis(phase));
        samples.push(bump(scene, app, &format!("3.{number}.0"), false));
    }
    let cost = Tally::now(scene).since(&before);
    note("bump-polled", scene, &samples, &cost, report);
}

/// Pushes a bump and waits for its image, and then for the app to be settled, so that bumps do not overlap.
fn bump(scene: &Scene, app: &str, version: &str, is_hinted: bool) -> Sample {
    scene.repo.edit_version(&format!("apps/{app}.yaml"), version);
    let mark = scene.observer.mark();
    let commit = scene.repo.commit(&format!("{app} {version}"));
    scene.repo.push();
    let pushed = Instant::now();
    if is_hinted {
        scene.hint();
    }
    let applied = await_image(scene, app, version);
    let applied_at = SystemTime::now() - applied.elapsed();
    scene.await_event(&format!("{app} is settled on {version}"), |state| {
        state.app(app).is_some_and(|found| found.is_settled_on(version))
    });
    if trace::is_wanted() {
        trace::print(scene, mark, pushed);
    }
    Sample { commit, from_push: applied.saturating_duration_since(pushed), applied_at }
}

/// Waits for the event that carries the image of a version.
pub(crate) fn await_image(scene: &Scene, app: &str, version: &str) -> Instant {
    let has_image = |state: &State| state.deployment(app).is_some_and(|found| template_version(found) == version);
    scene.await_event(&format!("Deployment {app} has version {version}"), has_image)
}

fn note(what: &'static str, scene: &Scene, samples: &[Sample], cost: &Tally, report: &mut Report) {
    let log = scene.agent.log();
    let (mut pushed, mut detected, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for sample in samples {
        let moment = |words: &str| {
            logged(&log, words, &sample.commit)
                .unwrap_or_else(|| panic!("the agent's log does not say `{words}` of {}", sample.commit))
        };
        let since = |moment: SystemTime| sample.applied_at.duration_since(moment).unwrap_or_default();
        pushed.push(sample.from_push);
        detected.push(since(moment("the repository has a new commit")));
        read.push(since(moment("a commit was read")));
    }
    let count = as_f64(samples.len());
    report.note(
        Figure::new(what)
            .with("samples", count, 0)
            .with_times("", &pushed)
            .with_times("detected_", &detected)
            .with_times("read_", &read)
            .with("requests", cost.requests / count, 1)
            .with("applies", cost.applies / count, 1)
            .with("state_writes", cost.writes_of_state / count, 1)
            .with("gets", cost.gets / count, 1)
            .with("lists_watches", cost.watches / count, 1)
            .with("git_requests", cost.git / count, 1)
            .with("passes", cost.passes / count, 1)
            .with("renders", cost.renders / count, 1)
            .with("cpu_ms", cost.cpu.as_secs_f64() * 1000.0 / count, 1),
    );
}

/// When the agent wrote a line with these words about a commit.
fn logged(log: &str, words: &str, commit: &str) -> Option<SystemTime> {
    let line = log.lines().find(|line| line.contains(words) && line.contains(commit))?;
    let moment: jiff::Timestamp = line.split_whitespace().next()?.parse().ok()?;
    Some(SystemTime::from(moment))
}
