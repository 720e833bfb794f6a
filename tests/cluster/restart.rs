//! The agent is killed at random moments and started again: what comes out is what would have come out anyway.

use std::time::Duration;

use serde_json::Value;

use crate::support::chance::Chance;
use crate::support::fixture::AppFixture;
use crate::support::state::Kind;
use crate::support::story::Story;

/// Kills per story, as many good rollouts and bad ones as it takes.
const KILLS: usize = 20;

/// The longest wait before a kill, in events that the observer sees: about what one rollout of ten pods makes.
const EVENTS_MAX: u64 = 60;

/// What must be the same however often the agent died: the declared objects as they are live, and what is remembered.
fn outcome(story: &Story) -> Value {
    story.observer.now(|state| {
        let web = state.deployment("web").expect("it exists");
        let managers = |object: &Value| -> Vec<String> {
            let fields = object["metadata"]["managedFields"].as_array();
            let ours = |entry: &&Value| entry["operation"] == "Apply";
            let mut names: Vec<_> =
                fields.into_iter().flatten().filter(ours).map(|entry| entry["manager"].to_string()).collect();
            names.sort();
            names
        };
        let app = state.app("web").expect("it exists");
        serde_json::json!({
            "spec": web["spec"],
            "labels": web["metadata"]["labels"],
            "managers": managers(web),
            "config": state.find(Kind::ConfigMap, "web").map(|object| object["data"].clone()),
            "pods": [state.pods_of("1.0.0"), state.ready_total(), state.pods_total()],
            "inventory": app.0["record"]["inventory"],
            "phase": app.phase(),
            "health": app.health(),
            "sync": app.sync(),
            "effective": app.effective("version"),
            "quarantine": app.quarantine(),
        })
    })
}

/// Kills the agent again and again until the rollout `is_over`; gives the kills.
fn disturbed(story: &Story, chance: &mut Chance, is_over: impl Fn(&Story) -> bool) -> usize {
    let mut kills = 0;
    while !is_over(story) {
        let events = chance.below(EVENTS_MAX);
        if !story.observer.wait_events(events, Duration::from_secs(3), || is_over(story)) {
            break;
        }
        story.agent().sigkill();
        story.agent().start_again();
        kills += 1;
    }
    story.agent().await_ready();
    kills
}

