//! What is declared against what stands in the cluster. Enters: an app, and a way to the API server. Leaves: what syncing it
//! to its end would change, as the server says when asked by dry run, with the agent's own stage and diff.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::Outcome;
use super::difference::{Difference, Operation};
use crate::cli::working_tree::Contents;
use crate::diff::{Cause, Changes, diff};
use crate::edge::cluster::Cluster;
use crate::model::marks::{ANNOTATION_OWNER, FIELD_MANAGER};
use crate::model::switches::{self, Prune};
use crate::model::{Application, Digest, Inventory, Object, ObjectKey, Release, ReleaseRef, Revision};
use crate::observe::{Live, ownership};
use crate::render::render_with_files;
use crate::stage::{Inputs, Stage, Staged, is_hook, shown, stage};
use crate::store::OWNER_LABEL;
use crate::store::application::{Stored, settle};
use crate::world::{ApiError, ApplyOptions, Kinds};

/// The cluster that is compared with.
pub(super) struct Against<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) kinds: &'a Kinds,
    /// Namespace of the agent, which is its owner id unless it has another.
    pub(super) namespace: &'a str,
}

/// One app, as both sides have it.
struct Compared<'a> {
    application: &'a Application,
    declared: BTreeMap<ObjectKey, Object>,
    files: BTreeMap<ObjectKey, String>,
    stage: Stage,
    live: Live,
    changes: Changes,
}

/// Compares one app.
pub(super) async fn compare(
    against: &Against<'_>,
    application: &Application,
    contents: &Contents,
    stored: Option<&Stored>,
    outcome: &mut Outcome,
) -> Result<(), ApiError> {
    let name = &application.name;
    let (declared, files) = match render_with_files(application, contents, against.kinds) {
        Ok(rendered) => rendered,
        Err(error) => {
            outcome.errors.push(format!("{name}: {error}"));
            return Ok(());
        }
    };
    let nothing = Inventory::new();
    let inventory = stored.map_or(&nothing, |stored| &stored.record.inventory);
    let owner = stored.and_then(|stored| stored.object.label(OWNER_LABEL)).unwrap_or(against.namespace);
    let live = Live { objects: standing(against.cluster, &declared, inventory).await?, ..Live::default() };
    let release = release(application, declared.clone());
    let stage = stage(&Inputs {
        owner,
        // Nothing that is keyed with it is shown or kept.
        secret_key: &[0; 32],
        application: Some(application),
        stable: Some(&release),
        target: None,
        rollout: None,
        live: &live,
        before: None,
    });
    let changes = diff(&stage, inventory, &live, owner);
    outcome.apps += 1;
    outcome.objects += stage.objects.len() + changes.delete.len();
    remark(application, stored, outcome);
    let compared = Compared { application, declared, files, stage, live, changes };
    let asked = compared.stage.objects.values().map(|staged| compared.object(against.cluster, staged));
    for found in join_all(asked).await {
        outcome.differences.extend(found?);
    }
    for object in &compared.changes.delete {
        outcome.differences.extend(going(application, object));
    }
    Ok(())
}

/// Objects of an app that left Git altogether.
pub(super) async fn orphans(
    cluster: &Cluster,
    stored: &Stored,
    label: &str,
    outcome: &mut Outcome,
) -> Result<(), ApiError> {
    let name = &stored.name;
    if stored.spec.get("deletion").and_then(serde_json::Value::as_str) != Some("cascade") {
        outcome
            .notes
            .push(format!("{name}: not declared in the {label} any more; its objects stay (deletion: orphan)"));
        outcome.has_left = true;
        return Ok(());
    }
    let owner = stored.object.label(OWNER_LABEL).unwrap_or_default();
    let standing = standing(cluster, &BTreeMap::new(), &stored.record.inventory).await?;
    outcome.notes.push(format!("{name}: not declared in the {label} any more; its objects go (deletion: cascade)"));
    outcome.has_left = true;
    outcome.apps += 1;
    for object in standing.values().filter(|object| object.annotation(ANNOTATION_OWNER) == Some(owner)) {
        outcome.objects += 1;
        let gone = Difference::of(name, "", Some(object), None).map(Difference::pruned);
        outcome.differences.extend(gone.map(|gone| match switches::outlives_its_app(object) {
            true => gone.noted("it says that it outlives its Application: it stays"),
            false => gone,
        }));
    }
    Ok(())
}

