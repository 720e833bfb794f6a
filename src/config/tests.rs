//! What users write, and what the agent makes of it or says of it.

use super::*;

fn arguments() -> AgentArgs {
    AgentArgs { repository: Some("https://git.example/shop.git".to_owned()), ..AgentArgs::default() }
}

fn merged(arguments: &AgentArgs, file: &str) -> Result<Config, ConfigError> {
    merge(arguments, &parse_file(file, "settings.yaml")?, "settings.yaml", None, &ProxyVariables::default())
}

#[test]
fn a_repository_is_all_that_must_be_said() {
    let config = merged(&arguments(), "").unwrap();
    assert_eq!(config.repository, "https://git.example/shop.git");
    assert_eq!((config.reference.to_string().as_str(), config.path.as_str()), ("main", ""));
    assert_eq!((config.namespace.as_str(), config.owner.as_str()), ("tidegate", "tidegate"));
    assert_eq!(config.poll_interval, Duration::from_secs(5));
    assert_eq!(config.store, PathBuf::from("/var/lib/tidegate"));
    assert_eq!(config.token_file, PathBuf::from("/etc/tidegate/token/token"));
    assert_eq!(config.api_address.to_string(), "0.0.0.0:8080");
    assert_eq!(config.ops_address.to_string(), "0.0.0.0:8081");
    assert_eq!((config.writes_in_flight_max, config.log_format), (32, LogFormat::Text));
    assert!(config.access_for(&config.repository) == GitAccess::default() && config.providers.is_empty());
    assert_eq!(config.webhook_secrets, None, "webhooks are off");
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let file = "
repository: https://git.example/other.git
branch: stable
path: ./apps/
pollInterval: 1m
writesInFlightMax: 8
logFormat: json
gitCredentials: /etc/git
webhookSecrets: /etc/webhook
gitProxy: http://proxy.example:3128
repositories:
  - url: https://charts.example/team/
    credentials: /etc/charts
    caFile: /etc/ca.pem
providers: {prometheus: 'http://prometheus:9090/', thanos: 'http://thanos:10902'}
";
    let arguments = AgentArgs {
        branch: Some("refs/heads/next".to_owned()),
        providers: vec!["thanos=https://thanos.example".to_owned()],
        ..arguments()
    };
    let config = merged(&arguments, file).unwrap();
    assert_eq!(config.repository, "https://git.example/shop.git");
    assert_eq!((config.reference.to_string().as_str(), config.path.as_str()), ("next", "apps"));
    assert_eq!(config.poll_interval, Duration::from_secs(60));
    assert_eq!((config.writes_in_flight_max, config.log_format), (8, LogFormat::Json));
    assert_eq!(config.access_for(&config.repository).credentials, Some(PathBuf::from("/etc/git")));
    assert_eq!(config.access_for(&config.repository).proxy.as_deref(), Some("http://proxy.example:3128"));
    let charts = config.access_for("https://charts.example/team/a.git");
    assert_eq!((charts.credentials, charts.ca_file), (Some("/etc/charts".into()), Some("/etc/ca.pem".into())));
    assert_eq!(charts.proxy, None);
    assert_eq!(config.webhook_secrets, Some("/etc/webhook".into()));
    assert_eq!(config.providers["prometheus"], "http://prometheus:9090");
    assert_eq!(config.providers["thanos"], "https://thanos.example");
}

