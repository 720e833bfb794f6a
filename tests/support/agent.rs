//! The agent as a child process: started, killed, restarted, and read over HTTP.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;

use super::child::{OnDeath, end, lock, signal, spawn, target_folder};
use super::http;
use super::patience::{PATIENCE, until};

/// What the agent is told.
#[derive(Clone)]
pub(crate) struct Settings {
    /// URL or path of the repository.
    pub(crate) repository: String,
    /// Namespace of its Application resources.
    pub(crate) namespace: String,
    /// Owner id.
    pub(crate) owner: String,
    /// Who it is to other replicas: the same again after a restart, as a pod's name is.
    pub(crate) identity: String,
    /// Kubeconfig that it runs with.
    pub(crate) kubeconfig: PathBuf,
    /// Metrics providers by name.
    pub(crate) providers: BTreeMap<String, String>,
    /// Folder for its clone, log and token.
    pub(crate) folder: PathBuf,
    /// Time between two polls.
    pub(crate) poll_interval: &'static str,
    /// Further arguments.
    pub(crate) extra: Vec<String>,
}

/// A running agent.
pub(crate) struct Agent {
    settings: Settings,
    token: String,
    running: Mutex<Option<Running>>,
}

struct Running {
    child: Child,
    /// Where its log began in the log file.
    log_from: usize,
    api: Option<SocketAddr>,
    ops: Option<SocketAddr>,
}

impl Agent {
    /// Starts an agent and waits until it is ready.
    pub(crate) fn start(settings: Settings) -> Self {
        let agent = Self::launch(settings);
        agent.await_ready();
        agent
    }

    /// Starts an agent.
    pub(crate) fn launch(settings: Settings) -> Self {
        let token = format!("token-of-{}", settings.owner);
        std::fs::create_dir_all(&settings.folder).expect("the session folder can be written");
        std::fs::write(settings.folder.join("token"), &token).expect("the session folder can be written");
        let agent = Self { settings, token, running: Mutex::new(None) };
        agent.start_again();
        agent
    }

    /// Starts it (again), without waiting.
    pub(crate) fn start_again(&self) {
        let settings = &self.settings;
        let log = OpenOptions::new().create(true).append(true).open(self.log_file()).expect("the log can be written");
        let log_from = usize::try_from(log.metadata().map_or(0, |metadata| metadata.len())).unwrap_or(0);
        let mut command = Command::new(program());
        command
            .args(["agent", "--branch", "main", "--poll-interval", settings.poll_interval])
            .args(["--repository", &settings.repository])
            .args(["--namespace", &settings.namespace, "--owner", &settings.owner])
            .args(["--identity", &settings.identity])
            .args(["--api-address", "127.0.0.1:0", "--ops-address", "127.0.0.1:0"])
            .arg("--token-file")
            .arg(settings.folder.join("token"))
            .arg("--store")
            .arg(self.store())
            .args(settings.providers.iter().map(|(name, url)| format!("--provider={name}={url}")))
            .args(&settings.extra)
            .env("KUBECONFIG", &settings.kubeconfig)
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(copy(&log))
            .stderr(log);
        let child = spawn(command, OnDeath::Kill).expect("the agent starts");
        *lock(&self.running) = Some(Running { child, log_from, api: None, ops: None });
    }

    /// Its process id, while it runs.
    #[track_caller]
    pub(crate) fn process_id(&self) -> u32 {
        lock(&self.running).as_ref().map(|running| running.child.id()).expect("the agent runs")
    }

    /// The folder of its clone.
    pub(crate) fn store(&self) -> PathBuf {
        self.settings.folder.join("store")
    }

    /// SIGKILL: no chance to clean up.
    pub(crate) fn sigkill(&self) {
        if let Some(mut running) = lock(&self.running).take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    /// SIGSTOP: it does nothing more, and knows nothing of it.
    pub(crate) fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// SIGCONT: it goes on where it was.
    pub(crate) fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, number: i32) {
        if let Some(running) = &*lock(&self.running) {
            signal(&running.child, number);
        }
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&self) {
        if let Some(mut running) = lock(&self.running).take() {
            signal(&running.child, libc::SIGTERM);
            end(&mut running.child, Duration::from_secs(10));
        }
    }

    /// SIGKILL and a new start, ready again.
    pub(crate) fn restart(&self) {
        self.sigkill();
        self.start_again();
        self.await_ready();
    }

    /// Address of the API.
    #[track_caller]
    pub(crate) fn api_address(&self) -> SocketAddr {
        self.learn("api listening", |running| &mut running.api)
    }

