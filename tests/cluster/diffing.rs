//! `tidegate diff`: what a working tree would change in a real cluster, told by the server and changed by nobody.

use serde_json::Value;

use crate::support::fixture::{AppFixture, config_map};
use crate::support::story::Story;

/// What must never be shown, plain and as the API spells it; the second pair is what the first one changes to.
const CANARIES: [&str; 4] = [
    "canary-7c1f0a9be2d4",
    "Y2FuYXJ5LTdjMWYwYTliZTJkNA==",
    "canary-changed-to-this",
    "Y2FuYXJ5LWNoYW5nZWQtdG8tdGhpcw==",
];

/// `tidegate diff` in the story's clone: what it prints, and its exit code.
#[track_caller]
fn diff(story: &Story, arguments: &str) -> (String, i32) {
    let line = format!("diff --path {} {arguments}", story.repo.folder().display());
    let (out, error, code) = story.tidegate(&line);
    assert_eq!(error, "", "{out}");
    (out, code)
}

/// As [`diff`], where something is said on standard error.
fn failing(story: &Story, arguments: &str) -> (String, String, i32) {
    story.tidegate(&format!("diff --path {} {arguments}", story.repo.folder().display()))
}

fn secret(password: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: web}}\nstringData: {{password: {password}, user: ada}}\n")
}

#[track_caller]
fn assert_silent(text: &str) {
    assert!(CANARIES.iter().all(|canary| !text.contains(canary)), "a secret is shown:\n{text}");
}

#[test]
fn a_tree_that_is_synced_differs_in_nothing_and_a_change_shows_as_just_that() {
    let app = AppFixture::new("web").replicas(2);
    let mut story = Story::begin("diff");
    story.repo.write("manifests/web/secret.yaml", &secret(CANARIES[0]));
    story.seed(&app);
    let (out, code) = diff(&story, "web");
    assert_eq!((out.as_str(), code), ("no difference in 4 objects of 1 application\n", 0));
    let start = story.mark();

    let namespace = story.namespace.clone();
    story.repo.edit("manifests/web/config.yaml", "greeting: hello", "greeting: servus");
    story.repo.write("manifests/web/more.yaml", &config_map("more", "new"));
    let (out, code) = diff(&story, "");
    let expected = format!(
        "--- live  ConfigMap {namespace}/web
+++ manifests/web/config.yaml@working tree
@@ -1,6 +1,6 @@
 apiVersion: v1
 data:
-  greeting: hello
+  greeting: servus
 kind: ConfigMap
 metadata:
   name: web
--- live (absent)  ConfigMap {namespace}/more
+++ manifests/web/more.yaml@working tree
@@ -0,0 +1,7 @@
+apiVersion: v1
+data:
+  greeting: new
+kind: ConfigMap
+metadata:
+  name: more
+  namespace: {namespace}
2 objects differ: 1 added, 1 changed
"
    );
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!((sorted(&out), code), (sorted(&expected), 1), "{out}");

    // A version and a Secret; a file that goes while pruning is off.
    story.repo.edit("apps/web.yaml", "version: 1.0.0", "version: 1.1.0");
    story.repo.write("manifests/web/secret.yaml", &secret(CANARIES[2]));
    story.repo.remove("manifests/web/service.yaml");
    let (out, code) = diff(&story, "web");
    for part in [
        "-      - image: registry.example/web:1.0.0\n+      - image: registry.example/web:1.1.0\n",
        "-  password: <masked>\n+  password: '<masked: changed, 19 bytes -> 22 bytes>'\n   user: <masked>\n",
        &format!("# Service {namespace}/web: prune is off: it stays\n--- live  Service {namespace}/web\n"),
        "5 objects differ: 1 added, 3 changed, 1 pruned\n",
    ] {
        assert!(out.contains(part), "{part}\nis missing in:\n{out}");
    }
    assert_eq!(code, 1);
    assert_silent(&out);

    let (out, code) = diff(&story, "-o json");
    assert_silent(&out);
    let list: Vec<Value> = serde_json::from_str(&out).expect("a list");
    let of = |kind: &str| list.iter().find(|each| each["kind"] == kind).expect("it differs");
    assert_eq!((list.len(), code), (5, 1));
    assert_eq!(
        of("Deployment")["after"]["spec"]["template"]["spec"]["containers"][0]["image"],
        "registry.example/web:1.1.0"
    );
    assert_eq!(of("Service")["operation"], "pruned");
    assert_eq!(of("Secret")["before"]["data"]["password"], "<masked>");

    // What was pushed is what runs, whatever the working tree says.
    let (out, code) = diff(&story, "--revision HEAD web");
    assert_eq!((out.as_str(), code), ("no difference in 4 objects of 1 application\n", 0));

    // An app that leaves, beside one that comes.
    AppFixture::new("api").replicas(1).write(&story.repo, &story.namespace);
    std::fs::remove_file(story.repo.folder().join("apps/web.yaml")).expect("it is there");
    let (out, code) = diff(&story, "");
    for part in [
        "# api: no Application resource yet",
        "# web: not declared in the working tree any more; its objects stay (deletion: orphan)\n",
        "3 objects differ: 3 added\n",
    ] {
        assert!(out.contains(part), "{part}\nis missing in:\n{out}");
    }
    assert_eq!(code, 1);

    // Nothing of all that was done.
    assert!(story.observer.now(|state| state.runs("web", "1.0.0", 2) && state.config("more", "greeting").is_none()));
    story.observer.log().assert_untouched(start, "1.0.0");
}

