//! A WavePlan: how a Target goes out, wave by wave.

use super::{Analysis, Millis};

/// How new pods come to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Waves of pods; the share of traffic follows the share of pods.
    Rolling,
    /// The same mechanism under the name that users of canaries look for: share of replicas, no traffic split.
    Canary,
}

/// Where the room for new pods comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capacity {
    /// Only ever grow: all n Stable pods stay until the last wave, at most n + k pods.
    Surge,
    /// Never more than n + the declared maxSurge pods: old pods make room for new ones.
    InPlace,
}

/// What a shut gate leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// Back to Stable by itself.
    Revert,
    /// Stay at the wave, Degraded, until a person decides.
    Hold,
}

/// The size of a wave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Replicas {
    /// This many pods, never more than there are.
    Count(u32),
    /// This share of the pods, 1 to 100, rounded up.
    Percent(u32),
}

impl Replicas {
    /// Pods out of `n` that this wave wants on the new template. Percentages round up, as maxSurge does in Kubernetes,
    /// so that a wave is never empty.
    #[must_use]
    pub fn of(self, n: u32) -> u32 {
        match self {
            Self::Count(count) => count.min(n),
            Self::Percent(percent) => {
                let pods = (u64::from(n) * u64::from(percent)).div_ceil(100);
                u32::try_from(pods).unwrap_or(u32::MAX).min(n)
            }
        }
    }

    /// Whether this means every pod whatever n is.
    #[must_use]
    pub const fn is_all(self) -> bool {
        matches!(self, Self::Percent(100))
    }
}

impl std::fmt::Display for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// One ordered batch and what must hold before the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Wave {
    /// Name for people; `wave-1` and so on when the plan gives none.
    pub name: String,
    /// Its size.
    pub replicas: Replicas,
    /// How long its pods must stay Ready before the gates may open.
    pub bake: Millis,
    /// How long its pods may take to become Ready.
    pub timeout: Millis,
    /// Names of the plan's analyses that gate this wave. Pod health always does.
    pub analysis: Vec<String>,
}

/// A plan, resolved and valid: waves grow, the last one is everything, every analysis named exists.
#[derive(Clone, Debug, PartialEq)]
pub struct WavePlan {
    /// Its name, or `inline`.
    pub name: String,
    /// How new pods come to be.
    pub strategy: Strategy,
    /// Where the room for them comes from.
    pub capacity: Capacity,
    /// The waves in order; the last is 100 %.
    pub waves: Vec<Wave>,
    /// The analyses that waves name.
    pub analysis: Vec<Analysis>,
    /// Container restarts that a new pod may have before the health gate shuts.
    pub restarts_max: u32,
    /// What a shut gate leads to.
    pub on_failure: OnFailure,
    /// How long the way back may take before `why` says that it is stuck.
    pub revert_timeout: Millis,
    /// The waves of the express lane, for a Release that completed before (a recognised `git revert`).
    pub express: Vec<Wave>,
}

impl WavePlan {
    /// The analysis called `name`.
    #[must_use]
    pub fn analysis(&self, name: &str) -> Option<&Analysis> {
        self.analysis.iter().find(|analysis| analysis.name == name)
    }

    /// What an Application without a plan gets: one wave with the health gate.
    #[must_use]
    pub fn all_at_once() -> Self {
        Self {
            name: "all-at-once".to_owned(),
            strategy: Strategy::Rolling,
            capacity: Capacity::Surge,
            waves: vec![Wave::all("all")],
            analysis: Vec::new(),
            restarts_max: RESTARTS_MAX_DEFAULT,
            on_failure: OnFailure::Revert,
            revert_timeout: WAVE_TIMEOUT_DEFAULT,
            express: vec![Wave::all("express")],
        }
    }
}

impl Wave {
    /// A wave of everything, gated by health alone.
    #[must_use]
    pub fn all(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            replicas: Replicas::Percent(100),
            bake: Millis(0),
            timeout: WAVE_TIMEOUT_DEFAULT,
            analysis: Vec::new(),
        }
    }
}

/// Ten minutes: what Kubernetes gives a Deployment to make progress (progressDeadlineSeconds 600).
pub const WAVE_TIMEOUT_DEFAULT: Millis = Millis::from_seconds(600);

/// Two restarts: one may be a lost race at start-up, the third is a crash loop in the making.
pub const RESTARTS_MAX_DEFAULT: u32 = 2;

/// At most this many waves in a plan: each costs a few state writes and an entry in the record (object limit 1 MiB).
pub const WAVES_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_rounds_up_and_never_exceeds_n() {
        for (replicas, n, k) in [
            (Replicas::Percent(5), 10, 1),
            (Replicas::Percent(25), 10, 3),
            (Replicas::Percent(100), 7, 7),
            (Replicas::Count(2), 1, 1),
            (Replicas::Count(2), 10, 2),
            (Replicas::Percent(25), 0, 0),
        ] {
            assert_eq!(replicas.of(n), k, "{replicas} of {n}");
        }
    }
}
