//! The one trait between us and the outside: API verbs and watch events, Git, measurements, chance and time.
//!
//! Two things implement it: the edges together (`edge::Outside`), and the simulated world. Faults are simulated *under*
//! it, so that the real `observe` and `tick` are what meets them. It decides nothing and retries nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

use crate::model::{
    AppName, AppSigners, Elsewhere, GroupKind, Millis, Object, ObjectKey, RenderJob, RenderOutput, Revision, Timestamp,
};
use crate::status::AppView;

/// What the agent may ask of the outside.
pub trait World: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// How long this process has been running, by a clock that is never set: it only goes on. For the lease alone, since
    /// it means nothing to any other process.
    fn uptime(&self) -> Millis;

    /// Returns once [`World::uptime`] is at least this.
    fn wait(&self, until: Millis) -> impl Future<Output = ()> + Send;

    /// Writes may start before this moment of [`World::uptime`], none later; `None`: no write at all, which is how it
    /// begins. A write that would start later is answered with [`ApiError::Deposed`] and is not sent; that is looked at
    /// last, right before the request goes out. Dry runs are no writes, and creating or updating a Lease is always let
    /// through, since it is how an agent comes to lead.
    fn lead(&self, until: Option<Millis>);

    /// Bytes that nobody can guess, for keys of ours.
    fn random(&self) -> [u8; 32];

    /// The next thing that happened, or [`Event::Woke`] once it is `until`.
    fn next_event(&self, until: Timestamp) -> impl Future<Output = Event> + Send;

    /// Which kinds the API server knows. Asked at start and again when a kind is missing.
    fn kinds(&self) -> impl Future<Output = Result<Kinds, ApiError>> + Send;

    /// Reads one object; `None` when it does not exist.
    fn get(&self, key: &ObjectKey, version: &str) -> impl Future<Output = Result<Option<Object>, ApiError>> + Send;

    /// Reads a whole collection as it is now, never from an old cache (no resourceVersion is sent).
    fn list(&self, scope: &Scope, label_selector: &str) -> impl Future<Output = Result<Listed, ApiError>> + Send;

    /// The same of what each object is and its metadata, without the rest.
    fn list_metadata(
        &self,
        scope: &Scope,
        label_selector: &str,
    ) -> impl Future<Output = Result<Listed, ApiError>> + Send;

    /// Starts to watch a collection from a resourceVersion; its changes come through [`World::next_event`]. Watching a
    /// scope again replaces its watch.
    fn watch(&self, scope: &Scope, resource_version: &str);

    /// Stops a watch.
    fn unwatch(&self, scope: &Scope);

    /// Creates an object.
    fn create(&self, object: &Object) -> impl Future<Output = Result<Object, ApiError>> + Send;

    /// Replaces an object, or its status subresource; the body carries the resourceVersion that was observed.
    fn update(&self, object: &Object, part: Part) -> impl Future<Output = Result<Object, ApiError>> + Send;

    /// Server-side apply under a field manager.
    fn apply(
        &self,
        object: &Object,
        options: ApplyOptions,
        acting: Acting<'_>,
    ) -> impl Future<Output = Result<Object, ApiError>> + Send;

    /// JSON patch (RFC 6902), tests included, under our field manager.
    fn patch(
        &self,
        key: &ObjectKey,
        version: &str,
        operations: &Value,
        acting: Acting<'_>,
    ) -> impl Future<Output = Result<Object, ApiError>> + Send;

    /// Deletes in the background with preconditions. Absence is not an error.
    fn delete(
        &self,
        key: &ObjectKey,
        version: &str,
        preconditions: &Preconditions,
        acting: Acting<'_>,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;

    /// Asks Git for its head and fetches what is new: of the repository that declares, or of another one that is followed.
    /// `known` is the commit that the caller holds, `proven` the newest one that was durably observed: the answer says
    /// whether the head descends from it. No two repositories wait for each other.
    fn poll(
        &self,
        of: Option<&Elsewhere>,
        known: Option<&str>,
        proven: Option<&str>,
    ) -> impl Future<Output = Result<Polled, SourceError>> + Send;

    /// Reads files of a fetched commit, each at most [`BLOB_BYTES_MAX`] long.
    fn read(
        &self,
        of: Option<&Elsewhere>,
        blobs: &[BlobId],
    ) -> impl Future<Output = Result<Vec<Vec<u8>>, SourceError>> + Send;

    /// Says which other repositories are used from here on. Those that the settings do not list are never contacted: a poll
    /// of one is refused. What is kept of any other goes.
    fn follow(&self, others: &BTreeSet<Elsewhere>);

    /// Has a tool render. The same question may be answered from a store of answers.
    fn render(&self, job: &RenderJob) -> impl Future<Output = Result<RenderOutput, RenderFault>> + Send;

    /// Files of the folder of keys that open encrypted files, by name; none when there is no folder.
    fn keys(&self) -> impl Future<Output = Result<Vec<(String, Vec<u8>)>, SourceError>> + Send;

    /// Takes one sample: the value, or `None` when the provider has no data.
    fn measure(&self, provider: &str, query: &str) -> impl Future<Output = Result<Option<f64>, MeasureError>> + Send;

    /// Shows an app to those who read over HTTP; `None` when the app is gone.
    fn show(&self, app: &AppName, view: Option<Arc<AppView>>);
}

