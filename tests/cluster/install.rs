//! The installation as shipped in `deploy/`: the agent's whole story with exactly that service account's rights.

use std::path::Path;

use crate::support::fixture::AppFixture;
use crate::support::plane::Plane;
use crate::support::story::Story;

/// Namespace and service account of `deploy/`.
const NAMESPACE: &str = "tidegate";

#[test]
fn the_shipped_installation_has_all_rights_that_the_agent_needs() {
    let plane = Plane::own();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let base = base.to_str().expect("paths are text");
    // A CRD and objects of its kind, or a namespace and what is in it, arrive together: the order is kustomize's.
    plane.kubectl(&["apply", "--server-side", "-k", base]);
    plane.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "applications.tidegate.dev"]);
    // The Deployment of the base would run a second agent, were there an image; the played nodes run none.
    plane.kubectl(&["-n", NAMESPACE, "scale", "deployment", "tidegate", "--replicas=0"]);

    let mut story = Story::begin_in(plane, "install", NAMESPACE.to_owned());
    let token = story.plane.kubectl(&["-n", NAMESPACE, "create", "token", "tidegate", "--duration=1h"]);
    let kubeconfig = story.folder().join("kubeconfig");
    story.plane.kubeconfig_of(token.trim(), &kubeconfig);
    let mut settings = story.settings();
    settings.kubeconfig = kubeconfig;
    settings.extra = story.play_pod("first");
    AppFixture::new("web").spec("sync: {prune: true}").write(&story.repo, &story.namespace);
    story.repo.commit_and_push("web 1.0.0");
    story.start_agent_with(settings);
    story.wait_settled("web", "1.0.0");

    let start = story.mark();
    story.repo.bump("web", "1.1.0");
    story.wait_settled("web", "1.1.0");
    story.observer.log().assert_contained(start, "web", "1.1.0", &[1, 3, 10]);

    let start = story.mark();
    story.repo.bump("web", "1.2.0-crash");
    story.wait_held("web", "1.2.0-crash");
    story.observer.log().assert_untouched(start, "1.1.0");

    // Drift, pruning, and an addition that only a JSON patch removes.
    story.kubectl(r#"patch configmap web --type=merge -p {"data":{"greeting":"drifted"}}"#);
    story.observer.wait("the value is put back", |state| state.config("web", "greeting") == Some("hello"));
    story.kubectl("set env deployment/web DEBUG=yes");
    story.observer.wait("the variable is gone", |state| {
        let web = state.deployment("web").expect("it exists");
        !web["spec"]["template"].to_string().contains("DEBUG")
    });
    story.repo.remove("manifests/web/config.yaml");
    story.repo.bump("web", "1.3.0");
    story.wait_settled("web", "1.3.0");
    assert!(story.observer.now(|state| state.config("web", "greeting").is_none()));

    let role = story.kubectl_agent("get pod first -o jsonpath={.metadata.labels.tidegate\\.dev/role}");
    assert_eq!(role, "leader", "the Service finds it");

    let events = story.kubectl_agent("get events -o name");
    assert!(!events.is_empty(), "it may write Events");
    let log = story.agent().log();
    assert!(!log.contains("orbidden"), "nothing that it tries is refused:\n{}", story.agent().log_tail(80));
}
