//! The operator's port: health endpoints and metrics. No token: it is for the kubelet and Prometheus.
//!
//! Enters: readiness, the board, the metrics. Leaves: short texts.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::api;
use crate::status::Board;
use crate::telemetry::{EXPOSITION_TYPE, Telemetry};

/// What the handlers read.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) board: watch::Receiver<Board>,
    pub(super) ready: watch::Receiver<bool>,
    pub(super) telemetry: Telemetry,
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
    let is_ready = *shared.ready.borrow();
    if is_ready { "ok".into_response() } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready").into_response() }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let board = Board::clone(&shared.board.borrow());
    ([(header::CONTENT_TYPE, EXPOSITION_TYPE)], shared.telemetry.exposition(&board)).into_response()
}
