//! Tokens of a GitHub App's installation: an assertion that is signed with the app's key is exchanged for a token, which is
//! renewed before it ends.
//!
//! Enters: the app's files. Leaves: an `Authorization` header. Neither key nor tokens leave in an error, and tokens live in
//! memory alone.

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::credentials::AppFiles;
use super::http::{Session, USER_AGENT_VALUE, retry_after};
use crate::model::Timestamp;
use crate::world::SourceError;

/// A token is renewed so long before it ends: no exchange that begins with it is cut off half-way through its requests.
const RENEWED_SECONDS_BEFORE: i64 = 300;

/// The longest life of an assertion that GitHub takes is ten minutes; a minute on each side is for clocks that differ.
const ASSERTION_SECONDS: i64 = 540;
const ASSERTION_SECONDS_BACK: i64 = 60;

/// An installation of a GitHub App.
pub(super) struct App {
    files: AppFiles,
    api: String,
    key: RsaKeyPair,
    token: Mutex<Option<Token>>,
}

struct Token {
    header: HeaderValue,
    renew_at: Timestamp,
}

impl App {
    /// Reads the app's files. Without a URL of the API it is the one that belongs to the repository's host.
    pub(super) fn new(files: AppFiles, repository: &str) -> Result<Self, SourceError> {
        let unusable =
            |file: &str, why: &str| SourceError::Access(format!("{}: {why}", files.folder.join(file).display()));
        let is_id =
            |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it));
        if !is_id(&files.id) {
            return Err(unusable("github-app-id", "is no id of an app"));
        }
        if files.installation.is_empty() || !files.installation.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(unusable("github-installation-id", "is no id of an installation: expected digits"));
        }
        let key = match PrivateKeyDer::from_pem_slice(files.key.as_bytes()) {
            Ok(PrivateKeyDer::Pkcs1(key)) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok(),
            Ok(PrivateKeyDer::Pkcs8(key)) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
            Ok(_) | Err(_) => None,
        };
        let key = key.ok_or_else(|| unusable("github-private-key", "is no RSA key in PEM, as GitHub hands it out"))?;
        let api = files.api.clone().unwrap_or_else(|| api_of(repository));
        let api = api.trim_end_matches('/').to_owned();
        // What is sent there is worth as much as what is sent to the repository.
        let is_fit = api.starts_with("https://") || (api.starts_with("http://") && repository.starts_with("http://"));
        if !is_fit || api.contains('@') {
            return Err(unusable("github-api-url", "expected an https URL without credentials"));
        }
        Ok(Self { files, api, key, token: Mutex::new(None) })
    }

    /// Whether it is made of these files.
    pub(super) fn is_of(&self, files: &AppFiles) -> bool {
        self.files == *files
    }

    /// Whether its tokens are asked for over TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.api.starts_with("https://")
    }

    /// The header of a token that lives on for a while; `None` when another one is needed.
    pub(super) fn authorization(&self, now: Timestamp) -> Option<HeaderValue> {
        let token = self.token.lock().ok()?;
        token.as_ref().filter(|token| now < token.renew_at).map(|token| token.header.clone())
    }

    /// Exchanges an assertion for a token.
    pub(super) fn renew(&self, session: &Session, now: Timestamp) -> Result<HeaderValue, SourceError> {
        let target = format!("{}/app/installations/{}/access_tokens", self.api, self.files.installation);
        let request = Request::builder()
            .method(Method::POST)
            .uri(target)
            .header(USER_AGENT, USER_AGENT_VALUE)
            .header(ACCEPT, "application/vnd.github+json")
            .header("X-GitHub-Api-Version", "2022-11-28")
            .header(AUTHORIZATION, sensitive(&format!("Bearer {}", self.assertion(now)?))?)
            .body(Full::new(Bytes::new()))
            .map_err(|_| self.failed("its URL is not valid"))?;
        let (status, headers, body) = session.ask(request)?;
        match status {
            StatusCode::CREATED => {}
            StatusCode::UNAUTHORIZED => {
                return Err(self.failed(
                    "it refuses the app (401): check github-app-id and github-private-key, and this machine's clock",
                ));
            }
            StatusCode::NOT_FOUND => {
                return Err(self.failed("it knows no such installation of the app (404): check github-installation-id"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::FORBIDDEN if let Some(seconds) = retry_after(&headers) => {
                return Err(SourceError::Busy { retry_after_seconds: seconds });
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(SourceError::Unreachable(format!("GitHub's API at {} answers {status}", self.api)));
            }
            status => return Err(self.failed(&format!("it answers {status}"))),
        }
        let answer: Value = serde_json::from_slice(&body).map_err(|_| self.failed("its answer is no JSON"))?;
        let (token, expires_at) = (answer["token"].as_str(), answer["expires_at"].as_str());
        let ends_at = expires_at.and_then(|text| text.parse::<Timestamp>().ok());
        let (Some(token), Some(ends_at)) = (token, ends_at) else {
            return Err(self.failed("its answer has no token, or no end of it"));
        };
        let header = sensitive(&format!("Basic {}", STANDARD.encode(format!("x-access-token:{token}"))))?;
        let renew_at = ends_at - jiff::SignedDuration::from_secs(RENEWED_SECONDS_BEFORE);
        if let Ok(mut kept) = self.token.lock() {
            *kept = Some(Token { header: header.clone(), renew_at });
        }
        Ok(header)
    }

    /// Says who we are, for some minutes from `now` on.
    fn assertion(&self, now: Timestamp) -> Result<String, SourceError> {
        let seconds = now.as_second();
        let claims = json!({
            "iat": seconds - ASSERTION_SECONDS_BACK,
            "exp": seconds + ASSERTION_SECONDS,
            "iss": self.files.id,
        });
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "typ": "JWT"}).to_string());
        let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .map_err(|_| self.failed("the app's key cannot sign"))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn failed(&self, why: &str) -> SourceError {
        SourceError::Access(format!("no token from GitHub's API at {}: {why}", self.api))
    }
}

/// Where the API of a repository's host is: GitHub's own, or that of a GitHub Enterprise server.
fn api_of(repository: &str) -> String {
    let (scheme, rest) = repository.split_once("://").unwrap_or(("https", repository));
    match rest.split('/').next().unwrap_or_default() {
        "github.com" => "https://api.github.com".to_owned(),
        host => format!("{scheme}://{host}/api/v3"),
    }
}

fn sensitive(text: &str) -> Result<HeaderValue, SourceError> {
    let mut header = HeaderValue::from_str(text)
        .map_err(|_| SourceError::Access("the token of GitHub's API has control bytes".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod cases {
    use super::*;

    #[test]
    fn the_api_is_that_of_the_repositorys_host() {
        assert_eq!(api_of("https://github.com/shop/fleet"), "https://api.github.com");
        assert_eq!(api_of("https://git.example:8443/shop/fleet"), "https://git.example:8443/api/v3");
        assert_eq!(api_of("http://github.com.evil.example/x"), "http://github.com.evil.example/api/v3");
    }
}
