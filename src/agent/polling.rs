//! When Git is asked, and what follows from its answer.

use std::sync::Arc;

use super::event::Done;
use super::schedule::{RETRY, Scheduler, Slot};
use super::source::{Reading, Source, read};
use super::{App, observed};
use crate::model::{Declared, Millis, Timestamp};
use crate::mutants::{Mutant, is_planted};
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

impl<W: World + 'static> Scheduler<W> {
    pub(super) fn start_poll(&mut self) {
        self.is_polling = true;
        let context = Arc::clone(&self.context);
        let (known, proven, is_diverged) = (self.commit.clone(), self.proven.clone(), self.is_diverged);
        self.work.push(Box::pin(async move {
            let proven = match proven {
                Some(proven) => {
                    let is_accepted = is_diverged && observed::is_accepted(&context).await;
                    Some(proven).filter(|_| !is_accepted)
                }
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
                secret_key: &context.secret_key,
                telemetry: &context.telemetry,
                path: &path,
                known: &known,
            };
            let mut result = read(&mut source, &reading, snapshot.as_ref()).await.map_err(|error| error.to_string());
            if let (Ok(()), Some(snapshot)) = (&result, &snapshot)
                && let Err(error) = observed::remember(&context, &snapshot.revision, proven.as_deref()).await
            {
                let map = observed::SOURCE_MAP;
                result = Err(format!(
                    "commit {} cannot be remembered in ConfigMap {map}, so nothing of it is applied: {error}",
                    snapshot.revision.short()
                ));
            }
            Done::Read(source, result)
        }));
    }

    pub(super) fn polled(&mut self, result: Result<Polled, SourceError>) {
        let now = self.context.world.now();
        self.is_polling = false;
        let is_rolling = self.slots.values().any(|slot| slot.app.as_ref().is_none_or(|app| app.is_rolling()));
        let is_awaiting = is_rolling || self.slots.values().any(|slot| awaits_revert(slot, now));
        let pace = if is_awaiting { self.pace.poll.min(POLL_WHEN_ROLLING) } else { self.jittered(self.pace.poll) };
        self.poll_at = pace.after(now);
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
                         nothing is applied until `kubectl -n {} delete configmap {}` accepts it",
                        self.pace.branch,
                        self.context.namespace,
                        observed::SOURCE_MAP
                    );
                    return self.source_failed(reason, true);
                }
                self.snapshot = Some(snapshot.clone());
                self.start_read(Some(snapshot));
            }
            Err(error) => {
                self.context.telemetry.polled(PollOutcome::Failed, now);
                self.poll_failures += 1;
                let wait = Millis((self.pace.poll.0 << self.poll_failures.min(6)).min(60_000)).max(pace);
                self.poll_at = match &error {
                    SourceError::Busy { retry_after_seconds } => Millis::from_seconds(*retry_after_seconds).after(now),
                    _ => wait.after(now),
                };
                let is_certain = !matches!(error, SourceError::Unreachable(_) | SourceError::Busy { .. });
                tracing::warn!(%error, failures = self.poll_failures, "Git cannot be read");
                if is_certain || self.poll_failures >= POLL_FAILURES_MAX {
                    self.source_failed(error.to_string(), false);
                }
            }
        }
    }

    /// A length of time, longer or shorter by up to the jitter: agents that started together do not ask together for ever.
    fn jittered(&self, pace: Millis) -> Millis {
        let span = pace.0 * self.pace.poll_jitter_percent / 100;
        if span == 0 {
            return pace;
        }
        let [low, high, ..] = self.context.world.random();
        Millis(pace.0 - span + u64::from(u16::from_le_bytes([low, high])) * (2 * span) / u64::from(u16::MAX))
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
            self.poll_at = RETRY.after(now);
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
