//! Reads a working tree: every Application with the contents of its manifests. Enters: a folder. Leaves: apps, or the
//! problems that `tidegate validate` would show.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::cli::rendering::{self, CheckoutArgs};
use crate::cli::validate::{Examined, examine};
use crate::model::Application;

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
pub(in crate::cli) fn read(path: &Path, root: Option<&Path>, checkouts: &CheckoutArgs) -> anyhow::Result<Read> {
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
    let files = rendering::listed(&examined.root)?;
    let mut apps = Vec::new();
    for application in examined.apps.values() {
        let read = |path: &str| rendering::read_below(&examined.root, path);
        let contents = rendering::manifests(application, &files, read, checkouts)
            .with_context(|| format!("failed to render {}", application.name))?;
        apps.push((Arc::clone(application), contents));
    }
    Ok(Read::Tree(Tree { apps, remarks }))
}

fn examined(path: &Path, root: Option<&Path>) -> anyhow::Result<Examined> {
    examine(path, root).map_err(|error| anyhow::anyhow!("failed to read {}: {}", error.path.display(), error.source))
}
