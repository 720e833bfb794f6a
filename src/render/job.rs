//! What a tool is asked for an Application, and what its answer means.
//!
//! Enters: the Application, its files with their contents, what the cluster serves. Leaves: a [`RenderJob`]; and of two
//! answers to the same question, the field in which they differ.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::{Application, HelmJob, Object, ObjectKey, RenderJob, Tool};
use crate::world::Kinds;

/// Asks for an Application; `None` when it is plain YAML, which needs no tool.
#[must_use]
pub fn job(
    application: &Application,
    tool: Tool,
    files: BTreeMap<String, Vec<u8>>,
    kinds: &Kinds,
) -> Option<RenderJob> {
    let path = application.source.path.clone();
    let helm = match tool {
        Tool::Plain => return None,
        Tool::Kustomize => None,
        Tool::Helm => Some(HelmJob {
            release_name: release_name(application).to_owned(),
            namespace: application.namespace.clone(),
            source: application.source.helm.clone(),
            kube_version: kinds.server_version.clone(),
            api_versions: api_versions(kinds),
        }),
    };
    Some(RenderJob { tool, path, files, helm })
}

/// What the text that a tool made is called where its lines are named.
#[must_use]
pub fn label(application: &Application, tool: Tool) -> String {
    let path = if application.source.path.is_empty() { "." } else { &application.source.path };
    match (tool, &application.source.helm.chart) {
        (Tool::Plain, _) => path.to_owned(),
        (Tool::Kustomize, _) => format!("kustomize build {path}"),
        (Tool::Helm, None) => format!("helm template {path}"),
        (Tool::Helm, Some(chart)) => format!("helm template {} {}", chart.name, chart.version),
    }
}

fn release_name(application: &Application) -> &str {
    application.source.helm.release_name.as_deref().unwrap_or(application.name.as_str())
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
    use crate::model::ClusterName;

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
