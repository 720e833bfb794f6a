//! Two replicas of the agent: one leads, the other takes over when it is frozen, killed or told to end.

use crate::support::agent::Agent;
use crate::support::fixture::AppFixture;
use crate::support::state::Kind;
use crate::support::story::Story;

/// A second replica of the story's agent, which stands by.
fn second(story: &Story) -> Agent {
    let settings = story.settings();
    let folder = story.folder().join("second");
    // Nothing but the lease tells the two apart: a replica has the same owner.
    let agent = Agent::launch(crate::support::agent::Settings { identity: "second".to_owned(), folder, ..settings });
    agent.await_standing_by();
    agent
}

/// Holder and epoch, as the lease has them.
fn lease(story: &Story) -> (String, u64) {
    let told = story.kubectl_agent("get lease tidegate -o jsonpath={.spec.holderIdentity},{.spec.leaseTransitions}");
    let (holder, epoch) = told.trim().split_once(',').expect("the lease has a holder and an epoch");
    (holder.to_owned(), epoch.parse().expect("the epoch is a number"))
}

/// What applies and writes of state an agent has counted.
fn writes(agent: &Agent) -> f64 {
    agent.metric("tidegate_applies_total", &["applied"]) + agent.metric("tidegate_state_writes_total", &[])
}

#[test]
fn a_leader_that_was_frozen_while_it_applied_finds_another_and_writes_nothing_more() {
    let story = Story::begin_with("frozen", &AppFixture::new("web"));
    let first = story.agent();
    let second = second(&story);
    let (holder, epoch) = lease(&story);
    assert_eq!(holder, "first");
    let (start, rollouts) = (story.mark(), story.app("web", |app| app.rollouts()));
    story.repo.bump("web", "1.1.0");
    story.observer.wait("the first wave is applied", |state| state.pods_of("1.1.0") > 0);
    first.freeze();

    second.await_ready();
    assert_eq!(lease(&story), ("second".to_owned(), epoch + 1));
    story.wait_settled("web", "1.1.0");
    story.assert_declared_pace("web");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
    assert_eq!(story.app("web", |app| app.rollouts()), rollouts + 1, "the one under way went on, none was begun anew");

    let (thawed, written) = (story.mark(), writes(&second));
    let generation =
        || story.observer.now(|state| state.deployment("web").expect("it exists")["metadata"]["generation"].clone());
    let before = generation();
    first.thaw();
    first.await_standing_by();
    // It has looked at the lease several times since, and whatever it had begun has ended.
    second.await_polls();
    assert!(first.log().contains("deposed: everything in memory is dropped"), "{}", first.log_tail(40));
    assert_eq!(story.observer.log().writes(thawed, Kind::Application), 0);
    assert_eq!(story.observer.log().writes(thawed, Kind::Deployment), 0);
    assert_eq!((generation(), writes(&second)), (before, written));
    let (status, told) = first.get("/api/v1/applications");
    assert_eq!(status, 503, "{told}");
    assert!(told["message"].as_str().unwrap_or_default().contains("second"), "{told}");
    assert_eq!((first.metric("tidegate_leading", &[]), second.metric("tidegate_leading", &[])), (0.0, 1.0));

    second.sigkill();
    first.await_ready();
    assert_eq!(lease(&story), ("first".to_owned(), epoch + 2));
    story.repo.bump("web", "1.2.0");
    story.wait_settled("web", "1.2.0");
}

#[test]
fn a_leader_that_is_told_to_end_hands_over_at_once_in_the_middle_of_a_rollout() {
    let (story, gate, _) = Story::in_mid_rollout("handover");
    let first = story.agent();
    let mut settings = story.settings();
    settings.identity = "second".to_owned();
    settings.folder = story.folder().join("second");
    settings.providers.insert("story".to_owned(), gate.url());
    // The pod of the one before, labelled as the leader's.
    story.play_pod("first");
    story.kubectl_agent("label pod first tidegate.dev/role=leader");
    settings.extra = story.play_pod("second");
    let second = Agent::launch(settings);
    second.await_standing_by();
    let (_, epoch) = lease(&story);
    first.stop();
    assert!(first.log().contains("the lease is given back"), "{}", first.log_tail(40));
    second.await_ready();
    assert_eq!(lease(&story), ("second".to_owned(), epoch + 1));
    let touched = story.kubectl_agent("get tgapp web -o jsonpath={.metadata.annotations.tidegate\\.dev/epoch}");
    assert_eq!(touched, (epoch + 1).to_string());
    second.await_that("the label is with the pod that leads, and with no other", || {
        story.kubectl_agent("get pods -l tidegate.dev/role=leader -o name").trim() == "pod/second"
    });
    gate.open();
    story.wait_settled("web", "1.1.0");
    first.start_again();
    first.await_standing_by();
    assert_eq!(lease(&story), ("second".to_owned(), epoch + 1), "who comes back does not take it away");
}
