//! Connections: accepted, limited in number and time, and drained at the end.
//!
//! Enters: a listener, a router, the word to stop. Leaves: answered requests. It knows no route.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections at once per listener. With buffers of at most 64 KiB each they stay below 16 MiB; more wait in the backlog.
const CONNECTIONS_MAX: usize = 256;

/// How long the head of a request may take, and an idle connection may wait for its next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one connection is kept, so that one that never reads its answers does not hold its place for ever.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);

/// How long requests under way may take at the end. Kubernetes kills after 30 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait after a failed accept: it fails mostly for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// 64 KiB of request head: tokens, cookies and queries are far smaller.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Serves `router` on `listener` until told to stop, then answers what is under way.
pub(super) async fn accept(listener: TcpListener, router: Router, mut shutdown: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place.expect("the semaphore is never closed"),
            () = told_to_stop(&mut shutdown) => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told_to_stop(&mut shutdown) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, shutdown) = (router.clone(), shutdown.clone());
                connections.spawn(async move {
                    serve_connection(stream, router, shutdown).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::select! {
                    () = sleep(ACCEPT_RETRY) => {}
                    () = told_to_stop(&mut shutdown) => break,
                }
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        connections.shutdown().await;
    }
}

async fn serve_connection(stream: TcpStream, router: Router, mut shutdown: watch::Receiver<bool>) {
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = told_to_stop(&mut shutdown) => None,
        () = sleep(CONNECTION_AGE_MAX) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Returns once the word to stop was given, or nobody is left to give it.
async fn told_to_stop(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: the process is on its way out.
    let _ = shutdown.wait_for(|stops| *stops).await;
}
