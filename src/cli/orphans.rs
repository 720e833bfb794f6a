//! `tidegate orphans [APP...]`: objects in the apps' namespaces that no app declares and nothing else accounts for. Enters:
//! the caller's kubeconfig. Leaves: a list, or JSON. It reads the cluster anew and changes nothing.

use std::collections::BTreeSet;

use anyhow::Context as _;
use serde_json::json;

use super::DONE;
use super::connection::{Connection, ConnectionArgs, name, settings};
use super::output::{self, age, complain, table};
use crate::edge::cluster::Cluster;
use crate::model::marks::{ANNOTATION_OWNER, LABEL_APPLICATION};
use crate::model::{ClusterName, GroupKind, KeyParts, Object, ObjectKey, Timestamp};
use crate::store::{self, application};
use crate::world::{ApiError, Scope};

#[derive(Debug, clap::Args)]
pub(super) struct OrphansArgs {
    /// Only in the namespaces of these apps
    #[arg(value_parser = name)]
    apps: Vec<String>,
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: super::validate::Output,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(arguments: &OrphansArgs) -> anyhow::Result<u8> {
    let settings = settings(&arguments.connection).await?;
    let connection = Connection::with(settings.clone(), &arguments.connection)?;
    let mut inventoried = BTreeSet::new();
    let mut namespaces = BTreeSet::new();
    let mut known = BTreeSet::new();
    for body in connection.list().await? {
        let object =
            Object::from_value(&ClusterName::local(), body).context("failed to read an Application resource")?;
        let stored = application::read(&object).context("failed to read an Application resource")?;
        known.insert(stored.name.as_str().to_owned());
        let keys: Vec<ObjectKey> = stored.record.inventory.into_keys().collect();
        if arguments.apps.is_empty() || arguments.apps.iter().any(|app| app == stored.name.as_str()) {
            namespaces.extend(keys.iter().map(|key| key.namespace.clone()).filter(|namespace| !namespace.is_empty()));
        }
        inventoried.extend(keys);
    }
    if let Some(missing) = arguments.apps.iter().find(|app| !known.contains(*app)) {
        anyhow::bail!("there is no application `{missing}` in namespace {}", connection.namespace());
    }
    let cluster = Cluster::connect(settings, 4)?;
    let kinds = cluster.listed_kinds().await.context("failed to read the cluster's kinds")?;
    let mut found = Vec::new();
    for (kind, version) in kinds.into_iter().filter(|(kind, _)| !is_transient(kind)) {
        for namespace in &namespaces {
            let scope = Scope { kind: kind.clone(), version: version.clone(), namespace: Some(namespace.clone()) };
            match cluster.list(&scope, "").await {
                Ok(listed) => found.extend(listed.items.into_iter().filter(|object| is_orphan(object, &inventoried))),
                Err(error @ ApiError::Forbidden(_)) => {
                    complain(&format!("{kind} in {namespace} not looked at: {error}"));
                }
                // Kinds come and go.
                Err(ApiError::UnknownKind(_) | ApiError::NotFound) => {}
                Err(error) => return Err(error).with_context(|| format!("failed to list {kind} in {namespace}")),
            }
        }
    }
    found.sort_by(|some, other| (&some.key.namespace, &some.key).cmp(&(&other.key.namespace, &other.key)));
    output::print(&match arguments.output {
        super::validate::Output::Text if found.is_empty() => {
            let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
            format!("nothing in {} is without an owner\n", namespaces.join(", "))
        }
        super::validate::Output::Text => text(&found, Timestamp::now()),
        super::validate::Output::Json => output::json(&json!({"items": found.iter().map(shown).collect::<Vec<_>>()})),
    });
    Ok(DONE)
}

/// Kinds whose objects come and go by themselves.
fn is_transient(kind: &GroupKind) -> bool {
    matches!(kind.kind.as_str(), "Event" | "Endpoints" | "Lease" | "PodMetrics" | "Application")
        && (kind.kind != "Application" || kind.group == store::GROUP)
}

/// Whether no app declares an object, and neither another object nor the cluster itself accounts for it.
fn is_orphan(object: &Object, inventoried: &BTreeSet<ObjectKey>) -> bool {
    let is_owned = object
        .at("/metadata/ownerReferences")
        .and_then(|owners| owners.as_array())
        .is_some_and(|owners| !owners.is_empty());
    let is_the_agents = object.label(store::MANAGED_BY_LABEL) == Some(store::MANAGED_BY)
        && object.annotation(ANNOTATION_OWNER).is_none();
    !inventoried.contains(&object.key) && !is_owned && !is_the_agents && !is_the_clusters(object)
}

/// What Kubernetes puts into every namespace.
fn is_the_clusters(object: &Object) -> bool {
    let KeyParts { kind, name, .. } = &*object.key;
    match (kind.group.as_str(), kind.kind.as_str(), name.as_str()) {
        ("", "ConfigMap", "kube-root-ca.crt") | ("", "ServiceAccount", "default") | ("", "Service", "kubernetes") => {
            true
        }
        ("", "Secret", _) => object.text("/type") == Some("kubernetes.io/service-account-token"),
        // Made for the Service of the same name.
        ("discovery.k8s.io", "EndpointSlice", _) => object.label("kubernetes.io/service-name").is_some(),
        _ => false,
    }
}

/// The app that an orphan once belonged to.
fn left_by(object: &Object) -> Option<&str> {
    object.annotation(ANNOTATION_OWNER).and(object.label(LABEL_APPLICATION))
}

fn shown(object: &Object) -> serde_json::Value {
    let KeyParts { cluster: _, kind, namespace, name } = &*object.key;
    json!({"apiVersion": object.api_version(), "kind": kind.kind, "namespace": namespace, "name": name,
        "uid": object.uid(), "createdAt": object.text("/metadata/creationTimestamp"), "leftBy": left_by(object)})
}

fn text(found: &[Object], now: Timestamp) -> String {
    let rows = found.iter().map(|object| {
        let created: Option<Timestamp> = object.text("/metadata/creationTimestamp").and_then(|at| at.parse().ok());
        vec![
            object.key.namespace.clone(),
            format!("{}/{}", object.key.kind, object.key.name),
            created.map_or_else(|| "-".to_owned(), |created| age(created, now)),
            left_by(object).map(|app| format!("left behind by {app}")).unwrap_or_default(),
        ]
    });
    table(&["NAMESPACE", "OBJECT", "AGE", "INFO"], &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn check(kind: &str, name: &str, change: fn(&mut Value), expected: bool) {
        let mut body = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "shop"}});
        change(&mut body);
        let object = Object::from_value(&ClusterName::local(), body).unwrap();
        let inventoried = BTreeSet::from([ObjectKey::local("", "ConfigMap", "shop", "declared")]);
        assert_eq!(is_orphan(&object, &inventoried), expected, "{object:?}");
    }

    #[test]
    fn an_orphan_is_what_nobody_accounts_for() {
        check("ConfigMap", "stray", |_| {}, true);
        check("ConfigMap", "declared", |_| {}, false);
        check("Pod", "web-1", |body| body["metadata"]["ownerReferences"] = json!([{"uid": "x"}]), false);
        check("ConfigMap", "kube-root-ca.crt", |_| {}, false);
        check("ServiceAccount", "default", |_| {}, false);
        check("Secret", "token", |body| body["type"] = json!("kubernetes.io/service-account-token"), false);
        let managed =
            |body: &mut Value| body["metadata"]["labels"] = json!({store::MANAGED_BY_LABEL: store::MANAGED_BY});
        check("Secret", "release", managed, false);
        let left = |body: &mut Value| {
            body["metadata"]["labels"] = json!({LABEL_APPLICATION: "web"});
            body["metadata"]["annotations"] = json!({ANNOTATION_OWNER: "us"});
        };
        check("Service", "web", left, true);
    }
}
