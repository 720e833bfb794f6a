//! Crashes before and after every write of a rollout, and at every pair of such points.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate::sim::Fault;

use super::declared::Declared;
use super::story::{Moment, Step, Story, Struck};
use super::telling::tell;

/// A rollout through three waves that succeeds, one whose second wave fails its gate, one whose pods crash, and the way
/// of each is told in place too.
fn stories() -> Vec<(&'static str, Story)> {
    let plain = Story::plain();
    let with = |version: &str, in_place: bool, only_pods: bool| {
        let first = Declared { in_place, only_pods, ..plain.first.clone() };
        let declared = Declared { version: version.to_owned(), ..first.clone() };
        Story { first, steps: vec![(Moment::After(20_000), Step::Declare(declared))], ..plain.clone() }
    };
    vec![
        ("good", with("2.0.0", false, false)),
        ("good in place", with("2.0.0", true, false)),
        ("good, in pods alone", with("2.0.0", false, true)),
        ("errors", with("2.0.0-errors", false, false)),
        ("errors in place, in pods alone", with("2.0.0-errors", true, true)),
        ("crash loop in place", with("3.0.0-crash", true, false)),
    ]
}

fn crashing(story: &Story, points: &[(Fault, u64)]) -> Story {
    let mut faults: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for (fault, occasion) in points {
        faults.entry(format!("{fault:?}")).or_default().insert(*occasion);
    }
    let faults = faults.into_iter().map(|(name, occasions)| (name, Struck::Exactly(occasions))).collect();
    // Faults strike until everything is over.
    Story { faults, calm_after: 300_000, ..story.clone() }
}

/// Before and after every write of a story told without crashes.
fn points(story: &Story) -> Vec<(Fault, u64)> {
    let told = tell(&Story { calm_after: 300_000, ..story.clone() });
    assert_eq!(told.violations, Vec::new(), "{}", told.narration());
    [Fault::CrashBeforeWrite, Fault::CrashAfterWrite]
        .into_iter()
        .flat_map(|fault| (0..told.occasions[&fault]).map(move |occasion| (fault, occasion)))
        .collect()
}

/// Tells all of these on all cores; each must hold.
fn tell_each(name: &str, stories: &[Story]) {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(story) = stories.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let told = tell(story);
                    if !told.violations.is_empty() {
                        failed.lock().expect("no teller panics").push((story.clone(), told));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no teller panics");
    println!("{name}: {} stories, {} failed", stories.len(), failed.len());
    if let Some((story, told)) = failed.first() {
        panic!(
            "{name}: {} of {} failed, such as with {:?}:\n{}",
            failed.len(),
            stories.len(),
            story.faults,
            told.narration()
        );
    }
}

#[test]
fn a_crash_at_any_write_changes_nothing() {
    for (name, story) in stories() {
        let points = points(&story);
        assert!(points.len() > 20, "{name} has writes: {}", points.len());
        let crashed: Vec<Story> = points.iter().map(|point| crashing(&story, &[*point])).collect();
        tell_each(name, &crashed);
    }
}

#[test]
fn crashes_at_any_two_writes_of_a_good_rollout_change_nothing() {
    crash_twice(&stories()[..1]);
}

#[test]
#[ignore = "minutes: every pair of crashes in four rollouts; `make test-all` runs it"]
fn crashes_at_any_two_writes_change_nothing() {
    crash_twice(&stories()[1..]);
}

fn crash_twice(stories: &[(&'static str, Story)]) {
    for (name, story) in stories {
        let points = points(story);
        let pairs = points
            .iter()
            .enumerate()
            .flat_map(|(index, first)| points[index + 1..].iter().map(move |second| (*first, *second)));
        let crashed: Vec<Story> = pairs.map(|(first, second)| crashing(story, &[first, second])).collect();
        tell_each(name, &crashed);
    }
}
