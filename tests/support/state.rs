//! What the cluster looked like at one moment, as the observer saw it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

use super::application::App;

/// The kinds that the observer watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Our own resource, in the agent's namespace.
    Application,
    /// In the apps' namespace, as all below.
    ConfigMap,
    /// As the name says.
    DaemonSet,
    /// As the name says.
    Deployment,
    /// As the name says.
    Pod,
    /// As the name says.
    ReplicaSet,
    /// As the name says.
    Service,
    /// As the name says.
    ServiceAccount,
    /// As the name says.
    StatefulSet,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::Application,
        Self::ConfigMap,
        Self::DaemonSet,
        Self::Deployment,
        Self::Pod,
        Self::ReplicaSet,
        Self::Service,
        Self::ServiceAccount,
        Self::StatefulSet,
    ];
}

/// All watched objects by kind and UID.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<(Kind, String), Arc<Value>>,
}

impl State {
    /// All objects of a kind.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        let from = (kind, String::new());
        self.objects.range(from..).take_while(move |((found, _), _)| *found == kind).map(|(_, object)| &**object)
    }

    /// The object of this kind and name.
    pub(crate) fn find(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.all(kind).find(|object| object["metadata"]["name"] == name)
    }

    /// The Deployment called `name`.
    pub(crate) fn deployment(&self, name: &str) -> Option<&Value> {
        self.find(Kind::Deployment, name)
    }

    /// A value of the ConfigMap called `name`.
    pub(crate) fn config(&self, name: &str, key: &str) -> Option<&str> {
        self.find(Kind::ConfigMap, name)?["data"][key].as_str()
    }

    /// The Application called `name`.
    pub(crate) fn app(&self, name: &str) -> Option<App<'_>> {
        self.find(Kind::Application, name).map(App)
    }

    /// All pods, the ending ones too.
    pub(crate) fn pods(&self) -> impl Iterator<Item = Pod<'_>> {
        self.all(Kind::Pod).map(Pod)
    }

    /// Pods that are not ending.
    pub(crate) fn live_pods(&self) -> impl Iterator<Item = Pod<'_>> {
        self.pods().filter(Pod::is_live)
    }

    /// Pods of a version that are not ending.
    pub(crate) fn pods_of(&self, version: &str) -> usize {
        self.live_pods().filter(|pod| pod.version() == version).count()
    }

    /// Ready pods of a version.
    pub(crate) fn ready_of(&self, version: &str) -> usize {
        self.live_pods().filter(|pod| pod.version() == version && pod.is_ready()).count()
    }

    /// Pods that are not ending, of every version.
    pub(crate) fn pods_total(&self) -> usize {
        self.live_pods().count()
    }

    /// Ready pods of every version.
    pub(crate) fn ready_total(&self) -> usize {
        self.live_pods().filter(Pod::is_ready).count()
    }

    /// `spec.replicas` of the ReplicaSets of a version.
    pub(crate) fn replicas_of(&self, version: &str) -> i64 {
        let sets = self.all(Kind::ReplicaSet).filter(|set| template_version(set) == version);
        sets.map(|set| set["spec"]["replicas"].as_i64().unwrap_or(0)).sum()
    }

    /// Pods that all ReplicaSets together want. The bound for maxSurge: ReplicaSets act on their own, so for a moment one
    /// may have created its pods before the other has deleted its.
    pub(crate) fn replicas_total(&self) -> usize {
        let wanted = self.all(Kind::ReplicaSet).map(|set| set["spec"]["replicas"].as_u64().unwrap_or(0)).sum::<u64>();
        usize::try_from(wanted).expect("counts are small")
    }

    /// Versions that have a ReplicaSet with pods wanted.
    pub(crate) fn active_versions(&self) -> BTreeSet<&str> {
        let active = self.all(Kind::ReplicaSet).filter(|set| set["spec"]["replicas"].as_i64().unwrap_or(0) > 0);
        active.map(template_version).collect()
    }

    /// The version of a Deployment's template.
    pub(crate) fn version_of(&self, deployment: &str) -> Option<&str> {
        self.deployment(deployment).map(template_version)
    }

    /// Whether a Deployment is completely on `version` with `replicas` ready pods and nothing else.
    pub(crate) fn runs(&self, deployment: &str, version: &str, replicas: usize) -> bool {
        self.version_of(deployment) == Some(version)
            && self.pods_of(version) == replicas
            && self.ready_of(version) == replicas
            && self.pods_total() == replicas
    }

    /// One line that says where things stand.
    pub(crate) fn summary(&self) -> String {
        let mut line = String::new();
        let versions: BTreeSet<_> = self.pods().map(|pod| pod.version().to_owned()).collect();
        for version in versions {
            let ending = self.pods().filter(|pod| pod.version() == version && !pod.is_live()).count();
            let (pods, ready) = (self.pods_of(&version), self.ready_of(&version));
            let _ = write!(line, "{version}: {pods} pods, {ready} ready, {ending} ending; ");
        }
        for app in self.all(Kind::Application).map(App) {
            let _ = write!(line, "{}; ", app.summary());
        }
        line
    }
}

/// The version of a workload's template: the tag of its first container's image.
pub(crate) fn template_version(workload: &Value) -> &str {
    tag(workload["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default())
}

fn tag(image: &str) -> &str {
    image.rsplit_once(':').map_or("latest", |(_, tag)| tag)
}

/// A pod.
#[derive(Clone, Copy)]
pub(crate) struct Pod<'a>(pub(crate) &'a Value);

impl<'a> Pod<'a> {
    /// Its UID.
    pub(crate) fn uid(&self) -> &'a str {
        self.0["metadata"]["uid"].as_str().unwrap_or_default()
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'a str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Its version: the tag of its first container's image.
    pub(crate) fn version(&self) -> &'a str {
        tag(self.0["spec"]["containers"][0]["image"].as_str().unwrap_or_default())
    }

    /// Its `pod-template-hash`.
    pub(crate) fn hash(&self) -> &'a str {
        self.0["metadata"]["labels"]["pod-template-hash"].as_str().unwrap_or_default()
    }

    /// The node that it runs on.
    pub(crate) fn node(&self) -> &'a str {
        self.0["spec"]["nodeName"].as_str().unwrap_or_default()
    }

    /// Whether it is neither being deleted nor ended.
    pub(crate) fn is_live(&self) -> bool {
        let has_ended = matches!(self.0["status"]["phase"].as_str(), Some("Failed" | "Succeeded"));
        self.0["metadata"]["deletionTimestamp"].is_null() && !has_ended
    }

    /// Whether its Ready condition is True.
    pub(crate) fn is_ready(&self) -> bool {
        condition(self.0, "Ready").is_some_and(|ready| ready["status"] == "True")
    }

    /// Restarts of its containers.
    pub(crate) fn restarts(&self) -> i64 {
        let containers = self.0["status"]["containerStatuses"].as_array();
        containers.into_iter().flatten().filter_map(|status| status["restartCount"].as_i64()).sum()
    }
}

/// A condition of `status.conditions`.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}
