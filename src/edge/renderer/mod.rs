//! Kustomize and Helm, in a process of their own that has no credentials of the cluster.
//!
//! Enters: a [`RenderJob`] with every file that the tool may see. Leaves: what the tool printed, or why it printed nothing.
//! The agent never starts a process: it asks the renderer (`tidegate render`, beside it in the pod) over a socket in a folder
//! that both mount. Answers are kept on disk by the hash of the whole question, so that a restart renders nothing again.
//!
//! In reading order: `wire` (question and answer as bytes), `cache`, this client; then the renderer's own side: `server`,
//! `tool` (one run of a program), `chart` (the only thing that is ever fetched).

mod cache;
mod chart;
mod server;
mod tool;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use self::cache::Cache;
pub use self::server::{ServeError, serve};
pub use self::tool::{Programs, run};
use crate::model::{Digest, RenderJob, RenderOutput};
use crate::world::RenderFault;

/// What one question may take, all of its runs together.
const ANSWER_DEADLINE: Duration = Duration::from_secs(150);
/// A refusal is believed for so long: the same question gets the same answer until somebody changes the programs.
const REFUSED_FOR: Duration = Duration::from_secs(300);
/// Refusals remembered: each is a kilobyte at most.
const REFUSALS_MAX: usize = 1000;
/// What a renderer may answer: two renderings, as text in JSON.
const ANSWER_BYTES_MAX: usize = 4 * OUTPUT_BYTES_MAX;
/// What a tool may print: twice what the manifests of an app may have.
const OUTPUT_BYTES_MAX: usize = 32 << 20;

/// The way to the renderer.
#[derive(Debug)]
pub struct Renderer {
    socket: Option<PathBuf>,
    cache: Cache,
    refusals: Mutex<BTreeMap<Digest, (Instant, RenderFault)>>,
}

impl Renderer {
    /// Names the renderer's socket and the folder for answers; neither need exist yet. Without a socket nothing renders.
    #[must_use]
    pub fn new(socket: Option<PathBuf>, store: &Path) -> Self {
        Self { socket, cache: Cache::new(store.join("rendered")), refusals: Mutex::default() }
    }

    /// Has a tool render, unless it did so before.
    ///
    /// # Errors
    /// When no renderer answers, or the tool refuses.
    pub async fn render(&self, job: &RenderJob) -> Result<RenderOutput, RenderFault> {
        let question = wire::question(job);
        let key = wire::key(&question);
        if let Some(fault) = self.refusal(&key) {
            return Err(fault);
        }
        if let Some(output) = self.cache.get(&key).await.and_then(|bytes| wire::output(&bytes).ok()) {
            return Ok(output);
        }
        let Some(socket) = &self.socket else {
            return Err(RenderFault::Unavailable(format!(
                "this agent has no renderer for {}: run `tidegate render` beside it and name its socket in --renderer",
                job.tool.name()
            )));
        };
        let answer = tokio::time::timeout(ANSWER_DEADLINE, ask(socket, question)).await.unwrap_or_else(|_| {
            Err(RenderFault::Unavailable(format!("the renderer did not answer within {} s", ANSWER_DEADLINE.as_secs())))
        });
        match answer {
            Ok(bytes) => {
                let output = wire::output(&bytes).map_err(|error| {
                    RenderFault::Unavailable(format!("the renderer's answer makes no sense: {error}"))
                })?;
                self.cache.put(&key, bytes).await;
                Ok(output)
            }
            Err(fault) => {
                if let RenderFault::Refused(_) = &fault {
                    self.remember(key, fault.clone());
                }
                Err(fault)
            }
        }
    }

    fn refusal(&self, key: &Digest) -> Option<RenderFault> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.retain(|_, (at, _)| at.elapsed() < REFUSED_FOR);
        refusals.get(key).map(|(_, fault)| fault.clone())
    }

    fn remember(&self, key: Digest, fault: RenderFault) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() < REFUSALS_MAX {
            refusals.insert(key, (Instant::now(), fault));
        }
    }
}

/// Sends one question over the socket and reads the whole answer.
async fn ask(socket: &Path, question: Bytes) -> Result<Bytes, RenderFault> {
    let gone = |why: String| RenderFault::Unavailable(format!("the renderer at {} {why}", socket.display()));
    let gone = &gone;
    let stream = UnixStream::connect(socket).await.map_err(|error| gone(format!("cannot be reached: {error}")))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| gone(format!("does not speak HTTP: {error}")))?;
    let request = Request::post(wire::PATH).header(header::HOST, "renderer").body(Full::new(question));
    let request = request.expect("method, path and header are constants");
    // The sender moves in and ends with the exchange, and the connection with it.
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(|error| gone(format!("gave no answer: {error}")))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| gone(format!("broke off its answer: {error}")))?.to_bytes();
        let text = || String::from_utf8_lossy(&body).into_owned();
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNPROCESSABLE_ENTITY => Err(RenderFault::Refused(text())),
            StatusCode::SERVICE_UNAVAILABLE => Err(RenderFault::Unavailable(text())),
            status => Err(gone(format!("answers {status}"))),
        }
    };
    // The connection only carries the exchange; its own error shows there.
    let (answer, _) = futures::future::join(exchange, async { drop(connection.await) }).await;
    answer
}
