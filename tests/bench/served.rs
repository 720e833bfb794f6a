//! Requests as the API server itself counts them, whoever sent them.

use super::support::plane::Plane;

/// Counters at one moment, or what was added between two.
pub(crate) struct Served {
    /// Applies of the apps' kinds.
    pub(crate) objects: f64,
    /// Writes of Application resources.
    pub(crate) records: f64,
    /// Writes of their status.
    pub(crate) statuses: f64,
    /// Writes of kept Releases.
    pub(crate) releases: f64,
    /// Kubernetes Events written.
    pub(crate) events: f64,
    /// All requests; a watch counts when it ends.
    pub(crate) all: f64,
}

impl Served {
    /// The counters now.
    pub(crate) fn now(plane: &Plane) -> Self {
        let text = plane.raw("/metrics");
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("apiserver_request_total{")).collect();
        let sum = |has: &dyn Fn(&str) -> bool| -> f64 {
            let found = lines.iter().filter(|line| has(line));
            found.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        let is_write = |line: &str| {
            let verbs = ["POST", "PUT", "PATCH", "APPLY", "DELETE"];
            verbs.iter().any(|verb| line.contains(&format!("verb=\"{verb}\"")))
        };
        let resource = |line: &str, name: &str| line.contains(&format!("resource=\"{name}\""));
        let is_app = |line: &str| line.contains("group=\"tidegate.dev\"") && is_write(line);
        let is_status = |line: &str| line.contains("subresource=\"status\"");
        let plain = ["configmaps", "deployments", "services", "serviceaccounts"];
        Self {
            // Only the agent and the raw run apply; controllers create and update.
            objects: sum(&|line| line.contains("verb=\"APPLY\"") && plain.iter().any(|name| resource(line, name))),
            // Nobody else writes these in a cluster without users.
            records: sum(&|line| is_app(line) && !is_status(line)),
            statuses: sum(&|line| is_app(line) && is_status(line)),
            releases: sum(&|line| is_write(line) && resource(line, "secrets")),
            events: sum(&|line| is_write(line) && resource(line, "events")),
            all: sum(&|_| true),
        }
    }

    /// What came since.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            objects: self.objects - earlier.objects,
            records: self.records - earlier.records,
            statuses: self.statuses - earlier.statuses,
            releases: self.releases - earlier.releases,
            events: self.events - earlier.events,
            all: self.all - earlier.all,
        }
    }
}
