//! A raw commit or tag, the keys we trust, the time -> whether one of them signed it.
//!
//! Enters: the object's bytes as Git keeps them, and the files of a folder of keys. Leaves: a [`Verdict`] whose sentence says
//! why and what to do. It judges the bytes that were signed, and nothing that another program made of them. The time of a
//! signature is what its maker claims, as for Git: keys are taken away by taking them out of the folder.

mod applications;
mod open_pgp;
mod split;
mod ssh;
#[cfg(test)]
mod tests;
mod x509;

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::model::AppSigners;
use split::Split;

/// Bytes of an object that is looked at: a commit message of a megabyte is none.
pub const OBJECT_BYTES_MAX: usize = 4 << 20;
/// Bytes of a signature: a CMS with its certificates has 10 KB.
const SIGNATURE_BYTES_MAX: usize = 128 << 10;
/// Bytes of one file of keys.
const FILE_BYTES_MAX: usize = 4 << 20;
/// How far the clocks of those who sign may be ahead of ours.
const CLOCK_AHEAD_MAX: SignedDuration = SignedDuration::from_mins(10);
/// Characters of a name that a signature or a key file gives.
const NAME_MAX: usize = 200;

/// What kind of object is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// As `git cat-file commit` prints it.
    Commit,
    /// An annotated tag, as `git cat-file tag` prints it.
    Tag,
}

/// An object as Git keeps it: headers, an empty line, the message.
#[derive(Clone, Copy, Debug)]
pub struct RawObject<'a> {
    /// What it is.
    pub kind: ObjectKind,
    /// Its bytes, without Git's own `commit 123\0` before them.
    pub bytes: &'a [u8],
}

/// Means of signing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureKind {
    /// `gpg.format = openpgp`.
    OpenPgp,
    /// `gpg.format = ssh`.
    Ssh,
    /// `gpg.format = x509`: CMS, as gitsign and smimesign make it.
    X509,
}

impl fmt::Display for SignatureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OpenPgp => "OpenPGP",
            Self::Ssh => "SSH",
            Self::X509 => "X.509",
        })
    }
}

/// What is to be thought of an object. Shown as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Signed by a key that we trust.
    Good {
        /// Who: the name that the key file or the certificate gives.
        signer: String,
        /// By which means.
        kind: SignatureKind,
    },
    /// Not signed.
    Unsigned,
    /// Signed by a key that is none of ours.
    UnknownKey {
        /// By which means.
        kind: SignatureKind,
        /// The key, as its owner would find it.
        key: String,
    },
    /// Signed, but it does not count.
    Bad {
        /// Why, and what to do.
        reason: String,
    },
}

impl Verdict {
    /// Whether the object may be used.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Good { .. })
    }

    fn bad(reason: impl Into<String>) -> Self {
        Self::Bad { reason: reason.into() }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good { signer, kind } => write!(formatter, "signed by {signer} ({kind})"),
            Self::Unsigned => formatter
                .write_str("not signed; sign it (`git commit -S`) with a key that is in the folder of --verify-keys"),
            Self::UnknownKey { kind, key } => write!(
                formatter,
                "signed with the {kind} key {key}, which is not in the folder of --verify-keys; add the key there if it is to be trusted"
            ),
            Self::Bad { reason } => write!(formatter, "the signature does not count: {reason}"),
        }
    }
}

/// A file in the folder of keys that is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct PolicyError {
    /// The file; with its line where it has lines.
    pub file: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// Who may sign.
#[derive(Debug, Default)]
pub struct SignaturePolicy {
    open_pgp: open_pgp::Keyring,
    ssh: ssh::AllowedSigners,
    x509: x509::Authorities,
    applications: AppSigners,
}

