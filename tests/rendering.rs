//! The renderer on its own: the real process, the official kustomize and helm, no cluster.

use std::collections::BTreeMap;
use std::path::Path;

use tidegate::edge::renderer::Renderer;
use tidegate::model::{HelmJob, HelmSource, Parameter, RemoteChart, RenderJob, RenderOutput, Tool};
use tidegate::world::RenderFault;

use crate::support::registry::{ChartServer, Registry, package};
use crate::support::renderer::RendererProcess;

fn files(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    pairs.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn kustomize(path: &str, pairs: &[(&str, &str)]) -> RenderJob {
    RenderJob { tool: Tool::Kustomize, path: path.to_owned(), files: files(pairs), helm: None, is_secret: false }
}

fn helm(pairs: &[(&str, &str)], source: HelmSource) -> RenderJob {
    let helm = HelmJob {
        release_name: "shop".to_owned(),
        namespace: "home".to_owned(),
        source,
        kube_version: Some("v1.31.2".to_owned()),
        api_versions: vec!["example.com/v1".to_owned(), "example.com/v1/Widget".to_owned()],
    };
    RenderJob { tool: Tool::Helm, path: "chart".to_owned(), files: files(pairs), helm: Some(helm), is_secret: false }
}

/// Asks, as the agent does.
fn ask(renderer: &Renderer, job: &RenderJob) -> Result<RenderOutput, RenderFault> {
    crate::support::plane::runtime().block_on(renderer.render(job))
}

fn text(output: &RenderOutput) -> &str {
    std::str::from_utf8(&output.text).expect("tools print text")
}

struct Scene {
    folder: tempfile::TempDir,
    process: RendererProcess,
}

impl Scene {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(further: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let process = RendererProcess::start_with(folder.path(), further);
        Self { folder, process }
    }

    /// A client with an empty store of its own.
    fn client(&self, store: &str) -> Renderer {
        Renderer::new(Some(self.process.socket()), &self.folder.path().join(store))
    }

    /// What a run leaves behind.
    fn leftovers(&self) -> Vec<String> {
        let work = std::fs::read_dir(self.folder.path().join("work")).into_iter().flatten().flatten();
        let names = work.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("job-")).collect()
    }
}

const BASE: (&str, &str) = (
    "base/kustomization.yaml",
    "resources: [service.yaml]\nconfigMapGenerator:\n- name: settings\n  literals: [colour=blue]\n",
);
const SERVICE: (&str, &str) =
    ("base/service.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n");
const OVERLAY: (&str, &str) = ("overlays/prod/kustomization.yaml", "namePrefix: prod-\nresources: [../../base]\n");

