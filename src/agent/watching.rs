//! What the scheduler watches, and whom a change concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::event::Done;
use super::schedule::{RETRY, Scheduler, Slot};
use super::sight::is_secret;
use super::{App, takeover};
use crate::model::marks::{ANNOTATION_HOOK_RUN, ANNOTATION_OWNER, LABEL_APPLICATION};
use crate::model::{AppName, GroupKind, Millis, Object, ObjectKey, Timestamp};
use crate::mutants::{Mutant, is_planted};
use crate::observe::{Folded, is_newer};
use crate::store;
use crate::world::{ApiError, Change, Listed, Scope, World};

/// A collection is listed anew this often. A server keeps its word about watches, a broken proxy or cache between may not,
/// and drift that nothing tells of would stand for ever.
const RELIST_EVERY: Millis = Millis::from_seconds(600);

/// No ReplicaSet and no pod has such a label: their watches are only a reason to look, and want no more of a list than
/// where to start. A namespace may have thousands of them.
const NOTHING: &str = "tidegate.dev/none=none";

/// Whether a collection is watched as a reason to look only.
fn is_of_pods(scope: &Scope) -> bool {
    scope.kind.is("apps", "ReplicaSet") || scope.kind.is("", "Pod")
}

/// What is kept in the cache of an Application resource: that it is there, and in which version. Its app has the rest.
pub(super) fn outline(object: &Object) -> Object {
    let metadata = serde_json::json!({"uid": object.uid(), "resourceVersion": object.resource_version()});
    let mut outline = object.with_body(serde_json::json!({"metadata": metadata}));
    outline.body.rest();
    outline
}

fn outline_of(change: &Change) -> Change {
    match change {
        Change::Stored(object) => Change::Stored(outline(object)),
        Change::Deleted(object) => Change::Deleted(outline(object)),
        Change::Bookmark(resource_version) => Change::Bookmark(resource_version.clone()),
    }
}

