//! The real control plane (`tests/controlplane`) as a child process, and `kubectl` as a user has it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::Value;

use super::child::{OnDeath, at_exit, end, lock, session_folder, spawn};
use super::prometheus::Prometheus;

/// A running control plane with nodes, Git server and exporter.
pub(crate) struct Plane {
    kubeconfig: PathBuf,
    /// URL of the API server.
    pub(crate) server: String,
    /// URL of etcd.
    pub(crate) etcd_url: String,
    admin_token: String,
    ca_file: PathBuf,
    git_url: String,
    git_root: PathBuf,
    exporter_url: String,
    pipe: Mutex<Pipe>,
    prometheus: OnceLock<Prometheus>,
    crds: OnceLock<()>,
}

/// Commands in, one JSON line out for each.
struct Pipe {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Plane {
    /// The control plane that all stories of this process share; started on first use.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Arc<Plane>> = OnceLock::new();
        let plane = SHARED.get_or_init(|| {
            let plane = Arc::new(Self::start(&[]));
            let kept = Arc::clone(&plane);
            at_exit(move || kept.stop());
            plane
        });
        Arc::clone(plane)
    }

    /// A control plane for one story, which may then restart its parts. Stopped when dropped.
    pub(crate) fn own() -> Arc<Self> {
        Self::own_with(&[])
    }

    /// As [`Plane::own`], with further arguments.
    pub(crate) fn own_with(arguments: &[&str]) -> Arc<Self> {
        Arc::new(Self::start(arguments))
    }

    fn start(arguments: &[&str]) -> Self {
        static PLANES: AtomicUsize = AtomicUsize::new(0);
        // In a folder of ours, so that even a plane that was killed in the middle of a command leaves nothing for long.
        let folder = session_folder().join(format!("plane-{}", PLANES.fetch_add(1, Ordering::Relaxed)));
        let git_root = folder.join("git");
        std::fs::create_dir_all(&git_root).expect("the session folder can be written");
        let mut command = Command::new(program());
        command.arg("--dir").arg(&folder).arg("--git-root").arg(&git_root).args(["--exporter", "--unsafe-no-fsync"]);
        command.args(arguments);
        let (pipe, line) = Pipe::open(command);
        let text = |field: &str| {
            line[field].as_str().unwrap_or_else(|| panic!("the control plane's line has no {field}: {line}")).to_owned()
        };
        Self {
            kubeconfig: text("kubeconfig").into(),
            server: text("server"),
            etcd_url: text("etcdUrl"),
            admin_token: text("adminToken"),
            ca_file: text("caFile").into(),
            git_url: text("gitUrl"),
            git_root,
            exporter_url: text("exporterUrl"),
            pipe: Mutex::new(pipe),
            prometheus: OnceLock::new(),
            crds: OnceLock::new(),
        }
    }

    /// Says one line of the control plane's protocol, such as `restart controller-manager`, and waits until it is done.
    pub(crate) fn say(&self, line: &str) -> Value {
        lock(&self.pipe).say(line)
    }

    /// Kubeconfig of the administrator.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Folder below which bare repositories are served.
    pub(crate) fn git_root(&self) -> &Path {
        &self.git_root
    }

    /// URL of the repository called `name` below [`Plane::git_root`].
    pub(crate) fn git_url(&self, name: &str) -> String {
        format!("{}/{name}", self.git_url.trim_end_matches('/'))
    }

    /// The Prometheus that scrapes the played applications; started on first use.
    pub(crate) fn prometheus(&self) -> &Prometheus {
        self.prometheus.get_or_init(|| Prometheus::start(&self.exporter_url))
    }

    /// A Kubernetes client with a connection of its own.
    pub(crate) fn client(&self) -> kube::Client {
        let kubeconfig = kube::config::Kubeconfig::read_from(&self.kubeconfig).expect("the control plane wrote it");
        runtime().block_on(async {
            let options = kube::config::KubeConfigOptions::default();
            let mut config =
                kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the kubeconfig is complete");
            config.read_timeout = Some(Duration::from_secs(70));
            kube::Client::try_from(config).expect("the kubeconfig names a server")
        })
    }

