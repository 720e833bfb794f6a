//! Planted bugs: each must be found by the checkers within so many seeds, by a rule that it breaks, or the harness has failed.
//!
//! `TIDEGATE_MUTANT=ThirdSet` looks for that one alone, `TIDEGATE_MUTANT=all` counts for each what `TIDEGATE_SEEDS` stories
//! come to, by rule.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate::mutants::{Mutant, plant};

use super::checkers::Violation;
use super::story::{Focus, Story};
use super::telling::tell;

/// Seeds within which every planted bug must be found.
const SEEDS_MAX: u64 = 20_000;

/// The rules that a bug breaks, and what stories are about that find it soon. A violation of another rule is passed over:
/// a bug that is found for another reason than its own says nothing about the checker that was made for it.
const fn expected(mutant: Mutant) -> (&'static [&'static str], Option<Focus>) {
    match mutant {
        // After scaling, a window made of counts that lag lets the controller take Stable's pods, or make too many new ones.
        Mutant::StaleStatusCount => (&["hold", "S1"], Some(Focus::Scaling)),
        // In place there are fewer old pods than wished for: the room beside them is taken for new ones.
        Mutant::WishedCounts => (&["S1"], None),
        // The record says wave 0 while wave 1 grows; after a crash the waves run again.
        Mutant::WaveInMemory => (&["S1", "S3"], None),
        Mutant::EmptyPrunes => (&["S7"], None),
        Mutant::LeaseWithoutDeadline => (&["S9"], Some(Focus::FrozenLeaders)),
        // An answer to what does not stand any more; or more rollouts turned back than people asked for.
        Mutant::RequestFromCache => (&["S11", "S5"], Some(Focus::Requests)),
        Mutant::ReplicasWithTemplate => (&["hold"], Some(Focus::ChangedSizes)),
        // A rollout ends with its version running (S4), and a third ReplicaSet has pods at a wave (S1).
        Mutant::ThirdSet => (&["S4", "S1"], None),
        Mutant::MinReadyFirst => (&["S1"], None),
        Mutant::NoDataPasses => (&["S2"], None),
        Mutant::EarlySamplesCount => (&["S2"], Some(Focus::DyingPods)),
        Mutant::QuarantineInMemory => (&["S5"], None),
        Mutant::FirstSyncAfterLoss => (&["S3"], Some(Focus::LostState)),
        Mutant::EffectBeforeIntent => (&["S10"], None),
        Mutant::TimeoutPasses => (&["S2"], None),
        Mutant::UnobservedReadiness => (&["S2"], None),
        Mutant::FollowsRewrites => (&["S6"], Some(Focus::Rewrites)),
        // What a failed Release added stands in the end.
        Mutant::KeepsAdded => (&["L2"], None),
        // Somebody's environment variable stands in the end.
        Mutant::ToleratesAdditions => (&["L2"], None),
        Mutant::HoldsAtZero => (&["hold"], Some(Focus::Emptying)),
    }
}

/// What a story comes to with the bug in it.
fn tell_with(mutant: Mutant, seed: u64) -> Option<Violation> {
    let (_, focus) = expected(mutant);
    plant(Some(mutant));
    let told = tell(&Story::focused(seed, focus));
    plant(None);
    told.violations.into_iter().next()
}

/// The first seed whose story shows the bug, and what was violated.
fn find(mutant: Mutant) -> Option<(u64, String)> {
    let (rules, _) = expected(mutant);
    (0..SEEDS_MAX).find_map(|seed| {
        let violation = tell_with(mutant, seed).filter(|violation| rules.contains(&violation.rule))?;
        Some((seed, format!("{}: {}", violation.rule, violation.what)))
    })
}

/// How often each rule was broken, with the first time.
fn count(mutant: Mutant, seeds: u64) -> BTreeMap<&'static str, (u64, u64, String)> {
    let mut counted: BTreeMap<&'static str, (u64, u64, String)> = BTreeMap::new();
    for seed in 0..seeds {
        if let Some(violation) = tell_with(mutant, seed) {
            counted.entry(violation.rule).or_insert((0, seed, violation.what)).0 += 1;
        }
    }
    counted
}

#[test]
fn every_planted_bug_is_found() {
    let only = std::env::var("TIDEGATE_MUTANT").ok();
    let is_wanted = |mutant: &Mutant| only.as_ref().is_none_or(|only| only == "all" || *only == format!("{mutant:?}"));
    let mutants: Vec<Mutant> = Mutant::ALL.into_iter().filter(is_wanted).collect();
    let counted = super::number("TIDEGATE_SEEDS").filter(|_| only.is_some());
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(seeds) = counted {
                        println!("{mutant:?}: {:#?}", count(*mutant, seeds));
                        continue;
                    }
                    match find(*mutant) {
                        Some((seed, what)) => println!("{mutant:?} is found by seed {seed}: {what}"),
                        None => missed.lock().expect("no teller panics").push(*mutant),
                    }
                }
            });
        }
    });
    assert!(!mutants.is_empty(), "TIDEGATE_MUTANT names a planted bug");
    assert_eq!(missed.into_inner().expect("no teller panics"), Vec::new(), "planted bugs that nothing found");
}
