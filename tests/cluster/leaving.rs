//! What is left to others: fields by rule, replicas to autoscalers, a field that somebody fights for; and what only goes or
//! is made anew when somebody said so.

use serde_json::json;

use crate::support::fixture::{AppFixture, config_map};
use crate::support::state::Kind;
use crate::support::story::Story;

/// The UID of the ConfigMap `web`, or the Service's.
fn uid(story: &Story, kind: Kind) -> String {
    story.observer.now(|state| state.find(kind, "web").expect("it exists")["metadata"]["uid"].to_string())
}

#[test]
fn an_ignored_field_keeps_what_others_set_and_the_rest_is_ours() {
    let spec = "sync: {ignore: [{kind: ConfigMap, when: \"!has(object.metadata.labels.ours)\", \
                jsonPointers: [/data/greeting]}, {managers: [tuner]}]}";
    let story = Story::begin_with("ignore", &AppFixture::new("web").replicas(2).spec(spec));
    story.repo.write("manifests/web/ours.yaml", &config_map("ours\n  labels: {ours: 'yes'}", "hello"));
    story.repo.commit_and_push("a map that is left to nobody");
    story.observer.wait("it is there", |state| state.config("ours", "greeting").is_some());

    story.kubectl(r#"patch configmap ours --type=merge -p {"data":{"greeting":"theirs"}}"#);
    story.observer.wait("it is put back", |state| state.config("ours", "greeting") == Some("hello"));
    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"theirs"}}"#);
    story.kubectl(r#"patch service web --type=merge --field-manager=tuner -p {"spec":{"selector":{"app":"tuned"}}}"#);
    // What no rule names is put back; by then the others were seen too.
    story.kubectl("label configmap web tidegate.dev/application-");
    story.observer.wait("our label is back", |state| {
        let map = state.find(Kind::ConfigMap, "web").expect("it exists");
        map["metadata"]["labels"]["tidegate.dev/application"] == "web"
    });
    story.repo.edit("manifests/web/service.yaml", "port: 80\n", "port: 81\n");
    let commit = story.repo.commit_and_push("another port");
    story.wait_app("web", "has taken the commit", |app| app.desired("commit") == commit && app.is_at_rest());
    story.wait_settled("web", "1.0.0");

    story.observer.now(|state| {
        assert_eq!(state.config("web", "greeting"), Some("theirs"));
        let service = state.find(Kind::Service, "web").expect("it exists");
        assert_eq!(service["spec"]["selector"]["app"], "tuned");
        assert_eq!(service["spec"]["ports"][0]["port"], 81);
    });
}

#[test]
fn a_field_that_somebody_fights_for_is_left_alone_and_said_so() {
    let story = Story::begin_with("contended", &AppFixture::new("web").replicas(2));
    let start = story.mark();

    // A writer that puts its value back each time that ours comes.
    let theirs = r#"patch configmap web --type=merge --field-manager=fighter -p {"data":{"greeting":"theirs"}}"#;
    for _ in 0..6 {
        story.kubectl(theirs);
        story.observer.wait("ours is back", |state| state.config("web", "greeting") == Some("hello"));
    }
    story.kubectl(theirs);
    story.wait_app("web", "is contended", |app| app.why().contains("Contended") && app.why().contains("fighter"));

    // Its other fields are still ours, and theirs stays.
    story.kubectl("label configmap web tidegate.dev/application-");
    story.observer.wait("our label is back", |state| {
        let map = state.find(Kind::ConfigMap, "web").expect("it exists");
        map["metadata"]["labels"]["tidegate.dev/application"] == "web"
    });
    assert_eq!(
        story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)).as_deref(),
        Some("theirs")
    );
    story.observer.log().assert_untouched(start, "1.0.0");
}

