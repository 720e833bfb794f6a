//! Objects as people compare them: without what only the server or we put there, and without the values of Secrets.
//!
//! Enters: an object as it stands and as it would stand. Leaves: the two as they may be shown. Nothing of a Secret's values
//! passes, no hash of them either; how long they are does.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::model::marks::{
    ANNOTATION_CONTENT, ANNOTATION_KICK, ANNOTATION_OWNER, ANNOTATION_RELEASE, LABEL_APPLICATION,
};

/// Where client-side apply keeps the whole object, the values of a Secret included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What only the server writes.
const SERVER_FIELDS: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The object without `status`, what only the server writes, and our marks.
#[must_use]
pub fn normal(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(fields) = object.as_object_mut() else { return object };
    fields.remove("status");
    let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) else { return object };
    for field in SERVER_FIELDS {
        metadata.remove(field);
    }
    for (group, marks) in [
        ("annotations", [ANNOTATION_OWNER, ANNOTATION_CONTENT, ANNOTATION_RELEASE, ANNOTATION_KICK].as_slice()),
        ("labels", [LABEL_APPLICATION].as_slice()),
    ] {
        let Some(Value::Object(entries)) = metadata.get_mut(group) else { continue };
        entries.retain(|name, _| !marks.contains(&name.as_str()));
        if entries.is_empty() {
            metadata.remove(group);
        }
    }
    object
}

/// Replaces what must not be shown in both states of one object.
pub fn mask(mut before: Option<&mut Value>, mut after: Option<&mut Value>) {
    mask_field(&mut before, &mut after, &["metadata", "annotations"], |name| name == LAST_APPLIED, byte_count);
    let is_secret = |object: &Option<&mut Value>| {
        object.as_ref().is_some_and(|object| object.get("kind").and_then(Value::as_str) == Some("Secret"))
    };
    if is_secret(&before) || is_secret(&after) {
        mask_field(&mut before, &mut after, &["data"], |_| true, decoded_count);
        mask_field(&mut before, &mut after, &["stringData"], |_| true, byte_count);
    }
}

/// Masks the entries of a mapping whose names are `hidden`, and the whole of it when it is no mapping.
fn mask_field(
    before: &mut Option<&mut Value>,
    after: &mut Option<&mut Value>,
    path: &[&str],
    is_hidden: fn(&str) -> bool,
    count: fn(&str) -> usize,
) {
    let (before, after) = (at(before, path), at(after, path));
    let seen = [before.as_deref().cloned(), after.as_deref().cloned()];
    let [entries_before, entries_after] = seen.each_ref().map(|value| value.as_ref().and_then(Value::as_object));
    let texts = |name: &str| {
        let [old, new] = [entries_before, entries_after].map(|entries| entries.and_then(|entries| entries.get(name)));
        masked(old, new, count)
    };
    let (old, new) = masked(seen[0].as_ref(), seen[1].as_ref(), count);
    put(before, is_hidden, &old, |name| texts(name).0);
    put(after, is_hidden, &new, |name| texts(name).1);
}

fn at<'a>(object: &'a mut Option<&mut Value>, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(&mut **object.as_mut()?, |value, part| value.get_mut(part))
}

fn put(value: Option<&mut Value>, is_hidden: fn(&str) -> bool, whole: &str, text_of: impl Fn(&str) -> String) {
    match value {
        Some(Value::Object(entries)) => put_entries(entries, is_hidden, text_of),
        // No mapping, though it should be one: what it is cannot be told, so nothing of it is shown.
        Some(value) if !value.is_null() => *value = Value::String(whole.to_owned()),
        Some(_) | None => {}
    }
}

fn put_entries(entries: &mut Map<String, Value>, is_hidden: fn(&str) -> bool, text_of: impl Fn(&str) -> String) {
    for (name, value) in entries.iter_mut().filter(|(name, _)| is_hidden(name)) {
        *value = Value::String(text_of(name));
    }
}

/// What stands for a value before and after. Only the later one says that it changed, so that a line of the difference
/// shows it.
fn masked(before: Option<&Value>, after: Option<&Value>, count: fn(&str) -> usize) -> (String, String) {
    let size = |value: &Value| {
        value.as_str().map(|text| match count(text) {
            1 => "1 byte".to_owned(),
            bytes => format!("{bytes} bytes"),
        })
    };
    let alone = |value: Option<&Value>| match value.and_then(size) {
        Some(size) => format!("<masked: {size}>"),
        None => "<masked>".to_owned(),
    };
    match (before, after) {
        (Some(before), Some(after)) if before == after => ("<masked>".to_owned(), "<masked>".to_owned()),
        (Some(before), Some(after)) => {
            let sizes = size(before).zip(size(after)).map(|(before, after)| format!(", {before} -> {after}"));
            ("<masked>".to_owned(), format!("<masked: changed{}>", sizes.unwrap_or_default()))
        }
        (before, after) => (alone(before), alone(after)),
    }
}

