//! The scheduler: which apps need a pass, what is watched, when Git is asked. It decides nothing about any app.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::event::Done;
use super::source::{Reading, Source, read};
use super::start::Started;
use super::tick::{Passed, tick};
use super::{App, Context, Pace, keep, observed};
use crate::model::marks::{ANNOTATION_OWNER, LABEL_APPLICATION};
use crate::model::{AppName, Declared, Deletion, GroupKind, Millis, Object, ObjectKey, Timestamp};
use crate::observe::{Cache, Folded, is_newer};
use crate::store;
use crate::telemetry::PollOutcome;
use crate::world::{Ancestry, ApiError, Change, Event, Kinds, Listed, Polled, Scope, Snapshot, SourceError, World};

/// Passes under way at once; each is mostly waiting for the API server.
const PASSES_MAX: usize = 64;
/// Git is asked this often while a rollout is under way, when a revert may be awaited.
const POLL_WHEN_ROLLING: Millis = Millis::from_seconds(1);
/// A list or a look at the kinds that failed is tried again after this.
const RETRY: Millis = Millis::from_seconds(3);
/// Polls that may fail in a row before apps say so: one lost connection is no news.
const POLL_FAILURES_MAX: u32 = 3;
/// Secrets are read again this often, since they are not watched.
const SECRETS_EVERY: Millis = Millis::from_seconds(600);
/// A far future, for sleeping until something happens.
const IDLE: Millis = Millis::from_seconds(3600);

type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// One app and what reached it while a pass had it.
#[derive(Debug, Default)]
struct Slot {
    app: Option<Box<App>>,
    stored: Option<Object>,
}

/// The scheduler.
pub struct Scheduler<W> {
    context: Arc<Context<W>>,
    pace: Pace,
    cache: Cache,
    kinds: Arc<Kinds>,
    slots: BTreeMap<AppName, Slot>,
    due: BTreeMap<AppName, Timestamp>,
    work: FuturesUnordered<Work>,
    passes: usize,
    source: Option<Box<Source>>,
    snapshot: Option<Snapshot>,
    commit: Option<String>,
    proven: Option<String>,
    poll_at: Timestamp,
    is_polling: bool,
    poll_failures: u32,
    source_error: Option<String>,
    is_diverged: bool,
    /// Which file declared each stored app, and what is to happen when it leaves Git.
    declared_in: BTreeMap<AppName, (String, Deletion)>,
    listing: BTreeSet<Scope>,
    relist_at: BTreeMap<Scope, Timestamp>,
    /// Collections that gave something since their watch was opened.
    heard: BTreeSet<Scope>,
    kinds_at: Option<Timestamp>,
    secrets_at: Timestamp,
    applications: Scope,
}

