//! Until when this process may write. Enters: what the agent says of its lease. Leaves: yes or no, at the last moment
//! before a request goes out. It knows one clock, which is never set, and no lease.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::model::Millis;

/// The moment before which writes may start, by a clock that starts with the process.
#[derive(Debug)]
pub(super) struct Term {
    started: Instant,
    /// Milliseconds after `started`; 0 is before every moment.
    until: AtomicU64,
}

impl Term {
    /// A term in which nothing may be written.
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), until: AtomicU64::new(0) }
    }

    /// See [`crate::world::World::uptime`].
    pub(super) fn uptime(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// See [`crate::world::World::wait`].
    pub(super) async fn wait(&self, until: Millis) {
        let moment = self.started.checked_add(std::time::Duration::from_millis(until.0));
        match moment {
            Some(moment) => tokio::time::sleep_until(moment.into()).await,
            // Later than the clock can tell.
            None => std::future::pending().await,
        }
    }

    /// See [`crate::world::World::lead`].
    pub(super) fn lead(&self, until: Option<Millis>) {
        self.until.store(until.map_or(0, |until| until.0), Ordering::SeqCst);
    }

    /// Whether a write may start now.
    pub(super) fn may_write(&self) -> bool {
        self.uptime().0 < self.until.load(Ordering::SeqCst)
    }
}
