//! Files of an app's folder -> its objects: plain YAML, what a kustomization names, encrypted files, variables.
//!
//! What must hold: it never panics; the same files give the same objects; every object knows a file that is there; and what
//! was rendered, written as JSON, renders to the same again.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tidegate::declare::{Made, assemble, parse_file};
use tidegate::model::{Application, GroupKind, Tool};
use tidegate::render::{decrypt, inputs, may_be_encrypted, refuse_pointers, render, render_with_files};
use tidegate::sops::Keys;
use tidegate::world::{BlobId, Entry, Files, Kinds};

mod sections;

const DECLARED: &str = "\
apiVersion: tidegate.dev/v1alpha1
kind: Application
metadata: {name: web}
spec:
  version: 1.2.3
  source: {path: app, recurse: true}
  destination: {namespace: shop}
  images: [{name: web, tag: 1.2.3}]
";

static APPLICATION: LazyLock<Application> = LazyLock::new(|| {
    let parsed = BTreeMap::from([("apps.yaml".to_owned(), parse_file("apps.yaml", DECLARED.as_bytes()).into())]);
    let declared = assemble(&parsed, &BTreeMap::new(), [], &Made::default());
    let app = declared.apps.values().next().cloned().expect("it is declared");
    Application::clone(&app.unwrap_or_else(|problems| panic!("{problems:?}")))
});

static KINDS: LazyLock<Kinds> = LazyLock::new(|| {
    let kinds = [("", "ConfigMap", true), ("", "Secret", true), ("", "Service", true), ("", "Namespace", false)];
    let apps = [("apps", "Deployment", true), ("apps", "StatefulSet", true), ("batch", "Job", true)];
    let kinds = kinds.into_iter().chain(apps);
    kinds.map(|(group, kind, is_namespaced)| ((GroupKind::new(group, kind), "v1".to_owned()), is_namespaced)).collect()
});

fuzz_target!(|data: &[u8]| {
    for files in sections::commits(data) {
        let files: sections::Files =
            files.into_iter().map(|(path, text)| (format!("app/{}", path.trim_matches('/')), text)).collect();
        look(&files);
    }
});

fn look(files: &sections::Files) {
    let entry = |(path, text): (&String, &Vec<u8>)| {
        (path.clone(), Entry::File { blob: BlobId(path.clone()), bytes: text.len() as u64 })
    };
    let entries: Files = files.iter().map(entry).collect();
    let mut known = BTreeMap::new();
    let found = loop {
        let Ok(found) = inputs(&APPLICATION.sources[0], &entries, &known) else { return };
        if found.next.is_empty() {
            break found;
        }
        for (path, _) in found.next {
            known.insert(path.to_owned(), files[path].clone());
        }
    };
    let mut contents: BTreeMap<String, Vec<u8>> =
        found.files.keys().map(|path| ((*path).to_owned(), files[*path].clone())).collect();
    if refuse_pointers(&contents).is_err() || found.tool != Tool::Plain {
        return;
    }
    for (path, text) in &mut contents {
        if may_be_encrypted(path, text)
            && let Ok(Some(opened)) = decrypt(path, text, &Keys::default())
        {
            *text = opened;
        }
    }
    let rendered = render_with_files(&APPLICATION, &contents, &KINDS);
    assert_eq!(rendered, render_with_files(&APPLICATION, &contents, &KINDS), "another result the second time");
    let Ok((objects, homes)) = rendered else { return };
    assert!(homes.values().all(|file| contents.contains_key(file)) && homes.len() == objects.len());
    let items: Vec<Value> = objects.values().map(|object| Value::from(object.body.clone())).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    let again = render(&APPLICATION, &BTreeMap::from([("app/all.json".to_owned(), list.clone().into_bytes())]), &KINDS);
    assert_eq!(again.as_ref(), Ok(&objects), "written as JSON: {list}");
}
