//! The state of the simulated world, and how time passes in it. One queue orders everything that travels: requests,
//! answers, watch events, what people do. Nothing in here knows the agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::acts::Act;
use super::api::{Api, Commit, Writer};
use super::chance::{self, Chance};
use super::controllers::Controllers;
use super::elsewhere::OtherRepositories;
use super::faults::{Fault, Faults};
use super::git::Git;
use super::metrics::Metrics;
use super::process::{Clock, Process, Stream};
use crate::model::{Millis, ObjectKey, Timestamp};
use crate::world::{ApiError, Change, Event, Scope};

/// Something that happens at a moment.
pub(super) type Happening = Box<dyn FnOnce(&mut State) + Send>;

/// How long a packet travels, in milliseconds.
const TRAVEL_MILLIS: (u64, u64) = (1, 5);
/// A process that died starts again after this, in milliseconds.
const RESTART_MILLIS: (u64, u64) = (200, 3000);
/// A watch is open this long, in milliseconds: the real edge asks for 45 to 55 s.
const WATCH_MILLIS: (u64, u64) = (45_000, 55_000);
/// This long before the end of a watch the server sends a bookmark (`storage/cacher/cache_watcher.go`).
const BOOKMARK_BEFORE_MILLIS: u64 = 2000;

/// Kinds whose fields nobody fights over: nobody reads who owns what of them, and most commits are theirs.
const UNTRACKED: &[&str] = &["Application", "Event", "Lease", "Namespace", "Pod", "ReplicaSet", "Secret"];

/// The world.
pub(super) struct State {
    pub(super) now: Timestamp,
    pub(super) chance: Chance,
    pub(super) api: Api,
    pub(super) controllers: Controllers,
    pub(super) git: Git,
    pub(super) others: OtherRepositories,
    pub(super) metrics: Metrics,
    pub(super) faults: Faults,
    pub(super) processes: Vec<Process>,
    /// Processes to start: identity and clock rate.
    pub(super) starts: Vec<(Arc<str>, i64)>,
    /// Nothing reaches the API server until then.
    pub(super) api_away_until: Timestamp,
    /// Git does not answer until then.
    pub(super) git_away_until: Timestamp,
    /// Every commit, for those who check; taken by [`super::Sim::take_commits`].
    pub(super) commits: Vec<Commit>,
    /// Acts that wait for so many commits.
    pub(super) acts: BTreeMap<u64, Vec<Act>>,
    /// What was done, in order, for stories.
    pub(super) done: Vec<(Timestamp, String)>,
    pub(super) committed: u64,
    passed_on: u64,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    sequence: u64,
    draws: u64,
    generations: u64,
}

impl State {
    pub(super) fn new(now: Timestamp, seed: u64, controllers: Controllers, faults: Faults) -> Self {
        let api = Api::new(now).untracked(UNTRACKED);
        let passed_on = api.revision();
        Self {
            now,
            chance: Chance::new(seed),
            api,
            controllers,
            git: Git::default(),
            others: OtherRepositories::default(),
            metrics: Metrics::default(),
            faults,
            processes: Vec::new(),
            starts: Vec::new(),
            api_away_until: now,
            git_away_until: now,
            commits: Vec::new(),
            acts: BTreeMap::new(),
            done: Vec::new(),
            committed: 0,
            passed_on,
            queue: BTreeMap::new(),
            sequence: 0,
            draws: 0,
            generations: 0,
        }
    }

    /// Does something after a while.
    pub(super) fn later(&mut self, wait: Millis, happening: impl FnOnce(&mut Self) + Send + 'static) {
        self.at(wait.after(self.now), happening);
    }

    /// Does something at a moment.
    pub(super) fn at(&mut self, at: Timestamp, happening: impl FnOnce(&mut Self) + Send + 'static) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), Box::new(happening));
    }

    /// A draw from a range of a stream.
    pub(super) fn between(&mut self, stream: chance::Stream, (low, high): (u64, u64)) -> Millis {
        self.draws += 1;
        Millis(self.chance.between(stream, self.draws, low, high))
    }

    /// How long something travels now.
    pub(super) fn travel(&mut self) -> Millis {
        self.between(chance::Stream::Latency, TRAVEL_MILLIS)
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let wakes = self.processes.iter().filter(|process| !process.is_dead).filter_map(|process| {
            let wake = process.wakes.first()?;
            Some(process.paused_until.map_or(*wake, |until| until.max(*wake)))
        });
        let resumes =
            self.processes.iter().filter(|process| !process.is_dead).filter_map(|process| process.paused_until);
        queued.into_iter().chain(self.controllers.next_at()).chain(wakes).chain(resumes).min()
    }

