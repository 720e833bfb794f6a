//! A bad version is taken back by itself, a person's wish at once, and `git revert` by the express lane.

use crate::support::fixture::{AppFixture, ERROR_RATE_AT_WAVE_TWO, SHORT_DEADLINE};
use crate::support::log::Mark;
use crate::support::story::Story;

/// What holds after every revert from the first wave: the old pods never noticed, and everything is as declared.
#[track_caller]
fn assert_taken_back(story: &Story, start: Mark, version: &str) {
    let log = story.observer.log();
    log.assert_untouched(start, "1.0.0");
    log.assert_contained(start, "web", version, &[1, 3, 10]);
    story.observer.wait("no pod of the bad version is left", |state| state.runs("web", "1.0.0", 10));
    story.assert_declared_pace("web");
    story.app("web", |app| {
        assert_eq!((app.health(), app.sync()), ("Degraded", "OutOfSync"));
        assert_eq!(app.condition("Ready"), ("False", "Held"));
        assert_eq!((app.desired("version"), app.effective("version")), (version, "1.0.0"));
        assert_eq!(app.quarantine(), [version]);
        assert_eq!(app.past_of(version).expect("the rollout is remembered").outcome(), "reverted");
        assert!(!app.why().is_empty());
    });
}

#[test]
fn a_crash_looping_version_is_reverted_and_old_pods_are_never_touched() {
    let story = Story::begin_with("crash", &AppFixture::new("web"));
    let start = story.mark();

    story.repo.bump("web", "1.1.0-crash");
    story.wait_held("web", "1.1.0-crash");

    assert_taken_back(&story, start, "1.1.0-crash");
    assert_eq!(story.observer.log().max_pods(start, "1.1.0-crash"), 1);
    let waves = story.observer.log().by_wave(start, "web", "1.1.0-crash");
    assert_eq!(waves.len(), 1, "it never came past the first wave");
}

#[test]
fn a_version_that_never_becomes_ready_is_reverted_at_its_deadline() {
    let story = Story::begin_with("never-ready", &AppFixture::new("web").plan(SHORT_DEADLINE));
    let start = story.mark();

    story.repo.bump("web", "1.1.0-neverready");
    story.wait_held("web", "1.1.0-neverready");

    assert_taken_back(&story, start, "1.1.0-neverready");
    assert_eq!(story.observer.log().max_pods(start, "1.1.0-neverready"), 1);
    story.app("web", |app| {
        let reason = app.past_of("1.1.0-neverready").expect("it is remembered").reason();
        assert!(reason.contains("not ready in time"), "{reason}");
    });
}

#[test]
fn an_image_that_cannot_be_pulled_is_reverted_at_its_deadline() {
    let story = Story::begin_with("pull-error", &AppFixture::new("web").plan(SHORT_DEADLINE));
    let start = story.mark();

    story.repo.bump("web", "1.1.0-pullerr");
    story.wait_held("web", "1.1.0-pullerr");

    assert_taken_back(&story, start, "1.1.0-pullerr");
}

#[test]
fn pods_that_fail_while_the_wave_bakes_shut_its_gate() {
    let plan = "
  waves:
  - {name: one, replicas: 1, bake: 60s, timeout: 20s}
  - {name: all, replicas: 100%, timeout: 60s}
";
    let story = Story::begin_with("bake", &AppFixture::new("web").plan(plan));
    let start = story.mark();

    story.repo.bump("web", "1.1.0-fail-3s");
    story.wait_app("web", "bakes", |app| app.phase() == "Baking");
    story.wait_held("web", "1.1.0-fail-3s");

    assert_taken_back(&story, start, "1.1.0-fail-3s");
}

#[test]
fn a_bad_metric_reverts_the_second_wave() {
    let mut story = Story::begin("bad-metric");
    AppFixture::new("web").plan(ERROR_RATE_AT_WAVE_TWO).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent_with_prometheus();
    story.wait_settled("web", "1.0.0");
    let start = story.mark();

    story.repo.bump("web", "1.1.0-errors-20");
    story.wait_held("web", "1.1.0-errors-20");

    assert_taken_back(&story, start, "1.1.0-errors-20");
    let log = story.observer.log();
    assert_eq!(log.by_wave(start, "web", "1.1.0-errors-20").len(), 2, "{}", log.story());
    assert_eq!(log.max_pods(start, "1.1.0-errors-20"), 3, "{}", log.story());
    story.app("web", |app| {
        let past = app.past_of("1.1.0-errors-20").expect("it is remembered");
        let gate = past.gate("quarter", "errors").expect("the gate is remembered");
        assert_eq!(gate["verdict"], "fail", "{gate:#}");
        let worst = gate["measurements"].as_array().into_iter().flatten().filter_map(|sample| sample["value"].as_f64());
        assert!(worst.fold(0.0, f64::max) > 0.05, "{gate:#}");
    });
}

