//! Credentials of a GitHub App, against a small server that speaks its exchange.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use super::server::Server;
use super::{Fixture, GitSettings, GitSource, files, moved};
use crate::model::Timestamp;
use crate::world::{Polled, SourceError};

const EXCHANGE: &str = "POST /app/installations/42/access_tokens HTTP/1.1";

/// What stands in for GitHub's API. Its tokens are called `t1`, `t2` and so on.
struct Api {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    key: Mutex<Vec<u8>>,
    /// Seconds that a token lives, or a whole answer.
    answer: Mutex<Result<i64, String>>,
    log: Mutex<Vec<String>>,
    tokens: Mutex<u32>,
    is_stopped: AtomicBool,
}

impl Api {
    fn start(key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            key: Mutex::new(public_key(key)),
            answer: Mutex::new(Ok(3600)),
            log: Mutex::default(),
            tokens: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        });
        let (address, accepting) = (listener.local_addr().unwrap(), Arc::clone(&shared));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                drop(accepting.serve(stream.unwrap()));
            }
        });
        Self { address, shared }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Hands out tokens that live so long from now on, or this whole answer.
    fn hand_out(&self, answer: Result<i64, &str>) {
        *self.shared.answer.lock().unwrap() = answer.map_err(ToOwned::to_owned);
    }

    fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.log.lock().unwrap())
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let header = |name: &str| {
            lines.iter().find_map(|line| {
                let (each, value) = line.split_once(": ")?;
                each.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let length = header("content-length").map_or(0, |text| text.parse().unwrap());
        stream.read_exact(&mut vec![0; length])?;
        let Some(first) = lines.first() else { return Ok(()) };
        self.log.lock().unwrap().push(first.clone());
        let is_known = header("authorization").is_some_and(|text| self.is_valid(&text));
        let answer = match &*self.answer.lock().unwrap() {
            _ if !is_known => "HTTP/1.1 401 No\r\n\r\n{\"message\":\"secret\"}".to_owned(),
            Err(answer) => answer.clone(),
            Ok(seconds) => {
                let mut tokens = self.tokens.lock().unwrap();
                *tokens += 1;
                let ends = Timestamp::now() + jiff::SignedDuration::from_secs(*seconds);
                let ends = ends.strftime("%Y-%m-%dT%H:%M:%SZ");
                format!("HTTP/1.1 201 Created\r\n\r\n{{\"token\":\"t{tokens}\",\"expires_at\":\"{ends}\",\"x\":[]}}")
            }
        };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = body.len();
        write!(stream.get_mut(), "{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    /// Judges an assertion as GitHub does: signature, times, and who it is from.
    fn is_valid(&self, authorization: &str) -> bool {
        let Some(assertion) = authorization.strip_prefix("Bearer ") else { return false };
        let parts: Vec<_> = assertion.split('.').collect();
        let [head, claims, signature] = parts.as_slice() else { return false };
        let signed = format!("{head}.{claims}");
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.lock().unwrap().clone());
        let [head, claims] = [head, claims].map(|part| serde_json::from_slice::<Value>(&decoded(part)).unwrap());
        let now = Timestamp::now().as_second();
        let (made, ends) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        key.verify(signed.as_bytes(), &decoded(signature)).is_ok()
            && head["alg"] == "RS256"
            && claims["iss"] == "7"
            && (now - 120..=now).contains(&made)
            && (now + 1..=now + 600).contains(&ends)
    }
}

fn public_key(pem: &str) -> Vec<u8> {
    let pair = match PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap() {
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).unwrap(),
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap(),
        other => panic!("{other:?}"),
    };
    pair.public_key().as_ref().to_vec()
}

/// An RSA key as GitHub hands it out (PKCS #1), or in PKCS #8.
fn app_key(folder: &Path, name: &str, format: &str) -> String {
    let path = folder.join(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-m", format, "-f"])
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    std::fs::read_to_string(path).unwrap()
}

/// A repository, a server for it, and an app that may read it.
struct Site {
    fixture: Fixture,
    server: Server,
    api: Api,
}

impl Site {
    fn new() -> Self {
        let fixture = Fixture::new();
        let server = Server::start(&fixture.path("served"));
        let key = app_key(fixture.folder.path(), "app-key", "PEM");
        let site = Self { api: Api::start(&key), fixture, server };
        for (name, text) in [
            ("github-app-id", "7\n"),
            ("github-installation-id", "42\n"),
            ("github-private-key", &key),
            ("github-api-url", &site.api.url()),
        ] {
            site.hold(name, text);
        }
        site
    }

    fn hold(&self, name: &str, text: &str) {
        std::fs::write(self.fixture.path("credentials").join(name), text).unwrap();
    }

    /// Lets only those in who show this token.
    fn require(&self, token: &str) {
        self.server.require(&format!("Basic {}", STANDARD.encode(format!("x-access-token:{token}"))));
    }

    fn open(&self) -> GitSource {
        let mut settings = self.fixture.settings(&self.server.url());
        settings.access.credentials = Some(self.fixture.path("credentials"));
        GitSource::open(GitSettings { store: self.fixture.path("store"), ..settings }).unwrap()
    }
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_kept_until_shortly_before_its_end() {
    let site = Site::new();
    site.require("t1");
    let source = site.open();
    let snapshot = moved(source.poll(None, None).await);
    assert_eq!(files(&snapshot), site.fixture.listed());
    let known = snapshot.revision.commit;
    assert_eq!(source.poll(Some(&known), None).await, Ok(Polled::Unchanged));
    assert_eq!(site.api.take_log(), [EXCHANGE]);
    assert!(!format!("{source:?}").contains("t1"));

    // Another key is another app: its token is its own, and this one ends within the five minutes that are kept free.
    let other = app_key(site.fixture.folder.path(), "other-key", "PKCS8");
    *site.api.shared.key.lock().unwrap() = public_key(&other);
    site.hold("github-private-key", &other);
    site.api.hand_out(Ok(299));
    for token in ["t2", "t3", "t4"] {
        site.require(token);
        assert_eq!(source.poll(Some(&known), None).await, Ok(Polled::Unchanged), "{token}");
        assert_eq!(site.api.take_log(), [EXCHANGE], "{token}");
    }
    site.api.hand_out(Ok(360));
    site.require("t5");
    for _ in 0..2 {
        assert_eq!(source.poll(Some(&known), None).await, Ok(Polled::Unchanged));
    }
    assert_eq!(site.api.take_log(), [EXCHANGE]);
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_at_once_and_once() {
    let site = Site::new();
    site.require("t1");
    let source = site.open();
    let known = moved(source.poll(None, None).await).revision.commit;
    site.require("t2");
    assert_eq!(source.poll(Some(&known), None).await, Ok(Polled::Unchanged));
    assert_eq!(site.api.take_log().len(), 2);
    site.require("something else");
    site.server.take_log();
    assert_eq!(source.poll(Some(&known), None).await, Err(SourceError::Unauthorized));
    assert_eq!((site.api.take_log().len(), site.server.take_log().len()), (1, 2));
}

#[tokio::test]
async fn what_is_wrong_with_an_app_is_said_without_its_secrets() {
    let site = Site::new();
    let source = site.open();
    let known = moved(source.poll(None, None).await).revision.commit;
    let key = std::fs::read_to_string(site.fixture.path("credentials/github-private-key")).unwrap();
    for (name, text, good, part) in [
        ("github-app-id", "7 hidden", "7", "github-app-id"),
        ("github-installation-id", "../hidden", "42", "github-installation-id"),
        ("github-private-key", "hidden", key.as_str(), "github-private-key"),
        ("github-api-url", "ftp://hidden", &site.api.url(), "github-api-url"),
        ("github-app-id", "8", "7", "401"),
    ] {
        site.hold(name, text);
        let error = source.poll(Some(&known), None).await.unwrap_err();
        assert!(matches!(&error, SourceError::Access(text) if text.contains(part)), "{part}: {error}");
        assert!(!error.to_string().contains("hidden") && !error.to_string().contains("secret"), "{error}");
        site.hold(name, good);
    }
    std::fs::remove_file(site.fixture.path("credentials/github-installation-id")).unwrap();
    assert!(matches!(source.poll(Some(&known), None).await, Err(SourceError::Access(_))));
    site.hold("github-installation-id", "42");

    for (answer, part) in [
        ("HTTP/1.1 404 No\r\n\r\n", "github-installation-id"),
        ("HTTP/1.1 403 No\r\n\r\n", "403"),
        ("HTTP/1.1 503 No\r\n\r\n", "503"),
        ("HTTP/1.1 302 No\r\nLocation: http://elsewhere.example/\r\n\r\n", "302"),
        ("HTTP/1.1 201 Yes\r\n\r\nsecret", "no JSON"),
        ("HTTP/1.1 201 Yes\r\n\r\n{\"token\":\"secret\"}", "no token"),
        ("HTTP/1.1 429 No\r\nRetry-After: 7\r\n\r\n", "wait 7 s"),
    ] {
        site.api.hand_out(Err(answer));
        let error = site.open_beside(part).poll(Some(&known), None).await.unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("secret"), "{part}: {error}");
    }
}

impl Site {
    /// Opens the repository with a store of its own.
    fn open_beside(&self, name: &str) -> GitSource {
        let mut settings = self.fixture.settings(&self.server.url());
        settings.access.credentials = Some(self.fixture.path("credentials"));
        GitSource::open(GitSettings { store: self.fixture.path(name), ..settings }).unwrap()
    }
}
