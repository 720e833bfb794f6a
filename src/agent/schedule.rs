//! The scheduler: which apps need a pass, what is watched, when Git is asked. It decides nothing about any app.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::Either;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;

use super::due::{Due, Rank};
use super::event::{Done, Ended, Office};
use super::neighbours::{Stood, stored};
use super::others::Others;
use super::polls::Polls;
use super::rest::is_moving;
use super::sight::is_secret;
use super::source::Source;
use super::start::{self, Started};
use super::tick::{Passed, tick};
use super::watching::outline;
use super::{App, Context, Pace, keep};
use crate::model::{AppName, Declared, Deletion, Millis, Object, ObjectKey, Timestamp};
use crate::observe::{Cache, is_newer};
use crate::world::{Event, Kinds, Scope, Snapshot, World};

/// Passes under way at once. Each is mostly waiting for the API server, and holds its app's objects as trees meanwhile.
const PASSES_MAX: usize = 32;
/// A list or a look at the kinds that failed is tried again after this.
pub(super) const RETRY: Millis = Millis::from_seconds(3);
/// Secrets are read again this often, since they are not watched.
const SECRETS_EVERY: Millis = Millis::from_seconds(600);
/// A far future, for sleeping until something happens.
const IDLE: Millis = Millis::from_seconds(3600);

/// For this long after a start, passes that nothing urges wait for Git to be read: everything is looked at then.
const GIT_AWAITED: Millis = Millis::from_seconds(5);
/// Passes that watches ask for lie this far apart.
const APART: Millis = Millis(100);

/// How long a pass may still take once the process is asked to end: as long as one write may.
const FINISH: Millis = Millis::from_seconds(5);

type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// One app and what reached it while a pass had it.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) app: Option<Box<App>>,
    /// The Application resource, newer than the app may know it.
    pub(super) stored: Option<Object>,
    /// In which resourceVersion somebody deleted the Application resource.
    pub(super) deleted: Option<String>,
    /// When its last pass ended.
    pub(super) passed_at: Option<Timestamp>,
}

impl Slot {
    /// Whether a rollout is under way, or may be: nobody knows while a pass has the app.
    pub(super) fn is_rolling(&self) -> bool {
        self.app.as_ref().is_none_or(|app| app.is_rolling())
    }

    /// Tells the app what watches have shown of its Application resource, unless an answer to a write has shown more.
    fn deliver(&mut self, app: &mut App) {
        let is_news =
            |version: &str, app: &App| app.object.as_ref().is_none_or(|it| is_newer(version, it.resource_version()));
        if let Some(version) = self.deleted.take().filter(|version| is_news(version, app)) {
            tracing::debug!(application = %app.name, %version, "the Application resource was deleted");
            app.object = None;
        }
        if let Some(object) = self.stored.take().filter(|object| is_news(object.resource_version(), app)) {
            keep::take(app, object);
        }
    }
}

/// The scheduler.
pub struct Scheduler<W> {
    pub(super) context: Arc<Context<W>>,
    office: watch::Receiver<Office>,
    pub(super) pace: Pace,
    pub(super) cache: Cache,
    pub(super) kinds: Arc<Kinds>,
    pub(super) slots: BTreeMap<AppName, Slot>,
    pub(super) due: Due,
    pub(super) work: FuturesUnordered<Work>,
    pub(super) passes: usize,
    /// Events being written.
    notices: usize,
    /// What Git declares; away while a commit is being read.
    pub(super) source: Option<Box<Source>>,
    /// Apps that were passed over meanwhile, with what they were told before: not all may have heard of the commit before.
    overlooked: BTreeSet<AppName>,
    git_awaited_until: Timestamp,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) commit: Option<String>,
    pub(super) proven: Option<String>,
    pub(super) polls: Polls,
    pub(super) source_error: Option<String>,
    pub(super) is_diverged: bool,
    /// Other repositories that apps render from.
    pub(super) others: Others,
    /// Which file declared each stored app, and what is to happen when it leaves Git.
    pub(super) declared_in: Arc<BTreeMap<AppName, (String, Deletion)>>,
    pub(super) listing: BTreeSet<Scope>,
    pub(super) relist_at: BTreeMap<Scope, Timestamp>,
    /// When each collection was last listed.
    pub(super) listed_at: BTreeMap<Scope, Timestamp>,
    /// Collections that gave something since their watch was opened.
    pub(super) heard: BTreeSet<Scope>,
    /// How apps stood after their last pass.
    pub(super) stood: BTreeMap<AppName, Stood>,
    /// Whom apps wait for; those that wait for nobody are not in it.
    pub(super) waits_for: BTreeMap<AppName, BTreeSet<AppName>>,
    /// Collections of kinds that the cluster does not serve at present.
    pub(super) unserved: BTreeSet<Scope>,
    pub(super) kinds_at: Option<Timestamp>,
    pub(super) secrets_at: Timestamp,
    pub(super) applications: Scope,
}

