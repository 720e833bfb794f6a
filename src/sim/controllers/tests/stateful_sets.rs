//! StatefulSets: ordinals, partitions, and where they get stuck.

use super::*;

fn stateful_set(n: i64, policy: &str) -> Value {
    let mut body = json!({
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": n,
            "serviceName": "web",
            "podManagementPolicy": policy,
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        },
    });
    body["spec"]["template"] = template("1.0.0")["template"].clone();
    body
}

fn of_four(policy: &str, seed: u64) -> Play {
    let mut play = Play::new(seed);
    play.create(stateful_set(4, policy));
    play.settle();
    assert_eq!(versions(&play), ["1.0.0", "1.0.0", "1.0.0", "1.0.0"]);
    play
}

/// The versions of the pods by ordinal.
fn versions(play: &Play) -> Vec<String> {
    let image = |pod: &Object| pod.text("/spec/containers/0/image").unwrap().trim_start_matches("web:").to_owned();
    play.pods().iter().map(image).collect()
}

fn update(play: &mut Play, version: &str, partition: i64) {
    let mut spec = template(version);
    spec["updateStrategy"] = json!({"rollingUpdate": {"partition": partition}});
    play.change(spec);
    play.settle();
}

fn revisions(play: &Play) -> (String, String) {
    let web = play.web();
    let text = |field: &str| web.text(&format!("/status/{field}")).unwrap().to_owned();
    (text("currentRevision"), text("updateRevision"))
}

#[test]
fn ordered_pods_come_up_one_after_the_other() {
    let mut play = Play::new(1);
    play.create(stateful_set(4, "OrderedReady"));
    let mut names: Vec<String> = Vec::new();
    while play.pods().len() < 4 {
        let next = play.controllers.next_at().unwrap();
        play.step_at(next);
        let pods = play.pods();
        let waiting = pods.iter().filter(|pod| pods::ready_since(pod).is_none()).count();
        assert!(waiting <= 1, "one at a time");
        names = pods.into_iter().map(|pod| pod.key.name.clone()).collect();
    }
    assert_eq!(names, ["web-0", "web-1", "web-2", "web-3"]);
    play.settle();
    let (current, update) = revisions(&play);
    assert_eq!(current, update);
    assert_eq!(
        (play.status("readyReplicas"), play.status("updatedReplicas"), play.status("currentReplicas")),
        (4, 4, 4)
    );
}

#[test]
fn parallel_pods_come_up_together() {
    let mut play = Play::new(1);
    play.create(stateful_set(4, "Parallel"));
    play.run_for(Millis(150));
    assert_eq!(play.live("1.0.0"), (4, 0));
}

#[test]
fn a_partition_holds_the_lower_ordinals() {
    for policy in ["OrderedReady", "Parallel"] {
        let mut play = of_four(policy, 1);
        update(&mut play, "1.1.0", 3);
        assert_eq!(versions(&play), ["1.0.0", "1.0.0", "1.0.0", "1.1.0"]);
        let (current, updated) = revisions(&play);
        assert_ne!(current, updated);
        assert_eq!((play.status("updatedReplicas"), play.status("currentReplicas")), (1, 3));

        // A pod below the partition that dies comes back at the current revision.
        let key = play.pods()[0].key.clone();
        play.controllers.kill_pod(&mut play.api, &key);
        play.feed();
        play.settle();
        assert_eq!(versions(&play), ["1.0.0", "1.0.0", "1.0.0", "1.1.0"]);

        update(&mut play, "1.1.0", 1);
        assert_eq!(versions(&play), ["1.0.0", "1.1.0", "1.1.0", "1.1.0"]);
        update(&mut play, "1.1.0", 0);
        assert_eq!(versions(&play), ["1.1.0", "1.1.0", "1.1.0", "1.1.0"]);
        assert_eq!(revisions(&play), (updated.clone(), updated));
    }
}

#[test]
fn scaling_out_adds_pods_of_the_update_above_the_partition() {
    let mut play = of_four("OrderedReady", 1);
    update(&mut play, "1.1.0", 3);
    play.scale(6);
    play.settle();
    assert_eq!(versions(&play), ["1.0.0", "1.0.0", "1.0.0", "1.1.0", "1.1.0", "1.1.0"]);
    play.scale(2);
    play.settle();
    assert_eq!(versions(&play), ["1.0.0", "1.0.0"]);
}

#[test]
fn on_delete_waits_for_somebody_to_delete() {
    let mut play = of_four("OrderedReady", 1);
    let mut spec = template("1.1.0");
    spec["updateStrategy"] = json!({"type": "OnDelete", "rollingUpdate": null});
    play.change(spec);
    play.settle();
    assert_eq!(versions(&play), ["1.0.0", "1.0.0", "1.0.0", "1.0.0"]);
    let key = play.pods()[1].key.clone();
    play.api.delete(&play.by.clone(), &key, None).unwrap();
    play.feed();
    play.settle();
    assert_eq!(versions(&play), ["1.0.0", "1.1.0", "1.0.0", "1.0.0"]);
}

#[test]
fn a_broken_pod_keeps_its_revision_until_somebody_deletes_it() {
    // kubernetes#67250: under OrderedReady the revert waits for the broken pod to become Ready, which it never does.
    let mut play = of_four("OrderedReady", 1);
    update(&mut play, "1.1.0-neverready", 3);
    update(&mut play, "1.0.0", 0);
    assert_eq!(versions(&play), ["1.0.0", "1.0.0", "1.0.0", "1.1.0-neverready"]);
    let key = play.pods()[3].key.clone();
    play.api.delete(&play.by.clone(), &key, None).unwrap();
    play.feed();
    play.settle();
    assert_eq!(versions(&play), ["1.0.0", "1.0.0", "1.0.0", "1.0.0"]);
    assert_eq!(play.status("readyReplicas"), 4);
    let (current, update) = revisions(&play);
    assert_eq!(current, update, "the old template is one revision, old and new");
}
