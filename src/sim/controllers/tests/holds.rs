//! What holding.md's section 1 says was seen on the real controllers, n = 10 unless said otherwise.

use super::*;

/// Seeds are races: what holds, holds for each.
const SEEDS: std::ops::Range<u64> = 0..8;

#[test]
fn surge_waves_stand_beside_ten_available_old_pods() {
    for seed in SEEDS {
        let mut play = Play::of_ten(seed);
        for wave in [1, 3] {
            play.hold("1.1.0", wave, 0);
            play.settle();
            play.assert_stands(10, usize::try_from(wave).unwrap());
            assert_eq!(play.status("availableReplicas"), 10);
            let workload = play.workload();
            assert!(workload.is_at_fixpoint(workload.window().unwrap()));
            assert_eq!(play.condition("Available").unwrap().0, "True");
        }
    }
}

#[test]
fn in_place_waves_alternate_between_growing_and_shrinking() {
    for seed in SEEDS {
        let mut play = Play::of_ten(seed);
        for (surge, unavailable, old, new) in [(1, 0, 10, 1), (0, 1, 9, 1), (2, 1, 9, 3), (0, 3, 7, 3)] {
            play.hold("1.1.0", surge, unavailable);
            play.settle();
            play.assert_stands(old, new);
        }
        assert_eq!(play.status("availableReplicas"), 7);
    }
}

#[test]
fn in_place_without_surge_shrinks_first() {
    for seed in SEEDS {
        let mut play = Play::of_ten(seed);
        play.hold("1.1.0", 0, 2);
        play.settle();
        play.assert_stands(8, 2);
        play.hold("1.1.0", 0, 3);
        play.settle();
        play.assert_stands(7, 3);
    }
}

#[test]
fn in_place_with_one_surge_pod_reaches_seven_and_three() {
    for seed in SEEDS {
        let mut play = Play::of_ten(seed);
        for (surge, unavailable, old, new) in [(1, 0, 10, 1), (0, 3, 7, 3)] {
            play.hold("1.1.0", surge, unavailable);
            play.settle();
            play.assert_stands(old, new);
        }
    }
}

#[test]
fn blue_green_stands_at_twice_n() {
    let mut play = Play::of_ten(1);
    play.hold("1.1.0", 10, 0);
    play.settle();
    play.assert_stands(10, 10);
    assert_eq!(play.status("availableReplicas"), 10);
}

#[test]
fn scaling_in_the_middle_shares_by_proportion() {
    for seed in SEEDS {
        let mut play = Play::of_ten(seed);
        play.hold("1.1.0", 3, 0);
        play.settle();
        play.scale(5);
        play.settle();
        play.assert_stands(5, 3);
        assert_eq!(play.status("availableReplicas"), 5);

        play.scale(10);
        play.settle();
        play.assert_stands(8, 5);
        assert_eq!((play.status("readyReplicas"), play.status("availableReplicas")), (13, 8));
        assert_eq!(play.condition("Available").unwrap().0, "False");

        // ms = k + R - n keeps five; ms = k overshoots.
        play.hold("1.1.0", 3, 2);
        play.settle();
        play.assert_stands(8, 5);
        play.hold("1.1.0", 5, 2);
        play.settle();
        play.assert_stands(8, 7);
    }
}

#[test]
fn scaling_to_zero_and_back_gives_everything_to_the_new_template() {
    for seed in SEEDS {
        let mut play = Play::of_ten(seed);
        play.hold("1.1.0", 3, 0);
        play.settle();
        play.scale(0);
        play.settle();
        assert_eq!((play.sizes().len(), play.pods().len()), (0, 0));
        play.scale(10);
        play.settle();
        play.assert_stands(0, 10);
    }
}

#[test]
fn completion_makes_everything_new_within_the_declared_bounds() {
    for seed in SEEDS {
        let mut play = Play::of_ten(seed);
        play.hold("1.1.0", 3, 0);
        play.settle();
        let from = play.seen;
        play.declare("1.1.0");
        play.settle();
        play.assert_stands(0, 10);
        assert_eq!(play.condition("Progressing").unwrap().1, "NewReplicaSetAvailable");
        assert!(play.workload().is_complete());
        let reports = play.api.commits_after(from).unwrap().iter().filter_map(|commit| commit.after.as_ref());
        let web = reports.filter(|object| object.key.kind.kind == "Deployment");
        let least = web.filter_map(|web| web.int("/status/readyReplicas")).min().unwrap();
        assert!(least >= 8, "{least} Ready");
    }
}

