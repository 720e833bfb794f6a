//! The files of the credentials folder. They are read anew for each poll, so that a Secret that changes is obeyed.
//!
//! Enters: names of folders and files. Leaves: an `Authorization` header, an SSH key, texts. Errors name files and what is
//! wrong with them; contents never leave in an error.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use russh::keys::PrivateKey;

use crate::world::SourceError;

/// Longer files are no credentials: the longest tokens in use (signed ones with many claims) have a few kilobytes.
const CREDENTIAL_BYTES_MAX: u64 = 64 << 10;

/// Far above the bundle of all public authorities (about 250 KB).
const CA_BYTES_MAX: u64 = 4 << 20;

/// Some ten thousand hosts.
const KNOWN_HOSTS_BYTES_MAX: u64 = 4 << 20;

/// Names of an SSH key: as in Secrets of the type `kubernetes.io/ssh-auth`, and as Flux has it.
const SSH_KEYS: [&str; 2] = ["ssh-privatekey", "identity"];

/// A certificate and its key, as in Secrets of the type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const CERTIFICATE_KEY: &str = "tls.key";

/// A GitHub App: its id, that of its installation, its key, and (when it is not the usual one) the URL of the API.
const APP_FILES: [&str; 4] = ["github-app-id", "github-installation-id", "github-private-key", "github-api-url"];

/// Who we are to a proxy.
const PROXY_USERNAME: &str = "proxy-username";
const PROXY_PASSWORD: &str = "proxy-password";

/// The file with the keys of hosts, beside the key of ours.
const KNOWN_HOSTS: &str = "known_hosts";

/// A certificate of ours and its key, in PEM.
#[derive(PartialEq)]
pub(super) struct Identity {
    /// The folder that they are from.
    pub(super) folder: PathBuf,
    /// The certificate and those that lead to its authority.
    pub(super) certificate: Vec<u8>,
    /// The certificate's key.
    pub(super) key: Vec<u8>,
}

/// Who we are to a server of HTTP.
pub(super) enum Login {
    /// Nobody, or whom a certificate shows.
    Silent,
    /// Whom this header names.
    Header(HeaderValue),
    /// A GitHub App.
    App(AppFiles),
}

/// The files of a GitHub App.
#[derive(PartialEq)]
pub(super) struct AppFiles {
    /// The folder that they are from.
    pub(super) folder: PathBuf,
    /// The app's id.
    pub(super) id: String,
    /// The id of its installation where the repository is.
    pub(super) installation: String,
    /// The app's key, in PEM.
    pub(super) key: String,
    /// Where GitHub's API is.
    pub(super) api: Option<String>,
}

/// Reads who we are from the credentials folder.
pub(super) fn login(folder: Option<&Path>) -> Result<Login, SourceError> {
    let Some(folder) = folder else { return Ok(Login::Silent) };
    let text = match credential(folder, "token")? {
        Some(token) => format!("Bearer {token}"),
        None => match (credential(folder, "username")?, credential(folder, "password")?, app(folder)?) {
            (Some(username), Some(password), _) => basic(&username, &password),
            (None, None, Some(app)) => return Ok(Login::App(app)),
            // Whom a certificate is enough for needs no more, and a proxy's credentials say nothing of the server.
            (None, None, None) if folder.join(CERTIFICATE).exists() || folder.join(PROXY_USERNAME).exists() => {
                return Ok(Login::Silent);
            }
            _ => {
                let why = "has neither `token` nor `username` and `password`, nor the files of a GitHub App";
                return Err(unusable(folder, why));
            }
        },
    };
    header(folder, &text).map(Login::Header)
}

fn app(folder: &Path) -> Result<Option<AppFiles>, SourceError> {
    let [id, installation, key, api] = APP_FILES.map(|name| credential(folder, name));
    match (id?, installation?, key?) {
        (None, None, None) => Ok(None),
        (Some(id), Some(installation), Some(key)) => {
            let [id, installation] = [id, installation].map(|text| text.trim().to_owned());
            let api = api?.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
            Ok(Some(AppFiles { folder: folder.to_owned(), id, installation, key, api }))
        }
        _ => Err(unusable(
            folder,
            "a GitHub App needs `github-app-id`, `github-installation-id` and `github-private-key`",
        )),
    }
}

/// Reads the certificate that we show to the server.
pub(super) fn identity(folder: Option<&Path>) -> Result<Option<Identity>, SourceError> {
    let Some(folder) = folder else { return Ok(None) };
    match (credential(folder, CERTIFICATE)?, credential(folder, CERTIFICATE_KEY)?) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            let (certificate, key) = (certificate.into_bytes(), key.into_bytes());
            Ok(Some(Identity { folder: folder.to_owned(), certificate, key }))
        }
        (Some(_), None) => Err(unusable(folder, "has `tls.crt` without `tls.key`")),
        (None, Some(_)) => Err(unusable(folder, "has `tls.key` without `tls.crt`")),
    }
}

/// Reads who we are to a proxy.
pub(super) fn proxy_authorization(folder: Option<&Path>) -> Result<Option<HeaderValue>, SourceError> {
    let Some(folder) = folder else { return Ok(None) };
    match (credential(folder, PROXY_USERNAME)?, credential(folder, PROXY_PASSWORD)?) {
        (None, None) => Ok(None),
        (Some(username), Some(password)) => header(folder, &basic(&username, &password)).map(Some),
        (Some(_), None) => Err(unusable(folder, "has `proxy-username` without `proxy-password`")),
        (None, Some(_)) => Err(unusable(folder, "has `proxy-password` without `proxy-username`")),
    }
}