#[test]
fn an_object_that_somebody_deletes_again_and_again_is_left_alone_and_said_so() {
    let story = Story::begin_with("deleted-again", &AppFixture::new("web").replicas(2));

    let delete = |kind: Kind, name: &str| {
        let before = uid(&story, kind);
        story.kubectl(&format!("delete {name} web"));
        story.observer.wait("it is there again", |state| {
            state.find(kind, "web").is_some_and(|object| format!("{}", object["metadata"]["uid"]) != before)
        });
    };
    for _ in 0..6 {
        delete(Kind::ConfigMap, "configmap");
    }
    story.kubectl("delete configmap web");
    story.wait_app("web", "is contended", |app| app.why().contains("Contended: ConfigMap"));

    // Its other objects are still ours to put back, and this one stays away.
    delete(Kind::Service, "service");
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "web").is_none()));
}

#[test]
fn replicas_that_an_autoscaler_sets_are_left_to_it() {
    let story = Story::begin_with("autoscaled", &AppFixture::new("web").replicas(2));

    // As the HorizontalPodAutoscaler's controller writes: the scale subresource under its own name.
    story.kubectl(
        r#"patch deployment web --subresource=scale --type=merge --field-manager=kube-controller-manager -p {"spec":{"replicas":5}}"#,
    );
    story.observer.wait("five pods run", |state| state.runs("web", "1.0.0", 5));
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    story.observer.wait("five pods are new", |state| state.runs("web", "1.1.0", 5));
}

#[test]
fn an_immutable_field_is_an_error_until_the_object_may_be_made_anew() {
    let mut story = Story::begin("immutable");
    let app = AppFixture::new("web").replicas(2);
    app.write(&story.repo, &story.namespace);
    let settings = |text: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: fixed\nimmutable: true\ndata:\n  a: {text}\n")
    };
    story.repo.write("manifests/web/fixed.yaml", &settings("one"));
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");
    let fixed = |story: &Story| story.observer.now(|state| state.config("fixed", "a").map(str::to_owned));

    story.repo.write("manifests/web/fixed.yaml", &settings("two"));
    story.repo.commit_and_push("a change that cannot be");
    story.wait_app("web", "says what cannot be changed", |app| {
        app.why().contains("data") && app.why().contains("tidegate.dev/replace")
    });
    assert_eq!(fixed(&story).as_deref(), Some("one"));

    story.repo.edit("apps/web.yaml", "spec:\n", "spec:\n  sync: {replaceImmutable: true}\n");
    story.repo.commit_and_push("it may be made anew");
    story.observer.wait("it is made anew", |state| state.config("fixed", "a") == Some("two"));
    story.wait_settled("web", "1.0.0");
}

#[test]
fn deletions_wait_for_a_person_where_that_is_declared_and_protected_kinds_stay() {
    let spec = "sync: {prune: true, confirmPrune: true, protect: [Service]}";
    let story = Story::begin_with("confirm", &AppFixture::new("web").replicas(2).spec(spec));
    let start = story.mark();

    story.repo.remove("manifests/web/config.yaml");
    story.repo.remove("manifests/web/service.yaml");
    story.repo.commit_and_push("neither Service nor ConfigMap");
    story.wait_app("web", "asks", |app| app.why().contains("request=confirm") && app.why().contains("ConfigMap"));
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "web").is_some()));

    story.kubectl_agent("annotate tgapp web tidegate.dev/request=confirm --overwrite");
    story.observer.wait("the ConfigMap is gone", |state| state.find(Kind::ConfigMap, "web").is_none());
    story.wait_settled("web", "1.0.0");
    assert_eq!(story.observer.log().deleted(start, Kind::ConfigMap), ["web"]);
    assert!(!uid(&story, Kind::Service).is_empty(), "a protected kind stays");
}

#[test]
fn an_object_that_says_so_is_never_pruned() {
    let mut story = Story::begin("never-pruned");
    AppFixture::new("web").replicas(2).spec("sync: {prune: true}").write(&story.repo, &story.namespace);
    let keep = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
        "metadata": {"name": "keep", "annotations": {"argocd.argoproj.io/sync-options": "Prune=false"}}});
    story.repo.write("manifests/web/keep.yaml", &keep.to_string());
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");

    story.repo.remove("manifests/web/keep.yaml");
    story.repo.remove("manifests/web/config.yaml");
    story.repo.commit_and_push("neither");
    story.observer.wait("the other ConfigMap is gone", |state| state.find(Kind::ConfigMap, "web").is_none());
    story.wait_settled("web", "1.0.0");
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "keep").is_some()));
}
