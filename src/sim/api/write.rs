//! Writes: create, update, patch, apply, each with its ownership, defaults, validation and generation.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

use super::admission::Verb;
use super::fields::FieldSet;
use super::owners::{self, Applied, Claim, Identity, Operation, Owner, Subresource};
use super::served::{Served, has_finalizers, is_graceful, metadata, text};
use super::{Api, Commit, Stored, Writer, validate};
use crate::model::{Object, ObjectKey};
use crate::world::{ApiError, ApplyOptions, Part};

static STATUS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of(&["status"]));
static SPEC: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of(&["spec"]));
static SPEC_AND_LABELS: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of(&["spec", "metadata.labels"]));
static SPEC_AND_METADATA: LazyLock<FieldSet> = LazyLock::new(|| FieldSet::of(&["spec", "metadata"]));
static NOTHING: LazyLock<FieldSet> = LazyLock::new(FieldSet::default);

impl Api {
    /// Creates an object.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, `UnknownKind`, `NotFound` (its namespace), `Forbidden`.
    pub fn create(&mut self, by: &Writer, object: &Object) -> Result<Object, ApiError> {
        let served = Served::of(object)?;
        served.check_key(&object.key)?;
        let mut body = (*object.body).clone();
        served.bring_in(&mut body, &object.key)?;
        if !object.resource_version().is_empty() {
            return Err(ApiError::Invalid("resourceVersion should not be set on objects to be created".to_owned()));
        }
        self.make(by, &served, object, body)
    }

    /// Replaces an object, or its status.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when its resourceVersion or UID is not the stored one, `Invalid`, `Forbidden`.
    pub fn update(&mut self, by: &Writer, object: &Object, part: Part) -> Result<Object, ApiError> {
        let served = Served::of(object)?;
        served.check_key(&object.key)?;
        let mut body = (*object.body).clone();
        served.bring_in(&mut body, &object.key)?;
        let Some(stored) = self.objects.get(&object.key).cloned() else {
            return match served.is_made_by_update() {
                false => Err(ApiError::NotFound),
                true if !object.uid().is_empty() => Err(ApiError::Conflict),
                true => self.make(by, &served, object, body),
            };
        };
        if !object.uid().is_empty() && object.uid() != stored.object.uid() {
            return Err(ApiError::Conflict);
        }
        self.change(by, &served, &stored, body, part)
    }

    /// JSON patch (RFC 6902), tests included.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when it cannot be applied (a failed test included), `Invalid`, `Forbidden`.
    pub fn patch(&mut self, by: &Writer, key: &ObjectKey, operations: &Value) -> Result<Object, ApiError> {
        let patch: json_patch::Patch =
            serde_json::from_value(operations.clone()).map_err(|error| ApiError::Invalid(error.to_string()))?;
        let stored = self.objects.get(key).ok_or(ApiError::NotFound)?.clone();
        let mut body = (*stored.object.body).clone();
        // The server answers alike whatever is the reason, and our edge takes it for a failed test.
        json_patch::patch(&mut body, &patch).map_err(|_| ApiError::Conflict)?;
        self.change_patched(by, &stored, body, Part::Object)
    }

    /// Merge patch (RFC 7386) of an object or its status, as people and controllers send it.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when it states another resourceVersion, `Invalid`, `Forbidden`.
    pub fn merge(&mut self, by: &Writer, key: &ObjectKey, change: &Value, part: Part) -> Result<Object, ApiError> {
        let stored = self.objects.get(key).ok_or(ApiError::NotFound)?.clone();
        let mut body = (*stored.object.body).clone();
        json_patch::merge(&mut body, change);
        self.change_patched(by, &stored, body, part)
    }

