//! Bugs that can be planted, to see whether the simulation finds them. Only tests plant them, each in its own thread, and
//! only builds for development can: in an optimised build [`is_planted`] is `false` at compile time, and nothing of this
//! is in the program. A feature would do the same and have everything built twice.

/// A planted bug, each one that others had in public or that holding.md warns of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// Sizes are read from ReplicaSet status, which lags, and the controller counts as done once it saw the generation.
    StaleStatusCount,
    /// A wave is grown from the sizes that were wished for, not from those that are observed.
    WishedCounts,
    /// The wave's index lives in memory and is not written (Argo Rollouts: step index from a stale cache).
    WaveInMemory,
    /// An empty repository removes everything (Argo CD #14318, #23645).
    EmptyPrunes,
    /// The lease is held and its deadline is not looked at before a write (client-go's election offers no fencing).
    LeaseWithoutDeadline,
    /// A request is read from whatever a watch brings, however old (Argo Rollouts #1152, #2048).
    RequestFromCache,
    /// Replicas and pod template change in one apply.
    ReplicasWithTemplate,
    /// A newer version starts where the older one stands: a third ReplicaSet.
    ThirdSet,
    /// `minReadySeconds` is restored before the strategy.
    MinReadyFirst,
    /// Missing data counts as a pass.
    NoDataPasses,
    /// Samples count that were taken before the pods were Ready (again).
    EarlySamplesCount,
    /// A failed Release is remembered in memory only (Argo Rollouts #2929).
    QuarantineInMemory,
    /// A lost Application resource is taken for a first sync.
    FirstSyncAfterLoss,
    /// The Target is applied before the rollout's wave is written.
    EffectBeforeIntent,
    /// A wave that is not Ready in time is passed.
    TimeoutPasses,
    /// Readiness is judged before the controller has seen the generation.
    UnobservedReadiness,
    /// History that was rewritten is followed (Argo CD #7680).
    FollowsRewrites,
    /// What a failed Release added stays.
    KeepsAdded,
    /// Another's entry in the pod template is taken for ours, and stays.
    ToleratesAdditions,
    /// A hold stands while there are no pods: they all come back new.
    HoldsAtZero,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::StaleStatusCount,
        Self::WishedCounts,
        Self::WaveInMemory,
        Self::EmptyPrunes,
        Self::LeaseWithoutDeadline,
        Self::RequestFromCache,
        Self::ReplicasWithTemplate,
        Self::ThirdSet,
        Self::MinReadyFirst,
        Self::NoDataPasses,
        Self::EarlySamplesCount,
        Self::QuarantineInMemory,
        Self::FirstSyncAfterLoss,
        Self::EffectBeforeIntent,
        Self::TimeoutPasses,
        Self::UnobservedReadiness,
        Self::FollowsRewrites,
        Self::KeepsAdded,
        Self::ToleratesAdditions,
        Self::HoldsAtZero,
    ];
}

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug in this thread, or takes it out again.
#[cfg(debug_assertions)]
pub fn plant(mutant: Option<Mutant>) {
    PLANTED.set(mutant);
}

/// Whether this bug is planted.
#[cfg(debug_assertions)]
#[must_use]
pub fn is_planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// Whether this bug is planted: never.
#[cfg(not(debug_assertions))]
#[must_use]
pub const fn is_planted(_mutant: Mutant) -> bool {
    false
}
