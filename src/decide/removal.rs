//! What goes: objects that left Git, and applications that left it. Empty never prunes (S7).

use super::Draft;
use crate::model::application::PROTECTED_KINDS;
use crate::model::marks::ANNOTATION_HOOK_RUN;
use crate::model::switches::{self, Prune};
use crate::model::{Action, Application, Deletion, Object};
use crate::stage::rank;
use crate::status::Phase;

/// Whether the app never deletes objects of this kind.
pub(super) fn is_protected(draft: &Draft<'_>, object: &Object) -> bool {
    let kind = &object.key.kind;
    let names = [kind.kind.clone(), format!("{}.{}", kind.kind, kind.group)];
    match draft.application() {
        Some(application) => names.iter().any(|name| application.sync.protected.contains(name)),
        None => names.iter().any(|name| PROTECTED_KINDS.contains(&name.as_str())),
    }
}

/// Deletes what is inventoried and left Git, when the app prunes and the cap allows.
pub(super) fn prune(draft: &mut Draft<'_>, application: &Application) {
    let inventory = draft.record.inventory.len();
    for key in &draft.s.changes.vanished {
        draft.has_moved |= draft.record.inventory.remove(key).is_some();
    }
    let mut going = Vec::new();
    for object in &draft.s.changes.delete {
        let kept = match switches::prune(object) {
            Prune::Never => Some("says that it is never pruned"),
            Prune::AsDeclared | Prune::Confirmed if is_protected(draft, object) => Some("is of a protected kind"),
            Prune::AsDeclared | Prune::Confirmed => None,
        };
        match kept {
            Some(why) => {
                draft.remarks.push(format!("{} left Git and {why}: delete it by hand when it may go", object.key));
            }
            None => going.push(object),
        }
    }
    if going.is_empty() {
        return;
    }
    draft.phase = if draft.phase == Phase::Idle { Phase::Waiting } else { draft.phase };
    if !application.sync.prunes {
        draft.blocked(format!("{} left Git and prune is off: set spec.sync.prune, or delete by hand", name(&going)));
        return;
    }
    let cap = application.sync.deletion_cap;
    let exceeds =
        going.len() > cap.objects as usize && going.len() * 100 > inventory.saturating_mul(cap.percent as usize);
    let asks =
        application.sync.confirms_prunes || going.iter().any(|object| switches::prune(object) == Prune::Confirmed);
    if (exceeds || asks || going.len() == inventory) && !is_confirmed(draft) {
        let why = if exceeds {
            format!(", more than {} objects and {} %", cap.objects, cap.percent)
        } else if asks {
            ", and a person is to confirm that".to_owned()
        } else {
            ", which is all that the app has".to_owned()
        };
        draft.blocked(format!(
            "{} left Git{why}: run `kubectl annotate tgapp {} tidegate.dev/request=confirm` to delete",
            name(&going),
            application.name
        ));
        return;
    }
    draft.phase = Phase::Progressing;
    draft.blocked(format!("{} left Git and is being deleted", name(&going)));
    draft.facts.extend(going.iter().filter_map(|object| stuck(object)).map(|fact| (fact, draft.s.now)));
    draft.actions.extend(next(&going));
}

/// Deletes in reverse order of applying, rank by rank: the next rank goes when nothing of the one before is there any more,
/// so that whoever finalizes an object still runs while it goes.
pub(super) fn next(going: &[&Object]) -> Vec<Action> {
    let last = going.iter().map(|object| rank(object)).max();
    let of_rank = going.iter().filter(|object| Some(rank(object)) == last && !object.is_terminating());
    of_rank.map(|object| delete(object)).collect()
}

/// What holds an object whose deletion is under way.
fn stuck(object: &Object) -> Option<String> {
    let since = object.text("/metadata/deletionTimestamp")?;
    let finalizers = object.at("/metadata/finalizers").and_then(serde_json::Value::as_array);
    let names: Vec<&str> = finalizers.into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
    let waits = if names.is_empty() { "its contents".to_owned() } else { format!("finalizers {}", names.join(", ")) };
    Some(format!("{} has been on its way out since {since}, and waits for {waits}", object.key))
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
    if deletion == Deletion::Cascade
        && let Some(other) = draft.s.neighbours.dependants.first()
    {
        return draft.blocked(format!(
            "the Application left Git, and its deletion waits for application {other}, which depends on it"
        ));
    }
    draft.blocked("the Application left Git".to_owned());
    let mut ours: Vec<&Object> =
        draft.record.inventory.keys().filter_map(|key| draft.s.live.objects.get(key)).collect();
    // What hooks left behind goes along, under whatever names their runs had.
    let is_run = |object: &&Object| {
        object.annotation(ANNOTATION_HOOK_RUN).is_some() && !draft.record.inventory.contains_key(&object.key)
    };
    ours.extend(draft.s.live.objects.values().filter(is_run));
    ours.retain(|object| object.annotation(crate::model::marks::ANNOTATION_OWNER).is_some());
    let stays = |object: &&Object| {
        deletion == Deletion::Orphan || is_protected(draft, object) || switches::outlives_its_app(object)
    };
    let (staying, going): (Vec<&Object>, Vec<&Object>) = ours.into_iter().partition(stays);
    if going.is_empty() {
        let orphan = |object: &&Object| Action::Orphan { key: object.key.clone(), version: object.version.clone() };
        draft.actions.extend(staying.iter().map(orphan));
    } else {
        draft.facts.extend(going.iter().filter_map(|object| stuck(object)).map(|fact| (fact, draft.s.now)));
        draft.actions.extend(next(&going));
        draft.wake(crate::model::Millis::from_seconds(2).after(draft.s.now));
    }
    if draft.actions.is_empty() && going.is_empty() {
        let mut digests: Vec<_> = draft.s.history.kept.iter().copied().collect();
        digests.extend(draft.record.stable.as_ref().map(|stable| stable.digest));
        draft.actions.extend(digests.into_iter().map(Action::DropRelease));
        draft.actions.push(Action::Forget);
    }
}
