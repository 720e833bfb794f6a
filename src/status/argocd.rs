//! Argo CD's Application as its own API server writes it.
//!
//! Enters: an [`AppView`]. Leaves: JSON under the rules of Go's `encoding/json` over Argo CD's structs: structures
//! that are no pointers appear even when empty, empty text, numbers and lists under `omitempty` vanish, times are RFC
//! 3339 in seconds, an empty list of items is `null`. Every phase word comes from the report.

mod shape;

use serde_json::Value;

use shape::{
    AppHealth, Application, ApplicationList, Automated, ComparedTo, Condition, Destination, Directory, Empty,
    HistoryEntry, Initiator, ListMetadata, Metadata, Operation, OperationState, ResourceHealth, ResourceResult,
    ResourceStatus, Source, Spec, Status, Summary, Sync, SyncOperation, SyncPolicy, SyncResult,
};

use super::wire::{hook_phase, seconds, sentence, value};
use super::{AppView, Board, Phase, Resource, SyncStatus};
use crate::model::{Health, HookRun, Moment, Past, PastOutcome, Position, Reference, SourcePath, Timestamp};

/// The project that every app is in: there are no others.
pub const PROJECT: &str = "default";

/// How the cluster that the agent runs in is called by its clients.
pub const SERVER: &str = "https://kubernetes.default.svc";

/// What scripts compare `operationState.message` with.
const SUCCEEDED: &str = "successfully synced (all tasks run)";

/// Encodes one app as Argo CD's Application.
#[must_use]
pub fn application(view: &AppView) -> Value {
    let report = &view.report;
    let source = source(view);
    let destination = destination(view);
    let operation_state = operation_state(view, &source);
    value(&Application {
        kind: "Application",
        api_version: "argoproj.io/v1alpha1",
        metadata: Metadata {
            name: view.name.to_string(),
            namespace: view.namespace.clone(),
            uid: view.uid.clone(),
            resource_version: view.resource_version.clone(),
            generation: view.generation,
            creation_timestamp: view.created_at.map(seconds),
        },
        spec: Spec {
            source: source.clone(),
            sources: sources(view).into_iter().map(|(source, _)| source).collect(),
            destination: destination.clone(),
            project: PROJECT,
            sync_policy: view.application.as_ref().filter(|application| application.sync.is_automated).map(
                |application| SyncPolicy {
                    automated: Automated { prune: application.sync.prunes, self_heal: application.sync.self_heals },
                },
            ),
            revision_history_limit: view.application.as_ref().map(|application| application.history_max),
        },
        operation: operation_state
            .as_ref()
            .filter(|state| state.finished_at.is_none())
            .map(|state| state.operation.clone()),
        status: Status {
            resources: report.resources.iter().map(resource_status).collect(),
            sync: Sync {
                status: report.sync.as_str(),
                compared_to: ComparedTo { source: source.clone(), destination },
                revision: compared_revision(view),
                revisions: sources(view).into_iter().map(|(_, commit)| commit).collect(),
            },
            health: AppHealth {
                status: report.health.status.as_str(),
                message: report.health.message.clone(),
                last_transition_time: seconds(view.health_since),
            },
            history: history(view, &source),
            conditions: conditions(view),
            reconciled_at: seconds(reconciled_at(view)),
            operation_state,
            source_type: if view.application.is_some() { "Directory" } else { "" },
            summary: Summary { images: images(view) },
            source_hydrator: Empty {},
        },
    })
}

/// Encodes the apps that `keep` selects as Argo CD's ApplicationList, by name.
#[must_use]
pub fn list(board: &Board, keep: impl Fn(&AppView) -> bool) -> Value {
    let items: Vec<Value> = board.values().filter(|view| keep(view)).map(|view| application(view)).collect();
    // resourceVersions of one API server compare as numbers, and numbers without leading zeros by length first.
    let newest = board.values().map(|view| &view.resource_version).max_by_key(|version| (version.len(), *version));
    value(&ApplicationList {
        metadata: ListMetadata { resource_version: newest.cloned().unwrap_or_default() },
        items: Some(items).filter(|items| !items.is_empty()),
    })
}

/// The first source, as if there were no others.
fn source(view: &AppView) -> Source {
    let declared = view.application.as_ref().and_then(|application| application.sources.first());
    source_at(view, declared, branch(view))
}

/// All sources with their commits, of an app that has several or whose manifests lie in another repository.
fn sources(view: &AppView) -> Vec<(Source, String)> {
    let Some(application) = &view.application else { return Vec::new() };
    if application.sources.len() < 2 && application.elsewhere().next().is_none() {
        return Vec::new();
    }
    let branch = branch(view);
    let entry = |declared: &SourcePath| match &declared.elsewhere {
        None => (source_at(view, Some(declared), branch.clone()), compared_revision(view)),
        Some(other) => {
            let commit = view.rendered_from.get(other).map(|revision| revision.commit.clone()).unwrap_or_default();
            // What it calls `HEAD` is the default branch.
            let followed = match &other.revision {
                Reference::Default => "HEAD".to_owned(),
                Reference::Branch(_) | Reference::Tag(_) | Reference::Commit(_) | Reference::Range(_) => {
                    other.revision.to_string()
                }
            };
            let source = source_at(view, Some(declared), followed);
            (Source { repository: other.repository.clone(), ..source }, commit)
        }
    };
    application.sources.iter().map(entry).collect()
}

