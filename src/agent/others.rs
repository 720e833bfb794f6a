//! Other repositories that apps render from: each reference of each is polled by itself, and what becomes of one concerns the
//! apps alone that use it.
//!
//! What they need is known once the repository that declares was read. An app whose other repository was never fetched keeps
//! what it had; one whose other repository fails, was rewritten or is not trusted says so, and what runs keeps running.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::App;
use super::event::Done;
use super::polling::awaits_commits;
use super::polls::Polls;
use super::schedule::{Scheduler, Slot};
use super::source::{Fetched, Source};
use crate::model::{AppName, Application, Declared, Elsewhere, Timestamp};
use crate::world::{Ancestry, Polled, Snapshot, SourceError, World};

/// References of other repositories that are followed at once: each has a thread, a clone and a poll of its own.
const OTHERS_MAX: usize = 100;

/// What is known of other repositories.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// `None` until it is known which are used.
    followed: Option<BTreeMap<Elsewhere, Other>>,
    /// Apps that use one which is not followed, since there are too many.
    excess: BTreeMap<AppName, (Arc<Application>, Elsewhere)>,
    /// Apps of which nothing is known before another repository is fetched.
    awaited: BTreeSet<AppName>,
    /// Apps that have to hear that something failed or works again.
    concerned: BTreeSet<AppName>,
    /// Whether something was fetched since the last read began.
    is_news: bool,
    /// How many were followed so far.
    count: u64,
}

/// One reference of one of them.
#[derive(Debug)]
struct Other {
    polls: Polls,
    /// Keeps its polls apart from those of others.
    number: u64,
    fetched: Option<Fetched>,
    /// Why it cannot be used at present.
    error: Option<String>,
    users: BTreeMap<AppName, Arc<Application>>,
}

impl Others {
    /// What was fetched of them: what a read that begins now sees.
    pub(super) fn fetched(&mut self) -> BTreeMap<Elsewhere, Fetched> {
        self.is_news = false;
        let fetched = |(other, state): (&Elsewhere, &Other)| Some((other.clone(), state.fetched.clone()?));
        self.followed.iter().flatten().filter_map(fetched).collect()
    }

    /// Whether nothing can be said of an app before another repository is fetched.
    pub(super) fn is_awaited(&self, name: &AppName) -> bool {
        self.awaited.contains(name) && self.fault(name).is_none()
    }

    /// Why an app cannot be rendered at present because of another repository, and the app as it is declared.
    fn fault(&self, name: &AppName) -> Option<(&Arc<Application>, String)> {
        if let Some((application, other)) = self.excess.get(name) {
            let reason = format!("more than {OTHERS_MAX} other repositories and revisions are named in all");
            return Some((application, told(application, other, &reason)));
        }
        let failing = |(other, state): (&Elsewhere, &'_ Other)| Some((other.clone(), state.error.clone()?));
        let (other, error) =
            self.followed.iter().flatten().filter(|(_, state)| state.users.contains_key(name)).find_map(failing)?;
        let application = self.followed.as_ref()?.get(&other)?.users.get(name)?;
        Some((application, told(application, &other, &error)))
    }

    /// Notes who uses what from here on; returns whether that are others than before.
    fn follow(&mut self, source: &Source, now: Timestamp) -> bool {
        let mut before = self.followed.take();
        let mut is_changed = before.is_none();
        let mut followed = BTreeMap::new();
        self.excess.clear();
        let mut users: BTreeMap<&Elsewhere, BTreeMap<AppName, Arc<Application>>> = BTreeMap::new();
        for (name, application, other) in source.elsewhere() {
            users.entry(other).or_default().insert(name.clone(), Arc::clone(application));
        }
        // Those that are followed already come first: one more displaces none.
        let known = |other: &&Elsewhere| before.as_ref().is_some_and(|before| before.contains_key(*other));
        let mut wanted: Vec<(bool, &Elsewhere)> = users.keys().map(|other| (!known(other), *other)).collect();
        wanted.sort();
        for (index, (is_new, other)) in wanted.into_iter().enumerate() {
            let users = users.remove(other).unwrap_or_default();
            if index >= OTHERS_MAX {
                self.excess.extend(users.into_iter().map(|(name, app)| (name, (app, other.clone()))));
                continue;
            }
            let known = before.as_mut().and_then(|before| before.remove(other));
            self.count += u64::from(is_new);
            is_changed |= is_new;
            let new = || Other {
                polls: Polls::new(now),
                number: self.count,
                fetched: None,
                error: None,
                users: BTreeMap::new(),
            };
            followed.insert(other.clone(), Other { users, ..known.unwrap_or_else(new) });
        }
        is_changed |= before.is_some_and(|left| !left.is_empty());
        self.followed = Some(followed);
        self.awaited = source.pending.keys().filter(|name| !source.apps.contains_key(*name)).cloned().collect();
        self.concerned.extend(self.excess.keys().cloned());
        is_changed
    }
}

/// The reason with the field that it is about.
fn told(application: &Application, other: &Elsewhere, reason: &str) -> String {
    let index = application.sources.iter().position(|source| source.elsewhere.as_ref() == Some(other));
    let field = match index.filter(|_| application.spec.get("sources").is_some()) {
        Some(index) => format!("spec.sources[{index}].repository"),
        None => "spec.source.repository".to_owned(),
    };
    format!("{}: {field}: {other}: {reason}", application.declared_in)
}

impl<W: World + 'static> Scheduler<W> {
    /// Starts the polls of other repositories that are due, and what follows from what they brought; returns when to look
    /// again. Nothing of it begins while a commit is being read.
    pub(super) fn look_elsewhere(&mut self, now: Timestamp, may_write: bool) -> Option<Timestamp> {
        self.source.as_ref()?;
        for name in std::mem::take(&mut self.others.concerned) {
            if !self.slots.contains_key(&name)
                && let Some((application, reason)) = self.others.fault(&name)
            {
                let declared = Declared::Broken { last: Some(Arc::clone(application)), revision: None, reason };
                let app = App::new(name.clone(), declared, &self.pace.repository);
                self.slots.insert(name.clone(), Slot { app: Some(Box::new(app)), ..Slot::default() });
            }
            self.wake(&name, Timestamp::UNIX_EPOCH);
        }
        if !may_write {
            return None;
        }
        let polled = self.others.followed.iter_mut().flatten();
        let due: Vec<Elsewhere> = polled
            .filter(|(_, state)| state.polls.due().is_some_and(|at| now >= at))
            .map(|(other, _)| other.clone())
            .collect();
        due.into_iter().for_each(|other| self.poll_other(other));
        let next = self.others.followed.iter().flatten().filter_map(|(_, state)| state.polls.due()).min();
        // The answer to a poll of the repository that declares would find its commit being read, and be lost.
        if self.others.is_news && self.commit.is_some() && self.polls.due().is_some() {
            self.start_read(None);
        }
        next
    }

