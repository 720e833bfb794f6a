//! An Application: the unit of sync, as Git declares it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Digest, ReleaseRef, Revision, WavePlan};

/// The name of an Application; unique per agent.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(pub Arc<str>);

impl AppName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for AppName {
    fn from(name: &str) -> Self {
        Self(Arc::from(name))
    }
}

impl std::fmt::Display for AppName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for AppName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A declared Application, parsed and valid, its plan resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Its name.
    pub name: AppName,
    /// The version line that users bump and revert.
    pub version: String,
    /// Images to substitute.
    pub images: Vec<ImageOverride>,
    /// Raising it in Git releases a quarantined Release for another try.
    pub attempt: u32,
    /// Where its manifests are.
    pub source: SourcePath,
    /// Namespace for objects that name none.
    pub namespace: String,
    /// How a Target goes out.
    pub plan: WavePlan,
    /// How it is kept in sync.
    pub sync: SyncPolicy,
    /// What happens to its objects when it leaves Git.
    pub deletion: Deletion,
    /// Whether a shut gate reverts by itself.
    pub rollback: RollbackPolicy,
    /// Who may pause a rollout by `kubectl rollout pause`.
    pub pause: PausePolicy,
    /// Apps that must stand before a rollout of this one starts.
    pub depends_on: Vec<Dependency>,
    /// Past releases to keep, 1 to 50.
    pub history_max: u32,
    /// The file that declares it, relative to the repository's root.
    pub declared_in: String,
    /// The `spec` as written, for the custom resource that mirrors it.
    pub spec: Arc<serde_json::Value>,
}

/// A folder of manifests in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePath {
    /// Path from the repository's root, without leading or trailing slash; empty is the root.
    pub path: String,
    /// Whether folders below it are read too.
    pub is_recursive: bool,
}

/// An app that another one waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub app: AppName,
    /// What must be true of it.
    pub condition: DependencyCondition,
}

/// What must be true of an app that another one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyCondition {
    /// It has completed the Release that Git declares, and is Synced and Healthy.
    Healthy,
    /// It has completed the Release that Git declares.
    Release,
}

/// Replaces tag or digest of an image by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOverride {
    /// Image name as the manifests write it, without tag and digest.
    pub name: String,
    /// The tag; the application's version when neither tag nor digest is given.
    pub tag: String,
    /// The digest (`sha256:...`); wins over the tag.
    pub digest: Option<String>,
}

/// How an application is kept in sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncPolicy {
    /// Whether changes in Git are applied without being asked for.
    pub is_automated: bool,
    /// Whether objects that left Git are deleted. Off until switched on.
    pub prunes: bool,
    /// Whether drift is corrected.
    pub self_heals: bool,
    /// Field managers whose objects and fields are taken over.
    pub adopt: BTreeSet<String>,
}

/// What happens to the objects when the Application leaves Git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// They stay, without our ownership.
    Orphan,
    /// They are deleted, in reverse order.
    Cascade,
}

/// Whether a shut gate reverts by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RollbackPolicy {
    /// Yes.
    Automatic,
    /// The wave is held, Degraded, until a person decides.
    Manual,
}

/// Who may pause a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausePolicy {
    /// Only this product: `spec.paused` is kept false.
    Agent,
    /// `kubectl rollout pause` is respected.
    User,
}

/// What Git says of one app at this moment: the Application and what it renders to, or why that is not known.
#[derive(Clone, Debug, PartialEq)]
pub enum Declared {
    /// Declared and rendered.
    Ready {
        /// The Application.
        application: Arc<Application>,
        /// The Release it renders to.
        target: ReleaseRef,
    },
    /// Declared once, and at present its declaration, its manifests or its source cannot be read. Nothing is deleted.
    Broken {
        /// The last good declaration, when one is known.
        last: Option<Arc<Application>>,
        /// Where Git is, when that is known.
        revision: Option<Revision>,
        /// What is wrong: file, line or field, and what to do.
        reason: String,
    },
    /// No longer in Git.
    Removed {
        /// What its objects are to do.
        deletion: Deletion,
        /// The commit that no longer has it.
        revision: Revision,
    },
}

impl Declared {
    /// The digest that Git asks for, when it is known.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Ready { target, .. } => Some(target.digest),
            Self::Broken { .. } | Self::Removed { .. } => None,
        }
    }
}
