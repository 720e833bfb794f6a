//! Writes: create, update, patch, delete, each with its preconditions, generation and finalizers.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Api, Commit, KINDS, Writer};
use crate::model::{ClusterName, Object, ObjectKey};
use crate::world::{ApiError, ApplyOptions, Part, Preconditions};

impl Api {
    /// Creates an object.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, `UnknownKind`, `NotFound` (its namespace).
    pub fn create(&mut self, by: &Writer, object: &Object) -> Result<Object, ApiError> {
        let (_, _, _, _, has_status) = served(object)?;
        if self.objects.contains_key(&object.key) {
            return Err(ApiError::AlreadyExists);
        }
        let mut body = (*object.body).clone();
        if has_status && let Some(fields) = body.as_object_mut() {
            fields.remove("status");
        }
        self.uids += 1;
        let metadata = metadata(&mut body);
        metadata.insert("uid".to_owned(), json!(format!("00000000-0000-4000-8000-{:012x}", self.uids)));
        metadata.insert("creationTimestamp".to_owned(), json!(self.now.to_string()));
        metadata.insert("generation".to_owned(), json!(1));
        Ok(self.commit(by, object.key.clone(), &object.version, Some(body)).expect("a body was given"))
    }

    /// Replaces an object, or its status.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when its resourceVersion is not the stored one, `Invalid`.
    pub fn update(&mut self, by: &Writer, object: &Object, part: Part) -> Result<Object, ApiError> {
        served(object)?;
        let stored = self.objects.get(&object.key).ok_or(ApiError::NotFound)?;
        let expected = object.resource_version();
        if !expected.is_empty() && expected != stored.resource_version() {
            return Err(ApiError::Conflict);
        }
        let stored = stored.clone();
        let body = (*object.body).clone();
        self.replace(by, &stored, body, part)
    }

    /// JSON patch (RFC 6902), tests included.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when a test fails, `Invalid`.
    pub fn patch(&mut self, by: &Writer, key: &ObjectKey, operations: &Value) -> Result<Object, ApiError> {
        let stored = self.objects.get(key).ok_or(ApiError::NotFound)?.clone();
        let patch: json_patch::Patch =
            serde_json::from_value(operations.clone()).map_err(|error| ApiError::Invalid(error.to_string()))?;
        let mut body = (*stored.body).clone();
        json_patch::patch(&mut body, &patch).map_err(|error| match error.kind {
            json_patch::PatchErrorKind::TestFailed => ApiError::Conflict,
            _ => ApiError::Invalid(error.to_string()),
        })?;
        self.replace(by, &stored, body, Part::Object)
    }

