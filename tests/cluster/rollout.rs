//! A good version goes out in waves, with exactly the pods that each wave has.

use crate::support::fixture::{AppFixture, HELD_FIRST_WAVE, THREE_WAVES_IN_PLACE};
use crate::support::log::WaveSeen;
use crate::support::story::Story;

/// Old and new pods when each wave ended.
fn ends(waves: &[WaveSeen]) -> Vec<(usize, usize)> {
    waves.iter().map(|wave| wave.at_end).collect()
}

#[test]
fn a_good_bump_goes_through_three_waves_beside_the_old_pods() {
    let story = Story::begin_with("surge", &AppFixture::new("web"));
    let start = story.mark();

    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");

    let log = story.observer.log();
    let waves = log.by_wave(start, "web", "1.1.0");
    assert_eq!(ends(&waves), [(10, 1), (10, 3), (0, 10)], "{waves:#?}\n{}", log.story());
    assert_eq!(waves[0].new_max, 1, "{waves:#?}\n{}", log.story());
    assert_eq!(waves[1].new_max, 3, "{waves:#?}\n{}", log.story());
    // All ten old pods stay, and stay Ready, until the last wave; then the declared pace: 3 more, 2 fewer.
    assert!(waves[..2].iter().all(|wave| wave.old_min == 10 && wave.ready_min >= 10), "{waves:#?}\n{}", log.story());
    assert!(waves[2].total_max <= 13 && waves[2].ready_min >= 8, "{waves:#?}\n{}", log.story());
    log.assert_contained(start, "web", "1.1.0", &[1, 3, 10]);

    assert!(story.observer.now(|state| state.runs("web", "1.1.0", 10)), "{}", log.story());
    story.assert_declared_pace("web");
    story.app("web", |app| {
        let past = app.past_of("1.1.0").expect("the rollout is remembered");
        assert_eq!(past.outcome(), "completed");
        assert_eq!(past.wave_names(), ["one", "quarter", "all"]);
        assert!(app.quarantine().is_empty());
        assert_eq!(app.held("version"), "");
    });
}

#[test]
fn in_place_old_pods_make_room_for_new_ones() {
    let story = Story::begin_with("in-place", &AppFixture::new("web").plan(THREE_WAVES_IN_PLACE));
    let start = story.mark();

    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");

    let log = story.observer.log();
    let waves = log.by_wave(start, "web", "1.1.0");
    assert_eq!(ends(&waves), [(9, 1), (7, 3), (0, 10)], "{waves:#?}\n{}", log.story());
    assert!(waves.iter().all(|wave| wave.total_max <= 13 && wave.ready_min >= 8), "{waves:#?}\n{}", log.story());
    log.assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
    story.assert_declared_pace("web");
}

#[test]
fn in_place_without_surge_there_are_never_more_pods_than_declared() {
    let app = AppFixture::new("web").plan(THREE_WAVES_IN_PLACE).rolling_update("0", "2");
    let story = Story::begin_with("no-surge", &app);
    let start = story.mark();

    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");

    let log = story.observer.log();
    let waves = log.by_wave(start, "web", "1.1.0");
    assert_eq!(ends(&waves)[1..], [(7, 3), (0, 10)], "{waves:#?}\n{}", log.story());
    assert_eq!(waves[0].at_end.1, 1, "{waves:#?}\n{}", log.story());
    assert!(waves.iter().all(|wave| wave.total_max <= 10 && wave.ready_min >= 8), "{waves:#?}\n{}", log.story());
    log.assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
}

#[test]
fn a_wave_stands_until_its_gate_opens() {
    let (story, gate, start) = Story::in_mid_rollout("gate");

    story.agent().await_polls();
    let counts = story.observer.now(|state| (state.ready_of("1.0.0"), state.ready_of("1.1.0")));
    assert_eq!(counts, (10, 3));
    story.wait_app("web", "says that it measures", |app| app.phase() == "Measuring" && app.health() == "Progressing");
    assert!(story.app("web", |app| app.condition("Ready").0 == "False" && app.sync() == "OutOfSync"));

    gate.open();
    story.wait_settled("web", "1.1.0");
    let log = story.observer.log();
    log.assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
    story.app("web", |app| {
        let past = app.past_of("1.1.0").expect("the rollout is remembered");
        let go = past.gate("quarter", "go").expect("the gate is remembered");
        assert_eq!(go["verdict"], "pass", "{go:#}");
        assert!(go["measurements"].as_array().is_some_and(|samples| !samples.is_empty()), "{go:#}");
    });
}

#[test]
fn a_newer_commit_takes_over_at_the_boundary_and_goes_through_stable() {
    let mut story = Story::begin("supersede");
    AppFixture::new("web").plan(HELD_FIRST_WAVE).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    let gate = story.start_agent_with_gate();
    story.wait_settled("web", "1.0.0");
    let start = story.mark();

    story.repo.bump("web", "1.1.0");
    story.wait_wave("web", "1.1.0", 0);
    story.repo.bump("web", "1.2.0");
    story.wait_app("web", "has seen the newer commit", |app| app.desired("version") == "1.2.0");
    gate.open();
    story.wait_settled("web", "1.2.0");

    let log = story.observer.log();
    assert_eq!(log.max_pods(start, "1.1.0"), 1, "{}", log.story());
    let has_three = log.ever(start, |state| state.active_versions().len() > 2);
    assert!(!has_three, "never a third ReplicaSet\n{}", log.story());
    log.assert_contained(start, "web", "1.2.0", &[1, 3, 10]);
    story.app("web", |app| {
        let past = app.past_of("1.1.0").expect("the rollout is remembered");
        assert_eq!(past.outcome(), "withdrawn");
        assert!(app.quarantine().is_empty(), "what was superseded has not failed");
    });
}

#[test]
fn two_apps_of_one_repository_go_out_apart() {
    let mut story = Story::begin("two-apps");
    for name in ["web", "api"] {
        AppFixture::new(name).replicas(4).write(&story.repo, &story.namespace);
    }
    story.repo.commit_and_push("web and api 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");
    story.wait_settled("api", "1.0.0");
    let start = story.mark();

    story.repo.bump("web", "1.1.0-crash");
    story.repo.bump("api", "1.2.0");
    story.wait_settled("api", "1.2.0");
    story.wait_held("web", "1.1.0-crash");

    story.observer.log().assert_contained(start, "api", "1.2.0", &[1, 1, 4]);
    assert_eq!(story.observer.log().max_pods(start, "1.1.0-crash"), 1);
}
