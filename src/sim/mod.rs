//! The simulated world: an API server with its controllers, Git, metrics and time, under a seed. Enters: the verbs of
//! [`crate::world::World`], and what people do ([`Act`]). Leaves: what a real cluster would answer, with the faults that
//! a story asks for.
//!
//! It runs the real agent ([`crate::agent::work`]) on virtual time in one thread: faults strike *under* the real
//! `observe` and `tick`. No wall clock, no network, no chance but the seed.

pub mod api;
pub mod census;
pub mod controllers;
pub mod demo;
pub mod play;

mod acts;
mod chance;
mod elsewhere;
mod faults;
mod git;
mod metrics;
mod process;
mod seat;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use self::api::{Api, Commit, Writer};
use self::controllers::Controllers;
use self::seat::Seat;
use self::state::State;
use crate::agent::{self, Pace, Settings};
use crate::model::{AppName, ClusterName, Elsewhere, Millis, Object, Timestamp};
use crate::status::{AppView, Standing};
use crate::telemetry::Telemetry;

pub use self::acts::Act;
pub use self::chance::{Chance, Stream};
pub use self::elsewhere::{Manner, OtherRepository};
pub use self::faults::{Fault, Faults, Strikes};
pub use self::git::{BRANCH, Git};
pub use self::metrics::{Metrics, PROVIDER};

/// Namespace of the simulated agent.
pub const NAMESPACE: &str = "tidegate";
/// Owner id of the simulated agent.
pub const OWNER: &str = "tidegate";
/// Between two polls of Git while nothing is under way.
const POLL: Millis = Millis::from_seconds(5);

/// When an act happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// After so much time from the beginning.
    After(Millis),
    /// Just after that many commits of the API server, counted from 1.
    Commit(u64),
}

/// A process of the agent and what runs it.
struct Task {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_due: Arc<Due>,
}

/// Whether a task was woken.
struct Due(AtomicBool);

impl Wake for Due {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A simulated world with its agents.
pub struct Sim {
    state: Arc<Mutex<State>>,
    tasks: BTreeMap<usize, Task>,
    started: Timestamp,
}

impl Sim {
    /// A world without objects, at a fixed moment.
    #[must_use]
    pub fn new(seed: u64, controllers: Controllers, faults: Faults) -> Self {
        let started = Timestamp::from_second(1_800_000_000).expect("a moment of the year 2027");
        let state = State::new(started, seed, controllers, faults);
        Self { state: Arc::new(Mutex::new(state)), tasks: BTreeMap::new(), started }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a namespace, as somebody did before the agent came.
    pub fn add_namespace(&mut self, name: &str) {
        let body = serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let namespace = Object::from_value(&ClusterName::local(), body).expect("it has a name");
        // One that exists already will do.
        self.with(|api, _, _, _| drop(api.create(&Writer::other("kubectl-create"), &namespace)));
    }

    /// Starts a process of the agent. Its clock runs at so many thousandths of true time.
    pub fn start(&mut self, identity: &str, rate_permille: i64) {
        self.state().starts.push((Arc::from(identity), rate_permille));
        self.start_processes();
    }

    fn start_processes(&mut self) {
        let starts = std::mem::take(&mut self.state().starts);
        for (identity, rate_permille) in starts {
            let process = self.state().born(Arc::clone(&identity), rate_permille);
            let seat = Arc::new(Seat { state: Arc::clone(&self.state), process });
            let pace = Pace {
                poll: POLL,
                path: String::new(),
                repository: "https://git.example.com/fleet.git".to_owned(),
                branch: BRANCH.to_owned(),
                spread: None,
            };
            let settings = Settings {
                namespace: NAMESPACE.to_owned(),
                owner: OWNER.to_owned(),
                identity: identity.as_ref().to_owned(),
                pod: None,
                pace,
            };
            let future = Box::pin(async move {
                let (standing, _) = tokio::sync::watch::channel(Standing::Starting);
                agent::work(seat, settings, &Telemetry::new(), &standing).await;
            });
            self.tasks.insert(process, Task { future, is_due: Arc::new(Due(AtomicBool::new(true))) });
        }
    }

    /// Plans an act.
    pub fn plan(&mut self, when: When, act: Act) {
        let mut state = self.state();
        match when {
            When::After(wait) => {
                let at = wait.after(self.started);
                state.at(at, move |state| state.perform(&act));
            }
            When::Commit(count) => state.acts.entry(count).or_default().push(act),
        }
    }

    /// Does something now.
    pub fn act(&mut self, act: &Act) {
        let mut state = self.state();
        state.perform(act);
        state.pass_on();
    }

    /// Lets one thing happen, but nothing after `until`. False when nothing happens until then.
    pub fn step(&mut self, until: Timestamp) -> bool {
        self.start_processes();
        if self.poll() {
            return true;
        }
        self.state().step(until)
    }

    /// Polls the tasks that were woken. Whether one was.
    fn poll(&mut self) -> bool {
        let mut was_due = false;
        let processes: Vec<usize> = self.tasks.keys().copied().collect();
        for process in processes {
            let (is_dead, is_paused) = {
                let state = self.state();
                let process = &state.processes[process];
                (process.is_dead, process.paused_until.is_some())
            };
            if is_dead {
                // What it had sent goes on its way; all that it knew is lost.
                self.tasks.remove(&process);
                continue;
            }
            let Some(task) = self.tasks.get_mut(&process) else { continue };
            if is_paused || !task.is_due.0.swap(false, Ordering::Relaxed) {
                continue;
            }
            was_due = true;
            let waker = Waker::from(Arc::clone(&task.is_due));
            if let Poll::Ready(()) = task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.tasks.remove(&process);
                self.state().crash(process);
            }
        }
        was_due
    }

