//! A Release: an Application rendered at a Revision, known by a digest over its objects.

use std::collections::BTreeMap;

use super::{AppName, Object, ObjectKey, Revision};

/// A sha-256 digest. Two commits that render the same objects have the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The first twelve hex digits: enough for names and people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }

    /// Reads 64 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let text: String = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect();
        f.write_str(&text)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.short())
    }
}

/// What names a Release in records and status: enough to find it and to tell people which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRef {
    /// Digest over the rendered objects.
    pub digest: Digest,
    /// The declared attempt; raising it frees a quarantined digest.
    pub attempt: u32,
    /// The declared version.
    pub version: String,
    /// Where it was first rendered from.
    pub revision: Revision,
}

/// The rendered objects themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// The application.
    pub app: AppName,
    /// What names it.
    pub reference: ReleaseRef,
    /// Its objects by key.
    pub objects: BTreeMap<ObjectKey, Object>,
}

impl Release {
    /// The same with every object at rest.
    #[must_use]
    pub fn at_rest(mut self) -> Self {
        self.objects.values_mut().for_each(|object| object.body.rest());
        self
    }
}
