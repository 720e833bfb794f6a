//! The harness itself, seen to work without the agent: what stories rely on.

use std::sync::Arc;

use crate::support::fixture::AppFixture;
use crate::support::observer::Observer;
use crate::support::patience::{PATIENCE, until};
use crate::support::plane::{GitServer, Plane};
use crate::support::repo::Repo;
use crate::support::state::Kind;

const WORKLOADS: [Kind; 3] = [Kind::Deployment, Kind::Pod, Kind::ReplicaSet];

/// A Deployment that `kubectl` drives, and who watches it.
fn deployed(namespace: &str, tag: &str) -> (Arc<Plane>, Observer, String) {
    let plane = Plane::shared();
    let (observer, manifest) = deployed_on(&plane, namespace, tag);
    (plane, observer, manifest)
}

fn deployed_on(plane: &Plane, namespace: &str, tag: &str) -> (Observer, String) {
    plane.kubectl(&["create", "namespace", namespace]);
    let observer = Observer::start(plane, namespace, namespace, &WORKLOADS);
    let folder = crate::support::child::session_folder().join(namespace);
    let repo = Repo::create(&folder, &plane.git_root().join(format!("{namespace}.git")));
    AppFixture::new("web").rolling_update("1", "0").write(&repo, namespace);
    repo.edit("manifests/web/deployment.yaml", "web:0.0.0", &format!("web:{tag}"));
    let manifest = repo
        .read("manifests/web/deployment.yaml")
        .replace("  name: web\n  labels", &format!("  name: web\n  namespace: {namespace}\n  labels"));
    plane.apply(&manifest);
    observer.wait("ten pods are ready", |state| state.runs("web", tag, 10));
    (observer, manifest)
}

#[test]
fn parts_restart_at_their_addresses_and_the_observer_goes_on() {
    let plane = Plane::own();
    let (observer, _) = deployed_on(&plane, "h-restart", "1.0.0");
    for (number, line) in ["kill apiserver", "kill etcd", "kill controller-manager"].iter().enumerate() {
        plane.say(line);
        plane.say(&line.replace("kill", "start"));
        let replicas = 11 + number;
        plane.kubectl(&["-n", "h-restart", "scale", "deployment", "web", &format!("--replicas={replicas}")]);
        observer.wait(line, |state| state.runs("web", "1.0.0", replicas));
    }
    let node = observer.now(|state| state.live_pods().next().expect("there are pods").node().to_owned());
    plane.kubectl(&["drain", &node, "--ignore-daemonsets", "--force"]);
    observer.wait("the node is empty", |state| state.pods().all(|pod| pod.node() != node));
    observer.wait("the pods are elsewhere", |state| state.runs("web", "1.0.0", 13));
}

#[test]
fn the_observer_counts_pods_at_every_event() {
    let (plane, observer, manifest) = deployed("h-counts", "1.0.0");
    let start = observer.mark();
    plane.apply(&manifest.replace("web:1.0.0", "web:1.1.0"));
    observer.wait("all pods are new", |state| state.runs("web", "1.1.0", 10) && state.pods().count() == 10);
    let log = observer.log();
    assert_eq!(log.gaps, 0);
    assert_eq!(log.max(start, crate::support::state::State::replicas_total), 11, "{}", log.story());
    assert_eq!(log.max_pods(start, "1.1.0"), 10);
    assert!(log.min_ready(start) >= 10, "{}", log.story());
    assert_eq!(log.uids_of(start, "1.1.0").len(), 10);
    assert_eq!(log.deleted(start, Kind::Pod).len(), 10);
}

#[test]
fn the_observer_sees_crash_loops_and_untouched_pods() {
    let (plane, observer, manifest) = deployed("h-crash", "1.0.0");
    let start = observer.mark();
    plane.apply(&manifest.replace("web:1.0.0", "web:1.1.0-crash"));
    observer.wait("the new pod restarts", |state| state.pods().any(|pod| pod.restarts() > 1));
    let log = observer.log();
    log.assert_untouched(start, "1.0.0");
    assert_eq!(log.max_pods(start, "1.1.0-crash"), 1);
    plane.apply(&manifest);
    observer.wait("the old pods are alone again", |state| state.runs("web", "1.0.0", 10));
    observer.log().assert_untouched(start, "1.0.0");
}

#[test]
fn a_touched_pod_is_noticed() {
    let (plane, observer, _) = deployed("h-touched", "1.0.0");
    let start = observer.mark();
    let victim = observer.now(|state| state.pods().next().map(|pod| pod.name().to_owned())).expect("there are ten");
    plane.kubectl(&["-n", "h-touched", "delete", "pod", &victim]);
    observer.wait("the pod is replaced", |state| state.runs("web", "1.0.0", 10));
    let log = observer.log();
    let claim = std::panic::AssertUnwindSafe(|| log.assert_untouched(start, "1.0.0"));
    assert!(std::panic::catch_unwind(claim).is_err());
}

#[test]
fn a_repository_is_served_over_http_and_its_server_can_die() {
    let folder = crate::support::child::session_folder().join("h-repo");
    let root = folder.join("served");
    std::fs::create_dir_all(&root).expect("the session folder can be written");
    let repo = Repo::create(&folder.join("copy"), &root.join("it.git"));
    AppFixture::new("web").write(&repo, "somewhere");
    let first = repo.commit_and_push("web 1.0.0");
    let second = repo.bump("web", "1.1.0");
    assert!(repo.read("apps/web.yaml").contains("  version: 1.1.0\n"));
    let server = GitServer::start(&root);
    let url = server.url("it.git");
    let remote = || repo.git(&["ls-remote", &url, "refs/heads/main"]);
    assert_eq!(remote().split_whitespace().next(), Some(second.as_str()));
    let third = repo.revert(&second);
    assert!(repo.read("apps/web.yaml").contains("  version: 1.0.0\n"));
    assert_eq!(remote().split_whitespace().next(), Some(third.as_str()));
    repo.force_push_back_to(&first);
    assert_eq!(remote().split_whitespace().next(), Some(first.as_str()));
    server.say("git down");
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(remote)).is_err());
    server.say("git up");
    assert_eq!(remote().split_whitespace().next(), Some(first.as_str()));
    repo.delete_remote_branch("main");
    assert_eq!(remote(), "");
}

#[test]
fn prometheus_sees_the_errors_of_a_bad_version() {
    let (plane, _observer, manifest) = deployed("h-metrics", "1.0.0");
    plane.apply(&manifest.replace("web:1.0.0", "web:1.1.0-errors-20"));
    let share = |version: &str| {
        let select = |more: &str| {
            format!("sum(rate(app_requests_total{{namespace=\"h-metrics\",version=\"{version}\"{more}}}[2s]))")
        };
        let answer = plane.prometheus().query(&format!("{} / {}", select(",code=\"500\""), select("")));
        answer["data"]["result"][0]["value"][1].as_str().and_then(|text| text.parse::<f64>().ok())
    };
    let is_bad = || share("1.1.0-errors-20").is_some_and(|share| (0.15..0.25).contains(&share));
    assert!(until(PATIENCE, is_bad), "{:?}", share("1.1.0-errors-20"));
}
