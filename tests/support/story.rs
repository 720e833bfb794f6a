//! One story: a namespace of apps, a repository, an agent and an observer of its own on a control plane.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::agent::{Agent, Settings, program};
use super::application::App;
use super::child::session_folder;
use super::fixture::{AppFixture, HELD_SECOND_WAVE};
use super::gatekeeper::Gatekeeper;
use super::log::Mark;
use super::observer::Observer;
use super::plane::Plane;
use super::repo::Repo;
use super::state::Kind;

/// Everything that a story acts on. Dropped at its end: the agent is killed, the namespaces are deleted in passing, and a
/// story that failed prints what it saw.
pub(crate) struct Story {
    /// The control plane.
    pub(crate) plane: Arc<Plane>,
    /// Where the apps' objects are.
    pub(crate) namespace: String,
    /// Where the Application resources are.
    pub(crate) agent_namespace: String,
    /// The repository.
    pub(crate) repo: Repo,
    /// What watches on its own.
    pub(crate) observer: Observer,
    /// The agent, once started.
    agent: Option<Agent>,
    folder: PathBuf,
    repository_url: String,
}

impl Story {
    /// A story on the shared control plane.
    pub(crate) fn begin(name: &str) -> Self {
        Self::begin_on(Plane::shared(), name)
    }

    /// A story on this control plane.
    pub(crate) fn begin_on(plane: Arc<Plane>, name: &str) -> Self {
        let agent_namespace = format!("tg-{name}");
        plane.install_crds();
        plane.kubectl(&["create", "namespace", &agent_namespace]);
        Self::begin_in(plane, name, agent_namespace)
    }

    /// A story on a control plane that has our CRDs and the agent's namespace already.
    pub(crate) fn begin_in(plane: Arc<Plane>, name: &str, agent_namespace: String) -> Self {
        static STORIES: AtomicUsize = AtomicUsize::new(0);
        let number = STORIES.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("t-{name}-{number}");
        plane.kubectl(&["create", "namespace", &namespace]);
        let folder = session_folder().join(format!("{name}-{number}"));
        let bare = format!("{name}-{number}.git");
        let repo = Repo::create(&folder.join("repository"), &plane.git_root().join(&bare));
        let repository_url = plane.git_url(&bare);
        let observer = Observer::start(&plane, &namespace, &agent_namespace, &Kind::ALL);
        Self { plane, namespace, agent_namespace, repo, observer, agent: None, folder, repository_url }
    }

    /// Starts the agent on a repository with one app, and waits until that app is settled.
    pub(crate) fn begin_with(name: &str, app: &AppFixture) -> Self {
        let mut story = Self::begin(name);
        story.seed(app);
        story
    }

    /// Commits one app, starts the agent, and waits until the app is settled.
    #[track_caller]
    pub(crate) fn seed(&mut self, app: &AppFixture) {
        app.write(&self.repo, &self.namespace);
        self.repo.commit_and_push(&format!("{} {}", app.name, app.version));
        self.start_agent();
        self.wait_settled(&app.name, &app.version);
    }

    /// Starts the agent as the administrator, with the control plane's Git server.
    pub(crate) fn start_agent(&mut self) {
        let settings = self.settings();
        self.start_agent_with(settings);
    }

    /// Starts the agent with the control plane's Prometheus as provider `prometheus`.
    pub(crate) fn start_agent_with_prometheus(&mut self) {
        let mut settings = self.settings();
        settings.providers = BTreeMap::from([("prometheus".to_owned(), self.plane.prometheus().url())]);
        self.start_agent_with(settings);
    }

    /// Starts the agent with a provider `story` whose answers the story decides.
    pub(crate) fn start_agent_with_gate(&mut self) -> Gatekeeper {
        let gate = Gatekeeper::start();
        let mut settings = self.settings();
        settings.providers = BTreeMap::from([("story".to_owned(), gate.url())]);
        self.start_agent_with(settings);
        gate
    }