#[test]
fn drift_shows_and_what_is_left_to_others_does_not() {
    let ignored = "sync: {ignore: [{kind: ConfigMap, jsonPointers: [/data/greeting]}]}";
    let story = Story::begin_with("diff-drift", &AppFixture::new("web").replicas(2).spec(ignored));
    story.agent().stop();
    story.kubectl("scale deployment web --replicas=5");
    story.kubectl("set env deployment/web ADDED=by-hand");
    story.kubectl("patch configmap web -p {\"data\":{\"greeting\":\"other\"}}");
    let (out, code) = diff(&story, "web");
    for part in ["-  replicas: 5\n+  replicas: 2\n", "-          name: ADDED\n", "1 object differs: 1 changed\n"] {
        assert!(
            out.contains(part) || out.contains(&part.replace("          name", "        - name")),
            "{part}:\n{out}"
        );
    }
    assert!(!out.contains("greeting"), "{out}");
    assert_eq!(code, 1);
}

#[test]
fn what_the_server_refuses_is_said_of_each_object() {
    let story = Story::begin_with("diff-denied", &AppFixture::new("web").replicas(1));
    story.kubectl("create quota maps --hard=configmaps=1");
    story.agent().await_that("the quota counts", || {
        !story.kubectl("get quota maps -o jsonpath={.status.used.configmaps}").is_empty()
    });
    story.repo.write("manifests/web/more.yaml", &config_map("more", "new"));
    story.repo.edit("manifests/web/deployment.yaml", "      app: web\n", "      app: other\n");
    story.repo.write("manifests/web/lost.yaml", &config_map("lost\n  namespace: nowhere-at-all", "new"));
    let namespace = &story.namespace;
    let (out, code) = diff(&story, "web");
    for part in [
        format!(
            "# ConfigMap {namespace}/more: refused: forbidden: configmaps \"more\" is forbidden: exceeded quota: maps"
        ),
        format!("# apps/Deployment {namespace}/web: refused: cannot be changed in place: "),
        "# ConfigMap nowhere-at-all/lost: refused: namespace `nowhere-at-all` does not exist\n".to_owned(),
        "-      app: web\n+      app: other\n".to_owned(),
        "3 objects differ: 2 added, 1 changed\n".to_owned(),
    ] {
        assert!(out.contains(&part), "{part}\nis missing in:\n{out}");
    }
    assert_eq!(code, 1);

    // A namespace and a kind that come with the change are no refusal.
    story.repo.write("manifests/web/lost.yaml", &config_map("lost\n  namespace: diff-comes", "new"));
    story.repo.write("manifests/web/space.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: diff-comes}\n");
    let (out, _) = diff(&story, "web");
    assert!(out.contains("# ConfigMap diff-comes/lost: its namespace comes with the same change"), "{out}");
    assert!(out.contains("--- live (absent)  Namespace diff-comes\n"), "{out}");
}

#[test]
fn revisions_are_compared_without_a_cluster() {
    let story = Story::begin("diff-offline");
    AppFixture::new("web").write(&story.repo, &story.namespace);
    story.repo.write("manifests/web/secret.yaml", &secret(CANARIES[0]));
    story.repo.commit("one");
    story.repo.write("manifests/web/secret.yaml", &secret(CANARIES[2]));
    story.repo.write("manifests/web/config.yaml", &config_map("web", "servus"));
    story.repo.commit("two");
    let offline = |arguments: &str| {
        let line = format!("diff --path {} --context no-such-context {arguments}", story.repo.folder().display());
        let (out, error, code) = story.tidegate(&line);
        assert_eq!(error, "", "{out}");
        assert_silent(&out);
        (out, code)
    };
    let (out, code) = offline("--revision HEAD --against HEAD~1");
    let [old, new] = ["HEAD~1", "HEAD"].map(|revision| story.repo.git(&["rev-parse", "--short=7", revision]));
    let namespace = &story.namespace;
    for part in [
        format!(
            "--- manifests/web/config.yaml@{old}  ConfigMap {namespace}/web\n+++ manifests/web/config.yaml@{new}\n"
        ),
        "-  greeting: hello\n+  greeting: servus\n".to_owned(),
        "+  password: '<masked: changed, 19 bytes -> 22 bytes>'\n".to_owned(),
        "2 objects differ: 2 changed\n".to_owned(),
    ] {
        assert!(out.contains(&part), "{part}\nis missing in:\n{out}");
    }
    assert_eq!(code, 1);
    let (out, code) = offline("--against HEAD");
    assert_eq!((out.as_str(), code), ("no difference in 4 objects of 1 application\n", 0));
}

#[test]
fn what_cannot_be_compared_is_an_error_with_its_place() {
    let story = Story::begin("diff-errors");
    AppFixture::new("web").write(&story.repo, &story.namespace);
    story.repo.commit("one");
    let (_, error, code) = failing(&story, "api");
    assert_eq!((error.as_str(), code), ("error: no Application is called `api` in working tree\n", 2));
    story.repo.write("manifests/web/config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n");
    let (_, error, code) = failing(&story, "web");
    assert!(error.starts_with("error: web: manifests/web/config.yaml:"), "{error}");
    assert_eq!(code, 2);
    story.repo.edit("apps/web.yaml", "version: 1.0.0", "version: 1.0");
    let (_, error, code) = failing(&story, "web");
    assert!(error.contains("spec.version: `1.0` is a number in YAML") && error.contains("apps/web.yaml:6:"), "{error}");
    assert_eq!(code, 2);
}
