//! The newest commit that was acted on, kept in a ConfigMap: no older history is acted on later (S6).

use serde_json::Value;

use super::Context;
use super::guard::Vouched;
use crate::model::{Millis, Object, Revision};
use crate::store::source;
use crate::world::{ApiError, ApplyOptions, World};

/// The commit that was observed last, when there is one. That it could not be read is not that there is none: a history
/// that was rewritten would be followed (S6).
pub(super) async fn recall<W: World>(context: &Context<W>) -> Result<Option<String>, ApiError> {
    let object = context.world.get(&source::key(&context.namespace), "v1").await?;
    Ok(object.and_then(|object| source::commit(&object).map(str::to_owned)))
}

/// What guarded apps may declare under whatever head, as far as it is remembered.
pub(super) async fn vouched<W: World>(context: &Context<W>) -> Result<Vouched, ApiError> {
    let object = context.world.get(&source::key(&context.namespace), "v1").await?;
    Ok(object.map(|object| source::vouched(&object)).unwrap_or_default())
}

/// What a history has to descend from after it was found rewritten: still `proven`, unless somebody accepted another commit
/// in its place, or deleted the ConfigMap and so accepted whatever there is.
pub(super) async fn accepted<W: World>(context: &Context<W>, proven: String) -> Option<String> {
    match context.world.get(&source::key(&context.namespace), "v1").await {
        Ok(None) => None,
        Ok(Some(map)) => Some(source::accepted(&map).map_or(proven, str::to_owned)),
        Err(_) => Some(proven),
    }
}

/// Tries to write before a commit waits for the next poll.
const TRIES_MAX: u32 = 10;
/// Between two tries.
const RETRY: Millis = Millis(500);

/// Remembers a commit before anything acts on it (S6). A commit that cannot be remembered is not acted on. `proven` is
/// the one that it was seen to descend from. Each write says what it replaces: one of an agent that led before, and that
/// took long on its way, takes nothing back. `last` is what our own last write left, so that it is not read each time: when
/// somebody else wrote since, this write is refused, and it is read.
pub(super) async fn remember<W: World>(
    context: &Context<W>,
    revision: &Revision,
    vouched: &Vouched,
    proven: Option<&str>,
    last: &mut Option<Object>,
) -> Result<(), ApiError> {
    let mut tries = 0;
    loop {
        let known = last.take().filter(|known| source::commit(known) != Some(&revision.commit));
        let is_from_memory = known.is_some();
        tries += u32::from(!is_from_memory);
        match write(context, revision, vouched, proven, known).await {
            Ok(written) => {
                *last = written;
                return Ok(());
            }
            Err(error) if is_from_memory => {
                tracing::debug!(%error, "the observed commit was not remembered; looking at what stands there");
            }
            Err(error) if (error.is_transient() || error == ApiError::AlreadyExists) && tries < TRIES_MAX => {
                tracing::warn!(%error, "the observed commit was not remembered; trying again");
                context.world.wait(Millis(context.world.uptime().0 + RETRY.0)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Writes it, in place of what is `known` to stand there, and returns what stands there now.
async fn write<W: World>(
    context: &Context<W>,
    revision: &Revision,
    vouched: &Vouched,
    proven: Option<&str>,
    known: Option<Object>,
) -> Result<Option<Object>, ApiError> {
    let key = source::key(&context.namespace);
    let mut body = source::write(&context.namespace, &context.owner, revision, vouched);
    let object = |body: Value| Object { key: key.clone(), version: "v1".to_owned(), body: body.into() };
    let known = match known {
        Some(known) => Some(known),
        None => context.world.get(&key, "v1").await?,
    };
    let Some(known) = known else {
        return context.world.create(&object(body)).await.map(Some);
    };
    match source::commit(&known) {
        Some(commit) if commit == revision.commit && source::vouched(&known) == *vouched => return Ok(Some(known)),
        Some(commit) if commit == revision.commit => {}
        Some(commit) if proven.is_some_and(|proven| proven != commit) => {
            return Err(ApiError::Forbidden(format!("another agent has remembered commit {commit} meanwhile")));
        }
        Some(_) | None => {}
    }
    body["metadata"]["uid"] = known.uid().into();
    body["metadata"]["resourceVersion"] = known.resource_version().into();
    let options = ApplyOptions { is_forced: true, is_dry_run: false, manager: crate::model::marks::FIELD_MANAGER };
    context.world.apply(&object(body), options, None).await.map(Some)
}
