//! SSH signatures, and the file of those who may sign, as ssh-keygen(1) reads it.
//!
//! Which principal a line names is not compared with the committer: any line with the key counts, as it does for Git. Times
//! bound the date of the commit, as they do for Git.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use ssh_key::{Algorithm, HashAlg, LineEnding, PublicKey, SshSig};

use super::{SignatureKind, Verdict, shown};

/// The namespace that Git signs in.
const NAMESPACE: &str = "git";

/// A line of `allowed_signers`.
#[derive(Debug)]
struct Allowed {
    principals: String,
    key: PublicKey,
    /// Patterns; none means every namespace.
    namespaces: Option<String>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
}

/// The file `allowed_signers`.
#[derive(Debug, Default)]
pub(super) struct AllowedSigners {
    lines: Vec<Allowed>,
}

impl AllowedSigners {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Reads the file; on error, says which line.
    pub(super) fn parse(text: &str) -> Result<Self, (usize, String)> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let lines: Result<Vec<_>, _> =
            lines.map(|(number, line)| allowed(line).map_err(|problem| (number, problem))).collect();
        let found = Self { lines: lines? };
        if found.is_empty() { Err((1, "it names nobody".to_owned())) } else { Ok(found) }
    }
}

/// Reads `principals [options] type key [comment]`.
fn allowed(line: &str) -> Result<Allowed, String> {
    let (principals, rest) = word(line)?;
    let principals = principals.trim_matches('"').to_owned();
    let mut found = (None, None, None);
    let mut key_text = rest;
    if !is_key_type(rest) {
        let (options, rest) = word(rest)?;
        key_text = rest;
        for option in pieces(options) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let value = value.trim_matches('"');
            match name.to_ascii_lowercase().as_str() {
                "namespaces" => found.0 = Some(value.to_owned()),
                "valid-after" => found.1 = Some(moment(value)?),
                "valid-before" => found.2 = Some(moment(value)?),
                "cert-authority" => {
                    return Err("cert-authority is not supported: name each key on a line of its own".to_owned());
                }
                _ => return Err(format!("the option {} is not known to ssh-keygen", shown(name))),
            }
        }
    }
    if principals.is_empty() {
        return Err("it begins with no principal".to_owned());
    }
    let key = PublicKey::from_openssh(key_text)
        .map_err(|_| "no public key that can be read stands behind the principals and options".to_owned())?;
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. } => {}
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {}
        other => return Err(format!("keys of type {other} are not supported")),
    }
    let (namespaces, valid_after, valid_before) = found;
    Ok(Allowed { principals, key, namespaces, valid_after, valid_before })
}

fn is_key_type(text: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|begin| text.starts_with(begin))
}

/// The first word, in which quotes keep spaces, and the rest.
fn word(text: &str) -> Result<(&str, &str), String> {
    let mut is_quoted = false;
    let end = text.find(|each: char| {
        is_quoted ^= each == '"';
        !is_quoted && each.is_ascii_whitespace()
    });
    let end = end.ok_or_else(|| "it ends before there is a key".to_owned())?;
    Ok((&text[..end], text[end..].trim_start()))
}

/// Options between commas, in which quotes keep commas.
fn pieces(options: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    options.split(move |each: char| {
        is_quoted ^= each == '"';
        !is_quoted && each == ','
    })
}

/// `20260131`, `202601311530` or `20260131153000`, with or without `Z`. Without it ssh-keygen takes the time zone of its
/// machine; ours is UTC.
fn moment(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("{} is no time such as 20260131 or 20260131153000Z", shown(text));
    let digits = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    if ![8, 12, 14].contains(&digits.len()) {
        return Err(wrong());
    }
    let time = DateTime::strptime("%Y%m%d%H%M%S", format!("{digits:0<14}")).map_err(|_| wrong())?;
    TimeZone::UTC.to_timestamp(time).map_err(|_| wrong())
}

/// Judges a signature that was made at `time`.
pub(super) fn verify(payload: &[u8], signature: &str, allowed: &AllowedSigners, time: Timestamp) -> Verdict {
    let Some(signature) = read(signature) else {
        return Verdict::bad("it is not an SSH signature that can be read; sign again");
    };
    let key = PublicKey::from(signature.public_key().clone());
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    let lines: Vec<&Allowed> = allowed.lines.iter().filter(|line| line.key.key_data() == key.key_data()).collect();
    if lines.is_empty() {
        return Verdict::UnknownKey { kind: SignatureKind::Ssh, key: fingerprint };
    }
    if signature.namespace() != NAMESPACE {
        return Verdict::bad(format!(
            "it was made for {}, not for git; sign with git itself",
            shown(signature.namespace())
        ));
    }
    if !was_touched(&signature) {
        return Verdict::bad("the security key was not touched for it; sign with a key that asks for a touch");
    }
    if key.verify(NAMESPACE, payload, &signature).is_err() {
        return Verdict::bad(format!(
            "it is not over these bytes: the object or the signature was changed (key {fingerprint})"
        ));
    }
    let mut reasons = lines.iter().map(|line| line.refusal(time));
    if let Some(index) = reasons.clone().position(|reason| reason.is_none()) {
        return Verdict::Good { signer: shown(&lines[index].principals), kind: SignatureKind::Ssh };
    }
    Verdict::bad(reasons.find_map(|reason| reason).unwrap_or_default())
}

