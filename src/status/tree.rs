//! The resources of one app, from what it declares down to pods, by owner references.
//!
//! Enters: objects as they were just read, each with its health. Leaves: nodes, parents before children, and from them Argo
//! CD's `ApplicationTree`. Nothing of it is kept; of an object's content only what is named here is shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::wire::{HealthWords, value};
use crate::model::{Health, Object};

/// An object and how it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The object.
    pub object: Object,
    /// How it is; kinds without a health have none.
    pub health: Option<Health>,
}

/// A place in the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<'a> {
    /// What stands there.
    pub seen: &'a Seen,
    /// 0 for what the app declares.
    pub depth: usize,
    /// Whether it is the last child of its parent.
    pub is_last: bool,
    /// Owners that are in the tree.
    pub owners: Vec<&'a Object>,
}

/// What an app declares with all that it owns among `others`, each object once, in a defined order.
#[must_use]
pub fn nodes<'a>(declared: &'a [Seen], others: &'a [Seen]) -> Vec<Node<'a>> {
    let mut children: BTreeMap<&str, Vec<&'a Seen>> = BTreeMap::new();
    for seen in others {
        for owner in owner_uids(&seen.object) {
            children.entry(owner).or_default().push(seen);
        }
    }
    for list in children.values_mut() {
        list.sort_by_key(|seen| &seen.object.key);
    }
    let mut roots: Vec<&Seen> = declared.iter().collect();
    roots.sort_by_key(|seen| &seen.object.key);
    let mut known: BTreeSet<&str> = roots.iter().map(|seen| seen.object.uid()).collect();
    let mut found: Vec<Node<'a>> = Vec::new();
    let last = roots.len();
    let mut waiting: Vec<(&Seen, usize, bool)> =
        roots.into_iter().enumerate().map(|(index, seen)| (seen, 0, index + 1 == last)).rev().collect();
    while let Some((seen, depth, is_last)) = waiting.pop() {
        found.push(Node { seen, depth, is_last, owners: Vec::new() });
        let below = children.get(seen.object.uid()).into_iter().flatten();
        // Whatever the references say, an object stands in one place, so a circle ends.
        let below: Vec<&Seen> = below.copied().filter(|child| known.insert(child.object.uid())).collect();
        let last = below.len();
        let below = below.into_iter().enumerate().map(|(index, child)| (child, depth + 1, index + 1 == last));
        waiting.extend(below.rev());
    }
    let by_uid: BTreeMap<&str, &Object> =
        found.iter().map(|node| (node.seen.object.uid(), &node.seen.object)).collect();
    for node in &mut found {
        node.owners = owner_uids(&node.seen.object).filter_map(|uid| by_uid.get(uid).copied()).collect();
    }
    found
}

