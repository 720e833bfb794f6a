//! Who leads: what a replica does about the Lease, as a state machine without a clock or a client.
//!
//! Enters: the answers of the API server, and the time by this process's own clock, which is never set. Leaves: what to
//! do next, and until when writes may start. Moments that other machines wrote into the Lease are never compared.
//!
//! The arithmetic. Let clocks go at rates between 0.8 and 1.2 of true time.
//!
//! - A leader starts writes until [`WRITES`] (8 s) after it *asked* for its last renewal: at most 8 / 0.8 = 10 s of true time.
//!   A write is given up 5 s after it started, by us and, through `timeout`, by the server: none takes effect later
//!   than 15 s after the last renewal was asked for.
//! - Whoever waits takes over once it has *seen* the Lease unchanged for [`PATIENCE`] (18 s): at least 18 / 1.2 = 15 s of true
//!   time after the last renewal was answered, which is after it was asked for.
//!
//! So no write of one leader takes effect after the next one has begun. The Lease says 15 s, for the sake of others; it is
//! looked at every second, so a leader that is lost is followed within 19 s, below the lease plus 5 s.

use crate::model::{Claim, Lease, Millis};

/// How long the Lease says that it is good for. A leader that could not renew it for so long starts anew.
pub const DURATION: Millis = Millis::from_seconds(15);
/// How long after its last renewal was asked for a leader may start writes.
pub const WRITES: Millis = Millis::from_seconds(8);
/// For how long the Lease must be seen unchanged before it is taken from its holder.
pub const PATIENCE: Millis = Millis::from_seconds(18);
/// Between two renewals.
pub const RENEW_EVERY: Millis = Millis::from_seconds(5);
/// Between two looks at a Lease that another holds, and between two tries after a failure.
pub const LOOK_EVERY: Millis = Millis::from_seconds(1);

/// A write is given up this long after it started.
const WRITE: Millis = Millis::from_seconds(5);
const _: () = assert!(WRITES.0 * 10 / 8 + WRITE.0 <= PATIENCE.0 * 10 / 12, "two leaders could write at once");
const _: () = assert!(PATIENCE.0 + LOOK_EVERY.0 <= DURATION.0 + 5_000, "takeover is to come within the lease and 5 s");

/// What is known of the Lease.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    /// It was never read.
    Nothing,
    /// There is none, since then.
    Absent(Millis),
    /// There is this one, unchanged since then.
    Stored(Box<Lease>, Millis),
}

/// A term of this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The number of the term: it grows with every leader.
    pub epoch: u64,
    /// When the last renewal that succeeded was asked for.
    pub renewed_at: Millis,
}

impl Term {
    /// Writes may start before this.
    #[must_use]
    pub const fn writes_until(self) -> Millis {
        Millis(self.renewed_at.0 + WRITES.0)
    }
}

/// One replica's part in the election.
#[derive(Clone, Debug, PartialEq)]
pub struct Election {
    identity: String,
    seen: Seen,
    /// Whether what was seen must be read again before anything is built on it.
    must_read: bool,
    /// Whether this process has ever seen a Lease, so that its absence means that somebody deleted it.
    was_stored: bool,
    term: Option<Term>,
    next_at: Millis,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing before this moment.
    Wait(Millis),
    /// Read the Lease.
    Read,
    /// Write it, in place of this one or as the first.
    Claim(Claim, Option<Box<Lease>>),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It was read; `None` when there is none.
    Read(Option<Lease>),
    /// It was written.
    Written(Lease),
    /// It was not written, since it is not what was seen.
    Refused,
    /// There was no answer, or an error.
    Failed,
}

impl Election {
    /// A replica that knows nothing yet.
    #[must_use]
    pub const fn new(identity: String) -> Self {
        let next_at = Millis(0);
        Self { identity, seen: Seen::Nothing, must_read: true, was_stored: false, term: None, next_at }
    }

    /// The term of this replica, if it leads at this moment.
    #[must_use]
    pub fn term(&self, now: Millis) -> Option<Term> {
        self.term.filter(|term| now.0 < term.renewed_at.0 + DURATION.0)
    }

    /// Who holds the Lease as last seen; `None` as long as it was not read.
    #[must_use]
    pub fn holder(&self) -> Option<Option<&str>> {
        match &self.seen {
            Seen::Nothing => None,
            Seen::Absent(_) => Some(None),
            Seen::Stored(lease, _) => Some(lease.holder.as_deref()),
        }
    }

