//! The first sync of N apps, as a fraction of what the API server itself can take, measured in the same run.
//!
//! `cargo run --profile quick --example bench -- [N]`. The raw limit is the server-side apply of the same objects with 32
//! in flight, before and after, into namespaces of their own; see docs/benchmarks.md for what the ratio means.
#![allow(clippy::print_stdout, reason = "its output is its result")]

use std::time::{Duration, Instant};

mod fleet;
#[path = "../support/mod.rs"]
mod support;

use fleet::Fleet;
use support::agent::{Agent, Settings};
use support::child::session_folder;
use support::observer::Observer;
use support::patience::until;
use support::plane::Plane;
use support::repo::Repo;
use support::state::{Kind, State};

/// Apps when none are named: what two cores sync in a few seconds.
const APPS_DEFAULT: usize = 100;

/// The kinds of an app's objects.
const OBJECTS: [Kind; 4] = [Kind::ConfigMap, Kind::Deployment, Kind::Service, Kind::ServiceAccount];

/// The longest that a first sync may take before the bench gives up, per app and at least.
const LIMIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(120));

fn main() {
    let apps = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(APPS_DEFAULT);
    let fleet = Fleet::new(apps);
    let plane = Plane::own();
    plane.install_crds();

    let before = fleet.apply_raw(&plane, "raw-before");
    let sync = first_sync(&plane, &fleet);
    let after = fleet.apply_raw(&plane, "raw-after");

    let objects = as_f64(fleet.objects());
    let raw = (before + after) / 2.0;
    let per_second = objects / raw;
    let state_writes = sync.records + sync.statuses + sync.releases;
    let required = objects + state_writes;
    let (count, writes) = (fleet.objects(), sync.object_writes + state_writes);
    let (ratio, per_app) = (required / per_second / sync.seconds, state_writes / as_f64(apps));
    println!(
        "bench raw-apply objects={count} seconds={raw:.2} before={before:.2} after={after:.2} per_second={per_second:.0}"
    );
    println!(
        "bench first-sync N={apps} ratio={ratio:.2} seconds={:.2} writes={writes:.0} writes_per_app={per_app:.2} \
         records={:.0} statuses={:.0} releases={:.0} objects_seconds={:.2} events={:.0} renders={:.0}",
        sync.seconds, sync.records, sync.statuses, sync.releases, sync.objects_seconds, sync.events, sync.renders
    );
}

/// What the agent's first sync took.
struct Sync {
    /// From the agent's start to the last object.
    objects_seconds: f64,
    /// From the agent's start until every app is settled.
    seconds: f64,
    /// Applies of the apps' objects, as the API server counted them.
    object_writes: f64,
    /// Writes of Application resources.
    records: f64,
    /// Writes of their status.
    statuses: f64,
    /// Writes of kept Releases.
    releases: f64,
    /// Kubernetes Events written meanwhile, by whomever.
    events: f64,
    /// Apps rendered.
    renders: f64,
}

fn first_sync(plane: &Plane, fleet: &Fleet) -> Sync {
    const NAMESPACES: [&str; 2] = ["fleet", "tidegate"];
    for namespace in NAMESPACES {
        plane.kubectl(&["create", "namespace", namespace]);
    }
    let bare = plane.git_root().join("fleet.git");
    let repo = Repo::create(&session_folder().join("fleet"), &bare);
    fleet.write(&repo, NAMESPACES[0]);
    repo.commit_and_push("all apps");
    let kinds: Vec<Kind> = OBJECTS.into_iter().chain([Kind::Application]).collect();
    let observer = Observer::start(plane, NAMESPACES[0], NAMESPACES[1], &kinds);
    let limit = LIMIT.1.max(LIMIT.0 * u32::try_from(fleet.apps()).expect("fleets are small"));

    let counted = Counted::now(plane);
    let begun = Instant::now();
    let agent = Agent::launch(Settings {
        repository: plane.git_url("fleet.git"),
        namespace: NAMESPACES[1].to_owned(),
        owner: "bench".to_owned(),
        identity: "bench".to_owned(),
        kubeconfig: plane.kubeconfig().to_owned(),
        providers: std::collections::BTreeMap::new(),
        folder: session_folder().join("agent"),
        poll_interval: "5s",
        extra: Vec::new(),
    });
    let objects = || observer.now(|state| OBJECTS.iter().all(|kind| fleet.count(state, *kind) == fleet.apps()));
    assert!(until(limit, objects), "the objects did not arrive in {limit:?}\n{}", agent.log_tail(40));
    let objects_seconds = begun.elapsed().as_secs_f64();
    let settled = |state: &State| state.all(Kind::Application).filter(|app| is_settled(app)).count();
    assert!(
        until(limit, || observer.now(settled) == fleet.apps()),
        "{} of {} apps settled in {limit:?}\n{}",
        observer.now(settled),
        fleet.apps(),
        agent.log_tail(40)
    );
    let seconds = begun.elapsed().as_secs_f64();
    let counted = Counted::now(plane).since(&counted);
    let renders = agent.metric("tidegate_renders_total", &[]);
    agent.stop();
    let Counted { objects: object_writes, records, statuses, releases, events } = counted;
    Sync { objects_seconds, seconds, object_writes, records, statuses, releases, events, renders }
}

fn is_settled(app: &serde_json::Value) -> bool {
    support::application::App(app).is_settled()
}

/// Writes as the API server counts them.
struct Counted {
    objects: f64,
    records: f64,
    statuses: f64,
    releases: f64,
    events: f64,
}

impl Counted {
    fn now(plane: &Plane) -> Self {
        let text = plane.raw("/metrics");
        let sum = |has: &dyn Fn(&str) -> bool| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with("apiserver_request_total{"));
            let writes = lines.filter(|line| {
                ["POST", "PUT", "PATCH", "APPLY", "DELETE"]
                    .iter()
                    .any(|verb| line.contains(&format!("verb=\"{verb}\"")))
            });
            writes.filter(|line| has(line)).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        let resource = |line: &str, name: &str| line.contains(&format!("resource=\"{name}\""));
        let is_app = |line: &str| line.contains("group=\"tidegate.dev\"");
        let is_status = |line: &str| line.contains("subresource=\"status\"");
        let plain = ["configmaps", "deployments", "services", "serviceaccounts"];
        Self {
            // Only the agent and the raw run apply; controllers create and update.
            objects: sum(&|line| line.contains("verb=\"APPLY\"") && plain.iter().any(|name| resource(line, name))),
            // Nobody else writes these in a cluster without users.
            records: sum(&|line| is_app(line) && !is_status(line)),
            statuses: sum(&|line| is_app(line) && is_status(line)),
            releases: sum(&|line| resource(line, "secrets")),
            events: sum(&|line| resource(line, "events")),
        }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            objects: self.objects - earlier.objects,
            records: self.records - earlier.records,
            statuses: self.statuses - earlier.statuses,
            releases: self.releases - earlier.releases,
            events: self.events - earlier.events,
        }
    }
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("fleets are small"))
}
