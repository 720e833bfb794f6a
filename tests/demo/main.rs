//! The demo: a real rollout on a real control plane, narrated as it happens.
//!
//! `cargo run --example demo -- [--fast]`. Starts everything in a temporary folder, tells the story of `tale.rs`, then goes
//! on so that a user can commit and watch; Ctrl-C stops and cleans everything. `--fast` ends after the story: with 0, or with
//! something else when the story did not come out as told.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod narrator;
#[path = "../support/mod.rs"]
mod support;
mod tale;

use support::agent::{Agent, Settings};
use support::child::{at_exit, session_folder, target_folder};
use support::observer::Observer;
use support::plane::{Plane, program, runtime};
use support::repo::Repo;
use support::state::Kind;

use narrator::Narrator;

/// Where the apps' objects are, as `manifests/` says.
const NAMESPACE: &str = "demo";
/// Where the Application resources are.
const AGENT_NAMESPACE: &str = "tidegate";
/// What the demo needs to see.
const KINDS: [Kind; 4] = [Kind::Application, Kind::Deployment, Kind::Pod, Kind::ReplicaSet];

/// Everything that runs.
pub(crate) struct Demo {
    /// The control plane.
    pub(crate) plane: Arc<Plane>,
    /// The user's working copy.
    pub(crate) repo: Repo,
    /// What watches.
    pub(crate) observer: Observer,
    /// The agent.
    pub(crate) agent: Arc<Agent>,
}

fn main() {
    let is_fast = std::env::args().any(|word| word == "--fast");
    // From here on, whatever ends this process stops what it started.
    runtime().spawn(exit_when_told());
    println!("starting a Kubernetes control plane, Prometheus and a Git server on loopback ports");
    let demo = start();
    let narrator = Narrator::new(&demo.observer);
    let is_as_told = tale::tell(&demo, &narrator);
    if is_fast || !is_as_told {
        println!("\n{}", if is_as_told { "that was all of it" } else { "this is not the story that was to be told" });
        std::process::exit(i32::from(!is_as_told));
    }
    println!(
        "\nnow you: edit {}/apps/web/application.yaml, commit, `git push`, and watch",
        demo.repo.folder().display()
    );
    println!("Ctrl-C stops everything and removes it\n");
    narrator.narrate_for_ever();
}

fn start() -> Demo {
    let plane = Plane::own();
    let kept = Arc::clone(&plane);
    at_exit(move || kept.stop());
    plane.install_crds();
    for namespace in [NAMESPACE, AGENT_NAMESPACE] {
        plane.kubectl(&["create", "namespace", namespace]);
    }
    let repo = seeded(&plane);
    let agent = Arc::new(Agent::start(Settings {
        repository: plane.git_url("demo.git"),
        namespace: AGENT_NAMESPACE.to_owned(),
        owner: "demo".to_owned(),
        identity: "demo".to_owned(),
        kubeconfig: plane.kubeconfig().to_owned(),
        providers: BTreeMap::from([("prometheus".to_owned(), plane.prometheus().url())]),
        folder: session_folder().join("agent"),
        poll_interval: "500ms",
        extra: Vec::new(),
    }));
    let kept = Arc::clone(&agent);
    at_exit(move || kept.stop());
    let observer = Observer::start(&plane, NAMESPACE, AGENT_NAMESPACE, &KINDS);
    let demo = Demo { plane, repo, observer, agent };
    hand_over(&demo);
    demo
}

/// A repository with a copy of `manifests/`, ready for a user's own commits.
fn seeded(plane: &Plane) -> Repo {
    let repo = Repo::create(&session_folder().join("repository"), &plane.git_root().join("demo.git"));
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    for file in files_below(&manifests) {
        let text = std::fs::read_to_string(&file).expect("manifests are text");
        let path = file.strip_prefix(&manifests).expect("it was found there");
        repo.write(path.to_str().expect("paths are text"), &text);
    }
    for (name, value) in [("user.name", "You"), ("user.email", "you@example.com"), ("push.default", "current")] {
        repo.git(&["config", name, value]);
    }
    repo.commit_and_push("web and api 1.0.0");
    repo
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder can be read").flatten();
    let paths = entries.map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Tells the user how to look by themselves, on the screen and in `target/demo/env` while the demo runs.
fn hand_over(demo: &Demo) {
    let (url, token) = (format!("http://{}", demo.agent.api_address()), demo.agent.token());
    let (repo, kubeconfig) = (demo.repo.folder().display(), demo.plane.kubeconfig().display());
    let folder = target_folder().join("demo");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let file = folder.join("env");
    let lines = format!("URL={url}\nTOKEN={token}\nREPO={repo}\nKUBECONFIG={kubeconfig}\n");
    std::fs::write(&file, lines).expect("the target folder can be written");
    println!("\nstatus      curl -H 'Authorization: Bearer {token}' {url}/api/v1/applications/web");
    println!("repository  {repo}");
    println!("cluster     export KUBECONFIG={kubeconfig}");
    println!("            {} kubectl -n {AGENT_NAMESPACE} get tgapps", program().display());
    println!("as lines    . {}\n", file.display());
    at_exit(move || {
        let _ = std::fs::remove_file(file);
    });
}

/// Ctrl-C or SIGTERM: the exit hooks stop everything.
async fn exit_when_told() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be handled");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    println!("\nstopping everything");
    std::process::exit(0);
}
