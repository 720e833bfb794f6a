//! S7 and S8: nothing is deleted but what a durable Release no longer declares, and nothing of strangers is touched.

use serde_json::Value;

use super::cluster::{is_live, is_observed, owner, replicas};
use super::content::allowed;
use super::record::{number, text};
use super::{Kind, Step};

/// What all objects of the bystander are called after: they bear our labels and are not ours.
pub(crate) const BYSTANDER: &str = "bystander";

/// Kubernetes' own object in every namespace.
const ROOT_CERTIFICATES: &str = "kube-root-ca.crt";

/// Nothing to remember: each deletion is judged by what stands at that moment.
#[derive(Default)]
pub(super) struct Deletion;

impl Deletion {
    #[expect(clippy::unused_self, reason = "a rule like the others")]
    pub(super) fn see(&mut self, step: &Step<'_>) -> Vec<(&'static str, String)> {
        let Some(before) = step.before else { return Vec::new() };
        let found = match &step.event.object {
            _ if is_bystanders(before) => touched(step, before),
            None => deleted(step, before),
            Some(now) => killed(step, before, now),
        };
        found.into_iter().collect()
    }
}

fn is_bystanders(object: &Value) -> bool {
    let name = text(&object["metadata"]["name"]);
    name == BYSTANDER || owner(object) == BYSTANDER || owner(object).starts_with("bystander-")
}

fn touched(step: &Step<'_>, before: &Value) -> Option<(&'static str, String)> {
    let Some(now) = &step.event.object else { return Some(("S8", "a stranger's object was deleted".to_owned())) };
    let is_ending = now["metadata"]["deletionTimestamp"].is_string();
    let is_declared = matches!(step.event.kind, Kind::ConfigMap | Kind::Deployment);
    let is_changed = |field: &str| now.pointer(field) != before.pointer(field);
    let is_changed = is_declared && ["/metadata/labels", "/data", "/spec"].into_iter().any(is_changed);
    (is_ending || is_changed).then(|| ("S8", "a stranger's object was changed or told to end".to_owned()))
}

fn deleted(step: &Step<'_>, before: &Value) -> Option<(&'static str, String)> {
    let name = &step.event.name;
    match step.event.kind {
        // Pods are judged when they are told to end.
        Kind::Pod => None,
        Kind::Application | Kind::Deployment => Some(("S7", "it is declared, and was deleted".to_owned())),
        Kind::ReplicaSet => {
            (replicas(Some(before)) > 0).then(|| ("S8", "a ReplicaSet with pods was deleted".to_owned()))
        }
        Kind::ConfigMap => {
            let app = name.trim_end_matches("-extra");
            let record = step.cluster.record(app).filter(|_| name.ends_with("-extra") && name != ROOT_CERTIFICATES);
            let declared = record.map(|record| allowed(record, step)).unwrap_or_default();
            let is_dropped = declared.iter().any(|declared| !declared.has_extra);
            (!is_dropped).then(|| ("S7", "everything durable declares it, and it was deleted".to_owned()))
        }
    }
}

/// A pod is told to end although its ReplicaSet, which has acted on its newest specification, wants it.
fn killed(step: &Step<'_>, before: &Value, now: &Value) -> Option<(&'static str, String)> {
    if step.event.kind != Kind::Pod || !is_live(before) || now["metadata"]["deletionTimestamp"].is_null() {
        return None;
    }
    let name = owner(now);
    let set = step.cluster.get(Kind::ReplicaSet, name).filter(|set| is_observed(set))?;
    let live = step.cluster.all(Kind::Pod).filter(|(_, pod)| owner(pod) == name && is_live(pod)).count() as u64;
    let wanted = number(&set["spec"]["replicas"]);
    (live < wanted).then(|| ("S8", format!("deleted while ReplicaSet {name} wants {wanted} pods and has {live} left")))
}
