//! The garbage collector (`pkg/controller/garbagecollector`): deletes, in the background, what has lost all its owners.

use super::{Desk, reading};
use crate::model::ObjectKey;
use crate::world::ApiError;

/// Deletes an object if it names owners and none of them exists (any more).
pub(super) fn collect(desk: &mut Desk<'_>, key: &ObjectKey) -> Result<(), ApiError> {
    let Some(object) = desk.api.get(key) else { return Ok(()) };
    let owners = reading::owners(&object.body);
    let exists = |uid: Option<&str>| uid.is_some_and(|uid| desk.owners.key_of(uid).is_some());
    let is_orphan = !owners.is_empty() && !owners.iter().any(|owner| exists(reading::text(owner, &["uid"])));
    if !is_orphan || object.is_terminating() {
        return Ok(());
    }
    match desk.api.delete(&desk.by, key, None) {
        Ok(()) | Err(ApiError::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}
