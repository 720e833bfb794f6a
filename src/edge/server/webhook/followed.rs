//! Whether a push matters here.
//!
//! Enters: what the agent follows, and a [`Push`]. Leaves: yes or no. Only a poll follows from a yes, so what is in doubt is
//! one: URLs are compared by host and path alone, in any case of letters, as all of these hosts do.

use super::push::Push;
use crate::model::{Elsewhere, Reference};

/// A repository that the agent follows.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Its URL, as in the settings.
    pub repository: String,
    /// What of it is followed.
    pub reference: Reference,
}

/// Hosts that have another name on the way of SSH.
const OTHER_NAMES: [(&str, &str); 4] = [
    ("ssh.github.com", "github.com"),
    ("altssh.gitlab.com", "gitlab.com"),
    ("altssh.bitbucket.org", "bitbucket.org"),
    ("ssh.dev.azure.com", "dev.azure.com"),
];

impl From<&Elsewhere> for Followed {
    fn from(other: &Elsewhere) -> Self {
        Self { repository: other.repository.clone(), reference: other.revision.clone() }
    }
}

impl Followed {
    /// Whether one of the URLs leads to this repository.
    pub(super) fn is_repository(&self, urls: &[String]) -> bool {
        let own = place(&self.repository);
        own.is_some() && urls.iter().any(|url| place(url) == own)
    }

    /// Whether what is followed may now be another commit.
    pub(super) fn is_touched_by(&self, push: &Push) -> bool {
        self.is_repository(&push.urls) && push.refs.iter().any(|name| self.follows(name))
    }

    fn follows(&self, name: &str) -> bool {
        match &self.reference {
            // Which branch that is, the repository says.
            Reference::Default => name.starts_with("refs/heads/"),
            Reference::Branch(branch) => name.strip_prefix("refs/heads/") == Some(branch),
            Reference::Tag(tag) => name.strip_prefix("refs/tags/") == Some(tag),
            Reference::Range(range) => {
                name.strip_prefix("refs/tags/").is_some_and(|tag| tag.starts_with(range.prefix()))
            }
            // Any push may bring it, as long as it is not here; once it is, looking costs nothing.
            Reference::Commit(_) => true,
        }
    }
}

/// Host and path of a URL or of `user@host:path`, in lower case, without scheme, user, port and `.git`. `None` for a path of
/// this machine, of which no host knows.
fn place(url: &str) -> Option<String> {
    let (authority, path) = match url.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?,
        None => url.split_once(':').filter(|(authority, _)| !authority.contains('/'))?,
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/').to_ascii_lowercase();
    let path = path.strip_suffix(".git").unwrap_or(&path);
    if host.is_empty() || path.is_empty() {
        return None;
    }
    let host = host.to_ascii_lowercase();
    let host = OTHER_NAMES.iter().find(|(name, _)| *name == host).map_or(host.as_str(), |(_, usual)| usual);
    // Azure DevOps has `v3/ORGANISATION/PROJECT/NAME` where its web has `ORGANISATION/PROJECT/_git/NAME`.
    match path.strip_prefix("v3/").filter(|_| host == "dev.azure.com").and_then(|path| path.rsplit_once('/')) {
        Some((project, name)) => Some(format!("{host}/{project}/_git/{name}")),
        None => Some(format!("{host}/{path}")),
    }
}

#[cfg(test)]
mod cases {
    use super::*;

    #[test]
    fn a_repository_is_the_same_by_whatever_way_it_is_reached() {
        let check = |own: &str, urls: &[&str], is_same: bool| {
            let followed =
                Followed { repository: own.to_owned(), reference: Reference::branch("main").expect("a branch") };
            for url in urls {
                assert_eq!(followed.is_repository(&[(*url).to_owned()]), is_same, "{own} {url}");
            }
        };
        let same = [
            "https://git.example/team/fleet",
            "https://git.example/team/fleet.git",
            "https://git.example/team/fleet/",
            "http://ada@GIT.example:8443/Team/Fleet.git",
            "ssh://git@git.example:7999/team/fleet.git",
            "git@git.example:team/fleet.git",
            "git@git.example:/team/fleet",
            "git.example:team/fleet",
        ];
        let other = [
            "",
            "https://git.example",
            "https://git.example/",
            "https://git.example/team/fleet2",
            "https://git.example/team",
            "https://git.example.evil.example/team/fleet",
            "https://evil.example/git.example/team/fleet",
            "https://git.example@evil.example/team/fleet",
            "/team/fleet",
            "file:///team/fleet",
            "team/fleet",
        ];
        for own in same {
            check(own, &same, true);
            check(own, &other, false);
        }
        for local in ["/srv/fleet.git", "file:///srv/fleet.git", "./fleet"] {
            check(local, &[local], false);
        }
        check("ssh://git@ssh.github.com:443/team/fleet.git", &["https://github.com/team/fleet"], true);
        check(
            "git@ssh.dev.azure.com:v3/org/project/fleet",
            &["https://org@dev.azure.com/org/project/_git/fleet"],
            true,
        );
        check("git@ssh.dev.azure.com:v3/org/project/fleet", &["https://dev.azure.com/org/other/_git/fleet"], false);
        check("ssh://git@[::1]:2222/fleet.git", &["http://[::1]/fleet", "http://[::1]:80/fleet"], true);
    }

    #[test]
    fn a_push_matters_to_what_it_may_move() {
        let check = |reference: &str, refs: &[&str], is_touched: bool| {
            let reference = Reference::parse(reference).expect("a reference");
            let followed = Followed { repository: "https://git.example/fleet".to_owned(), reference };
            let urls = vec!["https://git.example/fleet".to_owned()];
            let refs = refs.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(followed.is_touched_by(&Push { urls, refs }), is_touched, "{followed:?}");
        };
        check("refs/heads/main", &["refs/heads/main"], true);
        check("refs/heads/main", &["refs/heads/other", "refs/heads/main"], true);
        check("refs/heads/main", &["refs/heads/main2", "refs/heads/Main", "refs/tags/main", "main"], false);
        check("refs/heads/main", &[], false);
        check("refs/tags/v1.0.0", &["refs/tags/v1.0.0"], true);
        check("refs/tags/v1.0.0", &["refs/tags/v1.0.1", "refs/heads/v1.0.0"], false);
        check("~1.4", &["refs/tags/v1.4.9"], true);
        check("~1.4", &["refs/heads/v1.4.9"], false);
        check("web/~1.4", &["refs/tags/web/1.4.9"], true);
        check("web/~1.4", &["refs/tags/api/1.4.9", "refs/tags/1.4.9"], false);
        check("0123456789abcdef0123456789abcdef01234567", &["refs/heads/any"], true);
        check("0123456789abcdef0123456789abcdef01234567", &[], false);
    }
}
