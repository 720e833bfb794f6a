//! Hooks: objects that run at a moment of a rollout, and what is durable of their runs.

use super::{ObjectKey, Timestamp};

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the rollout's first write.
    Pre,
    /// When everything but pods is at Target, before the first pod moves.
    Sync,
    /// After the gates of the last wave, before the Target becomes Stable.
    Post,
    /// When the rollout turns back or is held.
    OnFail,
    /// When everything is back at Stable.
    OnRollback,
}

impl Moment {
    /// The word of our annotation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Sync => "sync",
            Self::Post => "post",
            Self::OnFail => "onFail",
            Self::OnRollback => "onRollback",
        }
    }
}

/// What is durable of a rollout's hooks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// How often a person asked to try again: failed hooks run anew then.
    pub tries: u32,
    /// Runs that came to their end.
    pub runs: Vec<HookRun>,
}

/// A hook that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookRun {
    /// At which moment.
    pub moment: Moment,
    /// The hook, as the Release names it.
    pub key: ObjectKey,
    /// What its object was called, where the Release leaves the name open; empty otherwise.
    pub generated: String,
    /// Whether it succeeded.
    pub is_success: bool,
    /// What it said.
    pub message: String,
    /// When its end was seen.
    pub at: Timestamp,
}

impl HookRun {
    /// What the object of this run was called.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.generated.is_empty() { &self.key.name } else { &self.generated }
    }
}

impl Hooks {
    /// How a hook's run at `moment` ended, when it did.
    #[must_use]
    pub fn run(&self, moment: Moment, key: &ObjectKey) -> Option<&HookRun> {
        self.runs.iter().find(|run| run.moment == moment && run.key == *key)
    }

    /// The hook that failed at `moment`, when one did.
    #[must_use]
    pub fn failed(&self, moment: Moment) -> Option<&HookRun> {
        self.runs.iter().find(|run| run.moment == moment && !run.is_success)
    }
}
