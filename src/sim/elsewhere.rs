//! Other repositories of the world: those that applications may render from, beside the one that declares.
//!
//! Enters: commits by people, and how a server fares. Leaves: what a poll finds. A repository that nobody made is one that the
//! settings do not list.

use std::collections::{BTreeMap, BTreeSet};

use super::Git;
use crate::model::Elsewhere;
use crate::world::{BlobId, Polled, SourceError};

/// How the server of a repository fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// It answers.
    #[default]
    Well,
    /// It says no.
    Fails(SourceError),
    /// It takes the question and says nothing.
    Silent,
}

/// One reference of another repository.
#[derive(Clone, Debug, Default)]
pub struct OtherRepository {
    /// Its commits.
    pub git: Git,
    /// How its server fares.
    pub manner: Manner,
    /// How often it was asked.
    pub polls: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct OtherRepositories {
    pub(super) all: BTreeMap<Elsewhere, OtherRepository>,
    /// Those that the agent said last to use.
    pub(super) followed: BTreeSet<Elsewhere>,
}

impl OtherRepositories {
    /// What a poll finds; `None` when there is no answer.
    pub(super) fn poll(
        &mut self,
        of: &Elsewhere,
        known: Option<&str>,
        proven: Option<&str>,
    ) -> Option<Result<Polled, SourceError>> {
        if !self.followed.contains(of) {
            return Some(Err(SourceError::Unreachable("it is not followed".to_owned())));
        }
        let Some(other) = self.all.get_mut(of) else {
            return Some(Err(SourceError::Access("the agent's settings do not list it".to_owned())));
        };
        other.polls += 1;
        match &other.manner {
            Manner::Well => Some(other.git.poll(known, proven)),
            Manner::Fails(error) => Some(Err(error.clone())),
            Manner::Silent => None,
        }
    }

    /// Reads blobs.
    pub(super) fn read(&self, of: &Elsewhere, blobs: &[BlobId]) -> Result<Vec<Vec<u8>>, SourceError> {
        let missing = || SourceError::Unreachable("nothing was fetched yet".to_owned());
        self.all.get(of).ok_or_else(missing)?.git.read(blobs)
    }
}
