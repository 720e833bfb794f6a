//! What the world does in the middle of a wave, and that it changes nothing: pods die, nodes drain, controllers restart,
//! quota runs out, plans are edited. Each row of the event table for Deployments has its story here, in `scaling` or in
//! `interference`.

use crate::support::fixture::AppFixture;
use crate::support::plane::Plane;
use crate::support::state::Pod;
use crate::support::story::Story;

/// The name of a pod of a version.
fn a_pod(story: &Story, version: &str) -> String {
    let find = |pod: &Pod<'_>| pod.version() == version;
    story.observer.now(|state| state.live_pods().find(find).expect("there is one").name().to_owned())
}

/// Waits until the wave stands again as it should: ten old pods and three new ones, all Ready.
#[track_caller]
fn wait_wave_whole(story: &Story) {
    story.observer.wait("ten old and three new pods are Ready", |state| {
        (state.pods_of("1.0.0"), state.pods_of("1.1.0")) == (10, 3) && state.ready_total() == 13
    });
}

#[test]
fn pods_that_die_in_a_wave_are_replaced_in_kind() {
    let (story, gate, start) = Story::in_mid_rollout("pods-die");

    for version in ["1.0.0", "1.1.0"] {
        let victim = a_pod(&story, version);
        story.kubectl(&format!("delete pod {victim} --wait=false"));
        story.observer.wait("it is gone", |state| state.pods().all(|pod| pod.name() != victim));
        wait_wave_whole(&story);
    }
    assert_eq!(story.app("web", |app| app.wave()), Some(1));

    gate.open();
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
}

#[test]
fn a_drained_node_changes_neither_wave_nor_counts() {
    let (story, gate, start) = Story::in_mid_rollout_on(Plane::own(), "drain", &AppFixture::new("web"));
    let node = story.observer.now(|state| state.live_pods().next().expect("there are pods").node().to_owned());

    story.plane.kubectl(&["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--force"]);
    story.observer.wait("the node is empty", |state| state.pods().all(|pod| pod.node() != node));
    wait_wave_whole(&story);
    assert_eq!(story.app("web", |app| app.wave()), Some(1));
    story.plane.kubectl(&["uncordon", &node]);

    gate.open();
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
}

#[test]
fn restarted_controllers_change_neither_wave_nor_counts() {
    let (story, gate, start) = Story::in_mid_rollout_on(Plane::own(), "controllers", &AppFixture::new("web"));

    story.plane.say("kill controller-manager");
    let victim = a_pod(&story, "1.1.0");
    story.kubectl(&format!("delete pod {victim} --wait=false"));
    story.plane.say("start controller-manager");
    story.observer.wait("it is gone", |state| state.pods().all(|pod| pod.name() != victim));
    wait_wave_whole(&story);
    assert_eq!(story.app("web", |app| app.wave()), Some(1));

    gate.open();
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
}

#[test]
fn a_restarted_api_server_is_waited_for() {
    let (story, gate, start) = Story::in_mid_rollout_on(Plane::own(), "apiserver", &AppFixture::new("web"));

    story.plane.say("kill apiserver");
    gate.open();
    story.plane.say("start apiserver");
    story.wait_settled("web", "1.1.0");
    story.observer.wait("all pods are new", |state| state.runs("web", "1.1.0", 10));
    let most = story.observer.log().max(start, crate::support::state::State::replicas_total);
    assert!(most <= 13, "{}", story.observer.log().story());
}

#[test]
fn a_newer_commit_in_mid_wave_goes_back_to_stable_first() {
    let (story, gate, start) = Story::in_mid_rollout("supersede-mid");

    story.repo.bump("web", "1.2.0");
    story.wait_app("web", "has seen the newer commit", |app| app.desired("version") == "1.2.0");
    gate.open();
    story.wait_settled("web", "1.2.0");

    let log = story.observer.log();
    let has_three = log.ever(start, |state| state.active_versions().len() > 2);
    assert!(!has_three, "never a third ReplicaSet\n{}", log.story());
    let both = log.ever(start, |state| state.pods_of("1.1.0") > 0 && state.pods_of("1.2.0") > 0);
    assert!(!both, "the one it replaces is gone before it starts\n{}", log.story());
    assert_eq!(log.max_pods(start, "1.1.0"), 3, "{}", log.story());
    log.assert_contained(start, "web", "1.2.0", &[1, 3, 10]);
    assert_eq!(
        story.app("web", |app| app.past_of("1.1.0").expect("it is remembered").outcome().to_owned()),
        "withdrawn"
    );
}

#[test]
fn a_newer_commit_takes_over_at_once_from_a_failing_wave() {
    let mut story = Story::begin("supersede-bad");
    let plan = "
  waves:
  - {name: one, replicas: 1, timeout: 20m}
  - {name: all, replicas: 100%, timeout: 60s}
";
    AppFixture::new("web").plan(plan).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");
    let start = story.mark();

    story.repo.bump("web", "1.1.0-neverready");
    story.observer.wait("the new pod stands", |state| state.pods_of("1.1.0-neverready") == 1);
    story.repo.bump("web", "1.2.0");
    story.wait_settled("web", "1.2.0");

    let log = story.observer.log();
    assert_eq!(log.max_pods(start, "1.1.0-neverready"), 1, "{}", log.story());
    log.assert_contained(start, "web", "1.2.0", &[1, 10]);
}

#[test]
fn an_edited_plan_does_not_touch_the_rollout_under_way() {
    let (story, gate, start) = Story::in_mid_rollout("plan-mid");

    story.repo.edit("plans/web.yaml", "25%", "50%");
    story.repo.commit_and_push("bigger waves");
    story.agent().await_polls();
    assert_eq!(story.observer.now(|state| state.pods_of("1.1.0")), 3);

    gate.open();
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);

    story.repo.bump("web", "1.2.0");
    story.wait_settled("web", "1.2.0");
    let waves = story.observer.log().by_wave(start, "web", "1.2.0");
    assert_eq!(waves[1].at_end, (10, 5), "the next rollout follows the edited plan");
}

#[test]
fn quota_that_stops_the_surge_is_told_and_recovered_from() {
    let story = Story::begin_with("quota", &AppFixture::new("web"));
    let start = story.mark();
    story.kubectl("create quota pods --hard=pods=10");
    let spent = || story.kubectl("get quota pods -o jsonpath={.status.used.pods}") == "10";
    story.agent().await_that("the quota is counted", spent);

    story.repo.bump("web", "1.1.0");
    story.wait_app("web", "is in its first wave", |app| app.wave() == Some(0));
    story.observer.wait("the new ReplicaSet wants its pod", |state| state.replicas_of("1.1.0") == 1);
    story.wait_app("web", "names the quota", |app| app.why().contains("quota"));
    assert_eq!(story.observer.log().max_pods(start, "1.1.0"), 0);

    story.kubectl("delete quota pods");
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
}
