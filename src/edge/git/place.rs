//! Where a repository is, as the settings say it. Enters: text. Leaves: a [`Place`] or why it is none; what may be a
//! password never leaves in an error. No I/O.

use std::path::PathBuf;

use http::Uri;

use crate::world::SourceError;

/// The port of SSH.
const SSH_PORT: u16 = 22;

/// Who logs in when the URL names nobody: every host of repositories calls it so.
const SSH_USER: &str = "git";

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind this URL, which has no credentials, no query and no slash at its end.
    Http(String),
    /// On a machine that is reached over SSH.
    Ssh(SshAddress),
    /// In this folder.
    Local(PathBuf),
}

/// A repository on a machine that is reached over SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SshAddress {
    /// Who logs in.
    pub(super) user: String,
    /// Name or IP address, without brackets, in lower case.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
    /// The repository's path there, relative to the user's home when it does not start with a slash.
    pub(super) path: String,
}

impl SshAddress {
    /// The host as `known_hosts` writes it.
    pub(super) fn host_entry(&self) -> String {
        if self.port == SSH_PORT { self.host.clone() } else { format!("[{}]:{}", self.host, self.port) }
    }

    /// The command that serves the repository. The path is one word of a shell there, whatever it contains.
    pub(super) fn command(&self) -> String {
        // `!` is special to some shells even between quotes; Git itself writes it this way.
        format!("git-upload-pack '{}'", self.path.replace('\'', r"'\''").replace('!', r"'\!'"))
    }

    /// `user@host:path`, or what follows `ssh://`.
    fn parse(user: Option<&str>, host: &str, port: u16, path: &str) -> Result<Self, &'static str> {
        let user = user.unwrap_or(SSH_USER);
        if user.contains(':') {
            return Err("the URL must not carry credentials: they belong in the credentials folder");
        }
        let is_name = |text: &str, more: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it) || more.contains(it))
        };
        if !is_name(user, "+@") || !is_name(host, ":") {
            return Err("the URL has no valid user and host");
        }
        if path.trim_start_matches('/').is_empty() || path.contains(char::is_control) {
            return Err("the URL has no valid path");
        }
        // It would be an option of the command over there.
        if path.starts_with('-') {
            return Err("the path must not start with `-`");
        }
        Ok(Self { user: user.to_owned(), host: host.to_ascii_lowercase(), port, path: path.to_owned() })
    }

    /// Reads what follows `ssh://`.
    fn of_url(rest: &str) -> Result<Self, &'static str> {
        let (authority, path) = rest.split_once('/').ok_or("the URL has no path")?;
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let (host, port) = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or("the URL has no valid host")?,
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| "the URL has no valid port")?,
            None if port.is_empty() => SSH_PORT,
            None => return Err("the URL has no valid host"),
        };
        if path.contains('%') {
            return Err("write the path of an SSH URL as it is, without %-codes");
        }
        // `/~ada/shop` is below a home, as Git reads it.
        let path = if path.starts_with('~') { path.to_owned() } else { format!("/{path}") };
        Self::parse(user, host, port, path.trim_end_matches('/'))
    }
}

impl std::fmt::Display for SshAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { user, path, .. } = self;
        let slash = if path.starts_with('/') { "" } else { "/" };
        write!(f, "ssh://{user}@{}{slash}{path}", self.host_entry())
    }
}

impl Place {
    /// Reads what a user wrote as the repository.
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        Self::read(text).map_err(|why| SourceError::NoRepository(why.to_owned()))
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Self::Local(PathBuf::from(path)));
        }
        if let Some(rest) = text.strip_prefix("ssh://") {
            return SshAddress::of_url(rest).map(Self::Ssh);
        }
        if !text.contains("://") {
            return match text.split_once(':') {
                None if text.is_empty() => Err("no repository is given"),
                Some((host, path)) if !host.contains('/') => match host.rsplit_once('@') {
                    Some((user, host)) => SshAddress::parse(Some(user), host, SSH_PORT, path).map(Self::Ssh),
                    // `ext::command` is no place either.
                    None => Err("write `user@host:path` for SSH, `./` before a local path with a colon"),
                },
                _ => Ok(Self::Local(PathBuf::from(text))),
            };
        }
        let uri = text.trim_end_matches('/').parse::<Uri>().map_err(|_| "the URL is not valid")?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        match uri.authority() {
            _ if !is_http => Err("only https, http and ssh URLs and local paths are supported"),
            Some(authority) if authority.as_str().contains('@') => {
                Err("the URL must not carry credentials: they belong in the credentials folder")
            }
            _ if uri.query().is_some() => Err("the URL must not have a query"),
            Some(_) => Ok(Self::Http(uri.to_string().trim_end_matches('/').to_owned())),
            None => Err("the URL has no host"),
        }
    }
}

