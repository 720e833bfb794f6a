//! What is left to others: fields that an `ignore` rule names, those over which somebody fights with us, and replicas that
//! an autoscaler owns. They are neither drift nor changed by us while the object stands; a new object gets them as declared.
//!
//! A field that somebody else owns as well is not sent: it keeps its value (holding.md: an omitted field that only we own is
//! defaulted again). One that only we own, or that cannot be told, is sent as it stands.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Inputs, Staged, is_deployment, marks};
use crate::model::{Object, WHOLE_OBJECT};
use crate::observe::ownership::{self, Tolerated};

/// Who sets replicas when nobody types them: the HorizontalPodAutoscaler's controller, by the scale subresource.
const AUTOSCALERS: [&str; 3] = ["kube-controller-manager", "horizontal-pod-autoscaler", "keda-operator"];
/// The one field that autoscalers of this kind set.
const REPLICAS: &str = "/spec/replicas";

/// Takes out of `staged` what is left to others.
pub(super) fn leave_to_others(mut staged: Staged, inputs: &Inputs<'_>) -> Staged {
    let key = &staged.whole.key;
    let rules = inputs.application.iter().flat_map(|application| &application.sync.ignore);
    let rules: Vec<_> = rules.filter(|rule| rule.is_about(&staged.whole)).collect();
    let contended = inputs.live.contended.get(key);
    let live = inputs.live.objects.get(key);
    if rules.is_empty() && contended.is_none() {
        staged.object = staged.whole.clone();
        staged.ignored = Vec::new();
        staged.tolerated = Tolerated::default();
        return staged;
    }
    let mut pointers: BTreeSet<String> = rules.iter().flat_map(|rule| &rule.pointers).cloned().collect();
    // An object over which somebody fights as a whole is not written at all, which is for `decide`.
    let fields = contended.into_iter().flat_map(|contended| contended.keys());
    pointers.extend(fields.filter(|pointer| *pointer != WHOLE_OBJECT).cloned());
    let managers: BTreeSet<&str> = rules.iter().flat_map(|rule| &rule.managers).map(String::as_str).collect();
    staged.tolerated = Tolerated {
        pointers: pointers.clone(),
        managers: managers.iter().map(|manager| (*manager).to_owned()).collect(),
    };
    if let Some(live) = live.filter(|_| !managers.is_empty()) {
        pointers.extend(ownership::stated_by(live, &managers, &staged.whole.body));
    }
    // While it moves in waves, a Deployment's template and pace are ours.
    let is_moving = inputs.rollout.is_some() && is_deployment(key);
    let may_leave = |pointer: &str| !is_moving || pointer.starts_with("/metadata/");
    pointers.retain(|pointer| may_leave(pointer) && staged.whole.body.pointer(pointer).is_some());
    // Of an object that does not exist yet, everything is sent.
    let Some(live) = live else {
        staged.object = staged.whole.clone();
        staged.ignored = pointers.into_iter().collect();
        return staged;
    };
    let mut body = (*staged.whole.body).clone();
    let shown = marks::shown(&staged.whole.body, &live.body);
    // Last first, so that removing one item of a list does not move another.
    for pointer in pointers.iter().rev() {
        match shown.pointer(pointer) {
            Some(value) if !value.is_null() && !ownership::is_owned_by_others(live, pointer) => {
                if let Some(field) = body.pointer_mut(pointer) {
                    *field = value.clone();
                }
            }
            Some(_) | None => remove(&mut body, pointer),
        }
    }
    staged.object = staged.whole.with_body(body);
    staged.ignored = pointers.into_iter().collect();
    staged
}

/// Whether the replicas of a workload that stands are somebody else's: an autoscaler sets them that the app does not
/// declare, or a rule leaves them alone. A wave must know before it is staged, since it counts pods.
pub(super) fn leaves_replicas(object: &Object, inputs: &Inputs<'_>) -> bool {
    let key = &object.key;
    let Some(live) = inputs.live.objects.get(key).filter(|_| object.at(REPLICAS).is_some()) else { return false };
    let mut rules = inputs.application.iter().flat_map(|application| &application.sync.ignore);
    ownership::owner_of(live, &["spec", "replicas"]).is_some_and(|owner| AUTOSCALERS.contains(&owner.as_str()))
        || rules.any(|rule| rule.is_about(object) && rule.pointers.iter().any(|pointer| pointer == REPLICAS))
        || inputs.live.contended.get(key).is_some_and(|fields| fields.contains_key(REPLICAS))
}

/// Removes what is at a JSON pointer.
pub(super) fn remove(body: &mut Value, pointer: &str) {
    let Some((parent, part)) = pointer.rsplit_once('/') else { return };
    let part = part.replace("~1", "/").replace("~0", "~");
    match body.pointer_mut(parent) {
        Some(Value::Object(fields)) => drop(fields.remove(&part)),
        Some(Value::Array(items)) => {
            if let Some(index) = part.parse::<usize>().ok().filter(|index| *index < items.len()) {
                items.remove(index);
            }
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => {}
    }
}
