//! The one internal view of an app that every reader gets an encoding of.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Report;
use crate::model::{
    AppName, Application, Elsewhere, HookRun, Measurement, Quarantined, Record, ReleaseRef, Revision, Timestamp,
};

/// Every app that is shown, by name: what the HTTP server and the metrics read, always one consistent whole.
pub type Board = Arc<BTreeMap<AppName, Arc<AppView>>>;

/// An app as it stands after a pass.
#[derive(Clone, Debug, PartialEq)]
pub struct AppView {
    /// Its name.
    pub name: AppName,
    /// Namespace of the Application resource (the agent's own).
    pub namespace: String,
    /// UID of the Application resource; empty before it exists.
    pub uid: String,
    /// resourceVersion of the Application resource.
    pub resource_version: String,
    /// `metadata.generation` of the Application resource.
    pub generation: i64,
    /// When the Application resource was created.
    pub created_at: Option<Timestamp>,
    /// URL of the repository, without credentials.
    pub repository: String,
    /// Where Git is, when that is known.
    pub revision: Option<Revision>,
    /// Of which commits of other repositories it was rendered.
    pub rendered_from: BTreeMap<Elsewhere, Revision>,
    /// The last good declaration.
    pub application: Option<Arc<Application>>,
    /// What Git says.
    pub desired: Option<ReleaseRef>,
    /// What runs: Stable.
    pub effective: Option<ReleaseRef>,
    /// What was refused: the quarantined Release that Git still asks for.
    pub held: Option<Quarantined>,
    /// What the pass said.
    pub report: Report,
    /// Durable intent and past.
    pub record: Arc<Record>,
    /// Samples of gates that are not decided yet, by gate.
    pub samples: BTreeMap<String, Vec<Measurement>>,
    /// When the phase last changed.
    pub phase_since: Timestamp,
    /// When health last changed.
    pub health_since: Timestamp,
    /// When live was last compared with Git.
    pub reconciled_at: Timestamp,
}

impl AppView {
    /// The hooks that came to their end in the rollout under way, or in the last one.
    #[must_use]
    pub fn hook_runs(&self) -> &[HookRun] {
        match (&self.record.rollout, self.record.past.last()) {
            (Some(rollout), _) => &rollout.hooks.runs,
            (None, Some(past)) => &past.hooks,
            (None, None) => &[],
        }
    }

    /// Whether the custom resource's status would be the same: it does not tell when live was last looked at, nor in which
    /// version the resource itself stands.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self {
            name,
            namespace,
            uid,
            resource_version: _,
            generation,
            created_at: _,
            repository,
            revision,
            rendered_from,
            application: _,
            desired,
            effective,
            held,
            report,
            record,
            samples: _,
            phase_since,
            health_since,
            reconciled_at: _,
        } = self;
        *generation == other.generation
            && *phase_since == other.phase_since
            && *health_since == other.health_since
            && *report == other.report
            && *desired == other.desired
            && *effective == other.effective
            && *held == other.held
            && *revision == other.revision
            && *rendered_from == other.rendered_from
            && (Arc::ptr_eq(record, &other.record) || *record == other.record)
            && (name, namespace, uid, repository) == (&other.name, &other.namespace, &other.uid, &other.repository)
    }
}
