//! What is durable about one app: intent, inventory, position, and its past.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Digest, Measurement, ObjectKey, ReleaseRef, Rollout, Timestamp};

/// What we applied, hence the only things that we may delete, each with the API version it was applied with.
pub type Inventory = BTreeMap<ObjectKey, String>;

/// The durable intent of one app. It grows before an apply and shrinks after a confirmed delete.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// What we applied.
    pub inventory: Inventory,
    /// The last Release that completed.
    pub stable: Option<ReleaseRef>,
    /// The one rolling out.
    pub rollout: Option<Rollout>,
    /// Releases that failed and are not tried again by themselves, newest last, at most [`QUARANTINE_MAX`].
    pub quarantine: Vec<Quarantined>,
    /// Digests that completed once, oldest first, at most [`COMPLETED_MAX`]; remembered longer than Releases are kept.
    pub completed: Vec<Digest>,
    /// Ended rollouts, oldest first, at most the Application's `history`.
    pub past: Vec<Past>,
    /// Rollouts started so far.
    pub rollouts: u64,
    /// Pods taken back to Stable by reverts, so far.
    pub pods_reverted: u64,
    /// When the last revert ended.
    pub last_revert_at: Option<Timestamp>,
    /// The last request that was consumed, and its answer.
    pub answered: Option<(Request, String)>,
}

/// Everything that a pass knows of an app's past: the record, and what memory adds to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The durable part; `None` before the first write. What is shown of the app shares it.
    pub record: Option<Arc<Record>>,
    /// Whether `record` is ahead of what is durable. No effect of a rollout comes before it was written.
    pub is_ahead: bool,
    /// Samples of gates that are not decided yet, by gate. Lost in a crash: they are taken again.
    pub samples: BTreeMap<String, Vec<Measurement>>,
    /// A request waiting on the custom resource.
    pub request: Option<Request>,
    /// Digests whose Releases are kept in the cluster.
    pub kept: BTreeSet<Digest>,
    /// Since when the app has been looked at without a break, nobody in its way: time limits count from here at the
    /// earliest, so that a time without an agent, without an API server, with a person's pause, until somebody's change
    /// to its pods was put back or until our own was taken fails no wave. Lost in a crash, since nobody looks then.
    pub attended_since: Option<Timestamp>,
}

/// A Release that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its digest.
    pub digest: Digest,
    /// The attempt that failed: a higher one in Git is free to go.
    pub attempt: u32,
    /// Its version, for people.
    pub version: String,
    /// Why it failed.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastOutcome {
    /// The Target became Stable.
    Completed,
    /// Back to Stable, Target quarantined.
    Reverted,
    /// Back to Stable for a newer commit or a `git revert`.
    Withdrawn,
    /// Held where it was.
    Held,
}

impl PastOutcome {
    /// The word for people and machines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Reverted => "Reverted",
            Self::Withdrawn => "Withdrawn",
            Self::Held => "Held",
        }
    }
}

/// An ended rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// The rollout's number.
    pub id: u64,
    /// The Release.
    pub release: ReleaseRef,
    /// Which way it took.
    pub lane: super::Lane,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How.
    pub outcome: PastOutcome,
    /// Why, when it did not complete.
    pub reason: String,
    /// The waves with their gates and measurements; emptied for all but the newest [`PAST_WITH_WAVES_MAX`].
    pub waves: Vec<super::WaveRecord>,
    /// How its hooks ended; emptied as the waves are.
    pub hooks: Vec<super::HookRun>,
}

/// What a person asks of an app through `tidegate.dev/request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub verb: RequestVerb,
    /// The annotation's value as written: `verb` or `verb:anything`, so that the same verb can be asked twice.
    pub text: String,
}

/// The verbs of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestVerb {
    /// Stop the rollout and go back to Stable.
    Abort,
    /// As abort; without a rollout, go back to the Release before Stable.
    Rollback,
    /// Free the declared Release from quarantine.
    Retry,
    /// Look at Git now.
    Refresh,
    /// Apply what Git says now, where sync is manual.
    Sync,
    /// Go on with deletions that exceed the cap.
    Confirm,
    /// Something that this version does not know: answered, never ignored.
    Unknown,
}

impl Request {
    /// Reads an annotation's value: the verb is what stands before the first colon.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let word = text.split_once(':').map_or(text, |(verb, _)| verb).trim();
        let verb = match word {
            "abort" => RequestVerb::Abort,
            "rollback" => RequestVerb::Rollback,
            "retry" => RequestVerb::Retry,
            "refresh" => RequestVerb::Refresh,
            "sync" => RequestVerb::Sync,
            "confirm" => RequestVerb::Confirm,
            _ => RequestVerb::Unknown,
        };
        Self { verb, text: text.to_owned() }
    }
}

impl Record {
    /// Whether this very attempt failed before.
    #[must_use]
    pub fn quarantined(&self, digest: Digest, attempt: u32) -> Option<&Quarantined> {
        self.quarantine.iter().find(|entry| entry.digest == digest && entry.attempt >= attempt)
    }
}

/// Failed Releases remembered: an entry is ~200 B, so 50 stay below 10 KB.
pub const QUARANTINE_MAX: usize = 50;
/// Completed digests remembered: 64 hex digits each, so 200 stay below 15 KB.
pub const COMPLETED_MAX: usize = 200;
/// Past rollouts that keep their waves and measurements.
pub const PAST_WITH_WAVES_MAX: usize = 3;
