//! The agent's own settings: flags, environment and one file, merged into [`Config`]. Nobody else reads them.
//!
//! A flag wins over its environment variable, that over the file, and the file over the default. What is wrong is
//! refused here, under the name that the user wrote; inside, invalid settings do not exist.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde::Deserialize;

use crate::model::Reference;

mod access;
mod urls;

use self::access::{FileRepository, ProxyVariables};
pub use self::access::{GitAccess, GitRules};
use self::urls::{repository_url, web_url};

/// Everything that the agent is told from outside.
#[derive(Clone, Debug)]
pub struct Config {
    /// URL (`https`, `http`, `ssh`), `user@host:path`, or local path of the repository.
    pub repository: String,
    /// What of it is followed.
    pub reference: Reference,
    /// Folder below which declarations are looked for; empty is the repository's root.
    pub path: String,
    /// How repositories are reached.
    pub git: GitRules,
    /// Where the bare clone lives; may be lost at any time.
    pub store: PathBuf,
    /// Socket of the renderer of Kustomize and Helm; without one only plain YAML is rendered.
    pub renderer: Option<PathBuf>,
    /// Folder of the keys that open files encrypted with SOPS. Re-read when they are used.
    pub sops_keys: Option<PathBuf>,
    /// Time between two polls while nothing is under way.
    pub poll_interval: Duration,
    /// Namespace of the Application resources, kept Releases and the agent itself.
    pub namespace: String,
    /// What marks objects as ours; two agents on one cluster need two ids.
    pub owner: String,
    /// Who this process is to other replicas; `None`: a name for this run alone.
    pub identity: Option<String>,
    /// The pod that this process runs in.
    pub pod: Option<String>,
    /// Address of the API (bearer token required).
    pub api_address: SocketAddr,
    /// Address of `/healthz`, `/readyz` and `/metrics`.
    pub ops_address: SocketAddr,
    /// File with the bearer token of the API; re-read when it changes.
    pub token_file: PathBuf,
    /// Folder with the secrets of webhooks, a file per Git host; without it there are none.
    pub webhook_secrets: Option<PathBuf>,
    /// Metrics providers (Prometheus) by name: base URL.
    pub providers: BTreeMap<String, String>,
    /// Requests to the API server in flight at once.
    pub writes_in_flight_max: usize,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which log lines are written, such as `info,tidegate=debug`.
    pub log_filter: String,
}

