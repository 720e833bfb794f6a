//! What the settings say about the other side: the place of the repository, credentials and trusted authorities.
//!
//! Enters: text and file names of the settings. Leaves: a [`Place`], an `Authorization` header, a TLS configuration.
//! Contents of credential files never leave in an error.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use hyper_rustls::ConfigBuilderExt;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::world::SourceError;

/// Longer files are no credentials: the longest tokens in use (signed ones with many claims) have a few kilobytes.
const CREDENTIAL_BYTES_MAX: u64 = 64 << 10;

/// Far above the bundle of all public authorities (about 250 KB).
const CA_BYTES_MAX: u64 = 4 << 20;

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind this URL, which has no credentials, no query and no slash at its end.
    Remote(String),
    /// In this folder.
    Local(PathBuf),
}

impl Place {
    /// Reads what a user wrote as the repository.
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        let refuse = |why: &str| Err(SourceError::NoRepository(why.to_owned()));
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Self::Local(PathBuf::from(path)));
        }
        if !text.contains("://") {
            let is_scp_like = text.split_once(':').is_some_and(|(host, _)| !host.contains('/'));
            return match text {
                "" => refuse("no repository is given"),
                _ if is_scp_like => refuse("SSH is not supported: give an https URL or a local path"),
                path => Ok(Self::Local(PathBuf::from(path))),
            };
        }
        let Ok(uri) = text.trim_end_matches('/').parse::<Uri>() else {
            return refuse("the URL is not valid");
        };
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        match uri.authority() {
            _ if !is_http => refuse("only http and https URLs and local paths are supported"),
            Some(authority) if authority.as_str().contains('@') => {
                refuse("the URL must not carry credentials: they belong in the credentials folder")
            }
            _ if uri.query().is_some() => refuse("the URL must not have a query"),
            Some(_) => Ok(Self::Remote(uri.to_string().trim_end_matches('/').to_owned())),
            None => refuse("the URL has no host"),
        }
    }
}

/// Reads the credentials folder into an `Authorization` header.
pub(super) fn authorization(folder: Option<&Path>) -> Result<Option<HeaderValue>, SourceError> {
    let Some(folder) = folder else { return Ok(None) };
    let text = match credential(folder, "token")? {
        Some(token) => format!("Bearer {token}"),
        None => match (credential(folder, "username")?, credential(folder, "password")?) {
            (Some(username), Some(password)) => format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))),
            _ => return Err(unreadable(folder, "has neither `token` nor `username` and `password`")),
        },
    };
    let mut header = HeaderValue::from_str(&text).map_err(|_| unreadable(folder, "has a file with control bytes"))?;
    header.set_sensitive(true);
    Ok(Some(header))
}

fn credential(folder: &Path, name: &str) -> Result<Option<String>, SourceError> {
    let path = folder.join(name);
    match read_bounded(&path, CREDENTIAL_BYTES_MAX) {
        Ok(bytes) => match String::from_utf8(bytes) {
            // Files written by editors and `echo` end with a line feed; no credential does.
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(_) => Err(unreadable(&path, "is not text")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&path, &error.to_string())),
    }
}

/// Reads the bundle of authorities; `None` stands for the system's.
pub(super) fn authorities(ca_file: Option<&Path>) -> Result<Option<Vec<u8>>, SourceError> {
    let Some(path) = ca_file else { return Ok(None) };
    read_bounded(path, CA_BYTES_MAX).map(Some).map_err(|error| unreadable(path, &error.to_string()))
}

/// Makes the TLS configuration that trusts a bundle, or the system's authorities.
pub(super) fn tls(authorities: Option<&[u8]>) -> Result<ClientConfig, SourceError> {
    let distrust = |why: String| SourceError::Unreachable(format!("no authority to trust for TLS: {why}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions of TLS");
    let Some(bundle) = authorities else {
        let builder = builder.with_native_roots().map_err(|error| distrust(error.to_string()))?;
        return Ok(builder.with_no_client_auth());
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate = certificate.map_err(|error| distrust(format!("the CA file is not valid PEM: {error}")))?;
        roots.add(certificate).map_err(|error| distrust(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(distrust("the CA file has no certificate".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read_bounded(path: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(std::io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, why: &str) -> SourceError {
    SourceError::Unreachable(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod cases {
    use super::*;

    #[test]
    fn only_http_urls_without_credentials_and_paths_are_places() {
        let check = |text: &str, expected: Result<Place, &str>| match (Place::parse(text), expected) {
            (Ok(place), Ok(expected)) => assert_eq!(place, expected, "{text}"),
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{text}: {error}");
                assert!(!error.to_string().contains("secret"), "{text}: {error}");
            }
            (found, expected) => panic!("{text}: {found:?} instead of {expected:?}"),
        };
        check("https://git.example/a/b.git/", Ok(Place::Remote("https://git.example/a/b.git".into())));
        check("http://git.example:3000/a", Ok(Place::Remote("http://git.example:3000/a".into())));
        check("file:///srv/a", Ok(Place::Local("/srv/a".into())));
        check("../a", Ok(Place::Local("../a".into())));
        check("/srv/a:b", Ok(Place::Local("/srv/a:b".into())));
        check("https://user:secret@git.example/a", Err("credentials folder"));
        check("https://git.example/a?token=secret", Err("query"));
        check("ssh://git@git.example/a", Err("only http"));
        check("git@git.example:a/b", Err("SSH is not supported"));
        check("", Err("no repository"));
    }

    #[test]
    fn a_token_wins_and_half_a_login_is_refused() {
        let check = |files: &[(&str, &str)], expected: Option<&str>| {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            let found = authorization(Some(folder.path())).ok().flatten();
            assert_eq!(found.as_ref().map(|header| header.to_str().unwrap()), expected, "{files:?}");
            assert!(found.is_none_or(|header| header.is_sensitive()));
        };
        check(&[("username", "u\n"), ("password", "p\n")], Some("Basic dTpw"));
        check(&[("username", "u"), ("password", "p"), ("token", "t\n")], Some("Bearer t"));
        check(&[("username", "u")], None);
        check(&[("token", "a\nb")], None);
    }
}
