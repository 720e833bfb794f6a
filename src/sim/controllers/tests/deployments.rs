//! Deployments and ReplicaSets without a hold: what any user of Kubernetes expects of them.

use super::*;

#[test]
fn a_first_rollout_completes_with_owned_and_labelled_pods() {
    let mut play = Play::of_ten(1);
    let set = play.sets().remove(0);
    let hash = set.label("pod-template-hash").unwrap().to_owned();
    assert_eq!(set.key.name, format!("web-{hash}"));
    assert_eq!(set.text("/spec/selector/matchLabels/pod-template-hash"), Some(hash.as_str()));
    let marks = ["revision", "desired-replicas", "max-replicas"];
    let marks = marks.map(|name| set.annotation(&format!("deployment.kubernetes.io/{name}")).unwrap().to_owned());
    assert_eq!(marks, ["1", "10", "13"]);
    assert_eq!(set.annotation("team"), Some("shop"));
    for pod in play.pods() {
        assert_eq!((pod.label("pod-template-hash"), pod.label("app")), (Some(hash.as_str()), Some("web")));
        assert_eq!(reading::controller_uid(&pod.body), Some(set.uid()));
    }
    let workload = play.workload();
    assert!(workload.is_complete() && workload.is_spec_complete());
    assert_eq!(workload.counts().others_ready + workload.counts().new_ready, 10);
    assert_eq!(play.condition("Progressing").unwrap().1, "NewReplicaSetAvailable");
    assert_eq!(crate::health::health(&play.web(), &[]).unwrap().status, crate::model::HealthStatus::Healthy);
    let before = play.api.revision();
    play.run_for(Millis::from_seconds(3600));
    assert_eq!(play.api.revision(), before, "a complete Deployment is left alone");
}

#[test]
fn what_happens_is_a_function_of_the_seed() {
    let story = |seed| {
        let mut play = Play::of_ten(seed);
        play.declare("1.1.0");
        play.settle();
        let commits = play.api.commits_after(0).unwrap();
        commits.iter().map(|commit| format!("{} {} {}", commit.at, commit.key, commit.by.manager)).collect::<Vec<_>>()
    };
    assert_eq!(story(3), story(3));
    assert_ne!(story(3), story(4));
}

#[test]
fn pods_become_available_after_their_min_ready_seconds() {
    let mut play = Play::new(1);
    let mut body = deployment(3);
    body["spec"]["minReadySeconds"] = json!(20);
    play.create(body);
    play.run_for(Millis::from_seconds(15));
    assert_eq!((play.status("readyReplicas"), play.status("availableReplicas")), (3, 0));
    play.run_for(Millis::from_seconds(15));
    assert_eq!(play.status("availableReplicas"), 3);
}

#[test]
fn a_rollout_that_never_gets_ready_exceeds_its_deadline() {
    let mut play = Play::of_ten(1);
    play.change(template("1.1.0-neverready"));
    play.run_for(Millis::from_seconds(590));
    assert_eq!(play.condition("Progressing").unwrap().1, "ReplicaSetUpdated");
    play.run_for(Millis::from_seconds(30));
    assert_eq!(play.condition("Progressing"), Some(("False".to_owned(), "ProgressDeadlineExceeded".to_owned())));
    assert_eq!(play.condition("Available").unwrap().0, "True");
    assert_eq!(play.live("1.0.0"), (8, 8));
}

#[test]
fn a_pull_error_shows_in_the_pod() {
    let mut play = Play::of_ten(1);
    play.hold("1.1.0-nopull", 1, 0);
    play.settle();
    let waiting = play
        .workload()
        .pods
        .iter()
        .filter(|pod| pod.waiting.as_deref().is_some_and(|text| text.contains("ImagePullBackOff")))
        .count();
    assert_eq!(waiting, 1);
}

