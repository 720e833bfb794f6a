//! `POST /api/webhook`: a Git host says that something was pushed.
//!
//! Enters: requests of anybody. Leaves: at most a hint to look at Git now, never content. What a request says is believed
//! only as far as its sender is proved: the signature is checked over the body as it streams, before anything parses it, and
//! then only the repository and the refs are read. No body and no header reaches a log or an answer.
//!
//! Reading order: [`provider`] says who sends and what proves it, [`body`] reads within limits, [`push`] finds what was
//! pushed, [`followed`] whether that matters here.

mod body;
mod followed;
mod provider;
mod push;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::sync::{Semaphore, mpsc, watch};

pub use followed::Followed;
use provider::{Event, Provider};

use crate::model::Elsewhere;
use crate::status::Standing;
use crate::telemetry::Telemetry;

/// Where webhooks are proved, and whom they may matter to.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Folder with one secret per provider, read at each request.
    pub secrets: PathBuf,
    /// What the agent follows.
    pub followed: Vec<Followed>,
    /// Has Git looked at. A full channel is as good as sent.
    pub poke: mpsc::Sender<()>,
    /// Other repositories that applications use at present.
    pub others: watch::Receiver<BTreeSet<Elsewhere>>,
    /// Has one of them looked at.
    pub poke_other: mpsc::Sender<Elsewhere>,
}

/// What one who has proved nothing yet may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    body_bytes_max: usize,
    bodies_max: usize,
    read_timeout: Duration,
}

impl Limits {
    /// GitHub sends up to 25 MB, others less. Four such bodies are 100 MiB, a fifth of what the agent's pod may have. Hosts
    /// wait 10 s for an answer.
    pub(super) const USUAL: Self =
        Self { body_bytes_max: 25 * 1024 * 1024, bodies_max: 4, read_timeout: Duration::from_secs(10) };
}

/// The longest secret that is read: a mounted folder may hold anything.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Why a request is not heeded. Each is a sentence of ours: nothing of the request is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// No header names a provider that we know.
    Unknown,
    /// It is not proved, or not what its provider sends.
    Failed(&'static str),
    TooLarge,
    TooSlow,
    /// The connection ended within the body.
    Broken,
    /// As many bodies are read as may be.
    Busy,
    /// Another replica has to hear it.
    NotLeading,
}

/// What became of a request that was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heeded {
    /// Git is looked at.
    Poked,
    /// It is about something that nobody here follows.
    PassedOver,
}

struct Shared {
    webhook: Webhook,
    standing: watch::Receiver<Standing>,
    telemetry: Telemetry,
    places: Semaphore,
    limits: Limits,
}