    /// Lets the next thing happen. False when nothing ever will.
    pub(super) fn step(&mut self, until: Timestamp) -> bool {
        let Some(at) = self.next_at().filter(|at| *at <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(at);
        self.api.set_now(self.now);
        let now = self.now;
        for process in self.processes.iter_mut().filter(|process| !process.is_dead) {
            if process.paused_until.is_some_and(|until| until <= now) {
                process.paused_until = None;
            }
            if process.paused_until.is_none() && process.wakes.first().is_some_and(|wake| *wake <= now) {
                process.wakes = process.wakes.split_off(&Millis(1).after(now));
                process.wake();
            }
        }
        if self.controllers.next_at().is_some_and(|due| due <= now) {
            self.controllers.step(&mut self.api, now);
        } else if let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now) {
            let happening = entry.remove();
            happening(self);
        }
        self.pass_on();
        true
    }

    /// Tells controllers, watches and checkers of what was committed.
    pub(super) fn pass_on(&mut self) {
        while self.passed_on < self.api.revision() {
            let news: Vec<Commit> = self.api.commits_after(self.passed_on).unwrap_or_default().to_vec();
            self.passed_on = self.api.revision();
            for commit in news {
                self.controllers.notice(&commit);
                self.stream(&commit);
                self.committed += 1;
                self.commits.push(commit);
                for act in self.acts.remove(&self.committed).unwrap_or_default() {
                    self.perform(&act);
                }
            }
        }
    }

    /// Sends a commit to every watch that covers it.
    fn stream(&mut self, commit: &Commit) {
        for process in 0..self.processes.len() {
            if self.processes[process].is_dead {
                continue;
            }
            let watches = self.processes[process].watches.iter();
            let scopes = watches.filter(|(scope, stream)| stream.is_open && covers(scope, &commit.key));
            let scopes: Vec<Scope> = scopes.map(|(scope, _)| scope.clone()).collect();
            for scope in scopes {
                if let Some(change) = change_of(commit) {
                    self.deliver(process, &scope, change);
                }
            }
        }
    }

    /// Sends one change to one watch, with what may happen to it on the way.
    fn deliver(&mut self, process: usize, scope: &Scope, change: Change) {
        if self.faults.strike(Fault::DropEvent, self.chance).is_some() {
            return;
        }
        let chance = self.chance;
        let mut wait = self.travel();
        if let Some(draw) = self.faults.strike(Fault::DelayEvent, chance) {
            wait = Millis(200 + draw % 5000);
        }
        let overtakes = self.faults.strike(Fault::SwapEvent, chance).is_some();
        let repeats = self.faults.strike(Fault::RepeatEvent, chance);
        let now = self.now;
        let Some(stream) = self.processes[process].watches.get_mut(scope).filter(|stream| !stream.is_mute) else {
            return;
        };
        let at = if overtakes { Millis(0).after(now) } else { wait.after(now).max(stream.last_at) };
        stream.last_at = stream.last_at.max(at);
        let generation = stream.generation;
        let event = Event::Changed { scope: scope.clone(), change };
        if let Some(draw) = repeats {
            let event = event.clone();
            self.at(Millis(500 + draw % 4000).after(at), move |state| state.hand(process, generation, event));
        }
        self.at(at, move |state| state.hand(process, generation, event));
    }

    /// An event arrives at a process, unless its watch has ended meanwhile.
    fn hand(&mut self, process: usize, generation: u64, event: Event) {
        let process = &mut self.processes[process];
        let (Event::Changed { scope, .. } | Event::WatchEnded { scope, .. }) = &event else { return };
        if process.is_dead || process.watches.get(scope).is_none_or(|stream| stream.generation != generation) {
            return;
        }
        if matches!(event, Event::WatchEnded { .. }) {
            process.watches.remove(scope);
        }
        process.inbox.push_back(event);
        process.wake();
    }

    /// Opens a watch.
    pub(super) fn watch(&mut self, process: usize, scope: &Scope, revision: &str) {
        self.generations += 1;
        let generation = self.generations;
        let stream = Stream { generation, is_open: false, is_mute: false, last_at: self.now };
        self.processes[process].watches.insert(scope.clone(), stream);
        let revision: u64 = revision.parse().unwrap_or_default();
        let opened = self.travel();
        let scope = scope.clone();
        self.later(opened, move |state| state.open(process, generation, &scope, revision));
    }

    /// The server opens a watch: first what happened since, then what happens.
    fn open(&mut self, process: usize, generation: u64, scope: &Scope, revision: u64) {
        let is_same = |stream: &Stream| stream.generation == generation;
        if self.processes[process].is_dead || !self.processes[process].watches.get(scope).is_some_and(is_same) {
            return;
        }
        let end = |error: Option<ApiError>| Event::WatchEnded { scope: scope.clone(), error };
        if self.now < self.api_away_until {
            return self.hand(process, generation, end(Some(ApiError::Unreachable("connection refused".to_owned()))));
        }
        let missed: Option<Vec<Change>> = self
            .api
            .commits_after(revision)
            .map(|commits| commits.iter().filter(|commit| covers(scope, &commit.key)).filter_map(change_of).collect());
        let Some(missed) = missed else { return self.hand(process, generation, end(Some(ApiError::Gone))) };
        if let Some(stream) = self.processes[process].watches.get_mut(scope) {
            stream.is_open = true;
        }
        for change in missed {
            self.deliver(process, scope, change);
        }
        self.plan_end(process, generation, scope);
    }