/// One megabyte: larger than any manifest that the API server would take (its request limit is 3 MiB, an object's 1.5).
pub const BLOB_BYTES_MAX: usize = 1 << 20;

/// Everything that can happen to the agent. Closed on purpose.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A watched collection changed.
    Changed {
        /// The collection.
        scope: Scope,
        /// What changed.
        change: Change,
    },
    /// A watch ended: by its own time-out (`None`), or with an error; 410 is [`ApiError::Gone`].
    WatchEnded {
        /// The collection.
        scope: Scope,
        /// Why.
        error: Option<ApiError>,
    },
    /// Git may have moved: poll now.
    SourceHint,
    /// Another repository that is followed may have moved.
    OtherHint(Elsewhere),
    /// It is as late as was asked for.
    Woke,
    /// The process is asked to end.
    Shutdown,
}

/// A change in a watched collection.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The object was added or modified.
    Stored(Object),
    /// The object is gone; this is its last state.
    Deleted(Object),
    /// Nothing changed up to this resourceVersion.
    Bookmark(String),
}

/// A collection: a kind, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// The kind.
    pub kind: GroupKind,
    /// The API version to speak.
    pub version: String,
    /// One namespace, or all.
    pub namespace: Option<String>,
}

/// A list and the resourceVersion to watch from.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The objects.
    pub items: Vec<Object>,
    /// The collection's resourceVersion.
    pub resource_version: String,
}

/// What the API server knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Its kinds: by kind and version, whether it is namespaced.
    pub served: BTreeMap<(GroupKind, String), bool>,
    /// Its version, such as `v1.36.3`, when it said one.
    pub server_version: Option<String>,
}

impl Kinds {
    /// Whether objects of this kind live in a namespace; `None` when the server does not know the kind.
    #[must_use]
    pub fn is_namespaced(&self, kind: &GroupKind, version: &str) -> Option<bool> {
        self.served.get(&(kind.clone(), version.to_owned())).copied()
    }
}

impl FromIterator<((GroupKind, String), bool)> for Kinds {
    fn from_iter<T: IntoIterator<Item = ((GroupKind, String), bool)>>(kinds: T) -> Self {
        Self { served: kinds.into_iter().collect(), server_version: None }
    }
}

/// The object itself or its status subresource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but status.
    Object,
    /// Only status.
    Status,
}

/// On whose behalf a write is sent: the user that the API server is to judge it as (impersonation), such as
/// `system:serviceaccount:shop:deployer`; `None` for the agent itself.
pub type Acting<'a> = Option<&'a str>;

/// How to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Take fields over from other managers.
    pub is_forced: bool,
    /// Only ask what would happen.
    pub is_dry_run: bool,
    /// Under whose name.
    pub manager: &'static str,
}

/// What must be true of an object for its deletion to go ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preconditions {
    /// Its UID.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
}

/// Why an API call failed. Messages carry reason and field path, never an object's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 404.
    #[error("not found")]
    NotFound,
    /// 409: the object exists already.
    #[error("already exists")]
    AlreadyExists,
    /// 409: the object changed since it was observed, or a precondition or JSON-patch test failed.
    #[error("changed since it was observed")]
    Conflict,
    /// 409 of server-side apply: others own these fields.
    #[error("fields are owned by other managers: {0}")]
    Owned(String),
    /// 410: the resourceVersion is too old to continue from.
    #[error("resourceVersion is too old")]
    Gone,
    /// 400 or 422: the server refuses the object; the reason names fields.
    #[error("refused as invalid: {0}")]
    Invalid(String),
    /// 422: a field changes that may never change; the reason names it.
    #[error("cannot be changed in place: {0}")]
    Immutable(String),
    /// 401 or 403: a right is missing, quota is exceeded, or admission denied it.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// 429 or a server that asks for patience.
    #[error("the API server asks to wait {retry_after_seconds} s")]
    Busy {
        /// What `Retry-After` said, or 1.
        retry_after_seconds: u64,
    },
    /// 5xx.
    #[error("the API server failed: {0}")]
    Server(String),
    /// No answer in time; the write may have happened.
    #[error("no answer in time")]
    TimedOut,
    /// No connection.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The API server does not serve this kind.
    #[error("the cluster does not know the kind {0}")]
    UnknownKind(String),
    /// The write was not sent: see [`World::lead`].
    #[error("this agent does not lead (any more)")]
    Deposed,
}

