//! Health in Argo CD's words and order.

use super::GroupKind;
use crate::expression::Expression;

/// Health of one object or of an application, best first: the order in which Argo CD takes the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthStatus {
    /// Works as declared.
    Healthy,
    /// Stopped on purpose, waiting for somebody.
    Suspended,
    /// On its way.
    Progressing,
    /// Not there.
    Missing,
    /// Failed, or will not get there.
    Degraded,
    /// Cannot be told.
    Unknown,
}

impl HealthStatus {
    /// Argo CD's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Suspended => "Suspended",
            Self::Progressing => "Progressing",
            Self::Missing => "Missing",
            Self::Degraded => "Degraded",
            Self::Unknown => "Unknown",
        }
    }
}

/// A health with the sentence that explains it (empty when there is nothing to explain).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The status.
    pub status: HealthStatus,
    /// Why, in one sentence.
    pub message: String,
}

impl Health {
    /// A health with its reason.
    #[must_use]
    pub fn new(status: HealthStatus, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    /// Healthy, nothing to add.
    #[must_use]
    pub fn healthy() -> Self {
        Self::new(HealthStatus::Healthy, "")
    }
}

/// How an Application has the objects of one kind judged: expressions over the live object, called `object`.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthRule {
    /// Whose rule it is.
    pub kind: GroupKind,
    /// When an object is Degraded; asked first.
    pub degraded: Option<Expression>,
    /// When it is Suspended.
    pub suspended: Option<Expression>,
    /// When it is Healthy.
    pub healthy: Option<Expression>,
    /// When it is Progressing; it is, too, when none of them holds.
    pub progressing: Option<Expression>,
}

impl HealthRule {
    /// What an expression may name.
    pub const VARIABLES: [&str; 1] = ["object"];
}
