//! What of a repository is followed: a branch, a tag, one commit, or the newest version among tags; and of which repository,
//! when it is not the one that declares.

use std::fmt;

use semver::{Version, VersionReq};

/// What of a repository is followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// The branch that the repository itself calls its default: what its `HEAD` names.
    Default,
    /// The head of a branch: its name without `refs/heads/`.
    Branch(String),
    /// A tag: its name without `refs/tags/`.
    Tag(String),
    /// One commit, by 40 lower-case hex digits.
    Commit(String),
    /// The newest version among tags that fits a range.
    Range(TagRange),
}

/// A reference of a repository other than the one that declares. One thing to poll, however many applications use it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Elsewhere {
    /// Its URL (`https`, `http`, `ssh`) or `user@host:path`, without credentials.
    pub repository: String,
    /// What of it is followed.
    pub revision: Reference,
}

impl fmt::Display for Elsewhere {
    /// As messages and status name it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Reference::Default => f.write_str(&self.repository),
            Reference::Branch(_) | Reference::Tag(_) | Reference::Commit(_) | Reference::Range(_) => {
                write!(f, "{} at {}", self.repository, self.revision)
            }
        }
    }
}

/// A range of versions over tags with a common prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TagRange {
    /// As it was written, such as `web/v~1.4`.
    text: String,
    /// What comes before the version in a tag's name, a `v` aside.
    prefix: String,
    range: VersionReq,
}

impl Reference {
    /// Reads what a user wrote: `refs/heads/NAME`, `refs/tags/NAME`, a full commit id, or a range of versions such as
    /// `~1.4`, `>=1.2, <2`, `*`, or `web/v~1.4` for tags that start with `web/`.
    ///
    /// # Errors
    /// When it is none of these; the error says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("refs/heads/") {
            return branch(name);
        }
        if let Some(name) = text.strip_prefix("refs/tags/") {
            return if is_name(name) {
                Ok(Self::Tag(name.to_owned()))
            } else {
                Err("not the name of a tag".to_owned())
            };
        }
        if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Commit(text.to_ascii_lowercase()));
        }
        TagRange::parse(text).map(Self::Range)
    }

    /// Reads the name of a branch, with or without `refs/heads/`.
    ///
    /// # Errors
    /// When Git would not take it for one.
    pub fn branch(text: &str) -> Result<Self, String> {
        branch(text.strip_prefix("refs/heads/").unwrap_or(text))
    }
}

fn branch(name: &str) -> Result<Reference, String> {
    if is_name(name) { Ok(Reference::Branch(name.to_owned())) } else { Err("not the name of a branch".to_owned()) }
}

/// What Git takes as a name below `refs/heads/` or `refs/tags/`.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    name.split('/').all(is_part)
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && name != "@"
        && !name.contains(|it: char| it.is_control() || it.is_whitespace() || "~^:?*[\\".contains(it))
}

impl fmt::Display for Reference {
    /// As a user would write it; a branch by its bare name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // No branch can be called so: what is told apart by its text stays apart.
            Self::Default => f.write_str("the default branch"),
            Self::Branch(name) | Self::Commit(name) => f.write_str(name),
            Self::Tag(name) => write!(f, "refs/tags/{name}"),
            Self::Range(range) => f.write_str(&range.text),
        }
    }
}

impl TagRange {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected refs/heads/NAME, refs/tags/NAME, a full commit id (40 hex digits), or a range of versions such as \
             ~1.4, `>=1.2, <2` or *"
                .to_owned()
        };
        let (folder, range) = text.rfind('/').map_or(("", text), |at| text.split_at(at + 1));
        let range = range.strip_prefix('v').unwrap_or(range);
        if !(folder.is_empty() || is_name(folder.trim_end_matches('/'))) {
            return Err(expected());
        }
        // A bare `1.4.2` would be read as `^1.4.2`, which is not what it says.
        let is_bare =
            |part: &str| part.trim().starts_with(|it: char| it.is_ascii_digit()) && !part.contains(['*', 'x', 'X']);
        if range.split(',').any(is_bare) {
            return Err(format!(
                "{}; a version alone is ambiguous: write =1.4.2, ^1.4.2 or refs/tags/NAME",
                expected()
            ));
        }
        let range = VersionReq::parse(range).map_err(|_| expected())?;
        Ok(Self { text: text.to_owned(), prefix: folder.to_owned(), range })
    }

    /// What the names of all its tags start with, without `refs/tags/`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The tag of the newest version that fits, of tags by name without `refs/tags/`. Tags that are no versions are passed
    /// over; a prerelease fits only a range that names one.
    #[must_use]
    pub fn newest<'a>(&self, tags: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        self.versions(tags).filter(|(version, _)| self.range.matches(version)).max().map(|(_, tag)| tag)
    }

    /// The tag of the newest version of all, whether it fits or not: what to say when none fits.
    #[must_use]
    pub fn newest_of_all<'a>(&self, tags: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        self.versions(tags).max().map(|(_, tag)| tag)
    }

    fn versions<'a>(&self, tags: impl Iterator<Item = &'a str>) -> impl Iterator<Item = (Version, &'a str)> {
        tags.filter_map(|tag| {
            let version = tag.strip_prefix(self.prefix.as_str())?;
            Some((Version::parse(version.strip_prefix('v').unwrap_or(version)).ok()?, tag))
        })
    }
}

