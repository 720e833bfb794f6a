//! A Release is tried by dry run before anything of it is written.

use crate::support::fixture::{AppFixture, config_map};
use crate::support::state::Kind;
use crate::support::story::Story;

#[test]
fn what_the_server_would_refuse_is_told_while_all_of_stable_stands() {
    let story = Story::begin_with("rehearsed", &AppFixture::new("web").replicas(2));
    let start = story.mark();

    story.repo.edit("manifests/web/config.yaml", "hello", "changed");
    story.repo.edit("manifests/web/service.yaml", "port: 80\n", "port: 99999\n");
    story.repo.bump("web", "1.1.0");
    story.wait_app("web", "says what would be refused", |app| {
        ["1.1.0 would be refused", "Service", "port"].iter().all(|part| app.why().contains(part))
    });
    story.app("web", |app| assert!(app.is_at_rest() && app.quarantine().is_empty(), "{}", app.summary()));
    story.observer.log().assert_untouched(start, "1.0.0");
    assert_eq!(
        story.observer.now(|state| state.config("web", "greeting").map(str::to_owned)).as_deref(),
        Some("hello")
    );

    // Stable is still looked after.
    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"drifted"}}"#);
    story.observer.wait("the value is put back", |state| state.config("web", "greeting") == Some("hello"));

    story.repo.edit("manifests/web/service.yaml", "port: 99999\n", "port: 81\n");
    story.repo.bump("web", "1.1.1");
    story.wait_settled("web", "1.1.1");
    story.app("web", |app| assert!(app.past_of("1.1.0").is_none(), "it never began"));
}

#[test]
fn a_quota_is_met_before_the_rollout_and_goes_away_by_itself() {
    let story = Story::begin_with("quota", &AppFixture::new("web").replicas(2));
    let start = story.mark();
    let count = story.kubectl("get configmaps -o name").lines().count();
    story.kubectl(&format!("create quota maps --hard=count/configmaps={count}"));
    story.observer.wait("the quota is counted", |_| {
        story.kubectl("get quota maps -o jsonpath={.status.used}").contains("configmaps")
    });

    story.repo.write("manifests/web/more.yaml", &config_map("more", "hello"));
    story.repo.bump("web", "1.1.0");
    story.wait_app("web", "names the quota", |app| {
        ["would be refused", "ConfigMap", "exceeded quota"].iter().all(|part| app.why().contains(part))
    });
    story.observer.log().assert_untouched(start, "1.0.0");

    story.kubectl("delete quota maps");
    story.wait_settled("web", "1.1.0");
    assert!(story.observer.now(|state| state.find(Kind::ConfigMap, "more").is_some()));
}

#[test]
fn a_release_that_raises_its_own_quota_begins() {
    let quota = |hard: usize| {
        format!(
            "apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: maps}}\nspec: {{hard: {{count/configmaps: '{hard}'}}}}\n"
        )
    };
    let story = Story::begin_with("own-quota", &AppFixture::new("web").replicas(2));
    // The namespace has one of its own, of the cluster's authority.
    story.observer.wait("both ConfigMaps are there", |state| state.all(Kind::ConfigMap).count() == 2);
    story.repo.write("manifests/web/quota.yaml", &quota(2));
    let commit = story.repo.commit_and_push("a quota");
    story.wait_app("web", "has its quota", |app| app.is_settled() && app.effective("commit") == commit);
    story.observer.wait("the quota is counted", |_| {
        story.kubectl("get quota maps -o jsonpath={.status.used}").contains(":\"2\"")
    });

    story.repo.write("manifests/web/quota.yaml", &quota(3));
    story.repo.write("manifests/web/more.yaml", &config_map("more", "hello"));
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    assert_eq!(
        story.observer.now(|state| state.config("more", "greeting").map(str::to_owned)).as_deref(),
        Some("hello")
    );
}

#[test]
fn what_lives_in_a_namespace_of_the_same_release_cannot_be_tried_and_is_named() {
    let story = Story::begin_with("untried", &AppFixture::new("web").replicas(2));
    let home = format!("{}-home", story.namespace);
    let map = config_map("there", "hello").replace("  name: there", &format!("  name: there\n  namespace: {home}"));
    story.repo.write(
        "manifests/web/home.yaml",
        &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {home}}}\n---\n{map}"),
    );
    story.repo.bump("web", "1.1.0");
    story.wait_app("web", "names it", |app| app.remarks().contains(&format!("{home}/there")));
    story.wait_settled("web", "1.1.0");
    story.plane.kubectl(&["get", "configmap", "there", "-n", &home]);
    story.plane.kubectl(&["delete", "namespace", &home, "--wait=false"]);
}
