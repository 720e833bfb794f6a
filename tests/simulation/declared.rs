//! What the stories' app declares: one Deployment with its ConfigMap and Service, at versions whose names say how they do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate::sim::controllers::{Behaviour, Controllers};
use tidegate::sim::{Metrics, PROVIDER};

/// Namespace of the app.
pub(crate) const SPACE: &str = "shop";
/// Name of the Application and its Deployment.
pub(crate) const APP: &str = "web";

/// What one commit declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Declared {
    /// The version: a number, and how its pods do (`4.0.0-crash`).
    pub(crate) version: String,
    /// `spec.replicas`; `None` leaves it out of Git.
    pub(crate) replicas: Option<u32>,
    /// Whether waves may not add pods.
    pub(crate) in_place: bool,
    /// Raised to try a quarantined Release again.
    pub(crate) attempt: u32,
    /// Whether versions differ in their pods alone: nothing is to be prepared for their waves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) only_pods: bool,
}

/// How pods of versions with this in their name do.
pub(crate) const KINDS: [(&str, Behaviour); 3] =
    [("-never", Behaviour::NeverReady), ("-crash", Behaviour::CrashLoop), ("-pull", Behaviour::PullError)];
/// Versions with this in their name serve errors.
pub(crate) const ERRORS: &str = "-errors";

/// Teaches the world how the versions do.
pub(crate) fn teach(controllers: &mut Controllers, metrics: &mut Metrics) {
    for (part, behaviour) in KINDS {
        controllers.behave(part, behaviour);
    }
    metrics.fail(ERRORS, 0.5);
}

/// Whether a version deserves to complete.
pub(crate) fn is_good(version: &str) -> bool {
    !version.contains('-')
}

/// Whether a version has a ConfigMap more than others: those of even numbers.
pub(crate) fn has_extra(version: &str) -> bool {
    version.split('.').next().and_then(|number| number.parse::<u32>().ok()).is_some_and(|number| number % 2 == 0)
}

impl Declared {
    /// Whether `web-extra` is declared.
    pub(crate) fn has_extra(&self) -> bool {
        has_extra(&self.version) && !self.only_pods
    }

    /// The tree of the commit.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::from([
            ("apps/web.yaml".to_owned(), self.application()),
            ("plans/web.yaml".to_owned(), self.plan()),
            ("manifests/web/deployment.yaml".to_owned(), self.deployment()),
            (
                "manifests/web/config.yaml".to_owned(),
                config("web-config", if self.only_pods { "any" } else { &self.version }),
            ),
            (
                "manifests/web/service.yaml".to_owned(),
                format!(
                    "apiVersion: v1\nkind: Service\nmetadata:\n  name: {APP}\nspec:\n  selector: {{app: {APP}}}\n  ports:\n  - port: 80\n"
                ),
            ),
        ]);
        if self.has_extra() {
            files.insert("manifests/web/extra.yaml".to_owned(), config("web-extra", "extra"));
        }
        files
    }

    fn application(&self) -> String {
        let Self { version, attempt, .. } = self;
        format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata:\n  name: {APP}\nspec:\n  version: {version}\n  attempt: {attempt}\n  images:\n  - name: registry.example/{APP}\n  source: {{path: manifests/web}}\n  destination: {{namespace: {SPACE}}}\n  plan: {APP}\n  sync: {{prune: true}}\n  deletion: cascade\n"
        )
    }

    fn plan(&self) -> String {
        let capacity = if self.in_place { "inPlace" } else { "surge" };
        format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: WavePlan\nmetadata:\n  name: {APP}\nspec:\n  strategy: canary\n  capacity: {capacity}\n  waves:\n  - {{name: one, replicas: 1, timeout: 30s}}\n  - {{name: half, replicas: 50%, timeout: 40s, bake: 3s, analysis: [errors]}}\n  - {{name: all, replicas: 100%, timeout: 60s}}\n  analysis:\n  - {{name: errors, provider: {PROVIDER}, query: \"{SPACE}/${{target_hash}}\", max: 0.05, interval: 1s, count: 2, failureLimit: 1, noData: wait}}\n"
        )
    }

    fn deployment(&self) -> String {
        let replicas = self.replicas.map(|replicas| format!("  replicas: {replicas}\n")).unwrap_or_default();
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {APP}\nspec:\n{replicas}  selector:\n    matchLabels: {{app: {APP}}}\n  minReadySeconds: 1\n  strategy:\n    type: RollingUpdate\n    rollingUpdate: {{maxSurge: 25%, maxUnavailable: 25%}}\n  template:\n    metadata:\n      labels: {{app: {APP}}}\n    spec:\n      containers:\n      - name: {APP}\n        image: registry.example/{APP}\n        env:\n        - {{name: MODE, value: fast}}\n"
        )
    }
}

fn config(name: &str, content: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  content: \"{content}\"\n")
}
