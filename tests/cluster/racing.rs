//! Another writer at 1, 10 and 50 writes a second: it is put back a few times, then it is left alone and named (S12), and
//! whatever it does, rollouts go on by their waves.

use serde_json::json;

use crate::support::fixture::{AppFixture, HELD_SECOND_WAVE};
use crate::support::log::Mark;
use crate::support::racer::{RACER, Racer};
use crate::support::state::Kind;
use crate::support::story::Story;

/// Corrections of one field within an hour.
const CORRECTIONS_MAX: usize = 6;

/// Writes of the racer's greeting.
fn greetings(story: &Story, per_second: u32, writes: usize) -> Racer {
    Racer::start(
        story,
        (Kind::ConfigMap, "web"),
        per_second,
        writes,
        |number| json!({"data": {"greeting": format!("racing-{number}")}}),
    )
}

/// How often the greeting became Git's again.
fn corrections(story: &Story, since: Mark) -> usize {
    let (mut found, mut was_ours) = (0, true);
    story.observer.log().replay(since, |_, state| {
        let is_ours = state.config("web", "greeting") == Some("hello");
        found += usize::from(is_ours && !was_ours);
        was_ours = is_ours;
    });
    found
}

/// Applies that the agent sent, whatever came of them.
fn applies(story: &Story) -> f64 {
    story.agent().metric("tidegate_applies_total", &[])
}

/// A racer at this pace: the app says so, the other value of the same object is still put back, and nothing moves once the
/// racer has stopped.
#[track_caller]
fn race(name: &str, per_second: u32, writes: usize) {
    let mut story = Story::begin(name);
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    story.repo.edit("manifests/web/config.yaml", "  greeting: hello\n", "  greeting: hello\n  farewell: bye\n");
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");
    // Somebody who owns a value of the same object and fights with nobody.
    story.kubectl(r#"patch configmap web --type=merge --field-manager=accountant -p {"data":{"sum":"1"}}"#);
    let (start, before) = (story.mark(), applies(&story));

    let racer = greetings(&story, per_second, writes);
    story.wait_app("web", "is contended, and says by whom", |app| {
        ["Contended", "ConfigMap", "/data/greeting", &format!("`{RACER}`")].iter().all(|part| app.why().contains(part))
    });
    story.kubectl(r#"patch configmap web --type=merge --field-manager=vandal -p {"data":{"farewell":"never"}}"#);
    story.agent().await_that("the other value is put back", || {
        let was_changed = story.observer.log().ever(start, |state| state.config("web", "farewell") == Some("never"));
        was_changed && story.observer.now(|state| state.config("web", "farewell") == Some("bye"))
    });
    assert!(racer.finish() > CORRECTIONS_MAX);
    let last = format!("racing-{}", writes - 1);
    story.observer.wait("the racer's last value stands", |state| state.config("web", "greeting") == Some(&last));

    let (end, log) = (story.mark(), story.observer.log());
    let corrected = corrections(&story, start);
    assert!((1..=CORRECTIONS_MAX).contains(&corrected), "{corrected} corrections\n{}", log.story());
    // One more for the other value, and none that the server finds to change nothing; the rest is room for a pass that saw
    // half of it.
    let made = applies(&story) - before;
    assert!(made < 9.5, "{made} applies\n{}", story.agent().log_tail(40));
    story.agent().await_polls();
    let log = story.observer.log();
    assert_eq!(log.writes(end, Kind::ConfigMap), 0, "{}", log.story());
    assert!(story.observer.now(|state| state.config("web", "greeting") == Some(&last)));
    assert_eq!(story.app("web", |app| app.phase().to_owned()), "Contended");
    log.assert_untouched(start, "1.0.0");
}

#[test]
fn a_racer_at_one_write_a_second_is_left_alone() {
    race("race-1", 1, 12);
}

#[test]
fn a_racer_at_ten_writes_a_second_is_left_alone() {
    race("race-10", 10, 60);
}

#[test]
fn a_racer_at_fifty_writes_a_second_is_left_alone() {
    race("race-50", 50, 250);
}

/// An app on 1.0.0 with a gate in its second wave, raced against while 1.1.0 goes out.
fn rolls_out(name: &str, begin: impl FnOnce(&Story) -> Vec<Racer>) -> (Story, Mark) {
    let mut story = Story::begin(name);
    AppFixture::new("web").plan(HELD_SECOND_WAVE).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    let gate = story.start_agent_with_gate();
    story.wait_settled("web", "1.0.0");
    let start = story.mark();
    let racers = begin(&story);
    story.repo.bump("web", "1.1.0");
    story.wait_wave("web", "1.1.0", 1);
    gate.open();
    let is_done =
        |app: crate::support::application::App<'_>| app.effective("version") == "1.1.0" && app.rollout().is_none();
    story.wait_app("web", "has completed 1.1.0", is_done);
    story.observer.wait("all pods are new", |state| state.runs("web", "1.1.0", 10));
    racers.into_iter().for_each(Racer::stop);
    let log = story.observer.log();
    log.assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
    assert!(log.min_ready(start) >= 8, "{}", log.story());
    (story, start)
}

#[test]
fn racers_for_metadata_and_configuration_do_not_keep_a_rollout_from_its_end() {
    let (story, start) = rolls_out("race-wave", |story| {
        let labels = Racer::start(
            story,
            (Kind::Deployment, "web"),
            10,
            300,
            |number| json!({"metadata": {"labels": {"app": format!("racing-{number}")}}}),
        );
        vec![labels, greetings(story, 20, 600)]
    });
    let corrected = corrections(&story, start);
    assert!(corrected <= CORRECTIONS_MAX, "{corrected} corrections\n{}", story.observer.log().story());
    story.wait_app("web", "is contended", |app| app.why().contains("Contended") && app.why().contains(RACER));
}

#[test]
fn a_racer_for_the_hold_of_a_wave_does_not_keep_the_rollout_from_its_end() {
    rolls_out("race-hold", |story| {
        vec![Racer::start(
            story,
            (Kind::Deployment, "web"),
            10,
            300,
            |number| json!({"spec": {"progressDeadlineSeconds": 1000 + number}}),
        )]
    });
}
