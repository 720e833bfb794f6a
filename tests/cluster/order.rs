//! The order of things: kinds that a Release brings along, explicit waves, hooks, and apps that wait for apps.

use serde_json::Value;

use crate::support::fixture::{AppFixture, config_map};
use crate::support::state::Kind;
use crate::support::story::Story;

/// A Job whose pod does what its image's tag says.
fn job(name: &str, tag: &str, annotations: &str) -> String {
    format!(
        "apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  annotations: {{{annotations}}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: job
        image: registry.example/job:{tag}
"
    )
}

/// Definition of a kind in a group of its own, since definitions are the whole cluster's.
fn definition(group: &str, kind: &str, scope: &str) -> String {
    let (singular, plural) = (kind.to_lowercase(), format!("{}s", kind.to_lowercase()));
    format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {plural}.{group}
spec:
  group: {group}
  scope: {scope}
  names: {{kind: {kind}, plural: {plural}, singular: {singular}, listKind: {kind}List}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}
"
    )
}

fn gadget(group: &str, kind: &str, name: &str, metadata: &str) -> String {
    format!("apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: {name}{metadata}}}\nspec: {{size: 3}}\n")
}

fn created(story: &Story, what: &str) -> String {
    story.kubectl(&format!("get {what} -o jsonpath={{.metadata.creationTimestamp}}"))
}

#[test]
fn definitions_their_resources_and_namespaces_come_in_one_release() {
    let mut story = Story::begin("bring");
    let (group, home) = (format!("{}.example", story.namespace), format!("{}-home", story.namespace));
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    let manifests = [
        gadget(&group, "Gadget", "one", &format!(", namespace: {home}")),
        gadget(&group, "Planet", "earth", ""),
        config_map("there", "hello").replace("  name: there", &format!("  name: there\n  namespace: {home}")),
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {home}}}\n"),
        definition(&group, "Gadget", "Namespaced"),
        definition(&group, "Planet", "Cluster"),
    ];
    story.repo.write("manifests/web/all.yaml", &manifests.join("---\n"));
    story.repo.commit_and_push("web 1.0.0 with kinds of its own");
    story.start_agent();
    story.wait_settled("web", "1.0.0");

    let size = |what: &str| story.plane.kubectl(&["get", what, "-n", &home, "-o", "jsonpath={.items[*].spec.size}"]);
    assert_eq!(size(&format!("gadgets.{group}")), "3");
    assert_eq!(size(&format!("planets.{group}")), "3");

    // The kind vanishes, and everything of it; it comes back by itself, since it is declared.
    story.plane.kubectl(&["delete", "crd", &format!("gadgets.{group}")]);
    story.agent().await_that("the resource is there again", || {
        let arguments = ["get", &format!("gadgets.{group}"), "-n", &home, "-o", "name"];
        let output = story.plane.kubectl_output(&arguments, "");
        output.status.success() && !output.stdout.is_empty()
    });
    story.wait_settled("web", "1.0.0");
    story.plane.kubectl(&["delete", "crd", &format!("gadgets.{group}"), &format!("planets.{group}"), "--wait=false"]);
    story.plane.kubectl(&["delete", "namespace", &home, "--wait=false"]);
}

#[test]
fn a_resource_may_wait_for_a_kind_that_others_bring() {
    let mut story = Story::begin("await-kind");
    let group = format!("{}.example", story.namespace);
    AppFixture::new("web").replicas(1).write(&story.repo, &story.namespace);
    let options = ", annotations: {argocd.argoproj.io/sync-options: SkipDryRunOnMissingResource=true}";
    story.repo.write("manifests/web/gadget.yaml", &gadget(&group, "Gadget", "one", options));
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_app("web", "waits for the kind", |app| app.why().contains("does not know the kind Gadget"));
    story.observer.wait("the rest is there", |state| state.runs("web", "1.0.0", 1));

    story.plane.apply(&definition(&group, "Gadget", "Namespaced"));
    story.wait_settled("web", "1.0.0");

    // Somebody takes the kind away again: it is missed, not forgotten.
    story.plane.kubectl(&["delete", "crd", &format!("gadgets.{group}")]);
    story.wait_app("web", "misses the kind", |app| app.why().contains("does not know the kind Gadget"));
    assert!(story.app("web", |app| app.has_inventoried("Gadget", "one")));
    story.plane.apply(&definition(&group, "Gadget", "Namespaced"));
    story.wait_settled("web", "1.0.0");
    assert_eq!(story.kubectl(&format!("get gadgets.{group} one -o jsonpath={{.spec.size}}")), "3");
    story.plane.kubectl(&["delete", "crd", &format!("gadgets.{group}"), "--wait=false"]);
}

