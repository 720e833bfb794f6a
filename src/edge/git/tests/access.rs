//! Certificates of both sides, and proxies.

use super::authority::{Authority, Door};
use super::proxy::Proxy;
use super::server::{Manner, Server};
use super::{Fixture, GitSettings, GitSource, files, moved};
use crate::world::SourceError;

/// A server over TLS, and settings that trust it.
fn secure(fixture: &Fixture, authority: &Authority, door: Door) -> (Server, GitSettings) {
    let server = Server::listen(&fixture.path("served"), "127.0.0.1:0".parse().unwrap(), Some(authority.server(door)));
    let mut settings = fixture.settings(&server.url());
    std::fs::write(fixture.path("authority.pem"), authority.pem()).unwrap();
    settings.access.ca_file = Some(fixture.path("authority.pem"));
    settings.access.credentials = Some(fixture.path("credentials"));
    (server, settings)
}

fn hold(fixture: &Fixture, name: &str, text: &str) {
    std::fs::write(fixture.path("credentials").join(name), text).unwrap();
}

#[tokio::test]
async fn tls_trusts_the_given_authority_only() {
    let (fixture, authority) = (Fixture::new(), Authority::new());
    let (server, mut settings) = secure(&fixture, &authority, Door::Open);
    settings.access.credentials = None;
    let error = fixture.open(&server).poll(None, None).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable(_) | SourceError::Access(_)), "{error}");

    std::fs::remove_file(fixture.path("authority.pem")).unwrap();
    let source = GitSource::open(settings).unwrap();
    let error = source.poll(None, None).await.unwrap_err();
    assert!(matches!(&error, SourceError::Access(text) if text.contains("authority.pem")), "{error}");
    std::fs::write(fixture.path("authority.pem"), Authority::new().pem()).unwrap();
    let error = source.poll(None, None).await.unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable(text) if text.contains("certificate")), "{error}");
    std::fs::write(fixture.path("authority.pem"), authority.pem()).unwrap();
    let snapshot = moved(source.poll(None, None).await);
    assert_eq!(files(&snapshot), fixture.listed());
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_not_trusted() {
    let (fixture, authority) = (Fixture::new(), Authority::new());
    let (_server, mut settings) = secure(&fixture, &authority, Door::Expired);
    settings.access.credentials = None;
    let error = GitSource::open(settings).unwrap().poll(None, None).await.unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable(text) if text.to_lowercase().contains("expired")), "{error}");
}

#[tokio::test]
async fn a_certificate_of_ours_is_shown_and_read_at_every_poll() {
    let (fixture, authority) = (Fixture::new(), Authority::new());
    let (server, settings) = secure(&fixture, &authority, Door::Guarded);
    hold(&fixture, "token", "t0ken");
    server.require("Bearer t0ken");
    let source = GitSource::open(settings).unwrap();
    let error = source.poll(None, None).await.unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable(text) if text.contains("Certificate")), "{error}");

    let (stranger, strangers_key) = Authority::new().client();
    let (certificate, key) = authority.client();
    hold(&fixture, "tls.crt", &stranger);
    let error = source.poll(None, None).await.unwrap_err();
    assert!(matches!(&error, SourceError::Access(text) if text.contains("tls.key")), "{error}");
    hold(&fixture, "tls.key", "hidden");
    let error = source.poll(None, None).await.unwrap_err();
    assert!(matches!(&error, SourceError::Access(text) if text.contains("tls.key")), "{error}");
    assert!(!error.to_string().contains("hidden"));
    hold(&fixture, "tls.key", &strangers_key);
    assert!(matches!(source.poll(None, None).await, Err(SourceError::Unreachable(_))), "not of that authority");
    hold(&fixture, "tls.crt", &certificate);
    let error = source.poll(None, None).await.unwrap_err();
    assert!(matches!(&error, SourceError::Access(text) if text.contains("not the key")), "{error}");
    hold(&fixture, "tls.key", &key);
    assert_eq!(files(&moved(source.poll(None, None).await)), fixture.listed());
    std::fs::remove_file(fixture.path("credentials/tls.crt")).unwrap();
    std::fs::remove_file(fixture.path("credentials/tls.key")).unwrap();
    assert!(source.poll(None, None).await.is_err(), "the connection of the poll before is not used again");
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel_over_tls_and_given_whole_requests_without() {
    let (fixture, authority, proxy) = (Fixture::new(), Authority::new(), Proxy::start());
    let (server, mut settings) = secure(&fixture, &authority, Door::Open);
    hold(&fixture, "token", "t0ken");
    server.require("Bearer t0ken");
    settings.access.proxy = Some(proxy.url());
    let source = GitSource::open(settings.clone()).unwrap();
    let commit = moved(source.poll(None, None).await).revision.commit;
    let tunnel = format!("CONNECT localhost:{} HTTP/1.1", server.address.port());
    let asked = proxy.take_log();
    assert!(!asked.is_empty() && asked.iter().all(|line| *line == tunnel), "{asked:?}");
    drop(server);

    let plain = Server::start(&fixture.path("served"));
    plain.require("Bearer t0ken");
    settings.repository = plain.url();
    let source = GitSource::open(settings).unwrap();
    assert_eq!(moved(source.poll(None, None).await).revision.commit, commit);
    let asked = proxy.take_log();
    let start = format!("POST {}/git-upload-pack HTTP/1.1", plain.url());
    assert!(asked.len() >= 2 && asked[0] == start, "{asked:?}");
    assert_eq!(asked.len(), plain.take_log().len(), "nothing goes past the proxy");
}

