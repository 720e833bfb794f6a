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
/// Annotation on the object of a hook's run: which run it is of.
pub const ANNOTATION_HOOK_RUN: &str = "tidegate.dev/hook-run";
/// Annotations that make an object a hook: ours, Argo CD's and Helm's. The first that an object has is read.
pub const HOOK_ANNOTATIONS: [&str; 3] = ["tidegate.dev/hook", "argocd.argoproj.io/hook", "helm.sh/hook"];
/// Annotation on a hook whose name is left open (`generateName`): what its name begins with.
pub const ANNOTATION_GENERATE_NAME: &str = "tidegate.dev/generate-name";
/// Annotation on Deployments: changed to wake a ReplicaSet that backs off because quota refused its pods
/// (`deployment/util/deployment_util.go:315` copies annotations, which enqueues the ReplicaSet).
pub const ANNOTATION_KICK: &str = "tidegate.dev/kick";
