//! What stories commit: an Application, a plan, and plain manifests, as text that a reader recognises.

use std::fmt::Write as _;

use super::repo::Repo;

/// Three waves of ten pods: 1, 3, all; each gated by pod health alone.
pub(crate) const THREE_WAVES: &str = "
  strategy: rolling
  waves:
  - {name: one, replicas: 1, timeout: 60s}
  - {name: quarter, replicas: 25%, timeout: 60s}
  - {name: all, replicas: 100%, timeout: 60s}
";

/// The same, without room for more pods than the Deployment itself allows.
pub(crate) const THREE_WAVES_IN_PLACE: &str = "
  strategy: rolling
  capacity: inPlace
  waves:
  - {name: one, replicas: 1, timeout: 60s}
  - {name: quarter, replicas: 25%, timeout: 60s}
  - {name: all, replicas: 100%, timeout: 60s}
";

/// Three waves, the second of which stands until the story opens its gate (see [`super::gatekeeper`]).
pub(crate) const HELD_SECOND_WAVE: &str = "
  strategy: rolling
  waves:
  - {name: one, replicas: 1, timeout: 60s}
  - {name: quarter, replicas: 25%, timeout: 20m, analysis: [go]}
  - {name: all, replicas: 100%, timeout: 60s}
  analysis:
  - {name: go, provider: story, query: go, min: 1, interval: 1s, count: 1, noData: wait}
";

/// The first wave stands until the story opens its gate.
pub(crate) const HELD_FIRST_WAVE: &str = "
  strategy: rolling
  waves:
  - {name: one, replicas: 1, timeout: 20m, analysis: [go]}
  - {name: quarter, replicas: 25%, timeout: 60s}
  - {name: all, replicas: 100%, timeout: 60s}
  analysis:
  - {name: go, provider: story, query: go, min: 1, interval: 1s, count: 1, noData: wait}
";

/// Three waves whose first one shuts soon when its pods do not become Ready.
pub(crate) const SHORT_DEADLINE: &str = "
  strategy: rolling
  waves:
  - {name: one, replicas: 1, timeout: 5s}
  - {name: quarter, replicas: 25%, timeout: 60s}
  - {name: all, replicas: 100%, timeout: 60s}
";

/// The second wave asks Prometheus for the share of failed requests of the new pods.
pub(crate) const ERROR_RATE_AT_WAVE_TWO: &str = "
  strategy: canary
  waves:
  - {name: one, replicas: 1, timeout: 60s}
  - {name: quarter, replicas: 25%, timeout: 60s, analysis: [errors]}
  - {name: all, replicas: 100%, timeout: 60s}
  analysis:
  - name: errors
    provider: prometheus
    query: >-
      sum(rate(app_requests_total{namespace=\"${namespace}\",pod_template_hash=\"${target_hash}\",code=\"500\"}[2s]))
      / sum(rate(app_requests_total{namespace=\"${namespace}\",pod_template_hash=\"${target_hash}\"}[2s]))
    max: 0.05
    interval: 1s
    count: 3
    failureLimit: 0
    noData: wait
";

/// An app as it is declared in Git.
#[derive(Clone)]
pub(crate) struct AppFixture {
    /// Name of the Application, its Deployment and its ConfigMap.
    pub(crate) name: String,
    /// The version line.
    pub(crate) version: String,
    /// `spec.replicas`; `None` leaves it out of Git.
    pub(crate) replicas: Option<u32>,
    /// The plan's `spec`, indented by two.
    pub(crate) plan: String,
    /// Further lines of the Application's `spec`, indented by two.
    pub(crate) spec: String,
    /// `maxSurge` and `maxUnavailable` of the Deployment.
    pub(crate) rolling_update: (String, String),
    /// The ConfigMap's `greeting`; `None` for no ConfigMap.
    pub(crate) greeting: Option<String>,
}

impl AppFixture {
    /// Ten pods at 1.0.0 with the three waves.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            replicas: Some(10),
            plan: THREE_WAVES.to_owned(),
            spec: String::new(),
            rolling_update: ("25%".to_owned(), "25%".to_owned()),
            greeting: Some("hello".to_owned()),
        }
    }

    /// Declared at this version first.
    pub(crate) fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// This many pods.
    pub(crate) fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// No `replicas` in Git: somebody else decides.
    pub(crate) fn without_replicas(mut self) -> Self {
        self.replicas = None;
        self
    }

    /// This plan.
    pub(crate) fn plan(mut self, plan: &str) -> Self {
        plan.clone_into(&mut self.plan);
        self
    }

    /// A further line of the Application's `spec`.
    pub(crate) fn spec(mut self, line: &str) -> Self {
        let _ = writeln!(self.spec, "  {line}");
        self
    }

    /// The Deployment's declared pace.
    pub(crate) fn rolling_update(mut self, max_surge: &str, max_unavailable: &str) -> Self {
        self.rolling_update = (max_surge.to_owned(), max_unavailable.to_owned());
        self
    }

    /// Writes all of its files.
    pub(crate) fn write(&self, repo: &Repo, namespace: &str) {
        let name = &self.name;
        repo.write(&format!("apps/{name}.yaml"), &self.application(namespace));
        repo.write(&format!("plans/{name}.yaml"), &self.plan_file());
        repo.write(&format!("manifests/{name}/deployment.yaml"), &self.deployment());
        repo.write(&format!("manifests/{name}/service.yaml"), &self.service());
        if let Some(greeting) = &self.greeting {
            repo.write(&format!("manifests/{name}/config.yaml"), &config_map(name, greeting));
        }
    }

    fn application(&self, namespace: &str) -> String {
        let Self { name, version, spec, .. } = self;
        format!(
            "apiVersion: tidegate.dev/v1alpha1
kind: Application
metadata:
  name: {name}
spec:
  version: {version}
  images:
  - name: registry.example/{name}
  source:
    path: manifests/{name}
  destination:
    namespace: {namespace}
  plan: {name}
{spec}"
        )
    }

    fn plan_file(&self) -> String {
        let Self { name, plan, .. } = self;
        format!("apiVersion: tidegate.dev/v1alpha1\nkind: WavePlan\nmetadata:\n  name: {name}\nspec:{plan}")
    }

    fn deployment(&self) -> String {
        let Self { name, rolling_update: (surge, unavailable), .. } = self;
        let replicas = self.replicas.map(|replicas| format!("  replicas: {replicas}\n")).unwrap_or_default();
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels:
    app: {name}
spec:
{replicas}  selector:
    matchLabels:
      app: {name}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: {surge}
      maxUnavailable: {unavailable}
  template:
    metadata:
      labels:
        app: {name}
    spec:
      containers:
      - name: {name}
        image: registry.example/{name}:0.0.0
        ports:
        - containerPort: 8080
"
        )
    }

    fn service(&self) -> String {
        let name = &self.name;
        format!(
            "apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector:
    app: {name}
  ports:
  - port: 80
    targetPort: 8080
"
        )
    }
}

/// A ConfigMap with one value.
pub(crate) fn config_map(name: &str, greeting: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata:\n  greeting: {greeting}\n")
}
