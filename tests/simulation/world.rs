//! What stands in the world before the story begins.

use serde_json::json;
use tidegate::model::{ClusterName, Object, ObjectKey};
use tidegate::sim::api::{Api, Writer};

use super::declared::{APP, SPACE};

/// A namespace.
pub(crate) fn namespace(api: &mut Api, name: &str) {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    create(api, body);
}

/// A ConfigMap that carries our label and belongs to somebody else: labels are copied (S8).
pub(crate) fn bystander(api: &mut Api) {
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"content": "not ours"},
        "metadata": {"name": "bystander", "namespace": SPACE, "labels": {"tidegate.dev/application": APP, "app.kubernetes.io/managed-by": "tidegate"}}});
    create(api, body);
}

/// The bystander.
pub(crate) fn bystander_key() -> ObjectKey {
    ObjectKey::local("", "ConfigMap", SPACE, "bystander")
}

fn create(api: &mut Api, body: serde_json::Value) {
    let object = Object::from_value(&ClusterName::local(), body).expect("it has a name");
    api.create(&Writer::other("kubectl"), &object).expect("the cluster is empty");
}