impl Config {
    /// How a repository is reached: this agent's own, or another one.
    #[must_use]
    pub fn access_for(&self, repository: &str) -> GitAccess {
        self.git.access_for(repository)
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON document per line.
    Json,
}

/// Where Kubernetes tells a pod its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// The shortest poll interval: ten polls a second are more than any Git server should get from one agent.
const POLL_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The longest poll interval: a day.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// The most requests in flight: the API server itself takes 400 reads and 200 writes at once from everybody.
const WRITES_IN_FLIGHT_MAX: u64 = 200;

/// Flags of `tidegate agent`. Each may also come from the environment, and from the file under the flag's name in
/// camelCase (`pollInterval`).
#[derive(Clone, Debug, Default, clap::Args)]
pub struct AgentArgs {
    /// YAML file with settings; flags and environment win over it
    #[arg(long, env = "TIDEGATE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// URL (https, http, ssh), user@host:path, or local path of the Git repository to follow
    #[arg(long, env = "TIDEGATE_REPOSITORY", value_name = "URL")]
    pub repository: Option<String>,
    /// Branch to follow [default: main]
    #[arg(long, env = "TIDEGATE_BRANCH")]
    pub branch: Option<String>,
    /// What to follow instead of a branch: `refs/tags/NAME`, a full commit id, or a range of versions over tags such as
    /// `~1.4` (`web/v~1.4` for tags that start with `web/`)
    #[arg(long, env = "TIDEGATE_REVISION", value_name = "TEXT")]
    pub revision: Option<String>,
    /// Folder of the repository to look for declarations in [default: all of it]
    #[arg(long, env = "TIDEGATE_PATH", value_name = "FOLDER")]
    pub path: Option<String>,
    /// Folder with the files `username` and `password`, or `token`, for the Git server; for SSH `ssh-privatekey` (or
    /// `identity`) and `known_hosts`
    #[arg(long, env = "TIDEGATE_GIT_CREDENTIALS", value_name = "FOLDER")]
    pub git_credentials: Option<String>,
    /// PEM bundle to trust for the Git server instead of the system's
    #[arg(long, env = "TIDEGATE_GIT_CA_FILE", value_name = "FILE")]
    pub git_ca_file: Option<String>,
    /// File with the keys of SSH hosts [default: `known_hosts` in the credentials folder]
    #[arg(long, env = "TIDEGATE_GIT_KNOWN_HOSTS", value_name = "FILE")]
    pub git_known_hosts: Option<String>,
    /// URL of an HTTP proxy on the way to the Git server; without it HTTPS_PROXY, HTTP_PROXY and NO_PROXY are obeyed
    #[arg(long, env = "TIDEGATE_GIT_PROXY", value_name = "URL")]
    pub git_proxy: Option<String>,
    /// Folder for the clone; it may be lost at any time [default: /var/lib/tidegate]
    #[arg(long, env = "TIDEGATE_STORE", value_name = "FOLDER")]
    pub store: Option<String>,
    /// Socket of `tidegate render`, for Kustomize and Helm [default: none, only plain YAML is rendered]
    #[arg(long, env = "TIDEGATE_RENDERER", value_name = "SOCKET")]
    pub renderer: Option<String>,
    /// Folder of the keys (*.asc, allowed_signers, ca.crt) whose owners may sign heads; any other head is not applied
    /// [default: none, nothing is verified]
    #[arg(long, env = "TIDEGATE_VERIFY_KEYS", value_name = "FOLDER")]
    pub verify_keys: Option<String>,
    /// Folder of the keys (*.agekey, *.asc) that open files encrypted with SOPS
    #[arg(long, env = "TIDEGATE_SOPS_KEYS", value_name = "FOLDER")]
    pub sops_keys: Option<String>,
    /// Time between two polls, such as 500ms, 5s or 1m [default: 5s]
    #[arg(long, env = "TIDEGATE_POLL_INTERVAL", value_name = "DURATION")]
    pub poll_interval: Option<String>,
    /// Namespace of the agent and of its Application resources [default: the pod's, or tidegate]
    #[arg(long, env = "TIDEGATE_NAMESPACE")]
    pub namespace: Option<String>,
    /// Id that marks objects as this agent's; two agents on one cluster need two [default: the namespace]
    #[arg(long, env = "TIDEGATE_OWNER", value_name = "ID")]
    pub owner: Option<String>,
    /// Who this process is to other replicas; no two that run at once may share it [default: the pod's name, or one for
    /// this run alone]
    #[arg(long, env = "TIDEGATE_IDENTITY", value_name = "ID")]
    pub identity: Option<String>,
    /// Name of the pod that this process runs in, as the downward API tells it
    #[arg(long, env = "POD_NAME", value_name = "NAME", hide = true)]
    pub pod: Option<String>,
    /// Address of the HTTP API [default: 0.0.0.0:8080]
    #[arg(long, env = "TIDEGATE_API_ADDRESS", value_name = "IP:PORT")]
    pub api_address: Option<String>,
    /// Address of /healthz, /readyz and /metrics [default: 0.0.0.0:8081]
    #[arg(long, env = "TIDEGATE_OPS_ADDRESS", value_name = "IP:PORT")]
    pub ops_address: Option<String>,
    /// File with the bearer token of the HTTP API [default: /etc/tidegate/token/token]
    #[arg(long, env = "TIDEGATE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<String>,
    /// Folder with the secrets of webhooks, a file per Git host such as `github` [default: none, webhooks are off]
    #[arg(long, env = "TIDEGATE_WEBHOOK_SECRETS", value_name = "FOLDER")]
    pub webhook_secrets: Option<String>,
    /// Metrics provider (Prometheus) that analyses may name; repeatable
    #[arg(long = "provider", env = "TIDEGATE_PROVIDERS", value_name = "NAME=URL", value_delimiter = ',')]
    pub providers: Vec<String>,
    /// Requests to the API server in flight at once, 1 to 200 [default: 32]
    #[arg(long, env = "TIDEGATE_WRITES_IN_FLIGHT_MAX", value_name = "COUNT")]
    pub writes_in_flight_max: Option<String>,
    /// How log lines are written, text or json [default: text]
    #[arg(long, env = "TIDEGATE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Which log lines are written, such as `info,tidegate=debug` [default: info]
    #[arg(long, env = "TIDEGATE_LOG", value_name = "FILTER")]
    pub log_filter: Option<String>,
}

/// Why the agent cannot start with these settings. Values are not repeated: a URL may carry a password.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The settings file cannot be read.
    #[error("failed to read the settings file {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The settings file is no valid YAML, or has a field that does not exist or is of the wrong type.
    #[error("{path}: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// Field, line and what is wrong.
        reason: String,
    },
    /// A setting has a value that it cannot have.
    #[error("{setting}: {reason}")]
    Invalid {
        /// The flag, or the file and its field.
        setting: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

/// Settings as the file spells them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct FileSettings {
    repository: Option<String>,
    branch: Option<String>,
    revision: Option<String>,
    path: Option<String>,
    git_credentials: Option<String>,
    git_ca_file: Option<String>,
    git_known_hosts: Option<String>,
    git_proxy: Option<String>,
    repositories: Vec<FileRepository>,
    store: Option<String>,
    renderer: Option<String>,
    verify_keys: Option<String>,
    sops_keys: Option<String>,
    poll_interval: Option<String>,
    namespace: Option<String>,
    owner: Option<String>,
    api_address: Option<String>,
    ops_address: Option<String>,
    token_file: Option<String>,
    webhook_secrets: Option<String>,
    providers: BTreeMap<String, String>,
    writes_in_flight_max: Option<u64>,
    log_format: Option<String>,
    log_filter: Option<String>,
}