fn branch(view: &AppView) -> String {
    view.revision.as_ref().map(|revision| revision.followed().to_owned()).unwrap_or_default()
}

fn source_at(view: &AppView, declared: Option<&SourcePath>, target_revision: String) -> Source {
    let path = declared.map(|source| source.path.clone()).unwrap_or_default();
    Source {
        repository: view.repository.clone(),
        // Argo CD calls the root of a repository a dot.
        path: if declared.is_some() && path.is_empty() { ".".to_owned() } else { path },
        target_revision,
        directory: declared
            .filter(|source| source.is_recursive)
            .map(|_| Directory { recurse: true, jsonnet: Empty {} }),
    }
}

fn destination(view: &AppView) -> Destination {
    let namespace = view.application.as_ref().map(|application| application.namespace.clone()).unwrap_or_default();
    Destination { server: SERVER, namespace }
}

fn resource_status(resource: &Resource) -> ResourceStatus {
    let health = |health: &Health| ResourceHealth { status: health.status.as_str(), message: health.message.clone() };
    ResourceStatus {
        group: resource.key.kind.group.clone(),
        version: resource.version.clone(),
        kind: resource.key.kind.kind.clone(),
        namespace: resource.key.namespace.clone(),
        name: resource.key.name.clone(),
        status: resource.sync.as_str(),
        health: resource.health.as_ref().map(health),
        requires_pruning: resource.requires_pruning,
    }
}

/// Git's head, as far as it is known: Argo CD compares with the newest commit even when it changed nothing of the app.
fn compared_revision(view: &AppView) -> String {
    let declared = view.desired.as_ref().map(|desired| &desired.revision);
    view.revision.as_ref().or(declared).map(|revision| revision.commit.clone()).unwrap_or_default()
}

/// What is declared, as long as it is what runs: the images of other Releases are not known here.
fn images(view: &AppView) -> Vec<String> {
    let (Some(application), Some(desired), Some(effective)) = (&view.application, &view.desired, &view.effective)
    else {
        return Vec::new();
    };
    if desired.digest != effective.digest {
        return Vec::new();
    }
    let image = |image: &crate::model::ImageOverride| match &image.digest {
        Some(digest) => format!("{}@{digest}", image.name),
        None => format!("{}:{}", image.name, image.tag),
    };
    application.images.iter().map(image).collect()
}

fn initiator(view: &AppView) -> Initiator {
    Initiator { automated: view.application.as_ref().is_some_and(|application| application.sync.is_automated) }
}

fn history(view: &AppView, source: &Source) -> Vec<HistoryEntry> {
    let completed = |past: &&Past| past.outcome == PastOutcome::Completed;
    let entry = |past: &Past| HistoryEntry {
        revision: past.release.revision.commit.clone(),
        deployed_at: seconds(past.ended_at),
        id: past.id,
        source: source.clone(),
        deploy_started_at: seconds(past.started_at),
        initiated_by: initiator(view),
    };
    view.record.past.iter().filter(completed).map(entry).collect()
}

fn conditions(view: &AppView) -> Vec<Condition> {
    let kind = match view.report.phase {
        Phase::SourceFailed => "ComparisonError",
        Phase::Held => "SyncError",
        Phase::Idle
        | Phase::Progressing
        | Phase::Baking
        | Phase::Measuring
        | Phase::Waiting
        | Phase::Reverting
        | Phase::Drifted
        | Phase::Unhealthy
        | Phase::Contended => return Vec::new(),
    };
    vec![Condition { kind, message: fact(view), last_transition_time: seconds(view.phase_since) }]
}

fn fact(view: &AppView) -> String {
    let blocking = view.report.blocking.as_ref().map(|blocking| blocking.fact.clone());
    let rollout = || view.record.rollout.as_ref().map(sentence);
    blocking.or_else(rollout).unwrap_or_else(|| view.report.health.message.clone())
}

