//! Our marks on staged objects, and the hashes that tell later whether something changed.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Staged;
use crate::model::marks::{ANNOTATION_CONTENT, ANNOTATION_KICK, ANNOTATION_OWNER, LABEL_APPLICATION};
use crate::model::{AppName, Digest, Object};
use crate::observe::ownership::Tolerated;

/// Puts our marks on an object and hashes it.
pub(super) fn mark(object: Object, app: &AppName, owner: &str, kick: Option<&str>, secret_key: &[u8; 32]) -> Staged {
    let mut body = (*object.body).clone();
    set(&mut body, "labels", LABEL_APPLICATION, app.as_str());
    set(&mut body, "annotations", ANNOTATION_OWNER, owner);
    if let Some(kick) = kick {
        set(&mut body, "annotations", ANNOTATION_KICK, kick);
    }
    let content = content_of(&object.with_body(body.clone()), secret_key);
    set(&mut body, "annotations", ANNOTATION_CONTENT, &content.to_string()[..32]);
    let whole = object.with_body(body);
    Staged {
        object: whole.clone(),
        whole,
        ignored: Vec::new(),
        tolerated: Tolerated::default(),
        content,
        unmarked: object.body,
    }
}

/// The kick that an object carries.
pub(super) fn kick_of(object: &Object) -> Option<&str> {
    object.annotation(ANNOTATION_KICK)
}

/// Hash over an object's body; keyed for Secrets, so that the annotation that carries it tells nothing about them.
#[must_use]
pub fn content_of(object: &Object, secret_key: &[u8; 32]) -> Digest {
    let bytes = serde_json::to_vec(&*object.body).unwrap_or_default();
    if object.key.kind.is("", "Secret") {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret_key).expect("HMAC takes keys of any length");
        mac.update(&bytes);
        return Digest(mac.finalize().into_bytes().into());
    }
    Digest(Sha256::digest(&bytes).into())
}

/// Hash over `live` restricted to the fields that `sent` states: what the server made of our apply. Items of lists are
/// matched by their key fields, so that additions and a new order by others do not show here.
#[must_use]
pub fn projection(sent: &Value, live: &Value) -> Digest {
    let mut text = Vec::new();
    write_shown(sent, live, &mut text);
    Digest(Sha256::digest(&text).into())
}

/// What of `live` the fields of `sent` show, in the shape and the list order of `sent`; null where there is nothing.
#[must_use]
pub fn shown(sent: &Value, live: &Value) -> Value {
    let mut text = Vec::new();
    write_shown(sent, live, &mut text);
    serde_json::from_slice(&text).unwrap_or_default()
}

/// JSON pointers into `sent`, sorted: the fields that `live` shows in another way. What the server may leave out because
/// it is zero, and a quantity written in another way (`1000m`, `1`), is no difference.
#[must_use]
pub fn differing(sent: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(sent, &shown(sent, live), "", &mut found);
    found
}

fn walk(sent: &Value, shown: &Value, at: &str, found: &mut Vec<String>) {
    match (sent, shown) {
        (Value::Object(sent), Value::Object(shown)) => {
            for (field, value) in sent {
                let part = field.replace('~', "~0").replace('/', "~1");
                walk(value, shown.get(field).unwrap_or(&Value::Null), &format!("{at}/{part}"), found);
            }
        }
        (Value::Array(sent), Value::Array(shown)) if sent.len() == shown.len() => {
            for (index, (sent, shown)) in sent.iter().zip(shown).enumerate() {
                walk(sent, shown, &format!("{at}/{index}"), found);
            }
        }
        (sent, shown) => {
            let is_same = sent == shown || is_same_quantity(sent, shown) || (shown.is_null() && is_zero(sent));
            if !is_same {
                found.push(at.to_owned());
            }
        }
    }
}

fn is_same_quantity(left: &Value, right: &Value) -> bool {
    let amount = |value: &Value| match value {
        Value::String(text) => quantity(text),
        Value::Number(number) => number.as_f64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    amount(left).is_some() && amount(left) == amount(right)
}

/// The amount of a quantity (`apimachinery/pkg/api/resource`): a number with a binary, decimal or exponent suffix.
fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        _ => return text.parse().ok(),
    };
    Some(number * factor)
}

/// Key fields of the associative lists of the built-in kinds, the most specific combination first.
const LIST_KEYS: [&[&str]; 9] = [
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["topologyKey", "whenUnsatisfiable"],
    &["mountPath"],
    &["devicePath"],
    &["ip"],
    &["name"],
    &["key"],
    &["type"],
];

