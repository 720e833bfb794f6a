//! What is shipped beside the program stays whole: every file of `policies/`, `manifests/` and `deploy/` parses, says what the
//! code says, and grants no more than it should.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// YAML files below a folder of the repository, in order.
fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a shipped folder can be listed") {
            let path = entry.expect("an entry of a folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The documents of a YAML text, as JSON.
fn documents(text: &str, whose: &str) -> Vec<Value> {
    serde_saphyr::from_multiple::<Value>(text).unwrap_or_else(|error| panic!("{whose}: {error}"))
}

fn documents_of(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    documents(&text, &path.display().to_string())
}

/// Runs the program itself, as a user would.
fn tidegate(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("the program of this package can be started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    match output.status.success() {
        true => (true, text(output.stdout)),
        false => (false, text(output.stdout) + &text(output.stderr)),
    }
}

/// Rules of a Role or ClusterRole of the base: resource name by verbs.
fn rules(kind: &str) -> Vec<(String, BTreeSet<String>)> {
    let role = documents_of(&root().join("deploy/rbac.yaml"))
        .into_iter()
        .find(|document| document["kind"] == kind)
        .unwrap_or_else(|| panic!("deploy/rbac.yaml has a {kind}"));
    let texts = |list: &Value| -> BTreeSet<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let rules = role["rules"].as_array().cloned().unwrap_or_default();
    rules
        .iter()
        .flat_map(|rule| {
            let verbs = texts(&rule["verbs"]);
            texts(&rule["resources"]).into_iter().map(move |resource| (resource, verbs.clone()))
        })
        .collect()
}

#[test]
fn every_shipped_file_holds_kubernetes_objects() {
    for path in ["policies", "manifests", "deploy"].into_iter().flat_map(yaml_files) {
        let documents = documents_of(&path);
        assert!(!documents.is_empty(), "{} is empty", path.display());
        for document in documents {
            for field in ["apiVersion", "kind"] {
                assert!(document[field].is_string(), "{}: a document without {field}", path.display());
            }
        }
    }
}

#[test]
fn declarations_of_the_demo_and_ready_made_plans_are_valid() {
    for folder in ["manifests", "policies"] {
        // The demo's repository has the content of `manifests/` at its root.
        let (is_valid, said) = tidegate(&["validate", folder, "--root", folder]);
        assert!(is_valid, "tidegate validate {folder}:\n{said}");
    }
    // The same command must refuse something, else the lines above say nothing.
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let misspelt = "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {name: a}\nspecs: {}\n";
    std::fs::write(folder.path().join("misspelt.yaml"), misspelt).expect("a file can be written");
    let (is_valid, said) = tidegate(&["validate", &folder.path().display().to_string()]);
    assert!(!is_valid && said.contains("misspelt.yaml"), "a misspelt field went through: {said}");
}

/// The declarations among a document's YAML blocks.
fn examples(text: &str) -> Vec<&str> {
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| block.contains("apiVersion: tidegate.dev/")).collect()
}

#[test]
fn examples_in_the_documentation_are_valid() {
    let mut count = 0;
    for document in ["README.md", "docs/reference/declarations.md", "docs/guides/first-rollout.md"] {
        let text = std::fs::read_to_string(root().join(document)).expect("the document exists");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        // The folders that the examples name as their sources.
        for source in ["apps/web/manifests", "services/billing", "tools/exporter", "tools/collector"] {
            let source = folder.path().join(source);
            std::fs::create_dir_all(&source).expect("a folder can be made");
            let manifest = root().join("manifests/apps/web/manifests/service.yaml");
            std::fs::copy(manifest, source.join("service.yaml")).expect("a manifest can be copied");
        }
        for (index, example) in examples(&text).into_iter().enumerate() {
            std::fs::write(folder.path().join(format!("{index}.yaml")), example).expect("a file can be written");
            count += 1;
        }
        let place = folder.path().display().to_string();
        let (is_valid, said) = tidegate(&["validate", &place, "--root", &place]);
        assert!(is_valid, "{document}:\n{said}");
    }
    assert!(count >= 5, "only {count} examples were found");
}

#[test]
fn custom_resource_definitions_are_what_the_program_prints() {
    let (is_done, printed) = tidegate(&["crds"]);
    assert!(is_done, "tidegate crds: {printed}");
    let shipped = documents_of(&root().join("deploy/crds.yaml"));
    assert!(!shipped.is_empty(), "deploy/crds.yaml is empty");
    assert_eq!(shipped, documents(&printed, "tidegate crds"), "run: target/debug/tidegate crds > deploy/crds.yaml");
}

#[test]
fn the_base_names_every_file_of_its_folder() {
    let kustomization = documents_of(&root().join("deploy/kustomization.yaml")).remove(0);
    let named: BTreeSet<String> = kustomization["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let there: BTreeSet<String> = yaml_files("deploy")
        .iter()
        .filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .filter(|name| name != "kustomization.yaml")
        .collect();
    assert_eq!(named, there);
}

#[test]
fn the_base_grants_nothing_by_wildcard_and_no_right_to_grant_rights() {
    for (resource, verbs) in ["Role", "ClusterRole"].into_iter().flat_map(rules) {
        assert!(resource != "*" && !verbs.contains("*"), "{resource}: a wildcard");
        assert!(!resource.contains("role"), "{resource}: who writes these may give itself every right");
        for verb in ["escalate", "bind", "impersonate", "deletecollection"] {
            assert!(!verbs.contains(verb), "{resource}: {verb}");
        }
    }
}

#[test]
fn the_base_reads_no_secrets_in_bulk_and_deletes_no_data() {
    for (resource, verbs) in rules("ClusterRole") {
        let denied: &[&str] = match resource.as_str() {
            "secrets" => &["list", "watch"],
            "persistentvolumeclaims" => &["delete"],
            "pods" | "namespaces" | "replicasets" | "controllerrevisions" | "endpointslices" => {
                &["create", "update", "patch", "delete"]
            }
            _ => &[],
        };
        for verb in denied {
            assert!(!verbs.contains(*verb), "{resource}: {verb}");
        }
    }
}

#[test]
fn the_agent_runs_twice_and_without_privileges() {
    let deployment = documents_of(&root().join("deploy/deployment.yaml")).remove(0);
    let container = "/spec/template/spec/containers/0/securityContext";
    for (pointer, wanted) in [
        ("/spec/replicas".to_owned(), json!(2)),
        ("/spec/strategy/rollingUpdate/maxUnavailable".to_owned(), json!(0)),
        ("/spec/template/spec/containers/0/env/0/name".to_owned(), json!("POD_NAME")),
        ("/spec/template/spec/securityContext/runAsNonRoot".to_owned(), json!(true)),
        ("/spec/template/spec/securityContext/seccompProfile/type".to_owned(), json!("RuntimeDefault")),
        (format!("{container}/readOnlyRootFilesystem"), json!(true)),
        (format!("{container}/allowPrivilegeEscalation"), json!(false)),
        (format!("{container}/capabilities/drop"), json!(["ALL"])),
    ] {
        assert_eq!(deployment.pointer(&pointer), Some(&wanted), "{pointer}");
    }
}
