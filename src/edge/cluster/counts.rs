//! Counts requests to the API server by verb. Enters: each request as it is sent. Leaves: totals for `telemetry`.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a request to the API server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Asks which kinds exist.
    Discover,
    /// Reads one object.
    Get,
    /// Reads one page of a collection.
    List,
    /// Opens a watch.
    Watch,
    /// Creates an object.
    Create,
    /// Replaces an object or its status.
    Update,
    /// Applies server-side.
    Apply,
    /// Sends a JSON patch.
    Patch,
    /// Deletes an object.
    Delete,
}

impl Verb {
    /// All verbs, in the order of their counters.
    pub const ALL: [Self; 9] = [
        Self::Discover,
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Create,
        Self::Update,
        Self::Apply,
        Self::Patch,
        Self::Delete,
    ];

    /// The verb's name, as metrics label it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Apply => "apply",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    /// Whether the request may change the cluster.
    #[must_use]
    pub const fn is_write(self) -> bool {
        match self {
            Self::Discover | Self::Get | Self::List | Self::Watch => false,
            Self::Create | Self::Update | Self::Apply | Self::Patch | Self::Delete => true,
        }
    }
}

/// Requests sent to the API server since start, by verb.
#[derive(Debug, Default)]
pub struct RequestCounts([AtomicU64; Verb::ALL.len()]);

impl RequestCounts {
    /// Counts one request.
    pub(super) fn count(&self, verb: Verb) {
        self.0[verb as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests of this verb were sent.
    #[must_use]
    pub fn of(&self, verb: Verb) -> u64 {
        self.0[verb as usize].load(Ordering::Relaxed)
    }
}
