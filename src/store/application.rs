//! The `Application` custom resource: what Git declares (`spec`), what we intend and did (`record`), and what is
//! observed (`status`, made elsewhere).
//!
//! Enters: an object as the API server returned it. Leaves: [`Stored`], or the object to write. `record` stands beside
//! `spec` because the API server drops `status` on create: creating the resource stores intent in one write.

use serde_json::{Map, Value, json};

use super::{
    EPOCH_ANNOTATION, GROUP, KIND, MANAGED_BY, MANAGED_BY_LABEL, OWNER_LABEL, REQUEST_ANNOTATION, StoreError, VERSION,
    broken, record,
};
use crate::model::history::COMPLETED_MAX;
use crate::model::{
    AppName, ClusterName, Digest, Lane, Object, ObjectKey, Past, PastOutcome, Position, Record, Request, Rollout,
    Timestamp,
};

/// An Application resource, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The app's name, which is the resource's.
    pub name: AppName,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`: the precondition of the next write.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created_at: Option<Timestamp>,
    /// The file that declared the app; empty when a person created the resource.
    pub declared_in: String,
    /// What Git declared.
    pub spec: Value,
    /// Intent, inventory and past.
    pub record: Record,
    /// Whether the resource holds a record. Without one the app is not new: its past has to be found again.
    pub has_record: bool,
    /// What a person asks for, not yet consumed: consuming it removes the annotation in the same write.
    pub request: Option<Request>,
    /// The digest that `status` says completed; see [`settle`].
    pub stable_in_status: Option<Digest>,
    /// The whole resource, for the next write.
    pub object: Object,
}

/// What names the Application resource of `name`.
#[must_use]
pub fn key(namespace: &str, name: &AppName) -> ObjectKey {
    ObjectKey::local(GROUP, KIND, namespace, name.as_str())
}

/// Reads an Application resource.
///
/// # Errors
/// When the object is no Application, when an agent of a later version wrote its record, or when a field is broken.
pub fn read(object: &Object) -> Result<Stored, StoreError> {
    if !object.key.kind.is(GROUP, KIND) {
        return Err(broken("kind", "not an Application of tidegate.dev"));
    }
    let stored_record = object.body.get("record").filter(|value| !value.is_null());
    let mut spec = match object.body.get("spec") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(spec)) => spec.clone(),
        Some(_) => return Err(broken("spec", "not a mapping")),
    };
    let declared_in = match spec.remove("declaredIn") {
        None => String::new(),
        Some(Value::String(file)) => file,
        Some(_) => return Err(broken("spec.declaredIn", "not text")),
    };
    Ok(Stored {
        name: AppName::from(object.key.name.as_str()),
        uid: object.uid().to_owned(),
        resource_version: object.resource_version().to_owned(),
        generation: object.int("/metadata/generation").unwrap_or_default(),
        created_at: object.text("/metadata/creationTimestamp").and_then(|text| text.parse().ok()),
        declared_in,
        spec: Value::Object(spec),
        record: stored_record.map(record::from_value).transpose()?.unwrap_or_default(),
        has_record: stored_record.is_some(),
        request: object.annotation(REQUEST_ANNOTATION).map(Request::parse),
        // A broken digest here only means that the first sync is judged once more.
        stable_in_status: object.text("/status/stableDigest").and_then(Digest::parse),
        object: object.clone(),
    })
}

/// Whether the resource says already that this file declares this: what [`read`] would tell, without reading the record.
#[must_use]
pub fn mirrors(object: &Object, declared_in: &str, spec: &Value) -> bool {
    let nothing = Map::new();
    let stored = object.body.get("spec").and_then(Value::as_object).unwrap_or(&nothing);
    let file = stored.get("declaredIn").and_then(Value::as_str).unwrap_or_default();
    let declared = spec.as_object().unwrap_or(&nothing);
    file == declared_in && stored.iter().filter(|(field, _)| *field != "declaredIn").eq(declared)
}

/// The Application resource to write: to create it, or to replace `previous` under its resourceVersion.
///
/// The request that `record` answers is consumed with it, so that no crash can come between the two. A pass that
/// writes must therefore have seen the request that `previous` carries.
#[must_use]
pub fn write(
    namespace: &str,
    name: &AppName,
    owner: &str,
    declared_in: &str,
    spec: &Value,
    record: &Record,
    previous: Option<&Object>,
) -> Object {
    let mut body = match previous.map(|previous| &*previous.body) {
        Some(Value::Object(body)) => body.clone(),
        Some(_) | None => Map::new(),
    };
    let mut metadata = taken_mapping(&mut body, "metadata");
    metadata.insert("name".to_owned(), Value::from(name.as_str()));
    metadata.insert("namespace".to_owned(), Value::from(namespace));
    let mut labels = taken_mapping(&mut metadata, "labels");
    labels.insert(MANAGED_BY_LABEL.to_owned(), Value::from(MANAGED_BY));
    labels.insert(OWNER_LABEL.to_owned(), Value::from(owner));
    metadata.insert("labels".to_owned(), Value::Object(labels));
    let mut annotations = taken_mapping(&mut metadata, "annotations");
    let asked = annotations.get(REQUEST_ANNOTATION).and_then(Value::as_str);
    if asked.is_some() && asked == record.answered.as_ref().map(|(request, _)| request.text.as_str()) {
        annotations.remove(REQUEST_ANNOTATION);
    }
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
    }
    let mut declared = spec.as_object().cloned().unwrap_or_default();
    declared.insert("declaredIn".to_owned(), Value::from(declared_in));
    body.insert("apiVersion".to_owned(), Value::from(format!("{GROUP}/{VERSION}")));
    body.insert("kind".to_owned(), Value::from(KIND));
    body.insert("metadata".to_owned(), Value::Object(metadata));
    body.insert("spec".to_owned(), Value::Object(declared));
    body.insert("record".to_owned(), record::to_value(record));
    Object::from_value(&ClusterName::local(), Value::Object(body)).expect("apiVersion, kind and name were just set")
}

/// The Application resource with another `status`, for the status subresource, under `stored`'s resourceVersion.
#[must_use]
pub fn with_status(stored: &Object, status: Value) -> Object {
    let mut body = (*stored.body).clone();
    match body.as_object_mut() {
        Some(fields) => fields.insert("status".to_owned(), status),
        None => return stored.with_body(json!({ "status": status })),
    };
    stored.with_body(body)
}

/// The epoch of the leader that last took the app over; 0 when none ever did.
#[must_use]
pub fn epoch(object: &Object) -> u64 {
    object.annotation(EPOCH_ANNOTATION).and_then(|epoch| epoch.parse().ok()).unwrap_or_default()
}

/// The Application resource marked with the epoch of a new leader, under `stored`'s resourceVersion: whatever a leader
/// before writes on the ground of what it knows is refused from then on.
#[must_use]
pub fn with_epoch(stored: &Object, epoch: u64) -> Object {
    let mut body = (*stored.body).clone();
    let mut metadata = body.as_object_mut().map(|fields| taken_mapping(fields, "metadata")).unwrap_or_default();
    let mut annotations = taken_mapping(&mut metadata, "annotations");
    annotations.insert(EPOCH_ANNOTATION.to_owned(), Value::from(epoch.to_string()));
    metadata.insert("annotations".to_owned(), Value::Object(annotations));
    body["metadata"] = Value::Object(metadata);
    stored.with_body(body)
}

/// Makes the first sync's completion, which only `status` tells, part of the record.
///
/// An app's first sync costs two writes: the record before it, and the status after it. The status then names the
/// digest that completed, and whoever loads the record settles it with this; the next write of the record stores it.
#[must_use]
pub fn settle(mut record: Record, stable_in_status: Option<Digest>) -> Record {
    let Some(rollout) = record.rollout.take_if(|rollout| has_completed(rollout, stable_in_status)) else {
        return record;
    };
    // The moment of completion was never written; the last thing known of the rollout stands for it.
    let ended_at = rollout
        .waves
        .iter()
        .flat_map(|wave| [wave.passed_at, wave.ready_at])
        .flatten()
        .fold(rollout.started_at, std::cmp::Ord::max);
    record.stable = Some(rollout.target.clone());
    record.completed.retain(|digest| *digest != rollout.target.digest);
    record.completed.push(rollout.target.digest);
    let surplus = record.completed.len().saturating_sub(COMPLETED_MAX);
    record.completed.drain(..surplus);
    // Thousands of apps have one entry for long; a list that grew to one has room for four.
    record.past.reserve_exact(1);
    record.past.push(Past {
        id: rollout.id,
        release: rollout.target,
        lane: rollout.lane,
        started_at: rollout.started_at,
        ended_at,
        outcome: PastOutcome::Completed,
        reason: String::new(),
        waves: rollout.waves,
        hooks: rollout.hooks.runs,
    });
    record
}

/// Whether `rollout` is a first sync of the digest that completed. One that was turned back or held has not.
fn has_completed(rollout: &Rollout, stable_in_status: Option<Digest>) -> bool {
    let is_first = match rollout.lane {
        Lane::FirstSync => true,
        Lane::Waves | Lane::Express | Lane::Direct => false,
    };
    let is_forward = match rollout.position {
        Position::Preparing | Position::Wave { .. } | Position::Trailing => true,
        Position::Reverting { .. } | Position::Held { .. } => false,
    };
    is_first && is_forward && stable_in_status == Some(rollout.target.digest)
}

/// Takes the mapping at `field`, empty when there is none.
fn taken_mapping(fields: &mut Map<String, Value>, field: &str) -> Map<String, Value> {
    match fields.remove(field) {
        Some(Value::Object(map)) => map,
        Some(_) | None => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{self, at, digest, release};
    use super::*;

    fn stored(record: &Record) -> Object {
        let spec = json!({"version": "1.4.2", "source": {"path": "apps/shop"}});
        write("tidegate", &AppName::from("shop"), "team-a", "apps/shop.yaml", &spec, record, None)
    }

    /// As the API server would return it: through text, which is where floats and number types could change.
    fn sent(object: &Object) -> Object {
        let text = serde_json::to_string(&*object.body).unwrap();
        Object::from_value(&ClusterName::local(), serde_json::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn what_was_written_is_read_again_exactly() {
        for record in fixtures::records() {
            let read = read(&sent(&stored(&record))).unwrap();
            assert_eq!(read.record, record);
            assert!(read.has_record);
            assert_eq!(read.declared_in, "apps/shop.yaml");
            assert_eq!(read.spec, json!({"version": "1.4.2", "source": {"path": "apps/shop"}}));
        }
    }

    #[test]
    fn numbers_that_json_cannot_hold_are_read_as_no_value() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut record = fixtures::rich();
            record.past[0].waves[0].gates[0].measurements[0].value = Some(value);
            let read = read(&sent(&stored(&record))).unwrap().record;
            assert_eq!(read.past[0].waves[0].gates[0].measurements[0].value, None);
        }
    }

    /// Every place in `value`, as JSON pointers, with whether its keys are data (object keys) instead of field names.
    fn places(value: &Value, pointer: &str, found: &mut Vec<String>) {
        found.push(pointer.to_owned());
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                let key = key.replace('~', "~0").replace('/', "~1");
                places(value, &format!("{pointer}/{key}"), found);
            }),
            Value::Array(list) => {
                for (index, value) in list.iter().enumerate() {
                    places(value, &format!("{pointer}/{index}"), found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn a_lost_or_mistyped_field_is_refused_wherever_it_is() {
        let object = stored(&fixtures::rich());
        let mut found = Vec::new();
        places(&object.body["record"], "/record", &mut found);
        assert!(found.len() > 200, "the fixture is rich: {}", found.len());
        for pointer in &found {
            let mut body = (*object.body).clone();
            *body.pointer_mut(pointer).unwrap() = json!([[false]]);
            let error = read(&object.with_body(body)).expect_err(pointer);
            assert!(matches!(error, StoreError::Broken { .. }), "{pointer}: {error}");

            let (parent, field) = pointer.rsplit_once('/').unwrap();
            let mut body = (*object.body).clone();
            let Some(Value::Object(map)) = body.pointer_mut(parent) else { continue };
            // Entries of maps by object key cannot be missed by anybody who does not know what was there.
            // Nor can a field that records from before it came do not have either.
            if pointer == "/record" || field.contains("~1") || matches!(field, "hooks" | "generated") {
                continue;
            }
            map.remove(field);
            assert!(read(&object.with_body(body)).is_err(), "{pointer} was lost unnoticed");
        }
    }

    #[test]
    fn a_record_from_before_there_were_hooks_is_one_without_hooks() {
        let mut record = fixtures::rich();
        let rollout = record.rollout.as_mut().expect("the fixture is rich");
        rollout.hooks = crate::model::Hooks::default();
        record.past.iter_mut().for_each(|past| past.hooks.clear());
        let object = stored(&record);
        assert_eq!(object.body.pointer("/record/rollout/hooks"), None, "older programs can read it");
        assert_eq!(object.body.pointer("/record/past/0/hooks"), None, "older programs can read it");
        assert_eq!(read(&object).expect("it reads").record, record);
    }

    #[test]
    fn errors_name_the_field_and_not_its_content() {
        for (pointer, value, field) in [
            ("/record/rollout/position/at", json!("hidden"), "record.rollout.position.at"),
            ("/record/past/0/waves/0/gates/0/verdict", json!("hidden"), "record.past[0].waves[0].gates[0].verdict"),
            ("/record/stable/digest", json!("hidden"), "record.stable.digest"),
            ("/record/version", json!("hidden"), "record.version"),
            ("/record/surplus", json!("hidden"), "record.surplus"),
            ("/record/inventory/hidden", json!("v1"), "record.inventory.hidden"),
            ("/spec/declaredIn", json!(7), "spec.declaredIn"),
        ] {
            let object = stored(&fixtures::rich());
            let mut body = (*object.body).clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap()[name.to_owned()] = value;
            let error = read(&object.with_body(body)).expect_err(pointer);
            let StoreError::Broken { field: found, reason } = error else { panic!("{pointer}") };
            assert_eq!(found, field);
            assert!(!reason.contains("hidden"), "{reason}");
        }
    }

    #[test]
    fn a_newer_record_is_refused_as_newer_whatever_it_holds() {
        let object = stored(&Record::default());
        let mut body = (*object.body).clone();
        body["record"] = json!({"version": 2, "everything": "else"});
        assert_eq!(read(&object.with_body(body)), Err(StoreError::NewerVersion { found: 2, known: 1 }));
    }

    #[test]
    fn a_resource_made_by_hand_has_no_record() {
        let body = json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Application", "metadata": {"name": "shop"}});
        let read = read(&Object::from_value(&ClusterName::local(), body).unwrap()).unwrap();
        assert!(!read.has_record);
        assert_eq!((read.record, read.declared_in.as_str()), (Record::default(), ""));
    }

    #[test]
    fn an_update_keeps_what_is_not_ours() {
        let mut body = (*stored(&Record::default()).body).clone();
        body["metadata"]["resourceVersion"] = json!("41");
        body["metadata"]["uid"] = json!("u-1");
        body["metadata"]["labels"]["team"] = json!("blue");
        body["metadata"]["annotations"] = json!({"note": "kept", REQUEST_ANNOTATION: "abort:2"});
        body["status"] = json!({"phase": "Idle"});
        let previous = Object::from_value(&ClusterName::local(), body).unwrap();
        for (answered, is_consumed) in [(None, false), (Some("abort:1"), false), (Some("abort:2"), true)] {
            let record = Record {
                answered: answered.map(|text| (Request::parse(text), "done".to_owned())),
                ..Record::default()
            };
            let name = AppName::from("shop");
            let next = write("tidegate", &name, "team-a", "b.yaml", &json!({}), &record, Some(&previous));
            assert_eq!((next.resource_version(), next.uid()), ("41", "u-1"));
            assert_eq!((next.label("team"), next.label(OWNER_LABEL)), (Some("blue"), Some("team-a")));
            assert_eq!(next.annotation("note"), Some("kept"));
            assert_eq!(next.text("/status/phase"), Some("Idle"));
            assert_eq!(read(&next).unwrap().request.is_none(), is_consumed);
        }
    }

    #[test]
    fn only_a_first_sync_that_status_saw_complete_is_settled() {
        let first = |position: Position| Record {
            rollout: Some(Rollout { lane: Lane::FirstSync, position, ..fixtures::rollout() }),
            ..Record::default()
        };
        let target = release(7).digest;
        let held = Position::Held { reason: crate::model::RevertReason::RevertedInGit, since: at(3) };
        for (record, status, is_settled) in [
            (first(Position::Wave { index: 0 }), Some(target), true),
            (first(Position::Wave { index: 0 }), Some(digest(1)), false),
            (first(Position::Wave { index: 0 }), None, false),
            (first(held), Some(target), false),
            (Record { rollout: Some(fixtures::rollout()), ..Record::default() }, Some(target), false),
            (Record::default(), Some(target), false),
        ] {
            let settled = settle(record.clone(), status);
            if !is_settled {
                assert_eq!(settled, record);
                continue;
            }
            assert_eq!(settled.stable, Some(release(7)));
            assert_eq!((settled.rollout, settled.completed), (None, vec![target]));
            assert_eq!(settled.past.len(), 1);
            assert_eq!(settled.past[0].outcome, PastOutcome::Completed);
            assert!(settled.past[0].ended_at > settled.past[0].started_at);
        }
    }
}
