//! Where one process of the agent sits: [`World`], answered by the simulated one. A request travels, takes effect when
//! it arrives whether or not its sender still lives, and its answer travels back.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use serde_json::Value;

use super::acts::writer;
use super::api::Writer;
use super::chance::Stream;
use super::faults::Fault;
use super::state::State;
use crate::model::marks::FIELD_MANAGER;
use crate::model::{AppName, Elsewhere, Millis, Object, ObjectKey, RenderJob, RenderOutput, Timestamp};
use crate::status::AppView;
use crate::world::{
    Acting, ApiError, ApplyOptions, BlobId, Event, Kinds, Listed, MeasureError, Part, Polled, Preconditions,
    RenderFault, Scope, SourceError, World,
};

/// How long the agent waits for an answer: what the real edge allows a call.
const CALL_MILLIS: u64 = 5000;
/// How long it waits for Git.
const POLL_MILLIS: u64 = 60_000;

/// Where one process sits.
#[derive(Clone)]
pub(super) struct Seat {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) process: usize,
}

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Read,
    Write,
    /// A write of the lease, which no lease guards.
    Elect,
}

/// An answer that is awaited.
struct Reply<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

struct Slot<T> {
    answer: Option<T>,
    waker: Option<Waker>,
}

impl<T> Future for Reply<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = lock(&self.slot);
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// One thread runs everything, so a poisoned lock means that a panic is on its way already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer<T>(slot: &Arc<Mutex<Slot<T>>>, value: T) {
    let mut slot = lock(slot);
    // A call that timed out before takes no second answer.
    if slot.answer.is_none() {
        slot.answer = Some(value);
    }
    if let Some(waker) = slot.waker.take() {
        waker.wake();
    }
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Sends a call to the API server.
    fn send<T: Send + 'static>(
        &self,
        doing: Doing,
        key: Option<ObjectKey>,
        run: impl FnOnce(&mut State) -> Result<T, ApiError> + Send + 'static,
    ) -> impl Future<Output = Result<T, ApiError>> + Send {
        let slot = Arc::new(Mutex::new(Slot { answer: None, waker: None }));
        let mut state = self.state();
        depart(&mut state, self.process, doing, key, Arc::clone(&slot), run);
        Reply { slot }
    }

    /// Asks something other than the API server: answered after one round trip.
    fn ask<T: Send + 'static>(
        &self,
        run: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        let slot = Arc::new(Mutex::new(Slot { answer: None, waker: None }));
        let reply = Reply { slot: Arc::clone(&slot) };
        let mut state = self.state();
        let wait = Millis(state.travel().0 + state.travel().0);
        state.later(wait, move |state| {
            let value = run(state);
            answer(&slot, value);
        });
        reply
    }
}

/// A call leaves a process.
fn depart<T: Send + 'static>(
    state: &mut State,
    process: usize,
    doing: Doing,
    key: Option<ObjectKey>,
    slot: Arc<Mutex<Slot<Result<T, ApiError>>>>,
    run: impl FnOnce(&mut State) -> Result<T, ApiError> + Send + 'static,
) {
    let chance = state.chance;
    if doing == Doing::Write {
        let sender = &state.processes[process];
        if sender.leads_until.is_none_or(|until| sender.clock.uptime(state.now) >= until) {
            return answer(&slot, Err(ApiError::Deposed));
        }
        if state.faults.strike(Fault::CrashBeforeWrite, chance).is_some() {
            return state.crash(process);
        }
    }
    if let Some(draw) = state.faults.strike(Fault::RefuseCall, chance) {
        let (error, wait) = match draw % 4 {
            0 => (ApiError::Busy { retry_after_seconds: 1 }, 5),
            1 => (ApiError::Server("etcdserver: leader changed".to_owned()), 20),
            2 => (ApiError::Unreachable("connection refused".to_owned()), 3),
            _ => (ApiError::TimedOut, CALL_MILLIS),
        };
        return state.later(Millis(wait), move |_| answer(&slot, Err(error)));
    }
    let mut travels = state.travel();
    if let Some(draw) = state.faults.strike(Fault::SlowCall, chance) {
        travels = Millis(100 + draw % (CALL_MILLIS - 200));
    }
    let gives_up = Millis(CALL_MILLIS).after(state.now);
    state.later(travels, move |state| arrive(state, process, doing, key.as_ref(), gives_up, slot, run));
}