/// Reads the file that `arguments` name, asks the pod for its namespace, and merges all of it.
///
/// # Errors
/// When the file cannot be used, or a setting is missing or invalid.
pub fn load(arguments: &AgentArgs) -> Result<Config, ConfigError> {
    let pod_namespace = std::fs::read_to_string(NAMESPACE_FILE).ok();
    let proxies = ProxyVariables::read(|name| std::env::var(name).ok());
    let Some(path) = &arguments.config else {
        return merge(arguments, &FileSettings::default(), "", pod_namespace.as_deref(), &proxies);
    };
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: name.clone(), source })?;
    merge(arguments, &parse_file(&text, &name)?, &name, pod_namespace.as_deref(), &proxies)
}

/// Reads a length of time: whole numbers with `ms`, `s`, `m` or `h`, such as `500ms`, `5s` or `1m30s`.
///
/// # Errors
/// When `text` is anything else; the error says what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a length of time such as 500ms, 5s, 1m or 1m30s".to_owned();
    let mut rest = text;
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit()).ok_or_else(expected)?;
        let count: u64 = rest[..digits].parse().map_err(|_| expected())?;
        rest = &rest[digits..];
        let letters = rest.find(|character: char| character.is_ascii_digit()).unwrap_or(rest.len());
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(expected()),
        };
        rest = &rest[letters..];
        total_ms = count.checked_mul(unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(expected)?;
    }
    if text.is_empty() { Err(expected()) } else { Ok(Duration::from_millis(total_ms)) }
}

fn parse_file(text: &str, name: &str) -> Result<FileSettings, ConfigError> {
    if text.trim().is_empty() {
        return Ok(FileSettings::default());
    }
    serde_yaml::from_str(text)
        .map_err(|error| ConfigError::Malformed { path: name.to_owned(), reason: error.to_string() })
}

/// A value and the name of the place that it came from.
struct Setting {
    value: String,
    origin: String,
}

impl Setting {
    /// What the user set, the flag before the file; else the default under the flag's name.
    fn of(flag: &str, given: Option<&String>, file: &str, field: Option<&String>, default: &str) -> Self {
        match (given, field) {
            (Some(value), _) => Self { value: value.clone(), origin: format!("--{flag}") },
            (None, Some(value)) => {
                Self { value: value.clone(), origin: format!("{file}: field `{}`", camel_case(flag)) }
            }
            (None, None) => Self { value: default.to_owned(), origin: format!("--{flag}") },
        }
    }

