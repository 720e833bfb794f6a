//! What a namespace allows: quota for objects and for pods, and rights that one kind lacks.

use serde_json::Value;

use crate::support::fixture::{AppFixture, HELD_SECOND_WAVE, config_map};
use crate::support::state::Kind;
use crate::support::story::Story;

/// How much of a quota is used, once it is counted.
fn used(story: &Story, quota: &str, resource: &str) -> Option<u64> {
    let quota: Value = serde_json::from_str(&story.kubectl(&format!("get quota {quota} -o json"))).ok()?;
    quota["status"]["used"][resource].as_str()?.parse().ok()
}

/// Makes a quota and waits until what exists is counted.
fn limit(story: &Story, resource: &str, hard: u64) {
    story.kubectl(&format!("create quota few --hard={resource}={hard}"));
    story.agent().await_that("the quota is counted", || used(story, "few", resource).is_some());
}

/// Changes how much the quota allows.
fn allow(story: &Story, resource: &str, hard: u64) {
    story.kubectl(&format!(r#"patch quota few --type=merge -p {{"spec":{{"hard":{{"{resource}":"{hard}"}}}}}}"#));
}

#[test]
fn an_object_that_quota_refuses_in_a_first_sync_is_named_and_the_rest_goes_on() {
    const OBJECTS: &str = "count/configmaps";
    let story = Story::begin_with("quota-objects", &AppFixture::new("web").replicas(2));
    let start = story.mark();
    // The namespace has one of its own, of the cluster's authority.
    story.observer.wait("both ConfigMaps are there", |state| state.all(Kind::ConfigMap).count() == 2);
    limit(&story, OBJECTS, 2);

    // A later Release of an app that stands would be tried first, and not begin.
    let api = AppFixture { greeting: None, ..AppFixture::new("api").version("2.0.0").replicas(2) };
    api.write(&story.repo, &story.namespace);
    story.repo.write("manifests/api/extra.yaml", &config_map("extra", "new"));
    story.repo.commit_and_push("an app with one ConfigMap too many");
    story.wait_app("api", "names the quota", |app| {
        ["ConfigMap", "/extra", "exceeded quota: few", OBJECTS].iter().all(|part| app.why().contains(part))
    });
    story.observer.wait("the other objects are applied", |state| state.find(Kind::Service, "api").is_some());
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "extra").is_none()));
    // No other app suffers, and drift is corrected.
    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"drifted"}}"#);
    story.observer.wait("the value is put back", |state| state.config("web", "greeting") == Some("hello"));

    allow(&story, OBJECTS, 3);
    story.observer.wait("it is applied", |state| state.config("extra", "greeting") == Some("new"));
    story.wait_settled("api", "2.0.0");
    story.observer.log().assert_untouched(start, "1.0.0");
}

#[test]
fn quota_that_stops_a_later_wave_is_told_and_recovered_from() {
    const PODS: &str = "pods";
    let mut story = Story::begin("quota-wave");
    AppFixture::new("web").plan(HELD_SECOND_WAVE).write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    let gate = story.start_agent_with_gate();
    story.wait_settled("web", "1.0.0");
    let start = story.mark();
    // Room for the first wave's pod and for one of the two that the second wave adds.
    limit(&story, PODS, 12);
    gate.open();

    story.repo.bump("web", "1.1.0");
    story.observer.wait("the second wave wants three pods", |state| state.replicas_of("1.1.0") == 3);
    story.wait_app("web", "names the quota", |app| app.why().contains("quota"));
    story.observer.wait("two of them are there", |state| state.ready_of("1.1.0") == 2);
    story.agent().await_polls();
    assert_eq!(story.app("web", |app| app.wave()), Some(1));
    assert_eq!(story.observer.log().max_pods(start, "1.1.0"), 2);

    allow(&story, PODS, 20);
    story.wait_settled("web", "1.1.0");
    story.observer.wait("all pods are new", |state| state.runs("web", "1.1.0", 10));
    let log = story.observer.log();
    log.assert_contained(start, "web", "1.1.0", &[1, 3, 10]);
    assert!(log.min_ready(start) >= 8, "{}", log.story());
}

#[test]
fn a_right_that_one_kind_lacks_is_named_by_verb_kind_and_namespace() {
    let mut story = Story::begin("rights");
    story.kubectl("create serviceaccount deployer");
    story.kubectl("create role most --verb=get,create,patch,delete --resource=deployments.apps --resource=services");
    // Whoever may patch may not create by that.
    story.kubectl("create role maps --verb=get,patch --resource=configmaps");
    for role in ["most", "maps"] {
        story
            .kubectl(&format!("create rolebinding {role} --role={role} --serviceaccount={}:deployer", story.namespace));
    }
    AppFixture::new("web").replicas(2).write(&story.repo, &story.namespace);
    let account = format!("namespace: {}\n    serviceAccount: deployer", story.namespace);
    story.repo.edit("apps/web.yaml", &format!("namespace: {}", story.namespace), &account);
    story.repo.commit_and_push("web 1.0.0 as deployer");
    story.start_agent();

    let lacks = |verb: &str| {
        let place = format!("in the namespace \"{}\"", story.namespace);
        let verb = format!("cannot {verb} resource \"configmaps\"");
        story.wait_app("web", &format!("says what it lacks: {verb}"), |app| {
            [verb.as_str(), "ConfigMap", &place, "deployer"].iter().all(|part| app.why().contains(part))
        });
    };
    lacks("create");
    story
        .observer
        .wait("the rest is there", |state| state.find(Kind::Service, "web").is_some() && state.runs("web", "1.0.0", 2));
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "web").is_none()));
    let rights = |verbs: &str| {
        let rule = r#"[{"apiGroups":[""],"resources":["configmaps"],"verbs":VERBS}]"#.replace("VERBS", verbs);
        story.kubectl(&format!(r#"patch role maps --type=merge -p {{"rules":{rule}}}"#));
    };
    rights(r#"["get","patch","create"]"#);
    story.wait_settled("web", "1.0.0");

    // And the other way round, with something that stands.
    let start = story.mark();
    rights(r#"["get","create"]"#);
    story.repo.write("manifests/web/config.yaml", &config_map("web", "moin"));
    story.repo.edit("manifests/web/service.yaml", "port: 80\n", "port: 81\n");
    story.repo.commit_and_push("moin");
    lacks("patch");
    story.observer.wait("the other object is applied", |state| {
        state.find(Kind::Service, "web").is_some_and(|service| service["spec"]["ports"][0]["port"] == 81)
    });
    assert_eq!(
        story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)).as_deref(),
        Some("hello")
    );
    rights(r#"["get","patch","create"]"#);
    story.observer.wait("it is applied", |state| state.config("web", "greeting") == Some("moin"));
    story.wait_settled("web", "1.0.0");
    story.observer.log().assert_untouched(start, "1.0.0");
}
