//! An independent watcher: its own client, its own watches, every event kept.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use kube::Api;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{ApiResource, DynamicObject, WatchEvent};
use serde_json::Value;
use tokio::task::AbortHandle;

use super::child::lock;
use super::log::{Entry, Log, Mark};
use super::patience::{PATIENCE, moment, until};
use super::plane::{Plane, runtime};
use super::state::{Kind, State};

/// Watches one namespace of apps, and the Applications of one agent.
pub(crate) struct Observer {
    seen: Arc<Seen>,
    tasks: Vec<AbortHandle>,
}

struct Seen {
    inner: Mutex<Inner>,
    changed: Condvar,
    begun: Instant,
}

#[derive(Default)]
struct Inner {
    state: State,
    entries: Vec<Entry>,
    newest: u64,
    gaps: usize,
}

impl Observer {
    /// Starts to watch; returns once everything that exists is known.
    pub(crate) fn start(plane: &Plane, app_namespace: &str, agent_namespace: &str, kinds: &[Kind]) -> Self {
        let seen = Arc::new(Seen { inner: Mutex::default(), changed: Condvar::new(), begun: Instant::now() });
        let client = plane.client();
        let mut tasks = Vec::new();
        for &kind in kinds {
            let namespace = if kind == Kind::Application { agent_namespace } else { app_namespace };
            let api = Api::namespaced_with(client.clone(), namespace, &resource(kind));
            let revision = runtime().block_on(relist(&api, kind, &seen)).expect("the API server lists");
            tasks.push(runtime().spawn(follow(api, kind, Arc::clone(&seen), revision)).abort_handle());
        }
        Self { seen, tasks }
    }

    /// Waits until `find` finds something, at every event; fails after [`PATIENCE`], saying `what` was waited for.
    #[track_caller]
    pub(crate) fn find<T>(&self, what: &str, find: impl Fn(&State) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut inner = lock(&self.seen.inner);
        loop {
            if let Some(found) = find(&inner.state) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(inner);
                panic!("waited {PATIENCE:?} in vain until {what}\n{}", self.log().story());
            }
            inner = self.seen.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until a claim is true.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, claim: impl Fn(&State) -> bool) {
        self.find(what, |state| claim(state).then_some(()));
    }

    /// Waits as long as `window`, and gives whether the claim stayed true at every event.
    pub(crate) fn stays(&self, window: Duration, claim: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + window;
        let mut inner = lock(&self.seen.inner);
        while claim(&inner.state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            inner = self.seen.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Waits for so many more events; gives whether they came before `limit`, and before `is_over`.
    pub(crate) fn wait_events(&self, count: usize, limit: Duration, is_over: impl Fn() -> bool) -> bool {
        let seen = || lock(&self.seen.inner).entries.len();
        let target = seen() + count;
        // Whether they came or not: a rollout that stands still is a moment too.
        let _ = until(limit, || seen() >= target || is_over());
        !is_over()
    }

    /// Reads the present state.
    pub(crate) fn now<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&lock(&self.seen.inner).state)
    }

    /// This moment.
    pub(crate) fn mark(&self) -> Mark {
        Mark(lock(&self.seen.inner).newest)
    }