    /// Merge patch (RFC 7386) of an object or its status, as people and controllers send it.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub fn merge(&mut self, by: &Writer, key: &ObjectKey, change: &Value, part: Part) -> Result<Object, ApiError> {
        let stored = self.objects.get(key).ok_or(ApiError::NotFound)?.clone();
        let mut body = (*stored.body).clone();
        json_patch::merge(&mut body, change);
        self.replace(by, &stored, body, part)
    }

    /// Server-side apply.
    ///
    /// # Errors
    /// `Owned` when others own a field and it is not forced, `Conflict`, `Invalid`.
    pub fn apply(&mut self, by: &Writer, object: &Object, options: ApplyOptions) -> Result<Object, ApiError> {
        let _ = options;
        match self.objects.get(&object.key).cloned() {
            None => self.create(by, object),
            Some(stored) => {
                let mut body = (*stored.body).clone();
                json_patch::merge(&mut body, &object.body);
                self.replace(by, &stored, body, Part::Object)
            }
        }
    }

    /// Deletes in the background; with finalizers it only marks.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when a precondition fails.
    pub fn delete(
        &mut self,
        by: &Writer,
        key: &ObjectKey,
        preconditions: Option<&Preconditions>,
    ) -> Result<(), ApiError> {
        let stored = self.objects.get(key).ok_or(ApiError::NotFound)?.clone();
        if let Some(Preconditions { uid, resource_version }) = preconditions
            && (uid != stored.uid() || resource_version != stored.resource_version())
        {
            return Err(ApiError::Conflict);
        }
        if !has_finalizers(&stored.body) {
            self.commit(by, key.clone(), &stored.version, None);
            return Ok(());
        }
        if !stored.is_terminating() {
            let mut body = (*stored.body).clone();
            let now = self.now.to_string();
            metadata(&mut body).insert("deletionTimestamp".to_owned(), json!(now));
            self.commit(by, key.clone(), &stored.version, Some(body));
        }
        Ok(())
    }

    /// Stores a changed body: what the server owns is kept, the generation follows spec, an update that changes nothing
    /// commits nothing, and the last finalizer that leaves a terminating object removes it.
    fn replace(&mut self, by: &Writer, stored: &Object, mut body: Value, part: Part) -> Result<Object, ApiError> {
        let (_, _, _, _, has_status) = served(stored)?;
        if part == Part::Status {
            let status = body.get("status").cloned();
            body = (*stored.body).clone();
            match status {
                Some(status) => body["status"] = status,
                None => drop(body.as_object_mut().and_then(|fields| fields.remove("status"))),
            }
        } else if has_status {
            match stored.body.get("status") {
                Some(status) => body["status"] = status.clone(),
                None => drop(body.as_object_mut().and_then(|fields| fields.remove("status"))),
            }
        }
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "generation", "resourceVersion"] {
            let kept = stored.body["metadata"].get(field).cloned();
            let metadata = metadata(&mut body);
            match kept {
                Some(kept) => drop(metadata.insert(field.to_owned(), kept)),
                None => drop(metadata.remove(field)),
            }
        }
        if body == *stored.body {
            return Ok(stored.clone());
        }
        let rest = |body: &Value| {
            let fields = body.as_object().into_iter().flatten();
            fields
                .filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<Map<String, Value>>()
        };
        if rest(&body) != rest(&stored.body) {
            let generation = stored.int("/metadata/generation").unwrap_or(1) + 1;
            metadata(&mut body).insert("generation".to_owned(), json!(generation));
        }
        let is_gone = stored.is_terminating() && !has_finalizers(&body);
        let after = self.commit(by, stored.key.clone(), &stored.version, (!is_gone).then_some(body));
        Ok(after.unwrap_or_else(|| stored.clone()))
    }

    /// Writes it down.
    fn commit(&mut self, by: &Writer, key: ObjectKey, version: &str, body: Option<Value>) -> Option<Object> {
        self.revision += 1;
        let revision = self.revision;
        let after = body.map(|mut body| {
            metadata(&mut body).insert("resourceVersion".to_owned(), json!(revision.to_string()));
            Object { key: key.clone(), version: version.to_owned(), body: Arc::new(body) }
        });
        let before = match &after {
            Some(after) => self.objects.insert(key.clone(), after.clone()),
            None => self.objects.remove(&key),
        };
        self.log.push(Commit { revision, at: self.now, by: by.clone(), key, before, after: after.clone() });
        after
    }
}

fn has_finalizers(body: &Value) -> bool {
    body.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|finalizers| !finalizers.is_empty())
}

fn metadata(body: &mut Value) -> &mut Map<String, Value> {
    let metadata = &mut body["metadata"];
    if !metadata.is_object() {
        *metadata = json!({});
    }
    metadata.as_object_mut().expect("it was made one")
}

/// The row of [`KINDS`] for an object.
fn served(object: &Object) -> Result<(&'static str, &'static str, &'static str, bool, bool), ApiError> {
    debug_assert_eq!(object.key.cluster, ClusterName::local(), "one cluster today");
    let kind = &object.key.kind;
    KINDS
        .iter()
        .copied()
        .find(|(group, version, name, _, _)| kind.is(group, name) && object.version == *version)
        .ok_or_else(|| ApiError::UnknownKind(kind.to_string()))
}
