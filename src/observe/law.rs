//! The Deployment controller's law: where it stops when new pods never become Available.
//!
//! With a very large `minReadySeconds` new pods are Ready (they take traffic) but never Available, so the controller
//! stops at a fixpoint that `maxSurge` and `maxUnavailable` choose (Kubernetes 1.36.3,
//! `pkg/controller/deployment/rolling.go:73,127-131,176`, `util/deployment_util.go:453,831`).

/// `minReadySeconds` of a hold: no pod lives long enough to become Available (68 years).
pub const MIN_READY_SECONDS_HOLD: i64 = 2_147_483_000;
/// `progressDeadlineSeconds` of a hold; the API wants it above minReadySeconds.
pub const PROGRESS_DEADLINE_SECONDS_HOLD: i64 = 2_147_483_646;

/// What was observed of a Deployment's ReplicaSets. Sizes are from `spec`, readiness from `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `spec.replicas` of the Deployment.
    pub n: u32,
    /// Sum of `spec.replicas` of all ReplicaSets but the new one (R).
    pub others: u32,
    /// `spec.replicas` of the new one (w).
    pub new: u32,
    /// `status.availableReplicas` of the new one (a).
    pub new_available: u32,
    /// `status.readyReplicas` of the new one (W).
    pub new_ready: u32,
    /// Sum of `status.readyReplicas` of the others (S).
    pub others_ready: u32,
    /// Sum of `status.availableReplicas` of the others (A).
    pub others_available: u32,
}

/// `maxSurge` and `maxUnavailable`, always integers and never both 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// `maxSurge`.
    pub surge: u32,
    /// `maxUnavailable`.
    pub unavailable: u32,
}

/// Where the controller stops under `window`: the others' and the new one's size.
#[must_use]
pub fn law(counts: &Counts, window: Window) -> (u32, u32) {
    let Counts { n, others, new, new_available, .. } = *counts;
    let others_end = others.min(n.saturating_sub(window.unavailable).saturating_sub(new_available));
    let new_end = n.min(new.max((n + window.surge).saturating_sub(others_end)));
    (others_end, new_end)
}
