//! Who owns which fields of an object. Enters: an object before and after a write, and by whom. Leaves: the owners after
//! it, or who stands in the way of an apply. What they own is kept parsed; `metadata.managedFields` only shows it.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

use super::fields::FieldSet;
use super::schema::Type;
use super::walk::{self, Changes};

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

/// Which part of an object a write goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subresource {
    /// The object itself.
    None,
    /// Its status.
    Status,
}

/// Who owns fields: a manager, and how it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Field manager.
    pub manager: Arc<str>,
    /// How it writes.
    pub operation: Operation,
    /// What it writes.
    pub subresource: Subresource,
}

/// One entry of `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owner {
    /// Who.
    pub identity: Identity,
    /// Since when it owns just these, as the server writes it.
    pub time: Option<Arc<str>>,
    /// What it owns.
    pub fields: Arc<FieldSet>,
}

/// A write, as far as ownership is concerned.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    /// By whom.
    pub identity: &'a Identity,
    /// When, as the server writes it.
    pub time: &'a str,
    /// The shape of the object.
    pub shape: &'static Type,
    /// Fields that this write cannot change and that do not count.
    pub ignored: &'a FieldSet,
}

/// Nobody owns what identifies an object and what the server assigns.
static STRIPPED: LazyLock<FieldSet> = LazyLock::new(|| {
    FieldSet::of(&[
        "apiVersion",
        "kind",
        "metadata",
        "metadata.name",
        "metadata.namespace",
        "metadata.creationTimestamp",
        "metadata.selfLink",
        "metadata.uid",
        "metadata.clusterName",
        "metadata.generation",
        "metadata.managedFields",
        "metadata.resourceVersion",
    ])
});

/// Who owns what was there before anybody applied, when that was not kept track of.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The owners after a write that is no apply.
#[must_use]
pub(super) fn after_update(claim: Claim<'_>, owners: &[Owner], before: &Value, after: &Value) -> Vec<Owner> {
    let changes = walk::compare(claim.shape, before, after).without(claim.ignored);
    let mut owners = settle(owners, None, &changes);
    let changed = changes.modified.union(&changes.added).difference(&STRIPPED);
    if !changed.is_empty() {
        let time = Some(Arc::from(claim.time));
        match owners.iter_mut().find(|owner| owner.identity == *claim.identity) {
            Some(owner) => {
                owner.fields = Arc::new(owner.fields.union(&changed));
                owner.time = time;
            }
            None => owners.push(Owner { identity: claim.identity.clone(), time, fields: Arc::new(changed) }),
        }
    }
    owners
}

/// What an apply makes of an object.
pub(super) struct Applied {
    /// The object with the configuration merged into it, before defaults.
    pub body: Value,
    /// Its owners.
    pub owners: Vec<Owner>,
}

/// Merges a configuration into an object.
///
/// # Errors
/// Who owns what, when others own fields that would change and they are not to be taken.
pub(super) fn after_apply(
    claim: Claim<'_>,
    owners: &[Owner],
    live: &Value,
    config: &Value,
    is_forced: bool,
) -> Result<Applied, String> {
    let first_applied;
    let owners = if owners.is_empty() && live["metadata"].get("uid").is_some() {
        let empty = claim.shape.empty();
        let identity =
            Identity { manager: Arc::from(BEFORE_FIRST_APPLY), operation: Operation::Update, ..claim.identity.clone() };
        first_applied = after_update(Claim { identity: &identity, ..claim }, &[], &empty, live);
        &first_applied
    } else {
        owners
    };
    let merged = walk::merge(claim.shape, live, config);
    let is_ours = |owner: &&Owner| owner.identity == *claim.identity;
    let last = owners.iter().find(is_ours);
    let stated = walk::stated(claim.shape, config).without(claim.ignored);
    // What is stated again is owned again, and nothing of it goes.
    let leaves = last.filter(|last| !last.fields.difference(&stated).is_empty());
    let mut next: Vec<Owner> = owners.iter().filter(|owner| !is_ours(owner)).cloned().collect();
    next.push(Owner {
        identity: claim.identity.clone(),
        time: last.and_then(|last| last.time.clone()),
        fields: Arc::new(stated),
    });
    let pruned = match leaves {
        Some(last) => prune(claim.shape, &merged, &last.fields, &next),
        None => merged,
    };
    let changes = walk::compare(claim.shape, live, &pruned).without(claim.ignored);
    if !is_forced && let Some(told) = conflicts(claim.identity, &next, &changes) {
        return Err(told);
    }
    let mut owners = settle(&next, Some(claim.identity), &changes);
    let is_changed = *live != pruned;
    for owner in owners.iter_mut().filter(|owner| owner.identity == *claim.identity) {
        owner.fields = Arc::new(owner.fields.difference(&STRIPPED));
        if is_changed {
            owner.time = Some(Arc::from(claim.time));
        }
    }
    owners.retain(|owner| !owner.fields.is_empty());
    Ok(Applied { body: pruned, owners })
}