/// The route. It stands beside those of the API: hosts have no token of ours, send large bodies, and say
/// `application/json; charset=utf-8`.
pub(super) fn router(
    webhook: Webhook,
    standing: watch::Receiver<Standing>,
    telemetry: Telemetry,
    limits: Limits,
) -> Router {
    let places = Semaphore::new(limits.bodies_max);
    let shared = Arc::new(Shared { webhook, standing, telemetry, places, limits });
    let refuse_method = || async { (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed") };
    Router::new().route("/api/webhook", post(receive).fallback(refuse_method)).with_state(shared)
}

/// Says at start, not at the first push, which providers are heard.
pub(super) async fn announce(webhook: &Webhook) {
    let mut heard = Vec::new();
    for provider in Provider::ALL {
        if secret(webhook, provider).await.is_some() {
            heard.push(provider.name());
        }
    }
    if heard.is_empty() {
        tracing::warn!(folder = %webhook.secrets.display(), "no webhook secret can be read: every webhook is refused");
    } else {
        tracing::info!(providers = heard.join(","), "webhooks are accepted");
    }
}

async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let provider = Provider::of(request.headers());
    let result = match provider {
        Some(provider) => shared.heed(provider, request).await,
        None => Err(Refusal::Unknown),
    };
    let outcome = match &result {
        Ok(Heeded::Poked) => "poked",
        Ok(Heeded::PassedOver) => "passed_over",
        Err(refusal) => refusal.outcome(),
    };
    shared.telemetry.webhook_received(provider.map_or("unknown", Provider::name), outcome);
    match result {
        Ok(Heeded::Poked | Heeded::PassedOver) => StatusCode::OK.into_response(),
        Err(refusal) => {
            // Not louder: anybody can cause it. Whoever set up the webhook reads the reason at the host.
            tracing::debug!(provider = provider.map_or("unknown", Provider::name), outcome, "a webhook was refused");
            refusal.into_response()
        }
    }
}

impl Shared {
    /// Proves a request, finds what it is about, and has Git looked at if that is followed.
    async fn heed(&self, provider: Provider, request: Request) -> Result<Heeded, Refusal> {
        let (Parts { headers, .. }, body) = request.into_parts();
        let secret = secret(&self.webhook, provider).await;
        let secret = secret.ok_or(Refusal::Failed("no secret is set for this provider"))?;
        if provider.is_unsigned_ping(&headers) {
            return Ok(Heeded::PassedOver);
        }
        let mut proof = provider.proof(&headers, &secret)?;
        let place = self.places.try_acquire().map_err(|_| Refusal::Busy)?;
        let reading = body::read(body, self.limits.body_bytes_max, |chunk| proof.hear(chunk));
        let bytes = tokio::time::timeout(self.limits.read_timeout, reading).await.map_err(|_| Refusal::TooSlow)??;
        proof.verify()?;
        let push = match provider.event(&headers) {
            Event::Push => push::read(provider, &bytes)?,
            Event::Other => return Ok(Heeded::PassedOver),
        };
        drop((bytes, place));
        let others = self.webhook.others.borrow().clone();
        let is_other = |other: &&Elsewhere| Followed::from(*other).is_touched_by(&push);
        let touched: Vec<&Elsewhere> = others.iter().filter(is_other).collect();
        let is_known = |followed: Followed| followed.is_repository(&push.urls);
        let is_ours = self.webhook.followed.iter().cloned().chain(others.iter().map(Followed::from)).any(is_known);
        let is_followed = self.webhook.followed.iter().any(|followed| followed.is_touched_by(&push));
        let is_heeded = is_followed || !touched.is_empty();
        tracing::info!(provider = provider.name(), is_ours, is_followed = is_heeded, "a push was announced");
        if !is_heeded {
            return Ok(Heeded::PassedOver);
        }
        if *self.standing.borrow() != Standing::Leading {
            return Err(Refusal::NotLeading);
        }
        // A full queue holds a hint that leads to the same poll; a closed one means that the agent is ending.
        if is_followed {
            let _ = self.webhook.poke.try_send(());
        }
        for other in touched {
            let _ = self.webhook.poke_other.try_send(other.clone());
        }
        Ok(Heeded::Poked)
    }
}

/// The secret of a provider as it is now, without the line feed at its end.
async fn secret(webhook: &Webhook, provider: Provider) -> Option<Vec<u8>> {
    let path = webhook.secrets.join(provider.name());
    let metadata = tokio::fs::metadata(&path).await.ok()?;
    if !metadata.is_file() || metadata.len() > SECRET_BYTES_MAX {
        return None;
    }
    let mut secret = tokio::fs::read(&path).await.ok()?;
    while secret.ends_with(b"\n") || secret.ends_with(b"\r") {
        secret.pop();
    }
    Some(secret).filter(|secret| !secret.is_empty())
}

impl Refusal {
    /// As metrics have it.
    const fn outcome(self) -> &'static str {
        match self {
            Self::Unknown | Self::Failed(_) => "refused",
            Self::TooLarge => "too_large",
            Self::TooSlow | Self::Broken => "timed_out",
            Self::Busy | Self::NotLeading => "busy",
        }
    }
}

impl IntoResponse for Refusal {
    /// The status codes and first words are Argo CD's.
    fn into_response(self) -> Response {
        let failed = |reason: &str| format!("Webhook processing failed: {reason}");
        let (status, text, retry_after) = match self {
            Self::Unknown => (StatusCode::BAD_REQUEST, "Unknown webhook event".to_owned(), None),
            Self::Failed(reason) => (StatusCode::BAD_REQUEST, failed(reason), None),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, failed("the body is too large"), None),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, failed("the body did not come in time"), None),
            Self::Broken => (StatusCode::BAD_REQUEST, failed("the body did not come whole"), None),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, failed("too many at once"), Some("10")),
            Self::NotLeading => (StatusCode::SERVICE_UNAVAILABLE, failed("this replica does not lead"), Some("1")),
        };
        let response = (status, text).into_response();
        match retry_after {
            Some(seconds) => ([(header::RETRY_AFTER, seconds)], response).into_response(),
            None => response,
        }
    }
}