    /// What to do at this moment.
    #[must_use]
    pub fn step(&self, now: Millis) -> Step {
        if now < self.next_at {
            // A term that runs out is news as well.
            let end = self.term(now).map_or(self.next_at, |term| Millis(term.renewed_at.0 + DURATION.0));
            return Step::Wait(self.next_at.min(end));
        }
        let lease = match &self.seen {
            Seen::Stored(lease, _) if !self.must_read => Some(lease.clone()),
            Seen::Absent(_) if !self.must_read => None,
            Seen::Nothing | Seen::Absent(_) | Seen::Stored(..) => return Step::Read,
        };
        let claim = |transitions, is_new| {
            Step::Claim(Claim { holder: self.identity.clone(), duration: DURATION, transitions, is_new }, lease.clone())
        };
        match self.term(now) {
            Some(term) => claim(term.epoch, false),
            None if self.free_at() <= now => {
                let last = lease.as_ref().map(|lease| lease.transitions).max(self.term.map(|term| term.epoch));
                claim(last.map_or(0, |last| last + 1), true)
            }
            None => Step::Read,
        }
    }

    /// From when on the Lease as it was seen may be taken.
    fn free_at(&self) -> Millis {
        match &self.seen {
            Seen::Nothing => Millis(u64::MAX),
            // Its holder may not know yet that somebody deleted it.
            Seen::Absent(since) if self.was_stored => Millis(since.0 + PATIENCE.0),
            Seen::Absent(_) => Millis(0),
            Seen::Stored(lease, since) => match &lease.holder {
                None => Millis(0),
                // The same name is the same pod: its process was replaced, and has ended.
                Some(holder) if *holder == self.identity => Millis(0),
                // One that promises more than ours do is waited for in the same proportion.
                Some(_) => Millis(since.0 + PATIENCE.0.max(lease.duration.0 + lease.duration.0 / 5)),
            },
        }
    }

    /// Learns what came of a step that was begun at `asked_at` and answered at `now`.
    pub fn learn(&mut self, answer: Answer, asked_at: Millis, now: Millis) {
        match answer {
            Answer::Read(None) => {
                let since = if let Seen::Absent(since) = self.seen { since } else { now };
                self.seen = Seen::Absent(since);
                self.was_read(now);
            }
            Answer::Read(Some(lease)) => {
                if lease.holder.as_ref() != Some(&self.identity) {
                    self.term = None;
                }
                self.see(lease, now);
                self.was_read(now);
            }
            Answer::Written(lease) => {
                self.term = Some(Term { epoch: lease.transitions, renewed_at: asked_at });
                self.see(lease, now);
                self.must_read = false;
                self.next_at = Millis(asked_at.0 + RENEW_EVERY.0);
            }
            Answer::Refused => {
                self.must_read = true;
                self.next_at = now;
            }
            Answer::Failed => {
                // A claim without an answer may have been taken; a renewal that was is refused the next time.
                self.must_read |= self.term(now).is_none();
                self.next_at = Millis(now.0 + LOOK_EVERY.0);
            }
        }
    }

    fn see(&mut self, lease: Lease, now: Millis) {
        let version = lease.object.resource_version();
        let since = match &self.seen {
            Seen::Stored(known, since) if known.object.resource_version() == version => *since,
            Seen::Nothing | Seen::Absent(_) | Seen::Stored(..) => now,
        };
        self.seen = Seen::Stored(Box::new(lease), since);
        self.was_stored = true;
    }

