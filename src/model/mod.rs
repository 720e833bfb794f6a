//! The nouns of Tidegate, as plain values.
//!
//! Nothing in here does I/O, knows a clock, logs, or derives serde: wire formats belong to `declare`, `status` and the
//! edges. Collections are ordered so that iterating one is deterministic.

pub mod action;
pub mod application;
pub mod body;
pub mod gate;
pub mod health;
pub mod history;
pub mod hook;
pub mod lease;
pub mod marks;
pub mod object;
mod packed;
pub mod plan;
pub mod policy;
pub mod reference;
pub mod release;
pub mod rendering;
pub mod revision;
pub mod rollout;
pub mod signers;
pub mod switches;

pub use action::{Action, Notice, NoticeKind, Outcome};
pub use application::{
    AppName, Application, CommonMetadata, Declared, Deletion, DeletionCap, Dependency, DependencyCondition, IgnoreRule,
    ImageOverride, PausePolicy, RollbackPolicy, SourcePath, Substitute, SubstituteFrom, SubstituteKind, SyncPolicy,
};
pub use body::{Body, Facts};
pub use gate::{Analysis, GateRecord, Measurement, NoDataRule, Verdict};
pub use health::{Health, HealthRule, HealthStatus};
pub use history::{History, Inventory, Past, PastOutcome, Quarantined, Record, Request, RequestVerb};
pub use hook::{HookRun, Hooks, Moment};
pub use lease::{Claim, Lease};
pub use object::{ClusterName, GroupKind, KeyParts, Object, ObjectError, ObjectKey, WHOLE_OBJECT};
pub use plan::{Capacity, OnFailure, Replicas, Strategy, Wave, WavePlan};
pub use policy::{Policy, PolicyEffect, PolicyRule};
pub use reference::{Elsewhere, Reference, TagRange};
pub use release::{Digest, Release, ReleaseRef};
pub use rendering::{HelmJob, HelmSource, Parameter, RemoteChart, RenderJob, RenderOutput, Tool};
pub use revision::Revision;
pub use rollout::{Lane, Position, RevertReason, Rollout, WaveRecord};
pub use signers::{AppSigner, AppSigners};

/// A moment. Pure code receives it as an argument and never asks for it.
pub type Timestamp = jiff::Timestamp;

/// A length of time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The span of `seconds`.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    /// The moment that lies this long after `start`; saturates at the end of time.
    #[must_use]
    pub fn after(self, start: Timestamp) -> Timestamp {
        start
            .checked_add(jiff::SignedDuration::from_millis(i64::try_from(self.0).unwrap_or(i64::MAX)))
            .unwrap_or(Timestamp::MAX)
    }

    /// Whether this much time has passed between `start` and `now`.
    #[must_use]
    pub fn has_passed(self, start: Timestamp, now: Timestamp) -> bool {
        now >= self.after(start)
    }
}

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = self.0;
        match ms {
            _ if !ms.is_multiple_of(1000) => write!(f, "{ms}ms"),
            _ if !ms.is_multiple_of(60_000) || ms == 0 => write!(f, "{}s", ms / 1000),
            _ if !ms.is_multiple_of(3_600_000) => write!(f, "{}m", ms / 60_000),
            _ => write!(f, "{}h", ms / 3_600_000),
        }
    }
}
