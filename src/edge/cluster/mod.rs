//! The API server. Enters: verbs of [`crate::world::World`] with raw objects. Leaves: raw objects, watch events and
//! [`ApiError`]s. It decides nothing, retries nothing, and never logs what an object holds.

mod budget;
mod call;
mod client;
mod counts;
mod kinds;
mod path;
mod refusal;
mod sent;
mod term;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use self::call::{Call, Caller};
pub use self::counts::{RequestCounts, Verb};
use self::kinds::{KindTable, Known};
use self::sent::TypeMeta;
use self::watch::Watches;
use super::query::encode_pairs;
use crate::model::marks::FIELD_MANAGER;
use crate::model::{ClusterName, GroupKind, Millis, Object, ObjectKey};
use crate::world::{Acting, ApiError, ApplyOptions, Event, Kinds, Listed, Part, Preconditions, Scope};

/// How long a connection may take to come about: less than a call may (5 s), so that the report says which it was.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Objects per page of a list.
const PAGE_OBJECTS: &str = "500";

/// Most pages of one list: 200,000 objects, several times what a large cluster holds of one kind.
const PAGES_MAX: usize = 400;

/// What every write asks of the server: to give up when we do.
const WRITE_TIMEOUT: (&str, &str) = ("timeout", "5s");

/// A list without what its objects hold (`k8s.io/apimachinery/pkg/apis/meta/v1`, `PartialObjectMetadataList`).
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

