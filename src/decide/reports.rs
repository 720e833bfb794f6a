//! What a pass says of its app. When the app is not Synced and Healthy, it names one fact.

use std::collections::{BTreeMap, BTreeSet};

use super::Draft;
use crate::health::{health, worst};
use crate::model::{Declared, Health, HealthStatus, ObjectKey};
use crate::status::{Blocking, Phase, Report, Resource, SyncStatus};

/// Builds the report of a finished draft.
pub(super) fn report(draft: &Draft<'_>) -> Report {
    let resources = resources(draft);
    let observed = aggregate(&resources);
    let is_declared = draft.record.rollout.is_none()
        && draft.s.declared.digest().is_some()
        && draft.s.declared.digest() == draft.record.stable.as_ref().map(|stable| stable.digest);
    let mut phase = draft.phase;
    if phase == Phase::Idle && observed.status != HealthStatus::Healthy {
        phase = Phase::Unhealthy;
    }
    if matches!(phase, Phase::Idle | Phase::Unhealthy) && !draft.facts.is_empty() {
        phase = Phase::Drifted;
    }
    let sync = match (phase, draft.s.declared) {
        (Phase::SourceFailed, _) => SyncStatus::Unknown,
        (_, Declared::Broken { .. }) if draft.record.rollout.is_none() => SyncStatus::Unknown,
        (Phase::Idle | Phase::Unhealthy, _) if is_declared => SyncStatus::Synced,
        (_, Declared::Ready { .. } | Declared::Broken { .. } | Declared::Removed { .. }) => SyncStatus::OutOfSync,
    };
    let fact = draft.facts.first().cloned().map(|(fact, since)| Blocking { fact, since });
    let health = shown_health(draft, phase, observed, fact.as_ref());
    let blocking = fact.or_else(|| {
        let is_well = sync == SyncStatus::Synced && health.status == HealthStatus::Healthy;
        let fact = if health.message.is_empty() {
            format!("the app is {}", health.status.as_str())
        } else {
            health.message.clone()
        };
        (!is_well).then_some(Blocking { fact, since: draft.s.now })
    });
    Report { phase, health, sync, blocking, exposure: draft.exposure, resources, remarks: draft.remarks.clone() }
}

/// The table of phases: a rollout speaks for itself, otherwise what is observed counts.
fn shown_health(draft: &Draft<'_>, phase: Phase, observed: Health, fact: Option<&Blocking>) -> Health {
    let message = || fact.map(|fact| fact.fact.clone()).unwrap_or_default();
    match phase {
        Phase::Progressing | Phase::Baking | Phase::Measuring | Phase::Reverting => {
            Health::new(HealthStatus::Progressing, message())
        }
        Phase::Waiting => Health::new(HealthStatus::Suspended, message()),
        Phase::Held => Health::new(HealthStatus::Degraded, message()),
        Phase::Unhealthy if draft.record.rollout.is_none() && observed.status == HealthStatus::Progressing => observed,
        Phase::Unhealthy => observed,
        Phase::SourceFailed if draft.record.stable.is_none() => Health::new(HealthStatus::Missing, message()),
        Phase::Idle | Phase::Drifted | Phase::SourceFailed | Phase::Contended => observed,
    }
}

fn resources(draft: &Draft<'_>) -> Vec<Resource> {
    let changes = draft.s.changes;
    let differing: BTreeSet<&ObjectKey> = changes
        .apply
        .iter()
        .map(|change| &change.staged.object.key)
        .chain(changes.remove_fields.iter().map(|removal| &removal.live.key))
        .chain(changes.refused.iter().map(|(key, _)| key))
        .collect();
    let leaving: BTreeSet<&ObjectKey> = changes.delete.iter().map(|object| &object.key).collect();
    let mut versions: BTreeMap<&ObjectKey, &str> =
        draft.record.inventory.iter().map(|(key, version)| (key, version.as_str())).collect();
    versions.extend(draft.s.stage.objects.iter().map(|(key, staged)| (key, staged.object.version.as_str())));
    let rules = draft.health_rules();
    let resource = |(key, version): (&ObjectKey, &str)| {
        let live = draft.s.live.objects.get(key);
        let is_synced = live.is_some() && !differing.contains(key) && !leaving.contains(key);
        Resource {
            key: key.clone(),
            version: version.to_owned(),
            sync: if is_synced { SyncStatus::Synced } else { SyncStatus::OutOfSync },
            health: live.map_or_else(|| Some(Health::new(HealthStatus::Missing, "")), |live| health(live, rules)),
            requires_pruning: leaving.contains(key),
        }
    };
    versions.into_iter().map(resource).collect()
}

/// The worst health, in Argo CD's way: a missing object alone does not lower the app unless nothing is there.
fn aggregate(resources: &[Resource]) -> Health {
    let is_missing =
        |resource: &&Resource| resource.health.as_ref().is_some_and(|health| health.status == HealthStatus::Missing);
    if !resources.is_empty() && resources.iter().all(|resource| is_missing(&resource)) {
        return Health::new(HealthStatus::Missing, "no object of the app exists");
    }
    let named = resources.iter().filter(|resource| !is_missing(resource)).filter_map(|resource| {
        let health = resource.health.clone()?;
        let message =
            if health.message.is_empty() { String::new() } else { format!("{}: {}", resource.key, health.message) };
        Some(Health { message, ..health })
    });
    worst(named)
}
