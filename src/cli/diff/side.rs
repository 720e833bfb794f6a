//! One side of a comparison as Git or a working tree declares it. Enters: a folder, and perhaps a revision. Leaves: apps
//! with the contents of their manifests, or the problems that `tidegate validate` would show.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};

use crate::cli::rendering::{self, CheckoutArgs};
use crate::cli::validate::relative;
use crate::cli::working_tree::{self, Contents, Read};
use crate::declare::{Made, ParsedFile, Problem, assemble, is_candidate, parse_file};
use crate::edge::git::Commit;
use crate::model::{AppName, Application};
use crate::world::{BlobId, Entry, Files};

/// Files of a commit that are read at once.
const READ_BATCH: usize = 200;

/// What is declared.
pub(super) struct Side {
    /// `working tree`, or the first digits of a commit.
    pub(super) label: String,
    /// Each app, with its manifests by path.
    pub(super) apps: BTreeMap<AppName, (Arc<Application>, Contents)>,
    /// Whether all of a repository was looked at, so that what is not here is declared nowhere.
    pub(super) is_whole: bool,
    /// Things worth knowing about how it was read.
    pub(super) remarks: Vec<String>,
}

/// Reads the working tree at a folder.
pub(super) fn working_tree(path: &Path, root: Option<&Path>, checkouts: &CheckoutArgs) -> anyhow::Result<Side> {
    let read = match working_tree::read(path, root, checkouts)? {
        Read::Tree(tree) => tree,
        Read::Problems(text) => bail!("{} cannot be compared\n{}", path.display(), text.trim_end()),
    };
    let start = root.unwrap_or(path);
    let is_whole = same(path, start) && (root.is_some() || start.join(".git").exists());
    let apps = read.apps.into_iter().map(|(app, contents)| (app.name.clone(), (app, contents))).collect();
    Ok(Side { label: "working tree".to_owned(), apps, is_whole, remarks: read.remarks })
}

/// Reads a revision of the clone that a folder lies in.
pub(super) fn revision(
    path: &Path,
    root: Option<&Path>,
    revision: &str,
    checkouts: &CheckoutArgs,
) -> anyhow::Result<Side> {
    let commit = Commit::find(path, revision).with_context(|| format!("failed to read revision `{revision}`"))?;
    let start = root.or(commit.root.as_deref()).unwrap_or(path);
    let folder = below(path, start)?;
    let files: Files = match &commit.root {
        Some(clone) => strip(&commit.files, &below(start, clone)?),
        None => commit.files.clone(),
    };
    let label: String = commit.id.chars().take(7).collect();
    let parsed = parse(&commit, &files, &folder)?;
    let paths = files.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. })).map(|(path, _)| path.as_str());
    let declarations = assemble(&parsed, &BTreeMap::new(), paths, &Made::default());
    if !declarations.problems.is_empty() {
        let problems: Vec<String> = declarations.problems.iter().map(Problem::to_string).collect();
        bail!("revision `{revision}` cannot be compared\n{}", problems.join("\n"));
    }
    let mut apps = BTreeMap::new();
    for (name, app) in declarations.apps {
        let app = app.map_err(|problems| {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            anyhow!("revision `{revision}` cannot be compared\n{}", problems.join("\n"))
        })?;
        let read = |path: &str| Ok(read(&commit, files.get(path).into_iter())?.pop().unwrap_or_default());
        let contents = rendering::manifests(&app, &files, read, checkouts);
        let contents = contents.with_context(|| format!("failed to render {name} at {label}"))?;
        apps.insert(name, (app, contents));
    }
    Ok(Side { label, apps, is_whole: folder.is_empty(), remarks: Vec::new() })
}

fn parse(commit: &Commit, files: &Files, folder: &str) -> anyhow::Result<BTreeMap<String, Arc<ParsedFile>>> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let is_wanted = |path: &str| {
        (path.starts_with(&prefix) || path == folder) && (path.ends_with(".yaml") || path.ends_with(".yml"))
    };
    let wanted: Vec<(&String, &Entry)> = files.iter().filter(|(path, _)| is_wanted(path)).collect();
    let wanted: Vec<(&String, &Entry)> =
        wanted.into_iter().filter(|(_, entry)| matches!(entry, Entry::File { .. })).collect();
    let texts = read(commit, wanted.iter().map(|(_, entry)| *entry))?;
    let declaring = wanted.iter().zip(texts).filter(|(_, text)| is_candidate(text));
    Ok(declaring.map(|((path, _), text)| ((*path).clone(), Arc::new(parse_file(path, &text)))).collect())
}

fn read<'a>(commit: &Commit, entries: impl Iterator<Item = &'a Entry>) -> anyhow::Result<Vec<Vec<u8>>> {
    let blobs: Vec<BlobId> = entries
        .filter_map(|entry| match entry {
            Entry::File { blob, .. } => Some(blob.clone()),
            Entry::Link | Entry::Submodule => None,
        })
        .collect();
    let mut contents = Vec::with_capacity(blobs.len());
    for batch in blobs.chunks(READ_BATCH) {
        contents.extend(commit.read(batch)?);
    }
    Ok(contents)
}

/// Files below a folder, by their path from there.
fn strip(files: &Files, folder: &str) -> Files {
    if folder.is_empty() {
        return files.clone();
    }
    let prefix = format!("{folder}/");
    let below = files.iter().filter_map(|(path, entry)| Some((path.strip_prefix(&prefix)?.to_owned(), entry.clone())));
    below.collect()
}

/// Where a folder lies in another, as Git writes paths.
fn below(path: &Path, start: &Path) -> anyhow::Result<String> {
    let [path, start] = [path, start].map(|path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
    anyhow::ensure!(path.starts_with(&start), "{} does not lie in {}", path.display(), start.display());
    Ok(relative(&path, &start))
}

fn same(left: &Path, right: &Path) -> bool {
    left == right || std::fs::canonicalize(left).ok() == std::fs::canonicalize(right).ok()
}
