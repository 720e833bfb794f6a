//! What a source of an Application renders from: which tool, and which files it gets to see.
//!
//! Enters: the source, the files of the commit, and the contents of those that say which others belong to it. Leaves:
//! [`Inputs`]. A tool sees these files and no others, so that a commit which changes none of them renders nothing.

use std::collections::BTreeMap;

use super::{RenderError, SOURCE_BYTES_MAX, kustomization};
use crate::model::{SourcePath, Tool};
use crate::world::{BLOB_BYTES_MAX, BlobId, Entry, Files};

/// What rendering a source reads.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// What renders it.
    pub tool: Tool,
    /// All files that it renders from, by path, as far as they are known.
    pub files: BTreeMap<&'a str, &'a Entry>,
    /// Files among them that say which others belong to it, and whose contents were not given: read them and ask again.
    pub next: Vec<(&'a str, &'a BlobId)>,
}

/// Finds the files that a source renders from, of the commit that it names. Files with values belong to the repository that
/// declares: [`values`] finds them when that is another one. `known` has contents of those that [`Inputs::next`] named before.
///
/// # Errors
/// When the path does not exist, something in it is not a plain file, or files that belong to it lie elsewhere.
pub fn inputs<'a>(
    source: &SourcePath,
    files: &'a Files,
    known: &BTreeMap<String, Vec<u8>>,
) -> Result<Inputs<'a>, RenderError> {
    let tool = tool(source, files)?;
    let inputs = match tool {
        Tool::Plain => Inputs { tool, files: manifests(source, files)?, next: Vec::new() },
        Tool::Helm => {
            let mut found = chart(source, files)?;
            if source.elsewhere.is_none() {
                found.extend(values(source, files)?);
            }
            Inputs { tool, files: found, next: Vec::new() }
        }
        Tool::Kustomize => {
            let closure = kustomization::closure(&source.path, files, known)?;
            Inputs { tool, files: closure.files, next: closure.next }
        }
    };
    check_size(&source.path, &inputs.files)?;
    Ok(inputs)
}

/// Finds a source's files with values, of the commit that declares.
///
/// # Errors
/// When one does not exist or is no plain file.
pub fn values<'a>(source: &SourcePath, files: &'a Files) -> Result<BTreeMap<&'a str, &'a Entry>, RenderError> {
    let mut found = BTreeMap::new();
    for path in &source.helm.values_files {
        match files.get_key_value(path) {
            Some((file, entry @ Entry::File { .. })) => drop(found.insert(file.as_str(), entry)),
            Some((_, Entry::Link | Entry::Submodule)) => return Err(RenderError::NotAFile(path.clone())),
            None => {
                return Err(stranger(path, files).map_or(RenderError::NoValues(path.clone()), RenderError::NotAFile));
            }
        }
    }
    check_size("helm.valuesFiles", &found)?;
    Ok(found)
}

fn check_size(what: &str, files: &BTreeMap<&str, &Entry>) -> Result<(), RenderError> {
    let is_large = |bytes: &u64| usize::try_from(*bytes).is_ok_and(|bytes| bytes > BLOB_BYTES_MAX);
    let lengths = files.iter().map(|(file, entry)| (file, length(entry)));
    if let Some((file, bytes)) = lengths.into_iter().find(|(_, bytes)| is_large(bytes)) {
        return Err(RenderError::TooLarge(format!(
            "{file} has {bytes} bytes; at most {BLOB_BYTES_MAX} of a file are read: split it, or keep it out of the folder"
        )));
    }
    let bytes: u64 = files.values().map(|entry| length(entry)).sum();
    if bytes > SOURCE_BYTES_MAX {
        return Err(RenderError::TooLarge(format!(
            "source path `{what}` holds {bytes} bytes of manifests; at most {SOURCE_BYTES_MAX} are read"
        )));
    }
    Ok(())
}

