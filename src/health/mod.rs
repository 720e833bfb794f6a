//! Live object -> Health, in Argo CD's words. `None` for kinds without a health rule.
//!
//! Enters: an object as it was read, and the rules that its Application declares. Leaves: how it is, with the sentence
//! that explains it. Asked in this order: whether it is being deleted, a declared rule for its kind, the table below,
//! and what its conditions say in general.
//!
//! Where Argo CD judges a kind, the answer is Argo CD's (`gitops-engine/pkg/health`, `argo-cd/resource_customizations`);
//! other kinds follow kstatus. A status that does not reflect the newest generation is Progressing. Each function names
//! its source; `cases/` has a file for each answer.

mod argo;
mod batch;
mod certificate;
mod condition;
mod declared;
mod extension;
mod flux;
mod gateway;
mod generic;
mod network;
mod pod;
mod scaling;
mod storage;
mod workload;

#[cfg(test)]
mod tests;

use crate::model::HealthStatus::{Degraded, Healthy, Missing, Progressing, Suspended, Unknown};
use crate::model::{Health, HealthRule, HealthStatus, Object};

/// How the objects of one kind are judged.
#[derive(Debug)]
pub struct Rule {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// What it can say.
    pub says: &'static [HealthStatus],
    judge: fn(&Object) -> Option<Health>,
}

const fn rule(
    group: &'static str,
    kind: &'static str,
    judge: fn(&Object) -> Option<Health>,
    says: &'static [HealthStatus],
) -> Rule {
    Rule { group, kind, says, judge }
}

const SOURCE: &str = "source.toolkit.fluxcd.io";
const GATEWAY: &str = "gateway.networking.k8s.io";

/// Which kinds have a rule of their own.
pub static RULES: &[Rule] = &[
    rule("apps", "Deployment", workload::deployment, &[Healthy, Suspended, Progressing, Degraded]),
    rule("apps", "StatefulSet", workload::stateful_set, &[Healthy, Progressing]),
    rule("apps", "DaemonSet", workload::daemon_set, &[Healthy, Progressing]),
    rule("apps", "ReplicaSet", workload::replica_set, &[Healthy, Progressing, Degraded]),
    rule("", "Pod", pod::pod, &[Healthy, Progressing, Degraded, Unknown]),
    rule("batch", "Job", batch::job, &[Healthy, Suspended, Progressing, Degraded]),
    rule("batch", "CronJob", batch::cron_job, &[Healthy, Suspended, Progressing, Degraded]),
    rule("", "PersistentVolumeClaim", storage::claim, &[Healthy, Progressing, Degraded]),
    rule("", "Service", network::service, &[Healthy, Progressing]),
    rule("networking.k8s.io", "Ingress", network::ingress, &[Healthy, Progressing]),
    rule("autoscaling", "HorizontalPodAutoscaler", scaling::autoscaler, &[Healthy, Progressing, Degraded]),
    rule("policy", "PodDisruptionBudget", scaling::disruption_budget, &[Healthy, Progressing, Degraded]),
    rule("apiregistration.k8s.io", "APIService", extension::api_service, &[Healthy, Progressing]),
    rule("apiextensions.k8s.io", "CustomResourceDefinition", extension::definition, &[Healthy, Progressing, Degraded]),
    rule(GATEWAY, "GatewayClass", gateway::class, &[Healthy, Progressing, Degraded]),
    rule(GATEWAY, "Gateway", gateway::gateway, &[Healthy, Progressing, Degraded]),
    rule(GATEWAY, "HTTPRoute", gateway::route, &[Healthy, Progressing, Degraded]),
    rule(GATEWAY, "GRPCRoute", gateway::route, &[Healthy, Progressing, Degraded]),
    rule("argoproj.io", "Rollout", argo::rollout, &[Healthy, Suspended, Progressing, Degraded]),
    rule("argoproj.io", "AnalysisRun", argo::analysis_run, &[Healthy, Progressing, Degraded, Unknown]),
    rule("argoproj.io", "Experiment", argo::experiment, &[Healthy, Progressing, Degraded, Unknown]),
    rule(
        "argoproj.io",
        "Application",
        argo::application,
        &[Healthy, Suspended, Progressing, Missing, Degraded, Unknown],
    ),
    rule(
        "kustomize.toolkit.fluxcd.io",
        "Kustomization",
        flux::reconciled,
        &[Healthy, Suspended, Progressing, Degraded],
    ),
    rule("helm.toolkit.fluxcd.io", "HelmRelease", flux::release, &[Healthy, Suspended, Progressing, Degraded]),
    rule(SOURCE, "GitRepository", flux::source, &[Healthy, Suspended, Progressing, Degraded]),
    rule(SOURCE, "OCIRepository", flux::source, &[Healthy, Suspended, Progressing, Degraded]),
    rule(SOURCE, "HelmRepository", flux::helm_repository, &[Healthy, Suspended, Progressing, Degraded]),
    rule(SOURCE, "HelmChart", flux::source, &[Healthy, Suspended, Progressing, Degraded]),
    rule(SOURCE, "Bucket", flux::source, &[Healthy, Suspended, Progressing, Degraded]),
    rule("cert-manager.io", "Certificate", certificate::certificate, &[Healthy, Progressing, Degraded]),
    rule("cert-manager.io", "CertificateRequest", certificate::request, &[Healthy, Progressing, Degraded]),
    rule("cert-manager.io", "Issuer", certificate::issuer, &[Healthy, Progressing, Degraded]),
    rule("cert-manager.io", "ClusterIssuer", certificate::issuer, &[Healthy, Progressing, Degraded]),
    rule("acme.cert-manager.io", "Order", certificate::order, &[Healthy, Progressing, Degraded]),
    rule("acme.cert-manager.io", "Challenge", certificate::order, &[Healthy, Progressing, Degraded]),
];

/// Judges one live object; the first of the declared rules for its kind comes before the built-in one.
#[must_use]
pub fn health(object: &Object, declared: &[HealthRule]) -> Option<Health> {
    if object.is_terminating() {
        return Some(terminating(object));
    }
    let kind = &object.key.kind;
    if let Some(rule) = declared.iter().find(|rule| rule.kind == *kind) {
        return Some(declared::judge(rule, object));
    }
    match RULES.iter().find(|rule| kind.is(rule.group, rule.kind)) {
        Some(rule) => (rule.judge)(object),
        None => generic::judge(object),
    }
}

/// The worst of many, in Argo CD's order; Healthy when there is none.
#[must_use]
pub fn worst(all: impl IntoIterator<Item = Health>) -> Health {
    all.into_iter().max_by_key(|health| health.status).unwrap_or_else(Health::healthy)
}

/// An object that is being deleted, as Argo CD and kstatus see it; finalizers say whom it waits for.
fn terminating(object: &Object) -> Health {
    let finalizers = object.at("/metadata/finalizers").and_then(serde_json::Value::as_array);
    let names: Vec<&str> = finalizers.into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
    if names.is_empty() {
        return Health::new(Progressing, "pending deletion");
    }
    Health::new(Progressing, format!("pending deletion; waits for finalizers {}", names.join(", ")))
}
