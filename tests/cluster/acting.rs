//! Writes on behalf of an application's own service account: the API server judges each by that account's rights.

use crate::support::fixture::AppFixture;
use crate::support::state::Kind;
use crate::support::story::Story;

/// A service account that may do everything to Deployments and ConfigMaps, and nothing else.
fn with_account(name: &str) -> Story {
    let story = Story::begin(name);
    story.kubectl("create serviceaccount deployer");
    story.kubectl(
        "create role deployer --verb=get,create,patch,delete --resource=deployments.apps --resource=configmaps",
    );
    let binding = format!("create rolebinding deployer --role=deployer --serviceaccount={}:deployer", story.namespace);
    story.kubectl(&binding);
    story
}

#[test]
fn what_the_account_may_not_do_is_named_and_the_rest_goes_on() {
    let mut story = with_account("acting");
    let app = AppFixture::new("web").replicas(2);
    app.write(&story.repo, &story.namespace);
    let account = format!("namespace: {}\n    serviceAccount: deployer", story.namespace);
    story.repo.edit("apps/web.yaml", &format!("namespace: {}", story.namespace), &account);
    story.repo.commit_and_push("web 1.0.0 as deployer");
    story.start_agent();

    story.wait_app("web", "says which right is missing", |app| {
        let why = app.why();
        ["system:serviceaccount", "deployer", "patch", "services"].iter().all(|part| why.contains(part))
    });
    story.observer.wait("all else is there", |state| {
        state.config("web", "greeting") == Some("hello") && state.runs("web", "1.0.0", 2)
    });
    assert!(story.observer.now(|state| state.find(Kind::Service, "web").is_none()));

    story.kubectl("create role services --verb=get,create,patch,delete --resource=services");
    story
        .kubectl(&format!("create rolebinding services --role=services --serviceaccount={}:deployer", story.namespace));
    story.wait_settled("web", "1.0.0");

    // A rollout, drift and a deletion, all as the account.
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"drifted"}}"#);
    story.observer.wait("the value is put back", |state| state.config("web", "greeting") == Some("hello"));
    story.repo.edit("apps/web.yaml", "spec:\n", "spec:\n  sync: {prune: true}\n");
    story.repo.remove("manifests/web/config.yaml");
    story.repo.commit_and_push("prune");
    story.observer.wait("the ConfigMap is gone", |state| state.find(Kind::ConfigMap, "web").is_none());
}
