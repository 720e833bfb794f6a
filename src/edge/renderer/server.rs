//! The renderer's own process: takes questions on a socket, runs the tools, answers.
//!
//! Enters: questions of the agent. Leaves: answers, and log lines. It knows no cluster and no Git.

use std::convert::Infallible;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::tool::{Programs, run};
use super::wire;
use crate::world::RenderFault;

/// What a question may have: the files of an app in base64, and its values.
const QUESTION_BYTES_MAX: usize = 32 << 20;

/// Why the renderer cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something that is no socket lies where the socket should be, or it cannot be made.
    #[error("failed to listen on {path}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Serves until the future is dropped. Runs at most `jobs` tools at once; further questions wait.
///
/// # Errors
/// When the socket cannot be made.
pub async fn serve(socket: &Path, programs: Programs, jobs: usize) -> Result<Infallible, ServeError> {
    let failed = |source| ServeError::Socket { path: socket.to_owned(), source };
    remove_leftover(socket).map_err(failed)?;
    let listener = UnixListener::bind(socket).map_err(failed)?;
    // Agent and renderer are one user; nobody else has a question.
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    tracing::info!(socket = %socket.display(), jobs, "renders");
    let _leftover = Leftover(socket);
    let programs = Arc::new(programs);
    let places = Arc::new(Semaphore::new(jobs));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream, Arc::clone(&programs), Arc::clone(&places)))),
            // Out of descriptors, for example: those in use come back.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Takes the socket away at the end: who asks afterwards learns at once that nobody listens.
struct Leftover<'a>(&'a Path);

impl Drop for Leftover<'_> {
    fn drop(&mut self) {
        drop(std::fs::remove_file(self.0));
    }
}

/// The socket of a run that ended without cleaning up.
fn remove_leftover(socket: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(socket) {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(socket),
        Ok(_) => Err(std::io::Error::other("it is there already, and is no socket")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn converse(stream: UnixStream, programs: Arc<Programs>, places: Arc<Semaphore>) {
    let service = service_fn(move |request| {
        let (programs, places) = (Arc::clone(&programs), Arc::clone(&places));
        async move { Ok::<_, Infallible>(respond(request, &programs, &places).await) }
    });
    // An agent that goes away takes its question with it: the run is dropped, and with it the tool.
    if let Err(error) = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn respond(request: Request<Incoming>, programs: &Programs, places: &Semaphore) -> Response<Full<Bytes>> {
    if request.method() != Method::POST || request.uri().path() != wire::PATH {
        return response(StatusCode::NOT_FOUND, Bytes::new());
    }
    let Ok(body) = Limited::new(request.into_body(), QUESTION_BYTES_MAX).collect().await else {
        return response(StatusCode::UNPROCESSABLE_ENTITY, Bytes::from_static(b"the app has too many files to render"));
    };
    let job = match wire::job(&body.to_bytes()) {
        Ok(job) => job,
        Err(why) => return response(StatusCode::BAD_REQUEST, why.into()),
    };
    let Ok(_place) = places.acquire().await else { return response(StatusCode::SERVICE_UNAVAILABLE, Bytes::new()) };
    let begun = Instant::now();
    let answer = run(programs, &job).await.and_then(|output| wire::answer(&output).map_err(RenderFault::Refused));
    let answer = answer.map_err(|fault| withheld(fault, job.is_secret));
    let (tool, path, ms) = (job.tool.name(), &job.path, begun.elapsed().as_millis() as u64);
    match answer {
        Ok(bytes) => {
            tracing::info!(tool, path, ms, "rendered");
            response(StatusCode::OK, bytes)
        }
        Err(fault) => {
            tracing::warn!(tool, path, ms, %fault, "not rendered");
            let status = match fault {
                RenderFault::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
                RenderFault::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            response(status, fault.to_string().into())
        }
    }
}

/// A tool may quote what it was given: its words are not passed on when that was decrypted.
fn withheld(fault: RenderFault, is_secret: bool) -> RenderFault {
    match fault {
        RenderFault::Refused(_) if is_secret => RenderFault::Refused(
            "it refuses, and its words are withheld, because files were decrypted for it: run it on your machine to read them"
                .to_owned(),
        ),
        fault => fault,
    }
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}
