//! Reads one commit of a clone on this machine, for the command line. Enters: a folder in the clone and a revision as `git`
//! understands it. Leaves: the files of that commit, and their contents when asked for. It blocks, and only reads.

use std::path::{Path, PathBuf};

use git2::{ErrorCode, ObjectType, Repository};

use super::store::Failure;
use super::tree::{self, EntryLimit};
use crate::world::{BlobId, Files, SourceError};

/// A commit of a clone.
#[derive(Debug)]
pub struct Commit {
    /// Its id.
    pub id: String,
    /// Its files.
    pub files: Files,
    /// The clone's working tree; none in a bare clone.
    pub root: Option<PathBuf>,
    store: PathBuf,
}

impl Commit {
    /// Finds a commit in the clone that `folder` lies in.
    ///
    /// # Errors
    /// When there is no clone, no such revision, or the commit cannot be read.
    pub fn find(folder: &Path, revision: &str) -> Result<Self, SourceError> {
        let repository = Repository::discover(folder).map_err(|error| match error.code() {
            ErrorCode::NotFound => {
                SourceError::NoRepository(format!("{} does not lie in a Git repository", folder.display()))
            }
            _ => SourceError::Corrupt(error.message().to_owned()),
        })?;
        let no_such = |_source| SourceError::Corrupt(format!("no commit is called `{revision}` here"));
        let commit = repository.revparse_single(revision).and_then(|found| found.peel(ObjectType::Commit));
        let id = commit.map_err(no_such)?.id();
        let tree = repository.find_commit(id).map_err(no_such)?.tree_id();
        let mut files = Files::new();
        tree::advance(&repository, &mut files, None, tree, EntryLimit::default()).map_err(Failure::into_error)?;
        let root = repository.workdir().map(Path::to_owned);
        Ok(Self { id: id.to_string(), files, root, store: repository.commondir().to_owned() })
    }

    /// Contents of files, in the order asked for.
    ///
    /// # Errors
    /// When one cannot be read or is too large.
    pub fn read(&self, blobs: &[BlobId]) -> Result<Vec<Vec<u8>>, SourceError> {
        super::read_blobs(&self.store, blobs).map_err(|failure| failure.error)
    }
}