    /// Plans how a watch ends: after its time with a bookmark before, or by a fault.
    fn plan_end(&mut self, process: usize, generation: u64, scope: &Scope) {
        let mut open_for = self.between(chance::Stream::Delivery, WATCH_MILLIS);
        let mut error = None;
        if let Some(draw) = self.faults.strike(Fault::EndWatch, self.chance) {
            open_for = Millis(draw % 10_000);
            error = match draw % 3 {
                0 => Some(ApiError::Gone),
                1 => Some(ApiError::Unreachable("connection reset".to_owned())),
                _ => None,
            };
        } else {
            let bookmark_at = Millis(open_for.0 - BOOKMARK_BEFORE_MILLIS);
            let scope = scope.clone();
            self.later(bookmark_at, move |state| {
                let change = Change::Bookmark(state.api.revision().to_string());
                state.follow(process, generation, Event::Changed { scope, change });
            });
        }
        let is_broken = error.is_some();
        let event = Event::WatchEnded { scope: scope.clone(), error };
        self.later(open_for, move |state| {
            if is_broken {
                // What was still on its way is lost with the connection.
                state.hand(process, generation, event);
            } else {
                state.follow(process, generation, event);
            }
        });
    }

    /// Hands an event over behind all that is on its way.
    fn follow(&mut self, process: usize, generation: u64, event: Event) {
        let (Event::Changed { scope, .. } | Event::WatchEnded { scope, .. }) = &event else { return };
        let Some(stream) = self.processes[process].watches.get(scope) else { return };
        if stream.is_mute && matches!(event, Event::Changed { .. }) {
            return;
        }
        let at = stream.last_at;
        self.at(at, move |state| state.hand(process, generation, event));
    }

    /// A process dies; another of the same name starts after a while.
    pub(super) fn crash(&mut self, process: usize) {
        if std::mem::replace(&mut self.processes[process].is_dead, true) {
            return;
        }
        self.say(format!("the process {} of {} dies", process, self.processes[process].identity));
        let identity = Arc::clone(&self.processes[process].identity);
        let wait = self.between(chance::Stream::Latency, RESTART_MILLIS);
        self.later(wait, move |state| state.starts.push((identity, 1000)));
    }

    /// A process is born; whoever owns the agent's code runs it.
    pub(super) fn born(&mut self, identity: Arc<str>, rate_permille: i64) -> usize {
        self.processes.push(Process::new(identity, Clock::new(self.now, rate_permille)));
        self.processes.len() - 1
    }

    /// Somebody else writes an object just before a write of ours.
    pub(super) fn race(&mut self, key: &ObjectKey) {
        let change = json!({"metadata": {"annotations": {"example.com/racer": self.committed.to_string()}}});
        // The object may be missing: nobody races then.
        let _ = self.api.merge(&Writer::other("racer"), key, &change, crate::world::Part::Object);
    }

    /// Every watch breaks.
    pub(super) fn break_watches(&mut self) {
        for process in 0..self.processes.len() {
            let watches = self.processes[process].watches.iter();
            let broken: Vec<(Scope, u64)> = watches.map(|(scope, stream)| (scope.clone(), stream.generation)).collect();
            for (scope, generation) in broken {
                let error = Some(ApiError::Unreachable("connection reset".to_owned()));
                self.hand(process, generation, Event::WatchEnded { scope, error });
            }
        }
    }

    /// Eight bytes that nobody can guess.
    pub(super) fn secret(&mut self) -> u64 {
        self.draws += 1;
        self.chance.draw(chance::Stream::Secret, self.draws)
    }

    /// Notes what was done.
    pub(super) fn say(&mut self, what: String) {
        self.done.push((self.now, what));
    }
}

fn covers(scope: &Scope, key: &ObjectKey) -> bool {
    scope.kind == key.kind && scope.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
}

fn change_of(commit: &Commit) -> Option<Change> {
    match (&commit.after, &commit.before) {
        (Some(after), _) => Some(Change::Stored(after.clone())),
        (None, Some(before)) => {
            // The last state carries the resourceVersion of the deletion.
            let mut body = (*before.body).clone();
            body["metadata"]["resourceVersion"] = json!(commit.revision.to_string());
            Some(Change::Deleted(before.with_body(body)))
        }
        (None, None) => None,
    }
}
