//! The story: a first sync, a good version, a bad one, and `git revert`.

use std::cell::Cell;

use crate::Demo;
use crate::narrator::Narrator;
use crate::support::state::State;

/// The app that the story is about.
const APP: &str = "web";
/// Where it is declared.
const FILE: &str = "apps/web/application.yaml";

/// Tells it; gives whether everything came out as told.
pub(crate) fn tell(demo: &Demo, narrator: &Narrator<'_>) -> bool {
    let is_as_told = Cell::new(true);
    let await_that = |what: &str, claim: &dyn Fn(&State) -> bool| {
        if !narrator.narrate_until(what, claim) {
            is_as_told.set(false);
        }
        is_as_told.get()
    };
    let claim = |is_so: bool, what: &str| {
        if !is_so {
            println!("          BUT: {what} did not come true");
            is_as_told.set(false);
        }
    };
    let is_on = |state: &State, version: &str| state.app(APP).is_some_and(|app| app.is_settled_on(version));

    narrator.say("first sync: there is nothing to protect yet, so everything is applied at once and judged");
    if !await_that("web and api run 1.0.0", &|state| {
        is_on(state, "1.0.0") && state.app("api").is_some_and(|app| app.is_settled_on("1.0.0"))
    }) {
        return false;
    }

    narrator.say("a good version: `version: 1.1.0` is committed and goes out wave by wave");
    let start = demo.observer.mark();
    let good = demo.repo.bump_in(FILE, APP, "1.1.0");
    if !await_that("web runs 1.1.0", &|state| is_on(state, "1.1.0")) {
        return false;
    }
    let waves = demo.observer.log().by_wave(start, APP, "1.1.0");
    let sizes: Vec<usize> = waves.iter().map(|wave| wave.at_end.1).collect();
    claim(sizes == [1, 2, 10], &format!("waves of 1, 2 and 10 pods (they were {sizes:?})"));

    narrator.say(
        "a bad version: of the requests that 1.2.0-errors-20 answers, 20 % fail; its gate shuts and it is taken back",
    );
    let start = demo.observer.mark();
    let bad = demo.repo.bump_in(FILE, APP, "1.2.0-errors-20");
    if !await_that("1.2.0-errors-20 is held", &|state| {
        state.app(APP).is_some_and(|app| app.holds("1.2.0-errors-20")) && state.pods_of("1.2.0-errors-20") == 0
    }) {
        return false;
    }
    let log = demo.observer.log();
    claim(log.max_pods(start, "1.2.0-errors-20") == 1, "one bad pod and no more");
    let ready = log.min(start, |state| state.ready_of("1.1.0"));
    claim(ready == 10, &format!("all ten good pods Ready throughout (there were {ready})"));

    narrator
        .say("`git revert` of the bad commit: Git and the cluster say the same again, without a single write to a pod");
    demo.repo.revert(&bad);
    if !await_that("web is settled on 1.1.0", &|state| is_on(state, "1.1.0")) {
        return false;
    }

    narrator.say("`git revert` of the good commit too: 1.0.0 completed once before, so it takes the express lane");
    let start = demo.observer.mark();
    demo.repo.revert(&good);
    if !await_that("web runs 1.0.0", &|state| is_on(state, "1.0.0")) {
        return false;
    }
    let lanes = demo.observer.log().lanes(start, APP, "1.0.0");
    claim(lanes.contains("express"), &format!("the express lane (it was {lanes:?})"));
    is_as_told.get()
}
