//! Which keys a host may show, by a file in the format of OpenSSH's `known_hosts`.
//!
//! Enters: the file's text, a host, the key that it offers. Leaves: whether the key is known, or why not. Nothing is ever
//! learned: a host without a line is not trusted. No I/O.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};

/// What a file says about one host.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownKeys {
    known: Vec<PublicKey>,
    revoked: Vec<PublicKey>,
    has_authority: bool,
}

/// What the file says of an offered key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the host's.
    Known,
    /// It was the host's, and must not be trusted any more.
    Revoked,
    /// The host has other keys.
    Other,
}

impl KnownKeys {
    /// Collects the lines about `host`, which is written as the file does: `name`, or `[name]:port` for any port but 22.
    pub(super) fn of(text: &str, host: &str) -> Self {
        let mut keys = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let mut words = line.split_ascii_whitespace();
            let first = words.next().unwrap_or_default();
            let (mark, patterns) =
                if first.starts_with('@') { (first, words.next().unwrap_or_default()) } else { ("", first) };
            if !names(patterns, host) {
                continue;
            }
            let (kind, encoded) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            // Kinds of keys that we do not know are for other clients.
            let key = PublicKey::from_openssh(&format!("{kind} {encoded}"));
            match (mark, key) {
                ("", Ok(key)) => keys.known.push(key),
                ("@revoked", Ok(key)) => keys.revoked.push(key),
                ("@cert-authority", _) => keys.has_authority = true,
                _ => {}
            }
        }
        keys
    }

    /// Whether no key of the host is known.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether an authority for host certificates is named for the host.
    pub(super) fn has_authority(&self) -> bool {
        self.has_authority
    }

    /// Judges the key that the host offers.
    pub(super) fn judge(&self, offered: &PublicKey) -> Verdict {
        // Comments are no part of a key.
        let is_it = |key: &PublicKey| key.key_data() == offered.key_data();
        if self.revoked.iter().any(is_it) {
            Verdict::Revoked
        } else if self.known.iter().any(is_it) {
            Verdict::Known
        } else {
            Verdict::Other
        }
    }

    /// The algorithms to ask the host for, those of its known keys first: it has several keys and shows one. Signatures
    /// with SHA-1 are not asked for.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let mut all = vec![
            Algorithm::Ed25519,
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
            Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
            Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
            Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        ];
        let is_known = |algorithm: &Algorithm| {
            self.known.iter().map(PublicKey::algorithm).any(|key| match (algorithm, &key) {
                (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
                (algorithm, key) => algorithm == key,
            })
        };
        all.sort_by_key(|algorithm| !is_known(algorithm));
        all
    }
}

/// Whether a list of patterns names the host. One that is negated and fits excludes it.
fn names(patterns: &str, host: &str) -> bool {
    if let Some(hashed) = patterns.strip_prefix("|1|") {
        return is_hash_of(hashed, host).unwrap_or(false);
    }
    let mut is_named = false;
    for pattern in patterns.split(',') {
        let (is_negated, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, pattern),
        };
        if fits(pattern.to_ascii_lowercase().as_bytes(), host.as_bytes()) {
            if is_negated {
                return false;
            }
            is_named = true;
        }
    }
    is_named
}

/// `SALT|HASH`, both in base64; the hash is an HMAC with SHA-1, which the format prescribes.
fn is_hash_of(hashed: &str, host: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &STANDARD.decode(salt).ok()?);
    Some(hmac::verify(&key, host.as_bytes(), &STANDARD.decode(hash).ok()?).is_ok())
}