impl ApiError {
    /// Whether the same call may work later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Conflict
            | Self::Gone
            | Self::Busy { .. }
            | Self::Server(_)
            | Self::TimedOut
            | Self::Unreachable(_) => true,
            Self::NotFound
            | Self::AlreadyExists
            | Self::Owned(_)
            | Self::Invalid(_)
            | Self::Immutable(_)
            | Self::Forbidden(_)
            | Self::UnknownKind(_)
            | Self::Deposed => false,
        }
    }
}

/// A Git object id, 40 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub String);

/// One entry of a commit's tree, at any depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file.
    File {
        /// Its content.
        blob: BlobId,
        /// Its length.
        bytes: u64,
    },
    /// A symbolic link: never followed.
    Link,
    /// A submodule: never entered.
    Submodule,
}

/// A commit's files by path from the repository's root, `/` between parts.
pub type Files = BTreeMap<String, Entry>;

/// What a poll found.
#[derive(Clone, Debug, PartialEq)]
pub enum Polled {
    /// The head is the commit that the caller holds.
    Unchanged,
    /// The head moved.
    Moved(Snapshot),
}

/// A fetched commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What is followed, and its commit.
    pub revision: Revision,
    /// Who may change which app.
    pub signers: Arc<AppSigners>,
    /// All files.
    pub files: Arc<Files>,
    /// Paths that differ from the commit that the caller held; `None` when all may.
    pub changed: Option<Vec<String>>,
    /// How the head relates to the newest commit that was durably observed.
    pub ancestry: Ancestry,
    /// First line of the commit message.
    pub subject: String,
    /// The author's name.
    pub author: String,
    /// When it was authored.
    pub authored_at: Timestamp,
}

/// How a head relates to a commit that was observed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ancestry {
    /// Nothing was observed before.
    First,
    /// The head descends from it.
    Descends,
    /// It could not be shown within [`DEEPEN_COMMITS_MAX`] commits: history was rewritten.
    Diverged,
    /// No branch is followed, but a tag, a commit, or the newest of a range of versions. Who names a commit means it,
    /// whichever way it lies from the last one: going back to an older version is done just so. Only a branch promises to
    /// go on from where it was.
    Named,
}

/// How far history is fetched to prove ancestry (S6).
pub const DEEPEN_COMMITS_MAX: i32 = 1000;

/// Why Git could not be read. Messages never carry credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No connection, or no answer in time.
    #[error("the Git server cannot be reached: {0}")]
    Unreachable(String),
    /// What is needed to speak to the server is missing or unusable here: a file of credentials, an authority, the server's
    /// own key. Nothing of it mends by waiting.
    #[error("no access to the Git server: {0}")]
    Access(String),
    /// The credentials were refused.
    #[error("the Git server refused the credentials")]
    Unauthorized,
    /// The server asks for patience.
    #[error("the Git server asks to wait {retry_after_seconds} s")]
    Busy {
        /// What `Retry-After` said, or 60.
        retry_after_seconds: u64,
    },
    /// The branch, tag, commit or version does not exist (any more); the message says which, and what there is.
    #[error("{0}")]
    NoReference(String),
    /// The repository does not exist, or has no commit.
    #[error("the repository is missing or empty: {0}")]
    NoRepository(String),
    /// What was received or stored is broken.
    #[error("the repository's data is broken: {0}")]
    Corrupt(String),
    /// A limit was reached.
    #[error("{0}")]
    TooLarge(String),
    /// The head is not signed by anybody whom the settings trust; nothing of it is read.
    #[error("{0}")]
    Unverified(String),
}

/// Why a tool rendered nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderFault {
    /// No renderer runs, or none answers: the same question may be answered later.
    #[error("{0}")]
    Unavailable(String),
    /// The tool, or what was asked of it, is not right: it says no every time.
    #[error("{0}")]
    Refused(String),
}

/// Why a sample could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// The plan names a provider that the agent's settings do not have.
    #[error("no metrics provider is called `{0}` in the agent's settings")]
    UnknownProvider(String),
    /// No connection, or no answer in time.
    #[error("the metrics provider cannot be reached: {0}")]
    Unreachable(String),
    /// The provider refused the query.
    #[error("the metrics provider refused the query: {0}")]
    Refused(String),
    /// The answer is not one number.
    #[error("the query must give one number, it gave {0}")]
    NotOneNumber(String),
}
