//! Staged objects against live ones: what to apply, what drifted, what somebody added, what to remove.
//!
//! Pure. Field ownership (`managedFields`) decides what is ours; the server's own answer to our apply decides what a
//! later read is compared with, so that defaults and mutating webhooks are no drift. `shown` is how objects are shown to people.

pub mod shown;

use std::collections::BTreeSet;

use crate::model::marks::{ANNOTATION_CONTENT, ANNOTATION_OWNER};
use crate::model::{Inventory, Object, ObjectKey};
use crate::observe::{Live, ownership};
use crate::stage::{Removal, Stage, Staged, differing, is_deployment, projection, waits_for_batches};

/// What separates live from the stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Objects to apply.
    pub apply: Vec<Change>,
    /// Additions by others in pod templates, and field ownership that is nobody's.
    pub remove_fields: Vec<FieldRemoval>,
    /// Workloads whose live replicas are to be handed over before we stop stating them.
    pub yields: Vec<(Object, u32)>,
    /// Live objects of ours to delete.
    pub delete: Vec<Object>,
    /// Inventoried objects that are to go and are gone.
    pub vanished: BTreeSet<ObjectKey>,
    /// Objects that we must not touch, with why.
    pub refused: Vec<(ObjectKey, String)>,
    /// Objects of the inventory that left Git and would go if pruning were on.
    pub left_over: Vec<ObjectKey>,
}

/// One object to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What is sent.
    pub staged: Staged,
    /// Why.
    pub cause: Cause,
    /// Who else changed it, when that can be told.
    pub by: Option<String>,
    /// JSON pointers to the fields that drifted, into what is declared.
    pub drifted: Vec<String>,
}

/// Why an object is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// It does not exist.
    Missing,
    /// It exists and is not ours yet.
    Adopted,
    /// The stage moved on.
    Outdated,
    /// Somebody changed it.
    Drifted,
}

/// Fields that somebody added inside a pod template, or an entry of field ownership that is nobody's.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldRemoval {
    /// The live object.
    pub live: Object,
    /// JSON pointers, last first.
    pub pointers: Vec<String>,
}

impl FieldRemoval {
    /// Whether it is about who owns fields, and not about fields.
    #[must_use]
    pub fn is_of_ownership(&self) -> bool {
        self.pointers.iter().any(|pointer| pointer.starts_with("/metadata/managedFields/"))
    }
}

impl Changes {
    /// Whether live is as staged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.apply.is_empty() && self.remove_fields.is_empty() && self.yields.is_empty() && self.delete.is_empty()
    }

    /// Whether some object is away from the stage because somebody else changed it.
    #[must_use]
    pub fn has_drift(&self) -> bool {
        !self.remove_fields.is_empty() || self.apply.iter().any(|change| change.cause == Cause::Drifted)
    }
}

/// Compares.
#[must_use]
pub fn diff(stage: &Stage, inventory: &Inventory, live: &Live, owner: &str) -> Changes {
    let mut changes = Changes::default();
    for (key, staged) in &stage.objects {
        match live.objects.get(key) {
            None => push(&mut changes, staged, Cause::Missing, None),
            Some(object) => compare(&mut changes, staged, object, live, owner),
        }
    }
    let goes = |key: &ObjectKey| match &stage.removal {
        Removal::Nothing => false,
        Removal::Prune => true,
        Removal::Added(added) => added.contains(key),
    };
    // That a kind is not served says nothing of its objects: they stay in the inventory until it is again.
    let is_known = |key: &ObjectKey| !live.unserved.contains(&key.kind);
    for key in inventory.keys().filter(|key| !stage.objects.contains_key(*key) && goes(key) && is_known(key)) {
        match live.objects.get(key) {
            Some(object) if object.annotation(ANNOTATION_OWNER) == Some(owner) => changes.delete.push(object.clone()),
            // Somebody took our mark away, or it was made anew by somebody else: not ours to delete.
            Some(_) | None => drop(changes.vanished.insert(key.clone())),
        }
    }
    changes
}

fn push(changes: &mut Changes, staged: &Staged, cause: Cause, by: Option<String>) {
    changes.apply.push(Change { staged: staged.clone(), cause, by, drifted: Vec::new() });
}