    /// Server-side apply, under the manager that the options name.
    ///
    /// # Errors
    /// `Owned` when others own a field and it is not forced, `Conflict` when it states another resourceVersion, `Invalid`,
    /// `Forbidden`, `NotFound` (its namespace).
    pub fn apply(&mut self, by: &Writer, object: &Object, options: ApplyOptions) -> Result<Object, ApiError> {
        let ApplyOptions { is_forced, is_dry_run, manager } = options;
        let by = &Writer { manager: Arc::from(manager), agent: by.agent };
        let served = Served::of(object)?;
        served.check_key(&object.key)?;
        if object.body["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
            return Err(ApiError::Invalid("metadata.managedFields must be nil".to_owned()));
        }
        let mut misfits = Vec::new();
        served.shape.misfits(&object.body, "", &mut misfits);
        if !misfits.is_empty() {
            return Err(ApiError::Invalid(misfits.join("; ")));
        }
        let stored = self.objects.get(&object.key).cloned();
        // A UID is a precondition: an object that is gone, or another of the name, is a conflict.
        let found = stored.as_ref().map_or("", |stored| stored.object.uid());
        if !object.uid().is_empty() && object.uid() != found {
            return Err(ApiError::Conflict);
        }
        let empty;
        let (live, known): (&Value, &[Owner]) = match &stored {
            Some(stored) => (&stored.object.body, &stored.owners),
            None => {
                empty = served.shape.empty();
                (&empty, &[])
            }
        };
        let identity = identity(manager, Operation::Apply, Part::Object);
        let claim = self.claim(&served, &identity, Part::Object);
        let applied = owners::after_apply(claim, known, live, &object.body, is_forced).map_err(ApiError::Owned)?;
        let Applied { mut body, mut owners } = applied;
        if !self.is_tracked(&served) {
            owners.clear();
        }
        served.bring_in(&mut body, &object.key)?;
        match stored {
            None => self.insert(by, &served, object, body, owners, is_dry_run),
            Some(stored) => self.settle(by, &served, &stored, body, owners, Part::Object, is_dry_run),
        }
    }

    /// Makes an object by a write that is no apply.
    fn make(&mut self, by: &Writer, served: &Served, object: &Object, body: Value) -> Result<Object, ApiError> {
        let mut owners = Vec::new();
        if self.is_tracked(served) {
            let identity = identity(&by.manager, Operation::Update, Part::Object);
            let claim = self.claim(served, &identity, Part::Object);
            owners = owners::after_update(claim, &[], &served.shape.empty(), &body);
        }
        self.insert(by, served, object, body, owners, false)
    }

