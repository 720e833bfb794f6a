//! The real agent in a simulated world: crashes at every write and at every pair of writes, thousands of seeded stories
//! with faults, and planted bugs that must be found. What must hold is checked after every write by code of its own.
//!
//! `TIDEGATE_SEEDS=n` tells the stories before that seed (`TIDEGATE_FIRST_SEED=n` begins with one), `TIDEGATE_SEED=n` only that one, `TIDEGATE_STORY=file` the one in the file.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what a story came to is told where the test runs")]

mod checkers;
mod crashes;
mod declared;
mod liveness;
#[cfg(debug_assertions)]
mod mutants;
mod others;
mod read;
mod shrink;
mod story;
mod telling;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use self::shrink::shrink;
use self::story::{Focus, Story};
use self::telling::{Told, tell};

/// Stories with a focus told in `make test`, of each.
const FOCUSED_SEEDS: u64 = 25;
/// Stories told in `make test`; `make soak SEEDS=n` tells more.
const SEEDS: u64 = 4_000;
/// A long run says how far it is each time that so many stories are told.
const TOLD_EVERY: u64 = 10_000;
/// Failing stories that are shrunk and printed: more say nothing new.
const PRINTED_MAX: usize = 3;

/// What many stories came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Stories told.
    pub(crate) stories: AtomicU64,
    /// Rollouts that ended in them.
    pub(crate) rollouts: AtomicU64,
    /// Commits of the API server.
    pub(crate) commits: AtomicU64,
    /// Faults that struck.
    pub(crate) faults: AtomicU64,
}

/// Tells the stories of these seeds on all cores. Returns those that failed, lowest seed first.
pub(crate) fn tell_all(
    seeds: std::ops::Range<u64>,
    focus: Option<Focus>,
    failures_max: usize,
    tally: &Tally,
) -> Vec<(Story, Told)> {
    let started = std::time::Instant::now();
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().expect("no teller panics").len() >= failures_max {
                        return;
                    }
                    let story = Story::focused(seed, focus);
                    let told = tell(&story);
                    let stories = tally.stories.fetch_add(1, Ordering::Relaxed) + 1;
                    tally.rollouts.fetch_add(told.rollouts, Ordering::Relaxed);
                    tally.commits.fetch_add(told.commits, Ordering::Relaxed);
                    tally
                        .faults
                        .fetch_add(told.struck.values().map(|struck| struck.len() as u64).sum(), Ordering::Relaxed);
                    if stories.is_multiple_of(TOLD_EVERY) {
                        println!("{tally:?} in {:?}", started.elapsed());
                    }
                    if let Some(violation) = told.violations.first() {
                        eprintln!("seed {seed}: {}: {}", violation.rule, violation.what);
                        failed.lock().expect("no teller panics").push((story, told));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("no teller panics");
    failed.sort_by_key(|(story, _)| story.seed);
    failed
}

/// The text of a failing story, made as small as it goes, and how to tell it again.
fn report(story: &Story, told: &Told) -> String {
    let (small, told) = shrink(story, told);
    let text = serde_json::to_string_pretty(&small).expect("a story is text");
    format!(
        "seed {}: {}\n{}\nsave this as a file and tell it again with TIDEGATE_STORY=<file>:\n{text}\n",
        story.seed,
        told.violations
            .iter()
            .map(|violation| format!("{}: {}", violation.rule, violation.what))
            .collect::<Vec<_>>()
            .join("; "),
        told.narration()
    )
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn what_must_hold_holds_in_seeded_stories() {
    if let Ok(filter) = std::env::var("TIDEGATE_LOG") {
        // What the agent says, for a story that is looked into.
        let _ = tidegate::telemetry::start_logging(tidegate::config::LogFormat::Text, &filter);
    }
    if let Ok(file) = std::env::var("TIDEGATE_STORY") {
        let text = std::fs::read_to_string(&file).expect("the story can be read");
        let story: Story = serde_json::from_str(&text).expect("the story can be told");
        let told = tell(&story);
        println!("{}", told.narration());
        assert_eq!(told.violations, Vec::new());
        return;
    }
    let seeds = match number("TIDEGATE_SEED") {
        Some(seed) => seed..seed + 1,
        None => number("TIDEGATE_FIRST_SEED").unwrap_or(0)..number("TIDEGATE_SEEDS").unwrap_or(SEEDS),
    };
    assert!(
        !seeds.is_empty(),
        "no seeds to tell: TIDEGATE_FIRST_SEED must be below TIDEGATE_SEEDS, the seed to stop before"
    );
    let tally = Tally::default();
    let started = std::time::Instant::now();
    let failed = tell_all(seeds, None, 50, &tally);
    println!("{tally:?} in {:?}", started.elapsed());
    let reports: Vec<String> = failed.iter().take(PRINTED_MAX).map(|(story, told)| report(story, told)).collect();
    let rules: Vec<String> =
        failed.iter().map(|(story, told)| format!("{}:{}", story.seed, told.violations[0].rule)).collect();
    assert!(failed.is_empty(), "{} stories failed ({}):\n{}", failed.len(), rules.join(" "), reports.join("\n"));
}

#[test]
fn what_must_hold_holds_in_focused_stories() {
    let seeds = number("TIDEGATE_FOCUSED_SEEDS").unwrap_or(FOCUSED_SEEDS);
    let only = std::env::var("TIDEGATE_FOCUS").ok();
    for focus in Focus::ALL {
        if only.as_ref().is_some_and(|only| *only != format!("{focus:?}")) {
            continue;
        }
        let tally = Tally::default();
        let failed = tell_all(0..seeds, Some(focus), 1, &tally);
        println!("{focus:?}: {tally:?}");
        let reports: Vec<String> = failed.iter().take(1).map(|(story, told)| report(story, told)).collect();
        assert!(failed.is_empty(), "{focus:?}: {}", reports.join("\n"));
    }
}

/// Each file is a story that seeds told and that broke a rule once, as small as it goes.
#[test]
fn what_must_hold_holds_in_stories_that_broke_it_once() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/found");
    let files: Vec<_> =
        std::fs::read_dir(&folder).expect("the folder is there").map(|it| it.expect("a file")).collect();
    assert!(!files.is_empty(), "{} holds stories", folder.display());
    for file in files {
        let text = std::fs::read_to_string(file.path()).expect("the story can be read");
        let told = tell(&serde_json::from_str(&text).expect("the story can be told"));
        assert_eq!(told.violations, Vec::new(), "{}\n{}", file.path().display(), told.narration());
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..20 {
        let story = Story::of(seed);
        let (first, second) = (tell(&story), tell(&story));
        assert_eq!(first.narration(), second.narration(), "seed {seed}");
        assert_eq!(first.commits, second.commits, "seed {seed}");
    }
}

#[test]
fn a_story_survives_its_text() {
    for seed in 0..200 {
        let story = Story::of(seed);
        let text = serde_json::to_string(&story).expect("a story is text");
        assert_eq!(serde_json::from_str::<Story>(&text).expect("and text a story"), story);
    }
}

#[test]
fn a_plain_rollout_goes_through_its_waves() {
    let told = tell(&Story::plain());
    println!("{}\n{} commits, {:?}", told.narration(), told.commits, told.occasions);
    assert_eq!(told.violations, Vec::new());
    assert_eq!(told.rollouts, 2);
}
