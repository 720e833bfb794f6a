//! What a pass decides to do, and what came of it. Edges obey; nothing in here is done by itself.

use super::{AppName, Digest, Measurement, Object, ObjectKey};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Server-side apply of a staged object, forced over other managers when `is_forced`.
    Apply {
        /// The object as it should be; carries `metadata.resourceVersion` when the write depends on what was observed.
        object: Object,
        /// Whether conflicts with other field managers are overridden.
        is_forced: bool,
    },
    /// What stands before it is answered before what follows is sent, and without a failure when `needs_success`.
    Barrier {
        /// Whether a failure before it keeps back what follows.
        needs_success: bool,
    },
    /// Removes fields that somebody added, by JSON patch with a resourceVersion test.
    RemoveFields {
        /// The object.
        key: ObjectKey,
        /// Its API version.
        version: String,
        /// The resourceVersion that was observed.
        resource_version: String,
        /// JSON pointers, deepest and last first, so that removing one does not move another.
        pointers: Vec<String>,
    },
    /// Hands the live `spec.replicas` over to another field manager, so that it survives being omitted by us.
    YieldReplicas {
        /// The workload.
        key: ObjectKey,
        /// Its API version.
        version: String,
        /// The live value.
        replicas: u32,
    },
    /// Drops our ownership labels and annotations and leaves the object.
    Orphan {
        /// The object.
        key: ObjectKey,
        /// Its API version.
        version: String,
    },
    /// Deletes with UID and resourceVersion preconditions.
    Delete {
        /// The object.
        key: ObjectKey,
        /// Its API version.
        version: String,
        /// UID that was observed.
        uid: String,
        /// resourceVersion that was observed.
        resource_version: String,
    },
    /// Keeps a rendered Release in the cluster.
    KeepRelease(Digest),
    /// Drops a kept Release that nothing refers to any more.
    DropRelease(Digest),
    /// Takes one sample of an analysis.
    Measure {
        /// The analysis's name.
        analysis: String,
        /// The provider's name.
        provider: String,
        /// The query, variables replaced.
        query: String,
    },
    /// Tells people through a Kubernetes Event.
    Notice(Notice),
    /// Deletes the app's custom resource: nothing is left to remember.
    Forget,
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The API server stored it; the object as it is now.
    Applied(Object),
    /// The API server changed it in another way than by apply; the object as it is now.
    Changed(Object),
    /// Nothing was written; this is what stands there.
    Seen(Object),
    /// Its deletion was accepted: it is gone, or its finalizers hold it.
    Deleted(ObjectKey),
    /// It does not exist.
    Absent(ObjectKey),
    /// A Release is kept.
    Kept(Digest),
    /// A Release is no longer kept.
    Dropped(Digest),
    /// A sample was taken.
    Measured {
        /// The analysis's name.
        analysis: String,
        /// The sample.
        measurement: Measurement,
    },
    /// It did not work.
    Failed {
        /// The object concerned, when there is one.
        key: Option<ObjectKey>,
        /// Why, without any secret.
        reason: String,
        /// Whether trying again without a change can help (conflict, timeout, 429, 5xx).
        is_transient: bool,
        /// Whether a field would have to change that never may.
        is_immutable: bool,
    },
    /// It was not sent: this agent does not lead at present.
    Withheld,
    /// Nothing to report.
    Done,
}

/// Something worth telling, as a Kubernetes Event on the Application resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The application.
    pub app: AppName,
    /// Normal or Warning.
    pub kind: NoticeKind,
    /// CamelCase, such as `WaveStarted`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// Kubernetes' two kinds of Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// As wished.
    Normal,
    /// Somebody should look.
    Warning,
}