#[test]
fn a_crash_looping_wave_is_reverted_within_two_seconds_and_old_pods_stay() {
    for seed in SEEDS {
        let mut play = Play::of_ten(seed);
        let old: Vec<String> = play.pods().iter().map(|pod| pod.key.name.clone()).collect();
        play.hold("1.1.0-crash", 3, 0);
        play.run_for(Millis::from_seconds(60));
        assert_eq!((play.live("1.0.0"), play.live("1.1.0-crash")), ((10, 10), (3, 0)));
        let workload = play.workload();
        assert!(workload.pods.iter().filter(|pod| pod.crash_loop.is_some() && pod.restarts > 1).count() == 3);

        play.revert();
        play.run_for(Millis::from_seconds(2));
        assert_eq!(play.sizes(), [("1.0.0".to_owned(), 10)]);
        play.settle();
        let left: Vec<String> = play.pods().iter().map(|pod| pod.key.name.clone()).collect();
        assert_eq!(left, old);
    }
}

#[test]
fn a_bad_wave_in_place_is_reverted() {
    for seed in SEEDS {
        let mut play = Play::of_ten(seed);
        play.hold("1.1.0", 0, 3);
        play.settle();
        play.assert_stands(7, 3);
        play.revert();
        play.settle();
        play.assert_stands(10, 0);
    }
}

#[test]
fn superseding_through_stable_never_has_three_active_replica_sets() {
    for seed in SEEDS {
        let mut play = Play::of_ten(seed);
        play.hold("1.1.0", 3, 0);
        play.settle();
        play.revert();
        play.settle();
        assert_eq!(play.sizes(), [("1.0.0".to_owned(), 10)]);
        play.hold("1.2.0", 1, 0);
        play.settle();
        assert_eq!(play.sizes(), [("1.0.0".to_owned(), 10), ("1.2.0".to_owned(), 1)]);
    }
}

#[test]
fn holding_again_over_a_stale_status_may_lose_every_old_pod() {
    let old_left = |seed, first: (i64, i64)| {
        let mut play = Play::of_ten(seed);
        play.hold("1.1.0", 0, 5);
        play.settle();
        play.assert_stands(5, 5);
        play.change(json!({"minReadySeconds": 0, "paused": true}));
        play.settle();
        assert_eq!(play.status("availableReplicas"), 10);
        play.change(json!({"paused": false}));
        for (surge, unavailable) in [first, (0, 5)] {
            play.hold("1.1.0", surge, unavailable);
            play.settle();
        }
        play.live("1.0.0").0
    };
    let naive: Vec<usize> = (0..40).map(|seed| old_left(seed, (0, 5))).collect();
    assert!(naive.contains(&0) && naive.contains(&5), "it is a race: {naive:?}");
    // The rule: first a window that allows nothing, until nothing new counts as available.
    let ruled: Vec<usize> = (0..40).map(|seed| old_left(seed, (1, 0))).collect();
    assert!(ruled.iter().all(|left| *left == 5), "{ruled:?}");
}

#[test]
fn where_holds_stop_follows_the_law() {
    let mut chance = 0;
    let mut below = |limit: i64| {
        chance += 1;
        i64::try_from(Chance::new(7).draw("law", chance) % u64::try_from(limit).unwrap()).unwrap()
    };
    for seed in 0..60 {
        let n = 1 + below(12);
        let mut play = Play::new(seed);
        play.create(deployment(n));
        play.settle();
        let (mut old, mut new) = (n, 0);
        let mut path = vec![format!("n = {n}")];
        for _ in 0..3 {
            let (surge, unavailable) = (below(n + 3), below(n + 1));
            let (surge, unavailable) = if surge + unavailable == 0 { (1, 0) } else { (surge, unavailable) };
            path.push(format!("({old}, {new}) under {surge}, {unavailable}"));
            // New pods are never available: a = 0.
            let old_end = old.min(n - unavailable).max(0);
            let new_end = n.min(new.max(n + surge - old_end));
            play.hold("1.1.0", surge, unavailable);
            play.settle();
            let size =
                |version: &str| play.sizes().iter().find(|(found, _)| found == version).map_or(0, |(_, size)| *size);
            assert_eq!((size("1.0.0"), size("1.1.0")), (old_end, new_end), "seed {seed}: {path:?}");
            (old, new) = (old_end, new_end);
        }
    }
}
