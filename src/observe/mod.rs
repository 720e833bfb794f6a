//! What we know of the cluster: watch events and lists in, facts out.
//!
//! [`Cache`] folds watch events; [`Workload`] reads the ReplicaSets and pods of one Deployment; [`Live`] is what one pass
//! over one app sees. No client, no clock.

mod cache;
mod law;
pub mod ownership;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

pub use cache::{Cache, Folded, is_newer};
pub use law::{Counts, MIN_READY_SECONDS_HOLD, PROGRESS_DEADLINE_SECONDS_HOLD, Window, law};
pub use workload::{PodFacts, SetFacts, Workload};

use crate::model::{Digest, GroupKind, Object, ObjectKey, Timestamp};

/// What one pass over one app sees of the cluster, as known at the start of the pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// The objects of the app that exist, staged or inventoried.
    pub objects: BTreeMap<ObjectKey, Object>,
    /// Deployments whose ReplicaSets and pods were read in this pass.
    pub workloads: BTreeMap<ObjectKey, Workload>,
    /// Deployments for which the server said, when asked by dry run, that Target's template is the one that stands.
    pub unchanged_templates: Vec<ObjectKey>,
    /// Values of the kick annotation for Deployments whose pods quota refuses.
    pub kicks: BTreeMap<ObjectKey, String>,
    /// Kinds that the cluster does not serve at present: nothing of them is shown, and nothing follows from that.
    pub unserved: BTreeSet<GroupKind>,
    /// What we applied, as the server stored it.
    pub applied: BTreeMap<ObjectKey, Applied>,
    /// Fields that somebody puts back each time that we do, by JSON pointer into what is declared, with who that is: we
    /// leave them alone for a while.
    pub contended: BTreeMap<ObjectKey, BTreeMap<String, String>>,
    /// Runs of the rollout's hooks that exist, read in this pass.
    pub hooks: BTreeMap<ObjectKey, Object>,
    /// What came of trying the Release that Git declares, when a rollout of it may start.
    pub rehearsal: Option<Rehearsal>,
    /// Why some of this could not be read; a pass that misses something decides nothing about it.
    pub unreadable: Option<String>,
}

/// What the server says, by dry run, of a Release of which nothing was written yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsal {
    /// The Release.
    pub target: Digest,
    /// When it was tried.
    pub at: Timestamp,
    /// What was refused, and why.
    pub refused: Vec<(ObjectKey, String)>,
    /// What could not be tried: its namespace or kind comes with the Release, or a webhook allows no dry run.
    pub exempt: Vec<ObjectKey>,
    /// What kept the server from answering, when something did.
    pub failure: Option<String>,
}

impl Rehearsal {
    /// Whether nothing speaks against the Release.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.refused.is_empty() && self.failure.is_none()
    }
}

/// What the server made of an apply: later reads are compared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Hash of what was sent.
    pub content: Digest,
    /// resourceVersion of the answer.
    pub resource_version: String,
    /// The answer, restricted to the fields that were sent.
    pub projection: Digest,
}
