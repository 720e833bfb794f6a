//! Reads a working tree: every Application with the contents of its manifests. Enters: a folder. Leaves: apps, or the
//! problems that `tidegate validate` would show.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::cli::validate::{Examined, examine, files_below, relative};
use crate::model::Application;
use crate::render::SOURCE_BYTES_MAX;

/// Contents of files, by path.
pub(in crate::cli) type Contents = BTreeMap<String, Vec<u8>>;

/// A working tree that declares something.
pub(in crate::cli) struct Tree {
    /// Each app, with its manifests by path.
    pub(in crate::cli) apps: Vec<(Arc<Application>, Contents)>,
    /// Things worth knowing about how it was read.
    pub(in crate::cli) remarks: Vec<String>,
}

/// What was found.
pub(in crate::cli) enum Read {
    /// Apps.
    Tree(Tree),
    /// What is wrong, for people.
    Problems(String),
}

/// Reads it.
pub(in crate::cli) fn read(path: &Path, root: Option<&Path>) -> anyhow::Result<Read> {
    let mut remarks = Vec::new();
    let mut examined = examined(path, root)?;
    if !examined.problems.is_empty() && root.is_none() && path.is_dir() {
        // A folder like `manifests/` is a repository of its own that lies in another one.
        let alone = self::examined(path, Some(path))?;
        if alone.problems.is_empty() {
            remarks.push(format!("source paths are taken to start in {}", path.display()));
            examined = alone;
        }
    }
    if !examined.problems.is_empty() {
        return Ok(Read::Problems(examined.as_text()));
    }
    if examined.apps.is_empty() {
        return Ok(Read::Problems("no Application is declared here: no YAML file mentions one\n".to_owned()));
    }
    let mut apps = Vec::new();
    for application in examined.apps.values() {
        apps.push((Arc::clone(application), contents(&examined.root, application)?));
    }
    Ok(Read::Tree(Tree { apps, remarks }))
}

fn examined(path: &Path, root: Option<&Path>) -> anyhow::Result<Examined> {
    examine(path, root).map_err(|error| anyhow::anyhow!("failed to read {}: {}", error.path.display(), error.source))
}

/// The manifests of an app, by path.
fn contents(root: &Path, application: &Application) -> anyhow::Result<Contents> {
    let folder = root.join(&application.source.path);
    let failed = || format!("failed to read {}", folder.display());
    let files = files_below(&folder, application.source.is_recursive, is_manifest).with_context(failed)?;
    let mut contents = Contents::new();
    let mut bytes = 0;
    for file in files {
        bytes += fs::metadata(&file).with_context(failed)?.len();
        anyhow::ensure!(bytes <= SOURCE_BYTES_MAX, "{} holds more than {SOURCE_BYTES_MAX} bytes", folder.display());
        contents.insert(relative(&file, root), fs::read(&file).with_context(failed)?);
    }
    Ok(contents)
}

/// As rendering has it.
fn is_manifest(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !is_hidden && matches!(extension, Some("yaml" | "yml" | "json"))
}