    fn refused(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { setting: self.origin.clone(), reason: reason.into() }
    }

    fn checked<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        parse(&self.value).map_err(|reason| self.refused(reason))
    }
}

fn merge(
    arguments: &AgentArgs,
    file: &FileSettings,
    file_name: &str,
    pod_namespace: Option<&str>,
    proxies: &ProxyVariables,
) -> Result<Config, ConfigError> {
    let pick = |flag: &str, given: &Option<String>, field: &Option<String>, default: &str| {
        Setting::of(flag, given.as_ref(), file_name, field.as_ref(), default)
    };
    let path = |flag: &str, given: &Option<String>, field: &Option<String>| {
        let is_set = given.is_some() || field.is_some();
        is_set.then(|| pick(flag, given, field, "").checked(file_path)).transpose()
    };
    let own_namespace = pod_namespace.map(str::trim).filter(|text| !text.is_empty()).unwrap_or("tidegate");
    let namespace = pick("namespace", &arguments.namespace, &file.namespace, own_namespace).checked(namespace_name)?;
    let repository = pick("repository", &arguments.repository, &file.repository, "").checked(repository_url)?;
    let proxy = pick("git-proxy", &arguments.git_proxy, &file.git_proxy, "");
    let given = GitAccess {
        credentials: path("git-credentials", &arguments.git_credentials, &file.git_credentials)?,
        ca_file: path("git-ca-file", &arguments.git_ca_file, &file.git_ca_file)?,
        known_hosts: path("git-known-hosts", &arguments.git_known_hosts, &file.git_known_hosts)?,
        proxy: match arguments.git_proxy.is_some() || file.git_proxy.is_some() {
            true => Some(proxy.checked(urls::proxy_url)?),
            false => None,
        },
        verify_keys: path("verify-keys", &arguments.verify_keys, &file.verify_keys)?,
    };
    let git = GitRules::new(&repository, given, &file.repositories, file_name, proxies)?;
    let in_flight = file.writes_in_flight_max.map(|count| count.to_string());
    Ok(Config {
        repository,
        reference: reference(arguments, file, file_name)?,
        path: pick("path", &arguments.path, &file.path, "").checked(repository_folder)?,
        git,
        store: pick("store", &arguments.store, &file.store, "/var/lib/tidegate").checked(file_path)?,
        renderer: path("renderer", &arguments.renderer, &file.renderer)?,
        sops_keys: path("sops-keys", &arguments.sops_keys, &file.sops_keys)?,
        poll_interval: pick("poll-interval", &arguments.poll_interval, &file.poll_interval, "5s")
            .checked(poll_interval)?,
        owner: pick("owner", &arguments.owner, &file.owner, &namespace).checked(owner_id)?,
        namespace,
        identity: arguments.identity.clone().or_else(|| arguments.pod.clone()).filter(|text| !text.is_empty()),
        pod: arguments.pod.clone().filter(|text| !text.is_empty()),
        api_address: pick("api-address", &arguments.api_address, &file.api_address, "0.0.0.0:8080").checked(address)?,
        ops_address: pick("ops-address", &arguments.ops_address, &file.ops_address, "0.0.0.0:8081").checked(address)?,
        token_file: pick("token-file", &arguments.token_file, &file.token_file, "/etc/tidegate/token/token")
            .checked(file_path)?,
        webhook_secrets: path("webhook-secrets", &arguments.webhook_secrets, &file.webhook_secrets)?,
        providers: providers(&arguments.providers, &file.providers, file_name)?,
        writes_in_flight_max: pick("writes-in-flight-max", &arguments.writes_in_flight_max, &in_flight, "32")
            .checked(in_flight_count)?,
        log_format: pick("log-format", &arguments.log_format, &file.log_format, "text")
            .checked(|text| LogFormat::from_str(text, false).map_err(|_| "expected text or json".to_owned()))?,
        log_filter: pick("log-filter", &arguments.log_filter, &file.log_filter, "info")
            .checked(|text| Ok(text.to_owned()))?,
    })
}