#[test]
fn a_branch_or_a_revision_is_followed_and_not_both() {
    let check = |branch: Option<&str>, revision: Option<&str>, file: &str, expected: Result<&str, &str>| {
        let [branch, revision] = [branch, revision].map(|text| text.map(ToOwned::to_owned));
        let found = merged(&AgentArgs { branch, revision, ..arguments() }, file);
        match (found, expected) {
            (Ok(config), Ok(expected)) => assert_eq!(config.reference.to_string(), expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    };
    check(None, None, "", Ok("main"));
    check(None, None, "revision: refs/tags/v1", Ok("refs/tags/v1"));
    check(None, Some("~1.4"), "branch: main", Ok("~1.4"));
    check(Some("main"), None, "revision: '*'", Ok("main"));
    check(Some("main"), Some("*"), "", Err("--revision: there is a branch as well"));
    check(None, None, "branch: main\nrevision: '*'", Err("field `revision`: there is a branch as well"));
}

#[test]
fn the_pods_namespace_is_the_default_and_names_the_owner() {
    let config =
        merge(&arguments(), &FileSettings::default(), "", Some("delivery\n"), &ProxyVariables::default()).unwrap();
    assert_eq!((config.namespace.as_str(), config.owner.as_str()), ("delivery", "delivery"));
    let given = AgentArgs { namespace: Some("blue".to_owned()), owner: Some("Team.1".to_owned()), ..arguments() };
    let config = merge(&given, &FileSettings::default(), "", Some("delivery"), &ProxyVariables::default()).unwrap();
    assert_eq!((config.namespace.as_str(), config.owner.as_str()), ("blue", "Team.1"));
}

#[test]
fn a_bad_flag_is_named_and_its_value_is_not_repeated() {
    type Set = fn(&mut AgentArgs, Option<String>);
    let cases: &[(&str, Set, &[&str])] = &[
        (
            "--repository",
            |it, value| it.repository = value,
            &[
                "",
                "ssh://",
                "ssh://me:hidden@host/x",
                "ssh://-oProxyCommand=x/y",
                "git@host:",
                "host:x",
                "ext::sh -c x",
                "-u",
                "https://",
                "https://me:hidden@host/x",
            ],
        ),
        ("--branch", |it, value| it.branch = value, &["", "-x", "a..b", "a b", "refs/heads/", "a:b"]),
        ("--revision", |it, value| it.revision = value, &["", "main", "1.2.3", "HEAD", "refs/pull/1/head"]),
        ("--path", |it, value| it.path = value, &["../x", "a/../b", "a//b", ".git"]),
        ("--store", |it, value| it.store = value, &[""]),
        ("--git-credentials", |it, value| it.git_credentials = value, &[""]),
        (
            "--git-proxy",
            |it, value| it.git_proxy = value,
            &["", "proxy", "https://proxy", "socks5://proxy", "http://me:hidden@proxy", "http://proxy/path"],
        ),
        ("--poll-interval", |it, value| it.poll_interval = value, &["", "5", "0s", "s", "99ms", "25h", "5 s", "1d"]),
        ("--namespace", |it, value| it.namespace = value, &["", "A", "-a", "a.b"]),
        ("--owner", |it, value| it.owner = value, &["", "a/b", "-a", "a_"]),
        ("--api-address", |it, value| it.api_address = value, &["8080", ":8080", "localhost:8080"]),
        ("--ops-address", |it, value| it.ops_address = value, &["0.0.0.0:99999"]),
        ("--provider", |it, value| it.providers.extend(value), &["x", "=http://x", "p=ftp://x", "p=http://u:hidden@x"]),
        ("--writes-in-flight-max", |it, value| it.writes_in_flight_max = value, &["0", "201", "-1", "many"]),
        ("--log-format", |it, value| it.log_format = value, &["xml", ""]),
    ];
    for (flag, set, values) in cases {
        for value in *values {
            let mut arguments = arguments();
            set(&mut arguments, Some((*value).to_owned()));
            let error = merged(&arguments, "").expect_err(&format!("{flag} {value}")).to_string();
            assert!(error.starts_with(&format!("{flag}: ")), "{flag} {value}: {error}");
            assert!(!error.contains("hidden"), "{error}");
        }
    }
}

#[test]
fn a_bad_file_is_refused_by_file_and_field() {
    for (file, field) in [
        ("pollIntervall: 5s", "pollIntervall"),
        ("pollInterval: often", "pollInterval"),
        ("pollInterval: [5]", "pollInterval"),
        ("writesInFlightMax: many", "writesInFlightMax"),
        ("writesInFlightMax: 0", "writesInFlightMax"),
        ("providers: {p: 'ftp://x'}", "providers.p"),
        ("apiAddress: here", "apiAddress"),
        ("repositories: [{url: 'https://x.example/', secret: y}]", "secret"),
        ("repositories: [{credentials: /x}]", "url"),
        ("repositories: [{url: 'https://x.example/', proxy: 'ftp://x'}]", "repositories[0].proxy"),
    ] {
        let error = merged(&arguments(), file).expect_err(file).to_string();
        assert!(error.contains("settings.yaml") && error.contains(field), "{file}: {error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = AgentArgs { config: Some(PathBuf::from("/nowhere/settings.yaml")), ..arguments() };
    assert!(load(&missing).expect_err("missing").to_string().contains("/nowhere/settings.yaml"));
}

#[test]
fn local_paths_and_ssh_are_repositories_too() {
    for path in [
        "/srv/shop.git",
        "./shop",
        "shop.git",
        "file:///srv/shop.git",
        "/srv/a:b",
        "ssh://git@git.example:2222/shop.git",
        "git@git.example:shop.git",
    ] {
        assert_eq!(repository_url(path).as_deref(), Ok(path));
    }
}

#[test]
fn durations_are_whole_numbers_with_units() {
    for (text, ms) in [("500ms", 500), ("5s", 5000), ("1m", 60_000), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0)] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for text in ["", "5", "s", "1.5s", "-1s", "1d", " 5s", "5S", "99999999999999999999s", "18446744073709551615h"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn field_names_are_the_flags_in_camel_case() {
    assert_eq!(camel_case("writes-in-flight-max"), "writesInFlightMax");
    assert_eq!(camel_case("branch"), "branch");
}
