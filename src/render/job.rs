//! What a tool is asked for a source of an Application, and what its answer means.
//!
//! Enters: the source, its files with their contents, what the cluster serves. Leaves: a [`RenderJob`]; and of two
//! answers to the same question, the field in which they differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::inputs::below;
use crate::model::{Application, HelmJob, HelmSource, Object, ObjectKey, RenderJob, SourcePath, Tool};
use crate::world::Kinds;

/// Contents of files, by path.
type Contents = BTreeMap<String, Vec<u8>>;

/// Where files of another repository lie for a tool that also gets files of the one that declares ...
const FROM_ELSEWHERE: &str = "source";
/// ... and those: a path may stand in both.
const FROM_HERE: &str = "values";

/// Asks for a source, some of whose files may have been decrypted; `None` when it is plain YAML, which needs no tool. `values`
/// are the files with values, for a source that lies in another repository; else they are among `files`.
#[must_use]
pub fn job(
    application: &Application,
    source: &SourcePath,
    tool: Tool,
    (files, values): (Contents, Contents),
    kinds: &Kinds,
    is_secret: bool,
) -> Option<RenderJob> {
    let path = source.path.clone();
    let mut job = match tool {
        Tool::Plain => return None,
        Tool::Kustomize => RenderJob { tool, path, files, helm: None, is_secret },
        Tool::Helm => {
            let helm = HelmJob {
                release_name: release_name(application, source).to_owned(),
                namespace: application.namespace.clone(),
                source: source.helm.clone(),
                kube_version: kinds.server_version.clone(),
                api_versions: api_versions(kinds),
            };
            RenderJob { tool, path, files, helm: Some(helm), is_secret }
        }
    };
    if let (Some(helm), true) = (&mut job.helm, source.elsewhere.is_some()) {
        let into = |folder: &str, files: Contents| -> Contents {
            files.into_iter().map(|(path, text)| (below(folder, &path), text)).collect()
        };
        let HelmSource { values_files, .. } = &mut helm.source;
        values_files.iter_mut().for_each(|path| *path = below(FROM_HERE, path));
        job.path = if job.path.is_empty() { FROM_ELSEWHERE.to_owned() } else { below(FROM_ELSEWHERE, &job.path) };
        job.files = into(FROM_ELSEWHERE, job.files);
        job.files.extend(into(FROM_HERE, values));
    }
    Some(job)
}

/// What the text that a tool made is called where its lines are named.
#[must_use]
pub fn label(source: &SourcePath, tool: Tool) -> String {
    let path = if source.path.is_empty() { "." } else { &source.path };
    let text = match (tool, &source.helm.chart) {
        (Tool::Plain, _) => path.to_owned(),
        (Tool::Kustomize, _) => format!("kustomize build {path}"),
        (Tool::Helm, None) => format!("helm template {path}"),
        (Tool::Helm, Some(chart)) => format!("helm template {} {}", chart.name, chart.version),
    };
    named(source, &text)
}

/// What a file of a source is called in messages: with its repository, when that is not the one that declares.
#[must_use]
pub fn named(source: &SourcePath, file: &str) -> String {
    match &source.elsewhere {
        Some(elsewhere) => format!("{elsewhere}: {file}"),
        None => file.to_owned(),
    }
}

/// Adds what one more source gave to that of those before. Two sources may give a text of the same name: both are kept, so
/// that an object that is in both is found and refused.
pub fn add(all: &mut Contents, number: usize, texts: Contents) {
    for (name, text) in texts {
        let name = if all.contains_key(&name) { format!("{name} (source {number})") } else { name };
        all.insert(name, text);
    }
}

fn release_name<'a>(application: &'a Application, source: &'a SourcePath) -> &'a str {
    source.helm.release_name.as_deref().unwrap_or(application.name.as_str())
}

/// `group/version` and `group/version/Kind` of all that the API server serves, as `helm install` sees them.
fn api_versions(kinds: &Kinds) -> Vec<String> {
    let mut all = BTreeSet::new();
    for (kind, version) in kinds.served.keys() {
        let group = if kind.group.is_empty() { version.clone() } else { format!("{}/{version}", kind.group) };
        all.insert(format!("{group}/{}", kind.kind));
        all.insert(group);
    }
    all.into_iter().collect()
}

