//! S1: no more pods of a Target than the durable wave allows, none before the intent, and nothing but Stable and Target.

use std::collections::BTreeMap;

use super::cluster::{Cluster, is_observed, owner, replicas, version};
use super::record::{Rollout, wave_size};
use super::{Kind, Step};

/// The most that each app's rollout was ever allowed.
#[derive(Default)]
pub(super) struct Containment {
    allowed: BTreeMap<String, Allowed>,
}

struct Allowed {
    rollout: u64,
    version: String,
    /// `None` for as many as the Deployment wants.
    pods: Option<u64>,
    /// `spec.replicas` that `pods` was reckoned with.
    n: u64,
}

impl Containment {
    pub(super) fn see(&mut self, step: &Step<'_>) -> Vec<(&'static str, String)> {
        match step.event.kind {
            Kind::Application => {
                self.allow(step.cluster, &step.event.name);
                Vec::new()
            }
            Kind::Deployment => {
                self.allow(step.cluster, &step.event.name);
                intent(step).into_iter().collect()
            }
            Kind::ReplicaSet => self.growth(step).into_iter().collect(),
            Kind::ConfigMap | Kind::Pod => Vec::new(),
        }
    }

    /// What was allowed before a gap is unknown: whatever stands was.
    pub(super) fn resume(&mut self, cluster: &Cluster) {
        let apps: Vec<String> = cluster.all(Kind::Application).map(|(name, _)| name.to_owned()).collect();
        for app in apps {
            self.allow(cluster, &app);
            let Some(allowed) = self.allowed.get_mut(&app) else { continue };
            let standing =
                cluster.all(Kind::ReplicaSet).filter(|(_, set)| owner(set) == app && version(set) == allowed.version);
            let standing = standing.map(|(_, set)| replicas(Some(set))).max().unwrap_or(0);
            allowed.pods = allowed.pods.map(|pods| pods.max(standing));
        }
    }

    fn allow(&mut self, cluster: &Cluster, app: &str) {
        let Some(rollout) = cluster.record(app).and_then(|record| record.rollout()) else { return };
        let n = replicas(cluster.get(Kind::Deployment, app));
        let fresh = || Allowed { rollout: rollout.id(), version: rollout.version().to_owned(), pods: Some(0), n };
        let allowed = self.allowed.entry(app.to_owned()).or_insert_with(fresh);
        if allowed.rollout != rollout.id() {
            *allowed = fresh();
        }
        // Kubernetes scales both sides in proportion when somebody changes `replicas` in mid-wave: that is exposure, not ours.
        if n > allowed.n && allowed.n > 0 {
            let grown = allowed.n;
            allowed.pods = allowed.pods.map(|pods| if pods == 0 { 0 } else { (pods * n).div_ceil(grown) + 1 });
        }
        allowed.n = n;
        let wanted = wanted(rollout, n);
        allowed.pods = wanted.and_then(|wanted| Some(allowed.pods?.max(wanted)));
    }

    fn growth(&self, step: &Step<'_>) -> Option<(&'static str, String)> {
        let set = step.event.object.as_ref()?;
        let (app, count) = (owner(set), replicas(Some(set)));
        let record = step.cluster.record(app)?;
        let version = version(set);
        if count <= replicas(step.before) || version == record.stable_version() {
            return None;
        }
        // A controller that has not seen the Deployment's newest write acts on an older one.
        let deployment = step.cluster.get(Kind::Deployment, app)?;
        let is_late = !is_observed(deployment) || super::cluster::version(deployment) == version;
        let rollout = record.rollout();
        let forward =
            rollout.filter(|rollout| rollout.version() == version && (is_late || rollout.at() != "reverting"));
        let allowed = self.allowed.get(app).filter(|allowed| allowed.version == version);
        match (forward, allowed) {
            (Some(_), Some(Allowed { pods: None, .. })) => None,
            (Some(_), Some(Allowed { pods: Some(pods), .. })) if count <= *pods => None,
            (Some(_), Some(Allowed { pods, .. })) => {
                Some(("S1", format!("{count} pods of {version} wanted, {} allowed", pods.unwrap_or(0))))
            }
            (None, Some(_)) if is_late => None,
            (Some(_) | None, None) | (None, Some(_)) => {
                Some(("S1", format!("pods of {version} grow to {count}, which no durable rollout asks for")))
            }
        }
    }
}

/// Pods that the durable position allows; `None` for all.
fn wanted(rollout: Rollout<'_>, n: u64) -> Option<u64> {
    let planned = rollout.planned();
    match rollout.wave() {
        None if rollout.at() == "trailing" => None,
        None => Some(0),
        Some(_) if matches!(rollout.lane(), "firstSync" | "direct") => None,
        Some(index) if index + 1 >= planned.len() => None,
        Some(index) => Some(wave_size(&planned[index], n)),
    }
}

/// A Deployment's template changes only to what a durable intent names.
fn intent(step: &Step<'_>) -> Option<(&'static str, String)> {
    let (now, record) = (step.event.object.as_ref()?, step.cluster.record(&step.event.name)?);
    let version_now = version(now);
    if step.before.is_some_and(|before| version(before) == version_now) {
        return None;
    }
    let rollout = record.rollout();
    let is_target = rollout
        .is_some_and(|rollout| rollout.version() == version_now && !matches!(rollout.at(), "preparing" | "reverting"));
    if is_target || version_now == record.stable_version() {
        return None;
    }
    Some(("S1", format!("the template changes to {version_now} without a durable intent: {}", record.line())))
}