    /// Stores a new object.
    fn insert(
        &mut self,
        by: &Writer,
        served: &Served,
        object: &Object,
        mut body: Value,
        mut owners: Vec<Owner>,
        is_dry_run: bool,
    ) -> Result<Object, ApiError> {
        let key = &object.key;
        self.admit(Verb::Create, key)?;
        if served.is_namespaced {
            self.check_namespace(&key.namespace)?;
        }
        self.add_by_rule(key, &mut body);
        served.reset_status(&mut body);
        self.uids += 1;
        let number = self.uids;
        if served.kind == "Service" {
            allocate(&mut body, number);
        }
        let metadata = metadata(&mut body);
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields", "generation"] {
            metadata.remove(field);
        }
        metadata.insert("uid".to_owned(), json!(format!("00000000-0000-4000-8000-{number:012x}")));
        metadata.insert("creationTimestamp".to_owned(), json!(&*self.clock));
        if served.has_generation() {
            metadata.insert("generation".to_owned(), json!(1));
        }
        validate::check(served.kind, None, &body)?;
        if self.objects.contains_key(key) {
            return Err(ApiError::AlreadyExists);
        }
        if !owners.is_empty() {
            let shown = owners::render(&mut owners, &[], None, &object.api_version());
            self::metadata(&mut body).insert("managedFields".to_owned(), shown);
        }
        if is_dry_run {
            return Ok(object.with_body(body));
        }
        let created = Stored { object: object.with_body(body), owners: Arc::new(owners) };
        Ok(self.commit(by, key.clone(), Some(created)).expect("an object was given"))
    }

    /// A write that changed the stored body in place.
    fn change_patched(
        &mut self,
        by: &Writer,
        stored: &Stored,
        mut body: Value,
        part: Part,
    ) -> Result<Object, ApiError> {
        let served = Served::of(&stored.object)?;
        let Object { key, body: before, .. } = &stored.object;
        if text(&body, "name") != key.name || text(&body, "namespace") != key.namespace {
            return Err(ApiError::Invalid("the name of the object does not match the name on the URL".to_owned()));
        }
        if ["apiVersion", "kind"].iter().any(|field| body.get(field) != before.get(field)) {
            return Err(ApiError::Invalid("BadRequest (HTTP status 400)".to_owned()));
        }
        match part {
            Part::Object => served.bring_in(&mut body, key)?,
            Part::Status => served.bring_in_status(&mut body, key)?,
        }
        self.change(by, &served, stored, body, part)
    }

    /// A write that has the whole body, and is no apply.
    fn change(
        &mut self,
        by: &Writer,
        served: &Served,
        stored: &Stored,
        body: Value,
        part: Part,
    ) -> Result<Object, ApiError> {
        if !self.is_tracked(served) {
            return self.settle(by, served, stored, body, Vec::new(), part, false);
        }
        let known = sent_owners(&body, stored, part);
        let owners = match known.as_deref() {
            Some([]) => Vec::new(),
            known => {
                let identity = identity(&by.manager, Operation::Update, part);
                let claim = self.claim(served, &identity, part);
                owners::after_update(claim, known.unwrap_or(&stored.owners), &stored.object.body, &body)
            }
        };
        self.settle(by, served, stored, body, owners, part, false)
    }

    /// Stores a changed body: what the server owns is kept, the generation follows spec, a write that changes nothing
    /// commits nothing, and the last finalizer that leaves a terminating object removes it.
    #[expect(clippy::too_many_arguments, reason = "one write with all that came of it")]
    fn settle(
        &mut self,
        by: &Writer,
        served: &Served,
        stored: &Stored,
        mut body: Value,
        mut owners: Vec<Owner>,
        part: Part,
        is_dry_run: bool,
    ) -> Result<Object, ApiError> {
        let before = &*stored.object.body;
        self.admit(Verb::Update, &stored.object.key)?;
        self.add_by_rule(&stored.object.key, &mut body);
        match text(&body, "resourceVersion") {
            "" if !served.is_built_in() => {
                return Err(ApiError::Invalid("metadata.resourceVersion: invalid value".to_owned()));
            }
            "" => {}
            stated if stated != stored.object.resource_version() => return Err(ApiError::Conflict),
            _ => {}
        }
        served.keep(before, &mut body, part);
        validate::check(served.kind, Some(before), &body)?;
        let shown = metadata(&mut body).remove("managedFields");
        let is_same_owned = owners::are_same(&owners, &stored.owners);
        if is_same_owned && is_same_but_owners(&body, before) {
            return Ok(stored.object.clone());
        }
        if !owners.is_empty() {
            let shown = owners::render(&mut owners, &stored.owners, shown, &stored.object.api_version());
            metadata(&mut body).insert("managedFields".to_owned(), shown);
        }
        if is_dry_run {
            return Ok(stored.object.with_body(body));
        }
        let is_gone = stored.object.is_terminating() && !has_finalizers(&body) && !is_graceful(&body);
        if is_gone {
            let last = stored.object.with_body(body);
            self.commit(by, stored.object.key.clone(), None);
            return Ok(last);
        }
        let after = Stored { object: stored.object.with_body(body), owners: Arc::new(owners) };
        Ok(self.commit(by, stored.object.key.clone(), Some(after)).expect("an object was given"))
    }

    /// Writes it down.
    pub(super) fn commit(&mut self, by: &Writer, key: ObjectKey, after: Option<Stored>) -> Option<Object> {
        self.revision += 1;
        let revision = self.revision;
        let after = after.map(|mut stored| {
            metadata(&mut stored.object.body).insert("resourceVersion".to_owned(), json!(revision.to_string()));
            stored
        });
        let shown = after.as_ref().map(|stored| stored.object.clone());
        self.is_collected &=
            shown.as_ref().is_some_and(|object| object.body["metadata"].get("ownerReferences").is_none());
        let before = match after {
            Some(after) => self.objects.insert(key.clone(), after),
            None => self.objects.remove(&key),
        };
        let before = before.map(|stored| stored.object);
        self.log.push(Commit { revision, at: self.now, by: by.clone(), key, before, after: shown.clone() });
        shown
    }

    fn is_tracked(&self, served: &Served) -> bool {
        !self.untracked.iter().any(|kind| kind == served.kind)
    }

    fn claim<'a>(&'a self, served: &Served, identity: &'a Identity, part: Part) -> Claim<'a> {
        let ignored: &'static FieldSet = match (part, served.kind) {
            (Part::Object, _) if served.has_status => &STATUS,
            (Part::Object, _) => &NOTHING,
            (Part::Status, "Deployment") => &SPEC_AND_LABELS,
            (Part::Status, _) if served.is_built_in() => &SPEC,
            (Part::Status, _) => &SPEC_AND_METADATA,
        };
        Claim { identity, time: &self.clock, shape: served.shape, ignored }
    }

    /// Refuses what is to be created where nothing may be.
    fn check_namespace(&self, name: &str) -> Result<(), ApiError> {
        let namespace = self.objects.get(&ObjectKey::local("", "Namespace", "", name)).ok_or(ApiError::NotFound)?;
        if namespace.object.is_terminating() {
            let told = format!("unable to create new content in namespace {name} because it is being terminated");
            return Err(ApiError::Forbidden(told));
        }
        Ok(())
    }
}