fn byte_count(text: &str) -> usize {
    text.len()
}

/// How long a Secret's value is; as written when it is no base64.
fn decoded_count(text: &str) -> usize {
    base64::prelude::BASE64_STANDARD.decode(text).map_or(text.len(), |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CANARY: &str = "canary-7c1f0a9be2d4";
    const ENCODED: &str = "Y2FuYXJ5LTdjMWYwYTliZTJkNA==";

    fn secret(data: &Value, last_applied: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "data": data,
            "metadata": {"name": "s", "annotations": {LAST_APPLIED: last_applied, "note": "seen"}}})
    }

    fn masked_pair(before: Option<Value>, after: Option<Value>) -> (Option<Value>, Option<Value>) {
        let (mut before, mut after) = (before, after);
        mask(before.as_mut(), after.as_mut());
        (before, after)
    }

    #[test]
    fn no_value_of_a_secret_passes_whatever_shape_it_has() {
        let applied = format!("{{\"data\":{{\"a\":\"{ENCODED}\"}}}}");
        let shapes = [
            json!({"a": ENCODED}),
            json!({"a": {"nested": ENCODED}}),
            json!({"a": [ENCODED]}),
            json!([ENCODED]),
            json!(ENCODED),
            json!({}),
            Value::Null,
        ];
        let mut objects: Vec<Option<Value>> = shapes.iter().map(|data| Some(secret(data, &applied))).collect();
        let mut plain = secret(&Value::Null, "");
        plain["stringData"] = json!({"a": CANARY, "b": 7});
        objects.extend([Some(plain), None]);
        for before in &objects {
            for after in &objects {
                let (before, after) = masked_pair(before.clone(), after.clone());
                let text = format!("{before:?} {after:?}");
                assert!(!text.contains(CANARY) && !text.contains(ENCODED), "{text}");
            }
        }
    }

    #[test]
    fn a_change_shows_by_its_lengths_alone() {
        let (before, after) = masked_pair(
            Some(secret(&json!({"same": "YQ==", "other": "YWI=", "gone": "YQ=="}), "x")),
            Some(secret(&json!({"same": "YQ==", "other": "YWJj", "new": "YWJjZA=="}), "x")),
        );
        assert_eq!(
            before.unwrap()["data"],
            json!({"same": "<masked>", "other": "<masked>", "gone": "<masked: 1 byte>"})
        );
        assert_eq!(
            after.unwrap()["data"],
            json!({"same": "<masked>", "other": "<masked: changed, 2 bytes -> 3 bytes>", "new": "<masked: 4 bytes>"})
        );
    }

    #[test]
    fn what_client_side_apply_left_is_masked_on_any_kind_and_the_rest_stays() {
        let map = |text: &str| json!({"kind": "ConfigMap", "data": {"a": text}, "metadata": {"annotations": {LAST_APPLIED: text}}});
        let (before, after) = masked_pair(Some(map("one")), Some(map("three")));
        assert_eq!(before.unwrap()["metadata"]["annotations"][LAST_APPLIED], "<masked>");
        let after = after.unwrap();
        assert_eq!(after["metadata"]["annotations"][LAST_APPLIED], "<masked: changed, 3 bytes -> 5 bytes>");
        assert_eq!(after["data"]["a"], "three");
    }

    #[test]
    fn what_the_server_and_we_write_is_no_difference() {
        let live = json!({
            "kind": "ConfigMap", "data": {"a": "b"}, "status": {"x": 1},
            "metadata": {
                "name": "web", "uid": "u", "resourceVersion": "4", "generation": 2, "managedFields": [],
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {LABEL_APPLICATION: "web"},
                "annotations": {ANNOTATION_OWNER: "us", ANNOTATION_CONTENT: "c", ANNOTATION_RELEASE: "r", ANNOTATION_KICK: "k"},
            },
        });
        let declared = json!({"kind": "ConfigMap", "data": {"a": "b"}, "metadata": {"name": "web"}});
        assert_eq!(normal(&live), declared);
        assert_eq!(normal(&declared), declared);
    }
}
