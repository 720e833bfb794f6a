//! Raw objects read the way controllers read them. Enters: JSON. Leaves: fields, conditions, owners, moments.

use serde_json::{Map, Value, json};

use crate::model::{Object, Timestamp};

/// Label of ReplicaSets and their pods that holds the hash of their template.
pub(super) const LABEL_HASH: &str = "pod-template-hash";

/// The value at a path. (A JSON pointer would allocate for each part.)
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, part| value.get(*part))
}

/// The whole number at a path.
pub(super) fn int(value: &Value, path: &[&str]) -> Option<i64> {
    at(value, path)?.as_i64()
}

/// The text at a path.
pub(super) fn text<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path)?.as_str()
}

/// The owner references of an object.
pub(super) fn owners(body: &Value) -> &[Value] {
    at(body, &["metadata", "ownerReferences"]).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The UID of the owner that controls an object.
pub(super) fn controller_uid(body: &Value) -> Option<&str> {
    owners(body).iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?.get("uid")?.as_str()
}

/// A reference from a child to the workload that controls it (`metav1.NewControllerRef`).
pub(super) fn controller_reference(owner: &Object) -> Value {
    json!({
        "apiVersion": owner.api_version(),
        "kind": owner.key.kind.kind,
        "name": owner.key.name,
        "uid": owner.uid(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// A condition of an object's status.
pub(super) fn condition<'a>(body: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = at(body, &["status", "conditions"])?.as_array()?;
    conditions.iter().find(|condition| text(condition, &["type"]) == Some(kind))
}

/// The moment written at a path.
pub(super) fn moment(value: &Value, path: &[&str]) -> Option<Timestamp> {
    text(value, path)?.parse().ok()
}

/// A moment as `metav1.Time` writes it: whole seconds.
pub(super) fn written(moment: Timestamp) -> String {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment).to_string()
}

/// Whether two pod templates are equal but for the hash label (`util/deployment_util.go` `EqualIgnoreHash`).
pub(super) fn same_template(one: &Value, other: &Value) -> bool {
    same_fields(one, other, &|field, one, other| match field {
        "metadata" => same_fields(one, other, &|field, one, other| match field {
            "labels" => same_fields(one, other, &|label, one, other| label == LABEL_HASH || one == other),
            _ => same(one, other),
        }),
        _ => same(one, other),
    })
}

/// Compares two mappings field by field; what is absent counts as null.
fn same_fields(one: &Value, other: &Value, same: &dyn Fn(&str, &Value, &Value) -> bool) -> bool {
    let absent = Map::new();
    let (one, other) = (one.as_object().unwrap_or(&absent), other.as_object().unwrap_or(&absent));
    one.iter().all(|(field, value)| same(field, value, other.get(field).unwrap_or(&Value::Null)))
        && other.iter().all(|(field, value)| one.contains_key(field) || same(field, &Value::Null, value))
}

/// Semantic equality: nothing, null and empty are one.
fn same(one: &Value, other: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    one == other || (is_empty(one) && is_empty(other))
}

/// The mapping at a field of a mapping, made if it is missing.
pub(super) fn map_at<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Map<String, Value> {
    let mut place = value;
    for part in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[*part];
    }
    if !place.is_object() {
        *place = json!({});
    }
    place.as_object_mut().expect("it was made one")
}

/// Inserts a count unless it is 0, as `omitempty` does.
pub(super) fn put_count(map: &mut Map<String, Value>, field: &str, count: i64) {
    if count != 0 {
        map.insert(field.to_owned(), json!(count));
    }
}