/// `*` stands for any characters, `?` for one. Linear in the text for each star: no pattern makes it slow.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[read] => (at, read) = (at + 1, read + 1),
            Some(_) | None => match star {
                Some((star_at, star_read)) => {
                    (at, read) = (star_at + 1, star_read + 1);
                    star = Some((star_at, star_read + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod cases {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILcpRZRY3xOR/Eplg+5ELsP3Qc8b+IvoSpNLTds/fQGI";
    const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILXmWw/gJzQLKpaWZ1UWb0buQsYJNkUFdiv7ABRevYz2";

    fn key(line: &str) -> PublicKey {
        PublicKey::from_openssh(line).unwrap()
    }

    #[test]
    fn lines_name_hosts_by_name_pattern_port_and_hash() {
        let check = |patterns: &str, host: &str, expected: bool| {
            let keys = KnownKeys::of(&format!("# a comment\n\n{patterns} {ED} a comment\n"), host);
            assert_eq!(!keys.is_empty(), expected, "{patterns} {host}");
            if expected {
                assert_eq!(keys.judge(&key(ED)), Verdict::Known);
                assert_eq!(keys.judge(&key(OTHER)), Verdict::Other);
            }
        };
        check("git.example", "git.example", true);
        check("Git.Example", "git.example", true);
        check("git.example", "git.example.org", false);
        check("git.example", "[git.example]:2222", false);
        check("a.example,[git.example]:2222", "[git.example]:2222", true);
        check("*.example", "git.example", true);
        check("g?t.*", "git.example", true);
        check("*.example,!git.example", "git.example", false);
        check("!git.example,*.example", "other.example", true);
        // As `ssh-keygen -H` wrote them.
        let hashed = "|1|jqyBvMtOveS9FxaNhPUerpO3tqA=|9whJ94Qix6BuDwEtQHEJ6psSZ60=";
        check(hashed, "git.example", true);
        check(hashed, "other.example", false);
        let with_port = "|1|lzUZwZesplC1C2/60yGMLz9DLDo=|izVWtexVil+tHoJ/9zRiSWynX4g=";
        check(with_port, "[git.example]:2222", true);
        check(with_port, "git.example", false);
        check("|1|not base64|x", "git.example", false);
        check("|1|", "git.example", false);
    }

    #[test]
    fn a_revoked_key_is_refused_even_when_it_is_known() {
        let keys = KnownKeys::of(&format!("h {ED}\n@revoked * {ED}\nh {OTHER}\n"), "h");
        assert_eq!(keys.judge(&key(ED)), Verdict::Revoked);
        assert_eq!(keys.judge(&key(OTHER)), Verdict::Known);
    }

    #[test]
    fn authorities_are_no_keys_and_unknown_lines_are_passed_over() {
        let keys = KnownKeys::of(&format!("@cert-authority *.example {ED}\n@other h {ED}\nh ssh-new AAAA\nh\n"), "h");
        assert!(keys.is_empty() && !keys.has_authority());
        let keys = KnownKeys::of(&format!("@cert-authority *.example {ED}"), "git.example");
        assert!(keys.is_empty() && keys.has_authority());
    }

    #[test]
    fn the_hosts_known_kind_of_key_is_asked_for_first() {
        let names = |keys: &KnownKeys| keys.algorithms().iter().map(ToString::to_string).collect::<Vec<_>>();
        let rsa = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCvRYXcHhTl8VoM85uPIQoUC5/ib4/M3Mxz8vq9KhVQZDb9NtM4a/yoLL8zuj4IZBN8dLiFI+GC4e2QrNdo6uXK7UYxwOUHj42R4caodYNZnALdAJrOS77n/afvKVIxBP9BrDkxPsFYfwJDw0GW5LJzWv\
                   7dInETwmbhOEvJPLr35KkIlPOLrZV01Q+5Ab+yBsk1eZ7EUW0j3zIC5RUE17kkXDmIVJC2AKP6c1fxADt8MsMqO0WgKEIRTkG0XQ3id12vWD7QDqCqAhJoaxEcC5BJSAeWEWFksDoiED4E8x5QaBh4+LMcLR3irkwmwfcKuZ75uCFSeBKSib2FQbPflX7P";
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOuryeksNpClFMxtxK\
                     XpO8IXMkWtL/a4WJK3fCu1j1z2JKU+28pRem2iu9vIXBIqPdoM4UFmulblMSVF1HBfEsc=";
        assert_eq!(names(&KnownKeys::of(&format!("h {rsa}"), "h"))[..2], ["rsa-sha2-512", "rsa-sha2-256"]);
        assert_eq!(names(&KnownKeys::of(&format!("h {ecdsa}"), "h"))[0], "ecdsa-sha2-nistp256");
        assert_eq!(names(&KnownKeys::default())[0], "ssh-ed25519");
        assert!(!names(&KnownKeys::default()).contains(&"ssh-rsa".to_owned()), "SHA-1");
    }

    #[test]
    fn no_pattern_takes_long() {
        let pattern = "*a".repeat(200);
        assert!(!fits(pattern.as_bytes(), "a".repeat(150).as_bytes()));
        assert!(fits(b"**", b""));
    }
}
