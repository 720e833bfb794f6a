//! Tells a story: runs its world to the end, with all checkers looking on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tidegate::model::{Millis, Timestamp};
use tidegate::sim::Fault;
use tidegate::sim::api::Commit;

use super::checkers::{Checkers, Violation, is_settled, judge};
use super::read::{position, rollout, text, version};
use super::story::Story;

/// When calm has come, the app must have reached its end within this: four rollouts with their waves' timeouts
/// (4 x 130 s), two ways back, leases, and the ten minutes after which collections are listed again.
const END_WITHIN: Millis = Millis::from_seconds(40 * 60);
/// What watches lost is found within this: collections are listed again every ten minutes, by a clock that may go at four
/// fifths of true time.
const HEALED_AFTER: Millis = Millis::from_seconds(13 * 60);
/// Where watches lose nothing, what is under way when calm comes has been seen after this.
const HEARD_AFTER: Millis = Millis::from_seconds(4 * 60);
/// What looks settled for so long is: the answer to what was written last may be on its way.
const SETTLED_FOR: Millis = Millis::from_seconds(10);
/// For so long nothing may be written when all has settled.
const QUIET_FOR: Millis = Millis::from_seconds(5 * 60);

/// What came of a story.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// What was violated.
    pub(crate) violations: Vec<Violation>,
    /// Rollouts that ended.
    pub(crate) rollouts: u64,
    /// Commits of the API server.
    pub(crate) commits: u64,
    /// The faults that struck, by occasion.
    pub(crate) struck: BTreeMap<Fault, BTreeSet<u64>>,
    /// How many occasions each fault had.
    pub(crate) occasions: BTreeMap<Fault, u64>,
    lines: Vec<(Timestamp, String)>,
}

impl Told {
    /// What happened, line by line.
    pub(crate) fn narration(&self) -> String {
        let mut text = String::new();
        let start = self.lines.first().map(|(at, _)| *at).unwrap_or_default();
        for (at, line) in &self.lines {
            let seconds = at.duration_since(start).as_secs_f64();
            let _ = writeln!(text, "  {seconds:9.3} s  {line}");
        }
        text
    }
}

/// Tells it. Stops at the first violation.
pub(crate) fn tell(story: &Story) -> Told {
    let mut sim = story.open();
    let mut checkers = Checkers::new(story);
    let mut lines = Vec::new();
    let mut place = String::new();
    let calm_at = Millis(story.calm_after);
    let (mut settled_since, mut settled_at) = (None, None);
    let start = sim.now();
    let loses_events = ["DropEvent", "SwapEvent", "DelayEvent"].iter().any(|fault| story.faults.contains_key(*fault));
    let healed_at = Millis(calm_at.0 + if loses_events { HEALED_AFTER.0 } else { HEARD_AFTER.0 });
    let deadline = Millis(healed_at.0 + END_WITHIN.0);
    let mut until = deadline;
    loop {
        let goes_on = sim.step(until.after(start));
        sim.with(|_, _, git, _| checkers.read(git));
        for commit in sim.take_commits() {
            checkers.see(&commit);
            lines.extend(told_sizes(&commit).map(|line| (commit.at, line)));
            if commit.key.kind.kind == "Application" {
                let now = commit.after.as_ref().map(|object| told_place(&object.body)).unwrap_or_default();
                if now != place {
                    lines.push((commit.at, now.clone()));
                    place = now;
                }
            }
        }
        if !checkers.violations.is_empty() || !goes_on {
            break;
        }
        if settled_at.is_none() && sim.elapsed() >= healed_at {
            settled_since = is_settled(&checkers).then(|| settled_since.unwrap_or(sim.now()));
            if settled_since.is_some_and(|since| SETTLED_FOR.has_passed(since, sim.now())) {
                settled_at = Some(sim.now());
                until = Millis(sim.elapsed().0 + QUIET_FOR.0);
            }
        }
    }
    let mut violations = std::mem::take(&mut checkers.violations);
    if violations.is_empty() {
        violations = judge(story, &checkers, settled_at, sim.now());
    }
    lines.extend(sim.done());
    lines.extend(
        violations.iter().map(|violation| (violation.at, format!("VIOLATED {}: {}", violation.rule, violation.what))),
    );
    lines.sort_by_key(|(at, _)| *at);
    let faults = sim.faults();
    let past = checkers.standing().application().map(|body| body["record"]["rollouts"].as_u64().unwrap_or_default());
    Told {
        violations,
        rollouts: past.unwrap_or_default(),
        commits: sim.committed(),
        struck: faults.struck().clone(),
        occasions: Fault::ALL.into_iter().map(|fault| (fault, faults.occasions(fault))).collect(),
        lines,
    }
}

/// What a workload wants now, when that changed.
fn told_sizes(commit: &Commit) -> Option<String> {
    let kind = commit.key.kind.kind.as_str();
    if !matches!(kind, "Deployment" | "ReplicaSet") {
        return None;
    }
    let after = commit.after.as_ref().map(|object| &*object.body);
    fn spec(body: &serde_json::Value) -> (&str, [&serde_json::Value; 3]) {
        let spec = &body["spec"];
        (version(body), [&spec["replicas"], &spec["minReadySeconds"], &spec["strategy"]["rollingUpdate"]])
    }
    let (now, was) = (after.map(spec), commit.before.as_ref().map(|object| spec(&object.body)));
    let by = &commit.by.manager;
    (now != was).then(|| {
        let wants = now.map(|(version, [n, held, window])| format!("{version} x {n} (minReady {held}, {window})"));
        format!("    {by}: {kind} {} wants {}", commit.key.name, wants.unwrap_or_else(|| "nothing any more".to_owned()))
    })
}

/// Where the app is, in a line.
fn told_place(application: &serde_json::Value) -> String {
    let stable = text(application, "/record/stable/version");
    let phase = text(application, "/status/phase");
    match rollout(application) {
        None => format!("at rest on {stable} ({phase})"),
        Some(rollout) => {
            let index = rollout["position"]["index"].as_u64().map(|index| format!(" {index}")).unwrap_or_default();
            let (lane, target) = (text(rollout, "/lane"), text(rollout, "/target/version"));
            format!("{lane}: {stable} -> {target}: {}{index}", position(rollout))
        }
    }
}
