//! Whether this replica leads: what readers of its ports are told.

/// Where a replica of the agent stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// The cluster was not read yet.
    #[default]
    Starting,
    /// Another replica leads, or nobody does yet; this one is ready to.
    StandingBy {
        /// Who holds the lease, when somebody does.
        leader: Option<String>,
    },
    /// This replica leads, and has read what is stored.
    Leading,
}
