//! Gates: what must hold before the next wave. Missing data never passes one.

use std::collections::BTreeMap;

use crate::model::gate::MEASUREMENTS_KEPT_MAX;
use crate::model::{
    Action, Analysis, Application, GateRecord, Measurement, Millis, NoDataRule, ObjectKey, Rollout, Timestamp, Verdict,
    Wave,
};
use crate::mutants::{Mutant, is_planted};
use crate::observe::{Live, Workload};

/// Where the gates of a Ready wave stand.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Gates {
    /// Decided gates.
    pub(super) decided: Vec<GateRecord>,
    /// The gate that shut, with what it saw.
    pub(super) shut: Option<(String, String)>,
    /// Whether every gate is open.
    pub(super) are_open: bool,
    /// Samples to take now.
    pub(super) actions: Vec<Action>,
    /// When to look again.
    pub(super) wake_at: Option<Timestamp>,
    /// What is being waited for.
    pub(super) waits_for: String,
    /// Whether analyses are under way (else it bakes).
    pub(super) is_measuring: bool,
}

/// Judges bake and analyses of a wave that has been Ready since `ready_at`.
pub(super) fn judge(
    wave: &Wave,
    rollout: &Rollout,
    samples: &BTreeMap<String, Vec<Measurement>>,
    variables: &BTreeMap<&'static str, String>,
    ready_at: Timestamp,
    now: Timestamp,
) -> Gates {
    let mut gates = Gates { are_open: true, ..Gates::default() };
    let baked_at = wave.bake.after(ready_at);
    if now < baked_at {
        wait(&mut gates, baked_at, format!("it bakes for {}", wave.bake));
    } else if wave.bake > Millis(0) {
        gates.decided.push(passed("bake", format!("ready for {}", wave.bake), now, &[]));
    }
    for name in &wave.analysis {
        let Some(analysis) = rollout.plan.analysis(name) else { continue };
        // Samples from before the pods were Ready (again) say nothing about them (S2).
        let taken: Vec<Measurement> = samples
            .get(name)
            .into_iter()
            .flatten()
            .filter(|sample| sample.at >= ready_at || is_planted(Mutant::EarlySamplesCount))
            .cloned()
            .collect();
        judge_analysis(&mut gates, analysis, &taken, variables, wave, ready_at, now);
    }
    gates
}

fn wait(gates: &mut Gates, until: Timestamp, what: String) {
    gates.are_open = false;
    gates.wake_at = Some(gates.wake_at.map_or(until, |earlier| earlier.min(until)));
    gates.waits_for = what;
}

fn passed(gate: &str, reason: String, now: Timestamp, samples: &[Measurement]) -> GateRecord {
    decided(gate, Verdict::Pass, reason, now, samples)
}

fn decided(gate: &str, verdict: Verdict, reason: String, now: Timestamp, samples: &[Measurement]) -> GateRecord {
    let kept = samples.len().saturating_sub(MEASUREMENTS_KEPT_MAX);
    GateRecord { gate: gate.to_owned(), verdict, reason, decided_at: now, measurements: samples[kept..].to_vec() }
}

fn judge_analysis(
    gates: &mut Gates,
    analysis: &Analysis,
    taken: &[Measurement],
    variables: &BTreeMap<&'static str, String>,
    wave: &Wave,
    ready_at: Timestamp,
    now: Timestamp,
) {
    let of = |verdict: Verdict| taken.iter().filter(|sample| sample.verdict == verdict).count();
    let no_data_fails = if analysis.no_data == NoDataRule::Fail { of(Verdict::NoData) } else { 0 };
    let failed = of(Verdict::Fail) + no_data_fails;
    let missing = if is_planted(Mutant::NoDataPasses) { of(Verdict::NoData) + of(Verdict::Error) } else { 0 };
    let valid = of(Verdict::Pass) + failed + missing;
    if failed > analysis.failures_max as usize {
        let last = taken.iter().rev().find(|sample| sample.verdict != Verdict::Pass);
        let message = last.map(|sample| sample.message.clone()).unwrap_or_default();
        gates.decided.push(decided(&analysis.name, Verdict::Fail, message.clone(), now, taken));
        gates.shut.get_or_insert((analysis.name.clone(), message));
        gates.are_open = false;
        return;
    }
    if valid >= analysis.count as usize {
        let reason = format!("{} of {valid} samples passed", of(Verdict::Pass));
        return gates.decided.push(passed(&analysis.name, reason, now, taken));
    }
    // Samples that say nothing do not end an analysis by themselves; time does.
    let planned = Millis(analysis.interval.0.saturating_mul(u64::from(analysis.count)));
    // Nor does time in which nobody measured: samples are lost in a restart, and taken again from then on.
    let measured_from = taken.first().map_or(now, |sample| sample.at).max(wave.bake.after(ready_at));
    let last_call = wave.timeout.after(planned.after(measured_from));
    if now >= last_call {
        let why = taken.last().map_or("no sample was taken", |sample| sample.message.as_str());
        let message = format!("only {valid} of {} samples had data: {why}", analysis.count);
        gates.decided.push(decided(&analysis.name, Verdict::Inconclusive, message.clone(), now, taken));
        gates.shut.get_or_insert((analysis.name.clone(), message));
        gates.are_open = false;
        return;
    }
    // The first sample comes one interval after Ready, so that it is taken wholly from this wave (S2).
    let due_at = analysis.interval.after(taken.last().map_or(ready_at, |sample| sample.at));
    gates.is_measuring = true;
    if now >= due_at {
        let query = fill(&analysis.query, variables);
        gates.actions.push(Action::Measure {
            analysis: analysis.name.clone(),
            provider: analysis.provider.clone(),
            query,
        });
    }
    let reason = taken
        .iter()
        .rev()
        .find(|sample| sample.verdict != Verdict::Pass)
        .map(|sample| format!(" (last: {})", sample.message));
    let what =
        format!("analysis {}: {valid} of {} samples{}", analysis.name, analysis.count, reason.unwrap_or_default());
    wait(gates, due_at.max(now).min(last_call), what);
}