/// `poll-interval` as the file spells it: `pollInterval`.
fn camel_case(flag: &str) -> String {
    let mut parts = flag.split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut name, part| {
        name.push_str(&part[..1].to_uppercase());
        name.push_str(&part[1..]);
        name
    })
}

/// What is followed: a branch, or what `--revision` says. A flag wins over both fields of the file.
fn reference(arguments: &AgentArgs, file: &FileSettings, file_name: &str) -> Result<Reference, ConfigError> {
    let is_given = arguments.branch.is_some() || arguments.revision.is_some();
    let [branch, revision] = match is_given {
        true => [(arguments.branch.as_ref(), None), (arguments.revision.as_ref(), None)],
        false => [(None, file.branch.as_ref()), (None, file.revision.as_ref())],
    };
    let is_set = |(flag, field): (Option<&String>, Option<&String>)| flag.or(field).is_some();
    let revision_setting = Setting::of("revision", revision.0, file_name, revision.1, "");
    match (is_set(branch), is_set(revision)) {
        (true, true) => Err(revision_setting.refused("there is a branch as well: give one of the two")),
        (false, true) => revision_setting.checked(Reference::parse),
        (true | false, false) => {
            Setting::of("branch", branch.0, file_name, branch.1, "main").checked(Reference::branch)
        }
    }
}

fn repository_folder(text: &str) -> Result<String, String> {
    let path = text.trim_start_matches("./").trim_matches('/');
    let is_inside = path.is_empty() || path.split('/').all(|part| !matches!(part, "" | "." | ".." | ".git"));
    if path == "." {
        Ok(String::new())
    } else if is_inside {
        Ok(path.to_owned())
    } else {
        Err("expected a folder inside the repository".to_owned())
    }
}

fn file_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a path, found nothing".to_owned()) } else { Ok(Path::new(text).to_owned()) }
}

fn poll_interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text)?;
    if (POLL_INTERVAL_MIN..=POLL_INTERVAL_MAX).contains(&interval) {
        Ok(interval)
    } else {
        Err("expected at least 100ms and at most 24h".to_owned())
    }
}

fn namespace_name(text: &str) -> Result<String, String> {
    let is_label = (1..=63).contains(&text.len())
        && text
            .chars()
            .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if is_label { Ok(text.to_owned()) } else { Err("not the name of a namespace".to_owned()) }
}

/// The owner id is a label value on every object of ours.
fn owner_id(text: &str) -> Result<String, String> {
    let is_label = (1..=63).contains(&text.len())
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
        && text.starts_with(|character: char| character.is_ascii_alphanumeric())
        && text.ends_with(|character: char| character.is_ascii_alphanumeric());
    let reason = "expected a label value: 1 to 63 letters, digits, `-`, `_` or `.`, first and last a letter or digit";
    if is_label { Ok(text.to_owned()) } else { Err(reason.to_owned()) }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, such as 0.0.0.0:8080 or [::]:8080".to_owned())
}

fn in_flight_count(text: &str) -> Result<usize, String> {
    let count = text.parse::<u64>().ok().filter(|count| (1..=WRITES_IN_FLIGHT_MAX).contains(count));
    count
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| "expected a whole number from 1 to 200".to_owned())
}

/// The file's providers, with those of flags added or in their place.
fn providers(
    given: &[String],
    file: &BTreeMap<String, String>,
    file_name: &str,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let check = |origin: String, name: &str, url: &str| {
        let setting = Setting { value: url.to_owned(), origin };
        let is_plain = !name.is_empty() && name.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it));
        if !is_plain {
            return Err(setting.refused("a provider's name has letters, digits, `-`, `_` and `.` only"));
        }
        Ok((name.to_owned(), setting.checked(web_url)?))
    };
    let mut all = BTreeMap::new();
    for (name, url) in file {
        all.extend([check(format!("{file_name}: field `providers.{name}`"), name, url)?]);
    }
    for pair in given {
        let origin = "--provider".to_owned();
        let Some((name, url)) = pair.split_once('=') else {
            return Err(ConfigError::Invalid { setting: origin, reason: "expected NAME=URL".to_owned() });
        };
        all.extend([check(origin, name, url)?]);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
