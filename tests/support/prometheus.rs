//! The real Prometheus, scraping the played applications several times a second.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::child::{OnDeath, end, lock, session_folder, signal, spawn};
use super::http;
use super::patience::{PATIENCE, until};

/// A running Prometheus.
pub(crate) struct Prometheus {
    address: SocketAddr,
    child: Mutex<Child>,
}

impl Prometheus {
    /// Starts one that scrapes `exporter_url`, and waits until it answers queries.
    pub(crate) fn start(exporter_url: &str) -> Self {
        let address = free_address();
        let folder = session_folder().join(format!("prometheus-{}", address.port()));
        std::fs::create_dir_all(&folder).expect("the session folder can be written");
        let rest = exporter_url.strip_prefix("http://").unwrap_or(exporter_url);
        let (target, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
        let settings = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs:\n- job_name: apps\n  honor_labels: true\n  metrics_path: /{path}\n  \
             static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(folder.join("prometheus.yml"), settings).expect("the session folder can be written");
        let log = File::create(folder.join("log")).expect("the session folder can be written");
        let mut command = Command::new(program());
        command
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be copied"))
            .stderr(log);
        let child = spawn(command, OnDeath::Kill)
            .expect("Prometheus starts: install Debian's `prometheus`, or name one in TIDEGATE_PROMETHEUS");
        let prometheus = Self { address, child: Mutex::new(child) };
        prometheus.await_data(&folder);
        prometheus
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The answer to an instant query, as JSON.
    pub(crate) fn query(&self, query: &str) -> serde_json::Value {
        let path = format!("/api/v1/query?query={}", percent_encoded(query));
        let body = http::get(self.address, &path, None).map(|answer| answer.body).unwrap_or_default();
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        let mut child = lock(&self.child);
        signal(&child, libc::SIGTERM);
        end(&mut child, Duration::from_secs(5));
    }

    fn await_data(&self, folder: &Path) {
        let has_scraped =
            || self.query("up == 1")["data"]["result"].as_array().is_some_and(|result| !result.is_empty());
        assert!(
            until(PATIENCE, has_scraped),
            "Prometheus does not scrape: {}",
            std::fs::read_to_string(folder.join("log")).unwrap_or_default()
        );
    }
}

/// `TIDEGATE_PROMETHEUS`, or what `.ci/prometheus.sh` finds or fetches, or the one on the `PATH`.
fn program() -> PathBuf {
    const SCRIPT: &str = ".ci/prometheus.sh";
    match std::env::var_os("TIDEGATE_PROMETHEUS") {
        Some(path) => path.into(),
        None if Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT).exists() => super::plane::built_by(SCRIPT),
        None => "prometheus".into(),
    }
}

/// A free loopback address. It may be taken before it is used; that is rare enough to let the test fail.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("a bound socket has an address")
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}
