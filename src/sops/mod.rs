//! Files that SOPS encrypted -> the same documents in the clear, in memory.
//!
//! Enters: a file's text, the documents that its reader made of it, and keys. Leaves: the documents with every encrypted
//! value in its place and without the `sops` field, once the file's MAC is proved; or the field that is wrong. Values and
//! keys are in no error. The key of the data is wiped after use; the values live on in the documents, which are not wiped.
//!
//! The MAC runs over the values in the order of the file, which a [`Value`] no longer knows: so the text is read a second
//! time, into a `tree`, as SOPS itself reads it. The two readings meet field by field.

mod keys;
mod metadata;
mod scalar;
mod sealed;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha512};
use zeroize::Zeroizing;

pub use keys::{Keys, KeysError};
use metadata::Metadata;
use tree::Node;

/// At most this many bytes in an encrypted file: a Secret holds 1 MiB, which base64 twice over makes 1.8.
pub const TEXT_BYTES_MAX: usize = 8 << 20;

/// The field that SOPS keeps its own things in.
const OWN_FIELD: &str = "sops";

/// What a hash that leaves open values out begins with: it can then not be taken for one that does not.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// How a file is written. It matters: SOPS takes a number in JSON for a float, in YAML for what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML, several documents allowed.
    Yaml,
    /// JSON, one document.
    Json,
}

impl Format {
    /// The format that the `sops` command takes a file of this name for.
    #[must_use]
    pub fn of(file: &str) -> Self {
        if file.ends_with(".json") { Self::Json } else { Self::Yaml }
    }
}

/// Why a file stays encrypted. Fields are named as `data.password`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SopsError {
    /// There is no key at all.
    #[error("encrypted with SOPS for {}, but no keys are configured; set --sops-keys to a folder that holds one of their keys", list(.0))]
    NoKeys(Vec<String>),
    /// No key that we have opens the file.
    #[error("encrypted with SOPS, and none of the keys opens it; tried {}; add one of their keys to the folder of --sops-keys, or add our recipient with `sops updatekeys`", list(.0))]
    NoKey(Vec<String>),
    /// SOPS can do it, we do not.
    #[error("{0}")]
    Unsupported(String),
    /// The metadata of SOPS, or the file around it, is broken.
    #[error("{field}: {problem}; restore the file from Git and change it with `sops edit` only")]
    Broken {
        /// The field.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// A value should be encrypted, and is not.
    #[error("{0} is not encrypted, though the rules in `sops` say it must be; write it with `sops edit` or `sops set`")]
    NotEncrypted(String),
    /// A value does not open.
    #[error(
        "{0} does not open: it was changed, moved here from another field, or encrypted under another data key; restore the file from Git and change it with `sops edit` only"
    )]
    Changed(String),
    /// The MAC does not open or is that of other values.
    #[error(
        "sops.mac does not match the values: one was changed, added, removed or reordered by hand; restore the file from Git and change it with `sops edit` only"
    )]
    Mac,
}

/// Recipients as a list for people. They come from the file: whatever is no part of one is left out.
fn list(recipients: &[String]) -> String {
    recipients.join(", ")
}

/// Whether the documents of a file are encrypted with SOPS.
#[must_use]
pub fn is_encrypted(documents: &[Value]) -> bool {
    documents.iter().any(|document| document.get(OWN_FIELD).is_some_and(Value::is_object))
}

/// Decrypts the documents of one file. Documents that are not encrypted come back as they are.
///
/// `documents` are all documents of `text`, in order, as the manifests' reader made them; empty ones may be missing.
///
/// # Errors
/// When no key fits, or anything in the file is not as SOPS left it.
pub fn decrypt(text: &[u8], format: Format, mut documents: Vec<Value>, keys: &Keys) -> Result<Vec<Value>, SopsError> {
    if !is_encrypted(&documents) {
        return Ok(documents);
    }
    let trees = match format {
        Format::Yaml => tree::from_yaml(text)?,
        Format::Json => vec![tree::from_json(text)?],
    };
    let metadata = Metadata::of(&trees)?;
    let key = keys.open(&metadata.recipients)?;
    let mut walk = Walk { metadata: &metadata, key: &key, hash: Sha512::new(), path: Vec::new() };
    if metadata.is_mac_only_encrypted {
        walk.hash.update(ONLY_ENCRYPTED);
    }
    let filled = documents.iter_mut().filter(|document| !document.is_null());
    let trees = trees.iter().filter(|tree| !matches!(tree, Node::Null));
    let (mut filled, mut trees) = (filled.fuse(), trees.fuse());
    loop {
        match (trees.next(), filled.next()) {
            (None, None) => break,
            (Some(tree), Some(document)) => walk.document(tree, document)?,
            (Some(_), None) | (None, Some(_)) => return Err(two_readings(&[])),
        }
    }
    let computed = walk.hash.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02X}").expect("a String takes what is written");
        text
    });
    let stated = sealed::open(&metadata.mac, &key, metadata.last_modified.as_bytes()).map_err(|_| SopsError::Mac)?;
    if stated.as_slice() != computed.as_bytes() {
        return Err(SopsError::Mac);
    }
    Ok(documents)
}

