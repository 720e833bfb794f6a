//! Values that a chart makes up anew each time: the first one is kept.
//!
//! Enters: two renderings of the same thing, and what it rendered to before. Leaves: one rendering, in which everything that
//! differs between the two is what it was before; or the field for which that cannot be done.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::model::{Object, ObjectKey};

/// Objects by key.
type Objects = BTreeMap<ObjectKey, Object>;

/// A field that cannot be kept as it was.
#[derive(Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// The object.
    pub key: String,
    /// Path of the field in it.
    pub field: String,
    /// Why.
    pub reason: &'static str,
}

const SHAPE: &str = "which are there differs as well, and only values can be kept";
const AROUND: &str = "it is a part of a text that has changed otherwise, so that the old text cannot be kept; give it a field of its own";

/// Settles two renderings by what was before. What was not there before is as in `one`.
///
/// # Errors
/// The first field that is not only another value: objects, keys or items of a list that one rendering has and the other has
/// not; and a text of which a part is random, when the rest of it is not what it was.
pub fn settle(mut one: Objects, other: &Objects, before: Option<&Objects>) -> Result<Objects, Unsettled> {
    let unsettled = |key: &ObjectKey, (field, reason)| Unsettled { key: key.to_string(), field, reason };
    let missing = |objects: &Objects| other.keys().find(|key| !objects.contains_key(*key)).cloned();
    if let Some(key) = missing(&one) {
        return Err(unsettled(&key, ("metadata.name".to_owned(), SHAPE)));
    }
    for (key, object) in &mut one {
        let Some(second) = other.get(key) else {
            return Err(unsettled(key, ("metadata.name".to_owned(), SHAPE)));
        };
        if object.body == second.body {
            continue;
        }
        let before = before.and_then(|before| before.get(key));
        let mut settled = (*object.body).clone();
        let is_encoded = key.kind.is("", "Secret");
        walk(&mut settled, &second.body, before.map(|before| &*before.body), "", is_encoded)
            .map_err(|problem| unsettled(key, problem))?;
        *object = object.with_body(settled);
    }
    Ok(one)
}

/// Goes through both at once; `at` is where. `is_encoded`: whether texts below `data` are in base64.
fn walk(
    one: &mut Value,
    other: &Value,
    before: Option<&Value>,
    at: &str,
    is_encoded: bool,
) -> Result<(), (String, &'static str)> {
    if one == other {
        return Ok(());
    }
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
            if let Some(name) = other.keys().find(|name| !one.contains_key(*name)) {
                return Err((below(name), SHAPE));
            }
            for (name, value) in one {
                let second = other.get(name).ok_or_else(|| (below(name), SHAPE))?;
                walk(value, second, before.and_then(|before| before.get(name)), &below(name), is_encoded)?;
            }
            Ok(())
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let count = one.len();
            for (index, (value, second)) in one.iter_mut().zip(other).enumerate() {
                let earlier = before.and_then(Value::as_array).and_then(|items| item(items, value, index, count));
                walk(value, second, earlier, &format!("{at}[{index}]"), is_encoded)?;
            }
            Ok(())
        }
        (Value::Array(_), Value::Array(_)) => Err((at.to_owned(), SHAPE)),
        (Value::String(one), Value::String(other)) => {
            let Some(before) = before.and_then(Value::as_str) else { return Ok(()) };
            let decode = |text: &str| {
                let bytes = BASE64_STANDARD.decode(text).ok().filter(|_| is_encoded && at.starts_with("data."))?;
                String::from_utf8(bytes).ok()
            };
            let fits = match (decode(one), decode(other), decode(before)) {
                (Some(one), Some(other), Some(before)) => fits(&one, &other, &before),
                (_, _, _) => fits(one, other, before),
            };
            if !fits {
                return Err((at.to_owned(), AROUND));
            }
            before.clone_into(one);
            Ok(())
        }
        (one, other) => {
            if std::mem::discriminant(one) != std::mem::discriminant(other) {
                return Err((at.to_owned(), SHAPE));
            }
            if let Some(before) = before.filter(|before| std::mem::discriminant(*before) == std::mem::discriminant(one))
            {
                *one = before.clone();
            }
            Ok(())
        }
    }
}

/// The item of a list as it was before: the one of the same name where items have names, else the one at the same place of a
/// list that is as long.
fn item<'a>(before: &'a [Value], now: &Value, index: usize, count: usize) -> Option<&'a Value> {
    match now.get("name").and_then(Value::as_str) {
        Some(name) => before.iter().find(|item| item.get("name").and_then(Value::as_str) == Some(name)),
        None => before.get(index).filter(|_| before.len() == count),
    }
}

/// Whether a text can stand for two that differ: it begins and ends as both do. What lies between counts from a border between
/// words, since random words may begin alike.
fn fits(one: &str, other: &str, before: &str) -> bool {
    let head = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    let head = &one.as_bytes()[..head];
    let head = &head[..head.iter().rposition(is_border).map_or(0, |last| last + 1)];
    let rest = one.len().min(other.len()) - head.len();
    let tail = one.bytes().rev().zip(other.bytes().rev()).take(rest).take_while(|(one, other)| one == other).count();
    let tail = &one.as_bytes()[one.len() - tail..];
    let tail = &tail[tail.iter().position(is_border).unwrap_or(tail.len())..];
    let before = before.as_bytes();
    before.len() >= head.len() + tail.len() && before.starts_with(head) && before.ends_with(tail)
}

