//! Releases that are no new pod template: configuration only, replicas only, a first sync.

use crate::support::fixture::{AppFixture, config_map};
use crate::support::state::State;
use crate::support::story::Story;

#[test]
fn a_release_of_configuration_alone_is_one_step() {
    let story = Story::begin_with("config", &AppFixture::new("web"));
    let start = story.mark();

    story.repo.write("manifests/web/config.yaml", &config_map("web", "moin"));
    let commit = story.repo.commit_and_push("another greeting");
    story.wait_app("web", "is settled on the commit", |app| app.is_settled() && app.effective("commit") == commit);

    let log = story.observer.log();
    assert_eq!(story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)), Some("moin".to_owned()));
    assert_eq!(story.app("web", |app| app.past_of("1.0.0").expect("it is remembered").lane().to_owned()), "direct");
    log.assert_untouched(start, "1.0.0");
}

#[test]
fn a_change_of_replicas_alone_has_no_waves() {
    let story = Story::begin_with("replicas", &AppFixture::new("web").replicas(4));
    let start = story.mark();
    let before = story.observer.log().uids_of(start, "1.0.0");

    story.repo.edit("manifests/web/deployment.yaml", "replicas: 4", "replicas: 6");
    story.repo.commit_and_push("six pods");
    story.observer.wait("six pods run", |state| state.runs("web", "1.0.0", 6));
    story.wait_settled("web", "1.0.0");

    let log = story.observer.log();
    assert!(log.lanes(start, "web", "1.0.0").is_disjoint(&["waves".to_owned(), "express".to_owned()].into()));
    assert!(log.uids_of(start, "1.0.0").is_superset(&before));
    assert_eq!(log.uids_of(start, "1.0.0").len(), 6, "no pod was replaced\n{}", log.story());
}

#[test]
fn replicas_change_before_the_template_does() {
    let story = Story::begin_with("both", &AppFixture::new("web").replicas(4));
    let start = story.mark();

    story.repo.edit("manifests/web/deployment.yaml", "replicas: 4", "replicas: 10");
    story.repo.edit("apps/web.yaml", "version: 1.0.0", "version: 1.1.0");
    story.repo.commit_and_push("ten pods of 1.1.0");
    story.wait_settled("web", "1.1.0");

    let log = story.observer.log();
    let waves = log.by_wave(start, "web", "1.1.0");
    assert_eq!(waves[0].at_end, (10, 1), "{}", log.story());
    log.assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
    assert!(story.observer.now(|state| state.runs("web", "1.1.0", 10)));
}

#[test]
fn a_bad_first_sync_is_held_and_the_next_good_commit_goes_on() {
    let mut story = Story::begin("bad-first");
    AppFixture::new("web").version("1.0.0-crash").write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0-crash");
    story.start_agent();
    story.wait_app("web", "is Degraded and held", |app| app.health() == "Degraded" && app.phase() == "Held");

    // Nothing to go back to: everything stays, and says why.
    story.agent().await_polls();
    assert!(story.observer.now(|state| state.deployment("web").is_some() && state.config("web", "greeting").is_some()));
    assert!(!story.app("web", |app| app.why().is_empty()));

    story.repo.bump("web", "1.0.1");
    story.wait_settled("web", "1.0.1");
    assert!(story.observer.now(|state| state.runs("web", "1.0.1", 10)));
}

#[test]
fn a_revert_takes_back_configuration_and_deletes_what_the_failed_release_added() {
    let story = Story::begin_with("atomic", &AppFixture::new("web"));
    let start = story.mark();

    story.repo.write("manifests/web/config.yaml", &config_map("web", "moin"));
    story.repo.write("manifests/web/extra.yaml", &config_map("extra", "new"));
    story.repo.bump("web", "1.1.0-crash");
    story.wait_held("web", "1.1.0-crash");

    let log = story.observer.log();
    assert!(log.ever(start, |state| state.config("web", "greeting") == Some("moin")), "{}", log.story());
    assert!(log.ever(start, |state| state.config("extra", "greeting").is_some()), "{}", log.story());
    story.observer.wait("the configuration is the old one", |state| {
        state.config("web", "greeting") == Some("hello") && state.config("extra", "greeting").is_none()
    });
    log.assert_untouched(start, "1.0.0");
    assert!(!story.app("web", |app| app.has_inventoried("ConfigMap", "extra")));
}

#[test]
fn objects_that_were_there_before_are_adopted_only_from_named_managers() {
    let mut story = Story::begin("adopt");
    let manifest =
        config_map("web", "theirs").replace("  name: web", &format!("  name: web\n  namespace: {}", story.namespace));
    story.plane.apply(&manifest);
    AppFixture::new("web").replicas(1).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();

    story.wait_app("web", "names the other manager", |app| app.why().contains("kubectl"));
    assert_eq!(
        story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)),
        Some("theirs".to_owned())
    );

    story.repo.edit("apps/web.yaml", "spec:\n", "spec:\n  sync: {adopt: [kubectl]}\n");
    story.repo.commit_and_push("take it over");
    story.wait_settled("web", "1.0.0");
    assert_eq!(
        story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)),
        Some("hello".to_owned())
    );
}

#[test]
fn a_stateful_set_follows_in_one_step_after_the_last_wave() {
    let mut story = Story::begin("trailing");
    AppFixture::new("web").replicas(4).write(&story.repo, &story.namespace);
    story.repo.write("manifests/web/store.yaml", STORE);
    story.repo.commit_and_push("web 1.0.0 with its store");
    story.start_agent();
    story.wait_settled("web", "1.0.0");
    let start = story.mark();

    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");

    let log = story.observer.log();
    let is_early = log.ever(start, |state| {
        let is_out = state.pods().any(|pod| pod.name().starts_with("store-") && pod.version() == "1.1.0");
        is_out && state.app("web").is_some_and(|app| app.target() == "1.1.0" && app.position() != "trailing")
    });
    assert!(!is_early, "the store waits for the last wave\n{}", log.story());
    let store = |state: &State| state.pods().filter(|pod| pod.name().starts_with("store-")).count();
    assert_eq!(story.observer.now(store), 2);
    assert!(story.observer.now(|state| state.live_pods().all(|pod| pod.version() == "1.1.0" && pod.is_ready())));
}

const STORE: &str = "apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: store
spec:
  replicas: 2
  serviceName: web
  selector:
    matchLabels:
      app: store
  template:
    metadata:
      labels:
        app: store
    spec:
      containers:
      - name: store
        image: registry.example/web:0.0.0
";

#[test]
fn a_release_that_could_not_be_kept_at_first_rolls_out_all_the_same() {
    let story = Story::begin_with("unkept", &AppFixture::new("web").replicas(2));
    story.kubectl_agent("create quota none --hard=count/secrets=0");
    story.repo.bump("web", "1.1.0");
    story.agent().await_that("a Release cannot be kept", || story.agent().log().contains("failed to keep release"));
    story.kubectl_agent("delete quota none");
    story.wait_settled("web", "1.1.0");
}
