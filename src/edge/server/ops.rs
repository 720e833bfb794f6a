//! The operator's port: health endpoints and metrics. No token: it is for the kubelet and Prometheus.
//!
//! Enters: readiness, the board, the metrics. Leaves: short texts.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::api;
use crate::status::{Board, Standing};
use crate::telemetry::{EXPOSITION_TYPE, Requests, Telemetry};

/// What the handlers read.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) board: watch::Receiver<Board>,
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) telemetry: Telemetry,
    pub(super) requests: Arc<dyn Fn() -> Requests + Send + Sync>,
}

/// The routes of the operator's port.
pub(super) fn router(shared: Shared) -> Router {
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared);
    api::guarded(routes)
}

async fn readyz(State(shared): State<Shared>) -> Response {
    // A replica that stands by is ready too: it is ready to lead, and a rollout of the agent itself waits for it.
    let standing = shared.standing.borrow().clone();
    match standing {
        Standing::Starting => (StatusCode::SERVICE_UNAVAILABLE, "not ready").into_response(),
        Standing::StandingBy { .. } => "ok: standing by".into_response(),
        Standing::Leading => "ok".into_response(),
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let board = Board::clone(&shared.board.borrow());
    ([(header::CONTENT_TYPE, EXPOSITION_TYPE)], shared.telemetry.exposition(&board, &(shared.requests)()))
        .into_response()
}
