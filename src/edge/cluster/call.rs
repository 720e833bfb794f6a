//! Sends one request to the API server. Enters: a [`Call`]. Leaves: the answer's JSON, or an [`ApiError`]. It limits
//! time, bytes and requests in flight; it retries nothing.

use std::error::Error as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::client::Body;
use serde_json::Value;

use super::budget::Budget;
use super::counts::{RequestCounts, Verb};
use super::refusal::{self, cut};
use super::term::Term;
use crate::edge::cause::innermost;
use crate::model::GroupKind;
use crate::world::{Acting, ApiError};

/// Longest answer that is read. The largest pages that a real server gives are 500 objects of at most 1.5 MiB, in
/// practice below 10 MiB; this keeps a broken one from eating the process.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How long a call other than a watch may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A request to be sent.
pub(super) struct Call {
    verb: Verb,
    method: Method,
    /// Path and query.
    target: String,
    accept: &'static str,
    content: Option<(&'static str, Vec<u8>)>,
    /// What the call is about: refusals of Secrets are told more tersely.
    kind: GroupKind,
    /// Whether only an agent that leads may send it.
    is_guarded: bool,
    /// The user that the server is to judge it as.
    acting: Option<String>,
}

impl Call {
    /// A call that only reads.
    pub(super) fn read(verb: Verb, target: String, kind: GroupKind) -> Self {
        Self {
            verb,
            method: Method::GET,
            target,
            accept: "application/json",
            content: None,
            kind,
            is_guarded: false,
            acting: None,
        }
    }

    /// A call that changes something.
    pub(super) fn write(
        verb: Verb,
        method: Method,
        target: String,
        kind: GroupKind,
        (content_type, body): (&'static str, &Value),
    ) -> Self {
        let content = Some((content_type, body.to_string().into_bytes()));
        Self { verb, method, target, accept: "application/json", content, kind, is_guarded: true, acting: None }
    }

    /// The same call, sent whether this agent leads or not.
    pub(super) fn unguarded(mut self) -> Self {
        self.is_guarded = false;
        self
    }

    /// The same call, on somebody's behalf. The API server adds a service account's groups by itself
    /// (`staging/src/k8s.io/apiserver/pkg/endpoints/filters/impersonation`).
    pub(super) fn acting(mut self, acting: Acting<'_>) -> Self {
        self.acting = acting.map(str::to_owned);
        self
    }

    /// The same call, answered in another form.
    pub(super) fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }
}

/// Sends calls.
pub(super) struct Caller {
    client: kube::Client,
    reads: Budget,
    /// For writes; reads have their own, so that neither starves the other.
    pub(super) writes: Budget,
    /// Requests so far.
    pub(super) counts: Arc<RequestCounts>,
    /// Until when writes may start.
    pub(super) term: Term,
}

impl Caller {
    /// Sends through this client, at most so many reads and so many writes at once, and fewer while the API server refuses
    /// some of them.
    pub(super) fn new(client: kube::Client, in_flight_max: usize) -> Self {
        let (reads, writes) = (Budget::new(in_flight_max), Budget::new(in_flight_max));
        Self { client, reads, writes, counts: Arc::default(), term: Term::new() }
    }

    /// Sends a call and reads the whole answer.
    pub(super) async fn send(&self, call: Call) -> Result<Value, ApiError> {
        read(&self.send_for_bytes(call).await?, "JSON")
    }

    /// The same, with the answer as it came.
    pub(super) async fn send_for_bytes(&self, call: Call) -> Result<Bytes, ApiError> {
        let is_write = call.verb.is_write();
        let budget = if is_write { &self.writes } else { &self.reads };
        // Waiting for a permit is bounded by the calls before, each at most CALL_TIMEOUT long.
        let _permit = budget.acquire().await;
        let exchange = std::pin::pin!(async {
            let body = self.open(call).await?.into_body();
            collect(body).await.map_err(|lost| lost.into_error(is_write))
        });
        let answer = in_time(exchange).await;
        match &answer {
            Err(ApiError::Busy { .. }) => budget.refused(Instant::now()),
            // What was not sent, or not answered, says nothing of how much the server takes.
            Err(ApiError::Deposed | ApiError::Unreachable(_) | ApiError::TimedOut) => {}
            Ok(_) | Err(_) => budget.taken(),
        }
        answer
    }

