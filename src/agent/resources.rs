//! Reads the resources of one app for somebody who waits: what stands of its inventory, and what controllers made of that.
//!
//! Enters: an inventory, and how to list and get. Leaves: objects with their health. Each reading asks the API server anew and
//! keeps nothing; one request follows the other, so that a reader takes no more than one place from the agent's own work.

use std::collections::{BTreeMap, BTreeSet};

use crate::health::health;
use crate::model::marks::LABEL_APPLICATION;
use crate::model::{AppName, GroupKind, HealthRule, Inventory, Object, ObjectKey};
use crate::status::tree::Seen;
use crate::world::{ApiError, Listed, Scope};

/// What controllers make: group, version and kind.
const CHILDREN: [(&str, &str, &str); 6] = [
    ("apps", "v1", "ControllerRevision"),
    ("apps", "v1", "ReplicaSet"),
    ("batch", "v1", "Job"),
    ("discovery.k8s.io", "v1", "EndpointSlice"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "Pod"),
];

/// Kinds of which nothing is made: an app of these alone costs no look at children.
const BARREN: [&str; 9] = [
    "ConfigMap",
    "LimitRange",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "ResourceQuota",
    "Role",
    "RoleBinding",
    "Secret",
    "ServiceAccount",
];

/// What was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// What the app declares.
    pub declared: Vec<Seen>,
    /// What stands beside it, strangers included.
    pub others: Vec<Seen>,
}

/// Reads.
///
/// # Errors
/// When the API server does not answer. Kinds that may not be listed or are not served are left out.
pub async fn read<L, G>(
    app: &AppName,
    inventory: &Inventory,
    rules: &[HealthRule],
    list: impl Fn(Scope, String) -> L,
    get: impl Fn(ObjectKey, String) -> G,
) -> Result<Resources, ApiError>
where
    L: Future<Output = Result<Listed, ApiError>>,
    G: Future<Output = Result<Option<Object>, ApiError>>,
{
    let seen = |object: Object| Seen { health: health(&object, rules), object };
    let mut scopes: BTreeMap<Scope, BTreeSet<&ObjectKey>> = BTreeMap::new();
    for (key, version) in inventory {
        let namespace = (!key.namespace.is_empty()).then(|| key.namespace.clone());
        let scope = Scope { kind: key.kind.clone(), version: version.clone(), namespace };
        scopes.entry(scope).or_default().insert(key);
    }
    let mut resources = Resources::default();
    for (scope, keys) in scopes {
        // Secrets are read one by one and by name: the agent may not list them.
        let listed = match scope.kind.is("", "Secret") {
            true => None,
            false => permitted(list(scope.clone(), format!("{LABEL_APPLICATION}={app}")).await)?,
        };
        match listed {
            Some(listed) => {
                let ours = listed.items.into_iter().filter(|object| keys.contains(&object.key));
                resources.declared.extend(ours.map(seen));
            }
            None => {
                for key in keys {
                    let found = permitted(get(key.clone(), scope.version.clone()).await)?;
                    resources.declared.extend(found.flatten().map(seen));
                }
            }
        }
    }
    let fertile = resources.declared.iter().map(|seen| &seen.object.key);
    let fertile = fertile.filter(|key| !key.namespace.is_empty() && !BARREN.contains(&key.kind.kind.as_str()));
    let namespaces: BTreeSet<String> = fertile.map(|key| key.namespace.clone()).collect();
    for namespace in namespaces {
        for (group, version, kind) in CHILDREN {
            let kind = GroupKind::new(group, kind);
            let scope = Scope { kind, version: version.to_owned(), namespace: Some(namespace.clone()) };
            let listed = permitted(list(scope, String::new()).await)?;
            resources.others.extend(listed.into_iter().flat_map(|listed| listed.items).map(seen));
        }
    }
    let declared: BTreeSet<ObjectKey> = resources.declared.iter().map(|seen| seen.object.key.clone()).collect();
    resources.others.retain(|seen| !declared.contains(&seen.object.key));
    Ok(resources)
}

/// Nothing, where we may not look or there is nothing to look at.
fn permitted<T>(answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(ApiError::Forbidden(_) | ApiError::UnknownKind(_) | ApiError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::model::ClusterName;

    fn object(kind: &str, name: &str) -> Object {
        let version = if kind == "Deployment" { "apps/v1" } else { "v1" };
        let body =
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "shop", "uid": name}});
        Object::from_value(&ClusterName::local(), body).unwrap()
    }

    async fn asked(kinds: &[(&str, &str)]) -> (Vec<String>, Resources) {
        let log = Mutex::new(Vec::new());
        let note = |text: String| log.lock().unwrap().push(text);
        let inventory = kinds.iter().map(|(kind, name)| (object(kind, name).key, "v1".to_owned())).collect();
        let list = async |scope: Scope, selector: String| {
            note(format!("list {} {selector}", scope.kind.kind));
            match scope.kind.kind.as_str() {
                "PersistentVolumeClaim" => Err(ApiError::Forbidden("no".to_owned())),
                kind => {
                    let items = vec![object(kind, "web"), object(kind, "stranger")];
                    Ok(Listed { items, resource_version: "1".to_owned() })
                }
            }
        };
        let get = async |key: ObjectKey, _version: String| {
            note(format!("get {}", key.kind.kind));
            Ok(Some(object(&key.kind.kind, &key.name)))
        };
        let resources = read(&AppName::from("web"), &inventory, &[], list, get).await.unwrap();
        (log.into_inner().unwrap(), resources)
    }

    #[tokio::test]
    async fn what_is_declared_is_asked_for_by_label_and_secrets_by_name() {
        let (log, resources) = asked(&[("ConfigMap", "web"), ("Secret", "keys")]).await;
        assert_eq!(log, ["list ConfigMap tidegate.dev/application=web", "get Secret"]);
        let names: Vec<&str> = resources.declared.iter().map(|seen| seen.object.key.name.as_str()).collect();
        assert_eq!((names, resources.others.len()), (vec!["web", "keys"], 0));
    }

    #[tokio::test]
    async fn children_are_looked_for_once_per_namespace_and_what_is_forbidden_is_left_out() {
        let (log, resources) = asked(&[("Deployment", "web"), ("Service", "web")]).await;
        assert_eq!(log.iter().filter(|line| line.as_str() == "list Pod ").count(), 1);
        assert_eq!(log.len(), 2 + CHILDREN.len());
        assert!(resources.others.iter().any(|seen| seen.object.key.kind.kind == "Pod"));
        assert!(resources.others.iter().all(|seen| seen.object.key.kind.kind != "PersistentVolumeClaim"));
    }
}
