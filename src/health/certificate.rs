//! cert-manager: certificates, their requests, issuers, and ACME's orders and challenges.

use super::condition::{condition, holds, lags_if_said};
use crate::model::{Health, HealthStatus, Object};

fn waiting(what: &str) -> Health {
    Health::new(HealthStatus::Progressing, format!("waiting for the {what}"))
}

/// Ready or not, when the condition speaks of the newest generation.
fn ready(object: &Object, what: &str) -> Health {
    let ready = condition(object, "Ready");
    if let Some(health) = lags_if_said(object, ready) {
        return health;
    }
    match ready {
        Some(ready) if ready.is_true() => Health::healthy(),
        Some(ready) if ready.is_false() => ready.health(HealthStatus::Degraded),
        Some(_) | None => waiting(what),
    }
}

/// Source: `argo-cd/resource_customizations/cert-manager.io/Certificate`: one that is being issued is Progressing, even
/// while an older one is served.
pub(super) fn certificate(object: &Object) -> Option<Health> {
    if let Some(issuing) = holds(object, "Issuing") {
        return Some(issuing.health(HealthStatus::Progressing));
    }
    Some(ready(object, "certificate"))
}

/// Source: `argo-cd/resource_customizations/cert-manager.io/{Issuer,ClusterIssuer}`.
pub(super) fn issuer(object: &Object) -> Option<Health> {
    Some(ready(object, "issuer"))
}

/// Source: `argo-cd/resource_customizations/cert-manager.io/CertificateRequest`.
pub(super) fn request(object: &Object) -> Option<Health> {
    if let Some(refused) = holds(object, "Denied").or_else(|| holds(object, "InvalidRequest")) {
        return Some(refused.health(HealthStatus::Degraded));
    }
    match condition(object, "Ready").filter(|ready| !ready.is_true() && ready.reason() == "Pending") {
        Some(pending) => Some(pending.health(HealthStatus::Progressing)),
        None => Some(ready(object, "request")),
    }
}

/// Source: `argo-cd/resource_customizations/acme.cert-manager.io/{Order,Challenge}`.
pub(super) fn order(object: &Object) -> Option<Health> {
    let state = object.text("/status/state").unwrap_or_default();
    let reason = object.text("/status/reason").filter(|reason| !reason.is_empty());
    let message = || reason.map_or_else(|| format!("it is {state}"), str::to_owned);
    Some(match state {
        "" => Health::new(HealthStatus::Progressing, "waiting for the certificate authority"),
        "valid" => Health::healthy(),
        "invalid" | "expired" | "errored" => Health::new(HealthStatus::Degraded, message()),
        _ => Health::new(HealthStatus::Progressing, message()),
    })
}
