//! Liveness that stories drawn from seeds meet too rarely: who takes over and when (L6), watches that go silent (L5), an
//! app that is stuck beside others (L7).

use std::collections::BTreeMap;

use serde_json::json;
use tidegate::model::{GroupKind, Millis, ObjectKey, Timestamp};
use tidegate::sim::api::{Commit, Refusal, Verb};
use tidegate::sim::{Act, Git, Sim, When};

use super::checkers::{Checkers, is_settled};
use super::declared::{Declared, SPACE};
use super::read::text;
use super::story::{Moment, Step, Story};
use super::telling::tell;

/// A lease of 15 s and 5 s more (L6), by a clock that may go at four fifths of true time.
const TAKEOVER_MAX: Millis = Millis(25_000);

fn second(first: &Declared) -> Declared {
    Declared { version: "3.0.0".to_owned(), ..first.clone() }
}

/// Steps the world to its end, and hands every commit over.
fn watch(sim: &mut Sim, until: Millis, mut see: impl FnMut(&Git, &Commit)) {
    let end = until.after(Timestamp::from_second(1_800_000_000).expect("a moment"));
    while sim.step(end) {
        let commits = sim.take_commits();
        sim.with(|_, _, git, _| commits.iter().for_each(|commit| see(git, commit)));
    }
}

#[test]
fn a_frozen_leader_is_replaced_in_time_and_writes_nothing_when_it_thaws() {
    let mut takeovers = 0;
    for rates in [[1000, 1000], [800, 1200], [1200, 800], [800, 800], [1200, 1200]] {
        // From before the rollout to its end, every 150 ms: at each await of a pass, some time.
        for tick in 0..60 {
            let plain = Story::plain();
            let freeze = Moment::After(19_500 + tick * 150);
            let story = Story {
                seed: 7000 + tick,
                agents: rates.to_vec(),
                steps: vec![
                    (Moment::After(20_000), Step::Declare(second(&plain.first))),
                    (freeze, Step::Freeze(60_000)),
                ],
                calm_after: 90_000,
                ..plain
            };
            let mut sim = story.open();
            let mut checkers = Checkers::new(&story);
            let (mut renewed, mut holder) = (None, String::new());
            watch(&mut sim, Millis::from_seconds(150), |git, commit| {
                checkers.read(git);
                checkers.see(commit);
                let Some(lease) = commit.after.as_ref().filter(|_| commit.key.kind.kind == "Lease") else { return };
                let now = text(&lease.body, "/spec/holderIdentity").to_owned();
                if let Some(at) = renewed.filter(|_| !holder.is_empty() && now != holder) {
                    takeovers += 1;
                    assert!(
                        !TAKEOVER_MAX.has_passed(at, commit.at),
                        "{rates:?}, {tick}: renewed at {at}, taken over at {}",
                        commit.at
                    );
                }
                (renewed, holder) = (Some(commit.at), now);
            });
            assert_eq!(checkers.violations, Vec::new(), "{rates:?}, {tick}: {:?}", sim.done());
            assert!(
                is_settled(&checkers),
                "{rates:?}, {tick}: the rollout goes on under the new leader: {:?}",
                sim.done()
            );
        }
    }
    assert!(takeovers >= 300, "each freeze led to a takeover: {takeovers}");
}

#[test]
fn a_watch_that_goes_silent_is_noticed_within_a_minute() {
    for tick in 0..20 {
        let plain = Story::plain();
        let story = Story { seed: tick, steps: Vec::new(), ..plain };
        let mut sim = story.open();
        sim.plan(When::After(Millis(30_000 + tick * 2500)), Act::Mute);
        let edited = Millis(31_000 + tick * 2500);
        let key = ObjectKey::local("", "ConfigMap", SPACE, "web-config");
        sim.plan(
            When::After(edited),
            Act::Patch {
                by: "kubectl-edit".to_owned(),
                key: key.clone(),
                change: json!({"data": {"content": "edited"}}),
            },
        );
        let mut restored = None;
        let mut was_edited = None;
        watch(&mut sim, Millis::from_seconds(240), |_, commit| {
            if commit.key == key && commit.by.agent.is_none() {
                was_edited = Some(commit.at);
            } else if commit.key == key && was_edited.is_some() {
                restored.get_or_insert(commit.at);
            }
        });
        let (edited, restored) = (was_edited.expect("it was edited"), restored.expect("it is restored"));
        assert!(!Millis::from_seconds(60).has_passed(edited, restored), "edited at {edited}, restored at {restored}");
    }
}