impl SignaturePolicy {
    /// Reads the files of a folder: `*.asc`, `allowed_signers`, `ca.crt`, `identities`, `applications`. Names that begin with a dot are none
    /// of ours: a mounted ConfigMap has some.
    ///
    /// # Errors
    /// The first file that is of no use, or that there is none: what was meant to be trusted is better found missing here.
    pub fn from_files(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, PolicyError> {
        let mut policy = Self::default();
        let mut files: Vec<_> = files.into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
        files.sort();
        for (file, bytes) in files {
            let wrong = |problem: &str| PolicyError { file: file.clone(), problem: problem.to_owned() };
            if bytes.len() > FILE_BYTES_MAX {
                return Err(wrong("larger than any file of keys"));
            }
            let text = std::str::from_utf8(&bytes).map_err(|_| wrong("not a text; export keys with --armor"))?;
            match file.as_str() {
                "allowed_signers" => {
                    policy.ssh = ssh::AllowedSigners::parse(text)
                        .map_err(|(line, problem)| PolicyError { file: format!("{file}, line {line}"), problem })?;
                }
                "ca.crt" => policy.x509.read(text).map_err(&wrong)?,
                "identities" => policy.x509.restrict(text),
                "applications" => {
                    policy.applications = applications::parse(text)
                        .map_err(|(line, problem)| PolicyError { file: format!("{file}, line {line}"), problem })?;
                }
                name if name.ends_with(".asc") => policy.open_pgp.add(text).map_err(&wrong)?,
                _ => {
                    let problem =
                        "not a file of keys: they are *.asc, allowed_signers, ca.crt, identities and applications";
                    return Err(wrong(problem));
                }
            }
        }
        if policy.x509.is_restricted() && policy.x509.is_empty() {
            let problem = "says who may sign by certificate, but there is no ca.crt".to_owned();
            return Err(PolicyError { file: "identities".to_owned(), problem });
        }
        if policy.open_pgp.is_empty() && policy.ssh.is_empty() && policy.x509.is_empty() {
            let problem = "it holds no key: neither *.asc nor allowed_signers nor ca.crt, so nothing could be verified";
            return Err(PolicyError { file: "the folder of keys".to_owned(), problem: problem.to_owned() });
        }
        Ok(policy)
    }

    /// Who of them may change which app.
    #[must_use]
    pub fn applications(&self) -> &AppSigners {
        &self.applications
    }
}

/// Judges an object.
#[must_use]
pub fn verify(raw: &RawObject<'_>, policy: &SignaturePolicy, now: Timestamp) -> Verdict {
    if raw.bytes.len() > OBJECT_BYTES_MAX {
        return Verdict::bad(format!(
            "the object has {} bytes, at most {OBJECT_BYTES_MAX} are looked at",
            raw.bytes.len()
        ));
    }
    let split = match raw.kind {
        ObjectKind::Commit => split::commit(raw.bytes),
        ObjectKind::Tag => split::tag(raw.bytes),
    };
    let split = match split {
        Ok(Some(split)) => split,
        Ok(None) => return Verdict::Unsigned,
        Err(problem) => return Verdict::bad(problem),
    };
    let Split { payload, signature, time } = &split;
    if signature.len() > SIGNATURE_BYTES_MAX {
        return Verdict::bad(format!("it has {} bytes, at most {SIGNATURE_BYTES_MAX} are looked at", signature.len()));
    }
    let armors: [(&str, &str, SignatureKind); 3] = [
        ("-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----", SignatureKind::OpenPgp),
        ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----", SignatureKind::Ssh),
        ("-----BEGIN SIGNED MESSAGE-----", "-----END SIGNED MESSAGE-----", SignatureKind::X509),
    ];
    let Ok(signature) = std::str::from_utf8(signature) else {
        return Verdict::bad("it is not a text; sign again");
    };
    let Some((begin, end, kind)) = armors.into_iter().find(|(begin, _, _)| signature.starts_with(begin)) else {
        return Verdict::bad("it is of a kind that is not known; sign with OpenPGP, SSH or X.509");
    };
    let is_alone = signature.matches(begin).count() == 1 && signature.trim_ascii_end().ends_with(end);
    if !is_alone {
        return Verdict::bad("there is something beside it where only a signature belongs; sign again");
    }
    match kind {
        SignatureKind::OpenPgp => open_pgp::verify(payload, signature, &policy.open_pgp, now),
        SignatureKind::Ssh => ssh::verify(payload, signature, &policy.ssh, time.unwrap_or(now)),
        SignatureKind::X509 => x509::verify(payload, signature, &policy.x509, now),
    }
}

/// A name as it may be shown: in one line, of bounded length. Key files are ours, certificates are not.
fn shown(name: &str) -> String {
    name.chars().map(|each| if each.is_control() { ' ' } else { each }).take(NAME_MAX).collect()
}