/// Where in the file a value is, for people.
#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

/// One pass over the values in the order of the file.
struct Walk<'a> {
    metadata: &'a Metadata,
    key: &'a Zeroizing<[u8; 32]>,
    hash: Sha512,
    path: Vec<Step<'a>>,
}

impl<'a> Walk<'a> {
    fn document(&mut self, tree: &'a Node, document: &mut Value) -> Result<(), SopsError> {
        if !matches!(tree, Node::Map(_)) {
            return Err(SopsError::Broken {
                field: "the document".to_owned(),
                problem: "it is not a mapping".to_owned(),
            });
        }
        if let Some(fields) = document.as_object_mut() {
            fields.remove(OWN_FIELD);
        }
        self.node(tree, document)
    }

    /// Nesting is bounded by the reading of the tree.
    fn node(&mut self, node: &'a Node, value: &mut Value) -> Result<(), SopsError> {
        match node {
            Node::Map(fields) => {
                let is_top = self.path.is_empty();
                let own = |key: &str| is_top && key == OWN_FIELD;
                let count = fields.iter().filter(|(key, _)| !own(key)).count();
                let values = value.as_object_mut().filter(|values| values.len() == count);
                let values = values.ok_or_else(|| two_readings(&self.path))?;
                for (key, node) in fields.iter().filter(|(key, _)| !own(key)) {
                    self.path.push(Step::Key(key));
                    let field = values.get_mut(key.as_str()).ok_or_else(|| two_readings(&self.path))?;
                    self.node(node, field)?;
                    self.path.pop();
                }
                Ok(())
            }
            Node::List(items) => {
                let values = value.as_array_mut().filter(|values| values.len() == items.len());
                let values = values.ok_or_else(|| two_readings(&self.path))?;
                for (index, (node, value)) in items.iter().zip(values).enumerate() {
                    self.path.push(Step::Item(index));
                    self.node(node, value)?;
                    self.path.pop();
                }
                Ok(())
            }
            Node::Null if value.is_null() => Ok(()),
            Node::Null => Err(two_readings(&self.path)),
            Node::Text(text) => self.text(text, value),
            Node::Plain(_) if self.is_encrypted() => Err(SopsError::NotEncrypted(shown(&self.path))),
            Node::Plain(bytes) if is_same(bytes, value) => {
                self.hash_open(bytes);
                Ok(())
            }
            Node::Plain(_) => Err(two_readings(&self.path)),
        }
    }

    fn text(&mut self, text: &str, value: &mut Value) -> Result<(), SopsError> {
        // What is proved is the one reading, what is used the other: they have to be one.
        if value.as_str() != Some(text) {
            return Err(two_readings(&self.path));
        }
        if !self.is_encrypted() {
            self.hash_open(text);
            return Ok(());
        }
        // SOPS leaves what is empty as it is.
        if text.is_empty() {
            return Ok(());
        }
        let sealed = sealed::Sealed::parse(text).ok_or_else(|| match text.starts_with(sealed::OPENING) {
            true => SopsError::Changed(shown(&self.path)),
            false => SopsError::NotEncrypted(shown(&self.path)),
        })?;
        let opened = sealed.open(self.key, self.bound_to().as_bytes());
        let opened = opened.and_then(sealed::Opened::typed).ok_or_else(|| SopsError::Changed(shown(&self.path)))?;
        self.hash.update(opened.hashed.as_bytes());
        *value = opened.value;
        Ok(())
    }

    fn hash_open(&mut self, bytes: &str) {
        if !self.metadata.is_mac_only_encrypted {
            self.hash.update(bytes.as_bytes());
        }
    }

    fn is_encrypted(&self) -> bool {
        self.metadata.rule.encrypts(self.keys())
    }

    fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.path.iter().filter_map(|step| match step {
            Step::Key(key) => Some(*key),
            Step::Item(_) => None,
        })
    }

    /// What a value's encryption is bound to: its keys, without the places in lists.
    fn bound_to(&self) -> String {
        self.keys().fold(String::new(), |mut all, key| {
            all.push_str(key);
            all.push(':');
            all
        })
    }
}

/// Whether a number, truth value or time is for Kubernetes what it is for SOPS. A time is a text for Kubernetes.
fn is_same(bytes: &str, value: &Value) -> bool {
    match value {
        Value::Bool(is_true) => bytes == if *is_true { "True" } else { "False" },
        Value::Number(number) => bytes.parse().is_ok_and(|other: f64| number.as_f64() == Some(other)),
        Value::String(_) => bytes.as_bytes().get(4) == Some(&b'-') && bytes.contains('T'),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn two_readings(path: &[Step<'_>]) -> SopsError {
    SopsError::Broken { field: shown(path), problem: "it reads differently for SOPS and for Kubernetes".to_owned() }
}

fn shown(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.extend([".", key]),
            Step::Item(index) => text.push_str(&format!("[{index}]")),
        }
    }
    if text.is_empty() { "the file".to_owned() } else { text }
}
