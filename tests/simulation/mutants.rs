//! Planted bugs: each must be found by the checkers within so many seeds, or the harness has failed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate::mutants::{Mutant, plant};

use super::story::Story;
use super::telling::tell;

/// Seeds within which every planted bug must be found.
const SEEDS_MAX: u64 = 20_000;

/// The first seed whose story shows the bug, and what was violated.
fn find(mutant: Mutant) -> Option<(u64, String)> {
    plant(Some(mutant));
    let found = (0..SEEDS_MAX).find_map(|seed| {
        let told = tell(&Story::of(seed));
        let violation = told.violations.first()?;
        Some((seed, format!("{}: {}", violation.rule, violation.what)))
    });
    plant(None);
    found
}

#[test]
fn every_planted_bug_is_found() {
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match find(*mutant) {
                        Some((seed, what)) => eprintln!("{mutant:?} is found by seed {seed}: {what}"),
                        None => missed.lock().expect("no teller panics").push(*mutant),
                    }
                }
            });
        }
    });
    assert_eq!(missed.into_inner().expect("no teller panics"), Vec::new(), "planted bugs that nothing found");
}