fn compare(changes: &mut Changes, staged: &Staged, object: &Object, live: &Live, owner: &str) {
    let key = &staged.object.key;
    match object.annotation(ANNOTATION_OWNER) {
        Some(other) if other != owner => {
            let reason = format!(
                "it belongs to another Tidegate agent, `{other}`; give one of the two another owner id or remove it there"
            );
            changes.refused.push((key.clone(), reason));
            return;
        }
        None if ownership::ours(object).is_none() => return push(changes, staged, Cause::Adopted, None),
        // Somebody reset who owns what. Until we own it again we could take nothing of it away.
        Some(_) if ownership::ours(object).is_none() => return push(changes, staged, Cause::Drifted, None),
        Some(_) | None => {}
    }
    if let Some(entry) = ownership::nobodys(object) {
        changes.remove_fields.push(FieldRemoval { live: object.clone(), pointers: vec![entry] });
        return;
    }
    if gives_up_replicas(staged, object) {
        let replicas = object.int("/spec/replicas").and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
        changes.yields.push((object.clone(), replicas));
        return;
    }
    if (is_deployment(key) || waits_for_batches(key)) && ownership::ours(object).is_some() {
        let pointers = ownership::foreign_in_template(object, &staged.whole, &staged.tolerated);
        if !pointers.is_empty() {
            changes.remove_fields.push(FieldRemoval { live: object.clone(), pointers });
        }
    }
    let content = staged.content.to_string();
    if object.annotation(ANNOTATION_CONTENT) != Some(&content[..32]) {
        let was_applied = live.applied.get(key).is_some_and(|applied| applied.content == staged.content);
        let cause = if was_applied { Cause::Drifted } else { Cause::Outdated };
        return push(changes, staged, cause, None);
    }
    let compared = staged.compared();
    let seen = || projection(&compared, &object.body);
    let is_as_sent = match live.applied.get(key).filter(|applied| applied.content == staged.content) {
        Some(applied) if applied.resource_version == object.resource_version() => true,
        Some(applied) => seen() == applied.projection,
        None => seen() == projection(&compared, &compared),
    };
    let is_hidden = key.kind.is("", "Secret");
    if !is_as_sent && !is_hidden {
        let drifted = differing(&compared, &object.body);
        let by = ownership::changed_by(object, &compared, &drifted);
        changes.apply.push(Change { staged: staged.clone(), cause: Cause::Drifted, by, drifted });
    }
}

