//! What extends the API: CustomResourceDefinitions and APIServices.

use super::condition::{Condition, condition, conditions, holds};
use crate::model::{Health, HealthStatus, Object};

/// Source: `gitops-engine/pkg/health/health_customresourcedefinition.go`. While the server is still installing it, it is
/// Progressing and not Degraded as there: that passes within a second.
pub(super) fn definition(object: &Object) -> Option<Health> {
    let health = |status, message: String| Some(Health::new(status, message));
    if conditions(object).next().is_none() {
        return health(HealthStatus::Progressing, "the definition is not established yet".to_owned());
    }
    if let Some(terminating) = holds(object, "Terminating") {
        return health(
            HealthStatus::Progressing,
            format!("the definition is being removed: {}", terminating.message()),
        );
    }
    if let Some(names) = condition(object, "NamesAccepted").filter(|names| names.is_false()) {
        return health(HealthStatus::Degraded, format!("its names are not accepted: {}", names.message()));
    }
    match condition(object, "Established") {
        Some(established) if established.is_true() => {}
        Some(established) if !matches!(established.reason(), "Installing" | "") => {
            return health(HealthStatus::Degraded, format!("not established: {}", established.message()));
        }
        Some(_) | None => {
            return health(HealthStatus::Progressing, "the definition is not established yet".to_owned());
        }
    }
    match holds(object, "NonStructuralSchema") {
        Some(violation) => {
            health(HealthStatus::Degraded, format!("its schema is not structural: {}", violation.message()))
        }
        None => Some(Health::healthy()),
    }
}

/// Source: `gitops-engine/pkg/health/health_apiservice.go`.
pub(super) fn api_service(object: &Object) -> Option<Health> {
    let available = condition(object, "Available");
    Some(match available {
        Some(available) if available.is_true() => Health::healthy(),
        Some(_) | None => Health::new(
            HealthStatus::Progressing,
            available.map_or_else(|| "waiting to be served".to_owned(), Condition::message),
        ),
    })
}
