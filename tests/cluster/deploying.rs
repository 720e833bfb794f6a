//! `tidegate deploy --wait`: from a clone to a version in effect, or held, told by the exit code.

use serde_json::Value;

use crate::support::application::App;
use crate::support::fixture::{AppFixture, config_map};
use crate::support::story::Story;

/// Each wave stands longer than the time between two looks.
const BAKED: &str = "
  strategy: rolling
  waves:
  - {name: one, replicas: 1, bake: 2s, timeout: 60s}
  - {name: all, replicas: 100%, bake: 2s, timeout: 60s}
";

/// `tidegate deploy` in the story's clone: exit code, standard output and error.
fn deploy(story: &Story, arguments: &str) -> (i32, String, String) {
    let line = format!("deploy web {arguments} --path {}", story.repo.folder().display());
    let (out, error, code) = story.tidegate(&line);
    (code, out, error)
}

#[test]
fn a_deploy_waits_until_the_version_is_in_effect_or_held() {
    let story = Story::begin_with("deploy", &AppFixture::new("web").plan(BAKED));
    for (key, value) in [("user.name", "Ada"), ("user.email", "ada@example.com")] {
        story.repo.git(&["config", key, value]);
    }
    story.repo.git(&["push", "--quiet", "-u", "origin", "main"]);

    let (code, out, error) = deploy(&story, "1.1.0 --wait --timeout 3m");
    assert_eq!(code, 0, "{out}{error}");
    let lines: Vec<&str> = out.lines().collect();
    assert!(
        lines[0].starts_with("web: 1.0.0 -> 1.1.0 (apps/web.yaml:") && lines[0].contains("pushed to origin/main"),
        "{out}"
    );
    assert_eq!(lines[1..], ["web: 1.1.0 is in effect"], "{out}");
    for wave in ["wave one", "wave all"] {
        assert!(error.contains(wave), "the {wave} is told on the way:\n{error}");
    }
    story.app("web", |app| assert!(app.is_settled_on("1.1.0")));

    let (code, out, error) = deploy(&story, "1.2.0-crash --wait --timeout 3m -o json");
    let document: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &document["state"]), (1, &"held".into()), "{out}{error}");
    assert!(document["why"].as_str().is_some_and(|why| !why.is_empty()), "{out}");
    assert_eq!(document["commit"], story.repo.head());

    // Back to what ran: nothing moves, and it is in effect as soon as the agent has read it.
    let (code, out, error) = deploy(&story, "1.1.0 --wait --timeout 3m");
    assert_eq!((code, out.lines().last()), (0, Some("web: 1.1.0 is in effect")), "{out}{error}");

    // No agent reads this branch: time is over, and the commit stays where it is.
    story.repo.git(&["checkout", "--quiet", "-b", "other"]);
    story.repo.git(&["push", "--quiet", "-u", "origin", "other"]);
    let (code, out, error) = deploy(&story, "1.3.0 --wait --timeout 2s");
    assert_eq!(code, 1, "{out}{error}");
    assert!(
        out.contains("1.3.0 is not in effect in time; last: web: the agent has not read 1.3.0 in Git yet, but 1.1.0"),
        "{out}"
    );
}

/// A set over folders, on a base.
fn set(namespace: &str, pattern: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: ApplicationSet\nmetadata: {{name: services}}\nspec:\n  generators:\n    - folders: \
         {{pattern: {pattern}}}\n  template:\n    metadata:\n      name: ${{name}}\n    spec:\n      base: service\n      source:\n        path: \
         ${{path}}\n---\napiVersion: tidegate.dev/v1alpha1\nkind: ApplicationBase\nmetadata: {{name: service}}\nspec:\n  deletion: cascade\n  \
         destination: {{namespace: {namespace}}}\n"
    )
}

/// A folder with a ConfigMap, and the version beside it.
fn service(story: &Story, name: &str) {
    story.repo.write(&format!("services/{name}/settings.yaml"), &config_map(name, "hello"));
    let version = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: ApplicationVersion\nmetadata: {{name: {name}}}\nspec:\n  version: 1.0.0 # {name}\n"
    );
    story.repo.write(&format!("services/{name}/version.yaml"), &version);
}

#[test]
fn a_folder_that_comes_is_an_application_one_that_goes_is_none_and_a_pattern_that_fails_removes_nothing() {
    let mut story = Story::begin("set");
    for (key, value) in [("user.name", "Ada"), ("user.email", "ada@example.com")] {
        story.repo.git(&["config", key, value]);
    }
    let namespace = story.namespace.clone();
    story.repo.write("set.yaml", &set(&namespace, "services/*"));
    service(&story, "one");
    service(&story, "two");
    story.repo.commit("two services");
    story.repo.git(&["push", "--quiet", "-u", "origin", "main"]);
    story.start_agent();
    story.wait_settled("one", "1.0.0");
    story.wait_settled("two", "1.0.0");

    let line = format!("deploy two 1.1.0 --wait --timeout 2m --path {}", story.repo.folder().display());
    let (out, error, code) = story.tidegate(&line);
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("two: 1.0.0 -> 1.1.0 (services/two/version.yaml:5)"), "{out}");
    // It renders to what ran before: in effect at once, and no rollout.
    let is_there = |app: App<'_>| app.is_settled() && app.desired("version") == "1.1.0";
    story.app("two", |app| assert!(is_there(app)));
    story.app("one", |app| assert!(app.is_settled_on("1.0.0")));

    service(&story, "three");
    story.repo.commit_and_push("a third");
    story.wait_settled("three", "1.0.0");

    // Nothing matches any more: all three are held with the reason, and what runs stays.
    story.repo.write("set.yaml", &set(&namespace, "servces/*"));
    let slip = story.repo.commit_and_push("a slip");
    for name in ["one", "two", "three"] {
        story.wait_app(name, "says what is wrong", |app| {
            app.why().contains("matches no folder: there is none like `servces/*`")
        });
    }
    story.agent().await_polls();
    assert_eq!(story.kubectl("get configmaps -o name").lines().filter(|line| !line.contains("kube-root")).count(), 3);

    // Once the pattern is mended, a folder that leaves is an application that leaves.
    story.repo.revert(&slip);
    story.wait_app("two", "stands at 1.1.0", is_there);
    story.repo.remove("services/one");
    story.repo.commit_and_push("one service fewer");
    story.observer.wait("app one is gone, and its ConfigMap", |state| state.app("one").is_none());
    story.wait_app("two", "stands at 1.1.0", is_there);
    let left = story.kubectl("get configmaps -o name");
    assert!(
        !left.contains("configmap/one") && left.contains("configmap/two") && left.contains("configmap/three"),
        "{left}"
    );
}
