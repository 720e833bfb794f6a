//! Which of the changes may go out now, in which order, and what the others wait for.
//!
//! Within one pass kinds follow each other; what has to be waited for (a definition, an explicit wave) costs a pass more.
//! An app whose objects are all of one wave and one Release is never asked for more than the order of its kinds.

use std::collections::{BTreeMap, BTreeSet};

use super::Draft;
use crate::diff::Change;
use crate::health::health;
use crate::model::{GroupKind, HealthStatus, Lane, ObjectKey, Position, Rollout, Timestamp};
use crate::stage::{Rank, defined_kind, moving, rank, trailing};

/// The changes of one pass in their order.
pub(super) struct Order<'a> {
    /// Those that may go out now.
    pub(super) going: Vec<(Rank, &'a Change)>,
    /// Whether what follows a change that fails stays behind.
    pub(super) is_strict: bool,
}

/// Puts the changes in order, and says what those wait for that may not go out yet.
pub(super) fn order<'a>(draft: &mut Draft<'a>) -> Order<'a> {
    let s = draft.s;
    if s.changes.apply.is_empty() {
        return Order { going: Vec::new(), is_strict: false };
    }
    let rollout = draft.record.rollout.clone();
    let is_strict = rollout.as_ref().is_some_and(is_strict);
    let mut going: Vec<(Rank, &Change)> =
        s.changes.apply.iter().map(|change| (rank(&change.staged.object), change)).collect();
    going.sort_by_key(|(rank, _)| *rank);
    let since = rollout.as_ref().map_or(s.now, |rollout| rollout.started_at);
    let defined = defined(draft);
    let mut waits = Vec::new();
    going.retain(|(_, change)| {
        let key = &change.staged.object.key;
        let fact = match defined.get(&key.kind) {
            Some((definition, false)) => format!("{key} waits for {definition} to be established"),
            None if s.live.unserved.contains(&key.kind) => {
                draft.is_waiting = true;
                format!("{key} waits: the cluster does not know the kind {} at present", key.kind)
            }
            Some((_, true)) | None => return true,
        };
        waits.push(fact);
        false
    });
    if let (true, Some(rollout)) = (is_strict, &rollout) {
        waits.extend(hold_waves(draft, rollout, &mut going));
    }
    if let Some(fact) = waits.into_iter().next() {
        tell(draft, fact, since);
    }
    Order { going, is_strict }
}

/// What is waited for is the fact that blocks, unless something fails.
fn tell(draft: &mut Draft<'_>, fact: String, since: Timestamp) {
    let at = if draft.s.failures.is_empty() && draft.s.changes.refused.is_empty() { 0 } else { draft.facts.len() };
    draft.facts.insert(at, (fact, since));
}

/// Where a rollout puts things up for the first time. Drift is corrected and the way back is gone without waiting for
/// anything: what stood before can stand again in any order.
fn is_strict(rollout: &Rollout) -> bool {
    match rollout.position {
        Position::Preparing | Position::Trailing => true,
        Position::Wave { .. } => rollout.lane == Lane::FirstSync,
        Position::Held { .. } => rollout.lane == Lane::FirstSync || rollout.waves.is_empty(),
        Position::Reverting { .. } => false,
    }
}

/// The kinds that the Release brings along: the definition of each, and whether it is established.
fn defined<'a>(draft: &Draft<'a>) -> BTreeMap<GroupKind, (&'a ObjectKey, bool)> {
    let s = draft.s;
    let definition = |(key, staged): (&'a ObjectKey, &crate::stage::Staged)| {
        let kind = defined_kind(&staged.object)?;
        let live = s.live.objects.get(key).and_then(|live| health(live, draft.health_rules()));
        Some((kind, (key, live.is_some_and(|health| health.status == HealthStatus::Healthy))))
    };
    s.stage.objects.iter().filter_map(definition).collect()
}

