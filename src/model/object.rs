//! Kubernetes objects as raw JSON, and the keys that name them.
//!
//! Objects stay raw from Git to the API server, because typed structs drop fields that they do not know. Typed views
//! are for reading only.

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::Body;
use super::marks::{ANNOTATION_OWNER, LABEL_APPLICATION};

/// Which cluster an object lives in. One agent writes to one cluster today; the key has room for more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClusterName(pub Arc<str>);

impl PartialOrd for ClusterName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ClusterName {
    /// By name. Nearly always both are the one local cluster, and share its text.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { std::cmp::Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

static LOCAL: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("in-cluster"));

impl ClusterName {
    /// The cluster that the agent runs in.
    #[must_use]
    pub fn local() -> Self {
        Self(Arc::clone(&LOCAL))
    }
}

/// API group and kind, without a version: what identity is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKind {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, such as `Deployment`.
    pub kind: String,
}

impl GroupKind {
    /// A group and kind by name.
    #[must_use]
    pub fn new(group: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), kind: kind.to_owned() }
    }

    /// Whether this is `group`/`kind`.
    #[must_use]
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

impl std::fmt::Display for GroupKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() { f.write_str(&self.kind) } else { write!(f, "{}.{}", self.kind, self.group) }
    }
}

/// What names one object: its [`KeyParts`]. A copy is a count: an agent holds some thirty keys for an app of four objects,
/// and those of one origin are told equal by where they are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey(Arc<KeyParts>);

/// Cluster, group and kind, namespace, name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyParts {
    /// The cluster that holds the object.
    pub cluster: ClusterName,
    /// Group and kind.
    pub kind: GroupKind,
    /// Namespace; empty when the kind is cluster-scoped.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// A key in `cluster`; `namespace` is empty when the kind is cluster-scoped.
    #[must_use]
    pub fn new(cluster: ClusterName, kind: GroupKind, namespace: &str, name: &str) -> Self {
        Self(Arc::new(KeyParts { cluster, kind, namespace: namespace.to_owned(), name: name.to_owned() }))
    }

    /// A key in the local cluster.
    #[must_use]
    pub fn local(group: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self::new(ClusterName::local(), GroupKind::new(group, kind), namespace, name)
    }

    /// What else stands beside it: in the same cluster and namespace.
    #[must_use]
    pub fn beside(&self, kind: GroupKind, name: &str) -> Self {
        Self::new(self.cluster.clone(), kind, &self.namespace, name)
    }

    /// The same in another namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self::new(self.cluster.clone(), self.kind.clone(), namespace, &self.name)
    }
}

impl std::ops::Deref for ObjectKey {
    type Target = KeyParts;

    fn deref(&self) -> &KeyParts {
        &self.0
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { std::cmp::Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl std::fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The JSON pointer to a whole object (RFC 6901).
pub const WHOLE_OBJECT: &str = "";

/// One object as it was declared, staged or read: a key, the API version to speak, and the raw JSON body.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// What names it.
    pub key: ObjectKey,
    /// API version within the group, such as `v1`.
    pub version: String,
    /// The whole object, `apiVersion`, `kind` and `metadata` included.
    pub body: Body,
}

/// Why a JSON value is not a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// A field that every object needs is absent or not a string.
    #[error("field `{0}` is missing or not a string")]
    MissingField(&'static str),
    /// The document is no mapping.
    #[error("a Kubernetes object is a mapping with apiVersion, kind and metadata")]
    NotAMapping,
}

impl Object {
    /// Reads the key out of a raw object.
    ///
    /// # Errors
    /// When `apiVersion`, `kind` or `metadata.name` is missing or not a string.
    pub fn from_value(cluster: &ClusterName, body: Value) -> Result<Self, ObjectError> {
        if !body.is_object() {
            return Err(ObjectError::NotAMapping);
        }
        let text = |pointer: &str, field: &'static str| {
            body.pointer(pointer)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .ok_or(ObjectError::MissingField(field))
        };
        let api_version = text("/apiVersion", "apiVersion")?;
        let kind = text("/kind", "kind")?;
        let name = text("/metadata/name", "metadata.name")?;
        let namespace = body.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let key = ObjectKey::new(cluster.clone(), GroupKind::new(group, kind), namespace, name);
        let version = version.to_owned();
        Ok(Self { key, version, body: body.into() })
    }

    /// `group/version`, or `version` for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.key.kind.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.key.kind.group, self.version)
        }
    }

    /// A copy with another body under the same key.
    #[must_use]
    pub fn with_body(&self, body: Value) -> Self {
        Self { key: self.key.clone(), version: self.version.clone(), body: body.into() }
    }

    /// The value at a JSON pointer.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        if pointer.contains('~') {
            return self.body.pointer(pointer);
        }
        // `Value::pointer` allocates twice for each part, to take escapes out that ours do not have.
        pointer.as_bytes().split(|byte| *byte == b'/').skip(1).try_fold(&*self.body, |value, part| {
            let part = std::str::from_utf8(part).ok()?;
            match value {
                Value::Object(fields) => fields.get(part),
                Value::Array(items) => items.get(part.parse::<usize>().ok()?),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
            }
        })
    }

    /// The text at a JSON pointer.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.at(pointer).and_then(Value::as_str)
    }

    /// The whole number at a JSON pointer.
    #[must_use]
    pub fn int(&self, pointer: &str) -> Option<i64> {
        self.at(pointer).and_then(Value::as_i64)
    }

    /// The annotation `name`.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        match self.body.facts() {
            Some(facts) if name == ANNOTATION_OWNER => facts.owner.as_deref(),
            Some(_) | None => self.body.get("metadata")?.get("annotations")?.get(name)?.as_str(),
        }
    }

    /// The label `name`.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        match self.body.facts() {
            Some(facts) if name == LABEL_APPLICATION => facts.application.as_deref(),
            Some(_) | None => self.body.get("metadata")?.get("labels")?.get(name)?.as_str(),
        }
    }

    /// `metadata.uid`, empty when the object was never stored.
    #[must_use]
    pub fn uid(&self) -> &str {
        match self.body.facts() {
            Some(facts) => &facts.uid,
            None => self.text("/metadata/uid").unwrap_or_default(),
        }
    }

    /// `metadata.resourceVersion`, empty when the object was never stored.
    #[must_use]
    pub fn resource_version(&self) -> &str {
        match self.body.facts() {
            Some(facts) => &facts.resource_version,
            None => self.text("/metadata/resourceVersion").unwrap_or_default(),
        }
    }

    /// Whether the object is being deleted.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.text("/metadata/deletionTimestamp").is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_without_a_name_is_refused_by_field() {
        let body = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
        assert_eq!(Object::from_value(&ClusterName::local(), body), Err(ObjectError::MissingField("metadata.name")));
    }

    #[test]
    fn what_every_event_asks_is_answered_without_waking_the_object() {
        let body = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "uid": "u",
            "resourceVersion": "7", "annotations": {ANNOTATION_OWNER: "us"}, "labels": {LABEL_APPLICATION: "web"}}});
        let mut object = Object::from_value(&ClusterName::local(), body).expect("well formed");
        object.body.rest();
        assert_eq!((object.uid(), object.resource_version()), ("u", "7"));
        assert_eq!((object.annotation(ANNOTATION_OWNER), object.label(LABEL_APPLICATION)), (Some("us"), Some("web")));
        assert!(object.body.is_resting());
        assert_eq!(object.label("other"), None);
    }
}
