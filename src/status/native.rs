//! The native documents: the app list, an app's rollout, and `why`.
//!
//! Enters: an [`AppView`], and for `why` the time of asking. Leaves: JSON. Lists are never `null`, what does not apply is
//! `null`, times carry milliseconds so that lengths of time can be computed from them.

use serde::Serialize;
use serde_json::Value;

use super::wire::{HealthWords, Place, Version, Versions, capacity, lane, millis, place, refused, replicas, strategy};
use super::wire::{HookEnd, SourceCommit, hook_ends, source_commits, value, version};
use super::{AppView, Board};
use crate::model::{
    Analysis, GateRecord, HealthStatus, Measurement, Past, Position, Rollout, Timestamp, Wave, WavePlan, WaveRecord,
};
use crate::status::SyncStatus;

/// The verdict of a gate that still takes samples.
const PENDING: &str = "Pending";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RolloutDocument {
    application: String,
    /// Whether a rollout is under way; otherwise the last one is shown.
    active: bool,
    phase: &'static str,
    health: HealthWords,
    sync: &'static str,
    id: Option<u64>,
    lane: Option<&'static str>,
    target: Option<Version>,
    position: Option<Place>,
    started_at: Option<String>,
    ended_at: Option<String>,
    outcome: Option<&'static str>,
    reason: Option<String>,
    #[serde(flatten)]
    versions: Versions,
    /// Commits of other repositories that what Git declares was rendered of.
    sources: Vec<SourceCommit>,
    /// The plan that the rollout follows; without one, the plan that the next one will follow.
    plan: Option<PlanDocument>,
    waves: Vec<WaveDocument>,
    /// How its hooks ended.
    hooks: Vec<HookEnd>,
    quarantine: Vec<Version>,
    past: Vec<PastDocument>,
    exposure: u32,
    remarks: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PlanDocument {
    name: String,
    strategy: &'static str,
    capacity: &'static str,
    waves: Vec<PlannedWave>,
    analysis: Vec<PlannedAnalysis>,
}

#[derive(Serialize)]
struct PlannedWave {
    name: String,
    replicas: Value,
    bake: String,
    timeout: String,
    analysis: Vec<String>,
}

#[derive(Serialize)]
struct PlannedAnalysis {
    name: String,
    provider: String,
    query: String,
    min: Option<f64>,
    max: Option<f64>,
    interval: String,
    count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WaveDocument {
    name: String,
    started_at: String,
    ready_at: Option<String>,
    passed_at: Option<String>,
    pods: Vec<PodCount>,
    gates: Vec<GateDocument>,
}

#[derive(Serialize)]
struct PodCount {
    kind: String,
    namespace: String,
    name: String,
    pods: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GateDocument {
    gate: String,
    /// `Pending` while samples are being taken.
    verdict: &'static str,
    reason: String,
    decided_at: Option<String>,
    measurements: Vec<MeasurementDocument>,
}

#[derive(Serialize)]
struct MeasurementDocument {
    at: String,
    value: Option<f64>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PastDocument {
    id: u64,
    release: Version,
    outcome: &'static str,
    reason: String,
    started_at: String,
    ended_at: String,
    waves: Vec<WaveDocument>,
    hooks: Vec<HookEnd>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WhyDocument {
    application: String,
    ok: bool,
    fact: String,
    since: String,
    age_seconds: i64,
    phase: &'static str,
    health: HealthWords,
    sync: &'static str,
    remarks: Vec<String>,
}

#[derive(Serialize)]
struct ListDocument {
    items: Vec<ListEntry>,
}

#[derive(Serialize)]
struct ListEntry {
    name: String,
    phase: &'static str,
    health: &'static str,
    sync: &'static str,
    ok: bool,
    why: String,
    #[serde(flatten)]
    versions: Versions,
}

/// Encodes the app's rollout, or the last one when none is under way.
#[must_use]
pub fn rollout(view: &AppView) -> Value {
    let current = view.record.rollout.as_ref();
    let last = view.record.past.last().filter(|_| current.is_none());
    let plan = current.map(|rollout| &rollout.plan).or(view.application.as_ref().map(|application| &*application.plan));
    value(&RolloutDocument {
        application: view.name.to_string(),
        active: current.is_some(),
        phase: view.report.phase.as_str(),
        health: HealthWords::of(&view.report.health),
        sync: view.report.sync.as_str(),
        id: current.map(|rollout| rollout.id).or(last.map(|past| past.id)),
        lane: current.map(|rollout| rollout.lane).or(last.map(|past| past.lane)).map(lane),
        target: current.map(|rollout| version(&rollout.target)).or(last.map(|past| version(&past.release))),
        position: current.map(place),
        started_at: current.map(|rollout| rollout.started_at).or(last.map(|past| past.started_at)).map(millis),
        ended_at: last.map(|past| millis(past.ended_at)),
        outcome: last.map(|past| past.outcome.as_str()),
        reason: last.map(|past| past.reason.clone()).filter(|reason| !reason.is_empty()),
        versions: Versions::of(view),
        sources: source_commits(view),
        plan: plan.map(plan_document),
        waves: match (current, last) {
            (Some(rollout), _) => current_waves(view, rollout),
            (None, Some(past)) => past.waves.iter().map(wave_document).collect(),
            (None, None) => Vec::new(),
        },
        hooks: hook_ends(view.hook_runs(), millis),
        quarantine: view.record.quarantine.iter().map(|entry| refused(view, entry)).collect(),
        past: view.record.past.iter().map(past_document).collect(),
        exposure: view.report.exposure,
        remarks: view.report.remarks.clone(),
    })
}

/// Encodes the one fact that keeps the app from being Synced and Healthy, and how old it is at `now`.
#[must_use]
pub fn why(view: &AppView, now: Timestamp) -> Value {
    let report = &view.report;
    let (fact, since) = blocking(view).unwrap_or_else(|| (String::new(), view.phase_since));
    value(&WhyDocument {
        application: view.name.to_string(),
        ok: fact.is_empty(),
        fact,
        since: millis(since),
        age_seconds: now.duration_since(since).as_secs().max(0),
        phase: report.phase.as_str(),
        health: HealthWords::of(&report.health),
        sync: report.sync.as_str(),
        remarks: report.remarks.clone(),
    })
}

/// Encodes all apps in a few words each, by name.
#[must_use]
pub fn list(board: &Board) -> Value {
    let entry = |view: &AppView| {
        let fact = blocking(view).map(|(fact, _)| fact);
        ListEntry {
            name: view.name.to_string(),
            phase: view.report.phase.as_str(),
            health: view.report.health.status.as_str(),
            sync: view.report.sync.as_str(),
            ok: fact.is_none(),
            why: fact.unwrap_or_default(),
            versions: Versions::of(view),
        }
    };
    value(&ListDocument { items: board.values().map(|view| entry(view)).collect() })
}

/// An app that is not well is never shown without a fact, whatever its report left out.
fn blocking(view: &AppView) -> Option<(String, Timestamp)> {
    let report = &view.report;
    if let Some(blocking) = &report.blocking {
        return Some((blocking.fact.clone(), blocking.since));
    }
    if report.health.status == HealthStatus::Healthy && report.sync == SyncStatus::Synced {
        return None;
    }
    let words = [report.phase.as_str(), report.health.status.as_str(), report.sync.as_str()].join(", ");
    let message = &report.health.message;
    let fact = if message.is_empty() { words } else { format!("{words}: {message}") };
    Some((fact, view.phase_since))
}

fn plan_document(plan: &WavePlan) -> PlanDocument {
    let wave = |wave: &Wave| PlannedWave {
        name: wave.name.clone(),
        replicas: replicas(wave.replicas),
        bake: wave.bake.to_string(),
        timeout: wave.timeout.to_string(),
        analysis: wave.analysis.clone(),
    };
    let analysis = |analysis: &Analysis| PlannedAnalysis {
        name: analysis.name.clone(),
        provider: analysis.provider.clone(),
        query: analysis.query.clone(),
        min: analysis.min,
        max: analysis.max,
        interval: analysis.interval.to_string(),
        count: analysis.count,
    };
    PlanDocument {
        name: plan.name.clone(),
        strategy: strategy(plan.strategy),
        capacity: capacity(plan.capacity),
        waves: plan.waves.iter().map(wave).collect(),
        analysis: plan.analysis.iter().map(analysis).collect(),
    }
}

/// The waves so far; the one under way also shows the gates that are not decided yet.
fn current_waves(view: &AppView, rollout: &Rollout) -> Vec<WaveDocument> {
    let mut waves: Vec<WaveDocument> = rollout.waves.iter().map(wave_document).collect();
    let is_judging = match &rollout.position {
        Position::Wave { .. } | Position::Trailing => true,
        Position::Preparing | Position::Reverting { .. } | Position::Held { .. } => false,
    };
    if let Some(current) = waves.last_mut().filter(|_| is_judging) {
        let decided: Vec<String> = current.gates.iter().map(|gate| gate.gate.clone()).collect();
        let pending = view.samples.iter().filter(|(gate, _)| !decided.contains(gate));
        current.gates.extend(pending.map(|(gate, samples)| GateDocument {
            gate: gate.clone(),
            verdict: PENDING,
            reason: String::new(),
            decided_at: None,
            measurements: samples.iter().map(measurement_document).collect(),
        }));
    }
    waves
}

fn wave_document(wave: &WaveRecord) -> WaveDocument {
    WaveDocument {
        name: wave.name.clone(),
        started_at: millis(wave.started_at),
        ready_at: wave.ready_at.map(millis),
        passed_at: wave.passed_at.map(millis),
        pods: wave
            .pods
            .iter()
            .map(|(key, pods)| PodCount {
                kind: key.kind.kind.clone(),
                namespace: key.namespace.clone(),
                name: key.name.clone(),
                pods: *pods,
            })
            .collect(),
        gates: wave.gates.iter().map(gate_document).collect(),
    }
}

fn gate_document(gate: &GateRecord) -> GateDocument {
    GateDocument {
        gate: gate.gate.clone(),
        verdict: gate.verdict.as_str(),
        reason: gate.reason.clone(),
        decided_at: Some(millis(gate.decided_at)),
        measurements: gate.measurements.iter().map(measurement_document).collect(),
    }
}

fn measurement_document(measurement: &Measurement) -> MeasurementDocument {
    MeasurementDocument {
        at: millis(measurement.at),
        value: measurement.value,
        verdict: measurement.verdict.as_str(),
        message: measurement.message.clone(),
    }
}

fn past_document(past: &Past) -> PastDocument {
    PastDocument {
        id: past.id,
        release: version(&past.release),
        outcome: past.outcome.as_str(),
        reason: past.reason.clone(),
        started_at: millis(past.started_at),
        ended_at: millis(past.ended_at),
        waves: past.waves.iter().map(wave_document).collect(),
        hooks: hook_ends(&past.hooks, millis),
    }
}

#[cfg(test)]
mod tests;
