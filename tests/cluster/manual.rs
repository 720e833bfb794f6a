//! An application that is synced by hand: it says what would be done, and does it when a person asks.

use crate::support::application::App;
use crate::support::fixture::{AppFixture, config_map};
use crate::support::state::Kind;
use crate::support::story::Story;

fn ask_for_sync(story: &Story) {
    story.kubectl_agent("annotate tgapp web tidegate.dev/request=sync --overwrite");
}

/// Whether it waits for a person, and says this of what would be done.
fn waits(app: &App<'_>, words: &[&str]) -> bool {
    let why = app.why();
    app.phase() == "Waiting" && app.sync() == "OutOfSync" && words.iter().all(|word| why.contains(word))
}

#[test]
fn what_is_synced_by_hand_waits_for_a_person() {
    let mut story = Story::begin("manual");
    let app = AppFixture::new("web").replicas(2).spec("sync: {automated: false, prune: true}");
    app.write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();

    // Nothing is there, and nothing is applied.
    let first = ["sync is manual", "version 1.0.0 would be applied for the first time", "Deployment.apps"];
    story.wait_app("web", "tells what would be applied", |app| waits(&app, &first));
    story.agent().await_polls();
    assert!(story.observer.now(|state| state.deployment("web").is_none()));
    assert_eq!(story.kubectl("get configmap web --ignore-not-found -o name"), "");

    ask_for_sync(&story);
    story.wait_settled("web", "1.0.0");

    // A commit that rolls out, changes, adds and leaves behind.
    story.repo.write("manifests/web/config.yaml", &config_map("web", "moin"));
    story.repo.write("manifests/web/extra.yaml", &config_map("extra", "hello"));
    story.repo.remove("manifests/web/service.yaml");
    let start = story.mark();
    story.repo.bump("web", "1.1.0");
    let words = [
        "sync is manual: version 1.1.0 would roll out in",
        "change ConfigMap",
        "add ConfigMap",
        "delete Service",
        "tidegate.dev/request=sync",
    ];
    story.wait_app("web", "tells what would be done", |app| waits(&app, &words));
    story.agent().await_polls();
    let log = story.observer.log();
    log.assert_untouched(start, "1.0.0");
    assert_eq!(log.writes(start, Kind::ConfigMap) + log.writes(start, Kind::Service), 0, "{}", log.story());
    // Argo CD's clients read that it is out of sync, with no operation under way.
    let (_, shown) = story.agent().get("/api/v1/applications/web");
    assert_eq!(shown["status"]["sync"]["status"], "OutOfSync", "{shown:#}");
    assert_eq!(shown["spec"].get("syncPolicy"), None, "{shown:#}");

    // Another commit is another question: the answer to the one before is none to this.
    ask_for_sync(&story);
    story.wait_settled("web", "1.1.0");
    assert_eq!(story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)), Some("moin".to_owned()));
    story.observer.wait("the Service is gone", |state| state.find(Kind::Service, "web").is_none());
    story.repo.bump("web", "1.2.0");
    story.wait_app("web", "waits again", |app| waits(&app, &["version 1.2.0 would roll out"]));

    // What runs already needs nobody to ask for it.
    let start = story.mark();
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_untouched(start, "1.1.0");
}
