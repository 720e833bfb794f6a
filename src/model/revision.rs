//! A Revision: the branch, or what else is followed, and the commit that Git declared.

use super::Reference;

/// What Git says: what is followed, and its commit.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Branch name without `refs/heads/`; else `refs/tags/NAME`, a commit, or a range and the tag that it was resolved to:
    /// `~1.4 (v1.4.2)`.
    pub branch: String,
    /// Full commit id, 40 lower-case hex digits.
    pub commit: String,
    /// Who signed it, where signatures are verified: the name that the folder of keys or a certificate gives.
    pub signer: Option<String>,
}

impl Revision {
    /// The commit's first seven digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.commit.get(..7).unwrap_or(&self.commit)
    }

    /// What is followed, without the tag that a range was resolved to.
    #[must_use]
    pub fn followed(&self) -> &str {
        self.branch.split_once(" (").map_or(&self.branch, |(range, _)| range)
    }

    /// Whether that is a branch.
    #[must_use]
    pub fn is_of_branch(&self) -> bool {
        let is_other = self.branch.starts_with("refs/") || self.branch.len() == 40 || self.branch.ends_with(')');
        !is_other && matches!(Reference::branch(&self.branch), Ok(Reference::Branch(_)))
    }
}

impl std::fmt::Display for Revision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.branch, self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_followed_is_told_from_what_it_led_to() {
        for (shown, followed, is_of_branch) in [
            ("main", "main", true),
            ("release/1.4", "release/1.4", true),
            ("refs/tags/v1", "refs/tags/v1", false),
            ("0123456789012345678901234567890123456789", "0123456789012345678901234567890123456789", false),
            ("~1.4 (v1.4.2)", "~1.4", false),
            (">=1.2, <2 (web/v1.9.0)", ">=1.2, <2", false),
        ] {
            let revision = Revision { branch: shown.to_owned(), ..Revision::default() };
            assert_eq!((revision.followed(), revision.is_of_branch()), (followed, is_of_branch), "{shown}");
        }
    }
}