    fn was_read(&mut self, now: Millis) {
        self.must_read = false;
        let is_due = self.term(now).is_some() || self.free_at() <= now;
        self.next_at = if is_due { now } else { Millis(now.0 + LOOK_EVERY.0).min(self.free_at()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClusterName, Object};

    fn lease(holder: &str, transitions: u64, version: &str) -> Lease {
        let body = serde_json::json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "tidegate", "namespace": "tidegate", "resourceVersion": version}});
        Lease {
            holder: Some(holder.to_owned()).filter(|holder| !holder.is_empty()),
            duration: DURATION,
            transitions,
            object: Object::from_value(&ClusterName::local(), body).unwrap(),
        }
    }

    fn seconds(count: u64) -> Millis {
        Millis::from_seconds(count)
    }

    /// A replica `b` that was told what it read, at once, at these seconds.
    fn reader(answers: &[(u64, Option<Lease>)]) -> Election {
        let mut election = Election::new("b".to_owned());
        for (at, answer) in answers {
            assert_eq!(election.step(seconds(*at)), Step::Read, "at {at} s");
            election.learn(Answer::Read(answer.clone()), seconds(*at), seconds(*at));
        }
        election
    }

    /// The epoch and whether a term begins, when the Lease is claimed at this moment.
    fn claim(election: &Election, at: Millis) -> Option<(u64, bool)> {
        match election.step(at) {
            Step::Claim(claim, _) => Some((claim.transitions, claim.is_new)),
            Step::Wait(_) | Step::Read => None,
        }
    }

    /// A leader `b` of epoch 4 whose last renewal was asked for at 10 s and answered at 11 s.
    fn leader() -> Election {
        let mut election = reader(&[(9, Some(lease("", 3, "1")))]);
        assert_eq!(claim(&election, seconds(10)), Some((4, true)));
        election.learn(Answer::Written(lease("b", 4, "2")), seconds(10), seconds(11));
        election
    }

    #[test]
    fn a_lease_that_is_absent_given_back_or_ones_own_is_taken_at_once() {
        for (found, epoch) in [(None, 0), (Some(lease("", 6, "1")), 7), (Some(lease("b", 6, "1")), 7)] {
            let election = reader(&[(3, found.clone())]);
            assert_eq!(claim(&election, seconds(3)), Some((epoch, true)), "{found:?}");
        }
    }

    #[test]
    fn a_lease_of_another_is_taken_once_it_was_seen_unchanged_for_long_enough() {
        let mut election = reader(&[(3, Some(lease("a", 1, "1")))]);
        assert_eq!(election.step(seconds(3)), Step::Wait(seconds(4)));
        for at in 4..20 {
            election.learn(Answer::Read(Some(lease("a", 1, "1"))), seconds(at), seconds(at));
        }
        assert_eq!(election.step(seconds(20)), Step::Read, "17 s are not enough");
        election.learn(Answer::Read(Some(lease("a", 1, "1"))), seconds(20), seconds(20));
        assert_eq!(claim(&election, seconds(21)), Some((2, true)));
        election.learn(Answer::Read(Some(lease("a", 1, "2"))), seconds(21), seconds(21));
        assert_eq!(claim(&election, seconds(22)), None, "it was renewed");
        assert_eq!(claim(&election, seconds(38)), None);
        assert_eq!(claim(&election, seconds(39)), Some((2, true)), "whether the server answered since or not");
    }

    #[test]
    fn one_that_promises_longer_is_waited_for_longer() {
        let mut long = lease("a", 1, "1");
        long.duration = seconds(60);
        let election = reader(&[(0, Some(long))]);
        assert_eq!(claim(&election, seconds(71)), None);
        assert_eq!(claim(&election, seconds(72)), Some((2, true)));
    }

    #[test]
    fn a_lease_that_somebody_deletes_is_left_to_its_holder_for_a_while() {
        let election = reader(&[(3, Some(lease("a", 1, "1"))), (5, None)]);
        assert_eq!(claim(&election, seconds(22)), None);
        assert_eq!(claim(&election, seconds(23)), Some((0, true)));
    }

    #[test]
    fn writes_start_until_eight_seconds_after_the_renewal_was_asked_for() {
        let election = leader();
        let term = election.term(seconds(11)).unwrap();
        assert_eq!((term.epoch, term.writes_until()), (4, seconds(18)));
        assert_eq!(election.step(seconds(11)), Step::Wait(seconds(15)));
        assert_eq!(claim(&election, seconds(15)), Some((4, false)), "a renewal keeps its epoch");
    }

    #[test]
    fn a_renewal_that_fails_is_tried_every_second_until_the_term_ends() {
        let mut election = leader();
        for at in 15..25 {
            assert_eq!(claim(&election, seconds(at)), Some((4, false)), "at {at} s");
            election.learn(Answer::Failed, seconds(at), seconds(at));
        }
        assert_eq!(election.term(seconds(25)), None);
        assert_eq!(claim(&election, seconds(25)), Some((5, true)), "it is still ours, and another term begins");
        election.learn(Answer::Failed, seconds(25), seconds(25));
        assert_eq!(election.step(seconds(26)), Step::Read, "whose it is now has to be seen");
    }

    #[test]
    fn a_renewal_whose_answer_was_lost_is_read_and_renewed() {
        let mut election = leader();
        election.learn(Answer::Failed, seconds(15), seconds(15));
        election.learn(Answer::Refused, seconds(16), seconds(16));
        assert_eq!(election.step(seconds(16)), Step::Read);
        election.learn(Answer::Read(Some(lease("b", 4, "3"))), seconds(16), seconds(16));
        assert_eq!(election.term(seconds(16)).unwrap().writes_until(), seconds(18), "reading extends nothing");
        assert_eq!(claim(&election, seconds(16)), Some((4, false)));
    }

    #[test]
    fn a_leader_that_sees_another_holder_stands_by() {
        let mut election = leader();
        election.learn(Answer::Refused, seconds(15), seconds(15));
        election.learn(Answer::Read(Some(lease("a", 5, "9"))), seconds(15), seconds(15));
        assert_eq!((election.term(seconds(15)), election.holder()), (None, Some(Some("a"))));
        assert_eq!(claim(&election, seconds(32)), None);
        assert_eq!(claim(&election, seconds(33)), Some((6, true)));
    }
}
