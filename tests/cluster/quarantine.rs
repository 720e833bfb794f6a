//! What failed is not tried again until somebody says so; what does not concern an app costs it nothing.

use crate::support::fixture::AppFixture;
use crate::support::state::Kind;
use crate::support::story::Story;

/// An app whose bump to a crash-looping version was reverted.
fn held(name: &str) -> Story {
    let story = Story::begin_with(name, &AppFixture::new("web"));
    story.repo.bump("web", "1.1.0-crash");
    story.wait_held("web", "1.1.0-crash");
    story.observer.wait("the old pods are alone", |state| state.runs("web", "1.0.0", 10));
    story
}

/// How often the Deployment's spec was written.
fn generation(story: &Story) -> Option<i64> {
    story.observer.now(|state| state.deployment("web").expect("it exists")["metadata"]["generation"].as_i64())
}

#[test]
fn an_unrelated_commit_renders_nothing_and_frees_nothing() {
    let story = held("unrelated");
    let start = story.mark();
    let settled = generation(&story);
    let renders = story.agent().metric("tidegate_renders_total", &[]);

    story.repo.write("README.md", "nothing to see here\n");
    let commit = story.repo.commit_and_push("unrelated");
    story.agent().await_polls();

    assert_eq!(story.agent().metric("tidegate_renders_total", &[]), renders);
    assert!(story.app("web", |app| app.holds("1.1.0-crash") && app.rollouts() == 2));
    let log = story.observer.log();
    // Controllers may still write status of what came before.
    assert_eq!(generation(&story), settled, "{}", log.story());
    assert_eq!(log.writes(start, Kind::Pod), 0, "{}", log.story());

    // Held is held: going on with other work in the repository does not matter, going back does.
    story.repo.revert(&commit);
    story.agent().await_polls();
    assert!(story.app("web", |app| app.holds("1.1.0-crash") && app.rollouts() == 2));
}

#[test]
fn raising_the_attempt_tries_the_same_release_again() {
    let story = held("attempt");

    story.repo.edit("apps/web.yaml", "spec:\n", "spec:\n  attempt: 1\n");
    story.repo.commit_and_push("try again");
    story.wait_app("web", "tries again", |app| app.rollouts() == 3);
    story.wait_held("web", "1.1.0-crash");

    story.agent().await_polls();
    assert_eq!(story.app("web", |app| app.rollouts()), 3, "one attempt, one try");
}

#[test]
fn retry_on_demand_tries_once_more() {
    let story = held("retry");

    let (out, error, code) = story.tidegate("retry web");
    assert_eq!(code, 0, "{out}{error}");
    story.wait_app("web", "tries again", |app| app.rollouts() == 3);
    story.wait_held("web", "1.1.0-crash");

    story.agent().await_polls();
    assert_eq!(story.app("web", |app| app.rollouts()), 3);
}

#[test]
fn editing_the_plan_starts_nothing() {
    let story = Story::begin_with("plan-edit", &AppFixture::new("web"));
    let start = story.mark();

    story.repo.edit("plans/web.yaml", "25%", "50%");
    story.repo.commit_and_push("bigger waves");
    story.agent().await_polls();

    assert!(story.app("web", |app| app.is_settled_on("1.0.0") && app.rollouts() == 1));
    let log = story.observer.log();
    assert_eq!(log.writes(start, Kind::Deployment) + log.writes(start, Kind::Pod), 0, "{}", log.story());

    // The next rollout takes it.
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    let waves = story.observer.log().by_wave(start, "web", "1.1.0");
    assert_eq!(waves[1].at_end, (10, 5));
}

#[test]
fn editing_the_plan_frees_nothing_from_quarantine() {
    let story = held("plan-held");

    story.repo.edit("plans/web.yaml", "25%", "50%");
    story.repo.commit_and_push("bigger waves");
    story.agent().await_polls();

    assert!(story.app("web", |app| app.holds("1.1.0-crash") && app.rollouts() == 2));
}

#[test]
fn a_settled_app_is_left_alone() {
    // A name that no other story has: what other agents do with a `web` of theirs is not measured here.
    let story = Story::begin_with("idle", &AppFixture::new("hermit"));
    let start = story.mark();
    let writes = || {
        story.agent().metric("tidegate_applies_total", &[]) + story.agent().metric("tidegate_state_writes_total", &[])
    };
    let passes = || story.agent().metric("tidegate_passes_total", &[]);
    // What the first sync still had to say is said by now.
    story.agent().await_polls();
    let before = (writes(), passes());

    story.agent().await_polls();
    story.agent().await_polls();

    assert!(passes() <= before.1 + 1.0, "polls that find nothing cost no app a pass: {} more", passes() - before.1);
    let before = before.0;
    assert!((writes() - before).abs() < f64::EPSILON, "nothing changed outside, so nothing is written");
    let log = story.observer.log();
    assert_eq!(Kind::ALL.iter().map(|kind| log.writes(start, *kind)).sum::<usize>(), 0, "{}", log.story());
}