#[test]
fn a_later_sync_wave_waits_for_the_health_of_the_earlier_one() {
    let mut story = Story::begin("sync-waves");
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    let early = job("early", "1-complete-3s", "argocd.argoproj.io/sync-wave: '-1'");
    let late = config_map("late", "hello")
        .replace("  name: late", "  name: late\n  annotations: {tidegate.dev/sync-wave: '2'}");
    story.repo.write("manifests/web/order.yaml", &format!("{late}---\n{early}"));
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");

    let ended = story.kubectl("get job early -o jsonpath={.status.completionTime}");
    assert!(created(&story, "deployment web") >= ended, "the Deployment is of wave 0");
    let ready = story
        .kubectl("get deployment web -o jsonpath={.status.conditions[?(@.type==\"Available\")].lastTransitionTime}");
    assert!(created(&story, "configmap late") >= ready, "the ConfigMap is of wave 2");
}

#[test]
fn a_pre_hook_that_fails_keeps_everything_as_it_was() {
    let story = Story::begin_with("pre-hook", &AppFixture::new("web").replicas(4));
    let start = story.mark();
    story.repo.write("manifests/web/config.yaml", &config_map("web", "moin"));
    story.repo.write("manifests/web/migrate.yaml", &job("migrate", "1-crash", "tidegate.dev/hook: pre"));
    story.repo.bump("web", "1.1.0");
    story.wait_held("web", "1.1.0");

    let log = story.observer.log();
    log.assert_untouched(start, "1.0.0");
    assert!(!log.ever(start, |state| state.config("web", "greeting") == Some("moin")), "{}", log.story());
    assert_eq!(log.max_pods(start, "1.1.0"), 0, "{}", log.story());
    assert!(
        story.app("web", |app| app.why().contains("pre hook migrate")),
        "{}",
        story.app("web", |app| app.summary())
    );
    assert!(story.events().iter().any(|event| event.contains("HookFailed")), "{:?}", story.events());

    // The hook is part of the Release: mended, it is another one.
    story.repo.write("manifests/web/migrate.yaml", &job("migrate", "2-complete-1s", "tidegate.dev/hook: pre"));
    story.repo.commit_and_push("mend the migration");
    story.wait_settled("web", "1.1.0");
    assert_eq!(story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)), Some("moin".to_owned()));
    assert!(
        created(&story, "job migrate")
            <= story.kubectl("get configmap web -o jsonpath={.metadata.managedFields[0].time}")
    );
    assert!(!story.app("web", |app| app.has_inventoried("Job", "migrate")), "a hook is not inventoried");
}

