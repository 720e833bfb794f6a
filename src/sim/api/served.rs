//! What the server does with any object of a kind: reads it, keeps what a write cannot change, counts its generation.

use serde_json::{Map, Value, json};

use super::schema::{self, Type};
use super::{KINDS, default};
use crate::model::{ClusterName, Object, ObjectKey};
use crate::world::{ApiError, Part};

/// A row of [`KINDS`], and the shape of its objects.
pub(super) struct Served {
    pub(super) kind: &'static str,
    group: &'static str,
    pub(super) is_namespaced: bool,
    pub(super) has_status: bool,
    pub(super) shape: &'static Type,
}

impl Served {
    pub(super) fn of(object: &Object) -> Result<Self, ApiError> {
        debug_assert_eq!(object.key.cluster, ClusterName::local(), "one cluster today");
        let wanted = &object.key.kind;
        let row = KINDS
            .iter()
            .find(|(group, version, name, _, _)| wanted.is(group, name) && object.version == *version)
            .ok_or_else(|| ApiError::UnknownKind(wanted.to_string()))?;
        let (group, _, kind, is_namespaced, has_status) = *row;
        Ok(Self { kind, group, is_namespaced, has_status, shape: schema::of(kind) })
    }

    /// Custom resources follow rules of their own.
    pub(super) fn is_built_in(&self) -> bool {
        self.group != crate::store::GROUP
    }

    /// An update of an object that does not exist makes it.
    pub(super) fn is_made_by_update(&self) -> bool {
        matches!(self.kind, "Service" | "Lease" | "Event")
    }

    pub(super) fn has_generation(&self) -> bool {
        matches!(self.kind, "Deployment" | "ReplicaSet" | "StatefulSet" | "Pod" | "Application")
    }

    pub(super) fn check_key(&self, key: &ObjectKey) -> Result<(), ApiError> {
        if key.name.is_empty() {
            return Err(ApiError::Invalid("metadata.name: required".to_owned()));
        }
        if self.is_namespaced && key.namespace.is_empty() {
            return Err(ApiError::Invalid("metadata.namespace: required".to_owned()));
        }
        if !self.is_namespaced && !key.namespace.is_empty() {
            return Err(ApiError::Invalid("metadata.namespace: the kind is cluster-scoped".to_owned()));
        }
        Ok(())
    }

    /// Reads a body as the server does: what it does not know is dropped, what is missing gets its default.
    pub(super) fn bring_in(&self, body: &mut Value, key: &ObjectKey) -> Result<(), ApiError> {
        if !body.is_object() {
            return Err(ApiError::Invalid("BadRequest (HTTP status 400)".to_owned()));
        }
        let metadata = metadata(body);
        metadata.insert("name".to_owned(), json!(key.name));
        if self.is_namespaced {
            metadata.insert("namespace".to_owned(), json!(key.namespace));
        }
        self.shape.store(body).map_err(|error| ApiError::Invalid(error.trim_start_matches(['.', ':']).to_owned()))?;
        default::fill(self.kind, body);
        Ok(())
    }

    /// Reads a body of which only the status is taken: a built-in kind's spec stays as it is stored, and is not looked at.
    pub(super) fn bring_in_status(&self, body: &mut Value, key: &ObjectKey) -> Result<(), ApiError> {
        if !self.is_built_in() {
            return self.bring_in(body, key);
        }
        let Some(fields) = body.as_object_mut() else { return self.bring_in(body, key) };
        fields.retain(|name, _| self.shape.names(name));
        for part in ["metadata", "status"] {
            let value = fields.entry(part).or_insert_with(|| json!({}));
            if value.is_null() {
                *value = json!({});
            }
            let stored = self.shape.field(part).store(value);
            stored.map_err(|error| ApiError::Invalid(format!("{part}{error}")))?;
        }
        Ok(())
    }

