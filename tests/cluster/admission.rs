//! Admission webhooks between us and the cluster: one that changes what we apply, one that refuses it, one that says nothing.

use serde_json::{Value, json};

use crate::support::fixture::{AppFixture, config_map};
use crate::support::state::Kind;
use crate::support::story::Story;
use crate::support::webhook::{Judgement, Webhook};

/// Whether the object has this kind and name.
fn is_named(object: &Value, kind: &str, name: &str) -> bool {
    object["kind"] == kind && object["metadata"]["name"] == name
}

/// Applies that the agent sent, whatever came of them.
fn applies(story: &Story) -> f64 {
    story.agent().metric("tidegate_applies_total", &[])
}

/// Events that tell what admission changed of an object.
fn told(story: &Story, object: &str) -> Vec<String> {
    let events = story.events().into_iter();
    events.filter(|event| event.contains("MutatedByAdmission") && event.contains(object)).collect()
}

/// The app `web` with a ConfigMap of its own name, and the app `api` beside it, all in one commit.
fn two_apps(name: &str) -> Story {
    let story = Story::begin(name);
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    AppFixture::new("api").replicas(1).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web and api");
    story
}

#[test]
fn what_a_webhook_changes_is_told_once_and_is_no_drift() {
    let mut story = Story::begin("mutated");
    // It has a note for everything, its own idea of a value that Git states, which is another one each time, and it reads
    // images from a mirror.
    let _webhook = Webhook::mutating(&story, |object, number| {
        let note = json!({"op": "add", "path": "/metadata/annotations/admission.example~1seen", "value": "yes"});
        if is_named(object, "ConfigMap", "web") {
            let value = json!({"op": "replace", "path": "/data/greeting", "value": format!("judged-{number}")});
            return Judgement::Patch(json!([note, value]));
        }
        let path = "/spec/template/spec/containers/0/image";
        match object.pointer(path).and_then(Value::as_str) {
            Some(image) => {
                let mirrored = image.replace("registry.example", "mirror.example");
                Judgement::Patch(json!([note, {"op": "replace", "path": path, "value": mirrored}]))
            }
            None => Judgement::Allow,
        }
    });
    AppFixture::new("web").write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");

    let (before, start) = (applies(&story), story.mark());
    story.agent().await_polls();
    assert!((applies(&story) - before).abs() < 0.5, "{}", story.agent().log_tail(40));
    assert_eq!(story.observer.log().writes(start, Kind::ConfigMap), 0);
    story.observer.now(|state| {
        let map = state.find(Kind::ConfigMap, "web").expect("it exists");
        assert_eq!(map["metadata"]["annotations"]["admission.example/seen"], "yes");
        assert!(state.config("web", "greeting").expect("it is there").starts_with("judged-"));
    });
    let events = told(&story, "ConfigMap");
    assert_eq!(events.len(), 1, "{events:#?}");
    assert!(events[0].contains("/data/greeting"), "{events:#?}");

    // What is changed like that is as good a thing to put back as any other.
    story.kubectl("label configmap web app.example/x=y tidegate.dev/application=stolen --overwrite");
    story.observer.wait("our label is back", |state| {
        let map = state.find(Kind::ConfigMap, "web").expect("it exists");
        map["metadata"]["labels"]["tidegate.dev/application"] == "web"
    });
    story.wait_settled("web", "1.0.0");

    // A rollout whose template is not the one that Git states.
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    story.observer.wait("all pods are new", |state| state.runs("web", "1.1.0", 10));
    let log = story.observer.log();
    log.assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
    let images = |state: &crate::support::state::State| {
        state
            .pods()
            .all(|pod| pod.0["spec"]["containers"][0]["image"].as_str().is_some_and(|it| it.starts_with("mirror")))
    };
    assert!(story.observer.now(images), "{}", log.story());
    assert_eq!(told(&story, "ConfigMap").len(), 1, "{:#?}", story.events());
    assert_eq!(told(&story, "Deployment").len(), 1, "{:#?}", story.events());
}

