//! Kustomize and Helm on a real control plane: rendered by the official programs, rolled out like any other manifest.

use std::fmt::Write as _;

use crate::support::fixture::{AppFixture, THREE_WAVES};
use crate::support::renderer::RendererProcess;
use crate::support::state::Kind;
use crate::support::story::Story;

/// An Application whose `source` is these lines.
fn declare(story: &Story, name: &str, source: &str) {
    let namespace = &story.namespace;
    let mut text = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata:\n  name: {name}\nspec:\n  version: 1.0.0\n  \
         images:\n  - name: registry.example/{name}\n  destination:\n    namespace: {namespace}\n  plan: three\n  \
         sync: {{prune: true}}\n  source:\n"
    );
    for line in source.lines() {
        let _ = writeln!(text, "    {line}");
    }
    story.repo.write(&format!("apps/{name}.yaml"), &text);
    let plan =
        format!("apiVersion: tidegate.dev/v1alpha1\nkind: WavePlan\nmetadata:\n  name: three\nspec:{THREE_WAVES}");
    story.repo.write("plans/three.yaml", &plan);
}

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'registry.example/web:0.0.0', envFrom: [{configMapRef: {name: settings}}]}
";

/// An overlay on a base, in the shape of most repositories.
fn write_overlay(story: &Story) {
    story.repo.write("platform/web/base/deployment.yaml", DEPLOYMENT);
    story.repo.write(
        "platform/web/base/kustomization.yaml",
        "resources: [deployment.yaml]\nconfigMapGenerator:\n- name: settings\n  literals: [colour=blue]\n",
    );
    story.repo.write("platform/web/prod/kustomization.yaml", "resources: [../base]\npatches: [{path: size.yaml}]\n");
    story.repo.write(
        "platform/web/prod/size.yaml",
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 5}\n",
    );
}

/// A chart in the shape that `helm create` gives, with a hook.
fn write_chart(story: &Story, name: &str) {
    story.repo.write(&format!("charts/{name}/Chart.yaml"), &format!("apiVersion: v2\nname: {name}\nversion: 0.1.0\n"));
    story.repo.write(&format!("charts/{name}/values.yaml"), "replicas: 2\ncolour: red\n");
    story.repo.write(
        &format!("charts/{name}/templates/_names.tpl"),
        "{{- define \"labels\" }}\napp: {{ .Release.Name }}\n{{- end }}\n",
    );
    story.repo.write(
        &format!("charts/{name}/templates/all.yaml"),
        &format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {{{{ .Release.Name }}}}}}
