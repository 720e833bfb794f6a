//! How Git servers are reached: names of files, never their contents, and which of them belong to which repository.

use std::path::PathBuf;

use hyper_util::client::proxy::matcher::Matcher;
use serde::Deserialize;

use super::ConfigError;
use super::urls::{proxy_url, repository_url};

/// How to reach a repository. The files are read again at every poll.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitAccess {
    /// Folder with files such as `username` and `password`; see `docs/reference/settings.md`.
    pub credentials: Option<PathBuf>,
    /// PEM bundle of the authorities to trust; the system's are not read when it is given.
    pub ca_file: Option<PathBuf>,
    /// Keys of SSH hosts, instead of `known_hosts` in the credentials folder.
    pub known_hosts: Option<PathBuf>,
    /// URL of the HTTP proxy on the way there. SSH goes its own way.
    pub proxy: Option<String>,
    /// Folder of the keys whose owners may sign heads; without one, nothing is verified.
    pub verify_keys: Option<PathBuf>,
}

/// One entry of `repositories` in the settings file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct FileRepository {
    url: String,
    credentials: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    proxy: Option<String>,
    verify_keys: Option<String>,
}

/// The variables that programs take their proxies from.
#[derive(Clone, Debug, Default)]
pub(super) struct ProxyVariables {
    /// By name: which proxy for which scheme.
    https: Option<(&'static str, String)>,
    http: Option<(&'static str, String)>,
    no: String,
}

impl ProxyVariables {
    /// Reads them. The lower-case names win, as they do with curl.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            let named = names.iter().map(|name| (*name, variable(name).unwrap_or_default().trim().to_owned()));
            named.into_iter().find(|(_, value)| !value.is_empty())
        };
        Self {
            https: first(&["https_proxy", "HTTPS_PROXY"]),
            http: first(&["http_proxy", "HTTP_PROXY"]),
            no: first(&["no_proxy", "NO_PROXY"]).map(|(_, value)| value).unwrap_or_default(),
        }
    }

    fn matcher(&self) -> Result<Matcher, ConfigError> {
        let checked = |variable: &Option<(&'static str, String)>| match variable {
            None => Ok(String::new()),
            Some((name, value)) => {
                let url = if value.contains("://") { value.clone() } else { format!("http://{value}") };
                proxy_url(&url).map_err(|reason| ConfigError::Invalid { setting: (*name).to_owned(), reason })
            }
        };
        let (https, http) = (checked(&self.https)?, checked(&self.http)?);
        Ok(Matcher::builder().https(https).http(http).no(self.no.clone()).build())
    }
}

/// Which repository is reached how.
#[derive(Clone, Debug)]
pub struct GitRules {
    /// The agent's own repository.
    own: (String, GitAccess),
    /// What the settings say for all repositories.
    verify_keys: Option<PathBuf>,
    /// By URL, or by what URLs start with.
    others: Vec<(String, GitAccess)>,
    environment: std::sync::Arc<Matcher>,
}

impl GitRules {
    /// `given` is what flags say of the agent's own repository; what they do not say is looked up like for any other.
    pub(super) fn new(
        repository: &str,
        given: GitAccess,
        others: &[FileRepository],
        file_name: &str,
        proxies: &ProxyVariables,
    ) -> Result<Self, ConfigError> {
        let mut rules = Self {
            own: (comparable(repository.trim_end_matches('/')), GitAccess::default()),
            verify_keys: given.verify_keys.clone(),
            others: Vec::new(),
            environment: std::sync::Arc::new(proxies.matcher()?),
        };
        for (at, entry) in others.iter().enumerate() {
            let refuse = |field: &str, reason: String| {
                let setting = format!("{file_name}: field `repositories[{at}].{field}`");
                Err(ConfigError::Invalid { setting, reason })
            };
            let pattern = match pattern(&entry.url) {
                Ok(pattern) => pattern,
                Err(reason) => return refuse("url", reason),
            };
            if rules.others.iter().any(|(other, _)| *other == pattern) {
                return refuse("url", "an entry before has the same URL".to_owned());
            }
            let proxy = match entry.proxy.as_deref().map(proxy_url).transpose() {
                Ok(proxy) => proxy,
                Err(reason) => return refuse("proxy", reason),
            };
            let FileRepository { url: _, credentials, ca_file, known_hosts, proxy: _, verify_keys } = entry.clone();
            // What it does not say is as the settings have it for all.
            let verify_keys = match verify_keys.as_deref() {
                None => given.verify_keys.clone(),
                Some("none") => None,
                Some("") => return refuse("verifyKeys", "expected a folder, or `none`".to_owned()),
                Some(folder) => Some(PathBuf::from(folder)),
            };
            rules.others.push((pattern, GitAccess { credentials, ca_file, known_hosts, proxy, verify_keys }));
        }
        let found = rules.found(&rules.own.0);
        rules.own.1 = GitAccess {
            credentials: given.credentials.or(found.credentials),
            ca_file: given.ca_file.or(found.ca_file),
            known_hosts: given.known_hosts.or(found.known_hosts),
            proxy: given.proxy.or(found.proxy),
            verify_keys: given.verify_keys.or(found.verify_keys),
        };
        Ok(rules)
    }

