//! An abstract cluster: one Deployment, a ReplicaSet per template, and their pods, as a few small numbers.
//!
//! It moves by the law of the Deployment controller, written down here a second time from the rules of holding a wave
//! and not taken from the program: an error in the program's own copy must not hide itself.

/// Templates: Stable at the start, and the two that may be committed.
pub(super) const RELEASES: usize = 3;

/// Pods of the Deployment. The waves want 1, 2 and all of them.
pub(super) const PODS: u8 = 3;

/// What the controllers read of a Deployment's spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    /// Whose pod template it carries.
    pub(super) template: u8,
    /// Whether new pods never become Available.
    pub(super) is_held: bool,
    /// Whether its progress deadline is that of a rollout under way, and not the declared one.
    pub(super) is_patient: bool,
    /// `maxSurge`, in pods.
    pub(super) surge: u8,
    /// `maxUnavailable`, in pods.
    pub(super) unavailable: u8,
}

/// One ReplicaSet and its pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Set {
    /// Whether it was ever made.
    pub(super) exists: bool,
    /// `spec.replicas`.
    pub(super) wanted: u8,
    /// Pods that there are.
    pub(super) pods: u8,
    /// Pods that are Ready.
    pub(super) ready: u8,
    /// Pods that its status calls Available.
    pub(super) available: u8,
    /// Whether its minReadySeconds is that of a hold.
    pub(super) is_held: bool,
    /// Whether a pod crash-loops.
    pub(super) is_crashing: bool,
}

impl Set {
    /// Every pod that is there or is going to be.
    pub(super) fn exposure(self) -> u8 {
        self.wanted.max(self.pods)
    }

    fn settled(self) -> Self {
        let ready = self.ready.min(self.wanted);
        Self {
            pods: self.wanted,
            ready,
            available: if self.is_held { 0 } else { ready },
            is_crashing: self.is_crashing && self.wanted > 0,
            ..self
        }
    }
}

/// What the Deployment's status says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Status {
    /// Whether the controller has seen the newest generation.
    pub(super) is_observed: bool,
    /// `updatedReplicas`.
    pub(super) updated: u8,
    /// `replicas`.
    pub(super) all: u8,
    /// `availableReplicas`.
    pub(super) available: u8,
}

/// ReplicaSets and status; the Deployment's spec is what was applied last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cluster {
    /// By template.
    pub(super) sets: [Set; RELEASES],
    /// The Deployment's.
    pub(super) status: Status,
}

impl Cluster {
    /// Everything runs on the first template.
    pub(super) fn at_rest() -> Self {
        let mut sets = [Set::default(); RELEASES];
        sets[0] = Set { exists: true, wanted: PODS, pods: PODS, ready: PODS, available: PODS, ..Set::default() };
        Self { sets, status: Status { is_observed: true, updated: PODS, all: PODS, available: PODS } }
    }

    /// The Deployment controller goes on until it stops: with `R` old pods wanted, `w` new ones and `a` of these
    /// Available, at `R' = max(0, min(R, n - mu - a))` and `w' = min(n, max(w, n + ms - R'))`.
    pub(super) fn after_deployment_controller(mut self, spec: Spec) -> Self {
        let new = usize::from(spec.template);
        self.sets[new].exists = true;
        self.sets[new].is_held = spec.is_held;
        let old: u8 = (0..RELEASES).filter(|&index| index != new).map(|index| self.sets[index].wanted).sum();
        let keeps = old.min(PODS.saturating_sub(spec.unavailable).saturating_sub(self.sets[new].available));
        let mut surplus = old - keeps;
        for index in (0..RELEASES).filter(|&index| index != new) {
            let gone = self.sets[index].wanted.min(surplus);
            self.sets[index].wanted -= gone;
            surplus -= gone;
        }
        let set = &mut self.sets[new];
        set.wanted = PODS.min(set.wanted.max((PODS + spec.surge).saturating_sub(keeps)));
        self.status = Status {
            is_observed: true,
            updated: self.sets[new].pods,
            all: self.sets.iter().map(|set| set.pods).sum(),
            available: self.sets.iter().map(|set| set.available).sum(),
        };
        self
    }

    /// Every ReplicaSet creates and deletes pods, and counts the Available ones again.
    pub(super) fn after_set_controller(mut self) -> Self {
        self.sets = self.sets.map(Set::settled);
        self
    }

    /// The pods of one template become Ready.
    pub(super) fn after_becoming_ready(mut self, template: usize) -> Self {
        let set = &mut self.sets[template];
        set.ready = set.pods;
        set.available = if set.is_held { 0 } else { set.ready };
        self
    }

    /// A pod of one template, when there is one, ends in a crash loop.
    pub(super) fn after_crashing(mut self, template: usize) -> Self {
        let set = &mut self.sets[template];
        set.is_crashing = set.pods > 0;
        self
    }
}
