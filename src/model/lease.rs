//! The Lease by which replicas agree on the one that leads, and a claim to it.

use super::{Millis, Object};

/// A Lease, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// Who holds it; `None` when it was given back.
    pub holder: Option<String>,
    /// How long it is good for without being renewed, as its holder wrote.
    pub duration: Millis,
    /// How often it changed hands: the epoch.
    pub transitions: u64,
    /// The whole object, for the next write.
    pub object: Object,
}

/// Who claims, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The one who is to hold it.
    pub holder: String,
    /// How long it is good for without being renewed.
    pub duration: Millis,
    /// The epoch that it is to carry.
    pub transitions: u64,
    /// Whether this begins a term, and does not only renew one.
    pub is_new: bool,
}
