//! Somebody scales in the middle of a wave: Git does not say how many pods there are, a person or an HPA does.

use crate::support::fixture::AppFixture;
use crate::support::gatekeeper::Gatekeeper;
use crate::support::log::Mark;
use crate::support::story::Story;

/// A rollout held at its second wave, of an app that was scaled by hand to `replicas`.
fn scaled_and_held(name: &str, replicas: usize) -> (Story, Gatekeeper, Mark) {
    let mut story = Story::begin(name);
    let app = AppFixture::new("web").without_replicas().plan(crate::support::fixture::HELD_SECOND_WAVE);
    app.write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    let gate = story.start_agent_with_gate();
    story.wait_settled("web", "1.0.0");
    story.kubectl(&format!("scale deployment web --replicas={replicas}"));
    story.observer.wait("it is scaled", |state| state.runs("web", "1.0.0", replicas));
    story.wait_settled("web", "1.0.0");
    let start = story.mark();
    story.repo.bump("web", "1.1.0");
    story.wait_wave("web", "1.1.0", 1);
    (story, gate, start)
}

fn scale(story: &Story, replicas: usize) {
    story.kubectl(&format!("scale deployment web --replicas={replicas}"));
}

#[test]
fn replicas_that_git_leaves_out_are_never_written() {
    let (story, gate, start) = scaled_and_held("unstated", 10);
    assert_eq!(story.observer.now(|state| (state.pods_of("1.0.0"), state.pods_of("1.1.0"))), (10, 3));

    gate.open();
    story.wait_settled("web", "1.1.0");
    assert!(story.observer.now(|state| state.runs("web", "1.1.0", 10)));
    let log = story.observer.log();
    let replicas = |state: &crate::support::state::State| {
        state.deployment("web").and_then(|web| web["spec"]["replicas"].as_u64()).unwrap_or(0)
    };
    assert!(!log.ever(start, |state| replicas(state) != 10), "{}", log.story());
}

#[test]
fn scaling_in_during_a_wave_keeps_the_new_pods_within_bounds() {
    let (story, gate, start) = scaled_and_held("scale-in", 10);

    scale(&story, 5);
    story.observer.wait("the old side shrinks", |state| state.pods_of("1.0.0") <= 5);
    story.wait_app("web", "stands in its wave", |app| app.wave() == Some(1));
    let log = story.observer.log();
    assert!(log.max_pods(start, "1.1.0") <= 3, "new never grows by scaling in\n{}", log.story());
    assert!(log.min_ready(start) >= 5, "{}", log.story());

    gate.open();
    story.wait_settled("web", "1.1.0");
    assert!(story.observer.now(|state| state.runs("web", "1.1.0", 5)));
}

#[test]
fn scaling_out_during_a_wave_is_reported_and_not_undone_by_force() {
    let (story, gate, start) = scaled_and_held("scale-out", 5);
    assert_eq!(story.observer.now(|state| (state.pods_of("1.0.0"), state.pods_of("1.1.0"))), (5, 2));

    scale(&story, 10);
    // Proportional scaling by the Deployment controller gives both sides some; together at least ten.
    story.observer.wait("more pods are Ready", |state| state.ready_total() >= 10);
    story.wait_app("web", "stands in its wave", |app| app.wave() == Some(1));
    story.agent().await_polls();
    let new = story.observer.now(|state| state.pods_of("1.1.0"));
    // A quarter of ten is three; whatever scaling put beyond it is exposure.
    let excess = u64::try_from(new.saturating_sub(3)).expect("counts are small");
    story.wait_app("web", "reports the exposure", |app| app.exposure() == excess);
    let log = story.observer.log();
    assert!(log.max_pods(start, "1.1.0") <= new, "new never shrinks\n{}", log.story());

    gate.open();
    story.wait_settled("web", "1.1.0");
    assert!(story.observer.now(|state| state.runs("web", "1.1.0", 10)));
}

#[test]
fn scaling_to_zero_puts_stable_back_and_the_wave_starts_again_on_return() {
    let (story, gate, start) = scaled_and_held("to-zero", 10);

    scale(&story, 0);
    story.observer.wait("no pod is left", |state| state.pods_total() == 0);
    story.observer.wait("the template is Stable's", |state| state.version_of("web") == Some("1.0.0"));
    let empty = story.mark();

    scale(&story, 10);
    story.observer.wait("ten old pods are Ready again", |state| state.ready_of("1.0.0") == 10);
    let log = story.observer.log();
    assert!(log.max_pods(empty, "1.1.0") <= 3, "the new version did not take everything\n{}", log.story());
    story.observer.wait("the wave stands again", |state| state.ready_of("1.0.0") == 10 && state.ready_of("1.1.0") == 3);

    gate.open();
    story.wait_settled("web", "1.1.0");
    assert!(story.observer.now(|state| state.runs("web", "1.1.0", 10)));
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
}

#[test]
fn a_bump_at_zero_replicas_completes_without_pods() {
    let mut story = Story::begin("zero");
    AppFixture::new("web").replicas(0).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");

    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    assert_eq!(story.observer.now(|state| state.version_of("web").map(str::to_owned)), Some("1.1.0".to_owned()));
}
