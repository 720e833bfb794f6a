//! Git fails or empties: nothing is deleted, status says what is wrong, and everything goes on afterwards.

use std::path::Path;

use crate::support::fixture::AppFixture;
use crate::support::log::Mark;
use crate::support::plane::GitServer;
use crate::support::state::Kind;
use crate::support::story::Story;

/// Two pods, and pruning switched on: the most that a broken source could destroy.
fn pruned() -> AppFixture {
    AppFixture::new("web").replicas(2).spec("sync: {prune: true}").spec("deletion: cascade")
}

/// Waits until the app says that its source is broken, with these words in its `why`.
#[track_caller]
fn wait_source_failed(story: &Story, words: &str) {
    story.wait_app("web", &format!("says that its source failed: {words}"), |app| {
        app.phase() == "SourceFailed" && app.sync() == "Unknown" && app.why().contains(words)
    });
    story.app("web", |app| {
        assert_eq!(app.condition("Ready"), ("False", "SourceFailed"));
        assert_eq!(app.effective("version"), "1.0.0", "what runs is still known");
    });
}

/// Claims that nothing of the app was deleted or changed since.
#[track_caller]
fn assert_nothing_happened(story: &Story, start: Mark) {
    let log = story.observer.log();
    for kind in [Kind::ConfigMap, Kind::Deployment, Kind::Service, Kind::Application] {
        assert_eq!(log.deleted(start, kind), [""; 0], "{}", log.story());
    }
    log.assert_untouched(start, "1.0.0");
}

/// The app goes on: a bump goes out.
#[track_caller]
fn recovers(story: &Story, start: Mark) {
    assert_nothing_happened(story, start);
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
}

#[test]
fn a_missing_source_path_deletes_nothing() {
    let story = Story::begin_with("no-path", &pruned());
    let start = story.mark();

    story.repo.git(&["mv", "manifests/web", "manifests/elsewhere"]);
    let commit = story.repo.commit_and_push("moved away");
    wait_source_failed(&story, "manifests/web");
    story.repo.revert(&commit);
    story.wait_settled("web", "1.0.0");
    recovers(&story, start);
}

#[test]
fn an_empty_source_folder_deletes_nothing() {
    let story = Story::begin_with("no-files", &pruned());
    let start = story.mark();

    for file in ["deployment.yaml", "service.yaml", "config.yaml"] {
        story.repo.write(&format!("manifests/web/{file}"), "# nothing\n");
    }
    let commit = story.repo.commit_and_push("emptied");
    story.wait_app("web", "is not settled", |app| !app.is_settled() && !app.why().is_empty());
    story.agent().await_polls();
    assert_nothing_happened(&story, start);
    story.repo.revert(&commit);
    story.wait_settled("web", "1.0.0");
    recovers(&story, start);
}

#[test]
fn broken_manifests_hold_back_their_app_and_no_other() {
    let mut story = Story::begin("bad-manifest");
    pruned().write(&story.repo, &story.namespace);
    AppFixture::new("api").replicas(2).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web and api 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");
    story.wait_settled("api", "1.0.0");
    let start = story.mark();

    story.repo.write("manifests/web/config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web\n");
    story.repo.bump("api", "1.1.0");
    wait_source_failed(&story, "manifests/web/config.yaml");
    story.wait_settled("api", "1.1.0");

    let log = story.observer.log();
    assert_eq!(log.deleted(start, Kind::ConfigMap), [""; 0], "{}", log.story());
    story.repo.git(&["checkout", "HEAD~1", "--", "manifests/web/config.yaml"]);
    story.repo.commit_and_push("mended");
    story.wait_settled("web", "1.0.0");
}

#[test]
fn a_broken_declaration_holds_back_the_apps_of_its_file() {
    let mut story = Story::begin("bad-app");
    pruned().write(&story.repo, &story.namespace);
    AppFixture::new("api").replicas(2).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web and api 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");
    story.wait_settled("api", "1.0.0");
    let start = story.mark();

    story.repo.edit("apps/web.yaml", "  version: 1.0.0", "  vresion: 1.1.0");
    story.repo.bump("api", "1.1.0");
    wait_source_failed(&story, "apps/web.yaml");
    story.wait_app("web", "names the field", |app| app.why().contains("vresion"));
    story.wait_settled("api", "1.1.0");

    let log = story.observer.log();
    assert_eq!(log.deleted(start, Kind::Application), [""; 0], "{}", log.story());
    assert_eq!(log.deleted(start, Kind::Deployment), [""; 0], "{}", log.story());
    story.repo.edit("apps/web.yaml", "  vresion: 1.1.0", "  version: 1.0.0");
    story.repo.commit_and_push("mended");
    story.wait_settled("web", "1.0.0");
}

#[test]
fn a_declaration_that_was_never_good_is_told() {
    let mut story = Story::begin("never-good");
    AppFixture::new("api").replicas(2).write(&story.repo, &story.namespace);
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    story.repo.edit("apps/web.yaml", "  version: 1.0.0", "  vresion: 1.0.0");
    story.repo.commit_and_push("api and a mistake");
    story.start_agent();
    story.wait_settled("api", "1.0.0");

    // Nobody knows where it would go, so there may be no resource of it; but it is told somewhere.
    let is_told = || {
        let in_api = story.agent().get("/api/v1/applications/web").1.to_string().contains("apps/web.yaml");
        in_api || story.agent().log().contains("apps/web.yaml")
    };
    story.agent().await_that("the broken file is told", is_told);

    story.repo.edit("apps/web.yaml", "  vresion: 1.0.0", "  version: 1.0.0");
    story.repo.commit_and_push("mended");
    story.wait_settled("web", "1.0.0");
}

