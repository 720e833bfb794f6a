//! The Application resource's `.status`: what `kubectl get`, `kubectl wait` and kstatus read.
//!
//! Enters: an [`AppView`]. Leaves: JSON. Nothing in it changes by the passing of time alone, so that an unchanged app
//! causes no write: no ages, no `reconciledAt`, no samples of gates that are still open.

use serde::Serialize;
use serde_json::Value;

use super::wire::{
    HealthWords, HookEnd, Place, SourceCommit, Version, Versions, hook_ends, lane, place, seconds, sentence,
    source_commits, value, version,
};
use super::{AppView, Phase};
use crate::model::{GateRecord, Rollout, WaveRecord};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    observed_generation: i64,
    phase: &'static str,
    health: HealthWords,
    sync: Sync,
    #[serde(flatten)]
    versions: Versions,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<RolloutSummary>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waves: Vec<WaveSummary>,
    /// Hooks of the rollout under way that came to their end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<HookEnd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<Why>,
    exposure: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<Answered>,
    /// Digest of the last Release that completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    stable_digest: Option<String>,
    conditions: Vec<Condition>,
}

#[derive(Serialize)]
struct Sync {
    status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    revision: String,
    /// Commits of other repositories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<SourceCommit>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RolloutSummary {
    id: u64,
    lane: &'static str,
    target: Version,
    started_at: String,
    #[serde(flatten)]
    place: Place,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WaveSummary {
    name: String,
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passed_at: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gates: Vec<GateSummary>,
}

#[derive(Serialize)]
struct GateSummary {
    gate: String,
    verdict: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct Why {
    fact: String,
    since: String,
}

#[derive(Serialize)]
struct Answered {
    request: String,
    answer: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
    last_transition_time: String,
    observed_generation: i64,
}

/// Encodes the `.status` of the app's Application resource.
#[must_use]
pub fn resource_status(view: &AppView) -> Value {
    let rollout = view.record.rollout.as_ref();
    value(&Status {
        observed_generation: view.generation,
        phase: view.report.phase.as_str(),
        health: HealthWords::of(&view.report.health),
        sync: Sync {
            status: view.report.sync.as_str(),
            revision: view.desired.as_ref().map(|desired| desired.revision.commit.clone()).unwrap_or_default(),
            sources: source_commits(view),
        },
        versions: Versions::of(view),
        rollout: rollout.map(rollout_summary),
        waves: rollout.map(|rollout| rollout.waves.iter().map(wave_summary).collect()).unwrap_or_default(),
        hooks: rollout.map(|rollout| hook_ends(&rollout.hooks.runs, seconds)).unwrap_or_default(),
        why: view
            .report
            .blocking
            .as_ref()
            .map(|blocking| Why { fact: blocking.fact.clone(), since: seconds(blocking.since) }),
        exposure: view.report.exposure,
        remarks: view.report.remarks.clone(),
        answered: view
            .record
            .answered
            .as_ref()
            .map(|(request, answer)| Answered { request: request.text.clone(), answer: answer.clone() }),
        stable_digest: view.record.stable.as_ref().map(|stable| stable.digest.to_string()),
        conditions: conditions(view),
    })
}

fn rollout_summary(rollout: &Rollout) -> RolloutSummary {
    RolloutSummary {
        id: rollout.id,
        lane: lane(rollout.lane),
        target: version(&rollout.target),
        started_at: seconds(rollout.started_at),
        place: place(rollout),
    }
}

fn wave_summary(wave: &WaveRecord) -> WaveSummary {
    WaveSummary {
        name: wave.name.clone(),
        started_at: seconds(wave.started_at),
        ready_at: wave.ready_at.map(seconds),
        passed_at: wave.passed_at.map(seconds),
        gates: wave.gates.iter().map(gate_summary).collect(),
    }
}

fn gate_summary(gate: &GateRecord) -> GateSummary {
    GateSummary { gate: gate.gate.clone(), verdict: gate.verdict.as_str(), reason: gate.reason.clone() }
}

/// The `Ready` reason of a phase.
const fn reason(phase: Phase) -> &'static str {
    match phase {
        Phase::Idle => "Succeeded",
        Phase::Progressing
        | Phase::Baking
        | Phase::Measuring
        | Phase::Waiting
        | Phase::Reverting
        | Phase::Held
        | Phase::Drifted
        | Phase::SourceFailed
        | Phase::Unhealthy
        | Phase::Contended => phase.as_str(),
    }
}

/// Ready, Reconciling and Stalled as (status of each): kstatus reads the latter two as True only when abnormal.
const fn claims(phase: Phase) -> (bool, bool, bool) {
    match phase {
        Phase::Idle => (true, false, false),
        Phase::Progressing | Phase::Baking | Phase::Measuring | Phase::Waiting | Phase::Reverting => {
            (false, true, false)
        }
        Phase::Held | Phase::SourceFailed => (false, false, true),
        // Nothing of ours is under way, and the declaration is not at fault: kstatus shows them by Ready alone.
        Phase::Drifted | Phase::Unhealthy | Phase::Contended => (false, false, false),
    }
}

fn conditions(view: &AppView) -> Vec<Condition> {
    let phase = view.report.phase;
    let message = message(view);
    let (is_ready, is_reconciling, is_stalled) = claims(phase);
    [("Ready", is_ready), ("Reconciling", is_reconciling), ("Stalled", is_stalled)]
        .into_iter()
        .map(|(kind, holds)| Condition {
            kind,
            status: if holds { "True" } else { "False" },
            reason: reason(phase),
            message: message.clone(),
            last_transition_time: seconds(view.phase_since),
            observed_generation: view.generation,
        })
        .collect()
}

fn message(view: &AppView) -> String {
    let report = &view.report;
    if let Some(blocking) = &report.blocking {
        return blocking.fact.clone();
    }
    if let Some(rollout) = &view.record.rollout {
        return sentence(rollout);
    }
    match &view.effective {
        Some(effective) if report.phase == Phase::Idle => format!("{} is as declared", effective.version),
        Some(_) | None => report.health.message.clone(),
    }
}

#[cfg(test)]
mod tests;