#[cfg(test)]
mod cases {
    use super::*;

    fn ssh(user: &str, host: &str, port: u16, path: &str) -> Result<Place, &'static str> {
        let [user, host, path] = [user, host, path].map(ToOwned::to_owned);
        Ok(Place::Ssh(SshAddress { user, host, port, path }))
    }

    #[test]
    fn urls_without_credentials_and_paths_are_places() {
        let check = |text: &str, expected: Result<Place, &str>| match (Place::parse(text), expected) {
            (Ok(place), Ok(expected)) => assert_eq!(place, expected, "{text}"),
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{text}: {error}");
                assert!(!error.to_string().contains("secret"), "{text}: {error}");
            }
            (found, expected) => panic!("{text}: {found:?} instead of {expected:?}"),
        };
        check("https://git.example/a/b.git/", Ok(Place::Http("https://git.example/a/b.git".into())));
        check("http://git.example:3000/a", Ok(Place::Http("http://git.example:3000/a".into())));
        check("file:///srv/a", Ok(Place::Local("/srv/a".into())));
        check("../a", Ok(Place::Local("../a".into())));
        check("/srv/a:b", Ok(Place::Local("/srv/a:b".into())));
        check("https://user:secret@git.example/a", Err("credentials folder"));
        check("https://git.example/a?token=secret", Err("query"));
        check("ftp://git.example/a", Err("only https"));
        check("ext::sh -c x", Err("user@host:path"));
        check("git.example:a/b", Err("user@host:path"));
        check("", Err("no repository"));

        check("ssh://git@git.example/a/b.git", ssh("git", "git.example", 22, "/a/b.git"));
        check("ssh://Git.Example/a/", ssh("git", "git.example", 22, "/a"));
        check("ssh://ada@git.example:2222/~/a", ssh("ada", "git.example", 2222, "~/a"));
        check("ssh://git@[::1]:2222/a", ssh("git", "::1", 2222, "/a"));
        check("ssh://git@[::1]/a", ssh("git", "::1", 22, "/a"));
        check("git@git.example:a/b.git", ssh("git", "git.example", 22, "a/b.git"));
        check("git@git.example:/a's", ssh("git", "git.example", 22, "/a's"));
        check("ssh://ada:secret@git.example/a", Err("credentials folder"));
        check("ada:secret@git.example:a", Err("user@host:path"));
        check("ssh://git.example", Err("no path"));
        check("ssh://git.example/", Err("no valid path"));
        check("ssh://git.example:port/a", Err("port"));
        check("ssh://[::1]x/a", Err("host"));
        check("ssh://-oProxyCommand=x/a", Err("user and host"));
        check("git@git.example:--upload-pack=x", Err("start with `-`"));
        check("git@git.example:a\nb", Err("path"));
        check("ssh://git.example/a%20b", Err("%-codes"));
    }

    #[test]
    fn a_path_is_one_word_of_the_shell_over_there() {
        let check = |path: &str, expected: &str| {
            let address = SshAddress { user: "git".into(), host: "h".into(), port: 22, path: path.into() };
            assert_eq!(address.command(), expected);
        };
        check("/a b", "git-upload-pack '/a b'");
        check("/a'; rm -rf '/", r"git-upload-pack '/a'\''; rm -rf '\''/'");
        check("/a!b$c", r"git-upload-pack '/a'\!'b$c'");
    }

    #[test]
    fn addresses_are_shown_as_urls() {
        for (text, expected) in [
            ("git@git.example:a/b", "ssh://git@git.example/a/b"),
            ("ssh://git.example:2222/a", "ssh://git@[git.example]:2222/a"),
        ] {
            let Ok(Place::Ssh(address)) = Place::parse(text) else { panic!("{text}") };
            assert_eq!(address.to_string(), expected);
        }
    }
}
