//! A folder of small files that somebody mounted: keys, policies. Enters: its path. Leaves: its files by name.

use std::path::Path;

use crate::world::SourceError;

/// Files of one folder: more keys than a team has people.
const FILES_MAX: usize = 1000;
/// Bytes of one file: a keyring of hundreds of people.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads all files of a folder. Folders in it, and names that begin with a dot, are passed by: a mounted Secret has some.
pub(super) fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, SourceError> {
    let failed = |error: std::io::Error| SourceError::Access(format!("{}: {error}", folder.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else {
            continue;
        };
        // A mounted file is a link to one.
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        if !metadata.is_file() {
            continue;
        }
        if metadata.len() > FILE_BYTES_MAX || files.len() == FILES_MAX {
            return Err(SourceError::Access(format!(
                "{}: more than {FILES_MAX} files, or one of more than {FILE_BYTES_MAX} bytes",
                folder.display()
            )));
        }
        files.push((name.to_owned(), std::fs::read(&path).map_err(failed)?));
    }
    Ok(files)
}