    /// Everything so far.
    pub(crate) fn log(&self) -> Log {
        let inner = lock(&self.seen.inner);
        Log::new(inner.entries.clone(), inner.gaps, self.seen.begun)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Watches one kind for ever: each watch continues where the last one ended.
async fn follow(api: Api<DynamicObject>, kind: Kind, seen: Arc<Seen>, mut revision: String) {
    loop {
        match watch(&api, kind, &seen, &mut revision).await {
            Ok(()) => {}
            Err(Broken::TooOld) => match relist(&api, kind, &seen).await {
                Ok(newest) => {
                    lock(&seen.inner).gaps += 1;
                    revision = newest;
                }
                Err(_) => moment().await,
            },
            // The API server is being restarted: the next watch says how far it can continue.
            Err(Broken::Connection) => moment().await,
        }
    }
}

enum Broken {
    TooOld,
    Connection,
}

async fn watch(api: &Api<DynamicObject>, kind: Kind, seen: &Seen, revision: &mut String) -> Result<(), Broken> {
    const SECONDS: u32 = 50;
    let watch = api.watch(&WatchParams::default().timeout(SECONDS), revision).await.map_err(|error| broken(&error))?;
    let mut events = watch.boxed();
    let limit = Duration::from_secs(u64::from(SECONDS) + 10);
    while let Some(event) = tokio::time::timeout(limit, events.try_next())
        .await
        .map_err(|_| Broken::Connection)?
        .map_err(|error| broken(&error))?
    {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                *revision = seen.note(kind, &object, true);
            }
            WatchEvent::Deleted(object) => *revision = seen.note(kind, &object, false),
            WatchEvent::Bookmark(bookmark) => *revision = bookmark.metadata.resource_version,
            WatchEvent::Error(status) if status.code == 410 => return Err(Broken::TooOld),
            WatchEvent::Error(_) => return Err(Broken::Connection),
        }
    }
    Ok(())
}

fn broken(error: &kube::Error) -> Broken {
    match error {
        kube::Error::Api(status) if status.code == 410 => Broken::TooOld,
        _ => Broken::Connection,
    }
}

/// Reads the whole collection: new objects, changed ones, and those that are gone.
async fn relist(api: &Api<DynamicObject>, kind: Kind, seen: &Seen) -> Result<String, kube::Error> {
    let list = api.list(&ListParams::default()).await?;
    let revision = list.metadata.resource_version.clone().unwrap_or_default();
    let mut found = BTreeSet::new();
    for object in &list.items {
        found.insert(object.metadata.uid.clone().unwrap_or_default());
        seen.note(kind, object, true);
    }
    let is_gone = |known: &&(Kind, String)| known.0 == kind && !found.contains(&known.1);
    let gone: Vec<String> = {
        let inner = lock(&seen.inner);
        inner.state.objects.keys().filter(is_gone).map(|(_, uid)| uid.clone()).collect()
    };
    for uid in gone {
        seen.keep(kind, uid, None, revision.parse().unwrap_or(0));
    }
    Ok(revision)
}

impl Seen {
    /// Keeps an event; gives its resourceVersion.
    fn note(&self, kind: Kind, object: &DynamicObject, exists: bool) -> String {
        let revision = object.metadata.resource_version.clone().unwrap_or_default();
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let value = exists.then(|| Arc::new(serde_json::to_value(object).expect("objects are JSON")));
        self.keep(kind, uid, value, revision.parse().expect("resourceVersions are etcd's revisions"));
        revision
    }

    fn keep(&self, kind: Kind, uid: String, object: Option<Arc<Value>>, revision: u64) {
        let mut inner = lock(&self.inner);
        let key = (kind, uid.clone());
        if object.is_some() && inner.state.objects.get(&key).map(|known| &**known) == object.as_deref() {
            return;
        }
        match &object {
            Some(object) => inner.state.objects.insert(key, Arc::clone(object)),
            None => inner.state.objects.remove(&key),
        };
        inner.newest = inner.newest.max(revision);
        inner.entries.push(Entry { revision, at: Instant::now(), kind, uid, object });
        drop(inner);
        self.changed.notify_all();
    }
}

/// Where objects of a kind are.
pub(crate) fn resource(kind: Kind) -> ApiResource {
    let (group, version, word, plural) = match kind {
        Kind::Application => ("tidegate.dev", "v1alpha1", "Application", "applications"),
        Kind::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
        Kind::DaemonSet => ("apps", "v1", "DaemonSet", "daemonsets"),
        Kind::Deployment => ("apps", "v1", "Deployment", "deployments"),
        Kind::Pod => ("", "v1", "Pod", "pods"),
        Kind::ReplicaSet => ("apps", "v1", "ReplicaSet", "replicasets"),
        Kind::Service => ("", "v1", "Service", "services"),
        Kind::ServiceAccount => ("", "v1", "ServiceAccount", "serviceaccounts"),
        Kind::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
    };
    let kind = kube::core::GroupVersionKind::gvk(group, version, word);
    ApiResource::from_gvk_with_plural(&kind, plural)
}
