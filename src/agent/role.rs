//! The label on our own pod that the Service of the API selects: only the leader knows how applications stand.

use serde_json::json;

use crate::model::{GroupKind, Millis, Object};
use crate::world::{ApiError, Scope, World};

/// The label of the pod that leads.
const ROLE: &str = "tidegate.dev/role";
/// Its value.
const LEADER: &str = "leader";
/// The same as a pointer into the object.
const POINTER: &str = "/metadata/labels/tidegate.dev~1role";
/// A label that could not be written is tried again after this.
const RETRY: Millis = Millis::from_seconds(3);

/// Moves the label to our pod, until that is done. Without a pod there is nothing to do.
pub(super) async fn show<W: World>(world: &W, namespace: &str, pod: Option<&str>) {
    let Some(pod) = pod else { return };
    let mut told = None;
    while let Err(error) = once(world, namespace, pod).await {
        if told.as_ref() != Some(&error) {
            tracing::warn!(%error, pod, "the pod that leads cannot be labelled: the API's Service does not find it");
        }
        told = Some(error);
        world.wait(Millis(world.uptime().0 + RETRY.0)).await;
    }
}

/// Labels our pod first, so that the Service is never without one for longer than it must be.
async fn once<W: World>(world: &W, namespace: &str, pod: &str) -> Result<(), ApiError> {
    let kind = GroupKind::new("", "Pod");
    let scope = Scope { kind, version: "v1".to_owned(), namespace: Some(namespace.to_owned()) };
    let pods = world.list(&scope, &format!("{}={}", crate::store::NAME_LABEL, crate::store::MANAGED_BY)).await?.items;
    let own = pods.iter().find(|object| object.key.name == pod).ok_or(ApiError::NotFound)?;
    if own.label(ROLE) != Some(LEADER) {
        let add = json!({"op": "add", "path": POINTER, "value": LEADER});
        patch(world, own, &add).await?;
    }
    for other in pods.iter().filter(|object| object.key.name != pod && object.label(ROLE).is_some()) {
        let remove = json!({"op": "remove", "path": POINTER});
        match patch(world, other, &remove).await {
            // It went away by itself.
            Ok(()) | Err(ApiError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn patch<W: World>(world: &W, pod: &Object, operation: &serde_json::Value) -> Result<(), ApiError> {
    let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": pod.resource_version()});
    world.patch(&pod.key, "v1", &json!([test, operation]), None).await.map(drop)
}
