//! Figures as plain lines, their medians over runs, and the table for docs/benchmarks.md.

use std::fmt::Write as _;
use std::time::Duration;

/// One measurement's values, in the order in which they are printed.
#[derive(Clone)]
pub(crate) struct Figure {
    what: &'static str,
    values: Vec<Value>,
}

#[derive(Clone)]
struct Value {
    key: String,
    number: f64,
    decimals: usize,
}

impl Figure {
    /// A measurement without values.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, values: Vec::new() }
    }

    /// With one more value.
    pub(crate) fn with(mut self, key: &str, number: f64, decimals: usize) -> Self {
        self.values.push(Value { key: key.to_owned(), number, decimals });
        self
    }

    /// With the quantiles of `times`, in milliseconds.
    pub(crate) fn with_times(mut self, prefix: &str, times: &[Duration]) -> Self {
        let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        sorted.sort_by(f64::total_cmp);
        for (name, percent) in [("p50_ms", 50), ("p99_ms", 99)] {
            self = self.with(&format!("{prefix}{name}"), quantile(&sorted, percent), 1);
        }
        self
    }
}

/// The smallest value that so many percent do not exceed.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted[rank - 1]
}

/// The figures of one run.
pub(crate) struct Report {
    apps: usize,
    figures: Vec<Figure>,
}

impl Report {
    /// A run over so many apps.
    pub(crate) fn new(apps: usize) -> Self {
        Self { apps, figures: Vec::new() }
    }

    /// Prints a figure and keeps it.
    pub(crate) fn note(&mut self, figure: Figure) {
        let mut line = format!("bench {} N={}", figure.what, self.apps);
        for Value { key, number, decimals } in &figure.values {
            let _ = write!(line, " {key}={number:.decimals$}");
        }
        println!("{line}");
        self.figures.push(figure);
    }

    fn value(&self, what: &str, key: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|figure| figure.what == what)?;
        figure.values.iter().find(|value| value.key == key).map(|value| value.number)
    }
}

/// Median, least and most of a value over runs.
fn spread(reports: &[Report], what: &str, key: &str) -> Option<(f64, f64, f64)> {
    let mut found: Vec<f64> = reports.iter().filter_map(|report| report.value(what, key)).collect();
    found.sort_by(f64::total_cmp);
    let middle = f64::midpoint(*found.get((found.len().max(1) - 1) / 2)?, found[found.len() / 2]);
    Some((middle, found[0], found[found.len() - 1]))
}

/// One line per figure: every value as `median(least..most)`.
pub(crate) fn medians(apps: usize, reports: &[Report]) -> Vec<String> {
    let Some(first) = reports.first() else { return Vec::new() };
    let line = |figure: &Figure| {
        let mut line = format!("bench median {} N={apps} runs={}", figure.what, reports.len());
        for Value { key, decimals, .. } in &figure.values {
            if let Some((middle, least, most)) = spread(reports, figure.what, key) {
                let _ = write!(line, " {key}={middle:.decimals$}({least:.decimals$}..{most:.decimals$})");
            }
        }
        line
    };
    first.figures.iter().map(line).collect()
}

/// A row of the table: what it says, the goal and its number in the list of goals, the figure, its keys, decimals.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str], usize);

const ROWS: [Row; 24] = [
    ("Raw server-side apply, objects/s", "", "raw-apply", &["per_second"], 0),
    ("First sync, s", "", "first-sync", &["seconds"], 2),
    ("First sync, fraction of the raw limit", "P1, P2: ≥ 0.85", "first-sync", &["ratio"], 2),
    ("Own writes of state per app", "P1: ≤ 3, aim 2", "first-sync", &["writes_per_app"], 2),
    ("CPU of the agent for it, s", "", "first-sync", &["cpu_s"], 2),
    ("Peak memory of it, MiB", "", "first-sync", &["peak_mib"], 0),
    ("Commit of no app: requests", "", "no-op-commit", &["requests"], 1),
    ("Commit of no app: CPU, ms", "", "no-op-commit", &["cpu_ms"], 1),
    ("Refresh of all: requests per app", "", "refresh-all", &["requests_per_app"], 2),
    ("Refresh of all: CPU per app, ms", "", "refresh-all", &["cpu_ms_per_app"], 2),
    ("Bump, detected to applied, p50 / p99 ms", "P3: ≤ 150", "bump", &["detected_p50_ms", "detected_p99_ms"], 0),
    ("of it from read to applied, p50 / p99 ms", "", "bump", &["read_p50_ms", "read_p99_ms"], 0),
    ("Bump, push to applied by webhook, p50 / p99 ms", "P3: ≤ 500", "bump", &["p50_ms", "p99_ms"], 0),
    ("Bump, push to applied by polling, p50 / p99 ms", "P3: ≤ 5500", "bump-polled", &["p50_ms", "p99_ms"], 0),
    ("CPU of the agent per bump, ms", "", "bump", &["cpu_ms"], 0),
    ("Idle: API requests/min", "P4: ≤ 25", "idle", &["requests_per_min"], 0),
    ("Idle: CPU, mCPU", "P4: ≤ 5", "idle", &["mcpu"], 1),
    ("Idle: Git requests/min (polls/min)", "P4: one per poll", "idle", &["git_per_min", "polls_per_min"], 0),
    ("Memory, peak MiB", "P5: ≤ 30 at 1000, ≤ 64 at 5000", "memory", &["peak_mib"], 1),
    ("Memory at rest, MiB", "", "memory", &["idle_mib"], 1),
    ("Drift, p50 / p99 ms", "P6: ≤ 500", "drift", &["p50_ms", "p99_ms"], 0),
    ("Cold restart to ready, ms", "P7: ≤ 3000", "cold-restart", &["ready_ms"], 0),
    ("Cold restart to first bump applied, ms", "P7: ≤ 3000", "cold-restart", &["bump_ms"], 0),
    ("Cold restart: CPU, s", "", "cold-restart", &["cpu_s"], 2),
];

/// The table in Markdown: a column for each size, medians with least and most when there was more than one run.
pub(crate) fn table(all: &[(usize, Vec<Report>)]) -> String {
    let mut text = "| Figure | Goal |".to_owned();
    for (apps, _) in all {
        let _ = write!(text, " N={apps} |");
    }
    let _ = write!(text, "\n|---|---|{}", "---:|".repeat(all.len()));
    for (label, goal, what, keys, decimals) in ROWS {
        let _ = write!(text, "\n| {label} | {goal} |");
        for (_, reports) in all {
            let cells: Vec<String> = keys.iter().map(|key| cell(reports, what, key, decimals)).collect();
            let _ = write!(text, " {} |", cells.join(" / "));
        }
    }
    text
}

fn cell(reports: &[Report], what: &str, key: &str, decimals: usize) -> String {
    match spread(reports, what, key) {
        None => "-".to_owned(),
        Some((middle, ..)) if reports.len() == 1 => format!("{middle:.decimals$}"),
        Some((middle, least, most)) => format!("{middle:.decimals$} ({least:.decimals$}–{most:.decimals$})"),
    }
}