#[test]
fn a_good_rollout_completes_however_often_the_agent_dies() {
    let mut chance = Chance::new();
    let story = Story::begin_with("kill-good", &AppFixture::new("web"));
    let is_on = |version: &str| story.app("web", |app| app.is_settled_on(version));

    // What comes out when nothing is disturbed, there and back again by ordinary rollouts of versions never seen before.
    story.repo.bump("web", "1.0.1");
    story.wait_settled("web", "1.0.1");
    let undisturbed = outcome(&story);

    let mut kills = 0;
    for round in 2.. {
        let version = format!("1.0.{round}");
        let start = story.mark();
        story.repo.bump("web", &version);
        story.wait_app("web", "has begun", |app| app.target() == version || app.is_settled_on(&version));
        kills += disturbed(&story, &mut chance, |_| is_on(&version));
        story.wait_settled("web", &version);

        story.observer.log().assert_contained(start, "web", &version, &[1, 3, 10]);
        let mut now = outcome(&story);
        let image = &mut now["spec"]["template"]["spec"]["containers"][0]["image"];
        *image = undisturbed["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        now["effective"] = "1.0.1".into();
        assert_eq!(now, undisturbed, "after {kills} kills\n{}", story.observer.log().story());
        if kills >= KILLS {
            break;
        }
    }
}

#[test]
fn a_bad_rollout_is_reverted_however_often_the_agent_dies() {
    let mut chance = Chance::new();
    let story = Story::begin_with("kill-bad", &AppFixture::new("web"));
    let holds = |version: &str| story.app("web", |app| app.holds(version));

    story.repo.bump("web", "1.1.0-crash");
    story.wait_held("web", "1.1.0-crash");
    story.observer.wait("the old pods are alone", |state| state.runs("web", "1.0.0", 10));
    let undisturbed = outcome(&story);

    let mut kills = 0;
    for round in 1.. {
        let version = format!("1.1.{round}-crash");
        let start = story.mark();
        story.repo.bump("web", &version);
        story.wait_app("web", "has begun", |app| app.target() == version || app.holds(&version));
        kills += disturbed(&story, &mut chance, |_| holds(&version));
        story.wait_held("web", &version);
        story.observer.wait("the old pods are alone", |state| state.runs("web", "1.0.0", 10));

        let log = story.observer.log();
        log.assert_contained(start, "web", &version, &[1, 3, 10]);
        log.assert_untouched(start, "1.0.0");
        let mut now = outcome(&story);
        now["quarantine"] = undisturbed["quarantine"].clone();
        assert_eq!(now, undisturbed, "after {kills} kills\n{}", log.story());
        if kills >= KILLS {
            break;
        }
    }
}

#[test]
fn a_lost_clone_and_a_new_process_change_nothing() {
    let (story, gate, start) = Story::in_mid_rollout("lost-clone");

    story.agent().sigkill();
    std::fs::remove_dir_all(story.folder().join("agent/store")).expect("the agent has a clone");
    story.agent().start_again();
    story.agent().await_ready();
    story.agent().await_polls();
    assert_eq!(story.app("web", |app| (app.wave(), app.rollouts())), (Some(1), 2));
    assert_eq!(story.observer.now(|state| (state.pods_of("1.0.0"), state.pods_of("1.1.0"))), (10, 3));

    gate.open();
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
}

#[test]
fn a_restart_at_rest_writes_no_state() {
    let story = Story::begin_with("restart-at-rest", &AppFixture::new("web").replicas(2));
    story.repo.bump("web", "1.0.1");
    story.wait_settled("web", "1.0.1");
    story.repo.write("README.md", "No app's business.\n");
    story.repo.commit_and_push("a commit of no app");
    story.agent().await_polls();

    let start = story.mark();
    story.agent().restart();
    story.agent().await_polls();
    let log = story.observer.log();
    assert_eq!(log.writes(start, Kind::Application), 0, "{}", log.story());
}

#[test]
fn a_lost_application_resource_is_no_first_sync() {
    let story = Story::begin_with("lost-record", &AppFixture::new("web"));
    let start = story.mark();

    story.kubectl_agent("delete tgapp web --wait=true");
    story.wait_app("web", "is there again", |app| app.is_settled_on("1.0.0"));
    story.observer.log().assert_untouched(start, "1.0.0");
    assert!(story.app("web", |app| app.has_inventoried("Deployment", "web")));

    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
}

#[test]
fn a_second_agent_with_another_owner_refuses_the_first_ones_objects() {
    let story = Story::begin_with("two-agents", &AppFixture::new("web").replicas(2));
    let start = story.mark();
    let mut settings = story.settings();
    settings.owner = "somebody-else".to_owned();
    settings.namespace = format!("{}-other", story.agent_namespace);
    settings.folder = story.folder().join("other-agent");
    story.plane.kubectl(&["create", "namespace", &settings.namespace]);

    let namespace = settings.namespace.clone();
    let other = crate::support::agent::Agent::start(settings);
    other.await_that("the other agent refuses", || {
        let get = ["-n", &namespace, "get", "tgapp", "web", "-o", "jsonpath={.status.why.fact}"];
        let output = story.plane.kubectl_output(&get, "");
        String::from_utf8_lossy(&output.stdout).contains(&story.agent_namespace)
    });
    let log = story.observer.log();
    assert_eq!(log.writes(start, Kind::Deployment) + log.writes(start, Kind::ConfigMap), 0, "{}", log.story());
    drop(other);
    story.plane.kubectl(&["delete", "namespace", "--wait=false", &namespace]);
}
