//! The agent's own settings: flags, environment and one file, merged into [`Config`]. Nobody else reads them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that the agent is told from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// URL (`http`, `https`) or local path of the repository.
    pub repository: String,
    /// Branch to follow.
    pub branch: String,
    /// Folder below which declarations are looked for; empty is the repository's root.
    pub path: String,
    /// Folder with `username` and `password`, or `token`, for the Git server; re-read at every poll.
    pub git_credentials: Option<PathBuf>,
    /// PEM bundle to trust for the Git server, besides the system's roots... which are not read when it is given.
    pub git_ca_file: Option<PathBuf>,
    /// Where the bare clone lives; may be lost at any time.
    pub store: PathBuf,
    /// Time between two polls while nothing is under way.
    pub poll_interval: Duration,
    /// Namespace of the Application resources, kept Releases and the agent itself.
    pub namespace: String,
    /// What marks objects as ours; two agents on one cluster need two ids.
    pub owner: String,
    /// Address of the API (bearer token required).
    pub api_address: SocketAddr,
    /// Address of `/healthz`, `/readyz` and `/metrics`.
    pub ops_address: SocketAddr,
    /// File with the bearer token of the API; re-read when it changes.
    pub token_file: PathBuf,
    /// Metrics providers (Prometheus) by name: base URL.
    pub providers: BTreeMap<String, String>,
    /// Requests to the API server in flight at once.
    pub writes_in_flight_max: usize,
}
