//! A real `tidegate render`, with the official kustomize and helm.

use std::fs::OpenOptions;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::agent::program;
use super::child::{OnDeath, end, lock, signal, spawn};
use super::patience::{PATIENCE, until};
use super::plane::built_by;

/// A running renderer.
pub(crate) struct RendererProcess {
    folder: PathBuf,
    further: Vec<String>,
    child: Mutex<Option<Child>>,
}

impl RendererProcess {
    /// Starts one whose files are below this folder.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// Starts one with further arguments.
    pub(crate) fn start_with(folder: &Path, further: &[&str]) -> Self {
        std::fs::create_dir_all(folder).expect("the session folder can be written");
        let further = further.iter().map(|argument| (*argument).to_owned()).collect();
        let renderer = Self { folder: folder.to_owned(), further, child: Mutex::new(None) };
        renderer.start_again();
        renderer
    }

    /// Starts it (again), and waits for its socket.
    pub(crate) fn start_again(&self) {
        let log = OpenOptions::new().create(true).append(true).open(self.folder.join("renderer.log"));
        let log = log.expect("the session folder can be written");
        let mut command = Command::new(program());
        command
            .arg("render")
            .arg("--socket")
            .arg(self.socket())
            .arg("--work")
            .arg(self.folder.join("work"))
            .arg("--kustomize")
            .arg(programs().join("kustomize"))
            .arg("--helm")
            .arg(programs().join("helm"))
            .args(&self.further)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be copied"))
            .stderr(log);
        *lock(&self.child) = Some(spawn(command, OnDeath::Kill).expect("the renderer starts"));
        assert!(until(PATIENCE, || UnixStream::connect(self.socket()).is_ok()), "no socket: {}", self.log());
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("render.sock")
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("renderer.log")).unwrap_or_default()
    }

    /// How often it ran a tool to its end.
    pub(crate) fn rendered(&self) -> usize {
        self.log().lines().filter(|line| line.contains(" rendered ")).count()
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&self) {
        if let Some(mut child) = lock(&self.child).take() {
            signal(&child, libc::SIGTERM);
            end(&mut child, Duration::from_secs(10));
        }
    }
}

impl Drop for RendererProcess {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The folder of the official programs: `TIDEGATE_RENDERERS`, or what `.ci/renderers.sh` builds.
pub(crate) fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match std::env::var_os("TIDEGATE_RENDERERS") {
        Some(folder) => folder.into(),
        None => built_by(".ci/renderers.sh"),
    })
}