/// [`shown`] as JSON, without being built: every object at rest is hashed like this when it changes.
fn write_shown(sent: &Value, live: &Value, text: &mut Vec<u8>) {
    match (sent, live) {
        (Value::Object(sent), Value::Object(live)) => {
            text.push(b'{');
            for (index, (field, sent)) in sent.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                serde_json::to_writer(&mut *text, field).expect("a text is JSON, and memory takes it");
                text.push(b':');
                match live.get(field) {
                    Some(live) => write_shown(sent, live, text),
                    // The server drops zero values of fields that it may omit: absent is as sent then.
                    None if is_zero(sent) => write_json(sent, text),
                    None => write_json(&Value::Null, text),
                }
            }
            text.push(b'}');
        }
        (Value::Array(sent), Value::Array(live)) if let Some(keys) = list_keys(sent) => {
            text.push(b'[');
            for (index, sent) in sent.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                let live = live.iter().find(|live| is_same_item(keys, sent, live)).unwrap_or(&Value::Null);
                write_shown(sent, live, text);
            }
            text.push(b']');
        }
        (
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null | Value::Object(_) | Value::Array(_),
            live,
        ) => write_json(live, text),
    }
}

fn write_json(value: &Value, text: &mut Vec<u8>) {
    serde_json::to_writer(text, value).expect("a Value is JSON, and memory takes it");
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_set) => !is_set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_zero),
    }
}

/// By what the items of a list are told apart, when they can be.
fn list_keys(sent: &[Value]) -> Option<&'static [&'static str]> {
    LIST_KEYS.into_iter().find(|keys| !sent.is_empty() && sent.iter().all(|item| item.get(keys[0]).is_some()))
}

fn is_same_item(keys: &[&str], sent: &Value, live: &Value) -> bool {
    keys.iter().all(|key| sent.get(key).is_none() || sent.get(key) == live.get(key))
}

fn set(body: &mut Value, map: &str, name: &str, value: &str) {
    if !body["metadata"][map].is_object() {
        body["metadata"][map] = json!({});
    }
    body["metadata"][map][name] = Value::String(value.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sent: &Value, live: &Value, is_as_sent: bool) {
        assert_eq!(projection(sent, live) == projection(sent, sent), is_as_sent, "{sent} / {live}");
    }

    #[test]
    fn differing_fields_are_named_in_the_order_of_what_was_sent() {
        let sent = json!({"spec": {"replicas": 2, "paused": false, "containers": [
            {"name": "a", "image": "x:1", "resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}}}, {"name": "b"}]},
            "metadata": {"annotations": {"a/b": "1"}}});
        let live = json!({"spec": {"replicas": 3, "containers": [{"name": "added"}, {"name": "b"},
            {"name": "a", "image": "x:2", "resources": {"limits": {"cpu": "1", "memory": "1024Mi"}}}]},
            "metadata": {"annotations": {"a/b": "2"}}});
        let expected = ["/metadata/annotations/a~1b", "/spec/containers/0/image", "/spec/replicas"];
        assert_eq!(differing(&sent, &live), expected);
        assert_eq!(differing(&sent, &sent), Vec::<String>::new());
        assert_eq!(differing(&json!({"a": "1e3"}), &json!({"a": "1k"})), Vec::<String>::new());
        assert_eq!(differing(&json!({"a": ["x"]}), &json!({"a": ["y"]})), ["/a/0"]);
    }

    #[test]
    fn defaults_and_additions_do_not_show_and_changes_do() {
        let sent = json!({"spec": {"ports": [{"name": "http", "port": 80}], "type": "ClusterIP"}});
        let added = json!({"spec": {"clusterIP": "10.0.0.1", "type": "ClusterIP",
            "ports": [{"name": "other", "port": 81}, {"name": "http", "port": 80, "protocol": "TCP"}]}});
        check(&sent, &added, true);
        check(&sent, &json!({"spec": {"ports": [{"name": "http", "port": 81}], "type": "ClusterIP"}}), false);
        check(&json!({"a": ["x", "y"]}), &json!({"a": ["y", "x"]}), false);
        check(&json!({"a": {"b": 1}}), &json!({}), false);
        check(&json!({"a": {"paused": false, "seconds": 0}}), &json!({"a": {}}), true);
    }
}