/// When the operation that the phase speaks of started and, unless it is running, ended; `None` before there was any.
fn operation_times(view: &AppView) -> Option<(Timestamp, Option<Timestamp>)> {
    let rollout = view.record.rollout.as_ref();
    let last = view.record.past.last();
    match view.report.phase {
        Phase::Progressing | Phase::Baking | Phase::Measuring | Phase::Waiting | Phase::Reverting => {
            Some((rollout.map_or(view.phase_since, |rollout| rollout.started_at), None))
        }
        Phase::Held => Some(match rollout {
            Some(rollout) => match &rollout.position {
                Position::Held { since, .. } => (rollout.started_at, Some(*since)),
                Position::Preparing | Position::Wave { .. } | Position::Trailing | Position::Reverting { .. } => {
                    (rollout.started_at, Some(view.phase_since))
                }
            },
            None => {
                last.map_or((view.phase_since, Some(view.phase_since)), |past| (past.started_at, Some(past.ended_at)))
            }
        }),
        Phase::SourceFailed => Some((view.phase_since, Some(view.phase_since))),
        Phase::Idle | Phase::Drifted | Phase::Unhealthy | Phase::Contended => match (last, &view.effective) {
            (Some(past), _) => Some((past.started_at, Some(past.ended_at))),
            // The past was lost with our resources and rebuilt from the cluster: what runs was synced, some time.
            (None, Some(_)) => Some((view.phase_since, Some(view.phase_since))),
            (None, None) => None,
        },
    }
}

/// Clients distrust a comparison that is older than the operation: it is never shown older.
fn reconciled_at(view: &AppView) -> Timestamp {
    let finished_at = operation_times(view).and_then(|(_, finished_at)| finished_at);
    finished_at.map_or(view.reconciled_at, |finished_at| finished_at.max(view.reconciled_at))
}

fn operation_state(view: &AppView, source: &Source) -> Option<OperationState> {
    let (started_at, finished_at) = operation_times(view)?;
    let revision = operation_revision(view);
    let message = match view.report.phase {
        Phase::Idle | Phase::Drifted | Phase::Unhealthy | Phase::Contended => SUCCEEDED.to_owned(),
        Phase::Progressing
        | Phase::Baking
        | Phase::Measuring
        | Phase::Waiting
        | Phase::Reverting
        | Phase::Held
        | Phase::SourceFailed => fact(view),
    };
    Some(OperationState {
        operation: Operation {
            sync: SyncOperation {
                revision: revision.clone(),
                prune: view.application.as_ref().is_some_and(|application| application.sync.prunes),
            },
            initiated_by: initiator(view),
            retry: Empty {},
        },
        phase: view.report.phase.operation(),
        message,
        sync_result: SyncResult { resources: resource_results(view), revision, source: source.clone() },
        started_at: seconds(started_at),
        finished_at: finished_at.map(seconds),
    })
}

/// The commit that the operation was about: what rolls out, what was refused, or what runs.
fn operation_revision(view: &AppView) -> String {
    let release = match view.report.phase {
        Phase::Progressing | Phase::Baking | Phase::Measuring | Phase::Waiting | Phase::Reverting | Phase::Held => {
            view.record.rollout.as_ref().map(|rollout| &rollout.target).or(view.desired.as_ref())
        }
        Phase::SourceFailed => return compared_revision(view),
        Phase::Idle | Phase::Drifted | Phase::Unhealthy | Phase::Contended => {
            view.effective.as_ref().or(view.desired.as_ref())
        }
    };
    release.map(|release| release.revision.commit.clone()).unwrap_or_default()
}

/// What the sync did to one object; `None` while it has not been reached.
fn resource_result(resource: &Resource) -> Option<ResourceResult> {
    let status = match resource.sync {
        SyncStatus::Synced => "Synced",
        SyncStatus::OutOfSync if resource.requires_pruning => "PruneSkipped",
        SyncStatus::OutOfSync | SyncStatus::Unknown => return None,
    };
    Some(ResourceResult {
        group: resource.key.kind.group.clone(),
        version: resource.version.clone(),
        kind: resource.key.kind.kind.clone(),
        namespace: resource.key.namespace.clone(),
        name: resource.key.name.clone(),
        status,
        message: String::new(),
        hook_type: "",
        hook_phase: "Running",
        sync_phase: "Sync",
    })
}

/// What the last operation did: to objects, and by hooks, whose ends are told in the same list.
fn resource_results(view: &AppView) -> Vec<ResourceResult> {
    let objects = view.report.resources.iter().filter_map(resource_result);
    objects.chain(view.hook_runs().iter().map(hook_result)).collect()
}

/// How a hook ended. Its API version is not known here: clients find it by group, kind and name.
fn hook_result(run: &HookRun) -> ResourceResult {
    let hook_type = match run.moment {
        Moment::Pre => "PreSync",
        Moment::Sync => "Sync",
        Moment::Post => "PostSync",
        Moment::OnFail | Moment::OnRollback => "SyncFail",
    };
    ResourceResult {
        group: run.key.kind.group.clone(),
        version: String::new(),
        kind: run.key.kind.kind.clone(),
        namespace: run.key.namespace.clone(),
        name: run.name().to_owned(),
        status: "",
        message: run.message.clone(),
        hook_type,
        hook_phase: hook_phase(run),
        sync_phase: hook_type,
    }
}

#[cfg(test)]
mod tests;
