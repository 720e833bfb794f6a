//! How many calls may be in flight at once. The API server's priority and fairness says when that is too many: it
//! refuses with 429, and the budget is halved; each full round of calls that it takes gives one more, up to what was set.
//! (Additive increase, multiplicative decrease, as TCP shares a line with others: Chiu and Jain, 1989.)

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// What is refused within this comes of one burst, and halves the budget once.
const BURST: Duration = Duration::from_secs(1);

/// The budget.
pub(super) struct Budget {
    permits: Semaphore,
    state: Mutex<State>,
    max: usize,
}

struct State {
    /// How many may be in flight now.
    limit: usize,
    /// Permits that are in flight and do not come back.
    debt: usize,
    /// Calls that were taken since the limit last changed.
    taken: usize,
    halved_at: Option<Instant>,
}

/// The right to make one call.
pub(super) struct Permit<'a> {
    budget: &'a Budget,
    permit: Option<SemaphorePermit<'a>>,
}

impl Budget {
    /// At most `max` calls at once, at least one.
    pub(super) fn new(max: usize) -> Self {
        let max = max.clamp(1, Semaphore::MAX_PERMITS);
        let state = State { limit: max, debt: 0, taken: 0, halved_at: None };
        Self { permits: Semaphore::new(max), state: Mutex::new(state), max }
    }

    /// Waits for a permit, first come first served.
    pub(super) async fn acquire(&self) -> Permit<'_> {
        let permit = self.permits.acquire().await.expect("the semaphore is never closed");
        Permit { budget: self, permit: Some(permit) }
    }

    /// A call was refused because there are too many (429).
    pub(super) fn refused(&self, now: Instant) {
        let mut state = self.state();
        if state.halved_at.is_some_and(|at| now.saturating_duration_since(at) < BURST) {
            return;
        }
        let limit = (state.limit / 2).max(1);
        let fewer = state.limit - limit;
        state.debt += fewer - self.permits.forget_permits(fewer);
        (state.limit, state.taken, state.halved_at) = (limit, 0, Some(now));
    }

    /// A call was taken, whatever came of it.
    pub(super) fn taken(&self) {
        let mut state = self.state();
        state.taken += 1;
        if state.limit == self.max || state.taken < state.limit {
            return;
        }
        (state.limit, state.taken) = (state.limit + 1, 0);
        match state.debt {
            0 => self.permits.add_permits(1),
            _ => state.debt -= 1,
        }
    }

    /// How many could start now.
    #[cfg(test)]
    pub(super) fn available(&self) -> usize {
        self.permits.available_permits()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut state = self.budget.state();
        if state.debt > 0 {
            state.debt -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(budget: &Budget) -> Permit<'_> {
        futures::executor::block_on(budget.acquire())
    }

    #[test]
    fn a_refusal_halves_once_per_burst_and_calls_that_are_taken_give_back_one_by_one() {
        let budget = Budget::new(8);
        let start = Instant::now();
        budget.refused(start);
        budget.refused(start + BURST / 2);
        assert_eq!(budget.available(), 4);
        budget.refused(start + BURST);
        assert_eq!(budget.available(), 2);
        for (taken, available) in [(2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8), (100, 8)] {
            (0..taken).for_each(|_| budget.taken());
            assert_eq!(budget.available(), available);
        }
    }

    #[test]
    fn permits_in_flight_are_taken_back_when_they_end() {
        let budget = Budget::new(4);
        let flights: Vec<Permit<'_>> = (0..4).map(|_| acquire(&budget)).collect();
        budget.refused(Instant::now());
        drop(flights);
        assert_eq!(budget.available(), 2);
        let one = acquire(&budget);
        (0..2).for_each(|_| budget.taken());
        assert_eq!(budget.available(), 2);
        drop(one);
        assert_eq!(budget.available(), 3);
    }

    #[test]
    fn one_call_may_always_be_made() {
        let budget = Budget::new(1);
        let start = Instant::now();
        (0..9).for_each(|round| budget.refused(start + BURST * round));
        drop(acquire(&budget));
        assert_eq!(budget.available(), 1);
    }
}