/// Takes from everybody but the writer what was changed, and from all what is gone.
fn settle(owners: &[Owner], writer: Option<&Identity>, changes: &Changes) -> Vec<Owner> {
    let changed = changes.modified.union(&changes.added);
    let is_calm = changed.is_empty() && changes.removed.is_empty();
    let mut left = Vec::with_capacity(owners.len() + 1);
    for owner in owners {
        let mut owner = owner.clone();
        if writer != Some(&owner.identity) && !is_calm {
            let taken = owner.fields.intersection(&changed);
            let fields = owner.fields.difference(&taken).difference(&changes.removed);
            owner.fields = Arc::new(fields);
        }
        if !owner.fields.is_empty() {
            left.push(owner);
        }
    }
    left
}

/// Removes what the manager stated last time, states no more, and nobody else owns.
fn prune(shape: &'static Type, merged: &Value, last: &FieldSet, owners: &[Owner]) -> Value {
    let named = |set: &FieldSet| shape.with_named(set);
    let stated = |value: &Value| named(&walk::stated(shape, value));
    let (last, all) = (named(last), stated(merged));
    let pruned = walk::remove(shape, merged, &last);
    let owned = owners.iter().fold(FieldSet::default(), |owned, owner| owned.union(&owner.fields));
    // What anybody owns comes back.
    let pruned = walk::remove(shape, merged, &all.difference(&stated(&pruned).union(&named(&owned))));
    // So does what went along but was never ours.
    walk::remove(shape, merged, &all.difference(&stated(&pruned)).intersection(&last))
}

/// Who owns what would change, in the words of the agent's edge: `manager (field, field); …`.
fn conflicts(writer: &Identity, owners: &[Owner], changes: &Changes) -> Option<String> {
    let changed = changes.modified.union(&changes.added);
    let mut told: Vec<(Arc<str>, Vec<String>)> = Vec::new();
    for owner in owners.iter().filter(|owner| owner.identity != *writer) {
        let paths = owner.fields.intersection(&changed).paths();
        if paths.is_empty() {
            continue;
        }
        match told.iter_mut().find(|(manager, _)| *manager == owner.identity.manager) {
            Some((_, known)) => known.extend(paths),
            None => told.push((Arc::clone(&owner.identity.manager), paths)),
        }
    }
    told.sort();
    let told = told.iter().map(|(manager, fields)| {
        let more = if fields.len() > FIELDS_MAX { ", …" } else { "" };
        let shown: Vec<&str> = fields.iter().take(FIELDS_MAX).map(String::as_str).collect();
        format!("{manager} ({}{more})", shown.join(", "))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Most fields of one manager that a conflict tells of, as in the agent's edge.
const FIELDS_MAX: usize = 10;

/// Whether two lists of owners say the same, but for when.
#[must_use]
pub(super) fn are_same(some: &[Owner], others: &[Owner]) -> bool {
    let is_in = |owner: &Owner| {
        others.iter().any(|other| {
            other.identity == owner.identity
                && (Arc::ptr_eq(&other.fields, &owner.fields) || other.fields == owner.fields)
        })
    };
    some.len() == others.len() && some.iter().all(is_in)
}

/// Shows owners as `metadata.managedFields`; entries that `shown` has already are taken from there.
#[must_use]
pub(super) fn render(owners: &mut [Owner], known: &[Owner], shown: Option<Value>, api_version: &str) -> Value {
    let order = |owner: &Owner| {
        let Identity { manager, operation, subresource } = &owner.identity;
        (*operation, owner.time.clone(), Arc::clone(manager), *subresource)
    };
    let is_same = |some: &Owner, other: &Owner| {
        some.identity == other.identity && some.time == other.time && Arc::ptr_eq(&some.fields, &other.fields)
    };
    owners.sort_by_cached_key(order);
    let mut shown = match shown {
        Some(Value::Array(entries)) if entries.len() == known.len() => entries,
        _ => Vec::new(),
    };
    let entries = owners.iter().map(|owner| {
        let kept = known.iter().position(|other| is_same(owner, other)).and_then(|index| shown.get_mut(index));
        kept.map(Value::take).unwrap_or_else(|| entry(owner, api_version))
    });
    Value::Array(entries.collect())
}

fn entry(owner: &Owner, api_version: &str) -> Value {
    let Identity { manager, operation, subresource } = &owner.identity;
    let operation = match operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut entry = json!({
        "manager": &**manager, "operation": operation, "apiVersion": api_version,
        "fieldsType": "FieldsV1", "fieldsV1": owner.fields.render(),
    });
    if let Some(time) = &owner.time {
        entry["time"] = json!(&**time);
    }
    match subresource {
        Subresource::None => {}
        Subresource::Status => entry["subresource"] = json!("status"),
    }
    entry
}

/// Reads `metadata.managedFields` as a user may send them back; `None` when they cannot be read.
#[must_use]
pub(super) fn parse(entries: &[Value]) -> Option<Vec<Owner>> {
    entries.iter().map(|entry| parse_entry(entry.as_object()?)).collect()
}

fn parse_entry(entry: &Map<String, Value>) -> Option<Owner> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let operation = match text("operation")? {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    let subresource = match text("subresource") {
        None | Some("") => Subresource::None,
        Some("status") => Subresource::Status,
        Some(_) => return None,
    };
    let identity = Identity { manager: Arc::from(text("manager")?), operation, subresource };
    Some(Owner {
        identity,
        time: text("time").map(Arc::from),
        fields: Arc::new(FieldSet::parse(entry.get("fieldsV1")?)?),
    })
}
