//! What the API server serves. Enters: aggregated discovery documents. Leaves: for each kind and version its plural,
//! its scope and whether it has a status subresource.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::call::{Call, Caller};
use super::counts::Verb;
use crate::model::GroupKind;
use crate::world::{ApiError, Kinds};

/// Time between two discoveries that an unknown kind may cause: a declared kind whose CRD is missing must not cost two
/// large requests per pass.
const REDISCOVERY_INTERVAL: Duration = Duration::from_secs(5);

const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// What is needed to speak of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its name in paths.
    pub(super) plural: String,
    /// Whether its objects live in namespaces.
    pub(super) is_namespaced: bool,
    /// Whether it has a status subresource.
    pub(super) has_status: bool,
    /// Whether its objects can be listed.
    pub(super) is_listed: bool,
    /// The place of its version among those of its group, the preferred one first.
    pub(super) rank: usize,
}

type Table = BTreeMap<(GroupKind, String), Known>;

/// The newest discovery, and when it was made.
#[derive(Default)]
pub(super) struct KindTable {
    table: RwLock<Arc<Table>>,
    latest: Mutex<Option<Latest>>,
}

struct Latest {
    at: Instant,
    error: Option<ApiError>,
}

impl KindTable {
    /// Asks the server for all kinds.
    pub(super) async fn discover(&self, caller: &Caller) -> Result<Kinds, ApiError> {
        let mut latest = self.latest.lock().await;
        let asked = ask(caller).await;
        *latest = Some(Latest { at: Instant::now(), error: asked.as_ref().err().cloned() });
        let table = Arc::new(asked?);
        let kinds: Kinds = table.iter().map(|(kind, known)| (kind.clone(), known.is_namespaced)).collect();
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        Ok(kinds)
    }

    /// The namespaced kinds whose objects can be listed, each in the version that the server prefers.
    pub(super) async fn listed(&self, caller: &Caller) -> Result<BTreeMap<GroupKind, String>, ApiError> {
        self.discover(caller).await?;
        let table = Arc::clone(&*self.table.read().unwrap_or_else(PoisonError::into_inner));
        let mut best: BTreeMap<GroupKind, (usize, String)> = BTreeMap::new();
        for ((kind, version), known) in table.iter().filter(|(_, known)| known.is_namespaced && known.is_listed) {
            let is_better = best.get(kind).is_none_or(|(rank, _)| known.rank < *rank);
            if is_better {
                best.insert(kind.clone(), (known.rank, version.clone()));
            }
        }
        Ok(best.into_iter().map(|(kind, (_, version))| (kind, version)).collect())
    }

    /// What is known of a kind; asks the server once when nothing is.
    pub(super) async fn find(
        &self,
        caller: &Caller,
        kind: &GroupKind,
        version: &str,
        now: Instant,
    ) -> Result<Known, ApiError> {
        let key = (kind.clone(), version.to_owned());
        if let Some(known) = self.look(&key) {
            return Ok(known);
        }
        // Whoever waited here for another's discovery finds its result and asks no more.
        let latest = self.latest.lock().await;
        if let Some(known) = self.look(&key) {
            return Ok(known);
        }
        match &*latest {
            Some(latest) if now < latest.at + REDISCOVERY_INTERVAL => {
                // A discovery that failed says nothing of the kind, so its own error is the answer.
                return Err(latest.error.clone().unwrap_or_else(|| unknown(&key)));
            }
            Some(_) | None => drop(latest),
        }
        self.discover(caller).await?;
        self.look(&key).ok_or_else(|| unknown(&key))
    }

    /// Forgets a kind that the server turned out not to serve (any more).
    pub(super) fn forget(&self, kind: &GroupKind, version: &str) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut table).remove(&(kind.clone(), version.to_owned()));
    }

    fn look(&self, key: &(GroupKind, String)) -> Option<Known> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }
}

fn unknown((kind, version): &(GroupKind, String)) -> ApiError {
    ApiError::UnknownKind(format!("{kind} {version}"))
}

async fn ask(caller: &Caller) -> Result<Table, ApiError> {
    let mut table = Table::new();
    for path in ["/api", "/apis"] {
        let call = Call::read(Verb::Discover, path.to_owned(), GroupKind::new("", "")).accept(ACCEPT);
        read(caller.send(call).await?, &mut table)?;
    }
    Ok(table)
}

/// Adds the kinds of one discovery document.
fn read(document: Value, table: &mut Table) -> Result<(), ApiError> {
    if document.get("kind").and_then(Value::as_str) != Some("APIGroupDiscoveryList") {
        let why = "it does not speak aggregated discovery (Kubernetes 1.30 or newer is needed)";
        return Err(ApiError::Server(why.to_owned()));
    }
    let groups: Groups = serde_json::from_value(document)
        .map_err(|_source| ApiError::Server("its discovery document cannot be read".to_owned()))?;
    for group in groups.items.unwrap_or_default() {
        for (rank, version) in group.versions.unwrap_or_default().into_iter().enumerate() {
            for resource in version.resources.unwrap_or_default() {
                // An aggregated API server that cannot be asked leaves resources without a kind.
                let Some(kind) = resource.response_kind.map(|kind| kind.kind).filter(|kind| !kind.is_empty()) else {
                    continue;
                };
                let key = (GroupKind::new(&group.metadata.name, &kind), version.version.clone());
                let has_status = resource.subresources.iter().flatten().any(|part| part.subresource == "status");
                let is_namespaced = resource.scope == "Namespaced";
                let is_listed = resource.verbs.iter().flatten().any(|verb| verb == "list");
                let plural = resource.resource;
                table.entry(key).or_insert(Known { plural, is_namespaced, has_status, is_listed, rank });
            }
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Groups {
    items: Option<Vec<Group>>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    metadata: Metadata,
    versions: Option<Vec<Version>>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    /// Absent for the core group.
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    resources: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource: String,
    response_kind: Option<ResponseKind>,
    #[serde(default)]
    scope: String,
    subresources: Option<Vec<Subresource>>,
    verbs: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ResponseKind {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct Subresource {
    subresource: String,
}