fn owner_uids(object: &Object) -> impl Iterator<Item = &str> {
    let owners = object.at("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().filter_map(|owner| owner.get("uid")?.as_str()).filter(|uid| !uid.is_empty())
}

/// Argo CD's `ApplicationTree`.
#[must_use]
pub fn argocd(nodes: &[Node<'_>]) -> Value {
    value(&Tree { nodes: nodes.iter().map(resource).collect(), orphaned_nodes: Vec::new(), hosts: Vec::new() })
}

/// What is worth knowing of an object besides its health, as Argo CD names it.
#[must_use]
pub fn info(object: &Object) -> Vec<(&'static str, String)> {
    let kind = &object.key.kind;
    if kind.is("apps", "ReplicaSet") {
        let revision = object.annotation("deployment.kubernetes.io/revision");
        return revision.map(|revision| ("Revision", format!("Rev:{revision}"))).into_iter().collect();
    }
    if !kind.is("", "Pod") {
        return Vec::new();
    }
    let statuses = object.at("/status/containerStatuses").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let ready = statuses.iter().filter(|status| status["ready"] == true).count();
    let total = object.at("/spec/containers").and_then(Value::as_array).map_or(0, Vec::len);
    let restarts: i64 = statuses.iter().filter_map(|status| status["restartCount"].as_i64()).sum();
    let mut info = vec![("Status Reason", pod_reason(object, statuses))];
    info.extend(object.text("/spec/nodeName").map(|node| ("Node", node.to_owned())));
    info.push(("Containers", format!("{ready}/{total}")));
    info.extend((restarts > 0).then(|| ("Restart Count", restarts.to_string())));
    info
}

/// The images that a pod runs.
#[must_use]
pub fn images(object: &Object) -> Vec<String> {
    if !object.key.kind.is("", "Pod") {
        return Vec::new();
    }
    let lists = ["/spec/initContainers", "/spec/containers"].map(|list| object.at(list).and_then(Value::as_array));
    let images = lists.into_iter().flatten().flatten().filter_map(|container| container.get("image")?.as_str());
    let mut images: Vec<String> = images.map(str::to_owned).collect();
    images.dedup();
    images
}

fn pod_reason(pod: &Object, statuses: &[Value]) -> String {
    if pod.is_terminating() {
        return "Terminating".to_owned();
    }
    let of_container = || {
        statuses.iter().find_map(|status| {
            let state = |name: &str| status.pointer(&format!("/state/{name}/reason")).and_then(Value::as_str);
            state("waiting").or_else(|| state("terminated"))
        })
    };
    let phase = || pod.text("/status/phase");
    pod.text("/status/reason").or_else(of_container).or_else(phase).unwrap_or("Unknown").to_owned()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tree {
    nodes: Vec<Resource>,
    orphaned_nodes: Vec<Resource>,
    hosts: Vec<Value>,
}

#[derive(Serialize)]
struct Reference {
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(flatten)]
    reference: Reference,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parent_refs: Vec<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    info: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    networking_info: Option<Networking>,
    resource_version: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<HealthWords>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
}

#[derive(Serialize)]
struct Item {
    name: &'static str,
    value: String,
}

/// How traffic gets there.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Networking {
    #[serde(skip_serializing_if = "Map::is_empty")]
    labels: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    target_labels: Map<String, Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ingress: Vec<Value>,
}

fn resource(node: &Node<'_>) -> Resource {
    let object = &node.seen.object;
    Resource {
        reference: reference(object),
        parent_refs: node.owners.iter().map(|owner| reference(owner)).collect(),
        info: info(object).into_iter().map(|(name, value)| Item { name, value }).collect(),
        networking_info: networking(object),
        resource_version: object.resource_version().to_owned(),
        images: images(object),
        health: node.seen.health.as_ref().map(HealthWords::of),
        created_at: object.text("/metadata/creationTimestamp").map(str::to_owned),
    }
}

fn reference(object: &Object) -> Reference {
    Reference {
        group: object.key.kind.group.clone(),
        version: object.version.clone(),
        kind: object.key.kind.kind.clone(),
        namespace: object.key.namespace.clone(),
        name: object.key.name.clone(),
        uid: object.uid().to_owned(),
    }
}

fn networking(object: &Object) -> Option<Networking> {
    let kind = &object.key.kind;
    let map = |pointer: &str| object.at(pointer).and_then(Value::as_object).cloned().unwrap_or_default();
    let none = Networking { labels: Map::new(), target_labels: Map::new(), ingress: Vec::new() };
    if kind.is("", "Pod") {
        return Some(Networking { labels: map("/metadata/labels"), ..none });
    }
    let ingress = object.at("/status/loadBalancer/ingress").and_then(Value::as_array).cloned().unwrap_or_default();
    if kind.is("", "Service") {
        return Some(Networking { target_labels: map("/spec/selector"), ingress, ..none });
    }
    kind.is("networking.k8s.io", "Ingress").then_some(Networking { ingress, ..none })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClusterName, HealthStatus};
    use serde_json::json;

    fn seen(kind: &str, name: &str, owner: &str, more: &Value) -> Seen {
        let group = if kind == "Pod" || kind == "Service" { "v1" } else { "apps/v1" };
        let mut body = json!({"apiVersion": group, "kind": kind, "metadata": {
            "name": name, "namespace": "shop", "uid": format!("u-{name}"), "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"app": "web"}}});
        if !owner.is_empty() {
            body["metadata"]["ownerReferences"] = json!([{"uid": format!("u-{owner}")}]);
        }
        for (field, value) in more.as_object().unwrap() {
            body[field] = value.clone();
        }
        let health = Health { status: HealthStatus::Healthy, message: String::new() };
        Seen { object: Object::from_value(&ClusterName::local(), body).unwrap(), health: Some(health) }
    }

    fn drawn(declared: &[Seen], others: &[Seen]) -> Vec<(usize, String)> {
        nodes(declared, others).iter().map(|node| (node.depth, node.seen.object.key.name.clone())).collect()
    }

    #[test]
    fn the_tree_goes_from_what_is_declared_down_to_pods_and_leaves_strangers_out() {
        let none = json!({});
        let declared = [seen("Deployment", "web", "", &none), seen("Service", "web-service", "", &none)];
        let others = [
            seen("Pod", "web-2-b", "web-2", &none),
            seen("Pod", "stranger", "nobody", &none),
            seen("Pod", "alone", "", &none),
            seen("ReplicaSet", "web-2", "web", &none),
            seen("Pod", "web-2-a", "web-2", &none),
            seen("ReplicaSet", "web-1", "web", &none),
        ];
        let expected = [(0, "web-service"), (0, "web"), (1, "web-1"), (1, "web-2"), (2, "web-2-a"), (2, "web-2-b")];
        assert_eq!(drawn(&declared, &others), expected.map(|(depth, name)| (depth, name.to_owned())));
    }

    #[test]
    fn a_circle_of_owners_ends_and_shows_each_object_once() {
        let none = json!({});
        let declared = [seen("Deployment", "web", "c", &none)];
        let others = [
            seen("ReplicaSet", "b", "web", &none),
            seen("ReplicaSet", "c", "b", &none),
            seen("ReplicaSet", "d", "d", &none),
        ];
        assert_eq!(drawn(&declared, &others), [(0, "web".to_owned()), (1, "b".to_owned()), (2, "c".to_owned())]);
    }

    #[test]
    fn argo_cds_tree_tells_parents_images_and_info() {
        let pod = json!({
            "spec": {"nodeName": "n1", "containers": [{"image": "example/web:1"}, {"image": "example/side:2"}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"ready": true, "restartCount": 2, "state": {"running": {}}},
                {"ready": false, "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            ]},
        });
        let declared = [seen("ReplicaSet", "web", "", &json!({}))];
        let others = [seen("Pod", "web-a", "web", &pod)];
        let document = argocd(&nodes(&declared, &others));
        assert_eq!(
            document["nodes"][1],
            json!({
                "version": "v1", "kind": "Pod", "namespace": "shop", "name": "web-a", "uid": "u-web-a",
                "parentRefs": [{"group": "apps", "version": "v1", "kind": "ReplicaSet", "namespace": "shop", "name": "web", "uid": "u-web"}],
                "info": [
                    {"name": "Status Reason", "value": "CrashLoopBackOff"}, {"name": "Node", "value": "n1"},
                    {"name": "Containers", "value": "1/2"}, {"name": "Restart Count", "value": "3"},
                ],
                "networkingInfo": {"labels": {"app": "web"}},
                "resourceVersion": "7", "images": ["example/web:1", "example/side:2"],
                "health": {"status": "Healthy"}, "createdAt": "2026-01-01T00:00:00Z",
            })
        );
        assert!(document["nodes"][0].get("parentRefs").is_none());
        assert_eq!(document["orphanedNodes"], json!([]));
    }

    #[test]
    fn the_content_of_an_object_is_not_told() {
        let secret = seen("Secret", "keys", "", &json!({"data": {"password": "Y2FuYXJ5"}}));
        assert!(!argocd(&nodes(&[secret], &[])).to_string().contains("Y2FuYXJ5"));
    }
}