    /// How a repository is reached.
    #[must_use]
    pub fn access_for(&self, repository: &str) -> GitAccess {
        let url = comparable(repository.trim_end_matches('/'));
        let mut access = if url == self.own.0 { self.own.1.clone() } else { self.found(&url) };
        if !url.starts_with("http") {
            access.proxy = None;
        } else if access.proxy.is_none()
            && let Ok(uri) = url.parse()
        {
            access.proxy = self.environment.intercept(&uri).map(|proxy| proxy.uri().to_string());
        }
        access
    }

    /// Whether declarations may name a repository: it is the agent's own, or an entry fits. Whoever may write declarations
    /// has no other host contacted.
    #[must_use]
    pub fn lists(&self, repository: &str) -> bool {
        let url = comparable(repository.trim_end_matches('/'));
        url == self.own.0 || self.best(&url).is_some()
    }

    fn found(&self, url: &str) -> GitAccess {
        let rest = || GitAccess { verify_keys: self.verify_keys.clone(), ..GitAccess::default() };
        self.best(url).cloned().unwrap_or_else(rest)
    }

    /// The entry whose URL fits best: the longest.
    fn best(&self, url: &str) -> Option<&GitAccess> {
        let fits = |pattern: &str| {
            let is_below = pattern.ends_with('/') && url.starts_with(pattern) && !wanders(url);
            is_below || pattern == url
        };
        let best = self.others.iter().filter(|(pattern, _)| fits(pattern)).max_by_key(|(pattern, _)| pattern.len());
        best.map(|(_, access)| access)
    }
}

/// Whether a server may understand the path as another than it seems to be: nobody gets the credentials of a group of
/// repositories for a path that leads out of it.
fn wanders(url: &str) -> bool {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains(['%', '\\', '?', '#'])
}

/// The URL of an entry in the form that URLs are compared in.
fn pattern(text: &str) -> Result<String, String> {
    let is_remote = ["https://", "http://", "ssh://"].iter().any(|scheme| text.starts_with(scheme))
        || text.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    if !is_remote {
        return Err("expected an https, http or ssh URL, or what such URLs start with, up to a `/`".to_owned());
    }
    let compared = comparable(text);
    repository_url(&compared)?;
    let has_path = compared.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if !has_path {
        return Err("end it with a `/` to mean all repositories of the host".to_owned());
    }
    Ok(compared)
}

/// A repository in the form that URLs are compared in: `user@host:path` as a URL, scheme and host in lower case, no `.git`.
/// What ends with a slash goes on ending with one.
fn comparable(text: &str) -> String {
    let url = match text.split_once("://") {
        Some(("ssh", rest)) if !rest.split('/').next().unwrap_or_default().contains('@') => format!("ssh://git@{rest}"),
        Some(_) => text.to_owned(),
        None => match text.split_once(':') {
            Some((host, path)) if host.contains('@') && !host.contains('/') => {
                format!("ssh://{host}/{}", path.trim_start_matches('/'))
            }
            _ => return text.to_owned(),
        },
    };
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let path = path.strip_suffix(".git").unwrap_or(path);
    format!("{}://{}{path}", scheme.to_ascii_lowercase(), host.to_ascii_lowercase())
}