/// Reads a signature that is written as it would be written again: lengths that do not fit pass the parser.
fn read(armored: &str) -> Option<SshSig> {
    let signature = SshSig::from_pem(armored.trim_ascii_end()).ok()?;
    let again = signature.to_pem(LineEnding::LF).ok()?;
    let is_same =
        again.split_ascii_whitespace().collect::<String>() == armored.split_ascii_whitespace().collect::<String>();
    (is_same && signature.version() == SshSig::VERSION).then_some(signature)
}

/// Whether a security key says that someone was there. Other keys cannot tell.
fn was_touched(signature: &SshSig) -> bool {
    const PRESENT: u8 = 1;
    match signature.algorithm() {
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {
            // Flags and a counter of four bytes end the signature.
            let flags = signature.signature_bytes().iter().rev().nth(4);
            flags.is_some_and(|flags| flags & PRESENT != 0)
        }
        _ => true,
    }
}

impl Allowed {
    /// Why the line does not allow a signature of this time.
    fn refusal(&self, time: Timestamp) -> Option<String> {
        let who = shown(&self.principals);
        if self.namespaces.as_deref().is_some_and(|patterns| !matches_list(NAMESPACE, patterns)) {
            return Some(format!("allowed_signers does not allow {who} the namespace git; add it to namespaces="));
        }
        if self.valid_after.is_some_and(|after| time < after) {
            return Some(format!("the object is dated {time}, before allowed_signers makes the key of {who} valid"));
        }
        if self.valid_before.is_some_and(|before| time > before) {
            return Some(format!(
                "the object is dated {time}, after the key of {who} ceased to be valid by allowed_signers; sign with the new key"
            ));
        }
        None
    }
}

/// Whether a name is in a list of patterns, as OpenSSH reads it: `*`, `?`, and `!` for those that are out.
fn matches_list(name: &str, patterns: &str) -> bool {
    let (mut is_in, mut is_out) = (false, false);
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) => is_out |= matches_pattern(name.as_bytes(), pattern.as_bytes()),
            None => is_in |= matches_pattern(name.as_bytes(), pattern.as_bytes()),
        }
    }
    is_in && !is_out
}

/// The name is a constant of three letters, so this ends soon whatever the pattern.
fn matches_pattern(name: &[u8], pattern: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((b'*', pattern)), _) => {
            let pattern = &pattern[pattern.iter().take_while(|byte| **byte == b'*').count()..];
            (0..=name.len()).any(|skipped| matches_pattern(&name[skipped..], pattern))
        }
        (Some(_), None) => false,
        (Some((wanted, pattern)), Some((byte, name))) => {
            (*wanted == b'?' || wanted == byte) && matches_pattern(name, pattern)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn problem(line: &str) -> String {
        allowed(line).expect_err("a line that is wrong was taken")
    }

    #[test]
    fn lines_are_read_as_ssh_keygen_reads_them() {
        let line =
            allowed(&format!("a@b,c@d namespaces=\"git,file\",valid-after=\"20260131\" {KEY} a comment")).unwrap();
        assert_eq!(line.principals, "a@b,c@d");
        assert_eq!(line.namespaces.as_deref(), Some("git,file"));
        assert_eq!(line.valid_after.unwrap().to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(allowed(&format!("\"two words\" {KEY}")).unwrap().principals, "two words");
        let line = allowed(&format!("* VALID-BEFORE=202601311530Z {KEY}")).unwrap();
        assert_eq!(line.valid_before.unwrap().to_string(), "2026-01-31T15:30:00Z");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        assert!(problem(&format!("a@b cert-authority {KEY}")).contains("cert-authority"));
        assert!(problem(&format!("a@b namespace=git {KEY}")).contains("option namespace"));
        assert!(problem(&format!("a@b valid-after=2026 {KEY}")).contains("no time"));
        assert!(problem(&format!("a@b valid-after=20261331 {KEY}")).contains("no time"));
        assert!(problem("a@b ssh-ed25519 AAAA").contains("public key"));
        assert!(problem("a@b").contains("ends before"));
        assert!(problem(KEY).contains("public key") || problem(KEY).contains("ends"));
        assert_eq!(AllowedSigners::parse("# nobody\n").unwrap_err().0, 1);
        assert_eq!(AllowedSigners::parse(&format!("# one\na@b {KEY}\nwrong\n")).unwrap_err().0, 3);
    }

    #[test]
    fn patterns_match_as_in_openssh() {
        for (patterns, wanted) in [
            ("git", true),
            ("file,git", true),
            ("g?t", true),
            ("*", true),
            ("g*t*", true),
            ("file", false),
            ("gi", false),
            ("gitt", false),
            ("*,!git", false),
            ("!git", false),
            ("!file", false),
            ("*,!file", true),
            ("", false),
        ] {
            assert_eq!(matches_list("git", patterns), wanted, "{patterns}");
        }
    }
}
