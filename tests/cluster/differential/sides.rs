//! The two sides of the comparison: a real API server over HTTP, and the simulated one. Each takes an operation and gives
//! an outcome in the same words.

use std::collections::BTreeMap;

use http::{Method, Request};
use kube::client::Body;
use serde_json::{Value, json};
use tidegate::model::{ClusterName, Object, ObjectKey, Timestamp};
use tidegate::sim::api::{Api, Writer};
use tidegate::world::{ApiError, ApplyOptions, Part, Preconditions};

use super::operation::{APPLIERS, Expected, Kind, Operation};

/// Namespace of all objects under test.
pub(super) const NAMESPACE: &str = "differential";

/// What came of an operation: a class of refusal, or the object.
pub(super) type Outcome = Result<Value, String>;

/// What a side knows of the object under test.
#[derive(Default)]
pub(super) struct Memory {
    newest: Option<Value>,
    first_version: Option<String>,
}

impl Memory {
    /// Takes note of the object as it now is.
    pub(super) fn learn(&mut self, stored: Option<Value>) {
        let version = stored.as_ref().and_then(|body| body["metadata"]["resourceVersion"].as_str());
        if self.first_version.is_none() {
            self.first_version = version.map(str::to_owned);
        }
        self.newest = stored;
    }

    /// The object as it was last seen.
    pub(super) fn stored(&self) -> Option<&Value> {
        self.newest.as_ref()
    }

    fn version(&self, expected: Expected) -> Option<String> {
        match expected {
            Expected::Nothing => None,
            Expected::Newest | Expected::OtherUid => {
                let newest = self.newest.as_ref()?;
                newest["metadata"]["resourceVersion"].as_str().map(str::to_owned)
            }
            Expected::Old => self.first_version.clone(),
        }
    }

    /// The body of an update.
    fn update(&self, change: &Value, expected: Expected, forgets_owners: bool, empty: Value) -> Value {
        let mut body = self.newest.clone().unwrap_or(empty);
        json_patch::merge(&mut body, change);
        let metadata = body["metadata"].as_object_mut().expect("an object has metadata");
        match self.version(expected) {
            Some(version) => drop(metadata.insert("resourceVersion".to_owned(), json!(version))),
            None => drop(metadata.remove("resourceVersion")),
        }
        if expected == Expected::OtherUid {
            metadata.insert("uid".to_owned(), json!("11111111-1111-4111-8111-111111111111"));
        }
        if forgets_owners {
            metadata.insert("managedFields".to_owned(), json!([{}]));
        }
        body
    }

    fn preconditions(&self, expected: Expected) -> Option<(String, String)> {
        let version = self.version(expected)?;
        let uid = self.newest.as_ref().and_then(|body| body["metadata"]["uid"].as_str()).unwrap_or("none");
        Some((if expected == Expected::OtherUid { "other".to_owned() } else { uid.to_owned() }, version))
    }
}

/// A configuration as it is sent.
fn dressed(kind: Kind, name: &str, body: &Value) -> Value {
    let mut dressed = json!({"apiVersion": kind.api_version(), "kind": kind.name()});
    json_patch::merge(&mut dressed, &json!({"metadata": {"name": name, "namespace": NAMESPACE}}));
    json_patch::merge(&mut dressed, body);
    dressed
}

fn stated(kind: Kind, name: &str, body: &Value, memory: &Memory, expected: Expected) -> Value {
    let mut body = dressed(kind, name, body);
    if let Some(version) = memory.version(expected) {
        body["metadata"]["resourceVersion"] = json!(version);
    }
    body
}

/// The real API server.
#[derive(Clone)]
pub(super) struct Real {
    pub(super) client: kube::Client,
}