const CHART: (&str, &str) = ("chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.2.3\n");
const VALUES: (&str, &str) = ("chart/values.yaml", "colour: red\nsize: 1\nlist: [a]\n");
const TEMPLATE: (&str, &str) = (
    "chart/templates/map.yaml",
    "apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-map
  namespace: {{ .Release.Namespace }}
data:
  colour: {{ .Values.colour | quote }}
  size: {{ .Values.size | quote }}
  list: {{ .Values.list | toJson | quote }}
  cluster: {{ .Capabilities.KubeVersion.Version }}
  widget: {{ .Capabilities.APIVersions.Has \"example.com/v1/Widget\" | quote }}
  upgrade: {{ .Release.IsUpgrade | quote }}
",
);

#[test]
fn kustomize_builds_an_overlay_on_its_base() {
    let scene = Scene::new();
    let output = ask(&scene.client("a"), &kustomize("overlays/prod", &[BASE, SERVICE, OVERLAY])).unwrap();
    assert!(text(&output).contains("name: prod-web"), "{}", text(&output));
    assert!(text(&output).contains("name: prod-settings-"), "a hash follows: {}", text(&output));
    assert_eq!(output.second, None);
    assert_eq!(scene.leftovers(), [""; 0]);
}

#[test]
fn helm_sees_values_in_the_order_files_in_place_parameters_and_what_the_cluster_is() {
    let scene = Scene::new();
    let parameter =
        |name: &str, value: &str, is_text| Parameter { name: name.to_owned(), value: value.to_owned(), is_text };
    let source = HelmSource {
        values_files: vec!["prod.yaml".to_owned()],
        values: Some(r#"{"size": 3}"#.to_owned()),
        parameters: vec![parameter("colour", "a,b=\\c", false), parameter("list", "{x,y}", false)],
        ..HelmSource::default()
    };
    let prod = ("prod.yaml", "colour: green\nsize: 2\n");
    let output = ask(&scene.client("a"), &helm(&[CHART, VALUES, TEMPLATE, prod], source)).unwrap();
    for line in [
        "name: shop-map",
        "namespace: home",
        r#"colour: "a,b=\\c""#,
        r#"size: "3""#,
        r#"list: "[\"x\",\"y\"]""#,
        "cluster: v1.31.2",
        r#"widget: "true""#,
        r#"upgrade: "false""#,
    ] {
        assert!(text(&output).contains(line), "{line}: {}", text(&output));
    }
    let forced = HelmSource { parameters: vec![parameter("size", "007", true)], ..HelmSource::default() };
    let output = ask(&scene.client("a"), &helm(&[CHART, VALUES, TEMPLATE], forced)).unwrap();
    assert!(text(&output).contains(r#"size: "007""#), "{}", text(&output));
    assert_eq!(scene.leftovers(), [""; 0]);
}

#[test]
fn definitions_of_a_chart_come_with_it_unless_they_are_left_out_and_tests_never() {
    let scene = Scene::new();
    let definition = (
        "chart/crds/widget.yaml",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n",
    );
    let trial = (
        "chart/templates/tests/trial.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: trial\n  annotations: {helm.sh/hook: test}\n",
    );
    let all = [CHART, VALUES, TEMPLATE, definition, trial];
    let with = ask(&scene.client("a"), &helm(&all, HelmSource::default())).unwrap();
    assert!(text(&with).contains("widgets.example.com") && !text(&with).contains("trial"), "{}", text(&with));
    let without =
        ask(&scene.client("a"), &helm(&all, HelmSource { skips_crds: true, ..HelmSource::default() })).unwrap();
    assert!(!text(&without).contains("widgets.example.com"), "{}", text(&without));
}

#[test]
fn a_chart_that_draws_lots_shows_both() {
    let scene = Scene::new();
    let random = (
        "chart/templates/secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n  key: {{ randAlphaNum 24 }}\n",
    );
    let output = ask(&scene.client("a"), &helm(&[CHART, random], HelmSource::default())).unwrap();
    assert!(output.second.is_some_and(|second| second != output.text));
}

#[test]
fn the_same_question_is_rendered_once_even_when_the_renderer_is_gone_and_the_agent_new() {
    let scene = Scene::new();
    let job = kustomize("overlays/prod", &[BASE, SERVICE, OVERLAY]);
    let first = ask(&scene.client("a"), &job).unwrap();
    assert_eq!(scene.process.rendered(), 1);
    assert_eq!(ask(&scene.client("a"), &job).unwrap(), first);
    assert_eq!(scene.process.rendered(), 1, "it was answered from the store");
    scene.process.stop();
    assert_eq!(ask(&scene.client("a"), &job).unwrap(), first);
    let fault = ask(&scene.client("b"), &job).unwrap_err();
    assert!(matches!(&fault, RenderFault::Unavailable(why) if why.contains("render.sock")), "{fault}");
    scene.process.start_again();
    assert_eq!(ask(&scene.client("b"), &job).unwrap(), first);
}

#[test]
fn what_was_decrypted_is_not_kept_on_disk() {
    let scene = Scene::new();
    let job = RenderJob { is_secret: true, ..kustomize("overlays/prod", &[BASE, SERVICE, OVERLAY]) };
    for times in 1..=2 {
        ask(&scene.client("a"), &job).unwrap();
        assert_eq!(scene.process.rendered(), times);
    }
    assert!(!scene.folder.path().join("a/rendered").exists());
    let template = ("chart/templates/bad.yaml", "{{ fail .Values.password }}\n");
    let values = ("chart/values.yaml", "password: open-sesame\n");
    let job = RenderJob { is_secret: true, ..helm(&[CHART, template, values], HelmSource::default()) };
    let fault = ask(&scene.client("a"), &job).unwrap_err();
    assert!(fault.to_string().contains("withheld"), "{fault}");
    assert!(!fault.to_string().contains("open-sesame") && !scene.process.log().contains("open-sesame"), "{fault}");
}

#[test]
fn what_a_tool_refuses_is_told_in_its_words_without_the_folder_that_it_ran_in() {
    let scene = Scene::new();
    let check = |job: &RenderJob, expected: &str| match ask(&scene.client("a"), job) {
        Err(RenderFault::Refused(why)) => {
            assert!(why.contains(expected), "{why}");
            assert!(!why.contains(&scene.folder.path().display().to_string()), "{why}");
        }
        other => panic!("{other:?}"),
    };
    check(&kustomize("overlays/prod", &[OVERLAY]), "base");
    check(&kustomize("a", &[("a/kustomization.yaml", "resources: [b.yaml]\n"), ("a/b.yaml", "kind: [")]), "b.yaml");
    // The tool never leaves its folder.
    check(&kustomize("a", &[("a/kustomization.yaml", "resources: [/etc/passwd]\n")]), "/etc/passwd");
    let template = ("chart/templates/bad.yaml", "{{ required \"say a colour\" .Values.missing }}\n");
    check(&helm(&[CHART, template], HelmSource::default()), "say a colour");
    let missing = (
        "chart/Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.2.3\ndependencies: [{name: db, version: 1.0.0, repository: 'https://charts.example'}]\n",
    );
    check(&helm(&[missing, TEMPLATE], HelmSource::default()), "db");
    for path in ["../outside", "/etc/x", "a/../../b", ""] {
        check(&kustomize("a", &[(path, "x")]), "no path inside the repository");
    }
    check(&RenderJob { path: "../..".to_owned(), ..kustomize("a", &[BASE]) }, "no path inside the repository");
    let values = HelmSource { values_files: vec!["../../../etc/passwd".to_owned()], ..HelmSource::default() };
    check(&helm(&[CHART], values), "no path inside the repository");
    assert_eq!(scene.leftovers(), [""; 0]);
}

#[test]
fn a_machine_without_the_programs_says_which_is_missing() {
    let work = tempfile::tempdir().unwrap();
    let programs = tidegate::edge::renderer::Programs {
        kustomize: "/nowhere/kustomize".into(),
        helm: "/nowhere/helm".into(),
        work: work.path().to_owned(),
        registry_config: None,
        repository_credentials: None,
        ca_file: None,
        plain_http: Vec::new(),
        environment: BTreeMap::new(),
    };
    let job = helm(&[CHART, TEMPLATE], HelmSource::default());
    let run = tidegate::edge::renderer::run(&programs, &job);
    let fault = crate::support::plane::runtime().block_on(run).unwrap_err();
    assert!(matches!(&fault, RenderFault::Unavailable(why) if why.contains("/nowhere/helm")), "{fault}");
}

#[test]
fn the_shipped_component_gives_the_renderer_no_credentials_of_the_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let copy = std::process::Command::new("cp").arg("-r").arg(&deploy).arg(folder.path()).status().unwrap();
    assert!(copy.success());
    let overlay = "resources: [../deploy]\ncomponents: [../deploy/renderer]\n";
    std::fs::create_dir(folder.path().join("mine")).unwrap();
    std::fs::write(folder.path().join("mine/kustomization.yaml"), overlay).unwrap();
    let kustomize = crate::support::renderer::programs().join("kustomize");
    let output = std::process::Command::new(kustomize).arg("build").arg(folder.path().join("mine")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let deployment: Vec<&str> = text.split("\n---\n").filter(|it| it.contains("kind: Deployment")).collect();
    let [deployment] = deployment.as_slice() else { panic!("{text}") };
    let deployment: serde_json::Value = serde_yaml::from_str(deployment).unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false, "{pod:#}");
    let mounts = |name: &str| -> Vec<String> {
        let containers = pod["containers"].as_array().unwrap();
        let container = containers.iter().find(|container| container["name"] == name).unwrap();
        let mounts = container["volumeMounts"].as_array().unwrap();
        mounts.iter().map(|mount| mount["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(mounts("renderer"), ["renderer", "work"]);
    for volume in ["cluster", "config", "renderer", "store", "token"] {
        assert!(mounts("tidegate").iter().any(|name| name == volume), "{volume}: {pod:#}");
    }
}

#[test]
fn an_agent_without_a_renderer_says_how_to_get_one() {
    let renderer = Renderer::new(None, Path::new("/nowhere"));
    let fault = ask(&renderer, &kustomize("a", &[])).unwrap_err();
    assert!(matches!(&fault, RenderFault::Unavailable(why) if why.contains("tidegate render")), "{fault}");
}

/// A chart as a package, with its digest.
fn remote(repository: &str, digest: Option<&str>) -> HelmSource {
    let chart = RemoteChart {
        repository: repository.to_owned(),
        name: "web".to_owned(),
        version: "1.2.3".to_owned(),
        digest: digest.map(str::to_owned),
    };
    HelmSource { chart: Some(chart), ..HelmSource::default() }
}

#[test]
fn a_chart_from_a_chart_repository_is_pinned_by_its_digest_and_fetched_once() {
    let folder = tempfile::tempdir().unwrap();
    let (package, digest) = package(folder.path(), &[CHART, VALUES, TEMPLATE]);
    let server = ChartServer::start(&package, Some(("reader", "secret-word")));
    let credentials = folder.path().join("credentials").join(server.host());
    std::fs::create_dir_all(&credentials).unwrap();
    let scene = Scene::with(&["--repository-credentials", folder.path().join("credentials").to_str().unwrap()]);
    let render = |digest: Option<&str>| ask(&scene.client("a"), &helm(&[], remote(&server.url(), digest)));

    let Err(RenderFault::Refused(why)) = render(Some(&digest)) else { panic!("nobody said who we are") };
    assert!(!why.contains("secret-word"), "{why}");
    std::fs::write(credentials.join("username"), "reader\n").unwrap();
    std::fs::write(credentials.join("password"), "secret-word\n").unwrap();
    let Err(RenderFault::Refused(why)) = render(None) else { panic!("it is not pinned") };
    assert!(why.contains(&format!("digest: {digest}")), "{why}");
    let wrong = format!("sha256:{}", "0".repeat(64));
    let Err(RenderFault::Refused(why)) = render(Some(&wrong)) else { panic!("it is another chart") };
    assert!(why.contains(&digest) && why.contains(&wrong), "{why}");
    // The first refusal is remembered under its question: another client has not asked it.
    let render = |store: &str| ask(&scene.client(store), &helm(&[], remote(&server.url(), Some(&digest))));
    assert!(text(&render("b").unwrap()).contains("name: shop-map"));
    let fetched = server.served();
    assert!(text(&render("c").unwrap()).contains("name: shop-map"));
    assert_eq!(server.served(), fetched, "the package was kept");
    assert!(!scene.process.log().contains("secret-word"), "{}", scene.process.log());
}

#[test]
fn a_chart_from_an_oci_registry_is_pinned_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let (package, digest) = package(folder.path(), &[CHART, VALUES, TEMPLATE]);
    let registry = Registry::start(folder.path());
    registry.push(&package);
    let scene = Scene::with(&["--plain-http", registry.host()]);
    let url = format!("oci://{}/charts", registry.host());
    let output = ask(&scene.client("a"), &helm(&[], remote(&url, Some(&digest)))).unwrap();
    assert!(text(&output).contains("name: shop-map"), "{}", text(&output));
    let absent = RemoteChart { version: "9.9.9".to_owned(), ..remote(&url, Some(&digest)).chart.unwrap() };
    let other = HelmSource {
        chart: Some(RemoteChart { digest: Some(format!("sha256:{}", "1".repeat(64))), ..absent }),
        ..HelmSource::default()
    };
    let Err(RenderFault::Refused(why)) = ask(&scene.client("a"), &helm(&[], other)) else { panic!("there is none") };
    assert!(why.contains("9.9.9"), "{why}");
}