/// Takes out what is of a later wave than the earliest one that is not done yet, and says what that one lacks.
fn hold_waves(draft: &Draft<'_>, rollout: &Rollout, going: &mut Vec<(Rank, &Change)>) -> Option<String> {
    let s = draft.s;
    let latest = going.last()?.0.wave;
    let target = s.target?;
    let earlier: Vec<(i32, &ObjectKey)> = s
        .stage
        .objects
        .iter()
        .filter(|(key, _)| target.objects.contains_key(*key))
        .map(|(key, staged)| (rank(&staged.object).wave, key))
        .filter(|(wave, _)| *wave < latest)
        .collect();
    if earlier.is_empty() {
        return None;
    }
    // What moves by the plan's waves still stands at Stable: that is no reason to wait.
    let mut exempt = BTreeSet::new();
    if rollout.lane != Lane::FirstSync
        && let Some(stable) = s.stable
    {
        exempt = moving(stable, target);
        if rollout.position != Position::Trailing {
            exempt.extend(trailing(stable, target));
        }
    }
    let pending: BTreeSet<&ObjectKey> = s.changes.apply.iter().map(|change| &change.staged.object.key).collect();
    let lacks = |key: &ObjectKey| {
        if pending.contains(key) {
            return Some("it is being applied".to_owned());
        }
        let health = s.live.objects.get(key).and_then(|live| health(live, draft.health_rules()))?;
        (health.status != HealthStatus::Healthy).then_some(health.message)
    };
    let unfinished = earlier.into_iter().filter(|(_, key)| !exempt.contains(*key));
    let unfinished = unfinished.filter_map(|(wave, key)| Some((wave, key, lacks(key)?)));
    let (wave, key, lacking) = unfinished.min_by_key(|(wave, key, _)| (*wave, *key))?;
    let before = going.len();
    going.retain(|(rank, _)| rank.wave <= wave);
    (going.len() < before).then(|| format!("sync wave {latest} waits for {key} of sync wave {wave}: {lacking}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::super::Decision;
    use super::super::scene::FirstSync;
    use crate::model::{Action, ClusterName, GroupKind, Object};
    use crate::observe::Live;

    fn object(api_version: &str, kind: &str, name: &str, wave: &str) -> Object {
        let body = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "annotations": {"argocd.argoproj.io/sync-wave": wave}},
            "spec": {"group": "example.com", "names": {"kind": "Gadget"}}});
        Object::from_value(&ClusterName::local(), body).expect("well formed")
    }

    /// What a first sync of `objects` decides while those of `live` exist, each with its status.
    fn first_sync(objects: &[Object], live: &[(&str, Value)], unserved: &[&str]) -> Decision {
        let sync = FirstSync::of(objects, Vec::new());
        let stored = sync.stage(&Live::default()).objects.into_iter().filter_map(|(key, staged)| {
            let (_, status) = live.iter().find(|(name, _)| *name == key.name)?;
            let mut body = (*staged.object.body).clone();
            body["metadata"]["resourceVersion"] = json!("5");
            body["metadata"]["managedFields"] = json!([{"manager": "tidegate", "operation": "Apply", "fieldsV1": {}}]);
            body["status"] = status.clone();
            Some((key, staged.object.with_body(body)))
        });
        let unserved: BTreeSet<GroupKind> = unserved.iter().map(|kind| GroupKind::new("example.com", kind)).collect();
        sync.decide(&Live { objects: stored.collect(), unserved, ..Live::default() }, 1)
    }

    /// Names in the order they go out, `|` before what needs the success of what stands before it, `/` before what does not.
    fn sent(decision: &Decision) -> String {
        let name = |action: &Action| match action {
            Action::Apply { object, .. } => object.key.name.clone(),
            Action::Barrier { needs_success: true } => "|".to_owned(),
            Action::Barrier { needs_success: false } => "/".to_owned(),
            other => format!("{other:?}"),
        };
        decision.actions.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    fn why(decision: &Decision) -> &str {
        decision.report.blocking.as_ref().map_or("", |blocking| blocking.fact.as_str())
    }

    #[test]
    fn kinds_follow_each_other_within_one_pass() {
        let objects = [
            object("apps/v1", "StatefulSet", "store", "0"),
            object("v1", "ConfigMap", "settings", "0"),
            object("v1", "Secret", "token", "0"),
            object("v1", "Namespace", "home", "0"),
        ];
        assert_eq!(sent(&first_sync(&objects, &[], &[])), "home | settings token / store");
    }

    #[test]
    fn a_later_wave_waits_until_the_objects_of_the_earlier_one_are_healthy() {
        let objects = [
            object("batch/v1", "Job", "early", "-1"),
            object("v1", "ConfigMap", "middle", "0"),
            object("v1", "Secret", "late", "3"),
        ];
        let decision = first_sync(&objects, &[], &[]);
        assert_eq!(sent(&decision), "early");
        let decision = first_sync(&objects, &[("early", json!({}))], &[]);
        assert_eq!(sent(&decision), "");
        assert_eq!(why(&decision), "sync wave 3 waits for Job.batch/early of sync wave -1: the Job runs");
        let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        assert_eq!(sent(&first_sync(&objects, &[("early", done.clone())], &[])), "middle");
        assert_eq!(sent(&first_sync(&objects, &[("early", done), ("middle", json!({}))], &[])), "late");
    }

    #[test]
    fn a_custom_resource_waits_for_its_definition() {
        let definition = object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "gadgets.example.com", "0");
        let objects = [definition, object("example.com/v1", "Gadget", "one", "0")];
        assert_eq!(sent(&first_sync(&objects, &[], &["Gadget"])), "gadgets.example.com");
        let decision = first_sync(&objects, &[("gadgets.example.com", json!({}))], &["Gadget"]);
        assert_eq!(sent(&decision), "");
        assert!(why(&decision).contains("Gadget.example.com/one waits for CustomResourceDefinition"), "{decision:?}");
        let established = json!({"conditions": [{"type": "Established", "status": "True"}]});
        assert_eq!(sent(&first_sync(&objects, &[("gadgets.example.com", established)], &["Gadget"])), "one");
    }

    #[test]
    fn a_kind_that_nobody_serves_is_waited_for_without_a_limit() {
        let decision = first_sync(&[object("example.com/v1", "Gadget", "one", "0")], &[], &["Gadget"]);
        assert_eq!((sent(&decision).as_str(), decision.is_waiting), ("", true));
        assert_eq!(
            why(&decision),
            "Gadget.example.com/one waits: the cluster does not know the kind Gadget.example.com at present"
        );
    }
}
