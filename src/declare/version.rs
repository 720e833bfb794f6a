//! Where the version of an app stands: the line that people bump and revert.
//!
//! Enters: parsed files and a name. Leaves: file, line and column of the value.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::file::ParsedFile;
use crate::model::AppName;

/// The place of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionPlace {
    /// The file, relative to the repository's root.
    pub file: String,
    /// Line of the value, from 1.
    pub line: usize,
    /// Column of the value in characters, from 1.
    pub column: usize,
}

/// Where the version of a good app stands; `None` when there is no such app, or more than one.
#[must_use]
pub fn version_place(files: &BTreeMap<String, Arc<ParsedFile>>, name: &AppName) -> Option<VersionPlace> {
    let mut declared = files.values().flat_map(|file| file.apps()).filter(|app| app.name() == name);
    let (Some(app), None) = (declared.next(), declared.next()) else { return None };
    let at = app.read.as_ref().ok()?.version_at;
    Some(VersionPlace { file: app.file.clone(), line: at.line, column: at.column })
}