impl Real {
    /// Does one operation.
    pub(super) async fn perform(&self, kind: Kind, name: &str, operation: &Operation, memory: &Memory) -> Outcome {
        let home = home(kind);
        let path = format!("{home}/{name}");
        let at = |is_status: bool| if is_status { format!("{path}/status") } else { path.clone() };
        let by = |manager: &str| format!("fieldManager={manager}");
        match operation {
            Operation::Create { manager, body } => {
                self.send(Method::POST, &home, &by(manager), "application/json", &dressed(kind, name, body)).await
            }
            Operation::Apply { manager, body, is_forced, is_dry_run, expected } => {
                let dry = if *is_dry_run { "&dryRun=All" } else { "" };
                let query = format!("{}&force={is_forced}&fieldValidation=Strict{dry}", by(manager));
                let body = stated(kind, name, body, memory, *expected);
                self.send(Method::PATCH, &path, &query, "application/apply-patch+yaml", &body).await
            }
            Operation::Update { manager, change, expected, is_status, forgets_owners } => {
                let body = memory.update(change, *expected, *forgets_owners, dressed(kind, name, &json!({})));
                self.send(Method::PUT, &at(*is_status), &by(manager), "application/json", &body).await
            }
            Operation::Patch { manager, operations } => {
                self.send(Method::PATCH, &path, &by(manager), "application/json-patch+json", operations).await
            }
            Operation::Merge { manager, change, is_status } => {
                self.send(Method::PATCH, &at(*is_status), &by(manager), "application/merge-patch+json", change).await
            }
            Operation::Delete { expected } => {
                let mut options =
                    json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
                if let Some((uid, version)) = memory.preconditions(*expected) {
                    options["preconditions"] = json!({"uid": uid, "resourceVersion": version});
                }
                self.send(Method::DELETE, &path, "", "application/json", &options).await.map(|_| Value::Null)
            }
        }
    }

    /// The object as it now is.
    pub(super) async fn read(&self, kind: Kind, name: &str) -> Option<Value> {
        let path = format!("{}/{name}", home(kind));
        self.send(Method::GET, &path, "", "application/json", &Value::Null).await.ok()
    }

    /// Sends one request.
    pub(super) async fn send(&self, method: Method, path: &str, query: &str, content: &str, body: &Value) -> Outcome {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(format!("{path}?{query}")).header("content-type", content);
        let request = request.body(Body::from(body)).expect("a path and a query make an address");
        let answer = self.client.send(request).await.expect("the API server answers");
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.expect("the answer is complete");
        let body: Value = serde_json::from_slice(&bytes).expect("the API server answers in JSON");
        if code < 300 { Ok(body) } else { Err(class_of(code, &body)) }
    }
}

fn home(kind: Kind) -> String {
    let version = kind.api_version();
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    format!("{root}/namespaces/{NAMESPACE}/{}s", kind.name().to_lowercase())
}

/// The class of a refusal, as the agent would tell it apart.
fn class_of(code: u16, status: &Value) -> String {
    let message = status["message"].as_str().unwrap_or_default();
    let causes = status["details"]["causes"].as_array().cloned().unwrap_or_default();
    let misfits = ["failed to create typed patch object", "failed to convert new object"];
    match (code, status["reason"].as_str().unwrap_or_default()) {
        (404, _) => "not found".to_owned(),
        (409, "AlreadyExists") => "exists".to_owned(),
        (409, _) => {
            let mut owned: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for cause in causes.iter().filter(|cause| cause["reason"] == "FieldManagerConflict") {
                let manager = cause["message"].as_str().and_then(|text| text.split('"').nth(1)).unwrap_or_default();
                let field = cause["field"].as_str().unwrap_or_default();
                owned.entry(manager.to_owned()).or_default().push(field.to_owned());
            }
            if owned.is_empty() { "conflict".to_owned() } else { owned_class(owned) }
        }
        (422, _) if message.starts_with("the server rejected our request") && causes.is_empty() => {
            "conflict".to_owned()
        }
        (400 | 422, _) => "invalid".to_owned(),
        (500, _) if misfits.iter().any(|misfit| message.starts_with(misfit)) => "invalid".to_owned(),
        (403, _) => "forbidden".to_owned(),
        (code, _) => format!("{code}: {message}"),
    }
}

