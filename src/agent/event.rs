//! Everything that wakes the scheduler: events of the world, and work that came to its end. Closed on purpose.

use super::source::Source;
use super::tick::Passed;
use crate::world::{ApiError, Kinds, Listed, Polled, Scope, SourceError};

/// Work that was started and has ended.
#[derive(Debug)]
pub(super) enum Done {
    /// A pass over one app.
    Passed(Box<Passed>),
    /// A poll of Git.
    Polled(Result<Polled, SourceError>),
    /// A commit was read, parsed and rendered.
    Read(Box<Source>, Result<(), SourceError>),
    /// A collection was listed.
    Listed(Scope, Result<Listed, ApiError>),
    /// The kinds were asked for.
    Kinds(Result<Kinds, ApiError>),
    /// Something that nobody waits for.
    Told,
}
