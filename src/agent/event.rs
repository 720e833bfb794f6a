//! Everything that wakes the scheduler: events of the world, and work that came to its end. Closed on purpose.

use super::source::Source;
use super::tick::Passed;
use crate::model::{Elsewhere, Millis};
use crate::world::{ApiError, Kinds, Listed, Polled, Scope, SourceError};

/// What the election says of this replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Office {
    /// The lease was not read yet.
    Unknown,
    /// It stands by.
    Follower {
        /// Who holds the lease, when somebody does.
        leader: Option<String>,
    },
    /// It leads.
    Leader {
        /// The number of its term.
        epoch: u64,
        /// Writes may start before this moment of the world's uptime.
        until: Millis,
    },
}

impl Office {
    /// The epoch, when this replica leads.
    pub(super) const fn epoch(&self) -> Option<u64> {
        match self {
            Self::Unknown | Self::Follower { .. } => None,
            Self::Leader { epoch, .. } => Some(*epoch),
        }
    }

    /// Whether a write that starts now would be sent.
    pub(super) fn may_write(&self, now: Millis) -> bool {
        match self {
            Self::Unknown | Self::Follower { .. } => false,
            Self::Leader { until, .. } => now < *until,
        }
    }
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The process is asked to end.
    Asked,
    /// Another leads, or the lease was not renewed for too long.
    Deposed,
}

/// Work that was started and has ended.
#[derive(Debug)]
pub(super) enum Done {
    /// A pass over one app.
    Passed(Box<Passed>),
    /// A poll of Git.
    Polled(Result<Polled, SourceError>),
    /// A poll of another repository.
    OtherPolled(Elsewhere, Result<Polled, SourceError>),
    /// A commit was read, parsed and rendered: whether it is a new one, and what came of it.
    Read(Box<Source>, bool, Result<(), String>),
    /// A collection was listed.
    Listed(Scope, Result<Listed, ApiError>),
    /// The kinds were asked for.
    Kinds(Result<Kinds, ApiError>),
    /// An Event was written, or was not.
    Told,
}