/// A call arrives at the API server, whether or not its sender still lives.
fn arrive<T: Send + 'static>(
    state: &mut State,
    process: usize,
    doing: Doing,
    key: Option<&ObjectKey>,
    gives_up: Timestamp,
    slot: Arc<Mutex<Slot<Result<T, ApiError>>>>,
    run: impl FnOnce(&mut State) -> Result<T, ApiError> + Send + 'static,
) {
    if state.now < state.api_away_until {
        return answer(&slot, Err(ApiError::Unreachable("connection refused".to_owned())));
    }
    let chance = state.chance;
    if doing == Doing::Write
        && let Some(key) = key
        && state.faults.strike(Fault::RaceWrite, chance).is_some()
    {
        state.race(key);
    }
    let before = state.api.revision();
    let result = run(state);
    let has_written = state.api.revision() > before;
    state.pass_on();
    if doing == Doing::Write && has_written && state.faults.strike(Fault::CrashAfterWrite, chance).is_some() {
        return state.crash(process);
    }
    let is_lost = doing != Doing::Read && state.faults.strike(Fault::LoseAnswer, chance).is_some();
    let returns = state.travel().after(state.now);
    let (result, at) = match is_lost || returns >= gives_up {
        true if doing == Doing::Read => (Err(ApiError::TimedOut), gives_up),
        // A lost connection is noticed at once or never: both happen.
        true if is_lost && state.between(Stream::Latency, (0, 1)).0 == 0 => (Err(ApiError::TimedOut), returns),
        true => (Err(ApiError::TimedOut), gives_up),
        false => (result, returns),
    };
    state.at(at, move |_| answer(&slot, result));
}

/// A clock rings in a process; in one that is frozen, when it goes on.
fn ring(state: &mut State, process: usize, slot: Arc<Mutex<Slot<()>>>) {
    match state.processes[process].paused_until {
        Some(until) if until > state.now => state.at(until, move |state| ring(state, process, slot)),
        _ => answer(&slot, ()),
    }
}

impl World for Seat {
    fn now(&self) -> Timestamp {
        let state = self.state();
        state.processes[self.process].clock.shows(state.now)
    }

    fn uptime(&self) -> Millis {
        let state = self.state();
        state.processes[self.process].clock.uptime(state.now)
    }

    async fn wait(&self, until: Millis) {
        let slot = Arc::new(Mutex::new(Slot { answer: None, waker: None }));
        let reply = Reply { slot: Arc::clone(&slot) };
        let process = self.process;
        {
            let mut state = self.state();
            let at = state.processes[process].clock.when_up(until);
            state.at(at, move |state| ring(state, process, slot));
        }
        reply.await;
    }

    fn lead(&self, until: Option<Millis>) {
        self.state().processes[self.process].leads_until = until;
    }

