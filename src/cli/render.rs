//! `tidegate render`: the renderer of Kustomize and Helm beside an agent. Enters: flags. Leaves: answers on a socket.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use super::rendering::{is_for_fetching, on_path};
use crate::config::LogFormat;
use crate::edge::renderer::{Programs, serve};

/// Flags of `tidegate render`.
#[derive(Debug, clap::Args)]
pub(super) struct RenderArgs {
    /// Socket to listen on; the agent names the same one
    #[arg(long, env = "TIDEGATE_RENDERER", value_name = "SOCKET", default_value = "/run/tidegate/render.sock")]
    socket: PathBuf,
    /// The program `kustomize` [default: the one on the PATH]
    #[arg(long, value_name = "FILE")]
    kustomize: Option<PathBuf>,
    /// The program `helm` [default: the one on the PATH]
    #[arg(long, value_name = "FILE")]
    helm: Option<PathBuf>,
    /// Folder for private folders of runs and for fetched charts; it may be lost at any time
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/tidegate-render")]
    work: PathBuf,
    /// Docker's config.json with the logins of chart registries (oci://)
    #[arg(long, value_name = "FILE")]
    registry_config: Option<PathBuf>,
    /// Folder that holds a folder `HOST` or `HOST:PORT` with the files `username` and `password` for each chart repository
    #[arg(long, value_name = "FOLDER")]
    repository_credentials: Option<PathBuf>,
    /// PEM bundle to trust when charts are fetched
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Chart registry that is spoken to without TLS; repeatable
    #[arg(long = "plain-http", value_name = "HOST:PORT")]
    plain_http: Vec<String>,
    /// Tools that run at once
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,
    /// How log lines are written
    #[arg(long, env = "TIDEGATE_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Which log lines are written, such as `info,tidegate=debug`
    #[arg(long, env = "TIDEGATE_LOG", value_name = "FILTER", default_value = "info")]
    log_filter: String,
}

pub(super) async fn run(arguments: &RenderArgs) -> anyhow::Result<u8> {
    crate::telemetry::start_logging(arguments.log_format, &arguments.log_filter)?;
    let program = |given: &Option<PathBuf>, name: &str| given.clone().unwrap_or_else(|| on_path(name));
    let programs = Programs {
        kustomize: program(&arguments.kustomize, "kustomize"),
        helm: program(&arguments.helm, "helm"),
        work: arguments.work.clone(),
        registry_config: arguments.registry_config.clone(),
        repository_credentials: arguments.repository_credentials.clone(),
        ca_file: arguments.ca_file.clone(),
        plain_http: arguments.plain_http.clone(),
        environment: std::env::vars().filter(|(name, _)| is_for_fetching(name)).collect(),
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        never = serve(&arguments.socket, programs, usize::from(arguments.jobs)) => match never? {},
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(super::DONE)
}
