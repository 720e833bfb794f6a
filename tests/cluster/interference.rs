//! Somebody edits, restarts, pauses or undoes the workload in the middle of a wave.

use crate::support::fixture::AppFixture;
use crate::support::gatekeeper::Gatekeeper;
use crate::support::log::Mark;
use crate::support::plane::Plane;
use crate::support::story::Story;

/// Waits until the wave stands again on our template, then opens the gate and sees the rollout complete.
#[track_caller]
fn goes_on_and_completes(story: &Story, gate: &Gatekeeper, start: Mark) {
    story.observer.wait("only Stable and Target have pods, three of them new", |state| {
        state.version_of("web") == Some("1.1.0") && state.ready_of("1.0.0") == 10 && state.ready_of("1.1.0") == 3
    });
    story.wait_app("web", "stands in its wave", |app| app.wave() == Some(1));
    gate.open();
    story.wait_settled("web", "1.1.0");
    story.observer.wait("all pods are new", |state| state.runs("web", "1.1.0", 10));
    story.assert_declared_pace("web");
    assert_eq!(story.observer.log().gaps, 0);
    assert!(story.observer.log().min_ready(start) >= 8);
}

#[test]
fn set_image_in_mid_wave_is_put_back() {
    let (story, gate, start) = Story::in_mid_rollout("set-image");
    story.kubectl("set image deployment/web web=registry.example/web:9.9.9");
    story.observer.wait("the image is put back", |state| state.version_of("web") == Some("1.1.0"));
    story.observer.wait("the stranger is gone", |state| state.pods_of("9.9.9") == 0);
    goes_on_and_completes(&story, &gate, start);
}

#[test]
fn rollout_restart_in_mid_wave_is_taken_out() {
    let (story, gate, start) = Story::in_mid_rollout("restart-mid");
    story.kubectl("rollout restart deployment/web");
    story.observer.wait("the annotation is gone", |state| {
        let web = state.deployment("web").expect("it exists");
        web["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].is_null()
    });
    goes_on_and_completes(&story, &gate, start);
}

#[test]
fn an_added_variable_in_mid_wave_is_taken_out() {
    let (story, gate, start) = Story::in_mid_rollout("set-env");
    story.kubectl("set env deployment/web DEBUG=yes");
    story.observer.wait("the variable is gone", |state| {
        let web = state.deployment("web").expect("it exists");
        !web["spec"]["template"]["spec"]["containers"][0]["env"].to_string().contains("DEBUG")
    });
    goes_on_and_completes(&story, &gate, start);
}

#[test]
fn rollout_undo_is_an_abort() {
    let (story, _gate, start) = Story::in_mid_rollout("undo");

    story.kubectl("rollout undo deployment/web");
    story.wait_held("web", "1.1.0");

    let log = story.observer.log();
    log.assert_untouched(start, "1.0.0");
    assert_eq!(log.max_pods(start, "1.1.0"), 3, "{}", log.story());
    story.observer.wait("the new pods are gone", |state| state.runs("web", "1.0.0", 10));
    story.assert_declared_pace("web");
    let reason = story.app("web", |app| app.past_of("1.1.0").expect("it is remembered").reason().to_owned());
    assert!(reason.contains("undo"), "{reason}");
}

#[test]
fn rollout_pause_is_told_and_put_back() {
    let (story, gate, start) = Story::in_mid_rollout("pause");

    story.kubectl("rollout pause deployment/web");
    story.observer.wait("the pause is put back", |state| {
        state.deployment("web").is_some_and(|web| web["spec"]["paused"] != true)
    });
    goes_on_and_completes(&story, &gate, start);
    let log = story.observer.log();
    let is_paused =
        |state: &crate::support::state::State| state.deployment("web").is_some_and(|web| web["spec"]["paused"] == true);
    assert!(log.ever(start, is_paused), "{}", log.story());
    // Status is written at most once a second while things move; an Event tells what came and went in between.
    let is_in_status = log.ever(start, |state| state.app("web").is_some_and(|app| app.why().contains("paused")));
    let is_in_events = story.events().iter().any(|event| event.contains("DriftCorrected") && event.contains("web"));
    assert!(is_in_status || is_in_events, "{:#?}\n{}", story.events(), log.story());
}

#[test]
fn rollout_pause_is_respected_where_the_application_says_so() {
    let app = AppFixture::new("web").spec("pause: user");
    let (story, gate, start) = Story::in_mid_rollout_on(Plane::shared(), "pause-user", &app);

    story.kubectl("rollout pause deployment/web");
    story.wait_app("web", "is suspended", |app| app.health() == "Suspended" && app.phase() == "Waiting");
    gate.open();
    story.agent().await_polls();
    assert!(story.observer.now(|state| state.deployment("web").expect("it exists")["spec"]["paused"] == true));
    assert_eq!(story.observer.log().max_pods(start, "1.1.0"), 3);

    story.kubectl("rollout resume deployment/web");
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
}

#[test]
fn a_deleted_workload_comes_back() {
    let story = Story::begin_with("deleted", &AppFixture::new("web").replicas(2));
    story.kubectl("delete deployment web --wait=true");
    story.observer.wait("it is back", |state| state.runs("web", "1.0.0", 2));
    story.wait_settled("web", "1.0.0");
}
