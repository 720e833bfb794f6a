//! Model check of the rollout's pure state machine: every interleaving of the agent's passes with controllers, crashes,
//! commits and requests, within bounds, by plain breadth-first search over the program's own `stage`, `diff` and `decide`.

mod agent;
mod checks;
mod cluster;
mod manifests;
mod search;
mod story;
mod times;

use search::{Bounds, explore};
use tidegate::model::Capacity;

/// Explores, says how much that was, and fails with the shortest path to what is wrong.
#[expect(clippy::print_stdout, reason = "the size of what was explored is what this check reports")]
fn check(name: &str, bounds: Bounds) {
    let found = match explore(bounds) {
        Ok(found) => found,
        Err(story) => panic!("{name}: {story}"),
    };
    println!(
        "model check, {name}: {} states, {} transitions, {} passes, {} ends, {:.1} s",
        found.states, found.transitions, found.passes, found.ends, found.seconds
    );
    assert!(found.ends > 0, "something ends");
}

#[test]
fn three_targets_keep_the_invariants_in_every_interleaving() {
    let bounds = Bounds { capacity: Capacity::Surge, crashes: 0, commits: 2, asks: 0, is_prompt: true };
    check("surge, 3 waves, 3 targets", bounds);
}

#[test]
fn two_crashes_keep_the_invariants_in_every_interleaving() {
    let bounds = Bounds { capacity: Capacity::Surge, crashes: 2, commits: 1, asks: 0, is_prompt: true };
    check("surge, 3 waves, 2 targets, 2 crashes", bounds);
}

#[test]
fn a_request_keeps_the_invariants_in_every_interleaving() {
    let bounds = Bounds { capacity: Capacity::Surge, crashes: 0, commits: 1, asks: 1, is_prompt: true };
    check("surge, 3 waves, 2 targets, 1 request", bounds);
}

#[test]
fn waves_in_place_keep_the_invariants_in_every_interleaving() {
    let bounds = Bounds { capacity: Capacity::InPlace, crashes: 1, commits: 1, asks: 0, is_prompt: true };
    check("in place, 3 waves, 2 targets, 1 crash", bounds);
}

#[test]
#[ignore = "explores for minutes"]
fn three_targets_and_two_crashes_keep_the_invariants_in_every_interleaving() {
    let bounds = Bounds { capacity: Capacity::Surge, crashes: 2, commits: 2, asks: 0, is_prompt: true };
    check("surge, 3 waves, 3 targets, 2 crashes", bounds);
}

#[test]
#[ignore = "explores for minutes"]
fn a_crash_and_a_request_keep_the_invariants_in_every_interleaving() {
    let bounds = Bounds { capacity: Capacity::Surge, crashes: 1, commits: 1, asks: 1, is_prompt: true };
    check("surge, 3 waves, 2 targets, 1 crash, 1 request", bounds);
}

#[test]
#[ignore = "explores for minutes"]
fn a_slow_agent_keeps_the_invariants_in_every_interleaving() {
    let bounds = Bounds { capacity: Capacity::Surge, crashes: 1, commits: 2, asks: 0, is_prompt: false };
    check("surge, 3 waves, 3 targets, 1 crash, slow agent", bounds);
}

#[test]
#[ignore = "explores for minutes"]
fn waves_in_place_with_three_targets_keep_the_invariants_in_every_interleaving() {
    let bounds = Bounds { capacity: Capacity::InPlace, crashes: 2, commits: 2, asks: 0, is_prompt: true };
    check("in place, 3 waves, 3 targets, 2 crashes", bounds);
}