fn is_border(byte: &u8) -> bool {
    !(byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::ClusterName;

    fn objects(body: &Value) -> Objects {
        let mut whole = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        whole.as_object_mut().unwrap().extend(body.as_object().cloned().unwrap());
        let object = Object::from_value(&ClusterName::local(), whole).unwrap();
        BTreeMap::from([(object.key.clone(), object)])
    }

    /// What becomes of two renderings after a third: the object's fields, or the field that stands in the way.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "cases read better without a reference to each literal")]
    fn check(one: Value, other: Value, before: Option<Value>, expected: Result<Value, (&str, &str)>) {
        let before = before.as_ref().map(objects);
        let settled = settle(objects(&one), &objects(&other), before.as_ref());
        match expected {
            Ok(expected) => assert_eq!(settled, Ok(objects(&expected))),
            Err((field, reason)) => {
                let problem = settled.unwrap_err();
                assert_eq!((problem.field.as_str(), problem.reason), (field, reason));
            }
        }
    }

    fn secret(text: &str) -> Value {
        json!({"kind": "Secret", "data": {"a": BASE64_STANDARD.encode(text)}})
    }

    #[test]
    fn what_is_random_stays_as_it_was_and_everything_else_is_new() {
        let now = |random: &str| json!({"data": {"password": random, "level": "debug"}, "n": 3});
        let before = json!({"data": {"password": "first", "level": "info"}, "n": 2});
        check(now("x1"), now("x2"), Some(before), Ok(now("first")));
        check(now("x1"), now("x2"), None, Ok(now("x1")));
        check(now("x1"), now("x1"), Some(json!({"data": {"password": "old"}})), Ok(now("x1")));
        check(now("x1"), now("x2"), Some(json!({"data": {}})), Ok(now("x1")));
        check(
            json!({"n": 1, "b": true}),
            json!({"n": 2, "b": true}),
            Some(json!({"n": 7, "b": false})),
            Ok(json!({"n": 7, "b": true})),
        );
    }

    #[test]
    fn a_text_that_is_random_in_part_is_kept_while_the_rest_of_it_is_as_it_was() {
        let text =
            |random: &str, rest: &str| json!({"data": {"conf": format!("user=ada\npassword={random}\n{rest}\n")}});
        check(text("x1y", "a=b"), text("x2y", "a=b"), Some(text("old", "a=b")), Ok(text("old", "a=b")));
        check(text("x1y", "a=c"), text("x2y", "a=c"), Some(text("old", "a=b")), Err(("data.conf", AROUND)));
        let pem = |random: &str| json!({"data": {"a": format!("-----BEGIN X-----\n{random}\n-----END X-----\n")}});
        check(pem("MIIabc\nMIIdef"), pem("MIIabd\nMIIxef"), Some(pem("MIQ\nrst\nuvw")), Ok(pem("MIQ\nrst\nuvw")));
    }

    #[test]
    fn the_text_of_a_secret_is_compared_as_it_is_read() {
        let conf = |random: &str, rest: &str| secret(&format!("password: {random}\nlevel: {rest}\n"));
        check(conf("p1", "a"), conf("p2", "a"), Some(conf("first", "a")), Ok(conf("first", "a")));
        check(conf("p1", "b"), conf("p2", "b"), Some(conf("first", "a")), Err(("data.a", AROUND)));
        check(secret("aaaa"), secret("bbbbb"), Some(secret("c")), Ok(secret("c")));
    }

    #[test]
    fn items_are_found_by_name_and_never_taken_for_others() {
        let list = |items: &[(&str, &str)]| json!({"env": items.iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>()});
        check(
            list(&[("new", "fixed"), ("password", "r1")]),
            list(&[("new", "fixed"), ("password", "r2")]),
            Some(list(&[("password", "first")])),
            Ok(list(&[("new", "fixed"), ("password", "first")])),
        );
        check(
            json!({"a": ["b", "r1"]}),
            json!({"a": ["b", "r2"]}),
            Some(json!({"a": ["x"]})),
            Ok(json!({"a": ["b", "r1"]})),
        );
        check(
            json!({"a": ["b", "r1"]}),
            json!({"a": ["b", "r2"]}),
            Some(json!({"a": ["b", "c"]})),
            Ok(json!({"a": ["b", "c"]})),
        );
    }

    #[test]
    fn what_is_there_in_one_and_not_in_the_other_is_refused_by_name() {
        check(json!({"data": {"a": "1"}}), json!({"data": {"b": "1"}}), None, Err(("data.b", SHAPE)));
        check(json!({"data": {"a": "1", "b": "1"}}), json!({"data": {"a": "1"}}), None, Err(("data.b", SHAPE)));
        check(json!({"a": [1]}), json!({"a": [1, 2]}), None, Err(("a", SHAPE)));
        check(json!({"a": 1}), json!({"a": "1"}), None, Err(("a", SHAPE)));
        let named = |name: &str| objects(&json!({"metadata": {"name": name}}));
        assert_eq!(settle(named("a-1"), &named("a-2"), None).unwrap_err().field, "metadata.name");
        assert_eq!(settle(Objects::new(), &named("a-2"), None).unwrap_err().field, "metadata.name");
        assert_eq!(settle(named("a-1"), &Objects::new(), None).unwrap_err().field, "metadata.name");
    }
}
