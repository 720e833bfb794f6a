//! The soak's eyes: every write as etcd stored it, in order, over etcd's own JSON gateway.
//!
//! Below the API server, so that its death blinds nobody: a watch goes on from the revision after the last one seen,
//! and only compaction can take something away. Then everything is read again, and told as a gap. The API server must
//! store JSON for this (`--store-json`).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::judge::{Event, Kind};
use crate::support::patience::moment;

/// A watch that says nothing for this long is opened again: something in a cluster always writes.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What the eyes tell.
pub(crate) enum Seen {
    /// One write.
    Write(Event),
    /// History was lost; this is everything that exists now.
    Gap(Vec<Event>),
}

/// Where to look.
#[derive(Clone)]
pub(crate) struct Eyes {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    prefixes: [(Kind, String); 5],
}

enum Broken {
    Compacted,
    Connection,
}

impl Eyes {
    /// Looks at the apps' and the agent's namespace.
    pub(crate) fn new(url: &str, apps: &str, agent: &str) -> Self {
        let of = |plural: &str| format!("/registry/{plural}/{apps}/");
        let prefixes = [
            (Kind::Application, format!("/registry/tidegate.dev/applications/{agent}/")),
            (Kind::ConfigMap, of("configmaps")),
            (Kind::Deployment, of("deployments")),
            (Kind::Pod, of("pods")),
            (Kind::ReplicaSet, of("replicasets")),
        ];
        Self { client: Client::builder(TokioExecutor::new()).build_http(), url: url.to_owned(), prefixes }
    }

    /// Tells every write from now on, for ever.
    pub(crate) async fn follow(self, tell: std::sync::mpsc::Sender<Seen>) {
        let mut next = None;
        loop {
            let from = match next {
                Some(from) => from,
                None => {
                    let Some((revision, objects)) = self.list().await else {
                        moment().await;
                        continue;
                    };
                    let _ = tell.send(Seen::Gap(objects));
                    revision + 1
                }
            };
            let (reached, why) = self.watch(from, &tell).await;
            next = match why {
                Broken::Compacted => None,
                Broken::Connection => Some(reached),
            };
            moment().await;
        }
    }

    /// Everything at one revision.
    async fn list(&self) -> Option<(u64, Vec<Event>)> {
        let mut revision = 0;
        let mut found = Vec::new();
        for (_, prefix) in &self.prefixes {
            let (key, end) = range(prefix);
            let body = json!({"key": key, "range_end": end, "revision": revision.to_string()});
            let answer = self.post("/v3/kv/range", &body).await.ok()?.into_body().collect().await.ok()?.to_bytes();
            let answer: Value = serde_json::from_slice(&answer).ok()?;
            if revision == 0 {
                revision = number(&answer["header"]["revision"])?;
            }
            found.extend(answer["kvs"].as_array().into_iter().flatten().filter_map(|entry| self.event(entry, false)));
        }
        Some((revision, found))
    }

    /// Watches from a revision; gives the one to go on from.
    async fn watch(&self, from: u64, tell: &std::sync::mpsc::Sender<Seen>) -> (u64, Broken) {
        let mut next = from;
        let (key, end) = range("/registry/");
        let body = json!({"create_request": {"key": key, "range_end": end, "start_revision": from.to_string()}});
        let Ok(response) = self.post("/v3/watch", &body).await else { return (next, Broken::Connection) };
        let mut body = response.into_body();
        let mut text = Vec::new();
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(SILENCE_MAX, body.frame()).await {
            text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let Ok(line) = serde_json::from_slice::<Value>(&line) else { return (next, Broken::Connection) };
                let result = &line["result"];
                if number(&result["compact_revision"]).is_some_and(|revision| revision > 0) {
                    return (next, Broken::Compacted);
                }
                for entry in result["events"].as_array().into_iter().flatten() {
                    let revision = number(&entry["kv"]["mod_revision"]).unwrap_or(0);
                    // Several writes may share a revision; a broken watch may end between them.
                    next = next.max(revision);
                    if let Some(event) = self.event(&entry["kv"], entry["type"] == "DELETE") {
                        let _ = tell.send(Seen::Write(event));
                    }
                }
                if let Some(revision) = number(&result["header"]["revision"]).filter(|_| result["events"].is_array()) {
                    next = next.max(revision + 1);
                }
            }
        }
        (next, Broken::Connection)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<http::Response<hyper::body::Incoming>, ()> {
        let request = http::Request::post(format!("{}{path}", self.url))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("the URL of etcd is one");
        let answer = tokio::time::timeout(SILENCE_MAX, self.client.request(request)).await;
        answer.map_err(drop)?.map_err(drop).and_then(|answer| if answer.status() == 200 { Ok(answer) } else { Err(()) })
    }

    fn event(&self, entry: &Value, is_deletion: bool) -> Option<Event> {
        let key = String::from_utf8(STANDARD.decode(entry["key"].as_str()?).ok()?).ok()?;
        let (kind, prefix) = self.prefixes.iter().find(|(_, prefix)| key.starts_with(prefix.as_str()))?;
        let object = if is_deletion {
            None
        } else {
            let bytes = STANDARD.decode(entry["value"].as_str()?).expect("etcd's gateway sends base64");
            let mut object: Value = serde_json::from_slice(&bytes).expect("the API server stores JSON, as told");
            // The bulk of an object, and nothing that is judged.
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
            Some(object)
        };
        Some(Event {
            revision: number(&entry["mod_revision"])?,
            kind: *kind,
            name: key[prefix.len()..].to_owned(),
            object,
        })
    }
}

/// A prefix as etcd's range: the end is the prefix with its last byte raised.
fn range(prefix: &str) -> (String, String) {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("prefixes are not empty") += 1;
    (STANDARD.encode(prefix), STANDARD.encode(end))
}

/// The gateway writes 64-bit numbers as text.
fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}
