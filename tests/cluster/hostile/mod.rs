//! Hostile commits on a real control plane, all in one run of one agent: each is said by the app that it hits, and nothing
//! in the cluster is made anew or deleted.
//!
//! First every app is hit in its own way by one commit ([`cases`]), then all of them by commits that cannot be read at all
//! ([`objects`]). After each comes a good commit, and all is as declared again.

mod cases;
mod objects;

use std::collections::BTreeMap;

use serde_json::Value;

use self::cases::{ALONE, CASES, Case, Shape};
use crate::support::fixture::{THREE_WAVES, config_map};
use crate::support::patience::{PATIENCE, until};
use crate::support::renderer::RendererProcess;
use crate::support::story::Story;

/// Names of all cases of this run, as the reference lists them.
pub(crate) fn names() -> Vec<&'static str> {
    CASES.iter().chain(ALONE).map(|case| case.name).chain(objects::CASES.iter().map(|case| case.name)).collect()
}

/// The app of a case.
fn app(index: usize) -> String {
    format!("app-{index:02}")
}

fn deployment(name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: web, image: 'registry.example/{name}:0.0.0'}}]
"
    )
}

/// Writes the good app that a case will hit.
fn write(story: &Story, index: usize, case: &Case) {
    let (name, namespace, repo) = (app(index), &story.namespace, &story.repo);
    let folder = format!("manifests/{name}");
    let helm = match case.shape {
        Shape::Helm => format!("    helm: {{valuesFiles: [env/{name}.yaml]}}\n"),
        Shape::Plain | Shape::Kustomize => String::new(),
    };
    repo.write(
        &format!("apps/{name}.yaml"),
        &format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata:\n  name: {name}\nspec:\n  version: 1.0.0\n  \
             images: [{{name: registry.example/{name}}}]\n  plan: three\n  sync: {{prune: true}}\n  deletion: cascade\n  \
             destination: {{namespace: {namespace}}}\n  source:\n    path: {folder}\n{helm}"
        ),
    );
    let objects = match case.shape {
        Shape::Plain | Shape::Kustomize => folder.clone(),
        Shape::Helm => format!("{folder}/templates"),
    };
    repo.write(&format!("{objects}/deployment.yaml"), &deployment(&name));
    repo.write(&format!("{objects}/config.yaml"), &config_map(&name, "hello"));
    match case.shape {
        Shape::Plain => {}
        Shape::Kustomize => {
            repo.write(&format!("{folder}/kustomization.yaml"), "resources: [deployment.yaml, config.yaml]\n");
        }
        Shape::Helm => {
            repo.write(&format!("{folder}/Chart.yaml"), &format!("apiVersion: v2\nname: {name}\nversion: 0.1.0\n"));
            repo.write(&format!("env/{name}.yaml"), "colour: red\n");
        }
    }
}

/// UIDs of all objects of the apps, and the sizes of their Deployments.
fn standing(story: &Story) -> BTreeMap<String, String> {
    let list = story.kubectl("get deployments,replicasets,pods,configmaps -o json");
    let list: Value = serde_json::from_str(&list).expect("kubectl gives JSON");
    // Every namespace has that map.
    let is_ours = |item: &&Value| item["metadata"]["name"] != "kube-root-ca.crt";
    let items = list["items"].as_array().into_iter().flatten().filter(is_ours);
    let mut all: BTreeMap<String, String> = items
        .map(|item| {
            let replicas = format!("{} of {}", item["status"]["readyReplicas"], item["spec"]["replicas"]);
            (
                format!("{} {}", item["kind"], item["metadata"]["name"]),
                format!("{} {replicas}", item["metadata"]["uid"]),
            )
        })
        .collect();
    let resources = story.kubectl_agent("get tgapp -o json");
    let resources: Value = serde_json::from_str(&resources).expect("kubectl gives JSON");
    for item in resources["items"].as_array().into_iter().flatten() {
        all.insert(format!("app {}", item["metadata"]["name"]), item["metadata"]["uid"].to_string());
    }
    all
}

