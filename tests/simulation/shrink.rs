//! Makes a failing story as small as it goes: every step and fault that can be left out without losing the violation is.

use super::story::{Story, Struck};
use super::telling::{Told, tell};

/// Tellings that a shrink may take: some are slow, and nobody waits for ever.
const TELLINGS_MAX: usize = 400;

/// The smallest story found that violates the same rule, and what came of it.
pub(crate) fn shrink(story: &Story, told: &Told) -> (Story, Told) {
    let rule = told.violations[0].rule;
    let mut best = (story.clone(), told.clone());
    let mut tellings = 0;
    loop {
        let mut is_smaller = false;
        for candidate in candidates(&best.0, &best.1) {
            tellings += 1;
            if tellings > TELLINGS_MAX {
                return best;
            }
            let told = tell(&candidate);
            if told.violations.first().is_some_and(|violation| violation.rule == rule) {
                best = (candidate, told);
                is_smaller = true;
                break;
            }
        }
        if !is_smaller {
            return best;
        }
    }
}

/// Stories that are smaller by one thing.
fn candidates(story: &Story, told: &Told) -> Vec<Story> {
    let mut found = Vec::new();
    for name in story.faults.keys() {
        let mut smaller = story.clone();
        smaller.faults.remove(name);
        found.push(smaller);
    }
    for index in 0..story.steps.len() {
        let mut smaller = story.clone();
        smaller.steps.remove(index);
        found.push(smaller);
    }
    if story.agents.len() > 1 {
        found.push(Story { agents: vec![1000], ..story.clone() });
    }
    if story.agents.iter().any(|rate| *rate != 1000) {
        found.push(Story { agents: story.agents.iter().map(|_| 1000).collect(), ..story.clone() });
    }
    for (name, struck) in &story.faults {
        let occasions: Vec<u64> = match struck {
            Struck::Exactly(occasions) => occasions.iter().copied().collect(),
            Struck::Permille(_) => {
                let mut exact = story.clone();
                let known = told.struck.iter().find(|(fault, _)| format!("{fault:?}") == *name);
                let occasions = known.map(|(_, struck)| struck.clone()).unwrap_or_default();
                exact.faults.insert(name.clone(), Struck::Exactly(occasions));
                found.push(exact);
                continue;
            }
        };
        // Halves first, then one by one.
        let half = occasions.len().div_ceil(2);
        let mut parts: Vec<Vec<u64>> = occasions.chunks(half.max(1)).map(<[u64]>::to_vec).collect();
        if occasions.len() <= 24 {
            parts.extend(
                occasions.iter().map(|left_out| occasions.iter().copied().filter(|other| other != left_out).collect()),
            );
        }
        for part in parts.into_iter().filter(|part| part.len() < occasions.len()) {
            let mut smaller = story.clone();
            smaller.faults.insert(name.clone(), Struck::Exactly(part.into_iter().collect()));
            found.push(smaller);
        }
    }
    found
}