    /// Writes a kubeconfig that holds nothing but `token`.
    pub(crate) fn kubeconfig_of(&self, token: &str, file: &Path) {
        let (server, ca) = (&self.server, self.ca_file.display());
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
             clusters: [{{name: it, cluster: {{server: '{server}', certificate-authority: '{ca}'}}}}]\n\
             users: [{{name: it, user: {{token: '{token}'}}}}]\n\
             contexts: [{{name: it, context: {{cluster: it, user: it}}}}]\n"
        );
        std::fs::write(file, text).expect("the session folder can be written");
    }

    /// Reads a path of the API server as the administrator, such as `/metrics`.
    pub(crate) fn raw(&self, path: &str) -> String {
        self.kubectl(&["get", "--raw", path])
    }

    /// `kubectl`, which must succeed; gives its standard output.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.kubectl_output(arguments, "");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {} failed:\n{out}{err}", arguments.join(" "));
        out.into_owned()
    }

    /// `kubectl` with text on its standard input; whether it succeeded is the caller's to judge.
    pub(crate) fn kubectl_output(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(program());
        command.arg("kubectl").args(arguments).env("KUBECONFIG", &self.kubeconfig);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = spawn(command, OnDeath::Kill).expect("the control plane's program starts");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        let text = input.to_owned();
        let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
        let output = child.wait_with_output().expect("kubectl ends");
        let _ = writer.join();
        output
    }

    /// Applies manifests as a user who uses server-side apply.
    #[track_caller]
    pub(crate) fn apply(&self, manifests: &str) {
        let output = self.kubectl_output(&["apply", "--server-side", "--force-conflicts", "-f", "-"], manifests);
        assert!(output.status.success(), "kubectl apply failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Installs our CRDs, once per control plane, and waits until they are served.
    pub(crate) fn install_crds(&self) {
        self.crds.get_or_init(|| {
            let output = Command::new(super::agent::program()).arg("crds").output().expect("tidegate starts");
            assert!(output.status.success(), "`tidegate crds` failed: {}", String::from_utf8_lossy(&output.stderr));
            self.apply(&String::from_utf8_lossy(&output.stdout));
            let all = ["wait", "--for=condition=Established", "--timeout=60s", "crd", "applications.tidegate.dev"];
            self.kubectl(&all);
        });
    }

    /// Stops everything and waits for it.
    pub(crate) fn stop(&self) {
        if let Some(prometheus) = self.prometheus.get() {
            prometheus.stop();
        }
        lock(&self.pipe).close();
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Pipe {
    /// Starts a program of the protocol; gives its first line too.
    fn open(mut command: Command) -> (Self, Value) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = spawn(command, OnDeath::Terminate).expect("the control plane's program starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut pipe = Self { child, input, output };
        let line = pipe.read();
        (pipe, line)
    }

    fn say(&mut self, line: &str) -> Value {
        let input = self.input.as_mut().expect("the control plane is not stopped yet");
        writeln!(input, "{line}").expect("the control plane reads its commands");
        let answer = self.read();
        assert_eq!(answer["ok"], true, "the control plane answers `{line}` with {answer}");
        answer
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        let length = self.output.read_line(&mut line).expect("the control plane's output is text");
        assert!(length > 0, "the control plane ended before it answered");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the control plane answers in JSON: {error}: {line}"))
    }

    fn close(&mut self) {
        if self.input.take().is_some() {
            end(&mut self.child, Duration::from_secs(20));
        }
    }
}

/// A Git server alone, in a process of its own, for stories in which it dies.
pub(crate) struct GitServer {
    url: String,
    pipe: Mutex<Pipe>,
}

impl GitServer {
    /// Serves the repositories below `root`.
    pub(crate) fn start(root: &Path) -> Self {
        let mut command = Command::new(program());
        command.arg("git-serve").arg("--git-root").arg(root);
        let (pipe, line) = Pipe::open(command);
        Self { url: line["gitUrl"].as_str().expect("the Git server says its URL").to_owned(), pipe: Mutex::new(pipe) }
    }

    /// URL of the repository called `name`.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.url.trim_end_matches('/'))
    }

    /// `git down`, `git up` (at the same address) or `git stall`.
    pub(crate) fn say(&self, line: &str) -> Value {
        lock(&self.pipe).say(line)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        lock(&self.pipe).close();
    }
}

/// The control plane's program: `TIDEGATE_TESTPLANE`, or what `tests/controlplane/build.sh` builds.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        std::env::var_os("TIDEGATE_TESTPLANE").map_or_else(|| built_by("tests/controlplane/build.sh"), PathBuf::from)
    })
}

/// Runs a build script of this repository; its last line is a path.
pub(crate) fn built_by(script: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = Command::new("bash").arg(&script).stderr(Stdio::inherit()).output().expect("bash starts");
    assert!(output.status.success(), "{} failed", script.display());
    let text = String::from_utf8_lossy(&output.stdout);
    PathBuf::from(text.lines().last().expect("the script prints a path").trim())
}

/// The harness's own async runtime, for its watches. Stories themselves are plain, blocking code.
pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads can start")
    })
}