impl<W: World + 'static> Scheduler<W> {
    /// A scheduler that knows what is stored.
    pub fn new(started: Started<W>, pace: Pace) -> Self {
        let Started { context, kinds, apps, listed, scope } = started;
        let now = context.world.now();
        let mut cache = Cache::default();
        cache.replace(&scope, listed.items.iter().map(outline).collect(), &listed.resource_version);
        context.world.watch(&scope, &listed.resource_version);
        let (mut declared_in, mut waits_for) = (BTreeMap::new(), BTreeMap::new());
        let mut slots = BTreeMap::new();
        let mut due = Due::default();
        for (name, mut app) in apps {
            // The copy is read, so that what is there stays at rest.
            if let Some(object) = app.object.clone() {
                declared_in.extend(start::declared_in(&object).map(|told| (name.clone(), told)));
                waits_for
                    .extend(Some(stored(&object)).filter(|others| !others.is_empty()).map(|it| (name.clone(), it)));
            }
            app.repository.clone_from(&pace.repository);
            // A rollout goes on where it was, whether Git answers or not.
            if app.is_rolling() {
                due.set(&name, Rank::Begun, now);
            }
            slots.insert(name, Slot { app: Some(Box::new(app)), ..Slot::default() });
        }
        Self {
            office: context.office.subscribe(),
            context: Arc::new(context),
            pace,
            cache,
            kinds: Arc::new(kinds),
            slots,
            due,
            work: FuturesUnordered::new(),
            passes: 0,
            notices: 0,
            source: Some(Box::default()),
            overlooked: BTreeSet::new(),
            git_awaited_until: GIT_AWAITED.after(now),
            snapshot: None,
            commit: None,
            proven: None,
            polls: Polls::new(now),
            source_error: None,
            is_diverged: false,
            others: Others::default(),
            declared_in: Arc::new(declared_in),
            listing: BTreeSet::new(),
            relist_at: BTreeMap::new(),
            listed_at: BTreeMap::from([(scope.clone(), now)]),
            heard: BTreeSet::new(),
            stood: BTreeMap::new(),
            waits_for,
            unserved: BTreeSet::new(),
            kinds_at: None,
            secrets_at: SECRETS_EVERY.after(now),
            applications: scope,
        }
    }

    /// Runs until the process is asked to end, or this term is over.
    pub(super) async fn run(&mut self, epoch: u64) -> Ended {
        loop {
            if self.office.borrow_and_update().epoch() != Some(epoch) {
                return Ended::Deposed;
            }
            let until = self.start_work();
            let context = Arc::clone(&self.context);
            let mut office = self.office.clone();
            let news = async {
                let next = std::pin::pin!(context.world.next_event(until));
                match futures::future::select(next, std::pin::pin!(office.changed())).await {
                    Either::Left((event, _)) => Some(event),
                    Either::Right(_) => None,
                }
            };
            let event = if self.work.is_empty() {
                news.await
            } else {
                // Work first: `select` polls in order, and an `until` that has passed must not starve what it waits for.
                match futures::future::select(self.work.next(), std::pin::pin!(news)).await {
                    Either::Right((event, _)) => event,
                    Either::Left((done, _)) => {
                        if let Some(done) = done {
                            self.done(done);
                        }
                        None
                    }
                }
            };
            match event {
                Some(Event::Shutdown) => return Ended::Asked,
                Some(event) => self.take(event),
                None => {}
            }
        }
    }

    /// Lets what is under way come to its end. What takes too long may write no more, and whatever it wrote has then either
    /// taken effect or never will.
    pub(super) async fn finish(&mut self) {
        let context = Arc::clone(&self.context);
        for may_write in [true, false] {
            if !may_write {
                context.world.lead(None);
            }
            let late = std::pin::pin!(context.world.wait(Millis(context.world.uptime().0 + FINISH.0)));
            let done = std::pin::pin!(async {
                while self.passes + self.notices > 0
                    && let Some(done) = self.work.next().await
                {
                    self.done(done);
                }
            });
            futures::future::select(done, late).await;
        }
    }

    /// Stops what was watched and shown. Memory goes with the scheduler.
    pub(super) fn retire(&self) {
        self.cache.scopes().for_each(|scope| self.context.world.unwatch(scope));
        self.slots.keys().for_each(|name| self.context.world.show(name, None));
    }

    /// Starts what is due and returns when to look again.
    fn start_work(&mut self) -> Timestamp {
        let now = self.context.world.now();
        // Nothing that would end in writes is begun while none may start: a renewal is late, and its coming wakes us.
        let may_write = self.office.borrow().may_write(self.context.world.uptime());
        let poll_at = self.polls.due().filter(|_| may_write && self.source.is_some());
        if poll_at.is_some_and(|at| now >= at) {
            self.start_poll();
        }
        let others_at = self.look_elsewhere(now, may_write);
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
        while may_write && self.passes < PASSES_MAX {
            let first = self.due.ready(now).find(|name| self.is_here(name)).cloned();
            let Some(name) = first else { break };
            self.start_pass(&name);
        }
        let until = IDLE.after(now).min(self.secrets_at);
        let poll_at = self.polls.due().filter(|_| may_write && self.source.is_some());
        let earliest = self.due.next(now, |name| self.is_here(name));
        let others = self.relist_at.values().copied().chain(self.kinds_at).chain(earliest);
        others.chain(poll_at).chain(others_at).fold(until, Timestamp::min)
    }

    /// Whether no pass has the app.
    fn is_here(&self, name: &AppName) -> bool {
        self.slots.get(name).is_none_or(|slot| slot.app.is_some())
    }

    /// Starts a pass over an app, once everything that it has to do with is watched.
    fn start_pass(&mut self, name: &AppName) {
        let Some(slot) = self.slots.get_mut(name) else {
            self.due.remove(name);
            return;
        };
        let may_be_silent = self.source_error.is_none() && slot.app.as_ref().is_some_and(|app| !app.is_rolling());
        if may_be_silent && self.others.is_awaited(name) {
            // Nothing is known of it yet, and nothing is told: it is woken when there is.
            self.due.remove(name);
            return;
        }
        let Some(mut app) = slot.app.take() else { return };
        slot.deliver(&mut app);
        self.declare(&mut app);
        app.neighbours = self.neighbours(&app);
        let keys = app.keys();
        let scopes: BTreeSet<Scope> =
            keys.iter().filter(|(key, _)| !is_secret(key)).map(|(key, version)| whole(key, version)).collect();
        let missing: Vec<Scope> = scopes.into_iter().filter(|scope| !self.cache.has(scope)).collect();
        if !missing.is_empty() {
            self.slots.entry(name.clone()).or_default().app = Some(app);
            // The pass comes when the lists are there.
            self.due.set(name, self.rank(name), RETRY.after(self.context.world.now()));
            missing.into_iter().for_each(|scope| self.list(scope));
            return;
        }
        if may_be_silent && self.commit.is_none() && self.context.world.now() < self.git_awaited_until {
            // Git is being read, and everything is looked at afterwards.
            self.slots.entry(name.clone()).or_default().app = Some(app);
            self.due.set(name, Rank::Other, self.git_awaited_until);
            return;
        }
        let unserved = keys.iter().filter(|(key, version)| self.unserved.contains(&whole(key, version)));
        let unserved: BTreeSet<_> = if self.unserved.is_empty() {
            BTreeSet::new()
        } else {
            unserved.map(|(key, _)| key.kind.clone()).collect()
        };
        self.due.remove(name);
        if self.source.is_none() {
            self.overlooked.insert(name.clone());
        }
        // Passes over one that moves follow each other closely: what they look at is read from its text once for all of them.
        let keeps_awake = is_moving(&app);
        let seen = keys.iter().filter_map(|(key, _)| {
            let object = self.cache.get(key)?;
            if keeps_awake {
                object.body.wake();
            }
            Some(((*key).clone(), object.clone()))
        });
        let seen = if matches!(app.declared, Declared::Removed { .. }) {
            self.with_runs(&app, seen.collect())
        } else {
            seen.collect()
        };
        app.unserved = unserved;
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

    /// Takes the source back, and has those look again that were passed over without it.
    pub(super) fn put_back(&mut self, source: Box<Source>) {
        self.source = Some(source);
        let overlooked = std::mem::take(&mut self.overlooked);
        overlooked.iter().for_each(|name| self.wake(name, Timestamp::UNIX_EPOCH));
    }

    /// Gives an app what Git says at present.
    fn declare(&self, app: &mut App) {
        self.declare_own(app);
        if self.source_error.is_none() {
            self.judge_elsewhere(app);
        }
    }

    /// As far as the repository that declares has it.
    fn declare_own(&self, app: &mut App) {
        let Some(entered) = self.source.as_ref().and_then(|source| source.apps.get(&app.name)) else {
            if let (Declared::Broken { reason, .. }, Some(error)) = (&mut app.declared, &self.source_error) {
                reason.clone_from(error);
            }
            return;
        };
        app.next.clone_from(&entered.release);
        app.rendered_from.clone_from(&entered.rendered_from);
        app.declared = entered.declared.clone();
        if let Some(error) = &self.source_error {
            let last = app.application().cloned();
            let revision = self.source.as_ref().and_then(|source| source.revision.clone());
            app.declared = Declared::Broken { last, revision, reason: error.clone() };
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Passed(passed) => self.passed(*passed),
            Done::Polled(result) => self.polled(result),
            Done::OtherPolled(other, result) => self.other_polled(&other, result),
            Done::Read(source, is_new, result) => self.read(source, is_new, result),
            Done::Listed(scope, result) => self.listed(scope, result),
            Done::Kinds(Ok(kinds)) => {
                if *self.kinds != kinds {
                    self.kinds = Arc::new(kinds);
                }
                if self.source.as_ref().is_some_and(|source| source.may_be_retried) {
                    self.start_read(None);
                }
            }
            Done::Kinds(Err(error)) => {
                tracing::warn!(%error, "the cluster's kinds cannot be read");
                self.kinds_at = Some(RETRY.after(self.context.world.now()));
            }
            Done::Told => self.notices -= 1,
        }
    }

    fn passed(&mut self, passed: Passed) {
        self.passes -= 1;
        let Passed { mut app, learned, gone, absent, notices, wake_at, is_forgotten } = passed;
        for object in learned {
            // What a write shows to be there is served.
            self.unserved.retain(|scope| scope.kind != object.key.kind);
            self.cache.learn(object);
        }
        gone.iter().for_each(|key| self.cache.unlearn(key));
        absent.iter().for_each(|(key, known)| self.cache.remove(key, known));
        for notice in notices {
            let context = Arc::clone(&self.context);
            self.notices += 1;
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
            Arc::make_mut(&mut self.declared_in).remove(&name);
            self.forget_standing(&name);
            if let Some(source) = &mut self.source {
                source.apps.remove(&name);
            }
            return;
        }
        self.follow_pods(&app);
        self.note_standing(&app);
        if let Some(declared_in) =
            app.object.as_ref().and_then(start::declared_in).filter(|now| self.declared_in.get(&name) != Some(now))
        {
            Arc::make_mut(&mut self.declared_in).insert(name.clone(), declared_in);
        }
        if let Some(at) = wake_at {
            self.wake(&name, at);
        }
        self.lay_to_rest(&mut app);
        let slot = self.slots.entry(name.clone()).or_default();
        slot.app = Some(Box::new(app));
        slot.passed_at = Some(self.context.world.now());
        self.due.rank(&name, self.rank(&name));
    }

    pub(super) fn wake_all(&mut self) {
        let names: Vec<AppName> = self.slots.keys().cloned().collect();
        names.iter().for_each(|name| self.wake(name, Timestamp::UNIX_EPOCH));
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Changed { scope, change } => self.changed(&scope, change),
            Event::WatchEnded { scope, error } => self.watch_ended(scope, error),
            Event::SourceHint => self.hinted(),
            Event::OtherHint(other) => self.other_hinted(&other),
            Event::Woke | Event::Shutdown => {}
        }
    }

    pub(super) fn wake(&mut self, name: &AppName, at: Timestamp) {
        if self.slots.contains_key(name) {
            self.due.advance(name, self.rank(name), at);
        }
    }

    /// Wakes an app for what a watch has shown: at once, or [`APART`] after its last pass. Changes come in bursts, as when
    /// pods start, and one look at all of them says the same as one at each.
    pub(super) fn wake_for_change(&mut self, name: &AppName) {
        let now = self.context.world.now();
        let Some(slot) = self.slots.get(name) else { return };
        let since = if slot.app.is_none() { Some(now) } else { slot.passed_at };
        let at = since.filter(|at| *at <= now).map_or(Timestamp::UNIX_EPOCH, |at| APART.after(at));
        self.wake(name, at);
    }
}

fn whole(key: &ObjectKey, version: &str) -> Scope {
    Scope { kind: key.kind.clone(), version: version.to_owned(), namespace: None }
}
