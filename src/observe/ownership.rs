//! `managedFields`, read: what our manager owns, and what others put into a pod template.
//!
//! The format is that of structured-merge-diff: nested maps with keys `f:<field>`, `k:{…}` for an item of an associative
//! list by its key fields, `v:<value>` for an item of a set, and `.` for the node itself.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::model::Object;
use crate::model::marks::{FIELD_MANAGER, REPLICAS_MANAGER};
use crate::mutants::{Mutant, is_planted};

/// Whom the API server names as the owner of what stood before the first apply of an object that nobody owned.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// What others may add to an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tolerated {
    /// JSON pointers.
    pub pointers: BTreeSet<String>,
    /// Field managers.
    pub managers: BTreeSet<String>,
}

/// The fields that our manager owns by apply; `None` when it owns nothing.
#[must_use]
pub fn ours(live: &Object) -> Option<&Map<String, Value>> {
    let is_ours = |entry: &&Value| {
        entry.get("manager").and_then(Value::as_str) == Some(FIELD_MANAGER)
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
            && entry.get("subresource").is_none()
    };
    entries(live).find(is_ours)?.get("fieldsV1")?.as_object()
}

/// Whether our manager owns the field at `path`, given as plain field names.
#[must_use]
pub fn owns(live: &Object, path: &[&str]) -> bool {
    let Some(mut node) = ours(live) else { return false };
    for (index, field) in path.iter().enumerate() {
        match node.get(&format!("f:{field}")).and_then(Value::as_object) {
            Some(child) => node = child,
            None => return false,
        }
        if index + 1 == path.len() {
            return true;
        }
    }
    false
}

