//! When one repository is asked, again and again: its pace, what spreads it, what slows it down. The repository that declares
//! and every other one have their own, so that none is asked more seldom because of another.

use crate::model::{Millis, Timestamp};
use crate::world::SourceError;

/// Polls that may fail in a row before apps say so: one lost connection is no news.
const FAILURES_MAX: u32 = 3;

/// Polls lie a tenth more or less apart than they should.
const SPREAD: u64 = 10;

/// When a repository is asked.
#[derive(Clone, Debug)]
pub(super) struct Polls {
    at: Timestamp,
    is_under_way: bool,
    /// Whether something said that it may have moved since the last poll was started.
    is_hinted: bool,
    /// Until then the server asked to be left alone.
    busy_until: Timestamp,
    failures: u32,
}

/// How often a repository is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Between two polls now.
    pub(super) pace: Millis,
    /// Between two polls at rest: what back-off begins with.
    pub(super) rest: Millis,
    /// What polls are spread with; `None`: they are not.
    pub(super) seed: Option<u64>,
}

impl Polls {
    /// The first one is due.
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { at: now, is_under_way: false, is_hinted: false, busy_until: now, failures: 0 }
    }

    /// When the next one is due; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Timestamp> {
        (!self.is_under_way).then_some(self.at)
    }

    /// How many have failed in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// The repository may have moved: it is asked at once, unless the server asked for patience. While a poll is under way,
    /// which may have been answered before, another one follows.
    pub(super) fn hint(&mut self, now: Timestamp) {
        self.is_hinted = true;
        self.at = now.max(self.busy_until);
    }

    /// One is started.
    pub(super) const fn start(&mut self) {
        self.is_under_way = true;
        self.is_hinted = false;
    }

    /// One was answered, or not.
    pub(super) fn end(&mut self, result: Result<(), &SourceError>, rate: Rate, now: Timestamp) {
        let Rate { pace, rest, seed } = rate;
        self.is_under_way = false;
        self.at = spread(pace, seed, now).after(now);
        if let Err(error) = result {
            self.failures += 1;
            let wait = back_off(rest, self.failures).max(pace);
            self.at = match error {
                // What the server asked for at least, and not all at once then.
                SourceError::Busy { retry_after_seconds } => {
                    let asked = Millis::from_seconds(*retry_after_seconds);
                    let later = seed.map_or(asked, |_| Millis(asked.0 + asked.0 / SPREAD));
                    self.busy_until = asked.after(now);
                    spread(later, seed, now).max(asked).after(now)
                }
                _ => spread(wait, seed, now).after(now),
            };
        }
        if self.is_hinted {
            self.at = self.at.min(now.max(self.busy_until));
        }
    }

    /// Whether the failure of the last one is worth telling: waiting mends nothing, or there were too many in a row.
    pub(super) const fn is_worth_telling(&self, error: &SourceError) -> bool {
        !matches!(error, SourceError::Unreachable(_) | SourceError::Busy { .. }) || self.failures >= FAILURES_MAX
    }

    /// What the last one brought is of use.
    pub(super) const fn work(&mut self) {
        self.failures = 0;
    }

    /// What the last one brought is of no use: the next one comes after this, never at once. What failed would fail again, as
    /// often as it can be tried.
    pub(super) fn retry(&mut self, after: Millis, now: Timestamp) {
        self.at = after.after(now).max(self.busy_until);
    }
}

/// A length of time, up to a tenth longer or shorter. Which it is follows from the agent's own seed and from the time.
fn spread(span: Millis, seed: Option<u64>, now: Timestamp) -> Millis {
    let Some(seed) = seed else { return span };
    let tenth = span.0 / SPREAD;
    let seed = seed ^ now.as_millisecond().unsigned_abs().rotate_left(32);
    Millis(span.0 - tenth + fastrand::Rng::with_seed(seed).u64(0..=2 * tenth))
}

/// The wait after so many failures in a row: twice as long each time, a minute at most.
fn back_off(poll: Millis, failures: u32) -> Millis {
    Millis((poll.0 << failures.min(6)).min(60_000))
}

#[cfg(test)]
mod cases {
    use super::*;

    const RATE: Rate = Rate { pace: Millis(5000), rest: Millis(5000), seed: None };

    #[test]
    fn patience_that_a_server_asked_for_outlasts_hints_and_one_lost_connection_is_no_news() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a moment");
        let (busy, lost) = (SourceError::Busy { retry_after_seconds: 30 }, SourceError::Unreachable(String::new()));
        let mut polls = Polls::new(now);
        polls.start();
        assert_eq!(polls.due(), None);
        polls.end(Err(&busy), RATE, now);
        polls.hint(now);
        assert_eq!(polls.due(), Some(Millis(30_000).after(now)));
        assert!(!polls.is_worth_telling(&busy) && polls.is_worth_telling(&SourceError::Unauthorized));

        let mut polls = Polls::new(now);
        for (failures, wait) in [(1, 10_000), (2, 20_000), (3, 40_000)] {
            polls.start();
            polls.end(Err(&lost), RATE, now);
            assert_eq!(polls.due(), Some(Millis(wait).after(now)));
            assert_eq!(polls.is_worth_telling(&lost), failures == 3);
        }
        polls.start();
        polls.hint(now);
        polls.end(Ok(()), RATE, now);
        assert_eq!(polls.due(), Some(now), "a hint during a poll is not lost");
    }

    #[test]
    fn a_server_that_fails_is_asked_ever_less_often_up_to_once_a_minute() {
        let waits: Vec<u64> = (1..8).map(|failures| back_off(Millis(5000), failures).0).collect();
        assert_eq!(waits, [10_000, 20_000, 40_000, 60_000, 60_000, 60_000, 60_000]);
        assert_eq!(back_off(Millis(100), 1_000_000), Millis(6400));
    }

    #[test]
    fn polls_of_several_agents_drift_apart_and_keep_their_pace_within_a_tenth() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a moment");
        let spans: Vec<u64> = (0..200).map(|seed| spread(Millis(5000), Some(seed), now).0).collect();
        assert!(spans.iter().all(|span| (4500..=5500).contains(span)), "{spans:?}");
        let distinct: std::collections::BTreeSet<_> = spans.iter().collect();
        assert!(distinct.len() > 100, "{distinct:?}");
        let mean = spans.iter().sum::<u64>() / 200;
        assert!((4900..=5100).contains(&mean), "{mean}");
        assert_ne!(spread(Millis(5000), Some(1), now), spread(Millis(5000), Some(1), Millis(1).after(now)));
        assert_eq!(spread(Millis(5000), None, now), Millis(5000));
        assert_eq!(spread(Millis(0), Some(7), now), Millis(0));
    }
}