#[tokio::test]
async fn a_proxy_that_wants_credentials_gets_its_own_and_the_server_does_not() {
    let (fixture, authority, proxy) = (Fixture::new(), Authority::new(), Proxy::start());
    proxy.require("Basic YWRhOnByb3h5LXNlY3JldA==");
    let (_server, mut settings) = secure(&fixture, &authority, Door::Open);
    settings.access.proxy = Some(proxy.url());
    hold(&fixture, "username", "ada");
    hold(&fixture, "password", "secret");
    let plain = Server::start(&fixture.path("served"));
    plain.require("Basic YWRhOnNlY3JldA==");
    let mut unprotected = settings.clone();
    unprotected.repository = plain.url();
    for settings in [settings, unprotected] {
        let source = GitSource::open(settings).unwrap();
        let error = source.poll(None, None).await.unwrap_err();
        assert!(matches!(&error, SourceError::Access(text) if text.contains("proxy-username")), "{error}");
        hold(&fixture, "proxy-username", "ada\n");
        hold(&fixture, "proxy-password", "proxy-secret\n");
        assert_eq!(files(&moved(source.poll(None, None).await)), fixture.listed());
        assert!(!format!("{source:?}").contains("secret"));
        for name in ["proxy-username", "proxy-password"] {
            std::fs::remove_file(fixture.path("credentials").join(name)).unwrap();
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_or_refuses_is_named() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture.path("served"));
    let mut settings = fixture.settings(&server.url());
    settings.access.proxy = Some("http://127.0.0.1:1".to_owned());
    let error = GitSource::open(settings).unwrap().poll(None, None).await.unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable(text) if text.contains("proxy http://127.0.0.1:1")), "{error}");
    // A server that says so of itself is no proxy.
    server.behave(Manner::Refuse(407, ""));
    let error = fixture.open(&server).poll(None, None).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn many_repositories_are_read_at_once_each_with_its_own_credentials() {
    let store = tempfile::tempdir().unwrap();
    let sites: Vec<_> = (0..6)
        .map(|number| {
            let fixture = Fixture::new();
            fixture.write("number", &number.to_string());
            fixture.commit("number");
            let server = Server::start(&fixture.path("served"));
            server.require(&format!("Bearer t{number}"));
            hold(&fixture, "token", &format!("t{number}"));
            let mut settings = fixture.settings(&server.url());
            settings.access.credentials = Some(fixture.path("credentials"));
            // One folder for all of their clones.
            let store = store.path().to_owned();
            (GitSource::open(GitSettings { store, ..settings }).unwrap(), fixture, server)
        })
        .collect();
    let polls = sites.iter().map(|(source, ..)| source.poll(None, None));
    let snapshots = futures::future::join_all(polls).await;
    for ((_, fixture, _), snapshot) in sites.iter().zip(snapshots) {
        assert_eq!(files(&moved(snapshot)), fixture.listed());
    }
}