/// Other managers that own spec fields of the object, by name, without those that only write status.
#[must_use]
pub fn other_managers(live: &Object) -> Vec<String> {
    let mut names: Vec<String> = entries(live)
        .filter(|entry| entry.get("subresource").is_none())
        .filter(|entry| entry.pointer("/fieldsV1/f:spec").is_some() || entry.pointer("/fieldsV1/f:data").is_some())
        .filter_map(|entry| entry.get("manager")?.as_str())
        .filter(|name| *name != FIELD_MANAGER && *name != REPLICAS_MANAGER)
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The manager, other than us, that owns one of the fields to which `pointers` lead in `body`: whoever changed them. One
/// that took a field away owns nothing of it, and cannot be told.
#[must_use]
pub fn changed_by(live: &Object, body: &Value, pointers: &[String]) -> Option<String> {
    let is_within =
        |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let others = entries(live)
        .filter(|entry| entry.get("subresource").and_then(Value::as_str) != Some("status"))
        .filter_map(|entry| entry.get("manager")?.as_str())
        .filter(|manager| *manager != FIELD_MANAGER && *manager != REPLICAS_MANAGER);
    let others: BTreeSet<&str> = others.collect();
    let owns_one = |manager: &&str| {
        let owned = stated_by(live, &BTreeSet::from([*manager]), body);
        owned.iter().any(|owned| pointers.iter().any(|pointer| is_within(owned, pointer) || is_within(pointer, owned)))
    };
    others.into_iter().find(owns_one).map(str::to_owned)
}

/// Where the entry is by which the API server gives to nobody what stood in an object without any field ownership when
/// it was applied. While it stands, no apply of ours takes a field away.
#[must_use]
pub fn nobodys(live: &Object) -> Option<String> {
    let is_it = |entry: &Value| {
        entry.get("manager").and_then(Value::as_str) == Some(BEFORE_FIRST_APPLY) && entry.get("subresource").is_none()
    };
    entries(live).position(is_it).map(|index| format!("/metadata/managedFields/{index}"))
}

/// The manager, other than us, that owns the field at `path`.
#[must_use]
pub fn owner_of(live: &Object, path: &[&str]) -> Option<String> {
    entries(live)
        .filter(|entry| entry.get("manager").and_then(Value::as_str) != Some(FIELD_MANAGER))
        .find(|entry| {
            let fields = entry.get("fieldsV1");
            path.iter().fold(fields, |node, field| node?.get(format!("f:{field}"))).is_some()
        })
        .and_then(|entry| Some(entry.get("manager")?.as_str()?.to_owned()))
}

/// Another tool that applies this workload: it owns the pod template by server-side apply, or is Helm.
#[must_use]
pub fn other_applier(live: &Object) -> Option<String> {
    let applies = |entry: &&Value| {
        let manager = entry.get("manager").and_then(Value::as_str).unwrap_or_default();
        let is_other = manager != FIELD_MANAGER && manager != REPLICAS_MANAGER;
        let by_apply = entry.get("operation").and_then(Value::as_str) == Some("Apply");
        is_other && (by_apply || manager == "helm") && entry.pointer("/fieldsV1/f:spec/f:template").is_some()
    };
    Some(entries(live).find(applies)?.get("manager")?.as_str()?.to_owned())
}

/// Whether anybody else owns a part of `spec.template`.
#[must_use]
pub fn is_template_shared(live: &Object) -> bool {
    let is_other = |entry: &&Value| entry.get("manager").and_then(Value::as_str) != Some(FIELD_MANAGER);
    entries(live).filter(is_other).any(|entry| entry.pointer("/fieldsV1/f:spec/f:template").is_some())
}

/// JSON pointers to what others put into `spec.template` and `staged` does not state, deepest and last first, so that
/// removing one does not move another. Applying again does not remove such additions.
#[must_use]
pub fn foreign_in_template(live: &Object, staged: &Object, tolerated: &Tolerated) -> Vec<String> {
    let (Some(body), Some(stated)) = (live.at("/spec/template"), staged.at("/spec/template")) else {
        return Vec::new();
    };
    if is_planted(Mutant::ToleratesAdditions) {
        return Vec::new();
    }
    // What is left of two items of one key, once the other is taken out, is ours by that update: not by an apply.
    let is_other = |entry: &&Value| {
        let manager = entry.get("manager").and_then(Value::as_str).unwrap_or_default();
        let is_applied = entry.get("operation").and_then(Value::as_str) == Some("Apply");
        let is_fine = manager == FIELD_MANAGER && is_applied || tolerated.managers.contains(manager);
        !is_fine && entry.get("subresource").is_none()
    };
    let mut found = Vec::new();
    for entry in entries(live).filter(is_other) {
        let theirs = entry.pointer("/fieldsV1/f:spec/f:template").and_then(Value::as_object);
        theirs.into_iter().for_each(|theirs| foreign(theirs, stated, body, "/spec/template", &mut found));
    }
    found.sort_by_key(|pointer: &String| std::cmp::Reverse(sort_key(pointer)));
    found.dedup();
    let is_below = |found: &str, pointer: &str| {
        found.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    found.retain(|found| !tolerated.pointers.iter().any(|pointer| is_below(found, pointer)));
    found
}

/// JSON pointers into `stated`: the fields that it states and that one of `managers` owns.
#[must_use]
pub fn stated_by(live: &Object, managers: &BTreeSet<&str>, stated: &Value) -> Vec<String> {
    let is_theirs =
        |entry: &&Value| entry.get("manager").and_then(Value::as_str).is_some_and(|manager| managers.contains(manager));
    let mut found = Vec::new();
    for entry in entries(live).filter(is_theirs) {
        let theirs = entry.get("fieldsV1").and_then(Value::as_object);
        theirs.into_iter().for_each(|theirs| owned_leaves(theirs, stated, "", &mut found));
    }
    found
}

fn owned_leaves(theirs: &Map<String, Value>, stated: &Value, at: &str, found: &mut Vec<String>) {
    for (step, child) in theirs.iter().filter(|(step, _)| *step != ".") {
        let Some((part, value)) = descend(step, stated) else { continue };
        let pointer = format!("{at}/{part}");
        match child.as_object().filter(|child| child.keys().any(|step| step != ".")) {
            Some(child) => owned_leaves(child, value, &pointer, found),
            // The keys of a list's items name the items, and are everybody's.
            None if step.starts_with("f:") || step.starts_with("v:") => found.push(pointer),
            None => {}
        }
    }
}

/// Whether another manager than ours owns the field at a JSON pointer that leads through maps only; through a list it
/// cannot be told.
#[must_use]
pub fn is_owned_by_others(live: &Object, pointer: &str) -> bool {
    let steps: Vec<String> =
        pointer.split('/').skip(1).map(|part| format!("f:{}", part.replace("~1", "/").replace("~0", "~"))).collect();
    let is_other = |entry: &&Value| {
        entry.get("manager").and_then(Value::as_str) != Some(FIELD_MANAGER)
            || entry.get("operation").and_then(Value::as_str) != Some("Apply")
    };
    entries(live).filter(is_other).any(|entry| {
        let fields = entry.get("fieldsV1");
        steps.iter().try_fold(fields, |fields, step| Some(fields?.get(step.as_str()))).flatten().is_some()
    })
}

/// What our manager applied, read out of the live object: the fields that it owns with the values that they have, as
/// `ExtractInto` of structured-merge-diff does. `None` when it owns nothing.
#[must_use]
pub fn applied(live: &Object) -> Option<Value> {
    let mut body = owned(ours(live)?, &live.body);
    body["apiVersion"] = Value::from(live.api_version());
    body["kind"] = Value::from(live.key.kind.kind.as_str());
    body["metadata"]["name"] = Value::from(live.key.name.as_str());
    if !live.key.namespace.is_empty() {
        body["metadata"]["namespace"] = Value::from(live.key.namespace.as_str());
    }
    Some(body)
}

/// The part of `value` that `fields` name; without any below it, a field is owned whole.
fn owned(fields: &Map<String, Value>, value: &Value) -> Value {
    let children = fields.iter().filter_map(|(step, child)| Some((child.as_object()?, descend(step, value)?)));
    match value {
        Value::Object(_) if fields.keys().any(|step| step != ".") => {
            let named = fields.iter().filter_map(|(step, child)| {
                let name = step.strip_prefix("f:")?;
                Some((name.to_owned(), owned(child.as_object()?, value.get(name)?)))
            });
            Value::Object(named.collect())
        }
        Value::Array(_) if fields.keys().any(|step| step != ".") => {
            let mut items: Vec<(usize, Value)> =
                children.filter_map(|(child, (part, item))| Some((part.parse().ok()?, owned(child, item)))).collect();
            items.sort_by_key(|(index, _)| *index);
            Value::Array(items.into_iter().map(|(_, item)| item).collect())
        }
        whole => whole.clone(),
    }
}

fn entries(live: &Object) -> impl Iterator<Item = &Value> {
    live.at("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

/// Walks what another manager owns beside what we state, and collects what is theirs alone.
fn foreign(theirs: &Map<String, Value>, stated: &Value, body: &Value, at: &str, found: &mut Vec<String>) {
    for (step, child) in theirs.iter().filter(|(step, _)| *step != ".") {
        let places = places(step, body);
        // A list may hold a key twice. Which of the two is ours does not matter: an apply gives it our value.
        let (ours, alone) = match descend(step, stated) {
            Some((_, stated)) => (places.first().map(|place| (place, stated)), places.get(1..).unwrap_or_default()),
            None => (None, places.as_slice()),
        };
        found.extend(alone.iter().map(|(part, _)| format!("{at}/{part}")));
        if let (Some(((part, value), stated)), Some(child)) = (ours, child.as_object()) {
            foreign(child, stated, value, &format!("{at}/{part}"), found);
        }
    }
}

/// Where one step of a field path leads: the part of a JSON pointer, and the value there. Of several, the first.
fn descend<'a>(step: &str, body: &'a Value) -> Option<(String, &'a Value)> {
    places(step, body).into_iter().next()
}

/// Where one step of a field path leads. Items of a list that cannot be told apart share theirs.
fn places<'a>(step: &str, body: &'a Value) -> Vec<(String, &'a Value)> {
    if let Some(field) = step.strip_prefix("f:") {
        let value = body.get(field);
        return value.map(|value| (field.replace('~', "~0").replace('/', "~1"), value)).into_iter().collect();
    }
    let items = body.as_array().into_iter().flatten().enumerate();
    let of = |(index, item): (usize, &'a Value)| (index.to_string(), item);
    if let Some(key) = step.strip_prefix("k:") {
        let Ok(key) = serde_json::from_str::<Map<String, Value>>(key) else { return Vec::new() };
        // A key field that is defaulted (a port's protocol) need not be stated.
        let is_same =
            |item: &Value| key.iter().all(|(field, value)| item.get(field).is_none_or(|stated| stated == value));
        items.filter(|(_, item)| is_same(item)).map(of).collect()
    } else if let Some(value) = step.strip_prefix("v:") {
        let Ok(value) = serde_json::from_str::<Value>(value) else { return Vec::new() };
        items.filter(|(_, item)| **item == value).map(of).collect()
    } else {
        Vec::new()
    }
}

/// Orders pointers so that higher indexes and deeper paths come last.
fn sort_key(pointer: &str) -> Vec<(u8, u64, String)> {
    pointer
        .split('/')
        .map(|part| part.parse().map_or_else(|_| (1, 0, part.to_owned()), |number| (0, number, String::new())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterName;
    use serde_json::json;

    fn live(others: &Value) -> Object {
        let body = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "a", "managedFields": [
                {"manager": "tidegate", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {
                    "f:metadata": {"f:labels": {"f:app": {}}},
                    "f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {},
                        "f:env": {"k:{\"name\":\"A\"}": {".": {}, "f:name": {}, "f:value": {}}}}}}}}}},
                {"manager": "kubectl-set", "operation": "Update", "fieldsV1": others},
                {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status",
                 "fieldsV1": {"f:status": {"f:replicas": {}}}},
            ]},
            "spec": {"replicas": 3, "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "now"}},
                "spec": {"containers": [{"name": "web", "image": "x", "env": [
                    {"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]}]}}},
        });
        Object::from_value(&ClusterName::local(), body).expect("well formed")
    }

    fn check(others: &Value, pointers: &[&str]) {
        let live = live(others);
        let staged = json!({"spec": {"template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
            {"name": "web", "image": "x", "env": [{"name": "A", "value": "1"}]}]}}}});
        assert_eq!(foreign_in_template(&live, &live.with_body(staged), &Tolerated::default()), pointers);
    }

    #[test]
    fn additions_in_the_template_are_found_and_nothing_of_ours() {
        let in_env = |items: Value| json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {"f:env": items}}}}}});
        let item = json!({".": {}, "f:name": {}, "f:value": {}});
        check(
            &in_env(json!({"k:{\"name\":\"B\"}": item, "k:{\"name\":\"C\"}": item})),
            &["/spec/template/spec/containers/0/env/2", "/spec/template/spec/containers/0/env/1"],
        );
        check(&in_env(json!({"k:{\"name\":\"A\"}": {"f:value": {}}})), &[]);
        check(
            &json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {"f:image": {}}}}}}}),
            &[],
        );
        check(
            &json!({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}}}}}),
            &["/spec/template/metadata/annotations"],
        );
        check(&json!({"f:spec": {"f:replicas": {}}}), &[]);
    }

    #[test]
    fn items_of_one_key_are_all_found() {
        let of = |first: &Value, manager: &str, names: [&str; 2], found: &[&str]| {
            let mut live = live(first);
            let mut body = (*live.body).clone();
            body["metadata"]["managedFields"][1]["manager"] = json!(manager);
            let env = |name: &&str| json!({"name": name, "value": "x"});
            body["spec"]["template"]["spec"]["containers"][0]["env"] =
                ["A"].iter().chain(&names).map(env).collect::<Vec<_>>().into();
            live = live.with_body(body);
            let staged = json!({"spec": {"template": {"spec": {"containers": [
                {"name": "web", "image": "x", "env": [{"name": "A", "value": "1"}]}]}}}});
            assert_eq!(foreign_in_template(&live, &live.with_body(staged), &Tolerated::default()), found);
        };
        let owned = |name: &str| {
            let item = json!({format!("k:{{\"name\":\"{name}\"}}"): {}});
            json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {"f:env": item}}}}}})
        };
        let [first, second] = [1, 2].map(|index| format!("/spec/template/spec/containers/0/env/{index}"));
        of(&owned("B"), "kubectl-edit", ["B", "B"], &[&second, &first]);
        // What is left of them is our own update's.
        of(&owned("B"), "tidegate", ["B", "C"], &[&first]);
        // A twin of what we state goes, and we keep ours.
        of(&owned("A"), "kubectl-edit", ["A", "C"], &[&first]);
    }

    #[test]
    fn ownership_is_read_by_field_name() {
        let live = live(&json!({"f:spec": {"f:paused": {}}}));
        assert!(owns(&live, &["spec", "replicas"]));
        assert!(!owns(&live, &["spec", "paused"]));
        assert_eq!(owner_of(&live, &["spec", "paused"]).as_deref(), Some("kubectl-set"));
        assert_eq!(other_managers(&live), ["kubectl-set"]);
    }

    #[test]
    fn who_changed_a_field_is_told_by_the_field() {
        let image =
            json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {"f:image": {}}}}}}});
        let live = live(&image);
        let by = |pointer: &str| changed_by(&live, &live.body, &[pointer.to_owned()]);
        assert_eq!(by("/spec/template/spec/containers/0/image").as_deref(), Some("kubectl-set"));
        assert_eq!(by("/spec/template/spec").as_deref(), Some("kubectl-set"));
        assert_eq!(by("/spec/replicas"), None);
        assert_eq!(nobodys(&live), None);
    }
}
