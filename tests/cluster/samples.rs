//! The samples below `tests/samples`, in the shape of common charts, overlays and repositories: each is valid as a
//! repository of its own, is rendered by the official programs, and goes out in waves.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::agent::program;
use crate::support::renderer::RendererProcess;
use crate::support::story::Story;

const SAMPLES: [&str; 3] = ["helm", "kustomize", "monorepo"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read").flatten();
    let paths = entries.map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn each_sample_is_valid_as_a_repository_of_its_own() {
    for sample in SAMPLES {
        let place = folder().join(sample);
        let output = Command::new(program()).arg("validate").arg(&place).arg("--root").arg(&place).output();
        let output = output.expect("tidegate starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.starts_with("ok: "), "{sample}: {said}");
    }
}

/// Puts all samples into one repository, their environments into the story's one namespace.
fn copy(story: &Story) {
    for file in files_below(&folder()) {
        let mut text = std::fs::read_to_string(&file).expect("samples are text");
        let path = file.strip_prefix(folder()).expect("it was found there").display().to_string();
        if path.ends_with("applications.yaml") {
            for environment in ["staging", "production"] {
                text =
                    text.replace(&format!("namespace: {environment}\n"), &format!("namespace: {}\n", story.namespace));
            }
        }
        story.repo.write(&path, &text);
    }
}

const APPS: [(&str, &str); 9] = [
    ("storefront-staging", "1.0.0"),
    ("storefront-production", "1.0.0"),
    ("shop-staging", "1.0.0"),
    ("shop-production", "1.0.0"),
    ("cart", "1.0.0"),
    ("checkout", "1.0.0"),
    ("search", "1.0.0"),
    ("exporter", "2.1.0"),
    ("collector", "1.4.2"),
];

#[test]
fn all_samples_go_out_in_waves_and_a_bump_of_each() {
    let mut story = Story::begin("samples");
    let renderer = RendererProcess::start(&story.folder().join("renderer"));
    copy(&story);
    story.repo.commit_and_push("three samples");
    let mut settings = story.settings();
    settings.extra.extend(["--renderer".to_owned(), renderer.socket().display().to_string()]);
    story.start_agent_with(settings);
    for (app, version) in APPS {
        story.wait_settled(app, version);
    }
    let get = |what: &str, path: &str| story.kubectl(&format!("get {what} -o jsonpath={{{path}}}"));
    let container = ".spec.template.spec.containers[0]";
    // Helm: values of the environments, the subchart by its condition, names by the helpers.
    assert_eq!(get("deployment/storefront-staging", ".spec.replicas"), "2");
    assert_eq!(
        get("deployment/storefront-production", &format!("{container}.image")),
        "registry.example/storefront:1.0.0"
    );
    assert_eq!(get("hpa/storefront-production", ".spec.minReplicas"), "4");
    assert_eq!(get("configmap/storefront-staging", ".data.GREETING"), "hello from staging");
    assert_eq!(get("deployment/storefront-production-cache", &format!("{container}.args[1]")), "256Mi");
    assert!(!story.kubectl("get deployments,pods -o name").contains("storefront-staging-cache"));
    assert!(!story.kubectl("get pods -o name").contains("test-connection"), "tests of charts are left out");
    // Kustomize: patches, the component, the replacement, the merged generator.
    assert_eq!(get("deployment/production-shop", ".spec.replicas"), "4");
    assert_eq!(get("deployment/production-shop", &format!("{container}.env[0].value")), "8080");
    assert_eq!(get("deployment/production-shop", &format!("{container}.readinessProbe.httpGet.port")), "8080");
    assert_eq!(get("deployment/staging-shop", &format!("{container}.readinessProbe")), "");
    let settings = |prefix: &str| {
        let names = story.kubectl("get configmaps -o name");
        names.lines().filter(|name| name.contains(&format!("{prefix}-shop-"))).map(str::to_owned).collect::<Vec<_>>()
    };
    let (staging, production) = (settings("staging"), settings("production"));
    assert_eq!((staging.len(), production.len()), (1, 1));
    assert_eq!(get(&staging[0], ".data.LOG_LEVEL"), "debug");

    // A bump of each, with a change of what generators read.
    story.repo.edit("helm/applications.yaml", "version: 1.0.0", "version: 1.1.0");
    story.repo.edit("helm/env/staging.yaml", "hello from staging", "good morning");
    story.repo.edit("kustomize/applications.yaml", "version: 1.0.0", "version: 1.1.0");
    story.repo.edit("kustomize/base/shop.properties", "basket.size=50", "basket.size=60");
    story.repo.edit("monorepo/services/checkout/version.yaml", "version: 1.0.0", "version: 1.1.0");
    story.repo.edit("monorepo/applications.yaml", "version: 2.1.0", "version: 2.2.0");
    story.repo.commit_and_push("the next versions");
    for app in ["storefront-staging", "storefront-production", "shop-staging", "shop-production", "checkout"] {
        story.wait_settled(app, "1.1.0");
    }
    story.wait_settled("exporter", "2.2.0");
    for (app, waves) in [("storefront-staging", 2), ("shop-production", 2), ("checkout", 2)] {
        let past = story.app(app, |app| app.past().last().cloned()).expect("a rollout has ended");
        assert_eq!(past["outcome"], "completed", "{app}: {past:#}");
        assert_eq!(past["waves"].as_array().map(Vec::len), Some(waves), "{app}: {past:#}");
    }
    assert_eq!(get("configmap/storefront-staging", ".data.GREETING"), "good morning");
    story.agent().await_that("the old generated maps are pruned", || {
        settings("staging").len() == 1 && settings("staging") != staging && settings("production").len() == 1
    });
    story.wait_settled("cart", "1.0.0");
}