const JSON: &str = "application/json";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// There is neither a kubeconfig nor a service account.
    #[error("failed to find how to reach the API server")]
    Settings(#[source] Box<kube::config::InferConfigError>),
    /// The settings cannot be used: certificates, keys, proxy.
    #[error("failed to set up the API client")]
    Client(#[source] Box<kube::Error>),
}

/// The API server.
pub struct Cluster {
    api: Arc<Api>,
    watches: Watches,
}

/// What calls and watches share.
struct Api {
    caller: Caller,
    kinds: KindTable,
}

impl Api {
    async fn find(&self, kind: &GroupKind, version: &str) -> Result<Known, ApiError> {
        self.kinds.find(&self.caller, kind, version, Instant::now()).await
    }

    /// Passes an answer on, and forgets a kind whose path turned out not to exist.
    fn settle<T>(&self, kind: &GroupKind, version: &str, answer: Result<T, ApiError>) -> Result<T, ApiError> {
        if let Err(ApiError::UnknownKind(_)) = &answer {
            self.kinds.forget(kind, version);
        }
        answer
    }

    async fn send(&self, kind: &GroupKind, version: &str, call: Call) -> Result<Value, ApiError> {
        let answer = self.caller.send(call).await;
        self.settle(kind, version, answer)
    }

    async fn send_for_object(&self, key: &ObjectKey, version: &str, call: Call) -> Result<Object, ApiError> {
        read_object(&key.cluster, self.send(&key.kind, version, call).await?)
    }
}

impl Cluster {
    /// Connects as the environment says: kubeconfig, or the pod's service account.
    ///
    /// # Errors
    /// When there are no settings, or none that can be used. The server need not be reachable.
    pub async fn open(in_flight_max: usize) -> Result<Self, ClusterError> {
        let settings = kube::Config::infer().await.map_err(|error| ClusterError::Settings(Box::new(error)))?;
        Self::connect(settings, in_flight_max)
    }

    /// Connects with settings of any origin. Until [`crate::world::World::lead`] says otherwise, it only reads and asks by
    /// dry run.
    ///
    /// # Errors
    /// When the settings cannot be used. The server need not be reachable.
    pub fn connect(settings: kube::Config, in_flight_max: usize) -> Result<Self, ClusterError> {
        let client = client::client(settings).map_err(|error| ClusterError::Client(Box::new(error)))?;
        let api = Api { caller: Caller::new(client, in_flight_max), kinds: KindTable::default() };
        Ok(Self { api: Arc::new(api), watches: Watches::new() })
    }

    /// See [`crate::world::World::uptime`].
    pub(super) fn uptime(&self) -> Millis {
        self.api.caller.term.uptime()
    }

    /// See [`crate::world::World::wait`].
    pub(super) async fn wait(&self, until: Millis) {
        self.api.caller.term.wait(until).await;
    }

    /// See [`crate::world::World::lead`].
    pub(super) fn lead(&self, until: Option<Millis>) {
        self.api.caller.term.lead(until);
    }

    /// How many requests were sent, by verb.
    #[must_use]
    pub fn request_counts(&self) -> Arc<RequestCounts> {
        Arc::clone(&self.api.caller.counts)
    }

    /// See [`crate::world::World::kinds`].
    ///
    /// # Errors
    /// What the server refuses, and what keeps it from answering.
    pub async fn kinds(&self) -> Result<Kinds, ApiError> {
        self.api.kinds.discover(&self.api.caller).await
    }

    /// The server's version, such as `v1.36.3`; `None` when it does not tell.
    ///
    /// # Errors
    /// What keeps it from answering: charts render differently without it, so that not to know is no answer.
    pub async fn version(&self) -> Result<Option<String>, ApiError> {
        let call = Call::read(Verb::Discover, "/version".to_owned(), GroupKind::new("", ""));
        match self.api.caller.send(call).await {
            Ok(told) => Ok(told.get("gitVersion").and_then(Value::as_str).map(str::to_owned)),
            Err(ApiError::NotFound | ApiError::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The namespaced kinds whose objects can be listed, each with the version that the server prefers.
    ///
    /// # Errors
    /// What the server refuses, and what keeps it from answering.
    pub async fn listed_kinds(&self) -> Result<std::collections::BTreeMap<GroupKind, String>, ApiError> {
        self.api.kinds.listed(&self.api.caller).await
    }

    /// See [`crate::world::World::get`].
    ///
    /// # Errors
    /// What the server refuses, and what keeps it from answering.
    pub async fn get(&self, key: &ObjectKey, version: &str) -> Result<Option<Object>, ApiError> {
        let known = self.api.find(&key.kind, version).await?;
        let call = Call::read(Verb::Get, path::object(key, version, &known, Part::Object)?, key.kind.clone());
        match self.api.send_for_object(key, version, call).await {
            Ok(object) => Ok(Some(object)),
            Err(ApiError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// See [`crate::world::World::list`].
    ///
    /// # Errors
    /// What the server refuses, and what keeps it from answering.
    pub async fn list(&self, scope: &Scope, label_selector: &str) -> Result<Listed, ApiError> {
        self.list_as(scope, label_selector, ListForm::Whole).await
    }

    /// See [`crate::world::World::list_metadata`].
    pub(super) async fn list_metadata(&self, scope: &Scope, label_selector: &str) -> Result<Listed, ApiError> {
        self.list_as(scope, label_selector, ListForm::Metadata).await
    }

    async fn list_as(&self, scope: &Scope, label_selector: &str, form: ListForm) -> Result<Listed, ApiError> {
        let known = self.api.find(&scope.kind, &scope.version).await?;
        let collection = path::collection(scope, &known)?;
        let mut items = Vec::new();
        let mut first_version = None;
        let mut next = String::new();
        for _page in 0..PAGES_MAX {
            let mut query = vec![("limit", PAGE_OBJECTS)];
            query.extend(
                [("labelSelector", label_selector), ("continue", &next)].iter().filter(|(_, value)| !value.is_empty()),
            );
            let call = Call::read(Verb::List, format!("{collection}?{}", encode_pairs(&query)), scope.kind.clone());
            let call = if form == ListForm::Metadata { call.accept(METADATA_LIST) } else { call };
            let answer = self.api.caller.send_for_bytes(call).await;
            let answer = self.api.settle(&scope.kind, &scope.version, answer)?;
            let page = read_page(&answer, scope, form, &mut items)?;
            // All pages are of one moment; were they not, the oldest is the one to watch from.
            let resource_version = first_version.get_or_insert(page.resource_version);
            match page.next {
                Some(token) => next = token,
                None => return Ok(Listed { items, resource_version: resource_version.clone() }),
            }
        }
        Err(ApiError::Server(format!("a list has more than {PAGES_MAX} pages")))
    }

    /// See [`crate::world::World::watch`]. Must be called within the runtime.
    pub(super) fn watch(&self, scope: &Scope, resource_version: &str) {
        self.watches.start(&self.api, scope, resource_version);
    }

    /// See [`crate::world::World::unwatch`].
    pub(super) fn unwatch(&self, scope: &Scope) {
        self.watches.stop(scope);
    }

    /// The next event of a watch; never returns while there is none.
    pub(super) async fn next_event(&self) -> Event {
        self.watches.next_event().await
    }

    /// See [`crate::world::World::create`].
    pub(super) async fn create(&self, object: &Object) -> Result<Object, ApiError> {
        let Object { key, version, body } = object;
        let home = path::home(key, version, &self.api.find(&key.kind, version).await?)?;
        let target = format!("{home}?{}", write_query(FIELD_MANAGER));
        let call = guarded(key, Call::write(Verb::Create, Method::POST, target, key.kind.clone(), (JSON, body)));
        self.api.send_for_object(key, version, call).await
    }

    /// See [`crate::world::World::update`].
    pub(super) async fn update(&self, object: &Object, part: Part) -> Result<Object, ApiError> {
        let Object { key, version, body } = object;
        let path = path::object(key, version, &self.api.find(&key.kind, version).await?, part)?;
        let target = format!("{path}?{}", write_query(FIELD_MANAGER));
        let call = guarded(key, Call::write(Verb::Update, Method::PUT, target, key.kind.clone(), (JSON, body)));
        self.api.send_for_object(key, version, call).await
    }

    /// See [`crate::world::World::apply`].
    ///
    /// # Errors
    /// What the server refuses, and what keeps it from answering.
    pub async fn apply(&self, object: &Object, options: ApplyOptions, acting: Acting<'_>) -> Result<Object, ApiError> {
        let Object { key, version, body } = object;
        let ApplyOptions { is_forced, is_dry_run, manager } = options;
        let path = path::object(key, version, &self.api.find(&key.kind, version).await?, Part::Object)?;
        let force = if is_forced { "true" } else { "false" };
        let mut more = vec![("force", force), ("fieldValidation", "Strict")];
        if is_dry_run {
            more.push(("dryRun", "All"));
        }
        let target = format!("{path}?{}&{}", write_query(manager), encode_pairs(&more));
        let call = Call::write(Verb::Apply, Method::PATCH, target, key.kind.clone(), (APPLY_PATCH, body));
        let call = if is_dry_run { call.unguarded() } else { call }.acting(acting);
        self.api.send_for_object(key, version, call).await
    }

    /// See [`crate::world::World::patch`].
    pub(super) async fn patch(
        &self,
        key: &ObjectKey,
        version: &str,
        operations: &Value,
        acting: Acting<'_>,
    ) -> Result<Object, ApiError> {
        let path = path::object(key, version, &self.api.find(&key.kind, version).await?, Part::Object)?;
        let target = format!("{path}?{}", write_query(FIELD_MANAGER));
        let call = Call::write(Verb::Patch, Method::PATCH, target, key.kind.clone(), (JSON_PATCH, operations));
        self.api.send_for_object(key, version, call.acting(acting)).await
    }

    /// See [`crate::world::World::delete`].
    pub(super) async fn delete(
        &self,
        key: &ObjectKey,
        version: &str,
        preconditions: &Preconditions,
        acting: Acting<'_>,
    ) -> Result<(), ApiError> {
        let path = path::object(key, version, &self.api.find(&key.kind, version).await?, Part::Object)?;
        let Preconditions { uid, resource_version } = preconditions;
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        });
        let target = format!("{path}?{}", encode_pairs(&[WRITE_TIMEOUT]));
        let call = Call::write(Verb::Delete, Method::DELETE, target, key.kind.clone(), (JSON, &options));
        match self.api.send(&key.kind, version, call.acting(acting)).await {
            Ok(_) | Err(ApiError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Creating and updating a Lease is open to an agent that does not lead: it is how it comes to. What applications declare
/// is applied, never created or updated, so a Lease of theirs is guarded like everything else.
fn guarded(key: &ObjectKey, call: Call) -> Call {
    if key.kind.is("coordination.k8s.io", "Lease") { call.unguarded() } else { call }
}

fn write_query(manager: &str) -> String {
    encode_pairs(&[("fieldManager", manager), WRITE_TIMEOUT])
}

/// What a list tells of its objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ListForm {
    Whole,
    Metadata,
}

/// A page of a list as it is sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentPage<'a> {
    api_version: String,
    metadata: SentPlace,
    /// Read one by one: trees of a whole page would take ten times its room.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

/// Where a page of a list ends, as it is sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentPlace {
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

/// Where a page of a list ends.
struct Page {
    resource_version: String,
    next: Option<String>,
}

/// Adds a page's objects, at rest. The server leaves out what they are: the list says it.
fn read_page(answer: &[u8], scope: &Scope, form: ListForm, items: &mut Vec<Object>) -> Result<Page, ApiError> {
    let page: SentPage<'_> = call::read(answer, "list")?;
    let of_list = TypeMeta { api_version: &page.api_version, kind: &scope.kind.kind };
    for item in page.items.into_iter().flatten() {
        items.push(match form {
            ListForm::Whole => sent::read(item.get(), Some(of_list))?,
            ListForm::Metadata => read_metadata(item.get(), scope)?,
        });
    }
    let SentPlace { resource_version, next } = page.metadata;
    Ok(Page { resource_version, next: Some(next).filter(|token| !token.is_empty()) })
}

/// Of what it cut down the server says that it is `PartialObjectMetadata`.
fn read_metadata(item: &str, scope: &Scope) -> Result<Object, ApiError> {
    let mut item: Map<String, Value> = call::read(item.as_bytes(), "list of objects")?;
    let group = &scope.kind.group;
    let api_version = if group.is_empty() { scope.version.clone() } else { format!("{group}/{}", scope.version) };
    item.insert("apiVersion".to_owned(), json!(api_version));
    item.insert("kind".to_owned(), json!(scope.kind.kind));
    let mut object = read_object(&ClusterName::local(), Value::Object(item))?;
    object.body.rest();
    Ok(object)
}

fn read_object(cluster: &ClusterName, body: Value) -> Result<Object, ApiError> {
    Object::from_value(cluster, body)
        .map_err(|_source| ApiError::Server("its answer is no Kubernetes object".to_owned()))
}