fn remark(application: &Application, stored: Option<&Stored>, outcome: &mut Outcome) {
    let name = &application.name;
    match stored {
        None => outcome
            .notes
            .push(format!("{name}: no Application resource yet, so nothing is known of what it left behind")),
        // A first sync's end is told by the status alone.
        Some(stored) if settle(stored.record.clone(), stored.stable_in_status).rollout.is_some() => {
            outcome.notes.push(format!("{name}: a rollout is under way; what it holds until its end differs too"));
        }
        Some(_) => {}
    }
}

/// What stands in the cluster of what is declared or inventoried.
async fn standing(
    cluster: &Cluster,
    declared: &BTreeMap<ObjectKey, Object>,
    inventory: &Inventory,
) -> Result<BTreeMap<ObjectKey, Object>, ApiError> {
    // Hooks run; they do not stand.
    let declared = declared.values().filter(|object| !is_hook(object));
    let declared = declared.map(|object| (&object.key, object.version.as_str()));
    let inventoried = inventory.iter().map(|(key, version)| (key, version.as_str()));
    // What is declared is read in the version that is declared.
    let keys: BTreeMap<&ObjectKey, &str> = inventoried.chain(declared).collect();
    let reads = keys.into_iter().map(async |(key, version)| match cluster.get(key, version).await {
        Ok(found) => Ok(found),
        // Its definition comes with the same change, or went before it.
        Err(ApiError::UnknownKind(_)) => Ok(None),
        Err(error) => Err(error),
    });
    let found: Result<Vec<Option<Object>>, ApiError> = join_all(reads).await.into_iter().collect();
    Ok(found?.into_iter().flatten().map(|object| (object.key.clone(), object)).collect())
}

fn release(application: &Application, objects: BTreeMap<ObjectKey, Object>) -> Release {
    let reference = ReleaseRef {
        // It only becomes a mark, which is not shown.
        digest: Digest([0; 32]),
        attempt: application.attempt,
        version: application.version.clone(),
        revision: Revision { branch: String::new(), commit: String::new(), signer: None },
    };
    Release { app: application.name.clone(), reference, objects }
}

