//! What a pass says of its app: where it stands and, when it is not where it should be, the one fact that blocks it.

use crate::model::{Health, ObjectKey, Timestamp};

/// Argo CD's sync words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncStatus {
    /// Live is as declared.
    Synced,
    /// Live is not (yet) as declared.
    OutOfSync,
    /// What is declared cannot be told.
    Unknown,
}

impl SyncStatus {
    /// Argo CD's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "Synced",
            Self::OutOfSync => "OutOfSync",
            Self::Unknown => "Unknown",
        }
    }
}

/// Where an app stands: one row of the table in docs/reference/status.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// As declared.
    Idle,
    /// Applying, growing, shrinking, completing.
    Progressing,
    /// The wave's pods are Ready and stay so for the bake time.
    Baking,
    /// Analyses are taking samples.
    Measuring,
    /// Waits for a person or a pause (manual sync, `kubectl rollout pause` with `pause: user`).
    Waiting,
    /// Going back to Stable.
    Reverting,
    /// A Target failed and is quarantined, or a first sync failed.
    Held,
    /// Drift was found and is not corrected (yet, or by choice).
    Drifted,
    /// Declaration, render or fetch is broken; the last good Stable is kept.
    SourceFailed,
    /// Objects are unhealthy without a rollout.
    Unhealthy,
    /// Somebody else keeps changing what we apply.
    Contended,
}

impl Phase {
    /// The reason word of the `Ready` condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Progressing => "Progressing",
            Self::Baking => "Baking",
            Self::Measuring => "Measuring",
            Self::Waiting => "Waiting",
            Self::Reverting => "Reverting",
            Self::Held => "Held",
            Self::Drifted => "Drifted",
            Self::SourceFailed => "SourceFailed",
            Self::Unhealthy => "Unhealthy",
            Self::Contended => "Contended",
        }
    }

    /// Argo CD's `operationState.phase`.
    #[must_use]
    pub const fn operation(self) -> &'static str {
        match self {
            Self::Idle | Self::Drifted | Self::Unhealthy | Self::Contended => "Succeeded",
            Self::Progressing | Self::Baking | Self::Measuring | Self::Waiting => "Running",
            Self::Reverting => "Terminating",
            Self::Held => "Failed",
            Self::SourceFailed => "Error",
        }
    }
}

/// The one fact that keeps an app from being Synced and Healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocking {
    /// The fact, in one sentence that says what to do when somebody can.
    pub fact: String,
    /// Since when it has been so.
    pub since: Timestamp,
}

/// One object of the app, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What names it.
    pub key: ObjectKey,
    /// Its API version.
    pub version: String,
    /// Whether live is as staged.
    pub sync: SyncStatus,
    /// Its health; `None` for kinds without a health rule.
    pub health: Option<Health>,
    /// Whether it left Git and is to be pruned.
    pub requires_pruning: bool,
}

/// What a pass says of its app.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Where it stands.
    pub phase: Phase,
    /// Health in Argo CD's words.
    pub health: Health,
    /// Sync in Argo CD's words.
    pub sync: SyncStatus,
    /// Why it is not Synced and Healthy.
    pub blocking: Option<Blocking>,
    /// Pods on the Target template beyond the wave's size, put there by scaling.
    pub exposure: u32,
    /// Its objects.
    pub resources: Vec<Resource>,
    /// Things worth knowing that block nothing (collapsed waves, refused capacity modes).
    pub remarks: Vec<String>,
}