fn owned_class(mut owned: BTreeMap<String, Vec<String>>) -> String {
    owned.values_mut().for_each(|fields| fields.sort());
    let told = owned.iter().map(|(manager, fields)| match fields.len() {
        // More than ten are not told.
        0..=10 => format!("{manager} ({})", fields.join(", ")),
        _ => format!("{manager} (many)"),
    });
    format!("owned by {}", told.collect::<Vec<_>>().join("; "))
}

/// The simulated API server, one for each sequence.
pub(super) struct Simulated {
    api: Api,
}

impl Simulated {
    pub(super) fn new() -> Self {
        Self { api: Api::new(Timestamp::now()).with_namespace(NAMESPACE) }
    }

    /// Does one operation; on the real side at least some milliseconds pass as well.
    pub(super) fn perform(&mut self, kind: Kind, name: &str, operation: &Operation, memory: &Memory) -> Outcome {
        let key = key(kind, name);
        let part = |is_status: bool| if is_status { Part::Status } else { Part::Object };
        let read = |body: Value| Object::from_value(&ClusterName::local(), body).expect("it has kind and name");
        let done = match operation {
            Operation::Create { manager, body } => {
                self.api.create(&Writer::other(manager), &read(dressed(kind, name, body)))
            }
            Operation::Apply { manager, body, is_forced, is_dry_run, expected } => {
                let manager = APPLIERS.iter().find(|known| *known == manager).expect("appliers are known");
                let options = ApplyOptions { is_forced: *is_forced, is_dry_run: *is_dry_run, manager };
                let body = stated(kind, name, body, memory, *expected);
                self.api.apply(&Writer::other(manager), &read(body), options)
            }
            Operation::Update { manager, change, expected, is_status, forgets_owners } => {
                let body = memory.update(change, *expected, *forgets_owners, dressed(kind, name, &json!({})));
                self.api.update(&Writer::other(manager), &read(body), part(*is_status))
            }
            Operation::Patch { manager, operations } => self.api.patch(&Writer::other(manager), &key, operations),
            Operation::Merge { manager, change, is_status } => {
                self.api.merge(&Writer::other(manager), &key, change, part(*is_status))
            }
            Operation::Delete { expected } => {
                let preconditions = memory.preconditions(*expected);
                let preconditions =
                    preconditions.map(|(uid, resource_version)| Preconditions { uid, resource_version });
                let done = self.api.delete(&Writer::other("somebody"), &key, preconditions.as_ref());
                return done.map(|()| Value::Null).map_err(|error| class(&error));
            }
        };
        done.map(|object| object.body.into()).map_err(|error| class(&error))
    }

    /// The object as it now is.
    pub(super) fn read(&self, kind: Kind, name: &str) -> Option<Value> {
        self.api.get(&key(kind, name)).map(|object| (*object.body).clone())
    }
}

fn key(kind: Kind, name: &str) -> ObjectKey {
    let group = kind.api_version().split_once('/').map_or("", |(group, _)| group);
    ObjectKey::local(group, kind.name(), NAMESPACE, name)
}

fn class(error: &ApiError) -> String {
    match error {
        ApiError::NotFound => "not found".to_owned(),
        ApiError::AlreadyExists => "exists".to_owned(),
        ApiError::Conflict => "conflict".to_owned(),
        ApiError::Owned(told) => {
            let managers = told.split("; ").filter_map(|part| part.strip_suffix(')')?.split_once(" ("));
            let owned = managers.map(|(manager, fields)| {
                (manager.to_owned(), fields.split(", ").map(str::to_owned).collect::<Vec<_>>())
            });
            owned_class(owned.collect())
        }
        ApiError::Invalid(_) | ApiError::Immutable(_) => "invalid".to_owned(),
        ApiError::Forbidden(_) => "forbidden".to_owned(),
        other => other.to_string(),
    }
}