/// The owners that a write sends along: `None` when it leaves them alone, an empty list when it forgets them.
fn sent_owners(body: &Value, stored: &Stored, part: Part) -> Option<Vec<Owner>> {
    if part == Part::Status {
        return stored.owners.is_empty().then(Vec::new);
    }
    let sent = body["metadata"].get("managedFields");
    if sent == stored.object.body["metadata"].get("managedFields") {
        return stored.owners.is_empty().then(Vec::new);
    }
    match sent.and_then(Value::as_array).map(Vec::as_slice) {
        None => stored.owners.is_empty().then(Vec::new),
        Some([]) => Some(Vec::new()),
        Some([entry]) if entry.as_object().is_some_and(Map::is_empty) => Some(Vec::new()),
        Some(entries) => owners::parse(entries),
    }
}

fn identity(manager: &str, operation: Operation, part: Part) -> Identity {
    let subresource = match part {
        Part::Object => Subresource::None,
        Part::Status => Subresource::Status,
    };
    Identity { manager: Arc::from(manager), operation, subresource }
}

/// Gives a Service its address.
fn allocate(body: &mut Value, number: u64) {
    let spec = &mut body["spec"];
    if spec["type"] == "ExternalName" {
        return;
    }
    let given = spec.get("clusterIP").and_then(Value::as_str).map(str::to_owned);
    let address =
        given.unwrap_or_else(|| format!("10.{}.{}.{}", 96 + number / 65_536 % 16, number / 256 % 256, number % 256));
    spec["clusterIPs"] = json!([address]);
    spec["clusterIP"] = json!(address);
    spec["ipFamilies"] = json!(["IPv4"]);
    if spec.get("ipFamilyPolicy").is_none() {
        spec["ipFamilyPolicy"] = json!("SingleStack");
    }
}

fn is_same_but_owners(body: &Value, before: &Value) -> bool {
    let (Some(body), Some(before)) = (body.as_object(), before.as_object()) else { return false };
    let is_same = |name: &str| body.get(name) == before.get(name);
    body.len() == before.len() && body.keys().filter(|name| *name != "metadata").all(|name| is_same(name)) && {
        let (some, other) = (body["metadata"].as_object(), before["metadata"].as_object());
        let other = other.into_iter().flatten().filter(|(name, _)| *name != "managedFields");
        some.into_iter().flatten().eq(other)
    }
}