/// Where two renderings of the same thing differ first: the object, and the path of the field in it.
#[must_use]
pub fn first_difference(
    one: &BTreeMap<ObjectKey, Object>,
    other: &BTreeMap<ObjectKey, Object>,
) -> Option<(ObjectKey, String)> {
    let keys: BTreeSet<&ObjectKey> = one.keys().chain(other.keys()).collect();
    keys.into_iter().find_map(|key| match (one.get(key), other.get(key)) {
        (Some(one), Some(other)) => field(&one.body, &other.body, String::new()).map(|path| (key.clone(), path)),
        (Some(_), None) | (None, Some(_)) => Some((key.clone(), "metadata.name".to_owned())),
        (None, None) => None,
    })
}

/// The path of the first field that differs.
fn field(one: &Value, other: &Value, path: String) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            keys.into_iter().find_map(|key| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match (one.get(key), other.get(key)) {
                    (Some(one), Some(other)) => field(one, other, path),
                    (Some(_), None) | (None, Some(_)) => Some(path),
                    (None, None) => None,
                }
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(index, (one, other))| field(one, other, format!("{path}[{index}]"))),
        (one, other) => (one != other).then_some(path),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{ClusterName, Elsewhere, Reference};

    #[test]
    fn values_of_here_and_a_chart_of_elsewhere_do_not_meet_on_the_same_path() {
        let other = Elsewhere { repository: "https://git.example/charts".to_owned(), revision: Reference::Default };
        let helm = HelmSource { values_files: vec!["shop/values.yaml".to_owned()], ..HelmSource::default() };
        let text = |content: &str| BTreeMap::from([("shop/values.yaml".to_owned(), content.as_bytes().to_vec())]);
        for (path, expected) in [("shop", "source/shop"), ("", "source")] {
            let source = SourcePath {
                elsewhere: Some(other.clone()),
                path: path.to_owned(),
                helm: helm.clone(),
                ..SourcePath::default()
            };
            let application = super::super::tests::application();
            let given = (text("of the chart"), text("of here"));
            let job = job(&application, &source, Tool::Helm, given, &Kinds::default(), false).expect("Helm is a tool");
            assert_eq!(job.path, expected);
            let files: Vec<_> = job.files.iter().map(|(path, text)| (path.as_str(), text.as_slice())).collect();
            let expected: [(&str, &[u8]); 2] =
                [("source/shop/values.yaml", b"of the chart"), ("values/shop/values.yaml", b"of here")];
            assert_eq!(files, expected);
            assert_eq!(job.helm.expect("it is told").source.values_files, ["values/shop/values.yaml"]);
        }
    }

    #[test]
    fn texts_of_the_same_name_are_both_kept() {
        let text = |content: &str| BTreeMap::from([("m/a.yaml".to_owned(), content.as_bytes().to_vec())]);
        let mut all = BTreeMap::new();
        add(&mut all, 1, text("one"));
        add(&mut all, 2, text("two"));
        assert_eq!(all.keys().collect::<Vec<_>>(), ["m/a.yaml", "m/a.yaml (source 2)"]);
    }

    #[test]
    fn the_first_field_that_differs_is_named() {
        let objects = |body: Value| {
            let object = Object::from_value(&ClusterName::local(), body).unwrap();
            BTreeMap::from([(object.key.clone(), object)])
        };
        let secret = |value: &str| {
            objects(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"},
                "list": [{"x": 1}, {"x": value}]}))
        };
        assert_eq!(first_difference(&secret("1"), &secret("1")), None);
        let (key, path) = first_difference(&secret("1"), &secret("2")).unwrap();
        assert_eq!((key.name.as_str(), path.as_str()), ("a", "list[1].x"));
        let (_, path) = first_difference(&secret("1"), &BTreeMap::new()).unwrap();
        assert_eq!(path, "metadata.name");
    }
}
