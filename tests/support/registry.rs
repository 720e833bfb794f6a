//! Where charts come from: a chart repository (files over HTTP, with a login), and a real OCI registry.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::child::{OnDeath, end, lock, signal, spawn};
use super::http;
use super::patience::{PATIENCE, until};
use super::plane::built_by;
use super::renderer::programs;

/// Packages a chart by the official program. Returns the package and its digest.
pub(crate) fn package(folder: &Path, files: &[(&str, &str)]) -> (PathBuf, String) {
    for (path, text) in files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("the folder can be written");
        std::fs::write(path, text).expect("the folder can be written");
    }
    helm(&["package", folder.join("chart").to_str().expect("text"), "--destination", folder.to_str().expect("text")]);
    let package = std::fs::read_dir(folder).expect("it can be listed").flatten().map(|entry| entry.path());
    let package = package.into_iter().find(|path| path.extension().is_some_and(|it| it == "tgz")).expect("a package");
    let hash = Sha256::digest(std::fs::read(&package).expect("the package can be read"));
    let digest = hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    (package, format!("sha256:{digest}"))
}

fn helm(arguments: &[&str]) {
    let output = Command::new(programs().join("helm")).args(arguments).output().expect("helm runs");
    assert!(output.status.success(), "helm {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A chart repository: an index and one package.
pub(crate) struct ChartServer {
    address: SocketAddr,
    served: Arc<AtomicUsize>,
}

impl ChartServer {
    /// Serves a package and its index to whoever knows the login. It ends with the process.
    pub(crate) fn start(package: &Path, login: Option<(&str, &str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let site = package.parent().expect("it lies in a folder").join("site");
        std::fs::create_dir_all(&site).expect("the folder can be written");
        std::fs::copy(package, site.join(package.file_name().expect("it has a name"))).expect("it can be copied");
        helm(&["repo", "index", site.to_str().expect("text"), "--url", &format!("http://{address}")]);
        let expected = login.map(|(user, word)| {
            format!("basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{user}:{word}"))).to_ascii_lowercase()
        });
        let served = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&served);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::Relaxed);
                // A client that goes away has its reasons.
                drop(answer(stream, &site, expected.as_deref()));
            }
        });
        Self { address, served }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Connections so far.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }
}

fn answer(mut stream: TcpStream, site: &Path, login: Option<&str>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let headers: Vec<String> =
        lines.take_while(|line| !line.is_empty()).map(|line| line.to_ascii_lowercase()).collect();
    let is_known = login.is_none_or(|login| headers.iter().any(|line| *line == format!("authorization: {login}")));
    let name = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let body = std::fs::read(site.join(name)).unwrap_or_default();
    let (status, body) = match (is_known, body.is_empty()) {
        (false, _) => ("401 Unauthorized", Vec::new()),
        (true, true) => ("404 Not Found", Vec::new()),
        (true, false) => ("200 OK", body),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

/// A real registry: the `docker-registry` of Debian.
pub(crate) struct Registry {
    host: String,
    child: Mutex<Child>,
}

impl Registry {
    /// Starts one that keeps its data below this folder, and waits until it answers.
    pub(crate) fn start(folder: &Path) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.expect("loopback has a free port");
        let data = folder.join("registry");
        std::fs::create_dir_all(&data).expect("the folder can be written");
        let settings = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
            data.display()
        );
        std::fs::write(folder.join("registry.yml"), settings).expect("the folder can be written");
        let mut command = Command::new(registry_program());
        command.arg("serve").arg(folder.join("registry.yml"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = spawn(command, OnDeath::Kill).expect("the registry starts");
        let answers = || http::get(address, "/v2/", None).is_ok_and(|answer| answer.status == 200);
        assert!(until(PATIENCE, answers), "the registry does not answer");
        Self { host: address.to_string(), child: Mutex::new(child) }
    }

    /// Its host and port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Stores a packaged chart below `charts`.
    pub(crate) fn push(&self, package: &Path) {
        helm(&["push", package.to_str().expect("text"), &format!("oci://{}/charts", self.host), "--plain-http"]);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        signal(&child, libc::SIGTERM);
        end(&mut child, Duration::from_secs(5));
    }
}

/// `TIDEGATE_REGISTRY`, or what `.ci/registry.sh` finds or fetches.
fn registry_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os("TIDEGATE_REGISTRY") {
        Some(program) => program.into(),
        None => built_by(".ci/registry.sh"),
    })
}