impl<W: World + 'static> Scheduler<W> {
    pub(super) fn list(&mut self, scope: Scope) {
        if !self.listing.insert(scope.clone()) {
            return;
        }
        let context = Arc::clone(&self.context);
        let selector = if is_of_pods(&scope) { NOTHING } else { "" };
        self.work.push(Box::pin(async move {
            let listed = context.world.list(&scope, selector).await;
            Done::Listed(scope, listed)
        }));
    }

    /// ReplicaSets and pods are watched where a rollout is under way, as a reason to look.
    pub(super) fn follow_pods(&mut self, app: &App) {
        if !app.is_rolling() {
            return;
        }
        let namespaces: BTreeSet<String> =
            app.keys_of(crate::stage::is_deployment).into_iter().map(|(key, _)| key.namespace.clone()).collect();
        for namespace in namespaces {
            for (group, kind) in [("apps", "ReplicaSet"), ("", "Pod")] {
                let scope = Scope {
                    kind: GroupKind::new(group, kind),
                    version: "v1".to_owned(),
                    namespace: Some(namespace.clone()),
                };
                if !self.cache.has(&scope) {
                    self.list(scope);
                }
            }
        }
    }

    pub(super) fn stop_following(&mut self) {
        let rolling: BTreeSet<String> = self
            .slots
            .values()
            .filter_map(|slot| slot.app.as_ref())
            .filter(|app| app.is_rolling())
            .flat_map(|app| app.keys().into_iter().map(|(key, _)| key.namespace.clone()))
            .collect();
        let all_here = self.slots.values().all(|slot| slot.app.is_some());
        let unneeded: Vec<Scope> = self
            .cache
            .scopes()
            .filter(|scope| is_of_pods(scope))
            .filter(|scope| scope.namespace.as_ref().is_some_and(|namespace| all_here && !rolling.contains(namespace)))
            .cloned()
            .collect();
        for scope in unneeded {
            self.context.world.unwatch(&scope);
            self.cache.forget(&scope);
            self.relist_at.remove(&scope);
        }
    }

    pub(super) fn listed(&mut self, scope: Scope, result: Result<Listed, ApiError>) {
        self.listing.remove(&scope);
        let now = self.context.world.now();
        match result {
            Ok(listed) => {
                let known = self.cache.has(&scope);
                if self.unserved.remove(&scope) {
                    self.wake_all();
                }
                let (items, applications) = if scope == self.applications {
                    (listed.items.iter().map(outline).collect(), listed.items)
                } else {
                    let slim = listed.items.into_iter().map(|object| {
                        let mut object = self.slim(object);
                        object.body.rest();
                        object
                    });
                    (slim.collect(), Vec::new())
                };
                let changed = self.cache.replace(&scope, items, &listed.resource_version);
                self.context.world.watch(&scope, &listed.resource_version);
                self.heard.remove(&scope);
                self.listed_at.insert(scope.clone(), now);
                if known {
                    for (key, before) in &changed {
                        self.news_of(&scope, key, before.as_ref());
                    }
                    let changed: BTreeSet<ObjectKey> = changed.into_iter().map(|(key, _)| key).collect();
                    let news = applications.into_iter().filter(|object| changed.contains(&object.key));
                    news.for_each(|object| self.application_stored(object));
                    self.miss_applications(&scope, &listed.resource_version);
                    self.miss_pods(&scope);
                } else {
                    // Apps wait for this very list.
                    let waiting: Vec<AppName> = self.due.names().cloned().collect();
                    waiting.iter().for_each(|name| self.wake(name, Timestamp::UNIX_EPOCH));
                }
            }
            Err(ApiError::UnknownKind(_)) => {
                // The kind may come with the very Release that waits for it, or come back: what was known of it is kept.
                if !self.cache.has(&scope) {
                    self.cache.replace(&scope, Vec::new(), "");
                }
                self.relist_at.insert(scope.clone(), RETRY.after(now));
                if self.unserved.insert(scope) {
                    self.wake_all();
                }
            }
            Err(error) => {
                tracing::warn!(kind = %scope.kind, %error, "a collection cannot be listed");
                self.relist_at.insert(scope, RETRY.after(now));
            }
        }
    }

    /// Only what is ours is kept whole.
    pub(super) fn slim(&self, object: Object) -> Object {
        let is_ours = object.annotation(ANNOTATION_OWNER) == Some(self.context.owner.as_str());
        if is_ours || object.key.kind.is(store::GROUP, store::KIND) {
            return object;
        }
        Object { body: object.body.outline(), ..object }
    }

    pub(super) fn watch_ended(&mut self, scope: Scope, error: Option<ApiError>) {
        let was_heard = self.heard.remove(&scope);
        let position = self.cache.resource_version(&scope).map(str::to_owned);
        let now = self.context.world.now();
        let is_old = self.listed_at.get(&scope).is_none_or(|at| RELIST_EVERY.has_passed(*at, now));
        match (error, position) {
            (_, None) => {}
            // A watch that ended with neither event nor bookmark may be blind: it costs one list. So does one that goes on
            // for long: what it lost, if anything, is found then.
            (None, Some(position)) if was_heard && !is_old => self.context.world.watch(&scope, &position),
            (None, Some(_)) => self.list(scope),
            (Some(ApiError::Gone), Some(_)) => {
                tracing::info!(kind = %scope.kind, "a watch is older than what the API server remembers: listing again");
                self.list(scope);
            }
            (Some(error), Some(_)) => {
                tracing::debug!(kind = %scope.kind, %error, "a watch ended");
                self.relist_at.insert(scope, Millis(500).after(now));
            }
        }
    }

    pub(super) fn changed(&mut self, scope: &Scope, change: Change) {
        self.heard.insert(scope.clone());
        let change = match change {
            Change::Stored(object) => Change::Stored(self.slim(object)),
            other @ (Change::Deleted(_) | Change::Bookmark(_)) => other,
        };
        let key = match &change {
            Change::Stored(object) | Change::Deleted(object) => Some(object.key.clone()),
            Change::Bookmark(_) => None,
        };
        if *scope == self.applications {
            return self.application_changed(scope, change);
        }
        if let (Folded::News(before), Some(key)) = (self.cache.fold(scope, change), key) {
            let is_ours = self.touched(scope, &key, before.as_ref());
            // What a pass looks at is laid to rest by that pass.
            if !is_ours || is_of_pods(scope) {
                self.cache.rest(&key);
            }
        }
    }

    /// A watch that was silent may have shown neither that a resource of ours came to be nor that it went.
    fn miss_applications(&mut self, scope: &Scope, resource_version: &str) {
        if *scope != self.applications {
            return;
        }
        let may_be_there = |slot: &Slot| slot.app.as_ref().is_none_or(|app| app.object.is_some());
        let is_listed =
            |name: &AppName| self.cache.get(&store::application::key(&self.context.namespace, name)).is_some();
        let known = self.slots.iter().filter(|(_, slot)| may_be_there(slot)).map(|(name, _)| name);
        let missed: Vec<AppName> = known.filter(|name| !is_listed(name)).cloned().collect();
        missed.iter().for_each(|name| self.application_deleted(name, resource_version));
    }

    /// Which pods a watch has missed is not asked for: whoever may wait for one looks.
    fn miss_pods(&mut self, scope: &Scope) {
        if !is_of_pods(scope) {
            return;
        }
        let is_there = |app: &App| app.keys().iter().any(|(key, _)| Some(&key.namespace) == scope.namespace.as_ref());
        let waits = |slot: &Slot| slot.app.as_ref().is_none_or(|app| app.is_rolling() && is_there(app));
        let waiting: Vec<AppName> =
            self.slots.iter().filter(|(_, slot)| waits(slot)).map(|(name, _)| name.clone()).collect();
        waiting.iter().for_each(|name| self.wake_for_change(name));
    }

    /// An object of a list is not what a watch has shown.
    fn news_of(&mut self, scope: &Scope, key: &ObjectKey, before: Option<&Object>) {
        if *scope != self.applications {
            self.touched(scope, key, before);
            return;
        }
        if self.cache.get(key).is_none() {
            let listed = self.cache.resource_version(scope).unwrap_or_default().to_owned();
            self.application_deleted(&AppName::from(key.name.as_str()), &listed);
        }
    }

    /// An Application resource changed: by our own write, or by somebody who asks for something.
    fn application_changed(&mut self, scope: &Scope, change: Change) {
        self.cache.fold(scope, outline_of(&change));
        match change {
            // One that was deleted since stays so.
            Change::Stored(object) if self.cache.get(&object.key).is_none() => {}
            Change::Stored(object) => self.application_stored(object),
            Change::Deleted(object) => {
                self.application_deleted(&AppName::from(object.key.name.as_str()), object.resource_version());
            }
            Change::Bookmark(_) => {}
        }
    }

    fn application_stored(&mut self, object: Object) {
        if takeover::is_overthrown(&self.context, &object) {
            return;
        }
        let name = AppName::from(object.key.name.as_str());
        let Some(slot) = self.slots.get_mut(&name) else { return };
        let known = slot.app.as_ref().and_then(|app| app.object.as_ref()).map(Object::resource_version);
        if known.is_some_and(|known| !is_newer(object.resource_version(), known)) {
            if is_planted(Mutant::RequestFromCache)
                && let Some(app) = &mut slot.app
                && let Ok(stored) = store::application::read(&object)
            {
                app.history.request = stored.request;
                self.wake(&name, Timestamp::UNIX_EPOCH);
            }
            return;
        }
        slot.stored = Some(object);
        self.wake(&name, Timestamp::UNIX_EPOCH);
    }

    fn application_deleted(&mut self, name: &AppName, resource_version: &str) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        slot.stored.take_if(|stored| !is_newer(stored.resource_version(), resource_version));
        slot.deleted = Some(resource_version.to_owned());
        self.wake(name, Timestamp::UNIX_EPOCH);
    }

    /// Wakes the app that an object belongs to, before or now. Returns whether there is one.
    pub(super) fn touched(&mut self, scope: &Scope, key: &ObjectKey, before: Option<&Object>) -> bool {
        if crate::stage::group(&scope.kind) == crate::stage::Group::Definitions {
            self.ask_for_kinds();
        }
        // Another agent's app of the same name is none of ours; an object whose owner mark was taken away still is.
        let is_foreign =
            |object: &Object| object.annotation(ANNOTATION_OWNER).is_some_and(|owner| owner != self.context.owner);
        let app_of =
            |object: &Object| object.label(LABEL_APPLICATION).filter(|_| !is_foreign(object)).map(AppName::from);
        let now = self.cache.get(key);
        let name = if is_of_pods(scope) {
            now.or(before).and_then(|object| self.app_of_pods(object))
        } else {
            now.and_then(app_of).or_else(|| before.and_then(app_of))
        };
        if let Some(name) = &name {
            self.wake_for_change(name);
        }
        name.is_some()
    }

    /// What is seen of an app that leaves, and what its hooks left behind: where a hook leaves its name open, no Release knows
    /// how its runs are called. Runs of other apps' hooks are none of it, whatever their names.
    pub(super) fn with_runs(&self, app: &App, seen: BTreeMap<ObjectKey, Object>) -> BTreeMap<ObjectKey, Object> {
        let is_run = |object: &Object| object.annotation(ANNOTATION_HOOK_RUN).is_some();
        let is_its_own = |object: &Object| {
            object.label(LABEL_APPLICATION) == Some(app.name.as_str())
                && object.annotation(ANNOTATION_OWNER) == Some(self.context.owner.as_str())
        };
        let kinds: BTreeSet<&GroupKind> = app.keys().into_iter().map(|(key, _)| &key.kind).collect();
        let scopes = self.cache.scopes().filter(|scope| kinds.contains(&scope.kind) && !is_of_pods(scope));
        let runs =
            scopes.flat_map(|scope| self.cache.objects(scope)).filter(|object| is_its_own(object) && is_run(object));
        let runs: Vec<(ObjectKey, Object)> = runs.map(|object| (object.key.clone(), object.clone())).collect();
        let seen = seen.into_iter().filter(|(_, object)| !is_run(object));
        seen.chain(runs).collect()
    }

    /// A definition changed: kinds that somebody waits for may be served now.
    fn ask_for_kinds(&mut self) {
        let now = self.context.world.now();
        if self.source.as_ref().is_some_and(|source| source.may_be_retried) {
            self.kinds_at = Some(Millis(500).after(now));
        }
        for scope in &self.unserved {
            self.relist_at.entry(scope.clone()).and_modify(|at| *at = (*at).min(Millis(500).after(now)));
        }
    }

    /// The app whose Deployment a ReplicaSet or pod belongs to: names of the owners lead there.
    pub(super) fn app_of_pods(&self, object: &Object) -> Option<AppName> {
        let owner = object.text("/metadata/ownerReferences/0/name")?;
        let deployment = if object.key.kind.is("", "Pod") { owner.rsplit_once('-')?.0 } else { owner };
        let key = object.key.beside(GroupKind::new("apps", "Deployment"), deployment);
        self.cache.get(&key)?.label(LABEL_APPLICATION).map(AppName::from)
    }

    /// Secrets are not watched: forget what was read, and look again.
    pub(super) fn forget_secrets(&mut self, now: Timestamp) {
        let mut concerned = Vec::new();
        for (name, slot) in &self.slots {
            let Some(app) = &slot.app else { continue };
            let secrets = app.keys_of(is_secret);
            if !secrets.is_empty() {
                secrets.iter().for_each(|(key, _)| self.cache.unlearn(key));
                concerned.push(name.clone());
            }
        }
        concerned.iter().for_each(|name| self.wake(name, now));
    }
}
