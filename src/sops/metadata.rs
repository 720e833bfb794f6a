//! The `sops` field of an encrypted file -> who can open it, what in it is encrypted, and its MAC.

use regex::{Regex, RegexBuilder};

use super::tree::Node;
use super::{OWN_FIELD, SopsError};

/// Recipients of one file: each costs an attempt per key of ours.
const RECIPIENTS_MAX: usize = 64;
/// Bytes of the data key as encrypted for one recipient: age takes 400, an RSA key of 4096 bits 1,000.
const WRAPPED_BYTES_MAX: usize = 64 << 10;
/// Size of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// Characters of a recipient that are shown.
const SHOWN_MAX: usize = 120;

/// What SOPS says of the file.
pub(super) struct Metadata {
    pub(super) recipients: Vec<Recipient>,
    pub(super) rule: Rule,
    pub(super) is_mac_only_encrypted: bool,
    pub(super) mac: String,
    pub(super) last_modified: String,
}

/// Someone who can open the file.
pub(super) struct Recipient {
    pub(super) kind: RecipientKind,
    /// Who it is, fit to be shown.
    pub(super) name: String,
    /// The data key, encrypted and armored.
    pub(super) wrapped: String,
}

/// By which means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RecipientKind {
    Age,
    OpenPgp,
}

/// Which values are encrypted: those below a key that fits, or those below none.
pub(super) enum Rule {
    EncryptedSuffix(String),
    UnencryptedSuffix(String),
    EncryptedPattern(Regex),
    UnencryptedPattern(Regex),
}

impl Rule {
    pub(super) fn encrypts<'a>(&self, mut keys: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::EncryptedSuffix(suffix) => keys.any(|key| key.ends_with(suffix.as_str())),
            Self::UnencryptedSuffix(suffix) => !keys.any(|key| key.ends_with(suffix.as_str())),
            Self::EncryptedPattern(pattern) => keys.any(|key| pattern.is_match(key)),
            Self::UnencryptedPattern(pattern) => !keys.any(|key| pattern.is_match(key)),
        }
    }

    fn of(own: &Node) -> Result<Self, SopsError> {
        let comment_rules = ["encrypted_comment_regex", "unencrypted_comment_regex"];
        if let Some(field) = comment_rules.iter().find(|field| stated(own, field).is_some()) {
            let word = format!(
                "sops.{field}: which values are encrypted depends on comments here, which is not supported; encrypt the file with --encrypted-regex instead"
            );
            return Err(SopsError::Unsupported(word));
        }
        let rules = ["encrypted_suffix", "unencrypted_suffix", "encrypted_regex", "unencrypted_regex"];
        let mut rules = rules.iter().filter_map(|field| stated(own, field).map(|text| (*field, text)));
        let rule = rules.next().unwrap_or(("unencrypted_suffix", "_unencrypted"));
        if rules.next().is_some() {
            return Err(broken("sops", "it has two rules on what is encrypted, and may have one"));
        }
        let pattern = |text: &str| {
            let pattern = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
            pattern.map_err(|_| broken(&format!("sops.{}", rule.0), "it is not a pattern that can be used"))
        };
        Ok(match rule {
            ("encrypted_suffix", text) => Self::EncryptedSuffix(text.to_owned()),
            ("encrypted_regex", text) => Self::EncryptedPattern(pattern(text)?),
            ("unencrypted_regex", text) => Self::UnencryptedPattern(pattern(text)?),
            (_, text) => Self::UnencryptedSuffix(text.to_owned()),
        })
    }
}