#[test]
fn readiness_that_is_lost_shows_and_comes_back() {
    let mut play = Play::of_ten(1);
    play.hold("1.1.0-lapse", 1, 0);
    play.run_for(Millis::from_seconds(10));
    assert_eq!(play.live("1.1.0-lapse"), (1, 1));
    play.run_for(Millis::from_seconds(30));
    assert_eq!((play.live("1.1.0-lapse"), play.status("readyReplicas")), ((1, 0), 10));
    play.run_for(Millis::from_seconds(40));
    assert_eq!((play.live("1.1.0-lapse"), play.status("readyReplicas")), ((1, 1), 11));
}

#[test]
fn rolling_back_takes_the_old_replica_set_under_a_new_revision() {
    let mut play = Play::of_ten(1);
    for version in ["1.1.0", "1.0.0"] {
        play.declare(version);
        play.settle();
        assert_eq!(play.sizes(), [(version.to_owned(), 10)]);
    }
    let sets = play.sets();
    let stable = sets.iter().find(|set| version(set) == "1.0.0").unwrap();
    assert_eq!(sets.len(), 2);
    assert_eq!(stable.annotation("deployment.kubernetes.io/revision"), Some("3"));
    assert_eq!(stable.annotation("deployment.kubernetes.io/revision-history"), Some("1"));
}

