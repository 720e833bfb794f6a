//! A Revision: the branch, or what else is followed, and the commit that Git declared.

/// What Git says: what is followed, and its commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Branch name without `refs/heads/`; else `refs/tags/NAME`, a commit, or a range and the tag that it was resolved to:
    /// `~1.4 (v1.4.2)`.
    pub branch: String,
    /// Full commit id, 40 lower-case hex digits.
    pub commit: String,
}

impl Revision {
    /// The commit's first seven digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.commit.get(..7).unwrap_or(&self.commit)
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.branch, self.short())
    }
}
