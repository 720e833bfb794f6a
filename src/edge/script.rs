//! A scripted HTTP server on loopback for the edges' tests: each request takes the next answer, and is kept to be asserted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::Value;

/// Longest request body that is kept.
const BODY_BYTES_MAX: usize = 1 << 20;

/// One answer.
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    chunks: Vec<String>,
    is_left_open: bool,
}

impl Answer {
    /// A whole answer.
    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), chunks: vec![body.to_owned()], is_left_open: false }
    }

    /// A whole answer in JSON.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { headers: vec![("content-type", "application/json")], ..Self::text(status, &body.to_string()) }
    }

    /// An answer in pieces.
    pub(crate) fn chunks(chunks: &[&str]) -> Self {
        Self { chunks: chunks.iter().map(|&chunk| chunk.to_owned()).collect(), ..Self::text(200, "") }
    }

    /// The same answer, whose end never comes.
    pub(crate) fn left_open(mut self) -> Self {
        self.is_left_open = true;
        self
    }

    /// The same answer with one more header.
    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let pieces = stream::iter(self.chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk))));
        let body = if self.is_left_open {
            Body::from_stream(pieces.chain(stream::pending()))
        } else {
            Body::from_stream(pieces)
        };
        response.body(body).unwrap()
    }
}

/// What was asked, as `METHOD target`, with a content type and a body when there was one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) accept: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

#[derive(Default)]
struct Exchanges {
    answers: VecDeque<Answer>,
    asked: Vec<Asked>,
}

/// The server. It ends with the value.
pub(crate) struct Script {
    pub(crate) base_url: String,
    exchanges: Arc<Mutex<Exchanges>>,
    task: tokio::task::JoinHandle<()>,
}

impl Script {
    /// Serves these answers in order.
    pub(crate) async fn serve(answers: Vec<Answer>) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let exchanges = Arc::new(Mutex::new(Exchanges { answers: answers.into(), asked: Vec::new() }));
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&exchanges));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { base_url, exchanges, task }
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.exchanges.lock().unwrap().asked.clone()
    }

    /// The first lines of all requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(exchanges): State<Arc<Mutex<Exchanges>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let asked = Asked {
        line: format!("{} {}", parts.method, parts.uri),
        accept: header("accept"),
        content_type: header("content-type"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let mut exchanges = exchanges.lock().unwrap();
    exchanges.asked.push(asked);
    exchanges.answers.pop_front().unwrap_or_else(|| Answer::text(418, "the script is over")).into_response()
}