/// How a file begins that stands for another one which Git LFS keeps elsewhere (git-lfs.com/spec/v1).
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Refuses files whose content is not in the repository.
///
/// # Errors
/// The first pointer of Git LFS.
pub fn refuse_pointers(contents: &BTreeMap<String, Vec<u8>>) -> Result<(), RenderError> {
    match contents.iter().find(|(_, text)| text.starts_with(POINTER)) {
        Some((file, _)) => Err(RenderError::Pointer(file.clone())),
        None => Ok(()),
    }
}

fn length(entry: &Entry) -> u64 {
    match entry {
        Entry::File { bytes, .. } => *bytes,
        Entry::Link | Entry::Submodule => 0,
    }
}

/// The tool that is stated, or that the folder's files ask for.
fn tool(source: &SourcePath, files: &Files) -> Result<Tool, RenderError> {
    if let Some(tool) = source.tool {
        return Ok(tool);
    }
    let path = &source.path;
    let has = |name: &str| files.contains_key(&below(path, name));
    let is_kustomization = kustomization::NAMES.iter().any(|name| has(name));
    match (is_kustomization, has("Chart.yaml")) {
        (true, true) => Err(RenderError::Ambiguous(path.clone())),
        (true, false) => Ok(Tool::Kustomize),
        (false, true) => Ok(Tool::Helm),
        (false, false) => Ok(Tool::Plain),
    }
}

/// The path of a name in a folder.
pub(super) fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Everything below a folder.
fn all_below<'a>(folder: &str, files: &'a Files) -> impl Iterator<Item = (&'a str, &'a str, &'a Entry)> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    files
        .range(prefix.clone()..)
        .map_while(move |(file, entry)| Some((file.as_str(), file.strip_prefix(&prefix)?, entry)))
}

fn manifests<'a>(source: &SourcePath, files: &'a Files) -> Result<BTreeMap<&'a str, &'a Entry>, RenderError> {
    let path = &source.path;
    let mut found = BTreeMap::new();
    let mut is_there = false;
    for (file, rest, entry) in all_below(path, files) {
        is_there = true;
        if !source.is_recursive && rest.contains('/') {
            continue;
        }
        match entry {
            Entry::Link | Entry::Submodule => return Err(RenderError::NotAFile(file.to_owned())),
            Entry::File { .. } if is_manifest(rest) => drop(found.insert(file, entry)),
            Entry::File { .. } => {}
        }
    }
    if is_there { Ok(found) } else { Err(missing(path, files)) }
}

/// Why nothing is below a path.
pub(super) fn missing(path: &str, files: &Files) -> RenderError {
    match stranger(path, files) {
        Some(place) => RenderError::NotAFile(place),
        None => RenderError::NoPath(path.to_owned()),
    }
}

/// The link or submodule that a path leads through.
#[must_use]
pub fn stranger(path: &str, files: &Files) -> Option<String> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.map(|end| &path[..end])
        .find(|place| matches!(files.get(*place), Some(Entry::Link | Entry::Submodule)))
        .map(ToOwned::to_owned)
}

fn is_manifest(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension);
    matches!(extension, Some("yaml" | "yml" | "json")) && !path.rsplit('/').next().unwrap_or(path).starts_with('.')
}

/// The chart's folder, when it lies in a Git repository.
fn chart<'a>(source: &SourcePath, files: &'a Files) -> Result<BTreeMap<&'a str, &'a Entry>, RenderError> {
    let mut found = BTreeMap::new();
    if source.helm.chart.is_none() {
        for (file, _, entry) in all_below(&source.path, files) {
            match entry {
                Entry::Link | Entry::Submodule => return Err(RenderError::NotAFile(file.to_owned())),
                Entry::File { .. } => drop(found.insert(file, entry)),
            }
        }
        if found.is_empty() {
            return Err(missing(&source.path, files));
        }
        let description = below(&source.path, "Chart.yaml");
        if !found.contains_key(description.as_str()) {
            return Err(RenderError::NoChart(description));
        }
    }
    Ok(found)
}
