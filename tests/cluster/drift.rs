//! Live state that left what is declared is put back, at rest and in the middle of a wave alike.

use crate::support::fixture::AppFixture;
use crate::support::state::State;
use crate::support::story::Story;

/// A label of the Deployment itself.
fn label<'a>(state: &'a State, name: &str) -> Option<&'a str> {
    state.deployment("web")?["metadata"]["labels"][name].as_str()
}

#[test]
fn a_changed_value_is_put_back_at_rest() {
    let story = Story::begin_with("drift-rest", &AppFixture::new("web").replicas(2));
    let start = story.mark();

    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"drifted"}}"#);
    let log = || story.observer.log();
    story.observer.wait("the value is put back", |state| state.config("web", "greeting") == Some("hello"));
    assert!(log().ever(start, |state| state.config("web", "greeting") == Some("drifted")), "{}", log().story());
    story.kubectl("label deployment web app=other --overwrite");
    story.observer.wait("the label is put back", |state| label(state, "app") == Some("web"));
    story.kubectl("delete service web");
    story
        .observer
        .wait("the Service is back", |state| state.find(crate::support::state::Kind::Service, "web").is_some());
    story.wait_settled("web", "1.0.0");
    log().assert_untouched(start, "1.0.0");
}

#[test]
fn a_changed_template_is_put_back_at_rest() {
    let story = Story::begin_with("drift-template", &AppFixture::new("web").replicas(4));

    story.kubectl("set image deployment/web web=registry.example/web:9.9.9");
    story.observer.wait("the image is put back", |state| state.runs("web", "1.0.0", 4));
    story.kubectl("set env deployment/web DEBUG=yes");
    story.observer.wait("the variable is gone, from every pod", |state| {
        let has_it = |value: &serde_json::Value| value["containers"][0]["env"].to_string().contains("DEBUG");
        let web = state.deployment("web").expect("it exists");
        !has_it(&web["spec"]["template"]["spec"])
            && state.runs("web", "1.0.0", 4)
            && state.pods().all(|pod| !has_it(&pod.0["spec"]))
    });
    story.wait_settled("web", "1.0.0");
    assert_eq!(story.app("web", |app| app.rollouts()), 1, "drift is no rollout");
}

#[test]
fn drift_in_mid_wave_is_corrected_and_the_wave_stands() {
    let (story, gate, start) = Story::in_mid_rollout("drift-mid");

    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"drifted"}}"#);
    story.observer.wait("the value is put back", |state| state.config("web", "greeting") == Some("hello"));
    story.kubectl("label deployment web app=other --overwrite");
    story.observer.wait("the label is put back", |state| label(state, "app") == Some("web"));
    // A field of the hold itself.
    let hold = story
        .observer
        .now(|state| state.deployment("web").expect("it exists")["spec"]["progressDeadlineSeconds"].clone());
    story.kubectl(r#"patch deployment web --type=merge -p {"spec":{"progressDeadlineSeconds":2147483645}}"#);
    story.observer.wait("the hold is put back", |state| {
        state.deployment("web").is_some_and(|web| web["spec"]["progressDeadlineSeconds"] == hold)
    });

    assert_eq!(story.observer.now(|state| (state.pods_of("1.0.0"), state.pods_of("1.1.0"))), (10, 3));
    assert_eq!(story.app("web", |app| app.wave()), Some(1));
    story.observer.log().assert_untouched(start, "1.0.0");
    gate.open();
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
}

#[test]
fn availability_given_back_in_mid_wave_costs_no_old_pod_its_successor() {
    let (story, gate, start) = Story::in_mid_rollout("drift-hold");

    // Now the three new pods count as available, and the controller may go on by itself until the hold is back.
    story.kubectl(r#"patch deployment web --type=merge -p {"spec":{"minReadySeconds":0}}"#);
    story.observer.wait("the hold is put back", |state| {
        state.deployment("web").is_some_and(|web| web["spec"]["minReadySeconds"].as_i64().unwrap_or(0) > 1_000_000)
    });
    gate.open();
    story.wait_settled("web", "1.1.0");
    assert!(story.observer.now(|state| state.runs("web", "1.1.0", 10)));
    assert!(story.observer.log().min_ready(start) >= 8, "{}", story.observer.log().story());
}

#[test]
fn drift_is_only_told_where_self_healing_is_off() {
    let app = AppFixture::new("web").replicas(2).spec("sync: {selfHeal: false}");
    let story = Story::begin_with("drift-told", &app);

    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"drifted"}}"#);
    story.wait_app("web", "says Drifted", |app| app.phase() == "Drifted" && app.sync() == "OutOfSync");
    story.agent().await_polls();
    assert_eq!(
        story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)),
        Some("drifted".to_owned())
    );

    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"hello"}}"#);
    story.wait_settled("web", "1.0.0");
}

#[test]
fn a_foreign_label_is_no_drift() {
    let story = Story::begin_with("foreign", &AppFixture::new("web").replicas(2));
    story.kubectl("label configmap web team=blue");
    story.kubectl("label deployment web team=blue");
    story.agent().await_polls();
    story.wait_settled("web", "1.0.0");
    assert_eq!(story.observer.now(|state| label(state, "team").map(str::to_owned)), Some("blue".to_owned()));
}
