//! Services and Ingresses.

use crate::model::{Health, HealthStatus, Object};

fn addressed(object: &Object) -> Health {
    if object.at("/status/loadBalancer/ingress/0").is_some() {
        return Health::healthy();
    }
    Health::new(HealthStatus::Progressing, "no load balancer address yet")
}

/// Source: `gitops-engine/pkg/health/health_service.go`. Only load balancers have a health; other Services work as soon
/// as they exist.
pub(super) fn service(object: &Object) -> Option<Health> {
    (object.text("/spec/type") == Some("LoadBalancer")).then(|| addressed(object))
}

/// Source: `gitops-engine/pkg/health/health_ingress.go`. An Ingress whose controller writes no address stays
/// Progressing, there as here; a declared rule mends that.
pub(super) fn ingress(object: &Object) -> Option<Health> {
    Some(addressed(object))
}
