//! When Git is asked, and what follows from its answer.

use std::sync::Arc;

use super::event::Done;
use super::schedule::{RETRY, Scheduler, Slot};
use super::source::{Reading, Source, read};
use super::{App, Context, observed};
use crate::model::{Declared, Millis, Timestamp};
use crate::mutants::{Mutant, is_planted};
use crate::store::source::SOURCE_MAP;
use crate::telemetry::PollOutcome;
use crate::world::{Ancestry, Polled, Snapshot, SourceError, World};

/// Git is asked this often while a rollout is under way, when a revert may be awaited.
const POLL_WHEN_ROLLING: Millis = Millis::from_seconds(1);
/// How long after a revert Git is asked as often: somebody is about to commit a fix, or `git revert`.
const REVERT_AWAITED: Millis = Millis::from_seconds(120);
/// Polls that may fail in a row before apps say so: one lost connection is no news.
const POLL_FAILURES_MAX: u32 = 3;

/// Whether a gate shut on this app not long ago.
fn awaits_revert(slot: &Slot, now: Timestamp) -> bool {
    let record = slot.app.as_ref().and_then(|app| app.history.record.as_ref());
    record.and_then(|record| record.last_revert_at).is_some_and(|at| !REVERT_AWAITED.has_passed(at, now))
}

/// Polls lie a tenth more or less apart than they should.
const SPREAD: u64 = 10;

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