#[cfg(test)]
mod cases {
    use super::*;

    fn entry(url: &str, credentials: &str) -> FileRepository {
        FileRepository {
            url: url.to_owned(),
            credentials: Some(PathBuf::from(credentials)),
            ..FileRepository::default()
        }
    }

    fn rules(repository: &str, given: &str, others: &[FileRepository], proxies: &ProxyVariables) -> GitRules {
        let credentials = Some(given).filter(|given| !given.is_empty()).map(PathBuf::from);
        let given = GitAccess { credentials, ..GitAccess::default() };
        GitRules::new(repository, given, others, "settings.yaml", proxies).unwrap()
    }

    #[test]
    fn the_longest_url_that_fits_gives_the_credentials() {
        let others = [
            entry("https://git.example/", "/host"),
            entry("https://git.example/team/", "/team"),
            entry("https://git.example/team/secret.git", "/one"),
            entry("ssh://git@git.example/", "/ssh"),
            entry("ada@git.example:", "/ada"),
        ];
        let rules = rules("https://git.example/fleet.git", "/own", &others, &ProxyVariables::default());
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(rules.access_for(url).credentials, expected.map(PathBuf::from), "{url}");
        };
        check("https://git.example/fleet.git", Some("/own"));
        check("https://GIT.example/fleet/", Some("/own"));
        check("https://git.example/other.git/", Some("/host"));
        check("https://git.example/team/a.git", Some("/team"));
        check("https://git.example/team/secret", Some("/one"));
        check("https://git.example/team/secret/more", Some("/team"));
        check("https://git.example/teams/a.git", Some("/host"));
        check("http://git.example/team/a.git", None);
        check("https://git.example.evil.example/team/a.git", None);
        check("https://git.example:8443/team/a.git", None);
        check("https://git.example/team/../other.git", None);
        check("https://git.example/team/%2e%2e/other.git", None);
        check("https://git.example/team//a.git", None);
        check("ssh://git.example/a.git", Some("/ssh"));
        check("git@git.example:a.git", Some("/ssh"));
        check("ada@git.example:a.git", Some("/ada"));
        check("bob@git.example:a.git", None);
        check("/srv/git.example/team", None);
    }

    #[test]
    fn who_may_sign_is_said_for_all_or_for_one() {
        let keyed = |url: &str, keys: &str| FileRepository {
            verify_keys: Some(keys.to_owned()).filter(|keys| !keys.is_empty()),
            ..entry(url, "/team")
        };
        let others = [
            keyed("https://git.example/", ""),
            keyed("https://git.example/team/", "/team-keys"),
            keyed("https://mirror.example/", "none"),
        ];
        let given = |keys: Option<&str>| GitAccess { verify_keys: keys.map(PathBuf::from), ..GitAccess::default() };
        for (own, all, expected) in [
            ("https://host.example/fleet", Some("/keys"), [Some("/keys"), Some("/keys"), Some("/team-keys"), None]),
            ("https://host.example/fleet", None, [None, None, Some("/team-keys"), None]),
            ("https://mirror.example/fleet", Some("/keys"), [Some("/keys"), Some("/keys"), Some("/team-keys"), None]),
            ("https://git.example/team/fleet", None, [Some("/team-keys"), None, Some("/team-keys"), None]),
        ] {
            let rules = GitRules::new(own, given(all), &others, "settings.yaml", &ProxyVariables::default()).unwrap();
            let urls = [own, "https://git.example/a", "https://git.example/team/charts", "https://mirror.example/b"];
            let found = urls.map(|url| rules.access_for(url).verify_keys);
            assert_eq!(found, expected.map(|keys| keys.map(PathBuf::from)), "{own} {all:?}");
        }
        let empty = FileRepository { verify_keys: Some(String::new()), ..entry("https://git.example/", "/team") };
        let refused = GitRules::new("/srv/fleet", given(None), &[empty], "settings.yaml", &ProxyVariables::default());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("repositories[0].verifyKeys") && refused.contains("`none`"), "{refused}");
    }

    #[test]
    fn only_what_is_listed_may_be_named() {
        let others = [entry("https://git.example/team/", "/team"), entry("ada@git.example:one", "/ada")];
        let rules = rules("https://host.example/fleet.git", "/own", &others, &ProxyVariables::default());
        for listed in [
            "https://host.example/fleet",
            "https://git.example/team/charts.git",
            "ssh://ada@git.example/one",
            "ada@git.example:one.git",
        ] {
            assert!(rules.lists(listed), "{listed}");
        }
        for other in [
            "https://host.example/another",
            "https://git.example/teams",
            "https://git.example/team/../other",
            "http://git.example/team/charts",
            "https://169.254.169.254/latest",
            "git@git.example:one",
            "/srv/fleet",
            "file:///srv/fleet",
        ] {
            assert!(!rules.lists(other), "{other}");
        }
    }

    #[test]
    fn flags_win_for_the_agents_own_repository_field_by_field() {
        let mut own = entry("https://git.example/", "/host");
        own.ca_file = Some(PathBuf::from("/ca.pem"));
        let found = rules("https://git.example/fleet", "", std::slice::from_ref(&own), &ProxyVariables::default());
        assert_eq!(found.access_for("https://git.example/fleet").credentials, Some(PathBuf::from("/host")));
        let found = rules("https://git.example/fleet", "/own", &[own], &ProxyVariables::default());
        let access = found.access_for("https://git.example/fleet.git");
        assert_eq!((access.credentials, access.ca_file), (Some("/own".into()), Some("/ca.pem".into())));
    }

    #[test]
    fn a_proxy_is_the_entrys_or_what_the_environment_says() {
        let variables = |pairs: &[(&str, &str)]| {
            ProxyVariables::read(|name| {
                pairs.iter().find(|(each, _)| *each == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let environment = [
            ("HTTPS_PROXY", "http://secure.example:3128"),
            ("http_proxy", "plain.example:3128"),
            ("HTTP_PROXY", "http://unused.example"),
            ("NO_PROXY", "inside.example,.near.example,10.0.0.0/8"),
        ];
        let mut own = entry("https://git.example/team/", "/team");
        own.proxy = Some("http://special.example:8080".to_owned());
        let rules = rules("https://git.example/fleet", "", &[own], &variables(&environment));
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(rules.access_for(url).proxy.as_deref(), expected, "{url}");
        };
        check("https://git.example/fleet", Some("http://secure.example:3128/"));
        check("http://git.example/fleet", Some("http://plain.example:3128/"));
        check("https://git.example/team/a", Some("http://special.example:8080"));
        check("https://inside.example/a", None);
        check("https://a.near.example/a", None);
        check("https://10.1.2.3/a", None);
        check("git@git.example:a", None);
        check("/srv/a", None);

        let refused =
            variables(&[("HTTPS_PROXY", "http://me:hidden@proxy.example")]).matcher().unwrap_err().to_string();
        assert!(refused.starts_with("HTTPS_PROXY: ") && !refused.contains("hidden"), "{refused}");
        assert!(variables(&[("https_proxy", "socks5://proxy.example")]).matcher().is_err());
    }

    #[test]
    fn entries_that_cannot_be_meant_are_refused_by_name() {
        for (urls, part) in [
            (vec!["/srv/git"], "repositories[0].url"),
            (vec!["https://git.example"], "end it with a `/`"),
            (vec!["https://me:hidden@git.example/"], "credentials"),
            (vec!["https://a.example/", "https://A.example/"], "repositories[1].url"),
            (vec!["git.example/team"], "expected an https"),
        ] {
            let others: Vec<_> = urls.iter().map(|url| entry(url, "/x")).collect();
            let found =
                GitRules::new("/own", GitAccess::default(), &others, "settings.yaml", &ProxyVariables::default());
            let refused = found.expect_err(part).to_string();
            assert!(refused.contains(part) && !refused.contains("hidden"), "{refused}");
        }
    }
}
