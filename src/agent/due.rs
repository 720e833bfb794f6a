//! Which apps are due for a pass, and whom it is given first.
//!
//! Thousands may be due at once, and one pass after the other ends: what is asked here costs nothing for each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::schedule::Scheduler;
use crate::model::{AppName, Timestamp};
use crate::world::World;

/// Who goes first among those that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// In a rollout. What was begun is finished first: thousands that wait for their first sync must not hold it up.
    Begun,
    /// Git declares something else than what stands: after a restart, all others are only looked at.
    Changed,
    /// There may be nothing to do.
    Other,
}

const RANKS: usize = 3;

/// Apps by the time at which they are due.
#[derive(Debug, Default)]
pub(super) struct Due {
    by_name: BTreeMap<AppName, (Rank, Timestamp)>,
    /// By rank.
    by_time: [BTreeSet<(Timestamp, AppName)>; RANKS],
}

impl Due {
    /// Sets when an app is due.
    pub(super) fn set(&mut self, name: &AppName, rank: Rank, at: Timestamp) {
        self.remove(name);
        self.by_name.insert(name.clone(), (rank, at));
        self.by_time[rank as usize].insert((at, name.clone()));
    }

    /// Has an app be due at `at` at the latest.
    pub(super) fn advance(&mut self, name: &AppName, rank: Rank, at: Timestamp) {
        let at = self.by_name.get(name).map_or(at, |(_, known)| at.min(*known));
        self.set(name, rank, at);
    }

    /// Corrects an app's rank, if it is due at all.
    pub(super) fn rank(&mut self, name: &AppName, rank: Rank) {
        if let Some((known, at)) = self.by_name.get(name).copied()
            && known != rank
        {
            self.set(name, rank, at);
        }
    }

    /// Forgets an app.
    pub(super) fn remove(&mut self, name: &AppName) {
        if let Some((rank, at)) = self.by_name.remove(name) {
            self.by_time[rank as usize].remove(&(at, name.clone()));
        }
    }

    /// Every app that is due at some time.
    pub(super) fn names(&self) -> impl Iterator<Item = &AppName> {
        self.by_name.keys()
    }

    /// Those that are due by now, the first first.
    pub(super) fn ready(&self, now: Timestamp) -> impl Iterator<Item = &AppName> {
        self.by_time.iter().flat_map(move |all| all.iter().take_while(move |(at, _)| *at <= now).map(|(_, name)| name))
    }

    /// When the first of those is due that are not yet, and that `counts`.
    pub(super) fn next(&self, now: Timestamp, counts: impl Fn(&AppName) -> bool) -> Option<Timestamp> {
        static FIRST: LazyLock<AppName> = LazyLock::new(|| AppName::from(""));
        // No name is empty, and a timestamp is a whole number of nanoseconds.
        let after = now.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX);
        let later = |all: &BTreeSet<(Timestamp, AppName)>| {
            all.range((after, FIRST.clone())..).find(|(_, name)| counts(name)).map(|(at, _)| *at)
        };
        self.by_time.iter().filter_map(later).min()
    }
}

impl<W: World + 'static> Scheduler<W> {
    /// Whether an app goes before others. Of one that a pass has, that is found out when it is back.
    pub(super) fn rank(&self, name: &AppName) -> Rank {
        let Some(app) = self.slots.get(name).and_then(|slot| slot.app.as_ref()) else { return Rank::Other };
        if app.is_rolling() {
            return Rank::Begun;
        }
        let entered = self.source.as_ref().and_then(|source| source.apps.get(name));
        let declared = entered.map_or(&app.declared, |entered| &entered.declared).digest();
        let stable = app.stable();
        if stable.is_some() && declared.is_some() && stable != declared { Rank::Changed } else { Rank::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn ready(due: &Due, now: i64) -> Vec<&str> {
        due.ready(at(now)).map(AppName::as_str).collect()
    }

    #[test]
    fn what_was_begun_goes_first_then_what_changed_and_each_in_order_of_time() {
        let mut due = Due::default();
        for (name, rank, second) in [
            ("a", Rank::Other, 1),
            ("b", Rank::Other, 0),
            ("c", Rank::Changed, 3),
            ("d", Rank::Begun, 3),
            ("e", Rank::Begun, 9),
        ] {
            due.set(&AppName::from(name), rank, at(second));
        }
        assert_eq!(ready(&due, 3), ["d", "c", "b", "a"]);
        assert_eq!(ready(&due, 2), ["b", "a"]);
        let next = |now: i64, but: &str| due.next(at(now), |name| name.as_str() != but).map(Timestamp::as_second);
        assert_eq!([next(3, ""), next(0, ""), next(3, "e"), next(9, "")], [Some(9), Some(1), None, None]);
        assert_eq!(next(0, "a"), Some(3), "one that a pass has is not waited for");
    }

    #[test]
    fn a_time_comes_nearer_or_is_set_and_a_rank_follows_the_app() {
        let mut due = Due::default();
        let name = AppName::from("a");
        due.rank(&name, Rank::Begun);
        assert_eq!(due.names().count(), 0, "who is not due gets no rank");
        due.advance(&name, Rank::Other, at(5));
        due.advance(&name, Rank::Other, at(7));
        assert_eq!((ready(&due, 4), ready(&due, 5)), (vec![], vec!["a"]));
        due.set(&name, Rank::Other, at(7));
        due.rank(&name, Rank::Begun);
        due.set(&AppName::from("0"), Rank::Changed, at(0));
        assert_eq!((ready(&due, 5), ready(&due, 7)), (vec!["0"], vec!["a", "0"]));
        due.remove(&name);
        due.remove(&name);
        assert_eq!(ready(&due, 7), ["0"]);
    }
}
