//! What every measurement stands on: the control plane, the apps in Git, an independent watcher, and the agent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fleet::Fleet;
use super::process::Process;
use super::served::Served;
use super::support::agent::{Agent, Settings};
use super::support::child::session_folder;
use super::support::observer::Observer;
use super::support::patience::PATIENCE;
use super::support::plane::Plane;
use super::support::repo::Repo;
use super::support::state::{Kind, State};
use super::tally::Tally;

/// The kinds of an app's objects.
pub(crate) const OBJECTS: [Kind; 4] = [Kind::ConfigMap, Kind::Deployment, Kind::Service, Kind::ServiceAccount];

/// Namespace of the apps' objects.
pub(crate) const FLEET: &str = "fleet";

/// Namespace of the agent.
pub(crate) const HOME: &str = "tidegate";

/// The product's own default.
pub(crate) const POLL_INTERVAL: (&str, Duration) = ("5s", Duration::from_secs(5));

/// Quiet is when nothing was done for so long: twice the time in which Git is looked at.
const QUIET: Duration = Duration::from_secs(10);

/// The longest that the whole fleet may take for anything, per app and at least.
const LIMIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(180));

/// All that a measurement needs.
pub(crate) struct Scene {
    pub(crate) agent: Agent,
    pub(crate) observer: Observer,
    pub(crate) repo: Repo,
    pub(crate) fleet: Fleet,
    pub(crate) plane: Arc<Plane>,
    /// When the agent was started.
    pub(crate) launched: Instant,
    /// What the API server had counted by then.
    pub(crate) served: Served,
}

impl Scene {
    /// Pushes the apps, starts to watch, and launches the agent last of all.
    pub(crate) fn start(plane: Arc<Plane>, fleet: Fleet) -> Self {
        for namespace in [FLEET, HOME] {
            plane.kubectl(&["create", "namespace", namespace]);
        }
        let folder = session_folder();
        for left in ["fleet", "agent"] {
            let _ = std::fs::remove_dir_all(folder.join(left));
        }
        let repo = Repo::create(&folder.join("fleet"), &plane.git_root().join("fleet.git"));
        fleet.write(&repo, FLEET);
        repo.commit_and_push("all apps");
        let kinds: Vec<Kind> = OBJECTS.into_iter().chain([Kind::Application]).collect();
        let observer = Observer::start(&plane, FLEET, HOME, &kinds);
        let settings = Settings {
            repository: plane.git_url("fleet.git"),
            namespace: HOME.to_owned(),
            owner: "bench".to_owned(),
            identity: "bench".to_owned(),
            kubeconfig: plane.kubeconfig().to_owned(),
            providers: BTreeMap::new(),
            folder: folder.join("agent"),
            poll_interval: POLL_INTERVAL.0,
            extra: Vec::new(),
        };
        let served = Served::now(&plane);
        let launched = Instant::now();
        let agent = Agent::launch(settings);
        Self { agent, observer, repo, fleet, plane, launched, served }
    }

    /// The agent's process.
    pub(crate) fn process(&self) -> Process {
        Process(self.agent.process_id())
    }

    /// How long the whole fleet may take for anything.
    pub(crate) fn limit(&self) -> Duration {
        LIMIT.1.max(LIMIT.0 * u32::try_from(self.fleet.apps()).expect("fleets are small"))
    }

    /// Waits for the event that makes a claim true; gives when it was seen.
    #[track_caller]
    pub(crate) fn await_event(&self, what: &str, claim: impl Fn(&State) -> bool) -> Instant {
        // The observer's own waits tell their whole story when they fail, and a fleet's is endless.
        let is_missing = self.observer.stays(PATIENCE, |state| !claim(state));
        let seen = Instant::now();
        assert!(!is_missing, "waited {PATIENCE:?} in vain until {what}\n{}", self.agent.log_tail(40));
        seen
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.observer.stays(time, |_| true);
    }

    /// Waits until the agent has nothing left to do.
    pub(crate) fn await_quiet(&self) {
        let deadline = Instant::now() + self.limit();
        let mut before = Tally::now(self);
        loop {
            self.pass(QUIET);
            let now = Tally::now(self);
            let done = now.since(&before);
            if done.passes == 0.0 && done.writes_of_state == 0.0 {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the agent is not quiet after {:?}: {} passes and {} writes of state in {QUIET:?}\n{}",
                self.limit(),
                done.passes,
                done.writes_of_state,
                self.agent.log_tail(40)
            );
            before = now;
        }
    }

    /// Says that Git may have moved, as a webhook does.
    pub(crate) fn hint(&self) {
        let path = format!("/api/v1/applications/{}?refresh=normal", Fleet::name(0));
        let (status, body) = self.agent.get(&path);
        assert_eq!(status, 200, "the agent's API answers {path} with {body}");
    }
}