    /// Address of `/healthz`, `/readyz` and `/metrics`.
    #[track_caller]
    pub(crate) fn ops_address(&self) -> SocketAddr {
        self.learn("ops listening", |running| &mut running.ops)
    }

    /// The API's bearer token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// GETs a path of the API with the token: status and JSON body.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        let answer = http::get(self.api_address(), path, Some(&self.token)).expect("the API answers");
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }

    /// GETs a path of the operations port.
    #[track_caller]
    pub(crate) fn ops(&self, path: &str) -> http::Answer {
        http::get(self.ops_address(), path, None).expect("the operations port answers")
    }

    /// The sum of a metric's series whose line contains every one of `labels`.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.ops("/metrics").body;
        let series = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// What the agent counts at present, for a story that failed.
    pub(crate) fn figures(&self) -> String {
        let address = lock(&self.running).as_ref().and_then(|running| running.ops);
        let answer = address.and_then(|address| http::get(address, "/metrics", None).ok());
        let text = answer.map(|answer| answer.body).unwrap_or_default();
        let ours = text.lines().filter(|line| line.starts_with("tidegate_") && !line.contains("_bucket"));
        format!("the agent's figures:\n{}\n", ours.collect::<Vec<_>>().join("\n"))
    }

    /// Waits until the agent has looked at Git again after this moment, and has had time for a whole pass on what it saw:
    /// the poll under way may be older, the next one is not, and the one after it begins when that one's passes ran.
    #[track_caller]
    pub(crate) fn await_polls(&self) {
        let polls = || self.metric("tidegate_polls_total", &[]);
        let before = polls();
        self.await_that("the agent polls Git", || polls() >= before + 3.0);
    }

    /// Waits until it is ready and leads.
    #[track_caller]
    pub(crate) fn await_ready(&self) {
        self.await_answer("the agent is ready and leads", "ok");
    }

    /// Waits until it is ready and stands by.
    #[track_caller]
    pub(crate) fn await_standing_by(&self) {
        self.await_answer("the agent stands by", "ok: standing by");
    }

    #[track_caller]
    fn await_answer(&self, what: &str, body: &str) {
        self.await_that(what, || {
            let answer = http::get(self.ops_address(), "/readyz", None);
            answer.is_ok_and(|answer| answer.status == 200 && answer.body == body)
        });
    }

    /// Waits for something that only the agent itself can tell, and that no watch announces.
    #[track_caller]
    pub(crate) fn await_that(&self, what: &str, claim: impl Fn() -> bool) {
        let is_so = until(PATIENCE, || claim() || self.has_ended()) && claim();
        assert!(is_so, "waited up to {PATIENCE:?} in vain until {what}\n{}", self.log_tail(80));
    }

    /// The log so far, all starts together.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The log's last lines.
    pub(crate) fn log_tail(&self, count: usize) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(count)..].join("\n");
        format!("the agent's log (last {count} lines):\n{tail}")
    }

    /// Whether the process ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.running).as_mut().is_some_and(|running| !matches!(running.child.try_wait(), Ok(None)))
    }

    fn log_file(&self) -> PathBuf {
        self.settings.folder.join("agent.log")
    }

    /// Reads an address from the log of the present run.
    #[track_caller]
    fn learn(&self, words: &str, place: impl Fn(&mut Running) -> &mut Option<SocketAddr>) -> SocketAddr {
        let known = || {
            let mut running = lock(&self.running);
            let running = running.as_mut()?;
            let log_from = running.log_from;
            let known = place(running);
            *known = known.or_else(|| address_in(self.log().get(log_from..).unwrap_or_default(), words));
            *known
        };
        let _ = until(PATIENCE, || known().is_some() || self.has_ended());
        known().unwrap_or_else(|| panic!("the agent did not log `{words}`\n{}", self.log_tail(80)))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.sigkill();
    }
}

fn copy(file: &File) -> File {
    file.try_clone().expect("a file handle can be copied")
}

/// The first `127.0.0.1:port` of the first whole line that contains `words`.
fn address_in(log: &str, words: &str) -> Option<SocketAddr> {
    let line = log.split_inclusive('\n').find(|line| line.contains(words) && line.ends_with('\n'))?;
    let rest = &line[line.find("127.0.0.1:")?..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The program under test: the one that cargo built for these tests, or that lies beside the examples.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let beside = || {
            let own = std::env::current_exe().expect("the running program has a path");
            let profile = own.parent().and_then(Path::parent).expect("examples lie in target/<profile>/examples");
            debug_assert!(profile.starts_with(target_folder()));
            profile.join("tidegate")
        };
        option_env!("CARGO_BIN_EXE_tidegate").map_or_else(beside, PathBuf::from)
    })
}
