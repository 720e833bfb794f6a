//! The formats in which durable state lives in the cluster, and nothing else.
//!
//! Enters: nouns of the model, or objects as the API server returned them. Leaves: objects to write, or nouns again.
//! It knows no client, clock or randomness; what it cannot read it refuses by name, and never guesses.

pub mod application;
pub mod crd;
pub mod digest;
#[cfg(test)]
mod fixtures;
pub mod kept;
pub mod lease;
pub mod notice;
mod record;
pub mod release;
pub mod source;
mod wire;

use std::fmt::Write;

use sha2::{Digest as _, Sha256};

pub use application::{Stored, settle};
pub use record::RECORD_VERSION;

/// API group of the custom resources, and prefix of every label and annotation of ours.
pub const GROUP: &str = "tidegate.dev";
/// Version of the custom resources.
pub const VERSION: &str = "v1alpha1";
/// Kind of the custom resource that holds one app.
pub const KIND: &str = "Application";
/// Plural of [`KIND`], as paths and CRDs spell it.
pub const PLURAL: &str = "applications";
/// Kubernetes' label for the tool that manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Kubernetes' label for what an object is part of: our own pods carry it.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Our name, as label value, event source and field-manager prefix.
pub const MANAGED_BY: &str = "tidegate";
/// Label with the agent's owner id.
pub const OWNER_LABEL: &str = crate::model::marks::ANNOTATION_OWNER;
/// Label with the app's name.
pub const APPLICATION_LABEL: &str = crate::model::marks::LABEL_APPLICATION;
/// Annotation by which people ask for something.
pub const REQUEST_ANNOTATION: &str = "tidegate.dev/request";

/// Annotation with the epoch of the leader that last took the app over.
pub const EPOCH_ANNOTATION: &str = "tidegate.dev/epoch";

/// Why stored state cannot be used. The app concerned becomes read-only; the others go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// An agent of a later version wrote it.
    #[error("format {found} was written by a newer version; this one reads up to {known}: upgrade it")]
    NewerVersion {
        /// The format that was found.
        found: u64,
        /// The newest one that this program reads.
        known: u64,
    },
    /// A field does not hold what we once wrote.
    #[error("stored field `{field}` is broken: {reason}")]
    Broken {
        /// Its path.
        field: String,
        /// What is wrong with it, without its content.
        reason: String,
    },
}

/// The error for the field `field`.
fn broken(field: &str, reason: impl Into<String>) -> StoreError {
    StoreError::Broken { field: field.to_owned(), reason: reason.into() }
}

/// Lower-case hex digits of a sha-256 over `bytes`.
fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hex digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// `name`, or a shorter stand-in that is as unique where `length_max` has no room for it.
fn shortened(name: &str, length_max: usize) -> String {
    if name.len() <= length_max {
        return name.to_owned();
    }
    let hash = &sha256_hex(name.as_bytes())[..12];
    let kept: String = name.chars().filter(char::is_ascii).take(length_max - hash.len() - 1).collect();
    format!("{kept}-{hash}")
}

/// `name` as a label value: Kubernetes allows 63 characters.
#[must_use]
pub fn label_value(name: &str) -> String {
    shortened(name, 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_shortened_and_stay_apart() {
        let long = "a".repeat(80);
        let longer = "a".repeat(81);
        assert_eq!(label_value("shop"), "shop");
        assert_eq!(label_value(&long).len(), 63);
        assert_ne!(label_value(&long), label_value(&longer));
    }
}
