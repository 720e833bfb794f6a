//! Deleting: only what we applied, only when switched on, never because an input is missing.

use crate::support::fixture::AppFixture;
use crate::support::state::Kind;
use crate::support::story::Story;

#[test]
fn what_leaves_git_stays_until_pruning_is_switched_on() {
    let story = Story::begin_with("prune", &AppFixture::new("web").replicas(2));
    let start = story.mark();
    story.kubectl("create configmap theirs --from-literal=a=b");

    story.repo.remove("manifests/web/config.yaml");
    let commit = story.repo.commit_and_push("no configuration any more");
    story.wait_app("web", "has taken the commit", |app| app.desired("commit") == commit && app.is_at_rest());
    story.agent().await_polls();
    assert!(story.observer.now(|state| state.config("web", "greeting").is_some()), "pruning is off");
    assert!(story.app("web", |app| app.has_inventoried("ConfigMap", "web")), "what stays is still ours");

    story.repo.edit("apps/web.yaml", "spec:\n", "spec:\n  sync: {prune: true}\n");
    story.repo.commit_and_push("prune");
    story.observer.wait("the ConfigMap is gone", |state| state.find(Kind::ConfigMap, "web").is_none());
    story.wait_settled("web", "1.0.0");

    assert!(!story.app("web", |app| app.has_inventoried("ConfigMap", "web")));
    assert_eq!(story.observer.log().deleted(start, Kind::ConfigMap), ["web"]);
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "theirs").is_some()), "what is not ours stays");
    assert!(story.observer.now(|state| state.runs("web", "1.0.0", 2)));
}

#[test]
fn pruning_waits_for_the_last_wave() {
    let app = AppFixture::new("web").spec("sync: {prune: true}");
    let (story, gate, start) = Story::in_mid_rollout_on(crate::support::plane::Plane::shared(), "prune-last", &app);
    // The second rollout drops the ConfigMap together with a bump.
    gate.open();
    story.wait_settled("web", "1.1.0");
    gate.close();

    story.repo.remove("manifests/web/config.yaml");
    story.repo.bump("web", "1.2.0");
    story.wait_wave("web", "1.2.0", 1);
    assert!(story.observer.now(|state| state.config("web", "greeting").is_some()), "the old pods still read it");

    gate.open();
    story.wait_settled("web", "1.2.0");
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "web").is_none()));
    assert_eq!(story.observer.log().deleted(start, Kind::ConfigMap), ["web"]);
}

/// A repository with `web`, and with `api` beside it: a repository without any Application is a broken one.
fn beside_another(name: &str, web: &AppFixture) -> Story {
    let mut story = Story::begin(name);
    AppFixture::new("api").replicas(1).version("7.0.0").write(&story.repo, &story.namespace);
    story.seed(web);
    story.wait_settled("api", "7.0.0");
    story
}

#[test]
fn an_application_that_leaves_git_leaves_its_objects() {
    let story = beside_another("orphan", &AppFixture::new("web").replicas(2));
    let start = story.mark();

    story.repo.remove("apps/web.yaml");
    story.repo.commit_and_push("web is nobody's any more");
    story.observer.wait("the Application resource is gone", |state| state.app("web").is_none());

    story.observer.log().assert_untouched(start, "1.0.0");
    let marks = story.observer.now(|state| {
        let metadata = &state.deployment("web").expect("it stays")["metadata"];
        format!("{} {}", metadata["labels"], metadata["annotations"])
    });
    assert!(!marks.contains("tidegate.dev/owner"), "ownership is dropped: {marks}");
}

#[test]
fn an_application_with_cascade_takes_its_objects_along() {
    let story = beside_another("cascade", &AppFixture::new("web").replicas(2).spec("deletion: cascade"));
    story.kubectl("create configmap theirs --from-literal=a=b");

    story.repo.remove("apps/web.yaml");
    story.repo.commit_and_push("web is to go");
    story.observer.wait("everything of it is gone", |state| {
        state.app("web").is_none()
            && state.deployment("web").is_none()
            && state.find(Kind::ConfigMap, "web").is_none()
            && state.find(Kind::Service, "web").is_none()
            && state.pods().all(|pod| pod.version() != "1.0.0")
    });
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "theirs").is_some()));
    story.wait_settled("api", "7.0.0");
}
