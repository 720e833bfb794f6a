//! Tells what happens: a line per change, with a small chart of the pods, as `tests/demo/narrator.rs` does for a real
//! cluster. Enters: views and pods. Leaves: lines.

use std::collections::BTreeMap;

use super::tale::counts;
use crate::model::{AppName, GateRecord, Lane, Millis, Past, Position, Rollout, Timestamp};
use crate::sim::census::Census;
use crate::status::{AppView, Phase};

/// Pods that come and go are told together, once in this time.
const MOMENT: Millis = Millis(300);

/// Knows what was told.
pub(super) struct Narrator {
    begun: Timestamp,
    /// What each app's last line was about, its pods, and how many rollouts it had ended.
    told: BTreeMap<AppName, Told>,
    lines: Vec<String>,
}

#[derive(Default)]
struct Told {
    place: String,
    charts: String,
    past: u64,
    /// When the moment ends whose pods are not told yet.
    moment_ends: Option<Timestamp>,
}

impl Narrator {
    /// Begins to tell; times count from here.
    pub(super) fn new(begun: Timestamp) -> Self {
        Self { begun, told: BTreeMap::new(), lines: Vec::new() }
    }

    /// Says something that is not an event.
    pub(super) fn say(&mut self, now: Timestamp, text: &str) {
        let at = self.clock(now);
        self.lines.extend([String::new(), format!("{at}  {text}")]);
    }

    /// Says what the person does.
    pub(super) fn tell_person(&mut self, subject: &str) {
        self.lines.push(format!("{MARGIN}you: git commit -m '{subject}' && git push"));
    }

    /// Says what should have come true.
    pub(super) fn tell_broken(&mut self, claims: &[String]) {
        self.lines.extend(claims.iter().map(|claim| format!("{MARGIN}BUT: {claim} did not come true")));
    }

    /// When pods are to be told that were not told at once.
    pub(super) fn moment_ends(&self) -> Option<Timestamp> {
        self.told.values().filter_map(|told| told.moment_ends).min()
    }

    /// What is to be told.
    pub(super) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// Tells what is new: where an app stands at once, how many pods it has at the moment's end.
    pub(super) fn note(&mut self, now: Timestamp, view: &AppView, census: &Census) {
        let (place, charts) = (place(view), charts(census, view.name.as_str()));
        let told = self.told.entry(view.name.clone()).or_default();
        if place == told.place && charts == told.charts {
            told.moment_ends = None;
            return;
        }
        let moment_ends = *told.moment_ends.get_or_insert(MOMENT.after(now));
        if place == told.place && now < moment_ends {
            return;
        }
        self.tell(now, view, place, charts);
    }

    /// Tells whatever is left at a chapter's end.
    pub(super) fn finish(&mut self, now: Timestamp, view: &AppView, census: &Census) {
        self.told.entry(view.name.clone()).or_default().moment_ends = Some(now);
        self.note(now, view, census);
    }

    fn tell(&mut self, now: Timestamp, view: &AppView, place: String, charts: String) {
        let at = self.clock(now);
        let (first, more) = place.split_once('\n').unwrap_or((place.as_str(), ""));
        let line = format!("{at}  {:<4} {first:<28} {charts}", view.name.as_str());
        self.lines.push(line.trim_end().to_owned());
        if !more.is_empty() {
            self.lines.push(format!("{MARGIN}     {more}"));
        }
        let told = self.told.entry(view.name.clone()).or_default();
        if let Some(past) = view.record.past.last().filter(|past| past.id > told.past) {
            told.past = past.id;
            self.lines.extend(rollout(past));
        }
        (told.place, told.charts) = (place, charts);
        told.moment_ends = None;
    }

    fn clock(&self, now: Timestamp) -> String {
        format!("{:>6.1} s", now.duration_since(self.begun).as_secs_f64())
    }
}

/// As wide as the time before a line.
const MARGIN: &str = "          ";

/// `wave 2 blue, Measuring`, and in a second line why, when something is wrong.
fn place(view: &AppView) -> String {
    let report = &view.report;
    match view.record.rollout.as_ref().filter(|rollout| !is_over(view, rollout)) {
        None => {
            let words = format!("{} {}", report.sync.as_str(), report.health.status.as_str());
            let held = report.blocking.as_ref().filter(|_| report.phase == Phase::Held);
            held.map_or(words.clone(), |blocking| format!("{words}\nwhy: {}", blocking.fact))
        }
        Some(rollout) => match &rollout.position {
            Position::Preparing => "preparing".to_owned(),
            Position::Wave { index } => {
                let name = rollout.lane_waves().get(*index).map_or("", |wave| wave.name.as_str());
                format!("wave {} {name}, {}", index + 1, report.phase.as_str())
            }
            Position::Trailing => "trailing".to_owned(),
            Position::Reverting { reason, .. } => format!("reverting\nwhy: {reason}"),
            Position::Held { reason, .. } => format!("held\nwhy: {reason}"),
        },
    }
}

/// A first sync that completed stays in the record until the next change.
fn is_over(view: &AppView, rollout: &Rollout) -> bool {
    let stable = view.effective.as_ref().map(|release| release.digest);
    rollout.lane == Lane::FirstSync && stable == Some(rollout.digest())
}

/// A bar of pods by version: Ready ones, then those that are not.
fn charts(census: &Census, app: &str) -> String {
    let bar = |(version, (ready, other)): (String, (usize, usize))| {
        let bar = "█".repeat(ready) + &"░".repeat(other);
        format!("{version} {bar:<12}")
    };
    counts(census, app).into_iter().map(bar).collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// A rollout that ended, wave by wave, as the agent recorded it.
fn rollout(past: &Past) -> Vec<String> {
    let since = |at: Timestamp| at.duration_since(past.started_at).as_secs_f64();
    let (outcome, took) = (past.outcome.as_str(), since(past.ended_at));
    let lane = match past.lane {
        Lane::FirstSync => "first sync",
        Lane::Waves => "in waves",
        Lane::Express => "by the express lane",
        Lane::Direct => "directly",
    };
    let head = format!("{MARGIN}     rollout {} of {} {lane}: {outcome} in {took:.1} s", past.id, past.release.version);
    let wave = |wave: &crate::model::WaveRecord| {
        // A first sync counts no pods: there is nothing to tell them from.
        let pods = if wave.pods.is_empty() { "-".to_owned() } else { wave.pods.values().sum::<u32>().to_string() };
        let at = |moment: Option<Timestamp>| moment.map_or("-".to_owned(), |at| format!("{:.1} s", since(at)));
        let gates: Vec<String> = wave.gates.iter().map(gate).collect();
        format!(
            "{MARGIN}       {:<8} pods {pods:>2}  started {:>6}  ready {:>6}  passed {:>6}  {}",
            wave.name,
            at(Some(wave.started_at)),
            at(wave.ready_at),
            at(wave.passed_at),
            gates.join(", ")
        )
    };
    std::iter::once(head).chain(past.waves.iter().map(wave)).collect()
}

/// `error-rate Fail 0.2`.
fn gate(gate: &GateRecord) -> String {
    let samples = gate.measurements.iter().filter_map(|sample| sample.value).map(|value| format!(" {value}"));
    format!("{} {}{}", gate.gate, gate.verdict.as_str(), samples.collect::<String>())
}