impl<W: World + 'static> Scheduler<W> {
    /// Git may have moved: it is asked at once, unless the server asked for patience. While a poll is under way, which may have
    /// been answered before, another one follows.
    pub(super) fn hinted(&mut self) {
        self.is_hinted = true;
        self.poll_at = self.context.world.now().max(self.busy_until);
    }

    pub(super) fn start_poll(&mut self) {
        self.is_polling = true;
        self.is_hinted = false;
        let context = Arc::clone(&self.context);
        let (known, proven, is_diverged) = (self.commit.clone(), self.proven.clone(), self.is_diverged);
        self.work.push(Box::pin(async move {
            let proven = match proven {
                Some(proven) if is_diverged => observed::accepted(&context, proven).await,
                Some(proven) => Some(proven),
                // The first of this term.
                None => match observed::recall(&context).await {
                    Ok(proven) => proven,
                    Err(error) => {
                        let reason = format!("the commit that was observed last cannot be read: {error}");
                        return Done::Polled(Err(SourceError::Unreachable(reason)));
                    }
                },
            };
            Done::Polled(context.world.poll(known.as_deref(), proven.as_deref()).await)
        }));
    }

    pub(super) fn start_read(&mut self, snapshot: Option<Snapshot>) {
        let Some(mut source) = self.source.take() else { return };
        let (known, proven) = (self.declared_in.clone(), self.proven.clone());
        let (context, kinds, path) = (Arc::clone(&self.context), Arc::clone(&self.kinds), self.pace.path.clone());
        self.work.push(Box::pin(async move {
            let reading = Reading {
                world: &*context.world,
                kinds: &kinds,
                namespace: &context.namespace,
                owner: &context.owner,
                secret_key: &context.secret_key,
                telemetry: &context.telemetry,
                path: &path,
                known: &known,
            };
            let result = read_and_remember(&context, &mut source, &reading, snapshot.as_ref(), proven.as_deref()).await;
            Done::Read(source, result)
        }));
    }

    pub(super) fn polled(&mut self, result: Result<Polled, SourceError>) {
        self.is_polling = false;
        self.judge(result);
        if self.is_hinted {
            self.poll_at = self.poll_at.min(self.context.world.now().max(self.busy_until));
        }
    }

    fn judge(&mut self, result: Result<Polled, SourceError>) {
        let now = self.context.world.now();
        let is_rolling = self.slots.values().any(|slot| slot.app.as_ref().is_none_or(|app| app.is_rolling()));
        let is_awaiting = is_rolling || self.slots.values().any(|slot| awaits_revert(slot, now));
        let pace = if is_awaiting { self.pace.poll.min(POLL_WHEN_ROLLING) } else { self.pace.poll };
        let seed = self.pace.spread;
        self.poll_at = spread(pace, seed, now).after(now);
        if !is_rolling {
            self.stop_following();
        }
        match result {
            Ok(Polled::Unchanged) => {
                self.context.telemetry.polled(PollOutcome::Unchanged, now);
                self.source_works();
            }
            Ok(Polled::Moved(snapshot)) => {
                self.context.telemetry.polled(PollOutcome::Moved, now);
                if snapshot.ancestry == Ancestry::Diverged && !is_planted(Mutant::FollowsRewrites) {
                    let commit = &snapshot.revision.commit;
                    let reason = format!(
                        "the history of branch {} was rewritten: commit {commit} does not descend from the last one that was seen; \
                         nothing is applied until `tidegate resume --accept-history {commit} -n {}` accepts it",
                        self.pace.branch, self.context.namespace
                    );
                    return self.source_failed(reason, true);
                }
                self.snapshot = Some(snapshot.clone());
                self.start_read(Some(snapshot));
            }
            Err(error) => {
                self.context.telemetry.polled(PollOutcome::Failed, now);
                self.poll_failures += 1;
                let wait = back_off(self.pace.poll, self.poll_failures).max(pace);
                self.poll_at = match &error {
                    // What the server asked for at least, and not all at once then.
                    SourceError::Busy { retry_after_seconds } => {
                        let asked = Millis::from_seconds(*retry_after_seconds);
                        let later = seed.map_or(asked, |_| Millis(asked.0 + asked.0 / SPREAD));
                        self.busy_until = asked.after(now);
                        spread(later, seed, now).max(asked).after(now)
                    }
                    _ => spread(wait, seed, now).after(now),
                };
                let is_certain = !matches!(error, SourceError::Unreachable(_) | SourceError::Busy { .. });
                tracing::warn!(%error, failures = self.poll_failures, "Git cannot be read");
                if is_certain || self.poll_failures >= POLL_FAILURES_MAX {
                    self.source_failed(error.to_string(), false);
                }
            }
        }
    }

    pub(super) fn source_works(&mut self) {
        self.poll_failures = 0;
        if self.source_error.take().is_some() {
            self.wake_all();
        }
    }

    pub(super) fn source_failed(&mut self, reason: String, is_diverged: bool) {
        self.is_diverged = is_diverged;
        if self.source_error.as_ref() != Some(&reason) {
            self.source_error = Some(reason);
            self.wake_all();
        }
    }

    pub(super) fn read(&mut self, mut source: Box<Source>, result: Result<(), String>) {
        let now = self.context.world.now();
        if let Err(error) = result {
            self.source = Some(source);
            // Never at once: what failed would fail again, as often as it can be tried.
            self.poll_at = RETRY.after(now).max(self.busy_until);
            self.commit = None;
            // The commit may be remembered although no answer said so: what is, is read again.
            self.proven = None;
            return self.source_failed(error, false);
        }
        if source.may_be_retried {
            self.kinds_at.get_or_insert(Millis::from_seconds(10).after(now));
        }
        if self.commit.is_none() {
            self.keep_revisions(&mut source);
        }
        self.commit = source.revision.as_ref().map(|revision| revision.commit.clone());
        self.proven.clone_from(&self.commit);
        for (name, entered) in &source.apps {
            if !self.slots.contains_key(name) {
                let app = App::new(name.clone(), entered.declared.clone(), &self.pace.repository);
                self.slots.insert(name.clone(), Slot { app: Some(Box::new(app)), ..Slot::default() });
            }
        }
        let changed = source.changed.clone();
        let (commit, apps) = (self.commit.as_deref().unwrap_or_default(), source.apps.len());
        tracing::info!(commit, apps, changed = changed.len(), "a commit was read");
        self.source = Some(source);
        for name in changed {
            self.wake(&name, Timestamp::UNIX_EPOCH);
        }
        self.source_works();
    }

    /// What is declared just as it was adopted came with the commit that it was adopted from, however many came since: the
    /// first read of a term would else show every app at the newest commit, and write every status anew for that alone.
    fn keep_revisions(&self, source: &mut Source) {
        for (name, entered) in &mut source.apps {
            let app = self.slots.get(name).and_then(|slot| slot.app.as_ref());
            let Some(record) = app.and_then(|app| app.history.record.as_ref()) else { continue };
            let Declared::Ready { target, .. } = &mut entered.declared else { continue };
            let adopted = record.rollout.as_ref().map(|rollout| &rollout.target).or(record.stable.as_ref());
            if let Some(adopted) =
                adopted.filter(|adopted| adopted.digest == target.digest && adopted.attempt == target.attempt)
            {
                target.revision = adopted.revision.clone();
            }
        }
    }
}

/// Reads a commit, and remembers it before anything acts on it.
async fn read_and_remember<W: World>(
    context: &Context<W>,
    source: &mut Source,
    reading: &Reading<'_, W>,
    snapshot: Option<&Snapshot>,
    proven: Option<&str>,
) -> Result<(), String> {
    let is_first = source.revision.is_none() && snapshot.is_some_and(|snapshot| !snapshot.signers.rules.is_empty());
    if is_first {
        let read = observed::vouched(context).await;
        source.vouched =
            read.map_err(|error| format!("who vouched for what cannot be read from ConfigMap {SOURCE_MAP}: {error}"))?;
    }
    let before = source.vouched.clone();
    read(source, reading, snapshot).await.map_err(|error| error.to_string())?;
    let Some(revision) = source.revision.as_ref().filter(|_| snapshot.is_some() || source.vouched != before) else {
        return Ok(());
    };
    observed::remember(context, revision, &source.vouched, proven).await.map_err(|error| {
        let short = revision.short();
        format!("commit {short} cannot be remembered in ConfigMap {SOURCE_MAP}, so nothing of it is applied: {error}")
    })
}

#[cfg(test)]
mod cases {
    use super::*;

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
