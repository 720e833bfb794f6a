use serde_json::json;

use super::*;
use crate::model::ClusterName;
use crate::world::{ApiError, Part};

#[test]
fn an_update_from_an_old_resource_version_is_a_conflict() {
    let mut api = Api::new(Timestamp::UNIX_EPOCH);
    let by = Writer::other("somebody");
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}, "data": {"k": "1"}});
    let object = Object::from_value(&ClusterName::local(), body).unwrap();
    let first = api.create(&by, &object).unwrap();
    let mut body = (*first.body).clone();
    body["data"]["k"] = json!("2");
    let second = api.update(&by, &first.with_body(body.clone()), Part::Object).unwrap();
    assert_eq!(second.int("/metadata/generation"), Some(2));
    assert_eq!(api.update(&by, &first.with_body(body), Part::Object), Err(ApiError::Conflict));
}
