//! What a commit declares: which files are parsed again, and how they are put together.
//!
//! Enters: a [`Source`] with the files of a commit. Leaves: the same with what they declare.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::source::{Reading, Source, application};
use crate::declare::{Edited, ParsedFile, assemble, is_candidate, parse_file};
use crate::model::AppName;
use crate::render::stranger;
use crate::world::{BlobId, Entry, Files, SourceError, World};

/// Blobs read at once.
const READ_BATCH: usize = 500;

/// Reads what is declared, and returns which apps are not any more. `changed` are the paths that differ from `files_before`,
/// when all the rest was read.
pub(super) async fn declare<W: World>(
    source: &mut Source,
    reading: &Reading<'_, W>,
    changed: Option<&[String]>,
    files_before: &Files,
) -> Result<BTreeSet<AppName>, SourceError> {
    let parsed_before: Vec<_> =
        changed.unwrap_or_default().iter().map(|path| source.parsed.get(path).cloned()).collect();
    parse(source, reading, changed).await?;
    // That an app is gone is found out from everything alone.
    if changed.is_some_and(|changed| amend(source, changed, parsed_before, files_before))
        && gone(source, reading).next().is_none()
    {
        return Ok(BTreeSet::new());
    }
    let known = known(source, reading);
    let files = source.files.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. }));
    let paths = files.map(|(path, _)| path.as_str());
    source.declared = assemble(&source.parsed, &known, paths, &source.declared.made);
    Ok(gone(source, reading).cloned().collect())
}

/// Takes up what was edited, when nothing else can be another because of it.
fn amend(
    source: &mut Source,
    changed: &[String],
    parsed_before: Vec<Option<Arc<ParsedFile>>>,
    files_before: &Files,
) -> bool {
    let is_file = |files: &Files, path: &String| matches!(files.get(path), Some(Entry::File { .. }));
    let has_same_paths = changed.iter().all(|path| is_file(files_before, path) == is_file(&source.files, path));
    let now = changed.iter().map(|path| source.parsed.get(path).cloned());
    let edited: Vec<Edited> = parsed_before.into_iter().zip(now).collect();
    source.refused.is_empty() && source.declared.amend(&edited, has_same_paths)
}

/// Every app that is or was declared, some twice.
pub(super) fn names<'a, W>(
    source: &'a Source,
    reading: &Reading<'a, W>,
) -> impl Iterator<Item = &'a AppName> + use<'a, W> {
    reading.known.keys().chain(source.apps.keys()).chain(source.pending.keys())
}

/// Those that are not declared any more.
fn gone<'a, W>(source: &'a Source, reading: &Reading<'a, W>) -> impl Iterator<Item = &'a AppName> + use<'a, W> {
    names(source, reading).filter(|name| !source.declared.apps.contains_key(*name))
}

/// Every app that is or was declared, with the file that declared it last.
fn known<'a, W>(source: &'a Source, reading: &Reading<'a, W>) -> BTreeMap<AppName, &'a str> {
    let stored = reading.known.iter().map(|(name, (file, _))| (name, file.as_str()));
    let entered = source.apps.iter().filter_map(|(name, entered)| Some((name, application(&entered.declared)?)));
    let declared = entered.chain(source.pending.iter()).map(|(name, one)| (name, one.declared_in.as_str()));
    stored.chain(declared).map(|(name, file)| (name.clone(), file)).collect()
}

/// Parses the declaration files whose blob changed: among `changed`, when it is known that no other did.
async fn parse<W: World>(
    source: &mut Source,
    reading: &Reading<'_, W>,
    changed: Option<&[String]>,
) -> Result<(), SourceError> {
    for path in std::mem::take(&mut source.refused) {
        source.parsed.remove(&path);
    }
    let all;
    let paths = match changed {
        Some(changed) => changed,
        None => {
            let known = source.looked_at.keys().chain(source.parsed.keys());
            let paths: BTreeSet<&String> = source.files.keys().chain(known).collect();
            all = paths.into_iter().cloned().collect::<Vec<_>>();
            &all
        }
    };
    let prefix = if reading.path.is_empty() { String::new() } else { format!("{}/", reading.path) };
    let mut wanted: Vec<(&String, BlobId)> = Vec::new();
    for path in paths {
        let is_yaml = path.ends_with(".yaml") || path.ends_with(".yml");
        let Some(Entry::File { blob, .. }) = source.files.get(path).filter(|_| is_yaml && path.starts_with(&prefix))
        else {
            source.looked_at.remove(path);
            source.parsed.remove(path);
            continue;
        };
        if source.looked_at.get(path) != Some(blob) {
            source.looked_at.remove(path);
            // A file that declared apps stays a declaration, whatever became of its text.
            if let Some(parsed) = source.parsed.get_mut(path) {
                *parsed = Arc::new(parse_file(path, b""));
            }
            wanted.push((path, blob.clone()));
        }
    }
    let declaring: BTreeSet<&str> = reading.known.values().map(|(file, _)| file.as_str()).collect();
    for batch in wanted.chunks(READ_BATCH) {
        let blobs: Vec<BlobId> = batch.iter().map(|(_, blob)| blob.clone()).collect();
        let texts = match reading.world.read(None, &blobs).await {
            Ok(texts) => texts,
            Err(SourceError::TooLarge(_)) => read_one_by_one(reading.world, &blobs).await?,
            Err(error) => return Err(error),
        };
        for ((path, blob), text) in batch.iter().zip(texts) {
            let was_declaring = source.parsed.contains_key(*path) || declaring.contains(path.as_str());
            if was_declaring || is_candidate(&text) {
                source.parsed.insert((*path).clone(), Arc::new(parse_file(path, &text)));
            }
            source.looked_at.insert((*path).clone(), blob.clone());
        }
    }
    if source.files.values().all(|entry| matches!(entry, Entry::File { .. })) {
        return Ok(());
    }
    for path in declaring {
        if let Some(place) = stranger(path, &source.files) {
            let message = format!("{place} is a symbolic link or a submodule now, and these are not followed");
            let refused = ParsedFile::refused(path, &message, "put the file itself here");
            source.parsed.insert(path.to_owned(), Arc::new(refused));
            source.refused.push(path.to_owned());
        }
    }
    Ok(())
}

/// One file is too large: the others are read all the same, and that one is refused by the parser's own limit.
async fn read_one_by_one<W: World>(world: &W, blobs: &[BlobId]) -> Result<Vec<Vec<u8>>, SourceError> {
    let mut texts = Vec::new();
    for blob in blobs {
        texts.push(match world.read(None, std::slice::from_ref(blob)).await {
            Ok(mut one) => one.pop().unwrap_or_default(),
            Err(SourceError::TooLarge(_)) => vec![b' '; crate::declare::FILE_BYTES_MAX + 1],
            Err(error) => return Err(error),
        });
    }
    Ok(texts)
}
