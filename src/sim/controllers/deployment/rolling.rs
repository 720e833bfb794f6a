//! A rolling update's step (`deployment/rolling.go`): grow the new ReplicaSet, or else shrink the old ones.

use super::Pass;
use crate::world::ApiError;

impl Pass<'_, '_> {
    /// `rolloutRolling`, without the report at its end.
    pub(super) fn roll(&mut self) -> Result<(), ApiError> {
        let new = self.ensure_new()?;
        if self.reconcile_new(new)? || self.reconcile_old(new)? {
            return Ok(());
        }
        self.clean_up_when_complete()
    }

    /// `reconcileNewReplicaSet`.
    fn reconcile_new(&mut self, new: usize) -> Result<bool, ApiError> {
        let size = self.sets[new].replicas;
        let wanted = match size.cmp(&self.declared.n) {
            std::cmp::Ordering::Equal => return Ok(false),
            std::cmp::Ordering::Greater => self.declared.n,
            std::cmp::Ordering::Less => self.new_size(self.sum(|set| set.replicas), size),
        };
        self.set_scale(new, wanted, false)
    }

    /// What the new ReplicaSet of `size` may grow to when there are `total` pods (`NewRSNewReplicas`).
    pub(super) fn new_size(&self, total: i64, size: i64) -> i64 {
        let n = self.declared.n;
        match self.declared.window {
            Some(window) if total >= n + window.surge => size,
            Some(window) => size + (n + window.surge - total).min(n - size),
            None => n,
        }
    }

    /// `reconcileOldReplicaSets`: unhealthy old pods first, then oldest ReplicaSets first, as far as availability allows.
    fn reconcile_old(&mut self, new: usize) -> Result<bool, ApiError> {
        let old: Vec<usize> = self.old().into_iter().filter(|index| self.sets[*index].replicas > 0).collect();
        if old.is_empty() {
            return Ok(false);
        }
        let available_min = self.declared.n - self.declared.unavailable();
        let new_unavailable = self.sets[new].replicas - self.sets[new].available;
        let surplus_max = self.sum(|set| set.replicas) - available_min - new_unavailable;
        if surplus_max <= 0 {
            return Ok(false);
        }
        // Failures end the step, not the sync, as on a real cluster.
        let Some(cleaned) = self.clean_unhealthy(&old, surplus_max) else { return Ok(false) };
        let Ok(shrunk) = self.shrink_old(&old, new, available_min) else { return Ok(false) };
        Ok(cleaned + shrunk > 0)
    }

    /// `cleanupUnhealthyReplicas`. A status that lags behind a smaller spec tells of more available pods than are wanted;
    /// that is an error there ("got invalid request to scale down"), and nothing is shrunk in this sync.
    fn clean_unhealthy(&mut self, old: &[usize], most: i64) -> Option<i64> {
        let mut cleaned = 0;
        for &index in old {
            let (replicas, available) = (self.sets[index].replicas, self.sets[index].available);
            if cleaned >= most {
                break;
            }
            if replicas == 0 || replicas == available {
                continue;
            }
            let count = (most - cleaned).min(replicas - available);
            if count < 0 {
                return None;
            }
            self.set_scale(index, replicas - count, false).ok()?;
            cleaned += count;
        }
        Some(cleaned)
    }

    /// `scaleDownOldReplicaSetsForRollingUpdate`.
    fn shrink_old(&mut self, old: &[usize], new: usize, available_min: i64) -> Result<i64, ApiError> {
        // It counts active old ReplicaSets and the new one.
        let available: i64 = old.iter().chain([&new]).map(|index| self.sets[*index].available).sum();
        let most = available - available_min;
        let mut shrunk = 0;
        for &index in old {
            let replicas = self.sets[index].replicas;
            if shrunk >= most || replicas == 0 {
                continue;
            }
            let count = replicas.min(most - shrunk);
            self.set_scale(index, replicas - count, false)?;
            shrunk += count;
        }
        Ok(shrunk)
    }
}