#[test]
fn post_hooks_run_after_the_last_wave_and_a_failing_one_reverts() {
    let mut story = Story::begin("post-hook");
    AppFixture::new("web").replicas(4).spec("sync: {prune: true}").write(&story.repo, &story.namespace);
    let smoke = |tag: &str| {
        job("smoke", tag, "argocd.argoproj.io/hook: PostSync, argocd.argoproj.io/hook-delete-policy: HookSucceeded")
            .replace("  name: smoke", "  generateName: smoke-")
    };
    story.repo.write("manifests/web/smoke.yaml", &smoke("1-complete-1s"));
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent();
    story.wait_settled("web", "1.0.0");
    assert_eq!(story.kubectl("get jobs -o name"), "", "it succeeded, so it is deleted");
    assert!(story.events().iter().any(|event| event.contains("HookSucceeded")), "{:?}", story.events());
    assert_eq!(ended_hooks(&story), ["post smoke-1 Succeeded"]);

    let undo = job("undo", "1-complete-1s", "tidegate.dev/hook: onRollback");
    story.repo.write("manifests/web/undo.yaml", &undo);
    story.repo.write("manifests/web/smoke.yaml", &smoke("2-crash"));
    story.repo.bump("web", "1.1.0");
    story.wait_held("web", "1.1.0");
    story.observer.wait("the old version runs", |state| state.runs("web", "1.0.0", 4));
    assert!(
        story.app("web", |app| app.why().contains("post hook smoke-2 of wave")),
        "{}",
        story.app("web", |app| app.summary())
    );
    // A run has the number of its rollout in its name, and stays when it failed.
    assert!(story.kubectl("get jobs -o name").contains("job.batch/smoke-2"));
    let is_done = "get job undo -o jsonpath={.status.succeeded}";
    assert_eq!(story.kubectl(is_done), "1");
    assert_eq!(ended_hooks(&story), ["post smoke-2 Failed", "onRollback undo Succeeded"]);
    let results = story.agent().get("/api/v1/applications/web").1["status"]["operationState"]["syncResult"].clone();
    let is_smoke = |result: &Value| result["name"] == "smoke-2" && result["hookPhase"] == "Failed";
    assert!(results["resources"].as_array().expect("a list").iter().any(is_smoke), "{results:#}");

    // What is left of them goes with the application, whatever their names; a Job of somebody else's stays.
    story.plane.apply(&job("stranger", "1-complete-1s", "example.com/none: none").replace(
        "  name: stranger",
        &format!("  name: stranger\n  namespace: {}\n  labels: {{tidegate.dev/application: web}}", story.namespace),
    ));
    story.repo.edit("apps/web.yaml", "spec:\n", "spec:\n  deletion: cascade\n");
    // Where no application is left, nothing is deleted.
    AppFixture::new("other").replicas(0).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("it may go with all that it has");
    story.wait_settled("other", "1.0.0");
    story.wait_app("web", "may go", |app| app.0["spec"]["deletion"] == "cascade");
    story.repo.remove("apps/web.yaml");
    story.repo.commit_and_push("it goes");
    story.observer.wait("it is gone", |state| state.app("web").is_none());
    assert_eq!(story.kubectl("get jobs -o name").trim(), "job.batch/stranger");
}

/// How the hooks of the last rollout ended.
fn ended_hooks(story: &Story) -> Vec<String> {
    let document = story.agent().get("/apis/tidegate.dev/v1/applications/web/rollout").1;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let told = |hook: &Value| ["moment", "name", "phase"].map(|field| text(&hook[field])).join(" ");
    document["hooks"].as_array().expect("a list").iter().map(told).collect()
}

#[test]
fn an_application_waits_for_those_it_depends_on() {
    let mut story = Story::begin("depends");
    AppFixture::new("api").replicas(1).version("1.0.0-crash").write(&story.repo, &story.namespace);
    let web = AppFixture::new("web").replicas(1).spec("dependsOn: [{name: api}]\n  deletion: cascade");
    web.write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web and api");
    story.start_agent();
    story.wait_app("web", "waits for api", |app| app.why().contains("waits for application api"));
    story.wait_app("api", "is held", |app| app.phase() == "Held");
    assert!(story.observer.now(|state| state.deployment("web").is_none()));

    story.repo.bump("api", "1.0.1");
    story.wait_settled("api", "1.0.1");
    story.wait_settled("web", "1.0.0");

    // A circle is refused by file and line, and what runs goes on.
    story.repo.edit("apps/api.yaml", "spec:\n", "spec:\n  dependsOn: [{name: web}]\n");
    story.repo.commit_and_push("in a circle");
    story.wait_app("api", "tells the circle", |app| {
        app.why().contains("apps/api.yaml:") && app.why().contains("circle")
    });
    assert!(story.observer.now(|state| state.ready_of("1.0.1") == 1 && state.ready_of("1.0.0") == 1));

    // Together in one commit they leave in order: who depends goes first.
    story.repo.edit("apps/api.yaml", "spec:\n  dependsOn: [{name: web}]\n", "spec:\n  deletion: cascade\n");
    AppFixture::new("other").replicas(1).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("no circle");
    story.wait_settled("other", "1.0.0");
    story.wait_settled("api", "1.0.1");
    let start = story.mark();
    story.repo.remove("apps/api.yaml");
    story.repo.remove("apps/web.yaml");
    story.repo.commit_and_push("both go");
    story.observer.wait("both are gone", |state| state.app("api").is_none() && state.app("web").is_none());
    let log = story.observer.log();
    assert!(
        !log.ever(start, |state| state.deployment("api").is_none() && state.deployment("web").is_some()),
        "{}",
        log.story()
    );
    assert_eq!(log.deleted(start, Kind::Application), ["web", "api"]);
}
