//! Claims of storage.

use crate::model::{Health, HealthStatus, Object};

/// Source: `gitops-engine/pkg/health/health_pvc.go`.
pub(super) fn claim(object: &Object) -> Option<Health> {
    Some(match object.text("/status/phase") {
        Some("Bound") => Health::healthy(),
        Some("Lost") => Health::new(HealthStatus::Degraded, "the claim lost its volume"),
        Some(_) | None => Health::new(HealthStatus::Progressing, "the claim is not bound yet"),
    })
}