spec:
  replicas: {{{{ .Values.replicas }}}}
  selector:
    matchLabels: {{{{- include \"labels\" . | nindent 6 }}}}
  template:
    metadata:
      labels: {{{{- include \"labels\" . | nindent 8 }}}}
    spec:
      containers:
      - {{name: web, image: 'registry.example/{name}:0.0.0'}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: {{{{ .Release.Name }}}}}}
data: {{colour: {{{{ .Values.colour }}}}, server: {{{{ .Capabilities.KubeVersion.Version }}}}}}
"
        ),
    );
    story.repo.write(
        &format!("charts/{name}/templates/hook.yaml"),
        "apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-delete-policy: before-hook-creation}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: 'registry.example/migrate:1'}]
",
    );
}

/// A story with a renderer beside its agent.
fn begin(name: &str, write: impl FnOnce(&Story)) -> (Story, RendererProcess) {
    let mut story = Story::begin(name);
    let renderer = RendererProcess::start(&story.folder().join("renderer"));
    write(&story);
    story.repo.commit_and_push("first");
    let mut settings = story.settings();
    settings.extra.extend(["--renderer".to_owned(), renderer.socket().display().to_string()]);
    story.start_agent_with(settings);
    (story, renderer)
}

#[test]
fn a_kustomization_goes_out_in_waves_and_an_unrelated_commit_renders_nothing() {
    let (story, renderer) = begin("kustomized", |story| {
        write_overlay(story);
        declare(story, "web", "path: platform/web/prod");
    });
    story.wait_settled("web", "1.0.0");
    assert_eq!(story.observer.now(|state| state.deployment("web").expect("it exists")["spec"]["replicas"].clone()), 5);
    assert_eq!(renderer.rendered(), 1);

    // A bump changes no file that kustomize reads: the image is ours to set.
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    assert_eq!(renderer.rendered(), 1, "{}", renderer.log());

    // A new base: its hashed ConfigMap comes, and the old one goes after the last wave.
    let maps = |story: &Story| {
        story.kubectl("get configmaps -o name").lines().filter(|name| name.contains("settings-")).count()
    };
    story.repo.edit("platform/web/base/kustomization.yaml", "colour=blue", "colour=green");
    story.repo.edit_version("apps/web.yaml", "1.2.0");
    story.repo.commit_and_push("green");
    story.wait_settled("web", "1.2.0");
    assert_eq!(renderer.rendered(), 2);
    story.agent().await_that("the old map is pruned", || maps(&story) == 1);

    story.repo.write("platform/web/base/README.md", "not named by the kustomization");
    story.repo.commit_and_push("words");
    let head = story.repo.head();
    story.agent().await_that("the commit was read", || {
        story.agent().log().lines().any(|line| line.contains("a commit was read") && line.contains(&head))
    });
    assert_eq!(renderer.rendered(), 2, "{}", renderer.log());
}

#[test]
fn a_chart_goes_out_in_waves_with_its_hooks_and_comes_back() {
    let (story, renderer) = begin("charted", |story| {
        write_chart(story, "shop");
        story.repo.write("env/prod.yaml", "replicas: 3\n");
        declare(story, "shop", "path: charts/shop\nhelm:\n  valuesFiles: [env/prod.yaml]\n  values: {colour: green}");
    });
    story.wait_settled("shop", "1.0.0");
    story.observer.now(|state| {
        let spec = &state.deployment("shop").expect("it exists")["spec"];
        assert_eq!(
            (&spec["replicas"], &spec["template"]["spec"]["containers"][0]["image"]),
            (&3.into(), &"registry.example/shop:1.0.0".into())
        );
    });
    let data = story.kubectl("get configmap shop -o jsonpath={.data}");
    assert!(data.contains("green") && data.contains("v1.36"), "{data}");
    assert!(story.kubectl("get jobs -o name").contains("migrate"), "the hook ran");

    let good = renderer.rendered();
    story.repo.edit("env/prod.yaml", "replicas: 3", "replicas: 3\ncolour: ignored");
    story.repo.edit("apps/shop.yaml", "colour: green", "colour: blue");
    story.repo.edit_version("apps/shop.yaml", "1.1.0-crash");
    let bad = story.repo.commit_and_push("a bad one, with other values");
    story.wait_held("shop", "1.1.0-crash");
    assert!(
        story.kubectl("get configmap shop -o jsonpath={.data}").contains("green"),
        "values came back with the pods"
    );
    story.repo.revert(&bad);
    story.wait_settled("shop", "1.0.0");
    assert_eq!(renderer.rendered(), good + 1, "a revert renders nothing that was rendered before: {}", renderer.log());
}

#[test]
fn without_a_renderer_such_apps_say_so_and_plain_ones_go_on() {
    let (story, renderer) = begin("unrendered", |story| {
        write_overlay(story);
        declare(story, "web", "path: platform/web/prod");
        AppFixture::new("plain").replicas(2).write(&story.repo, &story.namespace);
    });
    story.wait_settled("web", "1.0.0");
    story.wait_settled("plain", "1.0.0");
    let start = story.mark();

    renderer.stop();
    story.repo.edit("platform/web/prod/size.yaml", "replicas: 5", "replicas: 6");
    story.repo.edit_version("apps/plain.yaml", "1.1.0");
    story.repo.commit_and_push("both change");
    story.wait_settled("plain", "1.1.0");
    story.wait_app("web", "says that nothing renders", |app| {
        app.phase() == "SourceFailed"
            && app.why().contains("kustomize build platform/web/prod")
            && app.why().contains("render.sock")
    });
    // A restart meanwhile changes nothing of that, and deletes nothing.
    story.agent().restart();
    story.wait_app("web", "still says so", |app| app.phase() == "SourceFailed");
    for kind in [Kind::ConfigMap, Kind::Deployment, Kind::Application] {
        assert_eq!(story.observer.log().deleted(start, kind), [""; 0], "{}", story.observer.log().story());
    }
    renderer.start_again();
    story.agent().await_that("six pods are declared", || {
        story.observer.now(|state| state.deployment("web").expect("it exists")["spec"]["replicas"] == 6)
    });
    story.wait_settled("web", "1.0.0");
}

#[test]
fn after_a_restart_without_a_renderer_what_was_rendered_is_known() {
    let (story, renderer) = begin("remembered", |story| {
        write_overlay(story);
        declare(story, "web", "path: platform/web/prod");
    });
    story.wait_settled("web", "1.0.0");
    renderer.stop();
    story.agent().restart();
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
}

#[test]
fn what_a_tool_refuses_and_what_it_rolls_dice_for_hold_back_their_app_alone() {
    let (story, _renderer) = begin("refused", |story| {
        write_chart(story, "shop");
        declare(story, "shop", "path: charts/shop");
        write_overlay(story);
        declare(story, "web", "path: platform/web/prod");
    });
    story.wait_settled("shop", "1.0.0");
    story.wait_settled("web", "1.0.0");
    let start = story.mark();

    story.repo.write(
        "charts/shop/templates/secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: shop}\nstringData: {key: {{ randAlphaNum 24 }}}\n",
    );
    story.repo.edit("platform/web/base/kustomization.yaml", "deployment.yaml", "https://example.com/remote.yaml");
    story.repo.commit_and_push("dice and distance");
    story.wait_app("shop", "names the field", |app| {
        app.phase() == "SourceFailed" && app.why().contains("Secret") && app.why().contains("`data.key`")
    });
    story.wait_app("web", "names the file", |app| {
        app.phase() == "SourceFailed"
            && app.why().contains("platform/web/base/kustomization.yaml")
            && app.why().contains("lies outside the repository")
    });
    for kind in [Kind::ConfigMap, Kind::Deployment, Kind::Application] {
        assert_eq!(story.observer.log().deleted(start, kind), [""; 0], "{}", story.observer.log().story());
    }
    story.repo.remove("charts/shop/templates/secret.yaml");
    story.repo.edit("platform/web/base/kustomization.yaml", "https://example.com/remote.yaml", "deployment.yaml");
    story.repo.commit_and_push("mended");
    story.wait_settled("shop", "1.0.0");
    story.wait_settled("web", "1.0.0");
}

#[test]
fn what_a_chart_makes_up_anew_is_refused_or_kept_as_it_was_first() {
    let (story, _renderer) = begin("random", |story| {
        write_chart(story, "web");
        story.repo.write(
            "charts/web/templates/secret.yaml",
            "apiVersion: v1\nkind: Secret\nmetadata: {name: made}\ndata:\n  password: {{ randAlphaNum 24 | b64enc }}\n",
        );
        declare(story, "web", "path: charts/web\nhelm: {releaseName: web}");
    });
    story.wait_app("web", "names the field and what to do", |app| {
        app.phase() == "SourceFailed" && app.why().contains("data.password") && app.why().contains("random: keep")
    });
    declare(&story, "web", "path: charts/web\nhelm: {releaseName: web, random: keep}");
    story.repo.commit_and_push("keep it");
    story.wait_settled("web", "1.0.0");
    let password = |story: &Story| story.kubectl("get secret made -o jsonpath={.data.password}");
    let first = password(&story);
    assert_eq!(first.len(), 32, "24 characters in base64: {first}");

    // Another version, another rendering: everything that changed is new, and that is as it was.
    story.repo.write("charts/web/values.yaml", "replicas: 2\ncolour: green\n");
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    let colour = || story.kubectl("get configmap web -o jsonpath={.data.colour}");
    assert_eq!((colour(), password(&story)), ("green".to_owned(), first.clone()));

    // An agent that remembers nothing, and has rendered nothing yet, finds it in the cluster.
    story.agent().sigkill();
    story.repo.write("charts/web/values.yaml", "replicas: 2\ncolour: yellow\n");
    story.repo.bump("web", "1.2.0");
    story.agent().start_again();
    story.wait_settled("web", "1.2.0");
    assert_eq!((colour(), password(&story)), ("yellow".to_owned(), first));
}