    fn poll_other(&mut self, other: Elsewhere) {
        let Some(state) = self.others.followed.as_mut().and_then(|followed| followed.get_mut(&other)) else { return };
        state.polls.start();
        let known = state.fetched.as_ref().map(|fetched| fetched.revision.commit.clone());
        let context = Arc::clone(&self.context);
        self.work.push(Box::pin(async move {
            let polled = context.world.poll(Some(&other), known.as_deref(), known.as_deref()).await;
            Done::OtherPolled(other, polled)
        }));
    }

    /// Another repository may have moved.
    pub(super) fn other_hinted(&mut self, other: &Elsewhere) {
        let now = self.context.world.now();
        if let Some(state) = self.others.followed.as_mut().and_then(|followed| followed.get_mut(other)) {
            state.polls.hint(now);
        }
    }

    pub(super) fn other_polled(&mut self, other: &Elsewhere, result: Result<Polled, SourceError>) {
        let now = self.context.world.now();
        let Some(state) = self.others.followed.as_ref().and_then(|followed| followed.get(other)) else { return };
        let mut users = state.users.keys().filter_map(|name| self.slots.get(name));
        let is_awaiting = users.any(|slot| awaits_commits(slot, now));
        let rate = self.rate(is_awaiting, self.pace.spread.map(|seed| seed.wrapping_add(state.number)));
        let Some(state) = self.others.followed.as_mut().and_then(|followed| followed.get_mut(other)) else { return };
        state.polls.end(result.as_ref().map(drop), rate, now);
        let error = match result {
            Ok(Polled::Moved(snapshot)) if snapshot.ancestry == Ancestry::Diverged => Some(rewritten(&snapshot)),
            Ok(Polled::Moved(snapshot)) => {
                tracing::info!(repository = %other, commit = snapshot.revision.commit, "another repository moved");
                state.polls.work();
                state.fetched = Some(Fetched { revision: snapshot.revision, files: snapshot.files });
                self.others.is_news = true;
                None
            }
            Ok(Polled::Unchanged) => {
                state.polls.work();
                None
            }
            Err(error) => {
                tracing::warn!(%error, repository = %other, failures = state.polls.failures(), "another repository cannot be read");
                if state.polls.is_worth_telling(&error) { Some(error.to_string()) } else { state.error.clone() }
            }
        };
        if state.error != error {
            state.error = error;
            self.others.concerned.extend(state.users.keys().cloned());
        }
    }

    /// Follows what the apps of a commit name.
    pub(super) fn follow_others(&mut self, source: &Source) {
        let now = self.context.world.now();
        if self.others.follow(source, now) {
            let all = self.others.followed.iter().flatten().map(|(other, _)| other.clone()).collect();
            self.context.world.follow(&all);
        }
    }

    /// Tells an app that another repository which it needs cannot be used.
    pub(super) fn judge_elsewhere(&self, app: &mut App) {
        let Some((application, reason)) = self.others.fault(&app.name) else { return };
        let known = match &app.declared {
            Declared::Ready { target, .. } => Some(target.revision.clone()),
            Declared::Broken { revision, .. } => revision.clone(),
            Declared::Removed { .. } => return,
        };
        let last = app.application().or(Some(application)).cloned();
        let revision = self.source.as_ref().and_then(|source| source.revision.clone()).or(known);
        app.declared = Declared::Broken { last, revision, reason };
    }
}

fn rewritten(snapshot: &Snapshot) -> String {
    let commit = &snapshot.revision.commit;
    format!(
        "the history of branch {} was rewritten: commit {commit} does not descend from the last one that was seen; nothing of \
         it is applied; to accept it, name that commit in `revision`, or restart the agent",
        snapshot.revision.branch
    )
}
