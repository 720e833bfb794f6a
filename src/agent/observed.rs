//! The newest commit that was acted on, kept in a ConfigMap: no older history is acted on later (S6).

use serde_json::{Value, json};

use super::Context;
use crate::model::{Millis, Object, ObjectKey, Revision};
use crate::store;
use crate::world::{ApiError, ApplyOptions, World};

/// The ConfigMap that holds it. Deleting it accepts whatever history Git has.
pub(super) const SOURCE_MAP: &str = "tidegate-source";

/// Where it is.
pub(super) fn key(namespace: &str) -> ObjectKey {
    ObjectKey::local("", "ConfigMap", namespace, SOURCE_MAP)
}

/// The commit that was observed last, when there is one. That it could not be read is not that there is none: a history
/// that was rewritten would be followed (S6).
pub(super) async fn recall<W: World>(context: &Context<W>) -> Result<Option<String>, ApiError> {
    let object = context.world.get(&key(&context.namespace), "v1").await?;
    Ok(object.and_then(|object| object.text("/data/commit").map(str::to_owned)))
}

/// Whether somebody deleted the ConfigMap, and with it accepted a history that was rewritten.
pub(super) async fn is_accepted<W: World>(context: &Context<W>) -> bool {
    matches!(context.world.get(&key(&context.namespace), "v1").await, Ok(None))
}

/// Tries to write before a commit waits for the next poll.
const TRIES_MAX: u32 = 10;
/// Between two tries.
const RETRY: Millis = Millis(500);

/// Remembers a commit before anything acts on it (S6). A commit that cannot be remembered is not acted on. `proven` is
/// the one that it was seen to descend from. Each write says what it replaces: one of an agent that led before, and that
/// took long on its way, takes nothing back.
pub(super) async fn remember<W: World>(
    context: &Context<W>,
    revision: &Revision,
    proven: Option<&str>,
) -> Result<(), ApiError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match write(context, revision, proven).await {
            Ok(()) => return Ok(()),
            Err(error) if (error.is_transient() || error == ApiError::AlreadyExists) && tries < TRIES_MAX => {
                tracing::warn!(%error, "the observed commit was not remembered; trying again");
                context.world.wait(Millis(context.world.uptime().0 + RETRY.0)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn write<W: World>(context: &Context<W>, revision: &Revision, proven: Option<&str>) -> Result<(), ApiError> {
    let mut body = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": SOURCE_MAP, "namespace": context.namespace,
            "labels": {store::MANAGED_BY_LABEL: store::MANAGED_BY, store::OWNER_LABEL: context.owner}},
        "data": {"branch": revision.branch, "commit": revision.commit}});
    let object = |body: Value| Object { key: key(&context.namespace), version: "v1".to_owned(), body: body.into() };
    let Some(known) = context.world.get(&key(&context.namespace), "v1").await? else {
        return context.world.create(&object(body)).await.map(drop);
    };
    match known.text("/data/commit") {
        Some(commit) if commit == revision.commit => return Ok(()),
        Some(commit) if proven.is_some_and(|proven| proven != commit) => {
            return Err(ApiError::Forbidden(format!("another agent has remembered commit {commit} meanwhile")));
        }
        Some(_) | None => {}
    }
    body["metadata"]["uid"] = known.uid().into();
    body["metadata"]["resourceVersion"] = known.resource_version().into();
    let options = ApplyOptions { is_forced: true, is_dry_run: false, manager: crate::model::marks::FIELD_MANAGER };
    context.world.apply(&object(body), options, None).await.map(drop)
}
