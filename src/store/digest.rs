//! The digest that makes a Release: a sha-256 over its rendered objects and over nothing else.
//!
//! Enters: objects by key, and a key of ours. Leaves: a [`Digest`]. Values of Secrets enter as an HMAC, so that a
//! digest, which everybody may read, gives no way to try guesses of a password against it.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{hex, wire};
use crate::model::{Digest, Object, ObjectKey};

/// What this hash is for, and the first version of its form: no other hash of ours can equal it.
const DOMAIN: &[u8] = b"tidegate.dev/release-digest/1\n";

/// Digests rendered objects, in the order of their keys; `key` is the agent's own.
#[must_use]
pub fn digest(objects: &BTreeMap<ObjectKey, Object>, key: &[u8; 32]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    for (name, object) in objects {
        add(&mut hash, wire::key_text(name).as_bytes());
        let mut text = String::new();
        if name.kind.is("", "Secret") {
            write_canonical(&without_secrets(&object.body, key), &mut text);
        } else {
            write_canonical(&object.body, &mut text);
        }
        add(&mut hash, text.as_bytes());
    }
    Digest(hash.finalize().into())
}

/// Adds bytes with their length before them, so that no two lists of parts give the same stream.
fn add(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

/// A Secret with its values replaced by HMACs.
fn without_secrets(body: &Value, key: &[u8; 32]) -> Value {
    let mut body = body.clone();
    for field in ["data", "stringData"] {
        match body.get_mut(field) {
            Some(Value::Object(values)) => values.values_mut().for_each(|value| *value = sealed(value, key)),
            Some(Value::Null) | None => {}
            Some(other) => *other = sealed(other, key),
        }
    }
    body
}

/// HMAC-SHA256 over the canonical text of `value`.
fn sealed(value: &Value, key: &[u8; 32]) -> Value {
    let mut text = String::new();
    write_canonical(value, &mut text);
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    Value::from(hex(&mac.finalize().into_bytes()))
}

/// Writes `value` as JSON with sorted keys and no space, whatever order its maps have.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.push_str(&value.to_string()),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Object(fields) => write_canonical_mapping(fields, text),
    }
}

fn write_canonical_mapping(fields: &Map<String, Value>, text: &mut String) {
    let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
    text.push('{');
    for (index, (key, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(key.as_str()).to_string());
        text.push(':');
        write_canonical(value, text);
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ClusterName;

    fn objects(bodies: &[Value]) -> BTreeMap<ObjectKey, Object> {
        bodies
            .iter()
            .map(|body| Object::from_value(&ClusterName::local(), body.clone()).unwrap())
            .map(|object| (object.key.clone(), object))
            .collect()
    }

    fn config(name: &str, value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": value, "b": "x"}})
    }

    fn secret(field: &str, value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, field: {"password": value}})
    }

    #[test]
    fn the_form_never_changes_unnoticed() {
        let digest = digest(&objects(&[config("c", "1"), secret("data", "eA==")]), &[7; 32]);
        assert_eq!(digest.to_string(), "6804c848deb341594218794c709b16bcc50bdf4f63eec0d51787bed96950c258");
    }

    #[test]
    fn every_difference_in_content_and_only_that_makes_another_digest() {
        let key = [7; 32];
        let base = digest(&objects(&[config("c", "1"), secret("data", "a")]), &key);
        let text = r#"{"data":{"b":"x","a":"1"},"metadata":{"name":"c"},"kind":"ConfigMap","apiVersion":"v1"}"#;
        let reordered = serde_json::from_str(text).unwrap();
        assert_eq!(digest(&objects(&[secret("data", "a"), reordered]), &key), base);
        for other in [
            objects(&[config("c", "2"), secret("data", "a")]),
            objects(&[config("d", "1"), secret("data", "a")]),
            objects(&[config("c", "1"), secret("data", "b")]),
            objects(&[config("c", "1"), secret("stringData", "a")]),
            objects(&[config("c", "1")]),
            objects(&[]),
        ] {
            assert_ne!(digest(&other, &key), base);
        }
    }

    #[test]
    fn the_key_matters_to_secrets_and_to_nothing_else() {
        let (plain, secret) = (objects(&[config("c", "1")]), objects(&[secret("data", "a")]));
        assert_eq!(digest(&plain, &[1; 32]), digest(&plain, &[2; 32]));
        assert_ne!(digest(&secret, &[1; 32]), digest(&secret, &[2; 32]));
    }

    #[test]
    fn no_value_of_a_secret_reaches_the_hashed_text() {
        for (field, value) in [("data", "Y2FuYXJ5"), ("stringData", "canary")] {
            let sealed = without_secrets(&secret(field, value), &[7; 32]);
            assert!(!sealed.to_string().contains(value));
            assert!(sealed.to_string().contains("password"), "names of values are no secret");
        }
    }
}
