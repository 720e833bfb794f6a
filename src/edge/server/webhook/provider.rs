//! Who sends a webhook, and what proves it.
//!
//! Enters: request headers and a provider's secret. Leaves: the provider, its kind of event, and a [`Proof`] that hears the
//! body. Secrets and signatures are compared in constant time and never leave this module.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Refusal;
use crate::edge::server::token::is_same;

/// A host of Git repositories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    AzureDevOps,
    Gitea,
    Gogs,
    GitHub,
    GitLab,
    Bitbucket,
    BitbucketServer,
}

/// What a webhook is about, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Refs moved, came or went.
    Push,
    /// A ping, or something that does not move a ref.
    Other,
}

/// What the whole body must be heard for.
pub(super) enum Proof {
    /// The sender showed the secret itself.
    Shown,
    /// The sender signed the body.
    Signed { mac: Box<Hmac<Sha256>>, signature: [u8; 32] },
}

impl Provider {
    /// In the order in which they are looked for. Gitea (and Forgejo) also send the headers of Gogs and GitHub, and Bitbucket
    /// also what Bitbucket Server sends.
    pub(super) const ALL: [Self; 7] = [
        Self::AzureDevOps,
        Self::Gitea,
        Self::Gogs,
        Self::GitHub,
        Self::GitLab,
        Self::Bitbucket,
        Self::BitbucketServer,
    ];

    /// The first whose mark is among the headers.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| headers.contains_key(provider.mark()))
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::AzureDevOps => "x-vss-activityid",
            Self::Gitea => "x-gitea-event",
            Self::Gogs => "x-gogs-event",
            Self::GitHub => "x-github-event",
            Self::GitLab => "x-gitlab-event",
            Self::Bitbucket => "x-hook-uuid",
            Self::BitbucketServer => "x-event-key",
        }
    }

    /// As the file with its secret is called, and metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::AzureDevOps => "azuredevops",
            Self::Gitea => "gitea",
            Self::Gogs => "gogs",
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Bitbucket => "bitbucket",
            Self::BitbucketServer => "bitbucketserver",
        }
    }

    /// What the headers say that it is about.
    pub(super) fn event(self, headers: &HeaderMap) -> Event {
        let pushes: &[&str] = match self {
            // Only the body says.
            Self::AzureDevOps => return Event::Push,
            // Gogs announces a tag by `create` alone.
            Self::Gitea | Self::Gogs | Self::GitHub => &["push", "create", "delete"],
            Self::GitLab => &["Push Hook", "Tag Push Hook", "System Hook"],
            Self::Bitbucket => &["repo:push"],
            Self::BitbucketServer => &["repo:refs_changed"],
        };
        let is_push = pushes.iter().any(|push| text(headers, self.event_header()) == Some(*push));
        if is_push { Event::Push } else { Event::Other }
    }

    const fn event_header(self) -> &'static str {
        match self {
            Self::Bitbucket => "x-event-key",
            Self::AzureDevOps | Self::Gitea | Self::Gogs | Self::GitHub | Self::GitLab | Self::BitbucketServer => {
                self.mark()
            }
        }
    }

    /// "Test connection" of Bitbucket Server, which is sent unsigned. It is answered, and nothing follows from it.
    pub(super) fn is_unsigned_ping(self, headers: &HeaderMap) -> bool {
        self == Self::BitbucketServer
            && text(headers, self.mark()) == Some("diagnostics:ping")
            && !headers.contains_key("x-hub-signature")
    }

    /// What will prove the request. One that shows no secret, or nothing like a signature, is refused before its body is read.
    pub(super) fn proof(self, headers: &HeaderMap, secret: &[u8]) -> Result<Proof, Refusal> {
        match self {
            Self::AzureDevOps => shown(basic(headers).as_deref(), secret),
            Self::GitLab => shown(headers.get("x-gitlab-token").map(HeaderValue::as_bytes), secret),
            Self::Gitea => signed(text(headers, "x-gitea-signature"), secret),
            Self::Gogs => signed(text(headers, "x-gogs-signature"), secret),
            Self::GitHub => match text(headers, "x-hub-signature-256") {
                None if headers.contains_key("x-hub-signature") => Err(SHA_1),
                found => signed(tagged(found)?, secret),
            },
            Self::Bitbucket | Self::BitbucketServer => signed(tagged(text(headers, "x-hub-signature"))?, secret),
        }
    }
}

impl Proof {
    /// Hears the next piece of the body.
    pub(super) fn hear(&mut self, chunk: &[u8]) {
        match self {
            Self::Shown => {}
            Self::Signed { mac, .. } => mac.update(chunk),
        }
    }

    /// Whether what was heard is what was signed.
    pub(super) fn verify(self) -> Result<(), Refusal> {
        match self {
            Self::Shown => Ok(()),
            Self::Signed { mac, signature } => mac.verify_slice(&signature).map_err(|_| WRONG),
        }
    }
}

const MISSING: Refusal = Refusal::Failed("it is not signed, or shows no secret");
const WRONG: Refusal = Refusal::Failed("the signature or secret is wrong");
const SHA_1: Refusal = Refusal::Failed("SHA-1 signatures are not taken, only SHA-256");

fn shown(found: Option<&[u8]>, secret: &[u8]) -> Result<Proof, Refusal> {
    match found {
        None => Err(MISSING),
        Some(found) if is_same(found, secret) => Ok(Proof::Shown),
        Some(_) => Err(WRONG),
    }
}

fn signed(found: Option<&str>, secret: &[u8]) -> Result<Proof, Refusal> {
    let signature = unhex(found.ok_or(MISSING)?).ok_or(WRONG)?;
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    Ok(Proof::Signed { mac: Box::new(mac), signature })
}

/// The digits behind `sha256=`.
fn tagged(found: Option<&str>) -> Result<Option<&str>, Refusal> {
    match found.map(|found| found.split_once('=')) {
        None => Ok(None),
        Some(Some(("sha256", digits))) => Ok(Some(digits)),
        Some(Some(("sha1", _))) => Err(SHA_1),
        Some(_) => Err(WRONG),
    }
}

/// `username:password` of basic authentication.
fn basic(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, coded) = value.split_at_checked(b"Basic ".len())?;
    scheme.eq_ignore_ascii_case(b"Basic ").then(|| STANDARD.decode(coded.trim_ascii()).ok()).flatten()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// 64 hex digits.
fn unhex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}
