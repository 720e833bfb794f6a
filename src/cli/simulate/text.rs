//! What was played, for people: tables of stages and of failures, and a chart of pods. Enters: an [`Answer`]. Leaves: text.

use super::chart;
use super::{Answer, Failure, between};
use crate::cli::output::{plain, table};
use crate::model::{GateRecord, Millis, Past, Timestamp, WaveRecord};
use crate::sim::play::{Count, Ill, Played};

/// Columns before a chart's lines.
const LABEL: usize = 10;

/// An app's answer.
pub(super) fn answer(answer: &Answer, width: usize, is_ascii: bool) -> String {
    let Answer { script, played, failures } = answer;
    let application = &script.application;
    let mut text = format!(
        "{}: {} -> {} by {}\n",
        application.name,
        script.version_before,
        plain(&application.version),
        match application.plan.name.as_str() {
            "inline" => "the plan in place".to_owned(),
            name => format!("plan {name}"),
        }
    );
    let remarks = script.remarks.iter().chain(&played.view.report.remarks);
    text.extend(remarks.map(|remark| format!("note: {}\n", plain(remark))));
    let Some(past) = &played.past else {
        let why = played.view.report.blocking.as_ref().map_or("", |blocking| blocking.fact.as_str());
        return format!("{text}the rollout did not end: {}\n", plain(why));
    };
    text.push('\n');
    text.push_str(&stages(answer, past));
    text.push_str(&outcome(played, past));
    if !script.has_pods() {
        return text;
    }
    text.push('\n');
    text.push_str(&pods(played, past, width, is_ascii));
    if !failures.is_empty() {
        text.push_str("\nwhat if a wave fails?\n");
        text.push_str(&what_if(failures));
    }
    text
}

/// The stages, as the agent recorded them.
fn stages(answer: &Answer, past: &Past) -> String {
    let plan = &answer.script.application.plan;
    let size = |wave: &WaveRecord| {
        let declared = plan.waves.iter().find(|known| known.name == wave.name);
        declared.map_or("-".to_owned(), |declared| declared.replicas.to_string())
    };
    let rows = past.waves.iter().enumerate().map(|(index, wave)| {
        let at = |moment: Option<Timestamp>| moment.map_or("-".to_owned(), |at| short(between(past.started_at, at)));
        vec![
            format!("{} {}", index + 1, wave.name),
            size(wave),
            wave.pods.values().sum::<u32>().to_string(),
            at(Some(wave.started_at)),
            at(wave.ready_at),
            at(wave.passed_at),
            wave.gates.iter().map(gate).collect::<Vec<_>>().join(", "),
        ]
    });
    table(&["WAVE", "SIZE", "PODS", "STARTED", "READY", "PASSED", "GATES"], &rows.collect::<Vec<_>>())
}

/// `error-rate Pass (0 0 0)`.
fn gate(gate: &GateRecord) -> String {
    let samples: Vec<String> =
        gate.measurements.iter().map(|sample| sample.value.map_or("-".to_owned(), |value| value.to_string())).collect();
    let samples = if samples.is_empty() { String::new() } else { format!(" ({})", samples.join(" ")) };
    format!("{} {}{samples}", gate.gate, gate.verdict.as_str())
}

fn outcome(played: &Played, past: &Past) -> String {
    let took = short(between(past.started_at, past.ended_at));
    let reason = if past.reason.is_empty() { String::new() } else { format!(": {}", plain(&past.reason)) };
    let (most, fewest) = (played.pods_most(), played.ready_fewest());
    format!("{} after {took}{reason}; at most {most} pods at once, at least {fewest} Ready\n", past.outcome.as_str())
}

/// The pods over time.
fn pods(played: &Played, past: &Past, width: usize, is_ascii: bool) -> String {
    let end = played.counts.last().map_or(past.ended_at, |count| count.at.max(past.ended_at));
    let length = between(past.started_at, end).0.max(1);
    let columns = width.saturating_sub(LABEL).max(1);
    let highest = |of: fn(&Count) -> usize| played.counts.iter().map(of).max().unwrap_or_default();
    // One scale for all lines, so that they can be compared.
    let most = highest(|count| count.new).max(highest(|count| count.old)).max(highest(|count| count.ready));
    let line = |label: &str, of: fn(&Count) -> usize| {
        let values: Vec<(u64, usize)> =
            played.counts.iter().map(|count| (between(past.started_at, count.at).0, of(count))).collect();
        let highest = highest(of);
        let drawn = chart::line(&values, length, most, columns, is_ascii);
        format!("{:<LABEL$}{}\n", format!("{label} {highest:>3}"), drawn.trim_end())
    };
    let starts: Vec<u64> = past.waves.iter().map(|wave| between(past.started_at, wave.started_at).0).collect();
    let mut text = format!("pods over {} (the highest count before each line), waves below\n", short(Millis(length)));
    text.push_str(&line("new  ", |count| count.new));
    text.push_str(&line("old  ", |count| count.old));
    text.push_str(&line("ready", |count| count.ready));
    text.push_str(&format!("{:<LABEL$}{}\n", "wave", chart::starts(&starts, length, columns).trim_end()));
    text
}

/// What came of each failing wave.
fn what_if(failures: &[Failure]) -> String {
    let rows = failures.iter().map(|failure| {
        let known = |time: Option<Millis>| time.map_or("never".to_owned(), short);
        let says = match &failure.played.turned {
            Some((reason, _)) => reason.to_string(),
            None if failure.played.is_completed() => "nothing: the wave adds no pod that could fail".to_owned(),
            None => "nothing".to_owned(),
        };
        vec![
            format!("{} {}", failure.number, failure.wave.name),
            match failure.ill {
                Ill::Errors => "analysis",
                Ill::Crashes => "pods crash",
            }
            .to_owned(),
            known(failure.noticed_after()),
            failure.played.new_most().to_string(),
            failure.played.ready_fewest().to_string(),
            known(failure.back_after()),
            says,
        ]
    });
    let header = [
        "WAVE",
        "FAILS BY",
        "NOTICED AFTER",
        "NEW PODS AT MOST",
        "READY AT LEAST",
        "STABLE BACK AFTER",
        "THE AGENT SAYS",
    ];
    table(&header, &rows.collect::<Vec<_>>())
}

/// `3.1s`, `12m30s`, `1h5m`.
fn short(time: Millis) -> String {
    let (tenths, seconds) = (time.0 / 100, time.0 / 1000);
    match seconds {
        ..60 => format!("{}.{}s", tenths / 10, tenths % 10),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}
