//! An Application: the unit of sync, as Git declares it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Body, Digest, Elsewhere, HealthRule, HelmSource, Object, ReleaseRef, Revision, Tool, WavePlan};
use crate::expression::Expression;

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
    /// Where its manifests are: one place, or several whose objects make one Release together. Never empty.
    pub sources: Vec<SourcePath>,
    /// Labels and annotations that every object gets.
    pub common: CommonMetadata,
    /// Namespace for objects that name none.
    pub namespace: String,
    /// The service account of that namespace on whose behalf objects are written; the agent itself when there is none.
    pub service_account: Option<String>,
    /// How a Target goes out.
    pub plan: Arc<WavePlan>,
    /// How it is kept in sync.
    pub sync: SyncPolicy,
    /// What happens to its objects when it leaves Git.
    pub deletion: Deletion,
    /// Whether a shut gate reverts by itself.
    pub rollback: RollbackPolicy,
    /// Who may pause a rollout by `kubectl rollout pause`.
    pub pause: PausePolicy,
    /// Rules of its own for the health of objects, by kind.
    pub health: Vec<HealthRule>,
    /// Apps that must stand before a rollout of this one starts.
    pub depends_on: Vec<Dependency>,
    /// What `${NAME}` in its manifests is replaced by; off while it is empty.
    pub substitute: Substitute,
    /// Past releases to keep, 1 to 50.
    pub history_max: u32,
    /// The file that declares it, relative to the repository's root.
    pub declared_in: String,
    /// The `spec` as written, for the custom resource that mirrors it.
    pub spec: Body,
}

impl Application {
    /// The references of other repositories that it renders from.
    pub fn elsewhere(&self) -> impl Iterator<Item = &Elsewhere> {
        self.sources.iter().filter_map(|source| source.elsewhere.as_ref())
    }
}

/// A folder of a repository that manifests come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourcePath {
    /// Where the folder is when it is not in the repository that declares. Files with values are always there.
    pub elsewhere: Option<Elsewhere>,
    /// Path from the repository's root, without leading or trailing slash; empty is the root.
    pub path: String,
    /// Whether folders below it are read too.
    pub is_recursive: bool,
    /// How manifests come out of it; found out from its files when it is not said.
    pub tool: Option<Tool>,
    /// For Helm.
    pub helm: HelmSource,
}

/// Labels and annotations that every object of an app gets, in its own metadata; what a manifest says itself wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommonMetadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What variables in manifests are replaced by. Off while it is empty: `${NAME}` in a manifest is then text like any other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Substitute {
    /// Values that Git declares; they win over those of objects.
    pub values: BTreeMap<String, String>,
    /// Objects of the destination's namespace whose entries are variables; a later one wins.
    pub from: Vec<SubstituteFrom>,
}

impl Substitute {
    /// Whether anything is replaced at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.values.is_empty() || !self.from.is_empty()
    }
}

/// An object whose entries are variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubstituteFrom {
    /// Its kind.
    pub kind: SubstituteKind,
    /// Its name.
    pub name: String,
    /// Whether it may be missing.
    pub is_optional: bool,
}

/// Kinds of objects whose entries are variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SubstituteKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

impl SubstituteKind {
    /// The word that declarations and the API server use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
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
    /// Whether deletions wait for a person's `confirm`, however few they are.
    pub confirms_prunes: bool,
    /// Kinds that are never deleted, as `Kind` or `Kind.group`.
    pub protected: BTreeSet<String>,
    /// How many deletions pause.
    pub deletion_cap: DeletionCap,
    /// Whether fields that others apply are taken over when ours changes; else the apply fails and names them.
    pub forces_conflicts: bool,
    /// Whether an object with a change in an immutable field is deleted and made anew.
    pub replaces_immutable: bool,
    /// What is left to others.
    pub ignore: Vec<IgnoreRule>,
}

impl Default for SyncPolicy {
    fn default() -> Self {
        let protected = PROTECTED_KINDS.iter().map(|kind| (*kind).to_owned()).collect();
        Self {
            is_automated: true,
            prunes: false,
            self_heals: true,
            adopt: BTreeSet::new(),
            confirms_prunes: false,
            protected,
            deletion_cap: DeletionCap::default(),
            forces_conflicts: true,
            replaces_immutable: false,
            ignore: Vec::new(),
        }
    }
}

/// Kinds that take data or other objects with them when they go.
pub const PROTECTED_KINDS: [&str; 3] =
    ["Namespace", "PersistentVolumeClaim", "CustomResourceDefinition.apiextensions.k8s.io"];

/// Deletions in one app of more than so many objects *and* more than so much of its inventory pause (S7), as do those of
/// the whole inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletionCap {
    /// Objects.
    pub objects: u32,
    /// Percent of the inventory.
    pub percent: u32,
}

impl Default for DeletionCap {
    fn default() -> Self {
        Self { objects: 5, percent: 20 }
    }
}

/// Fields that are left to others: neither drift nor changed by us while the object stands. Conditions that are not given
/// hold for every object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoreRule {
    /// API group; the core group is empty.
    pub group: Option<String>,
    /// Kind.
    pub kind: Option<String>,
    /// Name.
    pub name: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
    /// JSON pointers into the object as it is declared.
    pub pointers: Vec<String>,
    /// Field managers: what they own is theirs.
    pub managers: Vec<String>,
    /// A condition on the object as it is declared, over [`HealthRule::VARIABLES`].
    pub when: Option<Expression>,
}

impl IgnoreRule {
    /// Whether the rule is about this object, as it is declared. A condition that cannot be told does not hold.
    #[must_use]
    pub fn is_about(&self, declared: &Object) -> bool {
        let key = &declared.key;
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        is(&self.group, &key.kind.group)
            && is(&self.kind, &key.kind.kind)
            && is(&self.name, &key.name)
            && is(&self.namespace, &key.namespace)
            && self.when.as_ref().is_none_or(|when| when.evaluate(&[&*declared.body]) == Ok(true))
    }
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
