//! A Rollout: the move from Stable to Target, as far as it is durable.

use std::collections::{BTreeMap, BTreeSet};

use super::{Digest, GateRecord, Hooks, ObjectKey, ReleaseRef, Timestamp, WavePlan};

/// Which way a Target takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// No Stable yet: everything at once, judged, held when bad, nothing to go back to.
    FirstSync,
    /// Through the plan's waves.
    Waves,
    /// A Release that completed before (a recognised `git revert`): the plan's express waves.
    Express,
    /// No pod template changes: applied at once, gated, completed or reverted.
    Direct,
}

/// Where a rollout is. Writing the position is the intent; making the cluster equal to it is the effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Position {
    /// Everything but pod templates goes to Target; replica changes settle; Stable's pods are complete.
    Preparing,
    /// Wave `index` (from 0) is growing or being judged. For the last wave: the declared rollout, then judged.
    Wave {
        /// Index into the plan's waves.
        index: usize,
    },
    /// StatefulSets and DaemonSets whose template changes go to Target, and are judged.
    Trailing,
    /// Everything goes back to Stable.
    Reverting {
        /// Why.
        reason: RevertReason,
        /// Since when.
        since: Timestamp,
        /// Whether the pods are back, so that what the failed Release added is being deleted.
        pods_are_back: bool,
    },
    /// A gate shut and the app or plan says to hold instead of reverting, or there is no Stable to go to.
    Held {
        /// Why.
        reason: RevertReason,
        /// Since when.
        since: Timestamp,
    },
}

/// Why a rollout turns back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevertReason {
    /// A gate shut.
    GateShut {
        /// The wave's name.
        wave: String,
        /// The gate.
        gate: String,
        /// What it saw.
        message: String,
    },
    /// The wave did not become Ready in time.
    Deadline {
        /// The wave's name.
        wave: String,
        /// What was missing.
        message: String,
    },
    /// A person asked for it.
    Requested {
        /// `abort`, `rollback`, or `kubectl rollout undo`.
        by: String,
    },
    /// Git went back to Stable while the rollout was under way.
    RevertedInGit,
    /// A newer commit took over.
    Superseded {
        /// The version that takes over.
        by: String,
    },
}

impl RevertReason {
    /// Whether the Target failed, and is therefore quarantined.
    #[must_use]
    pub const fn quarantines(&self) -> bool {
        match self {
            Self::GateShut { .. } | Self::Deadline { .. } | Self::Requested { .. } => true,
            Self::RevertedInGit | Self::Superseded { .. } => false,
        }
    }

    /// One word for Events, metrics and conditions.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::GateShut { .. } => "GateShut",
            Self::Deadline { .. } => "DeadlineExceeded",
            Self::Requested { .. } => "Requested",
            Self::RevertedInGit => "RevertedInGit",
            Self::Superseded { .. } => "Superseded",
        }
    }
}

impl std::fmt::Display for RevertReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GateShut { wave, gate, message } => write!(f, "gate {gate} of wave {wave} shut: {message}"),
            Self::Deadline { wave, message } => write!(f, "wave {wave} was not ready in time: {message}"),
            Self::Requested { by } => write!(f, "requested by {by}"),
            Self::RevertedInGit => f.write_str("Git went back to Stable"),
            Self::Superseded { by } => write!(f, "superseded by {by}"),
        }
    }
}

/// What is known for good of one wave.
#[derive(Clone, Debug, PartialEq)]
pub struct WaveRecord {
    /// The wave's name.
    pub name: String,
    /// When its intent was written.
    pub started_at: Timestamp,
    /// When all its pods were first Ready; bake and analyses count from here.
    pub ready_at: Option<Timestamp>,
    /// When all its gates were open.
    pub passed_at: Option<Timestamp>,
    /// Its gates, each with its measurements.
    pub gates: Vec<GateRecord>,
    /// Pods on the Target template when the wave was Ready, by Deployment.
    pub pods: BTreeMap<ObjectKey, u32>,
}

/// A rollout, durable: read this and observe the cluster, and the work goes on where it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Counts the app's rollouts from 1.
    pub id: u64,
    /// The Release being rolled out.
    pub target: ReleaseRef,
    /// Which way it takes.
    pub lane: Lane,
    /// The plan as it was when the rollout started. Editing it in Git changes the next one.
    pub plan: WavePlan,
    /// When the intent was written.
    pub started_at: Timestamp,
    /// Where it is.
    pub position: Position,
    /// The waves so far.
    pub waves: Vec<WaveRecord>,
    /// `pod-template-hash` of Stable by Deployment, read from its ReplicaSet before the first wave.
    pub stable_hashes: BTreeMap<ObjectKey, String>,
    /// Objects that this rollout brought into the inventory: a revert removes them again.
    pub added: BTreeSet<ObjectKey>,
    /// Pods of Target that stood when a revert began, by Deployment: what the revert took back.
    pub pods_to_revert: BTreeMap<ObjectKey, u32>,
    /// Its hooks.
    pub hooks: Hooks,
}

impl Rollout {
    /// The waves of the lane that this rollout takes: without a pod template to move, only the plan's last one.
    #[must_use]
    pub fn lane_waves(&self) -> &[super::Wave] {
        match self.lane {
            Lane::Waves => &self.plan.waves,
            Lane::FirstSync | Lane::Direct => &self.plan.waves[self.plan.waves.len().saturating_sub(1)..],
            Lane::Express => &self.plan.express,
        }
    }

    /// Whether the rollout is on its way back.
    #[must_use]
    pub const fn is_reverting(&self) -> bool {
        matches!(self.position, Position::Reverting { .. })
    }

    /// The digest being rolled out.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.target.digest
    }
}