    /// A new object has the status that its kind begins with.
    pub(super) fn reset_status(&self, body: &mut Value) {
        if !self.has_status {
            return;
        }
        match self.kind {
            "Pod" => body["status"] = json!({"phase": "Pending", "qosClass": quality(body)}),
            "Namespace" => body["status"] = json!({"phase": "Active"}),
            _ if self.is_built_in() => body["status"] = self.shape.field("status").empty(),
            _ => drop(body.as_object_mut().and_then(|fields| fields.remove("status"))),
        }
    }

    /// Puts back what a write of this part cannot change, and counts the generation.
    pub(super) fn keep(&self, before: &Value, body: &mut Value, part: Part) {
        match part {
            Part::Object if self.has_status => put(body, "status", before.get("status")),
            Part::Object => {}
            Part::Status if self.is_built_in() => {
                put(body, "spec", before.get("spec"));
                if self.kind == "Deployment" {
                    let labels = before["metadata"].get("labels").cloned();
                    put(&mut body["metadata"], "labels", labels.as_ref());
                }
            }
            Part::Status => {
                let (status, owners) = (body.get("status").cloned(), body["metadata"].get("managedFields").cloned());
                *body = before.clone();
                put(body, "status", status.as_ref());
                put(&mut body["metadata"], "managedFields", owners.as_ref());
            }
        }
        if self.kind == "Service" && body["spec"].get("clusterIP").is_none() && body["spec"]["type"] != "ExternalName" {
            for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                put(&mut body["spec"], field, before["spec"].get(field));
            }
        }
        let old = &before["metadata"];
        for field in ["creationTimestamp", "generation"] {
            put(&mut body["metadata"], field, old.get(field));
        }
        for field in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
            let metadata = metadata(body);
            if field == "resourceVersion"
                || old.get(field).is_some() && (field != "uid" || !metadata.contains_key("uid"))
            {
                put(&mut body["metadata"], field, old.get(field));
            }
        }
        if self.has_generation() && part == Part::Object && self.is_raised(before, body) {
            let generation = old["generation"].as_i64().unwrap_or(0) + 1;
            metadata(body).insert("generation".to_owned(), json!(generation));
        }
    }

    fn is_raised(&self, before: &Value, after: &Value) -> bool {
        let differs = |field: &str| before.get(field) != after.get(field);
        match self.kind {
            "Deployment" => {
                differs("spec") || before["metadata"].get("annotations") != after["metadata"].get("annotations")
            }
            _ if self.is_built_in() => differs("spec"),
            _ => {
                let names = [before, after].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
                let mut names = names.filter(|name| !matches!(name.as_str(), "metadata" | "status"));
                names.any(|name| differs(name))
            }
        }
    }
}

/// A pod's quality of service; without requests and limits it is the lowest.
fn quality(body: &Value) -> &'static str {
    let has = |container: &Value| {
        let resources = container.get("resources").and_then(Value::as_object);
        resources.is_some_and(|resources| !resources.is_empty())
    };
    let containers = body["spec"].get("containers").and_then(Value::as_array);
    if containers.is_some_and(|containers| containers.iter().any(has)) { "Burstable" } else { "BestEffort" }
}

/// Whether a pod still runs down the time that its deletion gives it.
pub(super) fn is_graceful(body: &Value) -> bool {
    body["metadata"].get("deletionGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds > 0)
}

pub(super) fn has_finalizers(body: &Value) -> bool {
    body["metadata"].get("finalizers").and_then(Value::as_array).is_some_and(|finalizers| !finalizers.is_empty())
}

fn put(body: &mut Value, field: &str, value: Option<&Value>) {
    let Some(fields) = body.as_object_mut() else { return };
    match value {
        Some(value) => drop(fields.insert(field.to_owned(), value.clone())),
        None => drop(fields.remove(field)),
    }
}

pub(super) fn text<'a>(body: &'a Value, field: &str) -> &'a str {
    body["metadata"].get(field).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn metadata(body: &mut Value) -> &mut Map<String, Value> {
    let metadata = &mut body["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    metadata.as_object_mut().expect("it was made one")
}