/// Stories of which the mean is taken.
const STORIES: u64 = 20;

/// How long after its commit was observed the app `web` has come to rest on its second version, beside an app that is
/// stuck in some way. (When it is observed depends on where between two polls the commit falls.)
fn completes_beside(stuck: impl Fn(&mut Sim)) -> Millis {
    // One story says little, since pods take their time by chance.
    let total: u64 = (0..STORIES).map(|seed| completes_once(seed, &stuck).0).sum();
    Millis(total / STORIES)
}

fn completes_once(seed: u64, stuck: impl Fn(&mut Sim)) -> Millis {
    let plain = Story::plain();
    let story = Story { seed, steps: Vec::new(), ..plain.clone() };
    let mut sim = story.open();
    stuck(&mut sim);
    let mut files = plain.first.files();
    files.extend(other_app());
    sim.plan(When::After(Millis(5000)), Act::Commit { subject: "another app".to_owned(), files: files.clone() });
    files.extend(second(&plain.first).files());
    sim.plan(When::After(Millis(40_000)), Act::Commit { subject: "a bump".to_owned(), files });
    let (mut observed, mut completed) = (None, None);
    watch(&mut sim, Millis::from_seconds(200), |_, commit| {
        let Some(after) = commit.after.as_ref() else { return };
        if commit.key.name == "tidegate-source" {
            observed = Some(commit.at);
        }
        if commit.key == super::story::application() && text(&after.body, "/record/stable/version") == "3.0.0" {
            completed.get_or_insert(commit.at);
        }
    });
    let (observed, completed) = (observed.expect("the bump is observed"), completed.expect("the rollout completes"));
    Millis(u64::try_from(completed.as_millisecond() - observed.as_millisecond()).expect("after it was observed"))
}

/// A second app: a ConfigMap in a namespace of its own.
fn other_app() -> BTreeMap<String, String> {
    BTreeMap::from([
        (
            "apps/other.yaml".to_owned(),
            "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata:\n  name: other\nspec:\n  version: 1.0.0\n  source: {path: manifests/other}\n  destination: {namespace: other}\n".to_owned(),
        ),
        (
            "manifests/other/config.yaml".to_owned(),
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: other\ndata:\n  content: \"1\"\n".to_owned(),
        ),
    ])
}

#[test]
fn a_first_sync_whose_pods_come_late_completes_all_the_same() {
    let plain = Story::plain();
    let steps = vec![(Moment::After(100), Step::StallControllers(200_000))];
    let mut sim = Story { steps, ..plain.clone() }.open();
    let (mut was_held, mut phase) = (false, String::new());
    watch(&mut sim, Millis::from_seconds(400), |_, commit| {
        let Some(after) = commit.after.as_ref().filter(|_| commit.key == super::story::application()) else { return };
        was_held |= text(&after.body, "/record/rollout/position/at") == "held";
        text(&after.body, "/status/phase").clone_into(&mut phase);
    });
    assert!(was_held, "it ran out of time: {:?}", sim.done());
    assert_eq!(phase, "Idle", "{:?}", sim.done());
}

#[test]
fn a_stuck_app_delays_no_other() {
    let namespace = |sim: &mut Sim| sim.with(|api, _, _, _| super::world::namespace(api, "other"));
    let free = completes_beside(namespace);
    let refused = completes_beside(|sim| {
        namespace(sim);
        sim.with(|api, _, _, _| {
            api.refuse(Refusal {
                kind: Some(GroupKind::new("", "ConfigMap")),
                verb: Some(Verb::Create),
                namespace: Some("other".to_owned()),
                name_prefix: String::new(),
                message: "a webhook says no".to_owned(),
            });
        });
    });
    let missing = completes_beside(|_| {});
    // One scheduling quantum: a pass that was under way, with its requests.
    let quantum = 1000;
    assert!(refused.0 <= free.0 + quantum, "beside an app that admission refuses: {refused}, alone: {free}");
    assert!(missing.0 <= free.0 + quantum, "beside an app without its namespace: {missing}, alone: {free}");
}

#[test]
fn a_leader_that_ends_hands_over_at_once() {
    let plain = Story::plain();
    let steps =
        vec![(Moment::After(20_000), Step::Declare(second(&plain.first))), (Moment::After(21_000), Step::Restart)];
    let told = tell(&Story { agents: vec![1000, 1000], steps, calm_after: 60_000, ..plain });
    assert_eq!(told.violations, Vec::new(), "{}", told.narration());
}
