//! The structures of Argo CD's Application, as far as we fill them, under the rules of Go's `encoding/json`.
//!
//! Enters: values that the encoder chose. Leaves: JSON by serde. It must not know an `AppView`.

use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Application {
    pub(super) kind: &'static str,
    pub(super) api_version: &'static str,
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
    pub(super) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<Operation>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) resource_version: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) creation_timestamp: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) source: Source,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sources: Vec<Source>,
    pub(super) destination: Destination,
    pub(super) project: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sync_policy: Option<SyncPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision_history_limit: Option<u32>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Source {
    #[serde(rename = "repoURL")]
    pub(super) repository: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) target_revision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) directory: Option<Directory>,
}

#[derive(Clone, Serialize)]
pub(super) struct Directory {
    pub(super) recurse: bool,
    pub(super) jsonnet: Empty,
}

#[derive(Clone, Serialize)]
pub(super) struct Destination {
    pub(super) server: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
}

/// A structure without anything in it: `{}`.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Empty {}

#[derive(Serialize)]
pub(super) struct SyncPolicy {
    pub(super) automated: Automated,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Automated {
    #[serde(skip_serializing_if = "is_false")]
    pub(super) prune: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) self_heal: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resources: Vec<ResourceStatus>,
    pub(super) sync: Sync,
    pub(super) health: AppHealth,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) history: Vec<HistoryEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) conditions: Vec<Condition>,
    pub(super) reconciled_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation_state: Option<OperationState>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) source_type: &'static str,
    pub(super) summary: Summary,
    pub(super) source_hydrator: Empty,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceStatus {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health: Option<ResourceHealth>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) requires_pruning: bool,
}

#[derive(Serialize)]
pub(super) struct ResourceHealth {
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AppHealth {
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
    pub(super) last_transition_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sync {
    pub(super) status: &'static str,
    pub(super) compared_to: ComparedTo,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) revision: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) revisions: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct ComparedTo {
    pub(super) source: Source,
    pub(super) destination: Destination,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HistoryEntry {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) revision: String,
    pub(super) deployed_at: String,
    pub(super) id: u64,
    pub(super) source: Source,
    pub(super) deploy_started_at: String,
    pub(super) initiated_by: Initiator,
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct Initiator {
    #[serde(skip_serializing_if = "is_false")]
    pub(super) automated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) message: String,
    pub(super) last_transition_time: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OperationState {
    pub(super) operation: Operation,
    pub(super) phase: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
    pub(super) sync_result: SyncResult,
    pub(super) started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished_at: Option<String>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    pub(super) sync: SyncOperation,
    pub(super) initiated_by: Initiator,
    pub(super) retry: Empty,
}

#[derive(Clone, Serialize)]
pub(super) struct SyncOperation {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) revision: String,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) prune: bool,
}

#[derive(Serialize)]
pub(super) struct SyncResult {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) resources: Vec<ResourceResult>,
    pub(super) revision: String,
    pub(super) source: Source,
}

/// Unlike in `status.resources`, what names the object is always written here.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResourceResult {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Empty for hooks.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) message: String,
    /// Empty for what is no hook.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) hook_type: &'static str,
    pub(super) hook_phase: &'static str,
    pub(super) sync_phase: &'static str,
}

#[derive(Serialize)]
pub(super) struct Summary {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) images: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct ApplicationList {
    pub(super) metadata: ListMetadata,
    pub(super) items: Option<Vec<Value>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMetadata {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) resource_version: String,
}

// serde's `skip_serializing_if` passes references.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_false(claim: &bool) -> bool {
    !*claim
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}