impl Metadata {
    /// Reads the `sops` field, which every document of a file has alike.
    pub(super) fn of(trees: &[Node]) -> Result<Self, SopsError> {
        let mut documents = trees.iter().filter(|tree| !matches!(tree, Node::Null));
        let own = documents.next().and_then(|first| first.get(OWN_FIELD));
        let own = own.ok_or_else(|| broken("sops", "the first document does not have it, a later one does"))?;
        if documents.any(|document| document.get(OWN_FIELD).is_some_and(|other| other != own)) {
            let word = "its documents were encrypted apart and put into one file afterwards; give each a file of its own, or encrypt the whole file at once";
            return Err(SopsError::Unsupported(word.to_owned()));
        }
        let text = |field: &str| match own.get(field) {
            Some(Node::Text(text) | Node::Plain(text)) => Ok(text.clone()),
            Some(Node::Map(_) | Node::List(_) | Node::Null) | None => {
                Err(broken(&format!("sops.{field}"), "it is missing or not a text"))
            }
        };
        Ok(Self {
            recipients: recipients(own)?,
            rule: Rule::of(own)?,
            is_mac_only_encrypted: own.get("mac_only_encrypted") == Some(&Node::Plain("True".to_owned())),
            mac: text("mac")?,
            last_modified: text("lastmodified")?,
        })
    }
}

fn recipients(own: &Node) -> Result<Vec<Recipient>, SopsError> {
    let has_items = |field: &str| matches!(own.get(field), Some(Node::List(items)) if !items.is_empty());
    let kinds = [("age", RecipientKind::Age, "recipient"), ("pgp", RecipientKind::OpenPgp, "fp")];
    let mut found = Vec::new();
    for (field, kind, name) in kinds {
        let Some(Node::List(items)) = own.get(field) else { continue };
        for (index, item) in items.iter().enumerate() {
            let path = format!("sops.{field}[{index}]");
            let Some((Node::Text(wrapped), Node::Text(name) | Node::Plain(name))) = item.get("enc").zip(item.get(name))
            else {
                return Err(broken(&path, &format!("it needs `{name}` and `enc`, both texts")));
            };
            if wrapped.len() > WRAPPED_BYTES_MAX {
                return Err(broken(&format!("{path}.enc"), "it is larger than any encrypted key"));
            }
            found.push(Recipient { kind, name: shown(name), wrapped: wrapped.clone() });
        }
    }
    if found.len() > RECIPIENTS_MAX {
        let count = found.len();
        let word = format!("sops: {count} recipients are more than the {RECIPIENTS_MAX} that are tried");
        return Err(SopsError::Unsupported(word));
    }
    if found.is_empty() && has_items("key_groups") {
        let word = "sops.key_groups: the data key is split among groups of keys (Shamir), which is not supported; encrypt the file for one group of age or OpenPGP keys";
        return Err(SopsError::Unsupported(word.to_owned()));
    }
    if found.is_empty() {
        let clouds = ["kms", "gcp_kms", "azure_kv", "hc_vault"];
        let clouds: Vec<&str> = clouds.into_iter().filter(|field| has_items(field)).collect();
        let word = match clouds.as_slice() {
            [] => return Err(broken("sops", "it names no recipient")),
            clouds => format!(
                "encrypted for {} only, and no service is asked for keys; add an age recipient with `sops rotate --add-age`",
                clouds.join(", ")
            ),
        };
        return Err(SopsError::Unsupported(word));
    }
    Ok(found)
}

/// A text that is there and not empty: for SOPS the two are one.
fn stated<'a>(own: &'a Node, field: &str) -> Option<&'a str> {
    match own.get(field) {
        Some(Node::Text(text)) if !text.is_empty() => Some(text),
        Some(_) | None => None,
    }
}

/// A recipient as it may be shown: the file is not ours, and status pages are.
fn shown(name: &str) -> String {
    let fit = |each: &char| each.is_ascii_alphanumeric() || matches!(each, ' ' | '-' | '+' | '/' | '=' | '.' | '@');
    name.chars().filter(fit).take(SHOWN_MAX).collect()
}

fn broken(field: &str, problem: &str) -> SopsError {
    SopsError::Broken { field: field.to_owned(), problem: problem.to_owned() }
}
