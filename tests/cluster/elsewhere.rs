//! Manifests that lie in another repository: rolled out like any other, and no reason for anything else to wait.

use std::fmt::Write as _;

use crate::support::fixture::{AppFixture, THREE_WAVES};
use crate::support::plane::GitServer;
use crate::support::renderer::RendererProcess;
use crate::support::repo::Repo;
use crate::support::state::Kind;
use crate::support::story::Story;

/// A story whose app `shop` takes its chart from a repository of another server, at a range of versions.
struct Elsewhere {
    story: Story,
    charts: Repo,
    server: GitServer,
    renderer: RendererProcess,
}

impl Elsewhere {
    fn begin(name: &str) -> Self {
        let mut story = Story::begin(name);
        let folder = story.folder().join("elsewhere");
        let charts = Repo::create(&folder.join("copy"), &folder.join("served/charts.git"));
        let server = GitServer::start(&folder.join("served"));
        let renderer = RendererProcess::start(&story.folder().join("renderer"));
        let url = server.url("charts.git");
        declare(&story, &url);
        AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
        story.repo.write("env/shop.yaml", "replicas: 3\ncolour: green\n");
        story.repo.commit_and_push("first");
        write_chart(&charts, "0.1.0");
        publish(&charts, "v1.4.0");
        let settings_file = story.folder().join("settings.yaml");
        let root = url.rsplit_once('/').expect("a URL has a path").0;
        std::fs::write(&settings_file, format!("repositories: [{{url: '{root}/'}}]\n"))
            .expect("the session folder can be written");
        let mut settings = story.settings();
        settings.extra.extend(["--renderer".to_owned(), renderer.socket().display().to_string()]);
        settings.extra.extend(["--config".to_owned(), settings_file.display().to_string()]);
        story.start_agent_with(settings);
        Self { story, charts, server, renderer }
    }
}

fn declare(story: &Story, url: &str) {
    let namespace = &story.namespace;
    let mut text = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata:\n  name: shop\nspec:\n  version: 1.0.0\n  \
         images:\n  - name: registry.example/shop\n  destination:\n    namespace: {namespace}\n  plan: three\n  \
         sync: {{prune: true}}\n  deletion: cascade\n"
    );
    let _ = write!(
        text,
        "  source:\n    repository: {url}\n    revision: ~1.4\n    path: charts/shop\n    helm:\n      \
         valuesFiles: [env/shop.yaml]\n"
    );
    story.repo.write("apps/shop.yaml", &text);
    let plan =
        format!("apiVersion: tidegate.dev/v1alpha1\nkind: WavePlan\nmetadata:\n  name: three\nspec:{THREE_WAVES}");
    story.repo.write("plans/three.yaml", &plan);
}

fn write_chart(charts: &Repo, version: &str) {
    charts.write("charts/shop/Chart.yaml", &format!("apiVersion: v2\nname: shop\nversion: {version}\n"));
    charts.write("charts/shop/values.yaml", "replicas: 1\ncolour: red\n");
    charts.write(
        "charts/shop/templates/all.yaml",
        "apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - {name: web, image: 'registry.example/shop:0.0.0', env: [{name: CHART, value: '{{ .Chart.Version }}'}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop}
data: {colour: {{ .Values.colour }}, chart: '{{ .Chart.Version }}'}
",
    );
}

/// Commits and tags what the working copy holds.
fn publish(charts: &Repo, tag: &str) -> String {
    let commit = charts.commit_and_push(tag);
    charts.git(&["tag", tag]);
    charts.git(&["push", "--quiet", "origin", tag]);
    commit
}

/// What a field of the app's ConfigMap holds.
fn field(story: &Story, name: &str) -> String {
    story.kubectl(&format!("get configmap shop -o jsonpath={{.data.{name}}}"))
}

