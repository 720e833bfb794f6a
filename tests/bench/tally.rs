//! What the agent says of itself: its own metrics, with the processor time that the kernel saw.

use std::time::Duration;

use super::scene::Scene;

/// Counters at one moment, or what was added between two.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tally {
    /// Requests to the API server.
    pub(crate) requests: f64,
    /// Those of them that read one object.
    pub(crate) gets: f64,
    /// Those of them that opened a watch or listed.
    pub(crate) watches: f64,
    /// Server-side applies of anything.
    pub(crate) applies: f64,
    /// Requests to the Git server.
    pub(crate) git: f64,
    /// Polls of Git.
    pub(crate) polls: f64,
    /// Passes over one app.
    pub(crate) passes: f64,
    /// Apps rendered.
    pub(crate) renders: f64,
    /// Records, statuses and Releases.
    pub(crate) writes_of_state: f64,
    /// Processor time.
    pub(crate) cpu: Duration,
}

impl Tally {
    /// The counters now.
    pub(crate) fn now(scene: &Scene) -> Self {
        let text = scene.agent.ops("/metrics").body;
        let sum = |name: &str, label: &str| -> f64 {
            let series = text.lines().filter(|line| {
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
            });
            series.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
        };
        let requests = |verb: &str| sum("tidegate_api_requests_total", verb);
        assert!(requests("") > 0.0, "the agent does not count its requests:\n{text:.2000}");
        Self {
            requests: requests(""),
            gets: requests("\"get\""),
            watches: requests("\"watch\"") + requests("\"list\""),
            applies: requests("\"apply\""),
            git: sum("tidegate_git_requests_total", ""),
            polls: sum("tidegate_polls_total", ""),
            passes: sum("tidegate_passes_total", ""),
            renders: sum("tidegate_renders_total", ""),
            writes_of_state: sum("tidegate_state_writes_total", ""),
            cpu: scene.process().cpu(),
        }
    }

    /// What came since.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            gets: self.gets - earlier.gets,
            watches: self.watches - earlier.watches,
            applies: self.applies - earlier.applies,
            git: self.git - earlier.git,
            polls: self.polls - earlier.polls,
            passes: self.passes - earlier.passes,
            renders: self.renders - earlier.renders,
            writes_of_state: self.writes_of_state - earlier.writes_of_state,
            cpu: self.cpu.saturating_sub(earlier.cpu),
        }
    }
}
