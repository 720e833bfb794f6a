//! What people ask for through `tidegate.dev/request`: consumed once, answered in status.

use super::{Draft, idle, rolling, transitions};
use crate::model::{Declared, Lane, Position, RequestVerb, RevertReason};

/// Answers a waiting request. The answer and the consumption are one state write.
pub(super) fn answer(draft: &mut Draft<'_>) {
    let Some(request) = draft.s.history.request.clone() else { return };
    if draft.s.history.record.is_none() {
        return;
    }
    let answer = match request.verb {
        RequestVerb::Abort => abort(draft, "abort"),
        RequestVerb::Rollback if draft.record.rollout.is_some() => abort(draft, "rollback"),
        RequestVerb::Rollback => rollback(draft),
        RequestVerb::Retry => retry(draft),
        RequestVerb::Refresh => "looked again".to_owned(),
        RequestVerb::Sync => told_by_digest(draft, "applying"),
        RequestVerb::Confirm => told_by_digest(draft, "confirmed deletions of"),
        RequestVerb::Unknown => {
            format!(
                "refused: `{}` is not a request; known are abort, rollback, retry, refresh, sync, confirm",
                request.text
            )
        }
    };
    draft.record.answered = Some((request, answer));
    draft.has_moved = true;
}

fn told_by_digest(draft: &Draft<'_>, what: &str) -> String {
    match draft.s.declared.digest() {
        Some(digest) => format!("{what} release {}", digest.short()),
        None => "refused: what Git declares is not known at present".to_owned(),
    }
}

fn abort(draft: &mut Draft<'_>, by: &str) -> String {
    match draft.record.rollout.as_ref().map(|rollout| (rollout.lane, rollout.position.clone())) {
        None => "refused: no rollout is under way".to_owned(),
        Some((_, Position::Reverting { .. })) => "already going back".to_owned(),
        Some((Lane::FirstSync, _)) => "refused: the first sync has nothing to go back to; commit a fix".to_owned(),
        Some((_, Position::Preparing | Position::Wave { .. } | Position::Trailing | Position::Held { .. })) => {
            rolling::turn_back(draft, RevertReason::Requested { by: by.to_owned() });
            "going back to Stable".to_owned()
        }
    }
}

/// Back to the Release before Stable, while Git still asks for Stable: that one is held until Git changes or a retry.
fn rollback(draft: &mut Draft<'_>) -> String {
    let Declared::Ready { application, .. } = draft.s.declared else {
        return "refused: what Git declares is not known at present".to_owned();
    };
    let (Some(stable), Some(previous)) = (draft.s.stable, draft.s.previous) else {
        return "refused: no earlier Release is kept to go back to".to_owned();
    };
    let application = application.clone();
    let current = stable.reference.clone();
    transitions::quarantine(draft, &current, "rolled back on request".to_owned());
    idle::begin(draft, &application, &previous.reference, stable, previous);
    format!("going back to version {}", previous.reference.version)
}

fn retry(draft: &mut Draft<'_>) -> String {
    let Declared::Ready { target, .. } = draft.s.declared else {
        return "refused: what Git declares is not known at present".to_owned();
    };
    let before = draft.record.quarantine.len();
    draft.record.quarantine.retain(|held| held.digest != target.digest);
    let is_freed = draft.record.quarantine.len() < before;
    let is_held =
        draft.record.rollout.as_ref().is_some_and(|rollout| matches!(rollout.position, Position::Held { .. }));
    if is_held {
        rolling::resume(draft);
    }
    if is_freed || is_held { "trying again".to_owned() } else { "refused: nothing is held".to_owned() }
}
