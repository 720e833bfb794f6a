//! Logs, and the metrics behind `/metrics`.
//!
//! Enters: what the agent says that it did, in plain words, and at a scrape the [`Board`]. Leaves: log lines on standard
//! error and OpenMetrics text. Metrics about where apps stand are made from the board at every scrape, so an app that is
//! gone leaves no series behind. Nothing in here decides anything or carries a secret.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::config::LogFormat;
use crate::model::{AppName, PastOutcome, Timestamp, Verdict};
use crate::status::{AppView, Board, argocd};
use crate::world::ApiError;

/// Content type of [`Telemetry::exposition`].
pub const EXPOSITION_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a pass over an idle app (well below a millisecond) to one that waits for a slow API server.
const PASS_SECONDS_BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0];

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be read.
    #[error("failed to read the log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logging was set up before.
    #[error("failed to set up logging")]
    Install(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts logging to standard error.
///
/// # Errors
/// When the filter cannot be read, or when logging was started before.
pub fn start_logging(format: LogFormat, filter: &str) -> Result<(), LoggingError> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    let started = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Text => subscriber.try_init(),
    };
    started.map_err(LoggingError::Install)
}

/// What a poll of Git came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollOutcome {
    /// The head is the one that was known.
    Unchanged,
    /// The head moved.
    Moved,
    /// Git could not be read.
    Failed,
}

/// What of ours was written into the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateWrite {
    /// An Application's spec and record.
    Record,
    /// An Application's status.
    Status,
    /// A kept Release.
    Release,
}