#[test]
fn a_chart_of_another_repository_follows_its_tags_and_its_server_holds_nobody_up() {
    let Elsewhere { story, charts, server, renderer } = Elsewhere::begin("elsewhere");
    story.wait_settled("shop", "1.0.0");
    story.wait_settled("web", "1.0.0");
    assert_eq!(story.observer.now(|state| state.deployment("shop").expect("it exists")["spec"]["replicas"].clone()), 3);
    assert_eq!((field(&story, "colour").as_str(), field(&story, "chart").as_str()), ("green", "0.1.0"));
    let start = story.mark();

    // A new tag in the range goes out, one outside of it does not.
    write_chart(&charts, "0.2.0");
    let commit = publish(&charts, "v1.4.1");
    write_chart(&charts, "0.9.0");
    publish(&charts, "v2.0.0");
    story.agent().await_that("the chart of the new tag stands", || field(&story, "chart") == "0.2.0");
    story.wait_settled("shop", "1.0.0");
    let status = story.kubectl_agent("get tgapp shop -o jsonpath={.status.sync}");
    assert!(status.contains(&commit) && status.contains("~1.4 (v1.4.1)"), "{status}");
    assert!(status.contains(&story.repo.head()), "the revision is that of the declaring repository: {status}");
    assert_eq!(renderer.rendered(), 2, "{}", renderer.log());

    // Its server goes: values, versions and reverts of the declaring repository go through all the same.
    server.say("git stall");
    story.repo.edit("env/shop.yaml", "green", "blue");
    let bump = story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    story.agent().await_that("the values came through", || field(&story, "colour") == "blue");
    server.say("git down");
    story.wait_app("shop", "says what cannot be reached", |app| {
        app.phase() == "SourceFailed"
            && app.why().contains("apps/shop.yaml: spec.source.repository: ")
            && app.why().contains("charts.git at ~1.4")
    });
    story.repo.revert(&bump);
    story.wait_settled("web", "1.0.0");
    // A restart meanwhile finds nothing of it, and takes nothing away.
    story.agent().restart();
    story.repo.bump("web", "1.2.0");
    story.wait_settled("web", "1.2.0");
    for kind in [Kind::ConfigMap, Kind::Deployment, Kind::Application] {
        assert_eq!(story.observer.log().deleted(start, kind), [""; 0], "{}", story.observer.log().story());
    }

    write_chart(&charts, "0.3.0");
    publish(&charts, "v1.4.2");
    server.say("git up");
    story.agent().await_that("the chart that came meanwhile stands", || field(&story, "chart") == "0.3.0");
    story.wait_settled("shop", "1.0.0");

    // Nobody names it any more: its clone goes.
    story.repo.remove("apps/shop.yaml");
    story.repo.commit_and_push("shop goes");
    let clones = story.agent().store().join("others");
    story.agent().await_that("the clone is removed", || {
        std::fs::read_dir(&clones).is_ok_and(|mut entries| entries.next().is_none())
    });
    story.agent().await_that("the app is gone", || {
        story.kubectl("get configmaps -o name").lines().all(|it| it != "configmap/shop")
    });
}

#[test]
fn a_repository_that_is_not_listed_is_never_spoken_to() {
    let mut story = Story::begin("unlisted");
    let folder = story.folder().join("elsewhere");
    let charts = Repo::create(&folder.join("copy"), &folder.join("served/charts.git"));
    write_chart(&charts, "0.1.0");
    publish(&charts, "v1.4.0");
    let server = GitServer::start(&folder.join("served"));
    declare(&story, &server.url("charts.git"));
    story.repo.write("env/shop.yaml", "replicas: 1\n");
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("first");
    story.start_agent_unready(story.settings());
    story.wait_settled("web", "1.0.0");
    story.wait_app("shop", "says what to add", |app| {
        app.phase() == "SourceFailed" && app.why().contains("do not list it") && app.why().contains("`repositories`")
    });
    assert!(!story.agent().store().join("others").exists(), "nothing was fetched");
}