/// Replaces `${name}` by its value.
fn fill(query: &str, variables: &BTreeMap<&'static str, String>) -> String {
    variables.iter().fold(query.to_owned(), |query, (name, value)| query.replace(&format!("${{{name}}}"), value))
}

/// What a query may refer to. Values are safe inside a PromQL string: names and hashes hold no quotes or backslashes.
#[must_use]
pub fn variables(application: &Application, rollout: &Rollout, live: &Live) -> BTreeMap<&'static str, String> {
    // Without a template to move (a first sync, a change of configuration) the pods that stand are the Target's.
    let moves = |key: &ObjectKey| rollout.stable_hashes.is_empty() || rollout.stable_hashes.contains_key(key);
    let of = |is_target: bool, part: fn(&Workload, &str) -> String| {
        let workloads = live.workloads.iter().filter(|(key, _)| moves(key));
        let parts = workloads.filter_map(|(key, workload)| {
            let stable = rollout.stable_hashes.get(key).map(String::as_str);
            let hash = if is_target { workload.current()?.hash.as_str() } else { stable? };
            Some(part(workload, hash))
        });
        parts.collect::<Vec<_>>().join("|")
    };
    let hash: fn(&Workload, &str) -> String = |_, hash| hash.to_owned();
    let pods: fn(&Workload, &str) -> String = |workload, hash| format!("{}-{hash}-.+", workload.object.key.name);
    BTreeMap::from([
        ("application", application.name.to_string()),
        ("namespace", application.namespace.clone()),
        ("version", rollout.target.version.clone()),
        ("target_hash", of(true, hash)),
        ("target_pods", of(true, pods)),
        ("stable_hash", of(false, hash)),
        ("stable_pods", of(false, pods)),
    ])
}

/// What is wrong with the pods on a template, when the health gate shuts at once: a crash loop or too many restarts.
pub(super) fn sickness(workload: &Workload, restarts_max: u32) -> Option<String> {
    let current = workload.current()?;
    workload.pods_of(&current.uid).find_map(|pod| {
        let restarts = (pod.restarts > restarts_max).then(|| {
            format!("pod {} restarted {} times, more than the {restarts_max} allowed", pod.name, pod.restarts)
        });
        pod.crash_loop.clone().or(restarts)
    })
}

/// What one sample comes to.
#[must_use]
pub fn verdict(analysis: &Analysis, value: f64) -> (Verdict, String) {
    match (analysis.min, analysis.max) {
        (Some(min), _) if value < min => (Verdict::Fail, format!("{value} is below the minimum {min}")),
        (_, Some(max)) if value > max => (Verdict::Fail, format!("{value} is above the maximum {max}")),
        (_, _) => (Verdict::Pass, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WavePlan;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    fn analysis(no_data: NoDataRule) -> Analysis {
        Analysis {
            name: "errors".to_owned(),
            provider: "prometheus".to_owned(),
            query: "rate(x{hash=~\"${target_hash}\"})".to_owned(),
            min: None,
            max: Some(0.05),
            interval: Millis::from_seconds(10),
            count: 3,
            failures_max: 1,
            no_data,
        }
    }

    fn check(no_data: NoDataRule, samples: &[(i64, Verdict)], now: i64, expected: (bool, bool, usize)) {
        let mut plan = WavePlan::all_at_once();
        plan.analysis = vec![analysis(no_data)];
        plan.waves[0].analysis = vec!["errors".to_owned()];
        let rollout = crate::decide::transitions::tests::rollout(plan);
        let taken = samples
            .iter()
            .map(|(at_seconds, verdict)| Measurement {
                at: at(*at_seconds),
                value: None,
                verdict: *verdict,
                message: "seen".to_owned(),
            })
            .collect();
        let samples = BTreeMap::from([("errors".to_owned(), taken)]);
        let gates = judge(&rollout.plan.waves[0], &rollout, &samples, &BTreeMap::new(), at(0), at(now));
        assert_eq!((gates.are_open, gates.shut.is_some(), gates.actions.len()), expected, "{gates:?}");
    }

    #[test]
    fn a_gate_opens_after_enough_passes_and_shuts_after_too_many_failures() {
        use Verdict::{Error, Fail, NoData, Pass};
        check(NoDataRule::Wait, &[], 0, (false, false, 0));
        check(NoDataRule::Wait, &[], 10, (false, false, 1));
        check(NoDataRule::Wait, &[(10, Pass), (20, Pass), (30, Pass)], 30, (true, false, 0));
        check(NoDataRule::Wait, &[(10, Fail), (20, Pass), (30, Pass)], 30, (true, false, 0));
        check(NoDataRule::Wait, &[(10, Fail), (20, Fail)], 20, (false, true, 0));
        check(NoDataRule::Fail, &[(10, NoData), (20, NoData)], 20, (false, true, 0));
        check(NoDataRule::Wait, &[(10, NoData), (20, NoData)], 30, (false, false, 1));
        check(NoDataRule::Wait, &[(10, NoData), (20, Error)], 700, (false, true, 0));
    }
}
