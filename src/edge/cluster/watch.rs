//! Watches of collections. Enters: a scope and a resourceVersion. Leaves: events, one after the other. A watch that ends
//! is told of and never started again: that is the agent's to decide.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::call::Call;
use super::counts::Verb;
use super::{Api, path, refusal, sent};
use crate::edge::cause::innermost;
use crate::edge::query::encode_pairs;
use crate::model::GroupKind;
use crate::world::{ApiError, Change, Event, Scope};

/// Events that wait to be taken; when so many do, watches stop reading and the server keeps what follows.
const EVENTS_WAITING_MAX: usize = 64;

/// Shortest time after which the server is asked to end a watch.
const WATCH_SECONDS_MIN: u64 = 45;

/// By how much the time may be longer, so that watches do not end all at once.
const WATCH_SECONDS_JITTER: u64 = 10;

/// How much later than asked for a watch may end: 45 + 10 + 5 s is the minute in which a silent one is noticed (L5).
const WATCH_SECONDS_LATE: u64 = 5;

/// Longest event: an object that etcd takes is at most 1.5 MiB long, and escapes in JSON may double it.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// All watches, and what they saw.
pub(super) struct Watches {
    running: Mutex<Running>,
    sender: mpsc::Sender<Seen>,
    receiver: tokio::sync::Mutex<mpsc::Receiver<Seen>>,
}

#[derive(Default)]
struct Running {
    by_scope: BTreeMap<Scope, Watching>,
    /// Given to the newest watch; an event of an older one of the same scope is dropped.
    generation: u64,
}

struct Watching {
    generation: u64,
    task: tokio::task::AbortHandle,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Seen {
    scope: Scope,
    generation: u64,
    sight: Sight,
}

/// What a watch saw.
enum Sight {
    Changed(Change),
    Ended(Option<ApiError>),
}

impl Watches {
    /// No watches.
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
        Self { running: Mutex::default(), sender, receiver: tokio::sync::Mutex::new(receiver) }
    }

    /// Starts to watch a scope, in place of an earlier watch of it.
    pub(super) fn start(&self, api: &Arc<Api>, scope: &Scope, resource_version: &str) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.generation += 1;
        let generation = running.generation;
        let teller = Teller { sender: self.sender.clone(), scope: scope.clone(), generation };
        let (api, resource_version) = (Arc::clone(api), resource_version.to_owned());
        let task = tokio::spawn(async move {
            let seconds = watch_seconds();
            let deadline = Instant::now() + Duration::from_secs(seconds + WATCH_SECONDS_LATE);
            let end = follow(&api, &resource_version, seconds, deadline, &teller).await;
            teller.tell(Sight::Ended(end.err())).await;
        });
        running.by_scope.insert(scope.clone(), Watching { generation, task: task.abort_handle() });
    }

    /// Stops the watch of a scope.
    pub(super) fn stop(&self, scope: &Scope) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).by_scope.remove(scope);
    }

    /// The next event of a watch that still runs; never returns while there is none.
    pub(super) async fn next_event(&self) -> Event {
        let mut receiver = self.receiver.lock().await;
        loop {
            let Seen { scope, generation, sight } =
                receiver.recv().await.expect("a sender is kept beside the receiver");
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            // An aborted watch may have left events in the channel.
            if running.by_scope.get(&scope).is_none_or(|watching| watching.generation != generation) {
                continue;
            }
            return match sight {
                Sight::Changed(change) => Event::Changed { scope, change },
                Sight::Ended(error) => {
                    running.by_scope.remove(&scope);
                    Event::WatchEnded { scope, error }
                }
            };
        }
    }
}

/// For how long to ask the server to keep a watch open.
fn watch_seconds() -> u64 {
    let mut byte = [0];
    // Without randomness watches end together, which costs a burst of requests and nothing else.
    let _ = getrandom::fill(&mut byte);
    WATCH_SECONDS_MIN + u64::from(byte[0]) % (WATCH_SECONDS_JITTER + 1)
}

