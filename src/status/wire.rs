//! What more than one encoding says in the same words: times, versions, where a rollout is.
//!
//! Enters: model values. Leaves: serializable pieces. It must not look at a clock or decide anything.

use serde::Serialize;

use super::AppView;
use crate::model::{
    Capacity, Digest, Elsewhere, Health, HookRun, Lane, Position, Quarantined, ReleaseRef, Replicas, RevertReason,
    Revision, Rollout, Strategy, Timestamp,
};

/// RFC 3339 in whole seconds: the only form that Kubernetes' and Argo CD's clients read.
pub(super) fn seconds(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// RFC 3339 in milliseconds, for readers that compute lengths of time.
pub(super) fn millis(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// How one run of a hook ended.
#[derive(Serialize)]
pub(super) struct HookEnd {
    moment: &'static str,
    kind: String,
    namespace: String,
    name: String,
    /// In Argo CD's words: `Succeeded` or `Failed`.
    phase: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    at: String,
}

/// The runs of a rollout's hooks that came to their end, in that order. Times are written by `time`.
pub(super) fn hook_ends(runs: &[HookRun], time: fn(Timestamp) -> String) -> Vec<HookEnd> {
    let end = |run: &HookRun| HookEnd {
        moment: run.moment.as_str(),
        kind: run.key.kind.kind.clone(),
        namespace: run.key.namespace.clone(),
        name: run.name().to_owned(),
        phase: hook_phase(run),
        message: run.message.clone(),
        at: time(run.at),
    };
    runs.iter().map(end).collect()
}

/// How a run ended, in Argo CD's words.
pub(super) const fn hook_phase(run: &HookRun) -> &'static str {
    if run.is_success { "Succeeded" } else { "Failed" }
}

/// The JSON value of a wire structure.
pub(super) fn value(structure: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(structure).expect("wire structures have text keys and no fallible fields")
}

/// A Release in status: enough to find it in Git and in the cluster.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Version {
    pub(super) version: String,
    pub(super) digest: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) commit: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) branch: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signer: Option<String>,
    pub(super) attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<String>,
}

/// The three revisions, never one for another.
#[derive(Serialize)]
pub(super) struct Versions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) desired: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effective: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<Version>,
}

impl Versions {
    /// What Git says, what runs, what was refused.
    pub(super) fn of(view: &AppView) -> Self {
        Self {
            desired: view.desired.as_ref().map(version),
            effective: view.effective.as_ref().map(version),
            held: view.held.as_ref().map(|held| refused(view, held)),
        }
    }
}

/// The commit of another repository that an app was rendered of.
#[derive(Serialize)]
pub(super) struct SourceCommit {
    repository: String,
    /// What is followed: for a range of versions, with the tag that it was resolved to.
    revision: String,
    commit: String,
}

/// The commits of other repositories, in the order of their URLs.
pub(super) fn source_commits(view: &AppView) -> Vec<SourceCommit> {
    let commit = |(other, revision): (&Elsewhere, &Revision)| SourceCommit {
        repository: other.repository.clone(),
        revision: revision.branch.clone(),
        commit: revision.commit.clone(),
    };
    view.rendered_from.iter().map(commit).collect()
}

/// A Release that is wanted or runs.
pub(super) fn version(release: &ReleaseRef) -> Version {
    Version {
        version: release.version.clone(),
        digest: release.digest.to_string(),
        commit: release.revision.commit.clone(),
        branch: release.revision.branch.clone(),
        signer: release.revision.signer.clone(),
        attempt: release.attempt,
        reason: None,
        at: None,
    }
}

/// A Release that was refused. Its commit is looked up: the quarantine itself goes by digest.
pub(super) fn refused(view: &AppView, held: &Quarantined) -> Version {
    let revision = revision_of(view, held.digest);
    Version {
        version: held.version.clone(),
        digest: held.digest.to_string(),
        commit: revision.map(|revision| revision.commit.clone()).unwrap_or_default(),
        branch: revision.map(|revision| revision.branch.clone()).unwrap_or_default(),
        signer: revision.and_then(|revision| revision.signer.clone()),
        attempt: held.attempt,
        reason: Some(held.reason.clone()),
        at: Some(seconds(held.at)),
    }
}

