//! The HTTP server: what people and machines ask of the agent.
//!
//! Enters: the [`Board`] that passes publish, and requests. Leaves: encodings of `status`, metrics, and hints to look at Git
//! again. It changes nothing: what is declared is edited in Git, what is asked of an app goes through its resource.
//!
//! Two listeners: the API, behind a bearer token, and the operator's port with `/healthz`, `/readyz` and `/metrics`. Beside the
//! API, behind secrets of its own, stands the route of webhooks.

mod api;
mod connections;
mod failure;
mod filter;
mod ops;
mod refusal;
#[cfg(test)]
mod tests;
mod token;
mod webhook;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::model::AppName;
use crate::status::{AppView, Board, Standing};
use crate::telemetry::{Requests, Telemetry};
use crate::world::ApiError;
use token::TokenFile;

pub use webhook::{Followed, Webhook};

/// Where to listen, and what admits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the API; port 0 takes any free one.
    pub api_address: SocketAddr,
    /// Address of health endpoints and metrics; port 0 takes any free one.
    pub ops_address: SocketAddr,
    /// File with the bearer token, read at each request that presents one.
    pub token_file: PathBuf,
    /// How webhooks of Git hosts are heard; without it there is no such route.
    pub webhook: Option<Webhook>,
}

/// Reads the resources of an app from the cluster, as Argo CD's `ApplicationTree`. It asks anew each time, and may take long.
pub type Reader = Arc<dyn Fn(Arc<AppView>) -> BoxFuture<'static, Result<Value, ApiError>> + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct Sources {
    /// All apps.
    pub board: watch::Receiver<Board>,
    /// What `/readyz` and the API go by.
    pub standing: watch::Receiver<Standing>,
    /// The one thing that is not answered from memory.
    pub resources: Reader,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or may not be used.
    #[error("failed to listen for {purpose} on {address}")]
    Listen {
        /// `api` or `ops`.
        purpose: &'static str,
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    /// Where the API listens.
    pub api_address: SocketAddr,
    /// Where health endpoints and metrics listen.
    pub ops_address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Server {
    /// Waits until both listeners have stopped and their requests are answered.
    pub async fn stopped(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Starts both listeners and returns as soon as they listen.
///
/// They stop once `shutdown` says true or its sender is gone: no connection is accepted any more, requests under way are
/// answered. `poke` gets the name of an app whose caller asks for a refresh; when its
/// queue is full the hint is dropped, as the hints before it lead to the same poll.
///
/// # Errors
/// When an address cannot be listened on.
pub async fn serve(
    settings: Settings,
    sources: Sources,
    telemetry: Telemetry,
    requests: impl Fn() -> Requests + Send + Sync + 'static,
    poke: mpsc::Sender<AppName>,
    shutdown: watch::Receiver<bool>,
) -> Result<Server, ServerError> {
    let (api_listener, api_address) = listen("api", settings.api_address).await?;
    let (ops_listener, ops_address) = listen("ops", settings.ops_address).await?;
    let token = TokenFile::new(settings.token_file);
    // Says at start, not at the first request, that nobody will get in.
    token.read().await;
    let Sources { board, standing, resources } = sources;
    let resources = api::Resources::new(resources);
    let (seen, stood) = (board.clone(), standing.clone());
    let mut api =
        api::router(api::Shared { board: seen, standing: stood.clone(), token: Arc::new(token), poke, resources });
    if let Some(webhook) = settings.webhook {
        webhook::announce(&webhook).await;
        api = api.merge(webhook::router(webhook, stood, telemetry.clone(), webhook::Limits::USUAL));
    }
    let ops = ops::router(ops::Shared { board, standing, telemetry, requests: Arc::new(requests) });
    let mut tasks = JoinSet::new();
    tasks.spawn(connections::accept(api_listener, api, shutdown.clone()));
    tasks.spawn(connections::accept(ops_listener, ops, shutdown));
    tracing::info!(address = %api_address, "api listening");
    tracing::info!(address = %ops_address, "ops listening");
    Ok(Server { api_address, ops_address, tasks })
}

async fn listen(purpose: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |source| ServerError::Listen { purpose, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