    fn random(&self) -> [u8; 32] {
        let mut state = self.state();
        let mut bytes = [0; 32];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&state.secret().to_le_bytes());
        }
        bytes
    }

    async fn next_event(&self, until: Timestamp) -> Event {
        std::future::poll_fn(|context| {
            let mut state = self.state();
            let now = state.now;
            let process = &mut state.processes[self.process];
            if let Some(event) = process.inbox.pop_front() {
                return Poll::Ready(event);
            }
            if process.clock.shows(now) >= until {
                process.count_woken(now);
                return Poll::Ready(Event::Woke);
            }
            process.waker = Some(context.waker().clone());
            let when = process.clock.when(until);
            process.wakes.insert(when);
            Poll::Pending
        })
        .await
    }

    async fn kinds(&self) -> Result<Kinds, ApiError> {
        self.send(Doing::Read, None, |state| Ok(state.api.kinds())).await
    }

    async fn get(&self, key: &ObjectKey, _version: &str) -> Result<Option<Object>, ApiError> {
        let key = key.clone();
        self.send(Doing::Read, None, move |state| Ok(state.api.get(&key).cloned())).await
    }

    async fn list(&self, scope: &Scope, label_selector: &str) -> Result<Listed, ApiError> {
        let (scope, label_selector) = (scope.clone(), label_selector.to_owned());
        self.send(Doing::Read, None, move |state| Ok(state.api.list(&scope, &label_selector))).await
    }

    async fn list_metadata(&self, scope: &Scope, label_selector: &str) -> Result<Listed, ApiError> {
        let mut listed = self.list(scope, label_selector).await?;
        listed.items.iter_mut().for_each(|object| object.body = object.body.outline());
        Ok(listed)
    }

    fn watch(&self, scope: &Scope, resource_version: &str) {
        self.state().watch(self.process, scope, resource_version);
    }

    fn unwatch(&self, scope: &Scope) {
        self.state().processes[self.process].watches.remove(scope);
    }

    async fn create(&self, object: &Object) -> Result<Object, ApiError> {
        let (object, by) = (object.clone(), self.writer(FIELD_MANAGER));
        self.send(doing(&object.key), Some(object.key.clone()), move |state| state.api.create(&by, &object)).await
    }

    async fn update(&self, object: &Object, part: Part) -> Result<Object, ApiError> {
        let (object, by) = (object.clone(), self.writer(FIELD_MANAGER));
        self.send(doing(&object.key), Some(object.key.clone()), move |state| state.api.update(&by, &object, part)).await
    }

    async fn apply(&self, object: &Object, options: ApplyOptions, _acting: Acting<'_>) -> Result<Object, ApiError> {
        let (object, by) = (object.clone(), self.writer(options.manager));
        let doing = if options.is_dry_run { Doing::Read } else { Doing::Write };
        self.send(doing, Some(object.key.clone()), move |state| state.api.apply(&by, &object, options)).await
    }

    async fn patch(
        &self,
        key: &ObjectKey,
        _version: &str,
        operations: &Value,
        _acting: Acting<'_>,
    ) -> Result<Object, ApiError> {
        let (key, operations, by) = (key.clone(), operations.clone(), self.writer(FIELD_MANAGER));
        self.send(Doing::Write, Some(key.clone()), move |state| state.api.patch(&by, &key, &operations)).await
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        _version: &str,
        preconditions: &Preconditions,
        _acting: Acting<'_>,
    ) -> Result<(), ApiError> {
        let (key, preconditions, by) = (key.clone(), preconditions.clone(), self.writer(FIELD_MANAGER));
        let delete = move |state: &mut State| match state.api.delete(&by, &key, Some(&preconditions)) {
            // Absence is not an error.
            Err(ApiError::NotFound) => Ok(()),
            result => result,
        };
        self.send(Doing::Write, None, delete).await
    }

    async fn poll(
        &self,
        of: Option<&Elsewhere>,
        known: Option<&str>,
        proven: Option<&str>,
    ) -> Result<Polled, SourceError> {
        let (known, proven) = (known.map(str::to_owned), proven.map(str::to_owned));
        if let Some(other) = of.cloned() {
            let asked = self.ask(move |state| state.others.poll(&other, known.as_deref(), proven.as_deref()));
            if let Some(answer) = asked.await {
                return answer;
            }
            self.wait(Millis(self.uptime().0 + POLL_MILLIS)).await;
            return Err(SourceError::Unreachable("no complete answer in time".to_owned()));
        }
        self.ask(move |state| {
            let chance = state.chance;
            let is_away = state.now < state.git_away_until || state.faults.strike(Fault::FailPoll, chance).is_some();
            if is_away {
                return Err(SourceError::Unreachable("no answer".to_owned()));
            }
            state.git.poll(known.as_deref(), proven.as_deref())
        })
        .await
    }

    async fn read(&self, of: Option<&Elsewhere>, blobs: &[BlobId]) -> Result<Vec<Vec<u8>>, SourceError> {
        // From the store on disk: no travel.
        let state = self.state();
        match of {
            None => state.git.read(blobs),
            Some(other) => state.others.read(other, blobs),
        }
    }

    fn follow(&self, others: &BTreeSet<Elsewhere>) {
        self.state().others.followed.clone_from(others);
    }

    async fn render(&self, _job: &RenderJob) -> Result<RenderOutput, RenderFault> {
        Err(RenderFault::Unavailable("nothing renders in the simulated world".to_owned()))
    }

    async fn keys(&self) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
        Ok(Vec::new())
    }

    async fn measure(&self, provider: &str, query: &str) -> Result<Option<f64>, MeasureError> {
        let (provider, query) = (provider.to_owned(), query.to_owned());
        self.ask(move |state| {
            let chance = state.chance;
            match state.faults.strike(Fault::FailMeasure, chance) {
                Some(draw) if draw.is_multiple_of(2) => Ok(None),
                Some(_) => Err(MeasureError::Unreachable("connection refused".to_owned())),
                None => state.metrics.measure(&state.api, &provider, &query),
            }
        })
        .await
    }

    fn show(&self, app: &AppName, view: Option<Arc<AppView>>) {
        let board = &mut self.state().processes[self.process].board;
        match view {
            Some(view) => drop(board.insert(app.clone(), view)),
            None => drop(board.remove(app)),
        }
    }
}

impl Seat {
    fn writer(&self, manager: &str) -> Writer {
        writer(manager, self.process)
    }
}

fn doing(key: &ObjectKey) -> Doing {
    if key.kind.is("coordination.k8s.io", "Lease") { Doing::Elect } else { Doing::Write }
}