fn revision_of(view: &AppView, digest: Digest) -> Option<&crate::model::Revision> {
    let target = view.record.rollout.as_ref().map(|rollout| &rollout.target);
    let past = view.record.past.iter().rev().map(|past| &past.release);
    view.desired
        .iter()
        .chain(target)
        .chain(past)
        .find(|release| release.digest == digest)
        .map(|release| &release.revision)
}

/// A health with its reason.
#[derive(Serialize)]
pub(super) struct HealthWords {
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
}

impl HealthWords {
    /// The words of a health.
    pub(super) fn of(health: &Health) -> Self {
        Self { status: health.status.as_str(), message: health.message.clone() }
    }
}

/// The wave that a rollout is in.
#[derive(Serialize)]
pub(super) struct WavePlace {
    pub(super) name: String,
    /// From 0, as in the plan's list.
    pub(super) index: usize,
    pub(super) count: usize,
}

/// Where a rollout is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    pub(super) step: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wave: Option<WavePlace>,
    /// `2/3`, for printer columns; counts from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) progress: Option<String>,
    /// Why it turned back or is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// Since when it turned back or is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<String>,
}

/// Where `rollout` is, in words.
pub(super) fn place(rollout: &Rollout) -> Place {
    let plain = |step| Place { step, wave: None, progress: None, reason: None, since: None };
    let turned = |step, reason: &RevertReason, since: Timestamp| Place {
        reason: Some(reason.to_string()),
        since: Some(seconds(since)),
        ..plain(step)
    };
    match &rollout.position {
        Position::Preparing => plain("Preparing"),
        Position::Wave { index } => {
            let waves = rollout.lane_waves();
            let name = waves.get(*index).map(|wave| wave.name.clone()).unwrap_or_default();
            let count = waves.len();
            let progress = Some(format!("{}/{count}", index + 1));
            Place { wave: Some(WavePlace { name, index: *index, count }), progress, ..plain("Wave") }
        }
        Position::Trailing => plain("Trailing"),
        Position::Reverting { reason, since, pods_are_back: _ } => turned("Reverting", reason, *since),
        Position::Held { reason, since } => turned("Held", reason, *since),
    }
}

/// One sentence on where `rollout` is, for readers that show a single message.
pub(super) fn sentence(rollout: &Rollout) -> String {
    let target = &rollout.target.version;
    match &rollout.position {
        Position::Preparing => format!("preparing {target}"),
        Position::Wave { index } => {
            let waves = rollout.lane_waves();
            let name = waves.get(*index).map_or("", |wave| wave.name.as_str());
            format!("{target}: wave {} of {} ({name})", index + 1, waves.len())
        }
        Position::Trailing => format!("{target}: StatefulSets and DaemonSets follow"),
        Position::Reverting { reason, .. } => format!("reverting {target}: {reason}"),
        Position::Held { reason, .. } => format!("{target} is held: {reason}"),
    }
}

/// The word for a lane.
pub(super) const fn lane(lane: Lane) -> &'static str {
    match lane {
        Lane::FirstSync => "FirstSync",
        Lane::Waves => "Waves",
        Lane::Express => "Express",
        Lane::Direct => "Direct",
    }
}

/// The word for a strategy, as a plan writes it.
pub(super) const fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Rolling => "rolling",
        Strategy::Canary => "canary",
    }
}

/// The word for a capacity mode, as a plan writes it.
pub(super) const fn capacity(capacity: Capacity) -> &'static str {
    match capacity {
        Capacity::Surge => "surge",
        Capacity::InPlace => "inPlace",
    }
}

/// A wave's size as a plan writes it: a number, or text with a percent sign.
pub(super) fn replicas(replicas: Replicas) -> serde_json::Value {
    match replicas {
        Replicas::Count(count) => count.into(),
        Replicas::Percent(_) => replicas.to_string().into(),
    }
}
