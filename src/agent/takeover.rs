//! What a new leader does before its first pass: it touches every app with a rollout under way, so that whatever a leader
//! before it still means to write about one is refused. And how a leader learns that this was done to its own.

use futures::future::try_join_all;

use super::event::Office;
use super::{App, Context, start};
use crate::model::Object;
use crate::store;
use crate::world::{ApiError, Part, World};

/// Somebody may write in between: so often one app is read again before the whole start is tried anew.
const TRIES_MAX: usize = 5;

/// Marks every app with a rollout under way with our epoch.
pub(super) async fn touch<W: World>(
    context: &Context<W>,
    apps: impl Iterator<Item = &mut App>,
) -> Result<(), ApiError> {
    try_join_all(apps.map(|app| touch_one(context, app))).await.map(drop)
}

async fn touch_one<W: World>(context: &Context<W>, app: &mut App) -> Result<(), ApiError> {
    for _ in 0..TRIES_MAX {
        let Some(object) = app.object.clone().filter(|_| app.is_rolling()) else { return Ok(()) };
        let marked = store::application::with_epoch(&object, context.epoch);
        match context.world.update(&marked, Part::Object).await {
            Ok(object) => {
                app.object = Some(object);
                return Ok(());
            }
            // Perhaps the last write of the leader before: what it wrote is what goes on.
            Err(ApiError::Conflict | ApiError::TimedOut) => {
                let Some(object) = context.world.get(&object.key, store::VERSION).await? else {
                    return Err(ApiError::Conflict);
                };
                *app = start::stored(context, object).1;
            }
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::Conflict)
}

/// Whether a later leader has taken this app over; then this one writes nothing more, whatever its clock says.
pub(super) fn is_overthrown<W: World>(context: &Context<W>, object: &Object) -> bool {
    let epoch = store::application::epoch(object);
    if epoch <= context.epoch {
        return false;
    }
    tracing::warn!(own = context.epoch, found = epoch, "a later leader has taken over");
    context.world.lead(None);
    context.office.send_replace(Office::Follower { leader: None });
    true
}
