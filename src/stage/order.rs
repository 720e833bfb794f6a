//! In which order objects go out, and in reverse order away again: explicit waves first, then kinds.
//!
//! Pure. Kinds follow the install orders of Argo CD (`gitops-engine/pkg/sync/sync_tasks.go`, `kindOrder`) and Helm
//! (`pkg/releaseutil/kind_sorter.go`, `InstallOrder`), in fewer steps: what needs nothing of each other goes together.
//! Two things differ: definitions go before all that may be of their kind, and what limits or scales pods goes after them.

use crate::model::{GroupKind, Object};

/// Annotations with an explicit wave: ours wins over Argo CD's.
const WAVE_ANNOTATIONS: [&str; 2] = ["tidegate.dev/sync-wave", "argocd.argoproj.io/sync-wave"];

/// Where an object stands in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Its explicit wave; 0 when it has none.
    pub wave: i32,
    /// What its kind is to others.
    pub group: Group,
}

/// Kinds that go out together, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// What holds others.
    Namespaces,
    /// What bounds them: it should stand before there is something to bound.
    Limits,
    /// Definitions of kinds.
    Definitions,
    /// Who may do what.
    Identities,
    /// What pods read and mount.
    Configuration,
    /// Names of pods, before the pods: their environment is made from them.
    Services,
    /// What runs.
    Workloads,
    /// What refers to workloads and services, and every custom kind.
    Attachments,
    /// What judges or serves all later requests: before its own pods run it would refuse everything.
    Admission,
}

/// Where an object stands in the order.
#[must_use]
pub fn rank(object: &Object) -> Rank {
    Rank { wave: wave_of(object), group: group(&object.key.kind) }
}

/// The explicit wave of an object. What is no whole number counts as none, as in Argo CD.
#[must_use]
pub fn wave_of(object: &Object) -> i32 {
    let text = WAVE_ANNOTATIONS.iter().find_map(|name| object.annotation(name));
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// What a kind is to others.
#[must_use]
pub fn group(kind: &GroupKind) -> Group {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Namespace") | ("scheduling.k8s.io", "PriorityClass") => Group::Namespaces,
        ("", "ResourceQuota" | "LimitRange") | ("networking.k8s.io", "NetworkPolicy") => Group::Limits,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Group::Definitions,
        ("", "ServiceAccount") | ("rbac.authorization.k8s.io", _) => Group::Identities,
        ("", "Secret" | "ConfigMap" | "PersistentVolume" | "PersistentVolumeClaim") | ("storage.k8s.io", _) => {
            Group::Configuration
        }
        ("", "Service" | "Endpoints") | ("discovery.k8s.io", _) => Group::Services,
        ("", "Pod" | "ReplicationController") | ("apps" | "batch", _) => Group::Workloads,
        ("admissionregistration.k8s.io", _) | ("apiregistration.k8s.io", "APIService") => Group::Admission,
        _ => Group::Attachments,
    }
}

/// The kind that an object defines, when it is a definition.
#[must_use]
pub fn defined_kind(object: &Object) -> Option<GroupKind> {
    if group(&object.key.kind) != Group::Definitions {
        return None;
    }
    Some(GroupKind::new(object.text("/spec/group")?, object.text("/spec/names/kind")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterName;
    use serde_json::json;

    fn ranked(api_version: &str, kind: &str, annotations: &serde_json::Value) -> Rank {
        let body =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "annotations": annotations}});
        rank(&Object::from_value(&ClusterName::local(), body).expect("well formed"))
    }

    #[test]
    fn kinds_go_out_so_that_what_is_needed_stands_first() {
        let order = [
            ("v1", "Namespace"),
            ("v1", "ResourceQuota"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            ("v1", "Secret"),
            ("v1", "Service"),
            ("apps/v1", "Deployment"),
            ("example.com/v1", "Gadget"),
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
        ];
        let ranks: Vec<Rank> = order.iter().map(|(version, kind)| ranked(version, kind, &json!({}))).collect();
        assert!(ranks.is_sorted_by(|left, right| left < right), "{ranks:?}");
    }

    #[test]
    fn an_explicit_wave_goes_before_kinds_and_ours_before_argo_cds() {
        let late = ranked("v1", "Namespace", &json!({"argocd.argoproj.io/sync-wave": "1"}));
        let early = ranked(
            "apps/v1",
            "Deployment",
            &json!({"tidegate.dev/sync-wave": "-2", "argocd.argoproj.io/sync-wave": "9"}),
        );
        assert!(early < late);
        assert_eq!(ranked("v1", "Namespace", &json!({"argocd.argoproj.io/sync-wave": "soon"})).wave, 0);
    }
}