#[test]
fn a_webhook_that_comes_later_is_not_fought() {
    let story = Story::begin_with("mutated-later", &AppFixture::new("web").replicas(2));
    let _webhook = Webhook::mutating(&story, |object, _| match is_named(object, "ConfigMap", "web") {
        true => Judgement::Patch(json!([{"op": "replace", "path": "/data/greeting", "value": "judged"}])),
        false => Judgement::Allow,
    });

    // Somebody's write is the first that it sees; what it makes of that is drift, and then what it makes of ours is not.
    let before = applies(&story);
    story.kubectl("label configmap web team=blue");
    story.agent().await_that("it is told", || told(&story, "ConfigMap").len() == 1);
    story.wait_settled("web", "1.0.0");
    story.agent().await_polls();
    assert!(applies(&story) - before < 2.5, "{}", story.agent().log_tail(40));
    assert_eq!(
        story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)).as_deref(),
        Some("judged")
    );
    assert_eq!(told(&story, "ConfigMap").len(), 1, "{:#?}", story.events());
}

#[test]
fn a_webhook_that_refuses_is_quoted_and_holds_up_nothing_else() {
    let mut story = two_apps("denied");
    let words = "greetings need the approval of Ada";
    let webhook = Webhook::validating(&story, move |object, _| match is_named(object, "ConfigMap", "web") {
        true => Judgement::Deny(words),
        false => Judgement::Allow,
    });
    let name = webhook.name().to_owned();
    story.start_agent();

    story.wait_app("web", "quotes the webhook", |app| {
        ["ConfigMap", "/web", &name, words].iter().all(|part| app.why().contains(part))
    });
    story.wait_settled("api", "1.0.0");
    story.observer.wait("what is not refused is there", |state| {
        state.find(Kind::Service, "web").is_some() && state.version_of("web") == Some("1.0.0")
    });
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "web").is_none()));

    drop(webhook);
    story.wait_settled("web", "1.0.0");
    assert_eq!(
        story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)).as_deref(),
        Some("hello")
    );
}

#[test]
fn what_a_webhook_refuses_of_a_release_keeps_its_waves_from_starting() {
    let story = Story::begin_with("denied-release", &AppFixture::new("web").replicas(4));
    let start = story.mark();
    let webhook = Webhook::validating(&story, |object, _| match object["data"]["greeting"] == "moin" {
        true => Judgement::Deny("no dialects"),
        false => Judgement::Allow,
    });
    story.repo.write("manifests/web/config.yaml", &config_map("web", "moin"));
    story.repo.bump("web", "1.1.0");

    story.wait_app("web", "quotes the webhook", |app| app.why().contains("no dialects"));
    story.agent().await_polls();
    story.observer.log().assert_untouched(start, "1.0.0");
    assert_eq!(story.observer.log().max_pods(start, "1.1.0"), 0, "{}", story.observer.log().story());

    drop(webhook);
    story.wait_settled("web", "1.1.0");
    story.observer.wait("all pods are new", |state| state.runs("web", "1.1.0", 4));
    assert_eq!(story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)).as_deref(), Some("moin"));
}

#[test]
fn a_webhook_that_never_answers_is_named_and_holds_up_nothing_else() {
    let mut story = two_apps("silent");
    let webhook = Webhook::validating(&story, |object, _| match object["metadata"]["name"] == "web" {
        true => Judgement::Silence,
        false => Judgement::Allow,
    });
    let name = webhook.name().to_owned();
    story.start_agent();

    story.wait_app("web", "names the webhook", |app| {
        app.why().contains("failed calling webhook") && app.why().contains(&name)
    });
    story.wait_settled("api", "1.0.0");
    story.repo.bump("api", "1.1.0");
    story.wait_settled("api", "1.1.0");
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "web").is_none()));

    drop(webhook);
    story.wait_settled("web", "1.0.0");
}
