//! Files that SOPS encrypted -> the same files in the clear.
//!
//! Enters: a file's text and keys. Leaves: its documents as JSON, which every reader of YAML takes; nothing when it is not
//! encrypted.

use super::{RenderError, yaml};
use crate::sops::{self, Format, Keys};

/// Whether a file may be encrypted: only then keys are worth fetching.
#[must_use]
pub fn may_be_encrypted(file: &str, text: &[u8]) -> bool {
    let is_read = [".yaml", ".yml", ".json"].iter().any(|end| file.ends_with(end));
    is_read && text.windows(5).any(|part| part == b"sops:" || part == b"sops\"")
}

/// Decrypts a file; `None` when it is not encrypted.
///
/// # Errors
/// When it cannot be read, or no key opens it.
pub fn decrypt(file: &str, text: &[u8], keys: &Keys) -> Result<Option<Vec<u8>>, RenderError> {
    let documents = yaml::documents(file, text)?;
    if !sops::is_encrypted(&documents) {
        return Ok(None);
    }
    let opened = sops::decrypt(text, Format::of(file), documents, keys);
    let opened = opened.map_err(|error| RenderError::Encrypted { file: file.to_owned(), error })?;
    let texts: Vec<String> = opened.iter().map(ToString::to_string).collect();
    Ok(Some(texts.join("\n---\n").into_bytes()))
}
