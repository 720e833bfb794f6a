//! One process of the agent: its clock, its watches, and what waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use crate::model::{AppName, Millis, Timestamp};
use crate::status::AppView;
use crate::world::{Event, Scope};

/// A clock that runs at a rate of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// When it began, in true time.
    started: Timestamp,
    /// Its seconds per thousand true ones.
    rate_permille: i64,
}

impl Clock {
    pub(super) const fn new(started: Timestamp, rate_permille: i64) -> Self {
        Self { started, rate_permille }
    }

    /// What it shows at a true moment.
    pub(super) fn shows(self, now: Timestamp) -> Timestamp {
        self.uptime(now).after(self.started)
    }

    /// How long the process has run, by its own clock.
    pub(super) fn uptime(self, now: Timestamp) -> Millis {
        let passed = now.as_millisecond() - self.started.as_millisecond();
        Millis(u64::try_from(passed * self.rate_permille / 1000).unwrap_or_default())
    }

    /// The first true moment at which it shows `local`.
    pub(super) fn when(self, local: Timestamp) -> Timestamp {
        let passed = local.as_millisecond().saturating_sub(self.started.as_millisecond());
        // One more for what a Timestamp holds below a millisecond.
        self.when_up(Millis(u64::try_from(passed).unwrap_or_default() + 1))
    }

    /// The first true moment at which the process has run for so long, by its own clock.
    pub(super) fn when_up(self, uptime: Millis) -> Timestamp {
        let rate = u64::try_from(self.rate_permille).unwrap_or(1000);
        Millis(uptime.0.saturating_mul(1000).div_ceil(rate)).after(self.started)
    }
}

/// A watch of one collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    /// Events of an earlier watch of the same scope are dropped.
    pub(super) generation: u64,
    /// Whether the server has opened it.
    pub(super) is_open: bool,
    /// Whether it gives nothing any more, and does not end either before its time.
    pub(super) is_mute: bool,
    /// When the last event arrives: the next one comes no earlier.
    pub(super) last_at: Timestamp,
}

/// One process.
#[derive(Debug)]
pub(super) struct Process {
    /// Its name in the lease.
    pub(super) identity: Arc<str>,
    pub(super) clock: Clock,
    pub(super) is_dead: bool,
    /// Not scheduled until then.
    pub(super) paused_until: Option<Timestamp>,
    pub(super) is_asked_to_end: bool,
    pub(super) inbox: VecDeque<Event>,
    pub(super) waker: Option<Waker>,
    /// When it wants to be woken, in true time.
    pub(super) wakes: BTreeSet<Timestamp>,
    pub(super) watches: BTreeMap<Scope, Stream>,
    /// Until when writes may start, by its own uptime.
    pub(super) leads_until: Option<Millis>,
    /// What it shows to its readers.
    pub(super) board: BTreeMap<AppName, Arc<AppView>>,
    /// When it was last woken by the clock, and how often at that very moment.
    woken: (Timestamp, u32),
}

/// No agent has that much to do at one moment: it would never let time go on.
const WOKEN_MAX: u32 = 10_000;

impl Process {
    pub(super) fn new(identity: Arc<str>, clock: Clock) -> Self {
        Self {
            identity,
            clock,
            is_dead: false,
            paused_until: None,
            is_asked_to_end: false,
            inbox: VecDeque::new(),
            waker: None,
            wakes: BTreeSet::new(),
            watches: BTreeMap::new(),
            leads_until: None,
            board: BTreeMap::new(),
            woken: (Timestamp::UNIX_EPOCH, 0),
        }
    }

    /// Notes that the clock woke it.
    ///
    /// # Panics
    /// When it has been asking to be woken at this very moment without end.
    pub(super) fn count_woken(&mut self, now: Timestamp) {
        self.woken = (now, if self.woken.0 == now { self.woken.1 + 1 } else { 1 });
        assert!(self.woken.1 <= WOKEN_MAX, "the agent does something at {now} without end");
    }

    /// Wakes whoever waits for the next event.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