/// Waits until all apps are settled on the commit.
#[track_caller]
fn wait_all_settled(story: &Story, after: &str) {
    let is_settled =
        |name: &str| story.observer.now(|state| state.app(name).is_some_and(|app| app.is_settled_on("1.0.0")));
    let names: Vec<String> = (0..CASES.len()).map(app).collect();
    let is_done = until(PATIENCE, || names.iter().all(|name| is_settled(name)));
    let left: Vec<&str> = names.iter().map(String::as_str).filter(|name| !is_settled(name)).collect();
    assert!(is_done, "{after}: not settled: {left:?}");
}

fn why(story: &Story, name: &str) -> String {
    story.observer.now(|state| {
        let app = state.app(name);
        app.map_or_else(String::new, |app| format!("{} {} {}", app.phase(), app.sync(), app.why()))
    })
}

/// Whether an app says what it should of a case.
fn is_said(story: &Story, name: &str, case: &Case) -> bool {
    let why = why(story, name);
    match case.said {
        [] => why.starts_with("Idle Synced"),
        said => why.starts_with("SourceFailed Unknown ") && said.iter().all(|words| why.contains(words)),
    }
}

#[test]
fn hostile_commits_are_said_by_the_apps_they_hit_and_delete_nothing() {
    let mut story = Story::begin("hostile");
    let renderer = RendererProcess::start(&story.folder().join("renderer"));
    for (index, case) in CASES.iter().enumerate() {
        write(&story, index, case);
    }
    let plan =
        format!("apiVersion: tidegate.dev/v1alpha1\nkind: WavePlan\nmetadata:\n  name: three\nspec:{THREE_WAVES}");
    story.repo.write("plans/three.yaml", &plan);
    story.repo.commit_and_push("all is well");
    let mut settings = story.settings();
    settings.extra.extend(["--renderer".to_owned(), renderer.socket().display().to_string()]);
    story.start_agent_with(settings);
    wait_all_settled(&story, "at first");
    let before = standing(&story);
    assert_eq!(
        before.len(),
        CASES.len() * 5,
        "a Deployment, its ReplicaSet, a pod, a ConfigMap and the app: {before:#?}"
    );

    for (index, case) in CASES.iter().enumerate() {
        (case.hit)(&story.repo, &app(index));
    }
    let hostile = story.repo.commit_and_push("all is hostile");
    let is_as_said = |index: usize| is_said(&story, &app(index), &CASES[index]);
    until(PATIENCE, || (0..CASES.len()).all(is_as_said));
    let silent: Vec<String> = (0..CASES.len())
        .filter(|index| !is_as_said(*index))
        .map(|index| format!("{}: wanted {:?}: {}", CASES[index].name, CASES[index].said, why(&story, &app(index))))
        .collect();
    assert!(silent.is_empty(), "{} of {}:\n{}", silent.len(), CASES.len(), silent.join("\n"));
    assert_eq!(standing(&story), before);
    story.repo.revert(&hostile);
    wait_all_settled(&story, "after hostile files");
    assert_eq!(standing(&story), before);

    for case in ALONE {
        (case.hit)(&story.repo, &app(0));
        let hostile = story.repo.commit_and_push(case.name);
        let is_done = until(PATIENCE, || is_said(&story, &app(0), case));
        assert!(is_done, "{}: wanted {:?}: {}", case.name, case.said, why(&story, &app(0)));
        assert!(why(&story, &app(1)).starts_with("Idle Synced"), "{}: others go on", case.name);
        assert_eq!(standing(&story), before, "{}", case.name);
        story.repo.revert(&hostile);
        wait_all_settled(&story, case.name);
    }

    for case in objects::CASES {
        objects::push(&story, case);
        let is_said = || (0..CASES.len()).all(|index| why(&story, &app(index)).contains(case.said));
        assert!(until(PATIENCE, is_said), "{}: wanted {:?}: {}", case.name, case.said, why(&story, &app(0)));
        assert_eq!(standing(&story), before, "{}", case.name);
        (case.mend)(&story);
        wait_all_settled(&story, case.name);
    }
    assert_eq!(standing(&story), before);
}
