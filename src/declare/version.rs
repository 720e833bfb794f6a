//! Where the version of an app stands: the line that people bump and revert.
//!
//! Enters: a parsed app. Leaves: file, line and column of the value. For an app that a set made it is the entry of the list,
//! or the ApplicationVersion; for one with a base it may be the base.

use super::file::ParsedApp;

/// The place of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionPlace {
    /// The file, relative to the repository's root.
    pub file: String,
    /// Line of the value, from 1.
    pub line: usize,
    /// Column of the value in characters, from 1.
    pub column: usize,
    /// Whether a template has it, which may use it elsewhere too.
    pub is_templated: bool,
}

impl VersionPlace {
    /// Where the version of a good app stands.
    pub(super) fn of(app: &ParsedApp) -> Option<Self> {
        let at = app.read.as_ref().ok()?.version_at;
        let file = app.others.of(at).map_or(&app.file, |(file, _)| file).clone();
        Some(Self { file, line: at.line, column: at.column, is_templated: !app.prefix.is_empty() })
    }
}
