//! The marks that we leave on objects, each name in exactly one place.

/// The field manager of every apply.
pub const FIELD_MANAGER: &str = "tidegate";
/// The field manager that live replica counts are handed over to before we stop owning them.
pub const REPLICAS_MANAGER: &str = "tidegate-replicas";
/// Label: the application that an object belongs to.
pub const LABEL_APPLICATION: &str = "tidegate.dev/application";
/// Annotation: which agent owns an object.
pub const ANNOTATION_OWNER: &str = "tidegate.dev/owner";
/// Annotation: hash over what was applied (keyed for Secrets).
pub const ANNOTATION_CONTENT: &str = "tidegate.dev/content";
/// Annotation on workloads: digest of the Release whose pod template they carry.
pub const ANNOTATION_RELEASE: &str = "tidegate.dev/release";
/// Annotation on Deployments: changed to wake a ReplicaSet that backs off because quota refused its pods
/// (`deployment/util/deployment_util.go:315` copies annotations, which enqueues the ReplicaSet).
pub const ANNOTATION_KICK: &str = "tidegate.dev/kick";
