//! Scaling without rolling (`deployment/sync.go` `scale`): while paused, and when n changed.

use super::{Pass, Set};
use crate::world::ApiError;

impl Pass<'_, '_> {
    /// One active ReplicaSet gets everything; several get their share.
    pub(super) fn scale(&mut self) -> Result<(), ApiError> {
        let n = self.declared.n;
        let active = self.active();
        if let Some(only) = self.active_or_latest(&active) {
            return self.set_scale(only, n, false).map(drop);
        }
        if self.is_saturated() {
            for index in self.old() {
                self.set_scale(index, 0, false)?;
            }
            return Ok(());
        }
        match self.declared.window {
            Some(window) => self.scale_proportionally(active, if n > 0 { n + window.surge } else { 0 }),
            None => Ok(()),
        }
    }

    /// `FindActiveOrLatest`.
    fn active_or_latest(&self, active: &[usize]) -> Option<usize> {
        match active {
            [] => self.new.or_else(|| self.old().last().copied()),
            [only] => Some(*only),
            _ => None,
        }
    }

    /// `IsSaturated`.
    fn is_saturated(&self) -> bool {
        let n = self.declared.n;
        self.new
            .map(|new| &self.sets[new])
            .is_some_and(|set| set.replicas == n && set.desired == Some(n) && set.available == n)
    }

    /// Shares what is to be added or removed: largest first, among equals the newest first when adding and the oldest
    /// first when removing; what rounding leaves goes to the first.
    fn scale_proportionally(&mut self, mut active: Vec<usize>, allowed: i64) -> Result<(), ApiError> {
        let to_add = allowed - self.sum(|set| set.replicas);
        active.sort_by(|&one, &other| {
            let (one, other) = (&self.sets[one], &self.sets[other]);
            let by_age = if to_add > 0 { other.age().cmp(&one.age()) } else { one.age().cmp(&other.age()) };
            other.replicas.cmp(&one.replicas).then(by_age)
        });
        let mut added = 0;
        let mut sizes = Vec::with_capacity(active.len());
        for &index in &active {
            let set = &self.sets[index];
            let share = self.proportion(set, to_add, added);
            sizes.push(set.replicas + share);
            added += share;
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for (index, size) in active.into_iter().zip(sizes) {
            self.set_scale(index, size, true)?;
        }
        Ok(())
    }

    /// `GetReplicaSetProportion`.
    fn proportion(&self, set: &Set, to_add: i64, added: i64) -> i64 {
        if set.replicas == 0 || to_add == 0 || to_add == added {
            return 0;
        }
        let (fraction, allowed) = (self.fraction(set), to_add - added);
        if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
    }

    /// `getReplicaSetFraction`: by how much a ReplicaSet grows when it keeps its part of n + surge, which its mark knows
    /// from before.
    fn fraction(&self, set: &Set) -> i64 {
        let n = self.declared.n;
        if n == 0 {
            return -set.replicas;
        }
        let before = set.max.filter(|max| *max != 0).unwrap_or(self.status.replicas);
        if before == 0 {
            return 0;
        }
        // Rounds half up; all numbers are positive.
        let share = (2 * set.replicas * (n + self.declared.surge()) + before) / (2 * before);
        share - set.replicas
    }
}