#[test]
fn a_good_metric_lets_the_second_wave_pass() {
    let mut story = Story::begin("good-metric");
    AppFixture::new("web").plan(ERROR_RATE_AT_WAVE_TWO).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent_with_prometheus();
    story.wait_settled("web", "1.0.0");
    let start = story.mark();

    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");

    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
    story.app("web", |app| {
        let past = app.past_of("1.1.0").expect("it is remembered");
        let gate = past.gate("quarter", "errors").expect("the gate is remembered");
        assert_eq!(gate["measurements"].as_array().map(Vec::len), Some(3), "{gate:#}");
    });
}

#[test]
fn git_revert_takes_the_express_lane() {
    let story = Story::begin_with("git-revert", &AppFixture::new("web"));
    let bump = story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    let start = story.mark();

    story.repo.revert(&bump);
    story.wait_settled("web", "1.0.0");

    let log = story.observer.log();
    assert_eq!(log.lanes(start, "web", "1.0.0"), ["express".to_owned()].into(), "{}", log.story());
    assert_eq!(log.by_wave(start, "web", "1.0.0").len(), 1, "one wave\n{}", log.story());
    assert!(log.min_ready(start) >= 8, "the declared pace still holds\n{}", log.story());
    assert!(story.observer.now(|state| state.runs("web", "1.0.0", 10)));
    assert_eq!(story.app("web", |app| app.past_of("1.0.0").expect("it is remembered").lane().to_owned()), "express");
}

#[test]
fn git_revert_in_the_middle_of_a_rollout_goes_straight_back() {
    let (story, _gate, start) = Story::in_mid_rollout("revert-mid");

    let bump = story.repo.head();
    story.repo.revert(&bump);
    story.wait_settled("web", "1.0.0");

    let log = story.observer.log();
    log.assert_untouched(start, "1.0.0");
    assert_eq!(log.max_pods(start, "1.1.0"), 3, "{}", log.story());
    story.observer.wait("the new pods are gone", |state| state.runs("web", "1.0.0", 10));
    story.app("web", |app| {
        assert_eq!(app.past_of("1.1.0").expect("it is remembered").outcome(), "withdrawn");
        assert!(app.quarantine().is_empty(), "nobody said that 1.1.0 is bad");
    });
    story.assert_declared_pace("web");
}

#[test]
fn abort_on_demand_goes_back_and_quarantines() {
    let (story, _gate, start) = Story::in_mid_rollout("abort");

    let (out, error, code) = story.tidegate("abort web");
    assert_eq!(code, 0, "{out}{error}");
    story.wait_held("web", "1.1.0");

    assert_taken_back(&story, start, "1.1.0");
    assert!(story.app("web", |app| app.answer()).contains("abort"));
}

#[test]
fn rollback_on_demand_goes_back_to_the_release_before() {
    let story = Story::begin_with("rollback", &AppFixture::new("web"));
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");

    let (out, error, code) = story.tidegate("rollback web");
    assert_eq!(code, 0, "{out}{error}");
    story.wait_held("web", "1.1.0");

    story.observer.wait("the release before runs", |state| state.runs("web", "1.0.0", 10));
    story.assert_declared_pace("web");
    assert_eq!(story.app("web", |app| app.effective("version").to_owned()), "1.0.0");
}

#[test]
fn the_next_good_commit_after_a_revert_goes_on_from_stable() {
    let story = Story::begin_with("next-good", &AppFixture::new("web"));
    story.repo.bump("web", "1.1.0-crash");
    story.wait_held("web", "1.1.0-crash");
    let start = story.mark();

    story.repo.bump("web", "1.2.0");
    story.wait_settled("web", "1.2.0");

    let log = story.observer.log();
    log.assert_contained(start, "web", "1.2.0", &[1, 3, 10]);
    assert_eq!(log.max_pods(start, "1.1.0-crash"), 0, "{}", log.story());
    assert_eq!(story.app("web", |app| app.held("version").to_owned()), "");
}

#[test]
fn a_shut_gate_waits_for_a_person_where_the_application_says_so() {
    let story = Story::begin_with("manual", &AppFixture::new("web").spec("rollback: manual"));
    let start = story.mark();

    story.repo.bump("web", "1.1.0-crash");
    story.wait_app("web", "is held in its wave", |app| app.position() == "held" && app.health() == "Degraded");
    story.agent().await_polls();
    assert_eq!(story.observer.now(|state| (state.pods_of("1.0.0"), state.pods_of("1.1.0-crash"))), (10, 1));

    let (out, error, code) = story.tidegate("abort web");
    assert_eq!(code, 0, "{out}{error}");
    story.wait_app("web", "is back", |app| app.rollout().is_none() && app.quarantine() == ["1.1.0-crash"]);
    story.wait_held("web", "1.1.0-crash");
    assert_taken_back(&story, start, "1.1.0-crash");
}
