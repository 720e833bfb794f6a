//! N apps of four objects each, as files of one repository and as the same objects applied without any agent.

use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::support::chance::Chance;
use super::support::plane::{Plane, runtime};
use super::support::repo::Repo;
use super::support::state::{Kind, State};

/// Applies in flight: where two cores' API server takes no more (see performance figures in the docs).
pub(crate) const IN_FLIGHT: usize = 32;

/// The raw run of a larger fleet applies the objects of this many apps: 20,000 take the server three to seven minutes
/// each time, and its rate is known long before.
const RAW_APPS_MAX: usize = 1000;

/// Objects per app.
const OBJECTS_PER_APP: usize = 4;

/// The apps.
pub(crate) struct Fleet {
    apps: usize,
}

impl Fleet {
    /// This many apps.
    pub(crate) fn new(apps: usize) -> Self {
        Self { apps }
    }

    /// How many apps.
    pub(crate) fn apps(&self) -> usize {
        self.apps
    }

    /// How many objects.
    pub(crate) fn objects(&self) -> usize {
        self.apps * OBJECTS_PER_APP
    }

    /// Objects of a kind that are ours.
    pub(crate) fn count(&self, state: &State, kind: Kind) -> usize {
        let is_ours =
            |object: &&Value| object["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("app-"));
        state.all(kind).filter(is_ours).count()
    }

    /// Writes all apps into a repository.
    pub(crate) fn write(&self, repo: &Repo, namespace: &str) {
        for name in self.names() {
            repo.write(
                &format!("apps/{name}.yaml"),
                &format!(
                    "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata:\n  name: {name}\nspec:\n  \
                     version: 1.0.0\n  images:\n  - name: registry.example/{name}\n  source:\n    \
                     path: manifests/{name}\n  destination:\n    namespace: {namespace}\n"
                ),
            );
            // JSON is YAML: the very objects that the raw run applies.
            let documents: Vec<String> = objects(&name).iter().map(|object| format!("---\n{object:#}\n")).collect();
            repo.write(&format!("manifests/{name}/all.yaml"), &documents.concat());
        }
    }

    /// How many objects the raw run applies.
    pub(crate) fn raw_objects(&self) -> usize {
        self.apps.min(RAW_APPS_MAX) * OBJECTS_PER_APP
    }

    /// Applies the objects of the fleet, or of its first [`RAW_APPS_MAX`] apps, into a fresh namespace as fast as the API
    /// server takes them; gives the seconds.
    pub(crate) fn apply_raw(&self, plane: &Plane, namespace: &str) -> f64 {
        plane.kubectl(&["create", "namespace", namespace]);
        let client = plane.client();
        let applies: Vec<_> = self
            .names()
            .take(RAW_APPS_MAX)
            .flat_map(|name| objects(&name))
            .map(|object| {
                let object: DynamicObject = serde_json::from_value(object).expect("it is an object");
                let types = object.types.clone().expect("it has a kind");
                let kind = kube::core::GroupVersionKind::try_from(types).expect("its apiVersion is well-formed");
                let api =
                    Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind));
                async move {
                    let name = object.metadata.name.clone().expect("it has a name");
                    api.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(&object)).await
                }
            })
            .collect();
        let begun = Instant::now();
        runtime().block_on(async {
            let all = futures::stream::iter(applies).buffer_unordered(IN_FLIGHT);
            all.try_for_each(|_| async { Ok(()) }).await.expect("the API server takes every object");
        });
        begun.elapsed().as_secs_f64()
    }

    /// Removes them again, with what controllers made of them: an agent would hold what it sees of them.
    pub(crate) fn remove_raw(plane: &Plane, namespace: &str) {
        const KINDS: [(&str, &str); 5] = [
            ("apps", "Deployment"),
            ("apps", "ReplicaSet"),
            ("", "ConfigMap"),
            ("", "Service"),
            ("", "ServiceAccount"),
        ];
        let client = plane.client();
        // A server gives up on a whole collection after a minute.
        let page = ListParams::default().labels("app").limit(500);
        runtime().block_on(async {
            for (group, kind) in KINDS {
                let kind = ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, "v1", kind));
                let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind);
                while !api.list(&page).await.expect("the API server lists").items.is_empty() {
                    api.delete_collection(&DeleteParams::background(), &page).await.expect("the API server deletes");
                }
            }
        });
    }

    fn names(&self) -> impl Iterator<Item = String> {
        (0..self.apps).map(Self::name)
    }

    /// The name of an app by its number.
    pub(crate) fn name(number: usize) -> String {
        format!("app-{number:04}")
    }

    /// So many apps in the order that chance gives them: all of them once before any comes again.
    pub(crate) fn draw(&self, count: usize, chance: &mut Chance) -> Vec<String> {
        let mut drawn = Vec::new();
        let mut left: Vec<String> = Vec::new();
        while drawn.len() < count {
            if left.is_empty() {
                left = self.names().collect();
            }
            let limit = u64::try_from(left.len()).expect("fleets are small");
            drawn.push(left.swap_remove(chance.below(limit)));
        }
        drawn
    }
}

/// The four objects of an app.
fn objects(name: &str) -> [Value; OBJECTS_PER_APP] {
    let labels = json!({"app": name});
    let metadata = json!({"name": name, "labels": labels});
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
            "data": {"GREETING": "hello", "LOG_LEVEL": "info", "UPSTREAM": format!("http://{name}.example.com:8080/api")}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": name, "containers": [{
                    "name": "app", "image": format!("registry.example/{name}:1.0.0"),
                    "ports": [{"containerPort": 8080}],
                    "envFrom": [{"configMapRef": {"name": name}}],
                    "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5}}]}}}}),
    ]
}
