//! Gates: analyses, their measurements, and verdicts.

use super::{Millis, Timestamp};

/// A query with thresholds. The gate passes after `count` samples with at most `failures_max` failed ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Name that waves refer to.
    pub name: String,
    /// Name of a metrics provider in the agent's settings; a plan never carries a URL.
    pub provider: String,
    /// PromQL, with `${application}`, `${namespace}`, `${version}`, `${target_hash}`, `${target_pods}`, `${stable_hash}` and
    /// `${stable_pods}`.
    pub query: String,
    /// The lowest value that passes.
    pub min: Option<f64>,
    /// The highest value that passes.
    pub max: Option<f64>,
    /// Time between two samples.
    pub interval: Millis,
    /// Samples to take.
    pub count: u32,
    /// Failed samples that are tolerated.
    pub failures_max: u32,
    /// What a sample without data means.
    pub no_data: NoDataRule,
}

/// What a sample without data means. Missing data never passes a gate by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoDataRule {
    /// It counts as a failed sample.
    Fail,
    /// It counts for nothing: the sample is taken again, until the wave's timeout shuts the gate.
    Wait,
}

/// What one sample, or a whole gate, came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Within the thresholds.
    Pass,
    /// Outside the thresholds.
    Fail,
    /// The provider answered, without a value.
    NoData,
    /// The provider did not answer.
    Error,
    /// Neither passed nor failed.
    Inconclusive,
}

impl Verdict {
    /// The word for people and machines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::Fail => "Fail",
            Self::NoData => "NoData",
            Self::Error => "Error",
            Self::Inconclusive => "Inconclusive",
        }
    }
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// When it was taken.
    pub at: Timestamp,
    /// The value, when there was one.
    pub value: Option<f64>,
    /// What it came to by itself.
    pub verdict: Verdict,
    /// Why, when it is not a pass.
    pub message: String,
}

/// A gate of one wave, with what it saw. `health` and `bake` are gates too.
#[derive(Clone, Debug, PartialEq)]
pub struct GateRecord {
    /// `health`, `bake`, or the analysis's name.
    pub gate: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// When it was reached.
    pub decided_at: Timestamp,
    /// The samples behind it, oldest first, at most [`MEASUREMENTS_KEPT_MAX`].
    pub measurements: Vec<Measurement>,
}

/// Samples kept per gate: 20 waves x 5 gates x 20 samples x ~120 B is 240 KB, well under the 1 MiB of an object.
pub const MEASUREMENTS_KEPT_MAX: usize = 20;