impl PartialOrd for TagRange {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TagRange {
    /// By what was written, which decides all the rest.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

#[cfg(test)]
mod cases {
    use super::*;

    #[test]
    fn what_users_write_is_one_of_four_kinds() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let check = |text: &str, expected: &Reference| assert_eq!(Reference::parse(text).as_ref(), Ok(expected));
        check("refs/heads/main", &Reference::Branch("main".to_owned()));
        check("refs/heads/feature/x", &Reference::Branch("feature/x".to_owned()));
        check("refs/tags/v1.2.3", &Reference::Tag("v1.2.3".to_owned()));
        check(commit, &Reference::Commit(commit.to_owned()));
        check(&commit.to_uppercase(), &Reference::Commit(commit.to_owned()));
        for text in ["~1.4", "v~1.4", ">=1.2, <2", "*", "1.x", "=1.2.3", "web/v~1.4", "a/b/^2", ">=1.0.0-rc.1"] {
            let Ok(Reference::Range(range)) = Reference::parse(text) else { panic!("{text}") };
            assert_eq!(Reference::Range(range).to_string(), text);
        }
        let bad = [
            "",
            "main",
            "v1.2.3",
            "1.2.3",
            "1.4",
            ">=1, 2",
            "refs/heads/",
            "refs/tags/",
            "refs/tags/a..b",
            "refs/heads/-x",
            "refs/heads/a.lock",
            "refs/heads/a b",
            "refs/pull/1/head",
            "HEAD",
            "abc1234",
            "~~1",
            "web/",
            "/v~1",
            "a b/~1",
        ];
        for text in bad {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        assert_eq!(Reference::branch("main"), Ok(Reference::Branch("main".to_owned())));
        assert_eq!(Reference::branch("refs/heads/main"), Ok(Reference::Branch("main".to_owned())));
    }

    #[test]
    fn the_newest_version_in_the_range_wins() {
        let check = |range: &str, tags: &[&str], expected: Option<&str>| {
            let Ok(Reference::Range(range)) = Reference::parse(range) else { panic!("{range}") };
            assert_eq!(range.newest(tags.iter().copied()), expected, "{range:?} {tags:?}");
            let reversed = tags.iter().rev().copied();
            assert_eq!(range.newest(reversed), expected, "the order of tags says nothing");
        };
        let tags = [
            "v1.3.9",
            "1.4.0",
            "v1.4.10",
            "v1.4.9",
            "v1.5.0-rc.1",
            "v1.5.0",
            "v2.0.0-beta",
            "nightly",
            "v1.4",
            "1.4.11x",
        ];
        check("~1.4", &tags, Some("v1.4.10"));
        check("^1.3", &tags, Some("v1.5.0"));
        check(">=1.2, <1.4", &tags, Some("v1.3.9"));
        check("*", &tags, Some("v1.5.0"));
        check(">=2.0.0-alpha", &tags, Some("v2.0.0-beta"));
        check("=1.4.0", &tags, Some("1.4.0"));
        check("~3", &tags, None);
        check("*", &["v1.0.0-rc.1"], None);
        check("*", &[], None);
        check("web/v~1.4", &["web/v1.4.1", "web/1.4.2", "v1.4.9", "api/v1.4.8", "web/x/v1.4.7"], Some("web/1.4.2"));
        check("~1.4", &["web/v1.4.1"], None);
    }

    #[test]
    fn the_newest_of_all_is_told_when_none_fits() {
        let Ok(Reference::Range(range)) = Reference::parse("~3") else { panic!() };
        assert_eq!(range.newest_of_all(["v1.0.0", "v1.2.0", "x"].into_iter()), Some("v1.2.0"));
        assert_eq!(range.newest_of_all(["x"].into_iter()), None);
    }
}
