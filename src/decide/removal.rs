//! What goes: objects that left Git, and applications that left it. Empty never prunes (S7).

use super::Draft;
use crate::model::{Action, Application, Deletion, Object};
use crate::status::Phase;

/// Deletions of more objects than this *and* of a larger share than [`DELETIONS_PERCENT_MAX`] pause.
pub(super) const DELETIONS_MAX: usize = 5;
/// See [`DELETIONS_MAX`].
pub(super) const DELETIONS_PERCENT_MAX: usize = 20;

/// Kinds that take data or other objects with them when they go: never pruned.
fn is_protected(object: &Object) -> bool {
    let kind = &object.key.kind;
    kind.is("", "Namespace")
        || kind.is("", "PersistentVolumeClaim")
        || kind.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

/// Deletes what is inventoried and left Git, when the app prunes and the cap allows.
pub(super) fn prune(draft: &mut Draft<'_>, application: &Application) {
    let inventory = draft.record.inventory.len();
    for key in &draft.s.changes.vanished {
        draft.has_moved |= draft.record.inventory.remove(key).is_some();
    }
    let (kept, going): (Vec<&Object>, Vec<&Object>) =
        draft.s.changes.delete.iter().partition(|object| is_protected(object));
    for object in kept {
        draft
            .remarks
            .push(format!("{} left Git and is of a protected kind: delete it by hand when it may go", object.key));
    }
    if going.is_empty() {
        return;
    }
    draft.phase = if draft.phase == Phase::Idle { Phase::Waiting } else { draft.phase };
    if !application.sync.prunes {
        draft.blocked(format!("{} left Git and prune is off: set spec.sync.prune, or delete by hand", name(&going)));
        return;
    }
    let exceeds = going.len() > DELETIONS_MAX && going.len() * 100 > inventory * DELETIONS_PERCENT_MAX;
    if (exceeds || going.len() == inventory) && !is_confirmed(draft) {
        draft.blocked(format!(
            "{} left Git, more than {DELETIONS_MAX} objects and {DELETIONS_PERCENT_MAX} %: run `kubectl annotate tgapp {} tidegate.dev/request=confirm` to delete them",
            name(&going),
            application.name
        ));
        return;
    }
    draft.phase = Phase::Progressing;
    draft.blocked(format!("{} left Git and is being deleted", name(&going)));
    for object in going.into_iter().filter(|object| !object.is_terminating()) {
        draft.actions.push(delete(object));
    }
}

fn is_confirmed(draft: &Draft<'_>) -> bool {
    let confirmed =
        draft.record.answered.as_ref().filter(|(request, _)| request.verb == crate::model::RequestVerb::Confirm);
    confirmed
        .is_some_and(|(_, answer)| draft.s.declared.digest().is_some_and(|digest| answer.contains(&digest.short())))
}

fn name(objects: &[&Object]) -> String {
    let listed: Vec<String> = objects.iter().take(3).map(|object| object.key.to_string()).collect();
    match objects.len() - listed.len() {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

/// The delete of exactly what was observed.
pub(super) fn delete(object: &Object) -> Action {
    Action::Delete {
        key: object.key.clone(),
        version: object.version.clone(),
        uid: object.uid().to_owned(),
        resource_version: object.resource_version().to_owned(),
    }
}

/// The Application left Git.
pub(super) fn leave(draft: &mut Draft<'_>, deletion: Deletion) {
    draft.phase = Phase::Progressing;
    draft.blocked("the Application left Git".to_owned());
    let mut ours: Vec<&Object> =
        draft.record.inventory.keys().filter_map(|key| draft.s.live.objects.get(key)).collect();
    ours.retain(|object| object.annotation(crate::model::marks::ANNOTATION_OWNER).is_some());
    // Reverse order: what was created last goes first, namespaces last of all.
    ours.sort_by_key(|object| std::cmp::Reverse(removal_rank(object)));
    for object in ours {
        match deletion {
            Deletion::Orphan => {
                draft.actions.push(Action::Orphan { key: object.key.clone(), version: object.version.clone() });
            }
            Deletion::Cascade if is_protected(object) => {
                draft.actions.push(Action::Orphan { key: object.key.clone(), version: object.version.clone() });
            }
            Deletion::Cascade if object.is_terminating() => {
                draft.wake(crate::model::Millis::from_seconds(2).after(draft.s.now));
            }
            Deletion::Cascade => draft.actions.push(delete(object)),
        }
    }
    let is_waiting = draft.wake_at.is_some();
    if draft.actions.is_empty() && !is_waiting {
        let mut digests: Vec<_> = draft.s.history.kept.iter().copied().collect();
        digests.extend(draft.record.stable.as_ref().map(|stable| stable.digest));
        draft.actions.extend(digests.into_iter().map(Action::DropRelease));
        draft.actions.push(Action::Forget);
    }
}

/// Workloads go before what they read, namespaces and definitions last.
fn removal_rank(object: &Object) -> u8 {
    match (object.key.kind.group.as_str(), object.key.kind.kind.as_str()) {
        ("", "Namespace") => 0,
        ("apiextensions.k8s.io", _) => 1,
        ("", "ServiceAccount" | "Secret" | "ConfigMap" | "PersistentVolumeClaim") => 2,
        ("apps" | "batch", _) => 4,
        _ => 3,
    }
}