impl<W: World + 'static> Scheduler<W> {
    /// A scheduler that knows what is stored.
    pub fn new(started: Started<W>, pace: Pace) -> Self {
        let Started { context, kinds, apps, listed, scope } = started;
        let now = context.world.now();
        let mut cache = Cache::default();
        cache.replace(&scope, listed.items, &listed.resource_version);
        context.world.watch(&scope, &listed.resource_version);
        let declared_in = apps.iter().filter_map(|(name, app)| Some((name.clone(), declared_in(app)?))).collect();
        let mut slots = BTreeMap::new();
        for (name, mut app) in apps {
            app.repository.clone_from(&pace.repository);
            slots.insert(name, Slot { app: Some(Box::new(app)), stored: None });
        }
        Self {
            context: Arc::new(context),
            pace,
            cache,
            kinds: Arc::new(kinds),
            slots,
            due: BTreeMap::new(),
            work: FuturesUnordered::new(),
            passes: 0,
            source: Some(Box::default()),
            snapshot: None,
            commit: None,
            proven: None,
            poll_at: now,
            is_polling: false,
            poll_failures: 0,
            source_error: None,
            is_diverged: false,
            declared_in,
            listing: BTreeSet::new(),
            relist_at: BTreeMap::new(),
            heard: BTreeSet::new(),
            kinds_at: None,
            secrets_at: SECRETS_EVERY.after(now),
            applications: scope,
        }
    }

    /// Runs until the process is asked to end.
    pub async fn run(mut self) {
        self.proven = observed::recall(&self.context).await;
        loop {
            let until = self.start_work();
            let event = {
                let context = Arc::clone(&self.context);
                let next = std::pin::pin!(context.world.next_event(until));
                if self.work.is_empty() {
                    Some(next.await)
                } else {
                    match futures::future::select(next, self.work.next()).await {
                        futures::future::Either::Left((event, _)) => Some(event),
                        futures::future::Either::Right((done, _)) => {
                            if let Some(done) = done {
                                self.done(done);
                            }
                            None
                        }
                    }
                }
            };
            match event {
                Some(Event::Shutdown) => return,
                Some(event) => self.take(event),
                None => {}
            }
        }
    }

    /// Starts what is due and returns when to look again.
    fn start_work(&mut self) -> Timestamp {
        let now = self.context.world.now();
        if !self.is_polling && now >= self.poll_at && self.source.is_some() {
            self.start_poll();
        }
        if now >= self.secrets_at {
            self.secrets_at = SECRETS_EVERY.after(now);
            self.forget_secrets(now);
        }
        if self.kinds_at.is_some_and(|at| now >= at) {
            self.kinds_at = None;
            let context = Arc::clone(&self.context);
            self.work.push(Box::pin(async move { Done::Kinds(context.world.kinds().await) }));
        }
        let late: Vec<Scope> =
            self.relist_at.iter().filter(|(_, at)| now >= **at).map(|(scope, _)| scope.clone()).collect();
        for scope in late {
            self.relist_at.remove(&scope);
            self.list(scope);
        }
        let ready: Vec<AppName> = self.due.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in ready {
            if self.passes >= PASSES_MAX {
                break;
            }
            self.start_pass(&name);
        }
        let mut until = IDLE.after(now).min(self.secrets_at);
        if !self.is_polling {
            until = until.min(self.poll_at);
        }
        let waiting = self.due.iter().filter(|(name, _)| self.slots.get(*name).is_some_and(|slot| slot.app.is_some()));
        let earliest = waiting.map(|(_, at)| *at).filter(|at| *at > now).min();
        let others = self.relist_at.values().copied().chain(self.kinds_at).chain(earliest);
        others.fold(until, Timestamp::min)
    }

    /// Starts a pass over an app, once everything that it has to do with is watched.
    fn start_pass(&mut self, name: &AppName) {
        let Some(slot) = self.slots.get_mut(name) else {
            self.due.remove(name);
            return;
        };
        let Some(mut app) = slot.app.take() else { return };
        if let Some(object) = slot.stored.take() {
            let known = app.object.as_ref().map(Object::resource_version).unwrap_or_default();
            if is_newer(object.resource_version(), known) {
                keep::take(&mut app, object);
            }
        }
        self.declare(&mut app);
        let keys = app.keys();
        let scopes: BTreeSet<Scope> = keys
            .iter()
            .filter(|(key, _)| !key.kind.is("", "Secret"))
            .map(|(key, version)| whole(key, version))
            .collect();
        let missing: Vec<Scope> = scopes.into_iter().filter(|scope| !self.cache.has(scope)).collect();
        if !missing.is_empty() {
            self.slots.entry(name.clone()).or_default().app = Some(app);
            // The pass comes when the lists are there.
            self.due.insert(name.clone(), RETRY.after(self.context.world.now()));
            missing.into_iter().for_each(|scope| self.list(scope));
            return;
        }
        self.due.remove(name);
        let seen = keys.keys().filter_map(|key| Some((key.clone(), self.cache.get(key)?.clone()))).collect();
        let context = Arc::clone(&self.context);
        self.passes += 1;
        self.work.push(Box::pin(async move {
            let started = context.world.now();
            let passed = tick(&context, *app, seen).await;
            let took = context.world.now().duration_since(started);
            context.telemetry.passed(took.unsigned_abs());
            Done::Passed(Box::new(passed))
        }));
    }

    /// Gives an app what Git says at present.
    fn declare(&self, app: &mut App) {
        let Some(entered) = self.source.as_ref().and_then(|source| source.apps.get(&app.name)) else {
            if let (Declared::Broken { reason, .. }, Some(error)) = (&mut app.declared, &self.source_error) {
                reason.clone_from(error);
            }
            return;
        };
        app.next.clone_from(&entered.release);
        app.declared = entered.declared.clone();
        if let Some(error) = &self.source_error {
            let last = app.application().cloned();
            let revision = self.source.as_ref().and_then(|source| source.revision.clone());
            app.declared = Declared::Broken { last, revision, reason: error.clone() };
        }
    }

    fn list(&mut self, scope: Scope) {
        if !self.listing.insert(scope.clone()) {
            return;
        }
        let context = Arc::clone(&self.context);
        self.work.push(Box::pin(async move {
            let listed = context.world.list(&scope, "").await;
            Done::Listed(scope, listed)
        }));
    }

    fn start_poll(&mut self) {
        self.is_polling = true;
        let context = Arc::clone(&self.context);
        let (known, proven, is_diverged) = (self.commit.clone(), self.proven.clone(), self.is_diverged);
        self.work.push(Box::pin(async move {
            let is_accepted = is_diverged && observed::is_accepted(&context).await;
            let proven = proven.filter(|_| !is_accepted);
            Done::Polled(context.world.poll(known.as_deref(), proven.as_deref()).await)
        }));
    }

    fn start_read(&mut self, snapshot: Option<Snapshot>) {
        let Some(mut source) = self.source.take() else { return };
        let known = self.declared_in.clone();
        let (context, kinds, path) = (Arc::clone(&self.context), Arc::clone(&self.kinds), self.pace.path.clone());
        self.work.push(Box::pin(async move {
            let reading = Reading {
                world: &context.world,
                kinds: &kinds,
                secret_key: &context.secret_key,
                telemetry: &context.telemetry,
                path: &path,
                known: &known,
            };
            let result = read(&mut source, &reading, snapshot.as_ref()).await;
            if let (Ok(()), Some(snapshot)) = (&result, &snapshot) {
                observed::remember(&context, &snapshot.revision).await;
            }
            Done::Read(source, result)
        }));
    }

    /// Secrets are not watched: forget what was read, and look again.
    fn forget_secrets(&mut self, now: Timestamp) {
        for (name, slot) in &self.slots {
            let Some(app) = &slot.app else { continue };
            let secrets: Vec<ObjectKey> = app.keys().into_keys().filter(|key| key.kind.is("", "Secret")).collect();
            if !secrets.is_empty() {
                secrets.iter().for_each(|key| self.cache.unlearn(key));
                self.due.entry(name.clone()).or_insert(now);
            }
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Passed(passed) => self.passed(*passed),
            Done::Polled(result) => self.polled(result),
            Done::Read(source, result) => self.read(source, result),
            Done::Listed(scope, result) => self.listed(scope, result),
            Done::Kinds(Ok(kinds)) => {
                if *self.kinds != kinds {
                    self.kinds = Arc::new(kinds);
                }
                if self.source.as_ref().is_some_and(|source| source.misses_kind) {
                    self.start_read(None);
                }
            }
            Done::Kinds(Err(error)) => {
                tracing::warn!(%error, "the cluster's kinds cannot be read");
                self.kinds_at = Some(RETRY.after(self.context.world.now()));
            }
            Done::Told => {}
        }
    }

    fn passed(&mut self, passed: Passed) {
        self.passes -= 1;
        let Passed { app, learned, gone, notices, wake_at, is_forgotten } = passed;
        learned.into_iter().for_each(|object| self.cache.learn(object));
        gone.iter().for_each(|key| self.cache.unlearn(key));
        for notice in notices {
            let context = Arc::clone(&self.context);
            self.work.push(Box::pin(async move {
                if let Err(error) = context.world.create(&notice).await {
                    tracing::debug!(%error, "an Event was not written");
                }
                Done::Told
            }));
        }
        let name = app.name.clone();
        if is_forgotten {
            self.slots.remove(&name);
            self.due.remove(&name);
            self.declared_in.remove(&name);
            if let Some(source) = &mut self.source {
                source.apps.remove(&name);
            }
            return;
        }
        self.follow_pods(&app);
        if let Some(declared_in) = declared_in(&app) {
            self.declared_in.insert(name.clone(), declared_in);
        }
        if let Some(at) = wake_at {
            self.wake(&name, at);
        }
        self.slots.entry(name).or_default().app = Some(Box::new(app));
    }

    /// ReplicaSets and pods are watched where a rollout is under way, as a reason to look.
    fn follow_pods(&mut self, app: &App) {
        if !app.is_rolling() {
            return;
        }
        let namespaces: BTreeSet<String> =
            app.keys().into_keys().filter(|key| crate::stage::is_deployment(key)).map(|key| key.namespace).collect();
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

    fn stop_following(&mut self) {
        let rolling: BTreeSet<String> = self
            .slots
            .values()
            .filter_map(|slot| slot.app.as_ref())
            .filter(|app| app.is_rolling())
            .flat_map(|app| app.keys().into_keys().map(|key| key.namespace))
            .collect();
        let all_here = self.slots.values().all(|slot| slot.app.is_some());
        let is_pods = |scope: &&Scope| scope.kind.is("apps", "ReplicaSet") || scope.kind.is("", "Pod");
        let unneeded: Vec<Scope> = self
            .cache
            .scopes()
            .filter(is_pods)
            .filter(|scope| scope.namespace.as_ref().is_some_and(|namespace| all_here && !rolling.contains(namespace)))
            .cloned()
            .collect();
        for scope in unneeded {
            self.context.world.unwatch(&scope);
            self.cache.forget(&scope);
            self.relist_at.remove(&scope);
        }
    }

    fn polled(&mut self, result: Result<Polled, SourceError>) {
        let now = self.context.world.now();
        self.is_polling = false;
        let is_rolling = self.slots.values().any(|slot| slot.app.as_ref().is_none_or(|app| app.is_rolling()));
        let pace = if is_rolling { self.pace.poll.min(POLL_WHEN_ROLLING) } else { self.pace.poll };
        self.poll_at = pace.after(now);
        if !is_rolling {
            self.stop_following();
        }
        match result {
            Ok(Polled::Unchanged) => {
                self.context.telemetry.polled(PollOutcome::Unchanged, now);
                self.source_works();
            }
            Ok(Polled::Moved(snapshot)) => {
                self.context.telemetry.polled(PollOutcome::Moved, now);
                if snapshot.ancestry == Ancestry::Diverged {
                    let commit = &snapshot.revision.commit;
                    let reason = format!(
                        "the history of branch {} was rewritten: commit {commit} does not descend from the last one that was seen; \
                         nothing is applied until `kubectl -n {} delete configmap {}` accepts it",
                        self.pace.branch,
                        self.context.namespace,
                        observed::SOURCE_MAP
                    );
                    return self.source_failed(reason, true);
                }
                self.snapshot = Some(snapshot.clone());
                self.start_read(Some(snapshot));
            }
            Err(error) => {
                self.context.telemetry.polled(PollOutcome::Failed, now);
                self.poll_failures += 1;
                let wait = Millis((self.pace.poll.0 << self.poll_failures.min(6)).min(60_000)).max(pace);
                self.poll_at = match &error {
                    SourceError::Busy { retry_after_seconds } => Millis::from_seconds(*retry_after_seconds).after(now),
                    _ => wait.after(now),
                };
                let is_certain = !matches!(error, SourceError::Unreachable(_) | SourceError::Busy { .. });
                tracing::warn!(%error, failures = self.poll_failures, "Git cannot be read");
                if is_certain || self.poll_failures >= POLL_FAILURES_MAX {
                    self.source_failed(error.to_string(), false);
                }
            }
        }
    }

    fn source_works(&mut self) {
        self.poll_failures = 0;
        if self.source_error.take().is_some() {
            self.wake_all();
        }
    }

    fn source_failed(&mut self, reason: String, is_diverged: bool) {
        self.is_diverged = is_diverged;
        if self.source_error.as_ref() != Some(&reason) {
            self.source_error = Some(reason);
            self.wake_all();
        }
    }

    fn wake_all(&mut self) {
        let names: Vec<AppName> = self.slots.keys().cloned().collect();
        names.iter().for_each(|name| self.wake(name, Timestamp::UNIX_EPOCH));
    }

    fn read(&mut self, source: Box<Source>, result: Result<(), SourceError>) {
        let now = self.context.world.now();
        if let Err(error) = result {
            self.source = Some(source);
            self.poll_at = RETRY.after(now);
            self.commit = None;
            return self.source_failed(error.to_string(), false);
        }
        if source.misses_kind {
            self.kinds_at.get_or_insert(Millis::from_seconds(10).after(now));
        }
        self.commit = source.revision.as_ref().map(|revision| revision.commit.clone());
        self.proven.clone_from(&self.commit);
        for (name, entered) in &source.apps {
            if !self.slots.contains_key(name) {
                let app = App::new(name.clone(), entered.declared.clone(), &self.pace.repository);
                self.slots.insert(name.clone(), Slot { app: Some(Box::new(app)), stored: None });
            }
        }
        let changed = source.changed.clone();
        self.source = Some(source);
        for name in changed {
            self.wake(&name, Timestamp::UNIX_EPOCH);
        }
        self.source_works();
    }

    fn listed(&mut self, scope: Scope, result: Result<Listed, ApiError>) {
        self.listing.remove(&scope);
        let now = self.context.world.now();
        match result {
            Ok(listed) => {
                let known = self.cache.has(&scope);
                let items = listed.items.into_iter().map(|object| self.slim(object)).collect();
                let changed = self.cache.replace(&scope, items, &listed.resource_version);
                self.context.world.watch(&scope, &listed.resource_version);
                self.heard.remove(&scope);
                if known {
                    for key in changed {
                        self.touched(&scope, &key, None);
                    }
                } else {
                    // Apps wait for this very list.
                    let waiting: Vec<AppName> = self.due.keys().cloned().collect();
                    waiting.iter().for_each(|name| self.wake(name, Timestamp::UNIX_EPOCH));
                }
            }
            Err(ApiError::UnknownKind(_)) if !self.cache.has(&scope) => {
                // The kind may come with the very Release that waits for it: nothing of it exists now.
                self.cache.replace(&scope, Vec::new(), "");
                self.relist_at.insert(scope, RETRY.after(now));
            }
            Err(error) => {
                tracing::warn!(kind = %scope.kind, %error, "a collection cannot be listed");
                self.relist_at.insert(scope, RETRY.after(now));
            }
        }
    }

    /// Only what is ours is kept whole.
    fn slim(&self, object: Object) -> Object {
        let is_ours = object.annotation(ANNOTATION_OWNER) == Some(self.context.owner.as_str());
        if is_ours || object.key.kind.is(store::GROUP, store::KIND) {
            return object;
        }
        let metadata = object.body.get("metadata").cloned().unwrap_or_default();
        let body =
            serde_json::json!({"apiVersion": object.api_version(), "kind": object.key.kind.kind, "metadata": metadata});
        object.with_body(body)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Changed { scope, change } => self.changed(&scope, change),
            Event::WatchEnded { scope, error } => self.watch_ended(scope, error),
            Event::SourceHint => self.poll_at = self.context.world.now(),
            Event::Woke | Event::Shutdown => {}
        }
    }

    fn watch_ended(&mut self, scope: Scope, error: Option<ApiError>) {
        let was_heard = self.heard.remove(&scope);
        let position = self.cache.resource_version(&scope).map(str::to_owned);
        match (error, position) {
            (_, None) => {}
            // A watch that ended with neither event nor bookmark may be blind: it costs one list.
            (None, Some(position)) if was_heard => self.context.world.watch(&scope, &position),
            (None | Some(ApiError::Gone), Some(_)) => self.list(scope),
            (Some(error), Some(_)) => {
                tracing::debug!(kind = %scope.kind, %error, "a watch ended");
                let at = Millis(500).after(self.context.world.now());
                self.relist_at.insert(scope, at);
            }
        }
    }

    fn changed(&mut self, scope: &Scope, change: Change) {
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
            self.touched(scope, &key, before.as_ref());
        }
    }

    /// An Application resource changed: by our own write, or by somebody who asks for something.
    fn application_changed(&mut self, scope: &Scope, change: Change) {
        let (object, is_deleted) = match &change {
            Change::Stored(object) => (object.clone(), false),
            Change::Deleted(object) => (object.clone(), true),
            Change::Bookmark(_) => {
                self.cache.fold(scope, change);
                return;
            }
        };
        self.cache.fold(scope, change);
        let name = AppName::from(object.key.name.as_str());
        let Some(slot) = self.slots.get_mut(&name) else { return };
        let known =
            slot.app.as_ref().and_then(|app| app.object.as_ref()).map(|object| object.resource_version().to_owned());
        if is_deleted {
            if let Some(app) = &mut slot.app {
                app.object = None;
                app.status = None;
            }
            return self.wake(&name, Timestamp::UNIX_EPOCH);
        }
        if known.is_some_and(|known| !is_newer(object.resource_version(), &known)) {
            return;
        }
        slot.stored = Some(object);
        self.wake(&name, Timestamp::UNIX_EPOCH);
    }

    /// Wakes the app that an object belongs to, before or now.
    fn touched(&mut self, scope: &Scope, key: &ObjectKey, before: Option<&Object>) {
        let app_of = |object: &Object| object.label(LABEL_APPLICATION).map(AppName::from);
        let now = self.cache.get(key);
        let name = if scope.kind.is("apps", "ReplicaSet") || scope.kind.is("", "Pod") {
            now.or(before).and_then(|object| self.app_of_pods(object))
        } else {
            now.and_then(app_of).or_else(|| before.and_then(app_of))
        };
        if let Some(name) = name {
            self.wake(&name, Timestamp::UNIX_EPOCH);
        }
    }

    /// The app whose Deployment a ReplicaSet or pod belongs to: names of the owners lead there.
    fn app_of_pods(&self, object: &Object) -> Option<AppName> {
        let owner = object.text("/metadata/ownerReferences/0/name")?;
        let deployment = if object.key.kind.is("", "Pod") { owner.rsplit_once('-')?.0 } else { owner };
        let key =
            ObjectKey { kind: GroupKind::new("apps", "Deployment"), name: deployment.to_owned(), ..object.key.clone() };
        self.cache.get(&key)?.label(LABEL_APPLICATION).map(AppName::from)
    }

    fn wake(&mut self, name: &AppName, at: Timestamp) {
        if self.slots.contains_key(name) {
            let due = self.due.entry(name.clone()).or_insert(at);
            *due = (*due).min(at);
        }
    }
}

fn whole(key: &ObjectKey, version: &str) -> Scope {
    Scope { kind: key.kind.clone(), version: version.to_owned(), namespace: None }
}

/// Which file declared a stored app, and what is to happen when it leaves Git.
fn declared_in(app: &App) -> Option<(String, Deletion)> {
    let spec = app.object.as_ref()?.body.get("spec")?;
    let file = spec.get("declaredIn").and_then(serde_json::Value::as_str).unwrap_or_default();
    let cascades = spec.get("deletion").and_then(serde_json::Value::as_str) == Some("cascade");
    Some((file.to_owned(), if cascades { Deletion::Cascade } else { Deletion::Orphan }))
}
