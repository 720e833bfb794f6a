//! When Git is asked, and what follows from its answer.

use std::sync::Arc;

use super::event::Done;
use super::polls::Rate;
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

/// Whether a commit may be waited for: a rollout of the app is under way, or a gate shut on it not long ago.
pub(super) fn awaits_commits(slot: &Slot, now: Timestamp) -> bool {
    let record = slot.app.as_ref().and_then(|app| app.history.record.as_ref());
    let last_revert_at = record.and_then(|record| record.last_revert_at);
    slot.is_rolling() || last_revert_at.is_some_and(|at| !REVERT_AWAITED.has_passed(at, now))
}

impl<W: World + 'static> Scheduler<W> {
    /// Git may have moved.
    pub(super) fn hinted(&mut self) {
        self.polls.hint(self.context.world.now());
    }

    pub(super) fn start_poll(&mut self) {
        self.polls.start();
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
            Done::Polled(context.world.poll(None, known.as_deref(), proven.as_deref()).await)
        }));
    }

    /// Reads a commit; `None`: the same one again, since something else that rendering reads may be another now.
    pub(super) fn start_read(&mut self, snapshot: Option<Snapshot>) {
        let Some(mut source) = self.source.take() else { return };
        let others = self.others.fetched();
        let (known, proven) = (Arc::clone(&self.declared_in), self.proven.clone());
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
                others: &others,
            };
            let result = read_and_remember(&context, &mut source, &reading, snapshot.as_ref(), proven.as_deref()).await;
            Done::Read(source, snapshot.is_some(), result)
        }));
    }

    pub(super) fn polled(&mut self, result: Result<Polled, SourceError>) {
        let now = self.context.world.now();
        let is_awaiting = self.slots.values().any(|slot| awaits_commits(slot, now));
        self.polls.end(result.as_ref().map(drop), self.rate(is_awaiting, self.pace.spread), now);
        let is_rolling = self.slots.values().any(Slot::is_rolling);
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
                tracing::warn!(%error, failures = self.polls.failures(), "Git cannot be read");
                if self.polls.is_worth_telling(&error) {
                    self.source_failed(error.to_string(), false);
                }
            }
        }
    }

    /// How often a repository is asked.
    pub(super) fn rate(&self, is_awaiting: bool, seed: Option<u64>) -> Rate {
        let rest = self.pace.poll;
        Rate { pace: if is_awaiting { rest.min(POLL_WHEN_ROLLING) } else { rest }, rest, seed }
    }

    pub(super) fn source_works(&mut self) {
        self.polls.work();
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

    pub(super) fn read(&mut self, mut source: Box<Source>, is_new: bool, result: Result<(), String>) {
        let now = self.context.world.now();
        if let Err(error) = result {
            self.put_back(source);
            self.polls.retry(RETRY, now);
            self.commit = None;
            // The commit may be remembered although no answer said so: what is, is read again.
            self.proven = None;
            return self.source_failed(error, false);
        }
        if source.may_be_retried {
            self.kinds_at.get_or_insert(Millis::from_seconds(10).after(now));
        }
        self.keep_revisions(&mut source);
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
        self.follow_others(&source);
        self.put_back(source);
        for name in changed {
            self.wake(&name, Timestamp::UNIX_EPOCH);
        }
        // That another repository moved says nothing of this one.
        if is_new || self.source_error.is_none() {
            self.source_works();
        }
    }

    /// What is declared just as it was adopted came with the commit that it was adopted from, however many came since: the
    /// first read of a term would else show every app at the newest commit, and write every status anew for that alone.
    fn keep_revisions(&self, source: &mut Source) {
        let joined = std::mem::take(&mut source.joined);
        for (name, entered) in &mut source.apps {
            if self.commit.is_some() && !joined.contains(name) {
                continue;
            }
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
    let remembered = observed::remember(context, revision, &source.vouched, proven, &mut source.remembered).await;
    remembered.map_err(|error| {
        let short = revision.short();
        format!("commit {short} cannot be remembered in ConfigMap {SOURCE_MAP}, so nothing of it is applied: {error}")
    })
}
