//! The verbs, each rule once. The differential test of `tests/cluster` holds them against a real API server.

use serde_json::{Value, json};

use super::*;
use crate::world::{ApiError, ApplyOptions, Part, Preconditions};

const FORCED: ApplyOptions = ApplyOptions { is_forced: true, is_dry_run: false, manager: "one" };
const POLITE: ApplyOptions = ApplyOptions { is_forced: false, is_dry_run: false, manager: "two" };

fn api() -> Api {
    Api::new(Timestamp::UNIX_EPOCH).with_namespace("shop")
}

fn object(api_version: &str, kind: &str, rest: &Value) -> Object {
    let mut body = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "web", "namespace": "shop"}});
    json_patch::merge(&mut body, rest);
    Object::from_value(&ClusterName::local(), body).unwrap()
}

fn map(data: &Value) -> Object {
    object("v1", "ConfigMap", &json!({"data": data}))
}

fn deployment(replicas: i64, env: &[(&str, &str)]) -> Object {
    let env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
        {"name": "web", "image": "web:1", "env": env, "ports": [{"containerPort": 80}]}]}});
    let spec = json!({"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template});
    object("apps/v1", "Deployment", &json!({"spec": spec}))
}

fn by() -> Writer {
    Writer::other("somebody")
}

/// The entry of a manager.
fn owned(object: &Object, manager: &str) -> Value {
    let entries = object.body["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let entry = entries.iter().find(|entry| entry["manager"] == manager);
    entry.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

#[test]
fn an_update_from_an_old_resource_version_is_a_conflict() {
    let mut api = api();
    let first = api.create(&by(), &map(&json!({"k": "1"}))).unwrap();
    let mut body = (*first.body).clone();
    body["data"]["k"] = json!("2");
    let second = api.update(&by(), &first.with_body(body.clone()), Part::Object).unwrap();
    assert_eq!(second.int("/metadata/generation"), None);
    assert_eq!(api.update(&by(), &first.with_body(body), Part::Object), Err(ApiError::Conflict));
}

#[test]
fn a_field_is_taken_only_by_force_and_removed_when_nobody_states_it() {
    let mut api = api();
    api.apply(&by(), &map(&json!({"a": "1", "b": "1"})), FORCED).unwrap();
    let refused = api.apply(&by(), &map(&json!({"a": "2"})), POLITE);
    assert_eq!(refused, Err(ApiError::Owned("one (.data.a)".to_owned())));
    let both = api.apply(&by(), &map(&json!({"a": "1"})), POLITE).unwrap();
    assert_eq!(owned(&both, "two"), json!({"f:data": {"f:a": {}}}));
    let left = api.apply(&by(), &object("v1", "ConfigMap", &json!({})), FORCED).unwrap();
    assert_eq!(left.body["data"], json!({"a": "1"}));
    assert_eq!(owned(&left, "one"), Value::Null);
}

#[test]
fn list_items_are_owned_by_their_keys() {
    let mut api = api();
    api.apply(&by(), &deployment(3, &[("A", "1")]), FORCED).unwrap();
    let add =
        json!([{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "B", "value": "2"}}]);
    let key = deployment(3, &[]).key;
    let patched = api.patch(&by(), &key, &add).unwrap();
    let env = json!({"k:{\"name\":\"B\"}": {".": {}, "f:name": {}, "f:value": {}}});
    let item = json!({"f:containers": {"k:{\"name\":\"web\"}": {"f:env": env}}});
    assert_eq!(owned(&patched, "somebody"), json!({"f:spec": {"f:template": {"f:spec": item}}}));
    let applied = api.apply(&by(), &deployment(3, &[]), FORCED).unwrap();
    let env = &applied.body["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(*env, json!([{"name": "B", "value": "2"}]));
}

#[test]
fn what_changes_nothing_commits_nothing() {
    let mut api = api();
    let first = api.apply(&by(), &deployment(3, &[]), FORCED).unwrap();
    api.set_now(Timestamp::from_second(60).unwrap());
    assert_eq!(api.apply(&by(), &deployment(3, &[]), FORCED), Ok(first.clone()));
    let same = json!({"spec": {"replicas": 3, "paused": false}});
    assert_eq!(api.merge(&by(), &first.key, &same, Part::Object), Ok(first.clone()));
    let dry = ApplyOptions { is_dry_run: true, ..FORCED };
    let other = api.apply(&by(), &deployment(4, &[]), dry).unwrap();
    assert_eq!((other.int("/spec/replicas"), api.get(&first.key)), (Some(4), Some(&first)));
}

#[test]
fn the_generation_counts_changes_of_spec() {
    let mut api = api();
    let first = api.apply(&by(), &deployment(3, &[]), FORCED).unwrap();
    let generation = |object: &Object| object.int("/metadata/generation");
    let status = json!({"status": {"replicas": 3}, "spec": {"replicas": 9}});
    let second = api.merge(&by(), &first.key, &status, Part::Status).unwrap();
    assert_eq!(
        (generation(&second), second.int("/spec/replicas"), second.int("/status/replicas")),
        (Some(1), Some(3), Some(3))
    );
    let labels = json!({"metadata": {"labels": {"x": "y"}}});
    assert_eq!(generation(&api.merge(&by(), &first.key, &labels, Part::Object).unwrap()), Some(1));
    assert_eq!(generation(&api.apply(&by(), &deployment(4, &[]), FORCED).unwrap()), Some(2));
}

#[test]
fn a_finalizer_holds_what_is_deleted_and_owners_take_their_own_along() {
    let mut api = api();
    let held = object("v1", "ConfigMap", &json!({"metadata": {"finalizers": ["a/b"]}}));
    let held = api.create(&by(), &held).unwrap();
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "web", "uid": held.uid()});
    let child = object("v1", "ConfigMap", &json!({"metadata": {"name": "child", "ownerReferences": [owner]}}));
    api.create(&by(), &child).unwrap();
    let wrong = Preconditions { uid: held.uid().to_owned(), resource_version: "1".to_owned() };
    assert_eq!(api.delete(&by(), &held.key, Some(&wrong)), Err(ApiError::Conflict));
    api.delete(&by(), &held.key, None).unwrap();
    assert!(api.get(&held.key).unwrap().is_terminating());
    assert_eq!(api.orphans(), []);
    api.merge(&by(), &held.key, &json!({"metadata": {"finalizers": null}}), Part::Object).unwrap();
    assert_eq!(api.get(&held.key), None);
    assert_eq!(api.orphans(), [child.key]);
    assert_eq!((api.collect(), api.collect()), (1, 0));
}

#[test]
fn a_running_pod_is_gone_when_the_kubelet_says_so() {
    let mut api = api();
    let pod = |name: &str, node: Value| {
        let spec = json!({"nodeName": node, "containers": [{"name": "web", "image": "web:1"}]});
        object("v1", "Pod", &json!({"metadata": {"name": name}, "spec": spec}))
    };
    let (bound, waiting) = (pod("bound", json!("node-1")), pod("waiting", Value::Null));
    for pod in [&bound, &waiting] {
        api.create(&by(), pod).unwrap();
        api.delete(&by(), &pod.key, None).unwrap();
    }
    assert_eq!(api.get(&waiting.key), None);
    let ending = api.get(&bound.key).unwrap();
    assert_eq!(ending.text("/metadata/deletionTimestamp"), Some("1970-01-01T00:00:30Z"));
    api.delete_with(&by(), &bound.key, &Deletion { grace_seconds: Some(0), ..Deletion::default() }).unwrap();
    assert_eq!(api.get(&bound.key), None);
}

#[test]
fn rules_refuse_and_change_what_is_written() {
    let mut api = api();
    let kind = GroupKind::new("", "ConfigMap");
    let refusal = Refusal {
        kind: Some(kind.clone()),
        verb: Some(Verb::Update),
        namespace: None,
        name_prefix: "w".to_owned(),
        message: "no".to_owned(),
    };
    api.refuse(refusal);
    api.mutate(Some(Mutation { kind, is_label: true, name: "team".to_owned(), value: "a".to_owned() }));
    let made = api.apply(&by(), &map(&json!({"a": "1"})), FORCED).unwrap();
    assert_eq!((made.label("team"), owned(&made, "one")), (Some("a"), json!({"f:data": {"f:a": {}}})));
    assert_eq!(api.apply(&by(), &map(&json!({"a": "2"})), FORCED), Err(ApiError::Forbidden("no".to_owned())));
    api.refuse_nothing();
    assert!(api.apply(&by(), &map(&json!({"a": "2"})), FORCED).is_ok());
}

#[test]
fn compacted_commits_are_gone() {
    let mut api = api();
    api.create(&by(), &map(&json!({}))).unwrap();
    let revision = api.revision();
    assert_eq!(api.commits_after(revision - 1).map(<[Commit]>::len), Some(1));
    api.compact(revision);
    assert!(api.commits_after(revision - 1).is_none());
    assert_eq!(api.commits_after(revision).map(<[Commit]>::len), Some(0));
}

/// What a Deployment with this change is refused for.
fn check(change: &Value, told: &str) {
    let mut body = (*deployment(3, &[]).body).clone();
    json_patch::merge(&mut body, change);
    let refused = api().apply(&by(), &deployment(3, &[]).with_body(body), FORCED);
    assert_eq!(refused, Err(ApiError::Invalid(told.to_owned())));
}

#[test]
fn what_is_not_valid_is_refused_by_field() {
    let rolling = |unavailable: i64, surge: i64| json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}}});
    check(&rolling(0, 0), "spec.strategy.rollingUpdate.maxUnavailable: invalid value");
    check(&json!({"spec": {"replicas": -1}}), "spec.replicas: invalid value");
    check(&json!({"spec": {"replicas": "many"}}), "spec.replicas: wrong type, int32 is needed");
    check(&json!({"spec": {"replica": 1}}), "spec.replica: unknown field");
    let labels = json!({"spec": {"template": {"metadata": {"labels": {"app": "other"}}}}});
    check(&labels, "spec.template.metadata.labels: invalid value");
    check(&json!({"metadata": {"managedFields": []}}), "metadata.managedFields must be nil");
}