/// Tells of one watch.
struct Teller {
    sender: mpsc::Sender<Seen>,
    scope: Scope,
    generation: u64,
}

impl Teller {
    /// Waits while too many events wait.
    async fn tell(&self, sight: Sight) {
        let seen = Seen { scope: self.scope.clone(), generation: self.generation, sight };
        // It fails only when the edge is gone, and this task with it.
        let _ = self.sender.send(seen).await;
    }
}

/// Reads one watch to its end, which is an error unless the server closed it.
async fn follow(
    api: &Api,
    resource_version: &str,
    seconds: u64,
    deadline: Instant,
    teller: &Teller,
) -> Result<(), ApiError> {
    let scope = &teller.scope;
    let opening = async {
        let known = api.find(&scope.kind, &scope.version).await?;
        let collection = path::collection(scope, &known)?;
        let query = encode_pairs(&[
            ("watch", "1"),
            ("resourceVersion", resource_version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", &seconds.to_string()),
        ]);
        let call = Call::read(Verb::Watch, format!("{collection}?{query}"), scope.kind.clone());
        api.settle(&scope.kind, &scope.version, api.caller.open(call).await)
    };
    let late = |_elapsed| ApiError::TimedOut;
    let mut body = tokio::time::timeout_at(deadline, opening).await.map_err(late)??.into_body();
    let mut lines = Lines::default();
    while let Some(bytes) = tokio::time::timeout_at(deadline, next_bytes(&mut body)).await.map_err(late)?? {
        lines.push(&bytes)?;
        while let Some(line) = lines.next() {
            teller.tell(Sight::Changed(read(&line, &scope.kind)?)).await;
        }
    }
    // A line that was cut off by the end is no event: the next watch brings it again.
    Ok(())
}

async fn next_bytes(body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
            Some(Err(error)) => return Err(ApiError::Unreachable(refusal::cut(&innermost(&error)))),
        }
    }
}

/// Bytes as they arrive, taken out line by line.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    /// Up to here there is no line break.
    searched: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        if self.bytes.len() + bytes.len() > EVENT_BYTES_MAX {
            return Err(ApiError::Server(format!("an event is longer than {EVENT_BYTES_MAX} bytes")));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let Some(at) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return None;
        };
        let rest = self.bytes.split_off(self.searched + at + 1);
        self.searched = 0;
        Some(std::mem::replace(&mut self.bytes, rest))
    }
}

/// Reads one event.
fn read(line: &[u8], kind: &GroupKind) -> Result<Change, ApiError> {
    let broken = |what: &str| ApiError::Server(format!("a watch event {what}"));
    let WireEvent { kind: event, object: raw } =
        serde_json::from_slice(line).map_err(|_source| broken("cannot be read"))?;
    let tree = || serde_json::from_str::<Value>(raw.get()).map_err(|_source| broken("cannot be read"));
    let stored = || sent::read(raw.get(), None).map_err(|_source| broken("holds no Kubernetes object"));
    match &*event {
        "ADDED" | "MODIFIED" => Ok(Change::Stored(stored()?)),
        "DELETED" => Ok(Change::Deleted(stored()?)),
        "BOOKMARK" => match tree()?.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
            Some(resource_version) => Ok(Change::Bookmark(resource_version.to_owned())),
            None => Err(broken("is a bookmark without resourceVersion")),
        },
        "ERROR" => Err(refusal::from_event(tree()?, kind)),
        _ => Err(broken("is of an unknown type")),
    }
}

#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[cfg(test)]
impl Watches {
    /// Returns once so many events wait.
    pub(super) async fn wait_for_waiting(&self, events: usize) {
        while self.receiver.lock().await.len() < events {
            tokio::task::yield_now().await;
        }
    }

    /// Reads a watch that ought to have ended long ago.
    pub(super) async fn follow_late(&self, api: &Api, scope: &Scope) -> Result<(), ApiError> {
        let teller = Teller { sender: self.sender.clone(), scope: scope.clone(), generation: 0 };
        follow(api, "1", WATCH_SECONDS_MIN, Instant::now(), &teller).await
    }
}
