//! The bearer token: who may read.
//!
//! Enters: request headers, and the mounted token file. Leaves: yes or no. The token never leaves this module, in no log
//! line and no error.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{HeaderMap, Method, header};
use sha2::{Digest, Sha256};

/// What a request's headers came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It carries the token.
    Admitted,
    /// It carries no token at all.
    Anonymous,
    /// It carries something else.
    Refused,
}

/// The file with the token.
pub(super) struct TokenFile {
    path: PathBuf,
    /// Whether the last look found no token, so that the log says it once and not at each request.
    is_absent: AtomicBool,
}

impl TokenFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, is_absent: AtomicBool::new(false) }
    }

    /// Reads the token as it is now. A mounted Secret is swapped under the same path, sometimes within the resolution of
    /// its timestamp: reading these few bytes each time is the only way that never serves an old one.
    pub(super) async fn read(&self) -> Option<Vec<u8>> {
        let found = tokio::fs::read(&self.path).await;
        let token = found.as_deref().unwrap_or_default().trim_ascii().to_vec();
        let is_absent = token.is_empty();
        if self.is_absent.swap(is_absent, Ordering::Relaxed) != is_absent {
            match (is_absent, found) {
                (false, _) => tracing::info!("the API's token file is there again"),
                (true, Err(error)) => {
                    tracing::error!(path = %self.path.display(), %error, "no API token: every request is refused");
                }
                (true, Ok(_)) => {
                    tracing::error!(path = %self.path.display(), "the API token is empty: every request is refused");
                }
            }
        }
        Some(token).filter(|token| !token.is_empty())
    }

    /// Judges the tokens that a request presents, in whatever form.
    pub(super) async fn admission(&self, method: &Method, headers: &HeaderMap) -> Admission {
        let presented = presented(method, headers);
        if presented.is_empty() {
            return Admission::Anonymous;
        }
        let Some(token) = self.read().await else {
            return Admission::Refused;
        };
        if presented.iter().any(|candidate| is_same(candidate, &token)) {
            Admission::Admitted
        } else {
            Admission::Refused
        }
    }
}

/// Every token in the headers: `token`, `Authorization: Bearer`, cookie `argocd.token`. A cookie is sent by browsers
/// without anybody's intent, so it counts for reading only.
fn presented<'a>(method: &Method, headers: &'a HeaderMap) -> Vec<&'a [u8]> {
    let plain = headers.get_all("token").iter().map(|value| value.as_bytes().trim_ascii());
    let bearer = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
    });
    let reads = method.is_safe();
    let cookies = headers.get_all(header::COOKIE).iter().filter(|_| reads).flat_map(|value| {
        let pairs = value.as_bytes().split(|byte| *byte == b';');
        pairs.filter_map(|pair| pair.trim_ascii().strip_prefix(b"argocd.token="))
    });
    plain.chain(bearer).chain(cookies).filter(|token| !token.is_empty()).collect()
}

/// Compares digests instead of the texts, all bytes of them: neither length nor common prefix shows in the time it takes.
pub(super) fn is_same(candidate: &[u8], token: &[u8]) -> bool {
    let difference =
        Sha256::digest(candidate).iter().zip(Sha256::digest(token).iter()).fold(0, |sum, (a, b)| sum | (a ^ b));
    difference == 0
}
