//! What the agent costs and how fast it is, beside what the API server itself can take, measured in the same run.
//!
//! `cargo run --profile quick --example bench -- [N...]`, `RUNS=5` for medians, `-- monorepo [N]` for a repository alone; see docs/benchmarks.md for what each figure
//! means. In reading order: [`run`] (one run), [`fleet`] (the apps), [`scene`] (what measurements stand on), one file per
//! measurement, [`report`] (lines and the table).
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is its result, its progress goes beside")]

mod bump;
mod drift;
mod first_sync;
mod fleet;
mod monorepo;
mod no_op;
mod process;
mod report;
mod rest;
mod run;
mod scene;
mod served;
#[path = "../support/mod.rs"]
mod support;
mod tally;
mod trace;

use report::{Report, medians, table};
use support::chance::Chance;

/// Sizes when none are named.
const SIZES: [usize; 3] = [100, 500, 1000];

/// As the agent has it: memory is part of what is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == "monorepo").is_some() {
        return monorepo::run(words.next().map_or(5000, |word| number(&word)), runs().unwrap_or(5));
    }
    let named: Vec<usize> = words.map(|word| number(&word)).collect();
    let sizes = if named.is_empty() { SIZES.to_vec() } else { named };
    let runs = runs().unwrap_or(1);
    let mut chance = Chance::new();
    let mut all = Vec::new();
    for &apps in &sizes {
        let mut reports = Vec::<Report>::new();
        for count in 1..=runs {
            eprintln!("-- {apps} apps, run {count} of {runs}");
            reports.push(run::run(apps, &mut chance));
        }
        if runs > 1 {
            medians(apps, &reports).iter().for_each(|line| println!("{line}"));
        }
        all.push((apps, reports));
    }
    println!("\n{}", table(&all));
}

/// How often everything is measured, when somebody says so.
fn runs() -> Option<usize> {
    std::env::var("RUNS").ok().filter(|text| !text.is_empty()).map(|text| number(&text))
}

/// A count of apps or runs.
fn number(text: &str) -> usize {
    let number = text.parse().ok().filter(|number| (1..=20_000).contains(number));
    number.unwrap_or_else(|| {
        eprintln!("`{text}` is no number from 1 to 20000; usage: [RUNS=n] bench [N...]");
        std::process::exit(2)
    })
}