/// Whether we own `spec.replicas` and are about to stop stating it: omitted without a hand-over it would fall to 1.
fn gives_up_replicas(staged: &Staged, object: &Object) -> bool {
    let scales = is_deployment(&staged.object.key) || staged.object.key.kind.is("apps", "StatefulSet");
    scales && staged.object.at("/spec/replicas").is_none() && {
        ownership::owns(object, &["spec", "replicas"]) && ownership::owner_of(object, &["spec", "replicas"]).is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{AppName, Digest, Release, ReleaseRef, Revision};
    use crate::stage::{Inputs, stage};
    use serde_json::{Value, json};

    fn object(name: &str, data: &str) -> Object {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}, "data": {"x": data}});
        Object::from_value(&crate::model::ClusterName::local(), body).expect("well formed")
    }

    fn staged(objects: &[Object]) -> Stage {
        let reference = ReleaseRef {
            digest: Digest([0; 32]),
            attempt: 0,
            version: String::new(),
            revision: Revision { branch: String::new(), commit: String::new(), signer: None },
        };
        let objects = objects.iter().map(|object| (object.key.clone(), object.clone())).collect();
        let release = Release { app: AppName::from("app"), reference, objects };
        let live = Live::default();
        stage(&Inputs {
            owner: "us",
            secret_key: &[0; 32],
            application: None,
            stable: Some(&release),
            target: None,
            rollout: None,
            live: &live,
            before: None,
        })
    }

    fn stored(staged: &Staged, change: impl Fn(&mut Value)) -> Object {
        let mut body = (*staged.object.body).clone();
        body["metadata"]["resourceVersion"] = json!("5");
        body["metadata"]["managedFields"] = json!([
            {"manager": "tidegate", "operation": "Apply", "fieldsV1": {"f:data": {"f:x": {}}}},
        ]);
        change(&mut body);
        staged.object.with_body(body)
    }

    fn check(change: impl Fn(&mut Value), expected: &[Cause]) {
        let stage = staged(&[object("x", "1")]);
        let live_object = stage.objects.values().map(|staged| stored(staged, &change)).next().expect("one object");
        let live = Live { objects: BTreeMap::from([(live_object.key.clone(), live_object)]), ..Live::default() };
        let changes = diff(&stage, &Inventory::new(), &live, "us");
        let causes: Vec<Cause> = changes.apply.iter().map(|change| change.cause).collect();
        assert_eq!(causes, expected);
    }

    #[test]
    fn what_is_as_staged_costs_nothing_and_drift_is_found() {
        check(|_| {}, &[]);
        check(|body| body["data"]["x"] = json!("2"), &[Cause::Drifted]);
        check(|body| body["metadata"]["labels"]["foreign"] = json!("yes"), &[]);
        check(|body| body["metadata"]["annotations"][ANNOTATION_CONTENT] = json!("old"), &[Cause::Outdated]);
    }

    #[test]
    fn field_ownership_that_was_reset_is_taken_again_and_from_nobody() {
        check(|body| body["metadata"]["managedFields"] = Value::Null, &[Cause::Drifted]);
        let nobodys = json!({"manager": "before-first-apply", "operation": "Update",
            "fieldsV1": {"f:data": {"f:x": {}}}});
        let stage = staged(&[object("x", "1")]);
        let shared = |body: &mut Value| {
            body["metadata"]["managedFields"].as_array_mut().expect("it is a list").insert(0, nobodys.clone());
        };
        let live = stage.objects.values().map(|staged| stored(staged, shared)).next().expect("one object");
        let live = Live { objects: BTreeMap::from([(live.key.clone(), live)]), ..Live::default() };
        let changes = diff(&stage, &Inventory::new(), &live, "us");
        assert_eq!(changes.apply, []);
        let pointers: Vec<_> = changes.remove_fields.iter().flat_map(|removal| &removal.pointers).collect();
        assert_eq!(pointers, ["/metadata/managedFields/0"]);
    }

    #[test]
    fn drift_names_who_owns_what_drifted() {
        let owner = |manager: &str, field: &str| json!({"manager": manager, "operation": "Update", "fieldsV1": {"f:data": {field: {}}}});
        let by = |owners: &[Value]| {
            let stage = staged(&[object("x", "1")]);
            let change = |body: &mut Value| {
                body["data"] = json!({"x": "2", "more": "3"});
                body["metadata"]["managedFields"].as_array_mut().expect("it is a list").extend(owners.iter().cloned());
            };
            let live = stage.objects.values().map(|staged| stored(staged, change)).next().expect("one object");
            let live = Live { objects: BTreeMap::from([(live.key.clone(), live)]), ..Live::default() };
            diff(&stage, &Inventory::new(), &live, "us").apply.into_iter().find_map(|change| change.by)
        };
        assert_eq!(by(&[owner("adder", "f:more"), owner("racer", "f:x")]).as_deref(), Some("racer"));
        assert_eq!(by(&[owner("adder", "f:more")]), None);
    }

    #[test]
    fn an_object_of_another_agent_is_refused() {
        let stage = staged(&[object("x", "1")]);
        let theirs = stage
            .objects
            .values()
            .map(|staged| stored(staged, |body| body["metadata"]["annotations"][ANNOTATION_OWNER] = json!("them")))
            .next();
        let theirs = theirs.expect("one object");
        let live = Live { objects: BTreeMap::from([(theirs.key.clone(), theirs)]), ..Live::default() };
        let changes = diff(&stage, &Inventory::new(), &live, "us");
        assert!(changes.apply.is_empty());
        assert_eq!(changes.refused.len(), 1);
    }

    #[test]
    fn prune_keeps_objects_outside_inventory() {
        let stage = staged(&[object("x", "1")]);
        let of = |name: &str| {
            staged(&[object(name, "1")])
                .objects
                .into_values()
                .map(|staged| stored(&staged, |_| {}))
                .next()
                .expect("one")
        };
        let (ours, foreign) = (of("left"), of("foreign"));
        let live = Live {
            objects: BTreeMap::from([(ours.key.clone(), ours.clone()), (foreign.key.clone(), foreign)]),
            ..Live::default()
        };
        let inventory = Inventory::from([(ours.key.clone(), "v1".to_owned())]);
        let deleted: Vec<_> =
            diff(&stage, &inventory, &live, "us").delete.into_iter().map(|object| object.key).collect();
        assert_eq!(deleted, [ours.key]);
    }
}