    /// Lets everything happen until a moment after the beginning.
    pub fn run_until(&mut self, wait: Millis) {
        let until = wait.after(self.started);
        while self.step(until) {}
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state().now
    }

    /// How much time has passed since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Millis {
        let passed = self.state().now.as_millisecond() - self.started.as_millisecond();
        Millis(u64::try_from(passed).unwrap_or_default())
    }

    /// The commits since this was last asked, oldest first.
    pub fn take_commits(&mut self) -> Vec<Commit> {
        std::mem::take(&mut self.state().commits)
    }

    /// How many commits there were.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.state().committed
    }

    /// What was done, with its time.
    #[must_use]
    pub fn done(&self) -> Vec<(Timestamp, String)> {
        self.state().done.clone()
    }

    /// The faults, as they struck so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.state().faults.clone()
    }

    /// Reads or changes the API server, the metrics, Git: as somebody other than the agent would.
    pub fn with<T>(&mut self, visit: impl FnOnce(&mut Api, &mut Controllers, &mut Git, &mut Metrics) -> T) -> T {
        let mut state = self.state();
        let State { api, controllers, git, metrics, .. } = &mut *state;
        let result = visit(api, controllers, git, metrics);
        state.pass_on();
        result
    }

    /// Reads or changes another repository, which is there from then on.
    pub fn with_other<T>(&mut self, other: &Elsewhere, visit: impl FnOnce(&mut OtherRepository) -> T) -> T {
        visit(self.state().others.all.entry(other.clone()).or_default())
    }

    /// The other repositories that the agent said last to use.
    #[must_use]
    pub fn followed(&self) -> BTreeSet<Elsewhere> {
        self.state().others.followed.clone()
    }

    /// What the process that leads shows of an app.
    #[must_use]
    pub fn view(&self, app: &AppName) -> Option<Arc<AppView>> {
        let state = self.state();
        state.processes.iter().rev().find_map(|process| process.board.get(app).filter(|_| !process.is_dead).cloned())
    }
}