    /// A story that is in the middle of a rollout: ten pods of 1.0.0 stand, three of 1.1.0 are Ready beside them, and
    /// they wait for the gate of the second wave.
    #[track_caller]
    pub(crate) fn in_mid_rollout(name: &str) -> (Self, Gatekeeper, Mark) {
        Self::in_mid_rollout_on(Plane::shared(), name, &AppFixture::new("web"))
    }

    /// As [`Story::in_mid_rollout`], on this control plane and with this app.
    #[track_caller]
    pub(crate) fn in_mid_rollout_on(plane: Arc<Plane>, name: &str, app: &AppFixture) -> (Self, Gatekeeper, Mark) {
        let mut story = Self::begin_on(plane, name);
        app.clone().plan(HELD_SECOND_WAVE).write(&story.repo, &story.namespace);
        story.repo.commit_and_push("web 1.0.0");
        let gate = story.start_agent_with_gate();
        story.wait_settled("web", "1.0.0");
        let start = story.mark();
        story.repo.bump("web", "1.1.0");
        story.wait_wave("web", "1.1.0", 1);
        (story, gate, start)
    }

    /// Claims that a Deployment has what Git declares again, and nothing of a hold.
    #[track_caller]
    pub(crate) fn assert_declared_pace(&self, deployment: &str) {
        let spec = self.observer.now(|state| state.deployment(deployment).expect("it exists")["spec"].clone());
        assert_eq!(spec["minReadySeconds"].as_i64().unwrap_or(0), 0, "{spec:#}");
        assert_eq!(spec["progressDeadlineSeconds"], 600, "{spec:#}");
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxSurge"], "25%", "{spec:#}");
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], "25%", "{spec:#}");
        assert!(!spec["paused"].as_bool().unwrap_or(false), "{spec:#}");
    }

    /// Starts the agent with these settings.
    pub(crate) fn start_agent_with(&mut self, settings: Settings) {
        self.agent = Some(Agent::start(settings));
    }

    /// Starts the agent without waiting until it is ready.
    pub(crate) fn start_agent_unready(&mut self, settings: Settings) {
        self.agent = Some(Agent::launch(settings));
    }

    /// The agent's usual settings.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            repository: self.repository_url.clone(),
            namespace: self.agent_namespace.clone(),
            owner: self.agent_namespace.clone(),
            identity: "first".to_owned(),
            kubeconfig: self.plane.kubeconfig().to_owned(),
            providers: BTreeMap::new(),
            folder: self.folder.join("agent"),
            poll_interval: "300ms",
            extra: Vec::new(),
        }
    }

    /// Makes the pod that an agent is to take for its own, and gives the arguments that tell it so.
    #[track_caller]
    pub(crate) fn play_pod(&self, name: &str) -> Vec<String> {
        // As the shipped namespace wants its pods.
        let spec = serde_json::json!({"spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": name, "image": "tidegate:1",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}});
        let labels = "--labels=app.kubernetes.io/name=tidegate";
        self.kubectl_agent(&format!("run {name} --image=tidegate:1 {labels} --overrides={spec}"));
        vec!["--pod".to_owned(), name.to_owned()]
    }

    /// The agent.
    #[track_caller]
    pub(crate) fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("the story has started its agent")
    }

    /// A folder of this story.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Name of the bare repository below the control plane's Git root.
    pub(crate) fn bare_name(&self) -> &str {
        self.repository_url.rsplit('/').next().unwrap_or_default()
    }

    /// Waits until an app is settled on a version, as Git declares it.
    #[track_caller]
    pub(crate) fn wait_settled(&self, app: &str, version: &str) {
        self.wait_app(app, &format!("is settled on {version}"), |app| app.is_settled_on(version));
    }

    /// Waits until a version is held after its revert, and nothing is under way.
    #[track_caller]
    pub(crate) fn wait_held(&self, app: &str, version: &str) {
        self.wait_app(app, &format!("holds {version}"), |app| app.holds(version));
    }

    /// Waits until the rollout of a version is in wave `index` (from 0) with that wave's pods Ready.
    #[track_caller]
    pub(crate) fn wait_wave(&self, app: &str, version: &str, index: usize) {
        self.wait_app(app, &format!("has wave {index} of {version} ready"), |app| app.is_in_wave(version, index));
    }

    /// Waits until a claim about an Application resource is true.
    #[track_caller]
    pub(crate) fn wait_app(&self, app: &str, what: &str, claim: impl Fn(App<'_>) -> bool) {
        self.observer.wait(&format!("app {app} {what}"), |state| state.app(app).is_some_and(&claim));
    }

    /// Reads an Application resource as the observer knows it.
    #[track_caller]
    pub(crate) fn app<T>(&self, app: &str, read: impl FnOnce(App<'_>) -> T) -> T {
        self.observer.now(|state| read(state.app(app).expect("the Application resource exists")))
    }

    /// This moment.
    pub(crate) fn mark(&self) -> Mark {
        self.observer.mark()
    }

    /// `kubectl` in the apps' namespace; words are separated by blanks.
    #[track_caller]
    pub(crate) fn kubectl(&self, line: &str) -> String {
        let mut words = vec!["-n", &self.namespace];
        words.extend(line.split_whitespace());
        self.plane.kubectl(&words)
    }

    /// `kubectl` in the agent's namespace.
    #[track_caller]
    pub(crate) fn kubectl_agent(&self, line: &str) -> String {
        let mut words = vec!["-n", &self.agent_namespace];
        words.extend(line.split_whitespace());
        self.plane.kubectl(&words)
    }

    /// Kubernetes Events on our Application resources, as `type reason name: message`.
    pub(crate) fn events(&self) -> Vec<String> {
        let list = self.kubectl_agent("get events -o json");
        let list: serde_json::Value = serde_json::from_str(&list).expect("kubectl gives JSON");
        let is_ours = |event: &&serde_json::Value| event["involvedObject"]["kind"] == "Application";
        let items = list["items"].as_array().into_iter().flatten().filter(is_ours);
        let text = |event: &serde_json::Value| {
            let (kind, reason, message) = (&event["type"], &event["reason"], &event["message"]);
            format!("{kind} {reason} {}: {message}", event["involvedObject"]["name"]).replace('"', "")
        };
        items.map(text).collect()
    }

    /// Our own command line as a user has it: standard output, standard error, and the exit code.
    pub(crate) fn tidegate(&self, line: &str) -> (String, String, i32) {
        let output = Command::new(program())
            .args(line.split_whitespace())
            .args(["--namespace", &self.agent_namespace])
            .env("KUBECONFIG", self.plane.kubeconfig())
            .output()
            .expect("tidegate starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.code().unwrap_or(-1))
    }

    fn diagnostics(&self) -> String {
        let get = |namespace: &str, what: &[&str]| {
            let mut words = vec!["-n", namespace, "get"];
            words.extend(what);
            let output = self.plane.kubectl_output(&words, "");
            format!("$ kubectl {}\n{}\n", words.join(" "), String::from_utf8_lossy(&output.stdout))
        };
        let mut text = get(&self.agent_namespace, &["tgapp", "-o", "yaml"]);
        text += &get(&self.namespace, &["deployments,replicasets,pods", "-o", "wide"]);
        text += &get(&self.namespace, &["deployments", "-o", "yaml"]);
        text += &get(&self.agent_namespace, &["events", "--sort-by=.lastTimestamp"]);
        text += &self.observer.log().story();
        let validate = Command::new(program()).arg("validate").arg(self.repo.folder()).output();
        text += &validate.map_or_else(
            |error| error.to_string(),
            |output| format!("$ tidegate validate\n{}", String::from_utf8_lossy(&output.stdout)),
        );
        if let Some(agent) = &self.agent {
            text += &agent.figures();
            text += &agent.log_tail(80);
        }
        text
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.diagnostics());
        }
        self.agent = None;
        let arguments =
            ["delete", "namespace", "--wait=false", "--ignore-not-found", &self.namespace, &self.agent_namespace];
        let _ = self.plane.kubectl_output(&arguments, "");
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