    /// Sends a call and leaves the answer's body to be read. The caller limits time.
    pub(super) async fn open(&self, call: Call) -> Result<Response<Body>, ApiError> {
        let Call { verb, method, target, accept, content, kind, is_guarded, acting } = call;
        let mut request = Request::builder().method(method).uri(target).header(header::ACCEPT, accept);
        if let Some(user) = acting {
            request = request.header("Impersonate-User", user);
        }
        let body = match content {
            None => Body::empty(),
            Some((content_type, bytes)) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                Body::from(bytes)
            }
        };
        let request = request.body(body).map_err(|_source| ApiError::Invalid("its path is no URL".to_owned()))?;
        if is_guarded && !self.term.may_write() {
            return Err(ApiError::Deposed);
        }
        self.counts.count(verb);
        let response = self.client.send(request).await.map_err(|error| unsent(error, verb.is_write()))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after_seconds =
            response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let bytes = collect(response.into_body()).await.unwrap_or_default();
        Err(refusal::from_answer(status.as_u16(), retry_after_seconds, &bytes, &kind))
    }
}

/// Reads an answer, or a part of one, that is to be a `what`.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(answer: &'a [u8], what: &str) -> Result<T, ApiError> {
    serde_json::from_slice(answer).map_err(|_source| ApiError::Server(format!("its answer is no {what}")))
}

/// Gives an exchange [`CALL_TIMEOUT`], by the clock and before anything else is done for it: a process that was frozen in
/// the middle of a call must not go on sending once it is thawed, even when timers are told later than sockets.
async fn in_time<T>(mut exchange: Pin<&mut impl Future<Output = Result<T, ApiError>>>) -> Result<T, ApiError> {
    let started = Instant::now();
    let watched = std::future::poll_fn(|context| {
        if started.elapsed() >= CALL_TIMEOUT {
            return Poll::Ready(Err(ApiError::TimedOut));
        }
        exchange.as_mut().poll(context)
    });
    tokio::time::timeout(CALL_TIMEOUT, watched).await.unwrap_or(Err(ApiError::TimedOut))
}

/// Why an answer did not arrive whole.
enum Lost {
    TooLong,
    Broken(String),
}

impl Lost {
    fn into_error(self, is_write: bool) -> ApiError {
        match self {
            Self::TooLong => ApiError::Server(format!("its answer is longer than {ANSWER_BYTES_MAX} bytes")),
            // The request went out: whether it took effect is unknown, as after a time-out.
            Self::Broken(_) if is_write => ApiError::TimedOut,
            Self::Broken(why) => ApiError::Unreachable(why),
        }
    }
}

async fn collect(body: Body) -> Result<Bytes, Lost> {
    match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Lost::TooLong),
        Err(error) => Err(Lost::Broken(cut(&innermost(&*error)))),
    }
}

/// Translates an error of a request that got no answer.
fn unsent(error: kube::Error, is_write: bool) -> ApiError {
    match error {
        // Its text may quote the output of a credential program.
        kube::Error::Auth(_) => ApiError::Unreachable("the credentials for the API server cannot be read".to_owned()),
        error if is_connect(&error) => ApiError::Unreachable(cut(&innermost(&error))),
        error => Lost::Broken(cut(&innermost(&error))).into_error(is_write),
    }
}

fn is_connect(error: &kube::Error) -> bool {
    let mut link: Option<&(dyn std::error::Error + 'static)> = match error {
        kube::Error::Service(source) => Some(&**source),
        error => error.source(),
    };
    while let Some(error) = link {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        link = error.source();
    }
    false
}