/// The SSH key that we log in with.
pub(super) fn ssh_key(folder: Option<&Path>) -> Result<PrivateKey, SourceError> {
    let Some(folder) = folder else {
        let why = "SSH needs a key: name the folder with `ssh-privatekey` and `known_hosts` (--git-credentials)";
        return Err(SourceError::Access(why.to_owned()));
    };
    for name in SSH_KEYS {
        let Some(text) = credential(folder, name)? else { continue };
        let passphrase = credential(folder, "password")?;
        // Its own error may quote what it read.
        return russh::keys::decode_secret_key(&text, passphrase.as_deref()).map_err(|error| {
            let why = match error {
                russh::keys::Error::KeyIsEncrypted => {
                    "the key is encrypted: put its passphrase into the file `password`"
                }
                _ if passphrase.is_some() => "is no private key that can be read with the passphrase in `password`",
                _ => "is no private key: expected ed25519, RSA or ECDSA as `ssh-keygen` writes them",
            };
            unusable(&folder.join(name), why)
        });
    }
    Err(unusable(folder, "has neither `ssh-privatekey` nor `identity`, and SSH needs a key"))
}

/// The text of `known_hosts`, and the file that it is from.
pub(super) fn known_hosts(
    file: Option<&Path>,
    folder: Option<&Path>,
    host: &str,
) -> Result<(String, PathBuf), SourceError> {
    let Some(path) = file.map(ToOwned::to_owned).or_else(|| folder.map(|folder| folder.join(KNOWN_HOSTS))) else {
        return Err(SourceError::Access(format!(
            "no file `known_hosts` is given, so {host} cannot be trusted: {SCAN}"
        )));
    };
    match read_bounded(&path, KNOWN_HOSTS_BYTES_MAX) {
        Ok(bytes) => Ok((String::from_utf8_lossy(&bytes).into_owned(), path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(unusable(&path, &format!("is not there, so {host} cannot be trusted: {SCAN}")))
        }
        Err(error) => Err(unusable(&path, &error.to_string())),
    }
}

/// How `known_hosts` comes to be.
pub(super) const SCAN: &str = "make it with `ssh-keyscan HOST > known_hosts` (`-p PORT` for any port but 22), and \
                               compare its keys with those that the server's operator publishes";

/// Reads the bundle of authorities; `None` stands for the system's.
pub(super) fn authorities(ca_file: Option<&Path>) -> Result<Option<Vec<u8>>, SourceError> {
    let Some(path) = ca_file else { return Ok(None) };
    read_bounded(path, CA_BYTES_MAX).map(Some).map_err(|error| unusable(path, &error.to_string()))
}

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

fn header(folder: &Path, text: &str) -> Result<HeaderValue, SourceError> {
    let mut header = HeaderValue::from_str(text).map_err(|_| unusable(folder, "has a file with control bytes"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn credential(folder: &Path, name: &str) -> Result<Option<String>, SourceError> {
    let path = folder.join(name);
    match read_bounded(&path, CREDENTIAL_BYTES_MAX) {
        Ok(bytes) => match String::from_utf8(bytes) {
            // Files written by editors and `echo` end with a line feed; no credential does.
            Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(_) => Err(unusable(&path, "is not text")),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(&path, &error.to_string())),
    }
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

fn unusable(path: &Path, why: &str) -> SourceError {
    SourceError::Access(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod cases {
    use super::*;

    #[test]
    fn a_certificate_and_a_proxy_need_both_of_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = Some(folder.path());
        assert!(login(path).is_err());
        for (first, second) in [("tls.crt", "tls.key"), ("proxy-username", "proxy-password")] {
            std::fs::write(folder.path().join(first), "a").unwrap();
            let refusals = [identity(path).err(), proxy_authorization(path).err()];
            let refusal = refusals.into_iter().flatten().next().unwrap().to_string();
            assert!(refusal.contains(first) && refusal.contains(second), "{refusal}");
            std::fs::write(folder.path().join(second), "b").unwrap();
            assert!(matches!(login(path), Ok(Login::Silent)));
        }
        assert!(identity(path).is_ok_and(|found| found.is_some_and(|found| found.key == b"b")));
        assert_eq!(proxy_authorization(path).unwrap().unwrap(), "Basic YTpi");
    }

    #[test]
    fn a_token_wins_and_half_a_login_is_refused() {
        let check = |files: &[(&str, &str)], expected: Option<&str>| {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(folder.path().join(name), text).unwrap();
            }
            let found = match login(Some(folder.path())) {
                Ok(Login::Header(header)) => Some(header),
                Ok(Login::Silent | Login::App(_)) | Err(_) => None,
            };
            assert_eq!(found.as_ref().map(|header| header.to_str().unwrap()), expected, "{files:?}");
            assert!(found.is_none_or(|header| header.is_sensitive()));
        };
        check(&[("username", "u\n"), ("password", "p\n")], Some("Basic dTpw"));
        check(&[("username", "u"), ("password", "p"), ("token", "t\n")], Some("Bearer t"));
        check(&[("username", "u")], None);
        check(&[("token", "a\nb")], None);
        check(&[("github-app-id", "1"), ("github-installation-id", "2")], None);
        check(&[("tls.crt", "c"), ("tls.key", "k"), ("token", "t")], Some("Bearer t"));
    }
}