/// Requests sent since the start, as the edges count them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// To the API server, by verb.
    pub api: Vec<(&'static str, u64)>,
    /// To the Git server.
    pub git: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabel {
    verb: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RolloutLabels {
    application: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GateLabels {
    application: String,
    gate: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    provider: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlaceLabels {
    namespace: String,
    application: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    application: String,
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    namespace: String,
    name: String,
    project: &'static str,
    autosync_enabled: &'static str,
    repo: String,
    dest_server: &'static str,
    dest_namespace: String,
    sync_status: &'static str,
    health_status: &'static str,
    operation: &'static str,
}

/// The metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct Telemetry {
    registry: Arc<Registry>,
    rollouts: Family<RolloutLabels, Counter>,
    gates: Family<GateLabels, Counter>,
    polls: Family<OutcomeLabel, Counter>,
    last_poll: Gauge,
    webhooks: Family<WebhookLabels, Counter>,
    applies: Family<OutcomeLabel, Counter>,
    renders: Counter,
    state_writes: Family<KindLabel, Counter>,
    pods_reverted: Family<PlaceLabels, Counter>,
    last_revert: Family<PlaceLabels, Gauge>,
    passes: Counter,
    pass_seconds: Histogram,
    leading: Gauge,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry {
    /// Metrics that start at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut telemetry = Self {
            registry: Arc::default(),
            rollouts: Family::default(),
            gates: Family::default(),
            polls: Family::default(),
            last_poll: Gauge::default(),
            webhooks: Family::default(),
            applies: Family::default(),
            renders: Counter::default(),
            state_writes: Family::default(),
            pods_reverted: Family::default(),
            last_revert: Family::default(),
            passes: Counter::default(),
            pass_seconds: Histogram::new(PASS_SECONDS_BUCKETS),
            leading: Gauge::default(),
        };
        telemetry.registry = Arc::new(telemetry.register());
        telemetry
    }

    /// Names every metric; the encoder appends `_total` to counters by itself.
    fn register(&self) -> Registry {
        let mut registry = Registry::default();
        registry.register("tidegate_rollouts", "Rollouts started and how they ended", self.rollouts.clone());
        registry.register("tidegate_gates", "Gates decided", self.gates.clone());
        registry.register("tidegate_polls", "Polls of the Git repository", self.polls.clone());
        registry.register(
            "tidegate_last_poll_timestamp_seconds",
            "When Git was last read successfully, Unix time, 0 before",
            self.last_poll.clone(),
        );
        registry.register("tidegate_webhooks", "Webhooks of Git hosts", self.webhooks.clone());
        registry.register("tidegate_applies", "Server-side applies of declared objects", self.applies.clone());
        registry.register("tidegate_renders", "Applications rendered", self.renders.clone());
        registry.register("tidegate_state_writes", "Writes of the agent's own state", self.state_writes.clone());
        registry.register("ota_rollback_pods", "Pods taken back to the stable release", self.pods_reverted.clone());
        registry.register(
            "ota_last_rollback_timestamp_seconds",
            "When the last revert ended, Unix time",
            self.last_revert.clone(),
        );
        registry.register("tidegate_passes", "Passes over one application", self.passes.clone());
        registry.register("tidegate_pass_duration_seconds", "How long a pass took", self.pass_seconds.clone());
        registry.register("tidegate_leading", "1 on the replica that leads, 0 on others", self.leading.clone());
        registry
    }

    /// This replica leads, or does not.
    pub fn leads(&self, is_leading: bool) {
        self.leading.set(i64::from(is_leading));
    }

    /// A rollout's intent was written.
    pub fn rollout_started(&self, app: &AppName) {
        self.count_rollout(app, "started");
    }

    /// A rollout ended.
    pub fn rollout_ended(&self, app: &AppName, outcome: PastOutcome) {
        let outcome = match outcome {
            PastOutcome::Completed => "completed",
            PastOutcome::Reverted => "reverted",
            PastOutcome::Withdrawn => "withdrawn",
            PastOutcome::Held => "held",
        };
        self.count_rollout(app, outcome);
    }

    fn count_rollout(&self, app: &AppName, outcome: &'static str) {
        self.rollouts.get_or_create(&RolloutLabels { application: app.to_string(), outcome }).inc();
    }

    /// A gate was decided.
    pub fn gate_decided(&self, app: &AppName, gate: &str, verdict: Verdict) {
        let labels = GateLabels { application: app.to_string(), gate: gate.to_owned(), verdict: verdict.as_str() };
        self.gates.get_or_create(&labels).inc();
    }

    /// Git was asked for its head at `at`.
    pub fn polled(&self, outcome: PollOutcome, at: Timestamp) {
        let (outcome, is_read) = match outcome {
            PollOutcome::Unchanged => ("unchanged", true),
            PollOutcome::Moved => ("moved", true),
            PollOutcome::Failed => ("failed", false),
        };
        self.polls.get_or_create(&OutcomeLabel { outcome }).inc();
        if is_read {
            self.last_poll.set(at.as_second());
        }
    }

    /// A webhook came, of this Git host, and this became of it.
    pub fn webhook_received(&self, provider: &'static str, outcome: &'static str) {
        self.webhooks.get_or_create(&WebhookLabels { provider, outcome }).inc();
    }

    /// An object was applied, or was not.
    pub fn applied(&self, outcome: Result<(), &ApiError>) {
        let outcome = match outcome {
            Ok(()) => "applied",
            Err(ApiError::NotFound) => "not_found",
            Err(ApiError::AlreadyExists) => "already_exists",
            Err(ApiError::Conflict) => "conflict",
            Err(ApiError::Owned(_)) => "owned",
            Err(ApiError::Gone) => "gone",
            Err(ApiError::Invalid(_) | ApiError::Immutable(_)) => "invalid",
            Err(ApiError::Forbidden(_)) => "forbidden",
            Err(ApiError::Busy { .. }) => "busy",
            Err(ApiError::Server(_)) => "server",
            Err(ApiError::TimedOut) => "timed_out",
            Err(ApiError::Unreachable(_)) => "unreachable",
            Err(ApiError::UnknownKind(_)) => "unknown_kind",
            Err(ApiError::Deposed) => "deposed",
        };
        self.applies.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// An Application was rendered.
    pub fn rendered(&self) {
        self.renders.inc();
    }

    /// The agent wrote state of its own.
    pub fn state_written(&self, kind: StateWrite) {
        let kind = match kind {
            StateWrite::Record => "record",
            StateWrite::Status => "status",
            StateWrite::Release => "release",
        };
        self.state_writes.get_or_create(&KindLabel { kind }).inc();
    }

    /// A revert ended at `at` and took `pods` back to Stable. `namespace` is where the app's objects are.
    pub fn reverted(&self, namespace: &str, app: &AppName, pods: u64, at: Timestamp) {
        let labels = PlaceLabels { namespace: namespace.to_owned(), application: app.to_string() };
        self.pods_reverted.get_or_create(&labels).inc_by(pods);
        self.last_revert.get_or_create(&labels).set(at.as_second());
    }

    /// Takes over what the durable record says, so that a restart loses no count. Never counts down.
    pub fn restore_reverts(&self, namespace: &str, app: &AppName, pods: u64, last_at: Option<Timestamp>) {
        let labels = PlaceLabels { namespace: namespace.to_owned(), application: app.to_string() };
        let counter = self.pods_reverted.get_or_create_owned(&labels);
        counter.inc_by(pods.saturating_sub(counter.get()));
        if let Some(at) = last_at {
            self.last_revert.get_or_create(&labels).set(at.as_second());
        }
    }

    /// An app is gone: its reverts are no longer shown.
    pub fn forget(&self, namespace: &str, app: &AppName) {
        let labels = PlaceLabels { namespace: namespace.to_owned(), application: app.to_string() };
        self.pods_reverted.remove(&labels);
        self.last_revert.remove(&labels);
    }

    /// A pass over one app ended.
    pub fn passed(&self, took: Duration) {
        self.passes.inc();
        self.pass_seconds.observe(took.as_secs_f64());
    }

    /// All metrics as OpenMetrics text, of the content type [`EXPOSITION_TYPE`].
    #[must_use]
    pub fn exposition(&self, board: &Board, requests: &Requests) -> String {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &request_metrics(requests)))
            .and_then(|()| encode_registry(&mut text, &board_metrics(board)))
            .and_then(|()| encode_eof(&mut text))
            .expect("a string takes any text");
        text
    }
}

/// What was sent, as metrics.
fn request_metrics(requests: &Requests) -> Registry {
    let api = Family::<VerbLabel, Counter>::default();
    for (verb, count) in &requests.api {
        api.get_or_create(&VerbLabel { verb }).inc_by(*count);
    }
    let git: Counter = Counter::default();
    git.inc_by(requests.git);
    let mut registry = Registry::default();
    registry.register("tidegate_api_requests", "Requests to the API server", api);
    registry.register("tidegate_git_requests", "HTTP requests to the Git server", git);
    registry
}

/// Where every app stands, as metrics.
fn board_metrics(board: &Board) -> Registry {
    let info = Family::<InfoLabels, Gauge>::default();
    let phases = Family::<PhaseLabels, Gauge>::default();
    for view in board.values() {
        info.get_or_create(&info_labels(view)).set(1);
        let phase = PhaseLabels { application: view.name.to_string(), phase: view.report.phase.as_str() };
        phases.get_or_create(&phase).set(1);
    }
    let mut registry = Registry::default();
    registry.register("argocd_app_info", "Information about application", info);
    registry.register("tidegate_app_phase", "The phase that an application is in", phases);
    registry
}

fn info_labels(view: &AppView) -> InfoLabels {
    let application = view.application.as_ref();
    let is_automated = application.is_some_and(|application| application.sync.is_automated);
    let repository = view.repository.to_lowercase();
    InfoLabels {
        namespace: view.namespace.clone(),
        name: view.name.to_string(),
        project: argocd::PROJECT,
        autosync_enabled: if is_automated { "true" } else { "false" },
        repo: repository.strip_suffix(".git").unwrap_or(&repository).to_owned(),
        dest_server: argocd::SERVER,
        dest_namespace: application.map(|application| application.namespace.clone()).unwrap_or_default(),
        sync_status: view.report.sync.as_str(),
        health_status: view.report.health.status.as_str(),
        operation: match view.report.phase.operation() {
            "Running" | "Terminating" => "sync",
            _ => "",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::fixture::{at, board, idle, measuring};

    fn sent() -> Requests {
        Requests { api: vec![("get", 2), ("apply", 5)], git: 3 }
    }

    fn lines(telemetry: &Telemetry, board: &Board) -> Vec<String> {
        telemetry.exposition(board, &sent()).lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_metric_comes_out_under_its_exact_name() {
        let telemetry = Telemetry::new();
        let app = AppName::from("web");
        telemetry.rollout_started(&app);
        telemetry.rollout_ended(&app, PastOutcome::Reverted);
        telemetry.gate_decided(&app, "errors", Verdict::Fail);
        telemetry.polled(PollOutcome::Moved, at(0));
        telemetry.polled(PollOutcome::Failed, at(60));
        telemetry.webhook_received("github", "poked");
        telemetry.applied(Ok(()));
        telemetry.applied(Err(&ApiError::Conflict));
        telemetry.rendered();
        telemetry.state_written(StateWrite::Record);
        telemetry.reverted("shop", &app, 3, at(60));
        telemetry.passed(Duration::from_millis(2));
        let lines = lines(&telemetry, &board(vec![idle("web")]));
        for expected in [
            r#"tidegate_rollouts_total{application="web",outcome="started"} 1"#,
            r#"tidegate_rollouts_total{application="web",outcome="reverted"} 1"#,
            r#"tidegate_gates_total{application="web",gate="errors",verdict="Fail"} 1"#,
            r#"tidegate_polls_total{outcome="moved"} 1"#,
            r#"tidegate_polls_total{outcome="failed"} 1"#,
            "tidegate_last_poll_timestamp_seconds 1767322800",
            r#"tidegate_webhooks_total{provider="github",outcome="poked"} 1"#,
            r#"tidegate_applies_total{outcome="applied"} 1"#,
            r#"tidegate_applies_total{outcome="conflict"} 1"#,
            "tidegate_renders_total 1",
            r#"tidegate_state_writes_total{kind="record"} 1"#,
            r#"ota_rollback_pods_total{namespace="shop",application="web"} 3"#,
            "# TYPE ota_rollback_pods counter",
            r#"ota_last_rollback_timestamp_seconds{namespace="shop",application="web"} 1767322860"#,
            "# TYPE ota_last_rollback_timestamp_seconds gauge",
            "tidegate_passes_total 1",
            r#"tidegate_api_requests_total{verb="apply"} 5"#,
            "tidegate_git_requests_total 3",
            "tidegate_pass_duration_seconds_count 1",
            r#"tidegate_app_phase{application="web",phase="Idle"} 1"#,
        ] {
            assert!(lines.iter().any(|line| line == expected), "missing {expected} in\n{}", lines.join("\n"));
        }
        assert_eq!(lines.last().map(String::as_str), Some("# EOF"));
        assert_eq!(lines.iter().filter(|line| line.starts_with('#') && line.contains("EOF")).count(), 1);
    }

    #[test]
    fn app_info_carries_argo_cds_labels() {
        for (view, sync, health, operation) in
            [(idle("web"), "Synced", "Healthy", ""), (measuring("web"), "OutOfSync", "Progressing", "sync")]
        {
            let expected = format!(
                "argocd_app_info{{namespace=\"tidegate\",name=\"web\",project=\"default\",autosync_enabled=\"true\",\
                 repo=\"https://git.example/shop\",dest_server=\"https://kubernetes.default.svc\",\
                 dest_namespace=\"shop\",sync_status=\"{sync}\",health_status=\"{health}\",\
                 operation=\"{operation}\"}} 1"
            );
            let lines = lines(&Telemetry::new(), &board(vec![view]));
            assert!(lines.contains(&expected), "missing {expected} in\n{}", lines.join("\n"));
        }
    }

    #[test]
    fn an_app_that_is_gone_leaves_no_series() {
        let telemetry = Telemetry::new();
        telemetry.reverted("shop", &AppName::from("web"), 3, at(60));
        telemetry.forget("shop", &AppName::from("web"));
        let text = telemetry.exposition(&board(vec![idle("api")]), &sent());
        assert!(!text.contains("\"web\""), "{text}");
    }

    #[test]
    fn a_restart_goes_on_counting_reverts() {
        let (telemetry, app) = (Telemetry::new(), AppName::from("web"));
        for (restored, added, expected) in [(5, 2, 7), (7, 0, 7), (3, 1, 8)] {
            telemetry.restore_reverts("shop", &app, restored, Some(at(60)));
            telemetry.reverted("shop", &app, added, at(120));
            let line = format!(r#"ota_rollback_pods_total{{namespace="shop",application="web"}} {expected}"#);
            assert!(lines(&telemetry, &board(Vec::new())).contains(&line), "{line}");
        }
    }
}
