//! The API server is away in the middle of the first sync of several apps, or forgets what happened while the agent slept.

use std::time::Duration;

use crate::support::fixture::{AppFixture, THREE_WAVES};
use crate::support::log::Mark;
use crate::support::patience::until;
use crate::support::plane::Plane;
use crate::support::state::Kind;
use crate::support::story::Story;

/// How long it is away. The agent's own deadlines (5 s for a write), its lease, and many of its back-offs pass in that time.
const AWAY: Duration = Duration::from_secs(60);
const APPS: usize = 8;

#[test]
fn an_api_server_that_goes_away_in_the_middle_of_first_syncs_costs_nothing_but_time() {
    let mut story = Story::begin_on(Plane::own(), "outage");
    let names: Vec<String> = (0..APPS).map(|number| format!("app-{number}")).collect();
    // The outage counts as time that the pods took.
    let plan = THREE_WAVES.replace("60s", "20m");
    for name in &names {
        AppFixture::new(name).replicas(1).plan(&plan).write(&story.repo, &story.namespace);
    }
    story.repo.commit_and_push("all apps");
    let settings = story.settings();
    story.start_agent_unready(settings);
    story.observer.wait("some of it is applied", |state| state.all(Kind::Service).count() >= 2);
    story.plane.say("kill apiserver");
    let begun = std::time::Instant::now();
    let _ = until(AWAY * 2, || begun.elapsed() >= AWAY);
    assert!(!story.agent().has_ended(), "{}", story.agent().log_tail(80));
    story.plane.say("start apiserver");
    // Its watches would come back by a back-off of up to a minute.
    story.plane.say("restart controller-manager");

    for name in &names {
        story.wait_settled(name, "1.0.0");
    }
    let log = story.observer.log();
    assert_eq!(log.deleted(Mark(0), Kind::Deployment), Vec::<String>::new(), "{}", log.story());
    assert_eq!(log.deleted(Mark(0), Kind::ConfigMap), Vec::<String>::new(), "{}", log.story());
    // One pod each, ever: nothing was rolled out twice.
    assert_eq!(log.uids_of(Mark(0), "1.0.0").len(), APPS, "{}", log.story());
    for name in &names {
        assert_eq!(story.app(name, |app| app.rollouts()), 1, "{name}");
    }
    let (start, before) = (story.mark(), story.agent().metric("tidegate_applies_total", &[]));
    story.agent().await_polls();
    assert!(story.agent().metric("tidegate_applies_total", &[]) - before < 0.5, "{}", story.agent().log_tail(40));
    assert_eq!(story.observer.log().writes(start, Kind::Deployment), 0, "{}", story.observer.log().story());
}

#[test]
fn what_the_api_server_has_forgotten_is_listed_anew() {
    let mut story = Story::begin_on(Plane::own(), "forgotten");
    story.seed(&AppFixture::new("web").replicas(1));
    let applied = || story.agent().metric("tidegate_applies_total", &[]);

    // A restart that takes longer than the lease's 8 s deposes the agent, and a new leader lists anyway.
    for _ in 0..5 {
        let (before, applies) = (story.agent().log().len(), applied());
        let said = |words: &str| story.agent().log()[before..].contains(words);
        // It must not see the connection break, for then it lists anyway: a watch that ended well while it slept is one that
        // it goes on with, from a revision that nobody remembers.
        story.agent().freeze();
        story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"drifted"}}"#);
        story.kubectl("delete service web");
        story.plane.say("compact");
        story.plane.say("restart apiserver");
        story.agent().thaw();

        story.agent().await_that("it lists again", || said("listing again") || said("deposed"));
        // The observer too looks anew only now and then: what the cluster itself says counts.
        let told =
            |path: &str| story.kubectl(&format!("get configmap/web service/web --ignore-not-found -o jsonpath={path}"));
        story.agent().await_that("the value is put back", || told("{.items[*].data.greeting}") == "hello");
        story.agent().await_that("the Service is back", || told("{.items[*].kind}") == "ConfigMap Service");
        story.agent().await_that("both are counted", || applied() - applies > 1.5);
        if !said("deposed") {
            break;
        }
    }
    story.wait_settled("web", "1.0.0");
    assert_eq!(story.app("web", |app| app.rollouts()), 1, "a list is no rollout");
    let (start, before) = (story.mark(), applied());
    story.agent().await_polls();
    assert!(applied() - before < 0.5, "{}", story.agent().log_tail(40));
    assert_eq!(story.observer.log().writes(start, Kind::Deployment), 0, "{}", story.observer.log().story());
}