#[test]
fn a_repository_without_a_commit_is_waited_for() {
    let mut story = Story::begin("empty-repo");
    let settings = story.settings();
    story.start_agent_unready(settings);
    story.agent().await_that("the agent has tried Git", || {
        story.agent().metric("tidegate_polls_total", &["outcome=\"failed\""]) >= 1.0
    });
    let start = story.mark();

    pruned().write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    story.wait_settled("web", "1.0.0");
    assert_eq!(story.observer.log().deleted(start, Kind::Application), [""; 0]);
}

#[test]
fn a_vanished_branch_deletes_nothing() {
    let story = Story::begin_with("no-branch", &pruned());
    // Another branch stays, so that it is not the repository that is empty.
    story.repo.git(&["push", "--quiet", "origin", "HEAD:refs/heads/other"]);
    let start = story.mark();

    story.repo.delete_remote_branch("main");
    wait_source_failed(&story, "main");
    story.agent().await_polls();
    assert_nothing_happened(&story, start);

    story.repo.push();
    story.wait_settled("web", "1.0.0");
    recovers(&story, start);
}

#[test]
fn an_emptied_tree_deletes_nothing() {
    let story = Story::begin_with("empty-tree", &pruned());
    let start = story.mark();

    story.repo.remove("apps");
    story.repo.remove("manifests");
    story.repo.remove("plans");
    let commit = story.repo.commit_and_push("all of it");
    story.agent().await_polls();
    // The one Application of the repository is all of them: removing it with everything else stops and asks.
    story.wait_app("web", "is not settled", |app| !app.is_settled() && !app.why().is_empty());
    assert_nothing_happened(&story, start);
    story.repo.revert(&commit);
    story.wait_settled("web", "1.0.0");
    recovers(&story, start);
}

#[test]
fn a_dead_git_server_stops_nothing_that_is_under_way() {
    let mut story = Story::begin("dead-git");
    AppFixture::new("web").write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    let server = GitServer::start(story.plane.git_root());
    let mut settings = story.settings();
    settings.repository = server.url(story.bare_name());
    story.start_agent_with(settings);
    story.wait_settled("web", "1.0.0");
    let start = story.mark();

    // A bad version is out; its revert needs no Git.
    story.repo.bump("web", "1.1.0-crash");
    story.observer.wait("the bad version has a pod", |state| state.pods_of("1.1.0-crash") == 1);
    server.say("git down");
    story
        .observer
        .wait("it is taken back", |state| state.runs("web", "1.0.0", 10) && state.version_of("web") == Some("1.0.0"));
    wait_source_failed(&story, "Git");
    story.observer.log().assert_untouched(start, "1.0.0");

    server.say("git up");
    story.wait_held("web", "1.1.0-crash");
    story.repo.bump("web", "1.2.0");
    story.wait_settled("web", "1.2.0");

    // A server that takes requests and never answers holds nothing up either.
    server.say("git stall");
    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"drifted"}}"#);
    story.observer.wait("drift is still corrected", |state| state.config("web", "greeting") == Some("hello"));
    server.say("git up");
    story.repo.bump("web", "1.3.0");
    story.wait_settled("web", "1.3.0");
}

#[test]
fn a_rewritten_history_is_followed_when_somebody_accepts_it_and_that_once() {
    let story = Story::begin_with("rewritten", &pruned());
    let first = story.repo.head();
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    let start = story.mark();

    story.repo.force_push_back_to(&first);
    let accepts = format!("tidegate resume --accept-history {first}");
    story.wait_app("web", "stops and says why", |app| !app.is_settled() && app.why().contains(&accepts));
    story.agent().await_polls();
    story.observer.log().assert_untouched(start, "1.1.0");

    // Somebody's word lets it go on, for this once.
    let (out, error, code) = story.tidegate(&format!("resume --accept-history {first}"));
    assert_eq!((error.as_str(), code), ("", 0), "{out}");
    assert!(out.contains("accepted the history"), "{out}");
    story.wait_settled("web", "1.0.0");
    story.repo.bump("web", "1.2.0");
    story.wait_settled("web", "1.2.0");
    let start = story.mark();
    story.repo.force_push_back_to(&first);
    story.wait_app("web", "stops again", |app| !app.is_settled() && app.why().contains(&accepts));
    story.agent().restart();
    story.agent().await_polls();
    story.observer.log().assert_untouched(start, "1.2.0");
}

#[test]
fn a_local_repository_is_opened_in_place() {
    let mut story = Story::begin("local");
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    let mut settings = story.settings();
    let bare: &Path = &story.plane.git_root().join(story.bare_name());
    settings.repository = bare.display().to_string();
    story.start_agent_with(settings);
    story.wait_settled("web", "1.0.0");
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
}