impl Compared<'_> {
    /// Asks the server what applying one object would make of it.
    async fn object(&self, cluster: &Cluster, staged: &Staged) -> Result<Option<Difference>, ApiError> {
        let key = &staged.whole.key;
        let (app, file) = (&self.application.name, self.files.get(key).map_or("", String::as_str));
        let live = self.live.objects.get(key);
        // As it is declared: what the server adds to a new object says nothing about the change.
        let declared = self.declared.get(key).unwrap_or(&staged.whole);
        if let Some((_, why)) = self.changes.refused.iter().find(|(refused, _)| refused == key) {
            return Ok(Some(self.unanswered(staged, why)));
        }
        let options =
            ApplyOptions { is_forced: self.is_forced(staged, live), is_dry_run: true, manager: FIELD_MANAGER };
        let error = match (cluster.apply(&staged.object, options, None).await, live) {
            (Ok(_), None) => return Ok(Difference::of(app, file, None, Some(declared))),
            (Ok(answer), Some(live)) => {
                let after = self.settled(&answer, live);
                return Ok(Difference::of(app, file, Some(live), Some(&after)));
            }
            (Err(error), _) => error,
        };
        match error {
            ApiError::Unreachable(_) | ApiError::Busy { .. } | ApiError::TimedOut | ApiError::Deposed => Err(error),
            ApiError::NotFound if live.is_none() => Ok(Some(self.homeless(staged))),
            ApiError::UnknownKind(_) => {
                let note = "the cluster does not know its kind yet: the server has not checked it";
                Ok(Difference::of(app, file, None, Some(declared)).map(|added| added.noted(note)))
            }
            ApiError::Immutable(_) if self.is_replaced(staged) => {
                let found = self.unanswered(staged, &error.to_string());
                Ok(Some(found.noted("it says that it may be replaced: it is deleted and made anew")))
            }
            ApiError::NotFound
            | ApiError::AlreadyExists
            | ApiError::Conflict
            | ApiError::Owned(_)
            | ApiError::Gone
            | ApiError::Invalid(_)
            | ApiError::Immutable(_)
            | ApiError::Forbidden(_)
            | ApiError::Server(_) => Ok(Some(self.unanswered(staged, &error.to_string()))),
        }
    }

    /// Whether fields of others are taken over, as the agent has it.
    fn is_forced(&self, staged: &Staged, live: Option<&Object>) -> bool {
        let sync = &self.application.sync;
        let managers = live.map(ownership::other_managers).unwrap_or_default();
        let is_theirs_to_give = managers.iter().all(|manager| sync.adopt.contains(manager));
        let is_adopted = self
            .changes
            .apply
            .iter()
            .any(|change| change.cause == Cause::Adopted && change.staged.whole.key == staged.whole.key);
        is_theirs_to_give || (sync.forces_conflicts && !is_adopted)
    }

    fn is_replaced(&self, staged: &Staged) -> bool {
        self.application.sync.replaces_immutable || switches::may_be_replaced(&staged.whole)
    }

    /// What the object comes to with the agent's other writes to it: additions to pod templates go, and replicas that Git
    /// no longer states stay.
    fn settled(&self, answer: &Object, live: &Object) -> Object {
        let mut body = (*answer.body).clone();
        let removal = self.changes.remove_fields.iter().find(|removal| removal.live.key == answer.key);
        for pointer in removal.into_iter().flat_map(|removal| &removal.pointers) {
            if body.pointer(pointer).is_some() && body.pointer(pointer) == live.body.pointer(pointer) {
                remove(&mut body, pointer);
            }
        }
        if self.changes.yields.iter().any(|(object, _)| object.key == answer.key)
            && let Some(replicas) = live.at("/spec/replicas")
        {
            body["spec"]["replicas"] = replicas.clone();
        }
        answer.with_body(body)
    }

    /// An object whose namespace is not there.
    fn homeless(&self, staged: &Staged) -> Difference {
        let namespace = &staged.whole.key.namespace;
        let is_coming = self.declared.contains_key(&ObjectKey::local("", "Namespace", "", namespace));
        let why = format!("namespace `{namespace}` does not exist");
        if is_coming {
            let key = &staged.whole.key;
            let file = self.files.get(key).map_or("", String::as_str);
            let added = Difference::of(&self.application.name, file, None, self.declared.get(key));
            let note = "its namespace comes with the same change: the server has not checked it";
            if let Some(added) = added {
                return added.noted(note);
            }
        }
        self.unanswered(staged, &why)
    }

    /// An object that the server refuses: what can be told without it is what of the declared fields is not as declared.
    fn unanswered(&self, staged: &Staged, why: &str) -> Difference {
        let key = &staged.whole.key;
        let (app, file) = (&self.application.name, self.files.get(key).map_or("", String::as_str));
        let why = format!("refused: {why}");
        let compared = staged.whole.with_body(staged.compared().into_owned());
        let before = self.live.objects.get(key).map(|live| {
            let mut body = shown(&compared.body, &live.body);
            without_nulls(&mut body);
            compared.with_body(body)
        });
        let after = if before.is_none() { self.declared.get(key).unwrap_or(&compared) } else { &compared };
        match Difference::of(app, file, before.as_ref(), Some(after)) {
            Some(difference) => difference.noted(why),
            None => Difference::unchecked(app, file, &compared, why),
        }
    }
}

/// An object that left Git.
fn going(application: &Application, object: &Object) -> Option<Difference> {
    let sync = &application.sync;
    let kind = &object.key.kind;
    let is_protected =
        [kind.kind.clone(), format!("{}.{}", kind.kind, kind.group)].iter().any(|kind| sync.protected.contains(kind));
    let note = match switches::prune(object) {
        Prune::Never => "it says that it is never pruned: it stays",
        Prune::AsDeclared | Prune::Confirmed if is_protected => "its kind is protected: it stays",
        Prune::AsDeclared | Prune::Confirmed if !sync.prunes => "prune is off: it stays",
        Prune::Confirmed => "it goes once a person confirms",
        Prune::AsDeclared if sync.confirms_prunes => "it goes once a person confirms",
        Prune::AsDeclared => "",
    };
    let gone = Difference::of(&application.name, "", Some(object), None)?.pruned();
    Some(if note.is_empty() { gone } else { gone.noted(note) })
}

/// Removes what is at a JSON pointer.
fn remove(body: &mut serde_json::Value, pointer: &str) {
    let removal = serde_json::json!([{"op": "remove", "path": pointer}]);
    if let Ok(patch) = serde_json::from_value::<json_patch::Patch>(removal) {
        // It was just seen to be there.
        let _is_there = json_patch::patch(body, &patch);
    }
}

fn without_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_nulls),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// Whether the server could not be asked about one of these.
pub(super) fn has_unchecked(differences: &[Difference]) -> bool {
    let kinds: BTreeSet<Operation> = differences.iter().map(|difference| difference.operation).collect();
    kinds.contains(&Operation::Unchecked)
}