#[test]
fn history_keeps_as_many_replica_sets_as_it_says() {
    let mut play = Play::of_ten(1);
    play.change(json!({"revisionHistoryLimit": 2}));
    for version in ["1.1.0", "1.2.0", "1.3.0", "1.4.0"] {
        play.declare(version);
        play.settle();
    }
    let mut versions: Vec<String> = play.sets().iter().map(version).collect();
    versions.sort();
    assert_eq!(versions, ["1.2.0", "1.3.0", "1.4.0"]);
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll() {
    let mut play = Play::of_ten(1);
    play.change(json!({"paused": true}));
    play.change(template("1.1.0"));
    play.scale(12);
    play.settle();
    assert_eq!(play.sizes(), [("1.0.0".to_owned(), 12)]);
    assert_eq!(play.condition("Progressing").unwrap().1, "DeploymentPaused");
    play.change(json!({"paused": false}));
    play.settle();
    assert_eq!(play.sizes(), [("1.1.0".to_owned(), 12)]);
    assert_eq!(play.condition("Progressing").unwrap().1, "NewReplicaSetAvailable");
}

#[test]
fn a_recreate_has_no_new_pod_before_the_last_old_one_is_gone() {
    let mut play = Play::of_ten(1);
    play.change(json!({"strategy": {"type": "Recreate", "rollingUpdate": null}}));
    play.settle();
    play.change(template("1.1.0"));
    while play.sizes() != [("1.1.0".to_owned(), 10)] {
        let next = play.controllers.next_at().unwrap();
        play.step_at(next);
        let pods = play.pods();
        let of = |version: &str| {
            pods.iter().filter(|pod| pod.text("/spec/containers/0/image") == Some(&format!("web:{version}"))).count()
        };
        assert!(of("1.0.0") == 0 || of("1.1.0") == 0);
    }
    play.settle();
    play.assert_stands(0, 10);
}

#[test]
fn pods_that_die_are_replaced_in_kind() {
    for seed in 0..4 {
        let mut play = Play::of_ten(seed);
        play.hold("1.1.0", 3, 0);
        play.settle();
        for version in ["1.0.0", "1.1.0"] {
            let image = format!("web:{version}");
            let pods = play.pods();
            let of = |pod: &&Object| pod.text("/spec/containers/0/image") == Some(&image);
            let mut victims = pods.iter().filter(of);
            let (killed, deleted) = (victims.next().unwrap(), victims.next().unwrap());
            play.controllers.kill_pod(&mut play.api, &killed.key);
            assert_eq!(play.api.get(&killed.key), None, "it is gone at once");
            play.api.delete(&play.by.clone(), &deleted.key, None).unwrap();
            assert!(play.api.get(&deleted.key).unwrap().is_terminating(), "it is given time");
            play.feed();
            play.settle();
            play.assert_stands(10, 3);
            assert_eq!(play.api.get(&deleted.key), None);
        }
    }
}

#[test]
fn the_least_ready_pods_go_first() {
    let mut play = Play::of_ten(1);
    let old: Vec<ObjectKey> = play.pods().into_iter().map(|pod| pod.key).collect();
    play.scale(13);
    play.run_for(Millis(200));
    assert_eq!(play.live("1.0.0"), (13, 10));
    play.scale(10);
    play.settle();
    let left: Vec<ObjectKey> = play.pods().into_iter().map(|pod| pod.key).collect();
    assert_eq!(left, old);
}

#[test]
fn quota_shows_as_replica_failure_and_any_annotation_retries() {
    let mut play = Play::of_ten(1);
    play.controllers.set_quota("shop", Some(11));
    play.hold("1.1.0", 3, 0);
    play.run_for(Millis::from_seconds(60));
    assert_eq!(play.live("1.1.0"), (1, 1));
    assert!(play.workload().failure().unwrap().contains("exceeded quota"));
    assert_eq!(play.condition("ReplicaFailure"), Some(("True".to_owned(), "FailedCreate".to_owned())));

    play.run_for(Millis::from_seconds(600));
    play.controllers.set_quota("shop", None);
    play.run_for(Millis::from_seconds(5));
    assert_eq!(play.live("1.1.0").0, 1, "pauses have grown to minutes");
    let key = play.web().key;
    let kick = json!({"metadata": {"annotations": {"kick": "1"}}});
    play.api.merge(&play.by.clone(), &key, &kick, Part::Object).unwrap();
    play.feed();
    play.run_for(Millis::from_seconds(5));
    assert_eq!(play.live("1.1.0"), (3, 3));
    assert_eq!((play.condition("ReplicaFailure"), play.workload().failure()), (None, None));
}

#[test]
fn a_spent_quota_is_retried_without_being_asked() {
    let mut play = Play::of_ten(1);
    play.controllers.set_quota("shop", Some(10));
    play.hold("1.1.0", 1, 0);
    play.run_for(Millis::from_seconds(60));
    play.controllers.set_quota("shop", None);
    play.run_for(Millis::from_seconds(1000));
    play.assert_stands(10, 1);
}

#[test]
fn restarted_controllers_pick_up_what_happened_meanwhile() {
    let mut play = Play::of_ten(1);
    play.controllers.stall(Millis::from_seconds(60).after(play.now));
    play.hold("1.1.0", 3, 0);
    play.run_for(Millis::from_seconds(30));
    assert_eq!(play.sizes(), [("1.0.0".to_owned(), 10)], "they are stalled");
    play.controllers.restart();
    play.run_for(Millis::from_seconds(60));
    play.assert_stands(10, 3);
}

#[test]
fn what_loses_its_owner_goes_too() {
    let mut play = Play::of_ten(1);
    play.hold("1.1.0", 3, 0);
    play.settle();
    let key = play.web().key;
    play.api.delete(&play.by.clone(), &key, None).unwrap();
    play.feed();
    play.settle();
    assert_eq!((play.sets().len(), play.pods().len()), (0, 0));
    assert_eq!(play.api.get(&key), None);
}

#[test]
fn a_replica_set_of_a_predecessor_with_the_same_hash_is_not_taken_over() {
    let mut play = Play::of_ten(1);
    let key = play.web().key;
    play.api.delete(&play.by.clone(), &key, None).unwrap();
    play.create(deployment(4));
    play.settle();
    assert_eq!(play.sizes(), [("1.0.0".to_owned(), 4)]);
    assert_eq!(play.pods().len(), 4);
    let uid = play.web().uid().to_owned();
    assert_eq!(reading::controller_uid(&play.sets()[0].body), Some(uid.as_str()));
}
