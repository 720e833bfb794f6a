//! From a commit to what it declares: which files are read again, which apps render again.
//!
//! Work is proportional to what changed: a file is parsed again when its blob changes, an app renders again when a blob
//! under its source path or a field that rendering reads changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::guard::{Vouched, guard};
use super::rendering::{Followed, enter};
use crate::declare::{Made, ParsedFile, assemble, is_candidate, parse_file};
use crate::model::{AppName, AppSigners, Application, Declared, Deletion, Digest, Elsewhere, Release, Revision};
use crate::mutants::{Mutant, is_planted};
use crate::render::stranger;
use crate::telemetry::Telemetry;
use crate::world::{BlobId, Entry, Files, Kinds, Snapshot, SourceError, World};

/// Blobs read at once.
const READ_BATCH: usize = 500;
/// Apps that are rendered at once: a renderer runs fewer, and takes the next without waiting for it.
const RENDERS_MAX: usize = 8;
/// Applications that may leave Git with `deletion: cascade` in one commit before it pauses: more than this ...
const REMOVED_MAX: usize = 5;
/// ... and more than this share of them.
const REMOVED_PERCENT_MAX: usize = 20;

/// What Git declares, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The commit that this is of.
    pub(super) revision: Option<Revision>,
    /// Who may change which app.
    pub(super) signers: Arc<AppSigners>,
    /// What guarded apps may declare under whatever head.
    pub(super) vouched: Vouched,
    files: Arc<Files>,
    parsed: BTreeMap<String, (BlobId, Option<Arc<ParsedFile>>)>,
    /// Apps that were put together from several documents, to be used again.
    made: Made,
    /// Every app that is or was declared.
    pub(super) apps: BTreeMap<AppName, Entered>,
    /// Apps that are declared and cannot be entered yet, since another repository was never fetched: until then they keep
    /// what they had.
    pub(super) pending: BTreeMap<AppName, Arc<Application>>,
    /// Apps that are declared to render from other repositories, whatever becomes of them.
    using: BTreeMap<AppName, Arc<Application>>,
    /// Apps that had no entry before the last read.
    pub(super) joined: BTreeSet<AppName>,
    /// Apps whose entry changed with the last commit.
    pub(super) changed: BTreeSet<AppName>,
    /// Whether another look may help although Git stays as it is: a kind was missing, or no renderer answered.
    pub(super) may_be_retried: bool,
}

/// One app as Git has it.
#[derive(Debug, Clone)]
pub(super) struct Entered {
    /// What is declared.
    pub(super) declared: Declared,
    /// What it renders to.
    pub(super) release: Option<Arc<Release>>,
    /// Hash over everything that rendering read.
    pub(super) key: Option<Digest>,
    /// Of which commits of other repositories it was rendered.
    pub(super) rendered_from: BTreeMap<Elsewhere, Revision>,
    /// Files that say which others belong to it.
    pub(super) followed: Followed,
    /// Whether rendering it again may go better although Git stays as it is.
    pub(super) may_be_retried: bool,
}

impl Entered {
    /// Without a Release.
    pub(super) fn bare(declared: Declared) -> Self {
        let (rendered_from, followed) = (BTreeMap::new(), Followed::new());
        Self { declared, release: None, key: None, rendered_from, followed, may_be_retried: false }
    }
}

/// A commit of another repository.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    /// What is followed, and its commit.
    pub(super) revision: Revision,
    /// All files.
    pub(super) files: Arc<Files>,
}

/// What reading a commit needs from outside.
#[derive(Debug)]
pub(super) struct Reading<'a, W> {
    /// The outside.
    pub(super) world: &'a W,
    /// What the API server knows.
    pub(super) kinds: &'a Kinds,
    /// The namespace in which Releases are kept, for values that stay as they were first.
    pub(super) namespace: &'a str,
    /// Whose Releases those are.
    pub(super) owner: &'a str,
    /// Keys the HMAC of Secret values in digests.
    pub(super) secret_key: &'a [u8; 32],
    /// Counts renders.
    pub(super) telemetry: &'a Telemetry,
    /// Folder below which declarations are looked for.
    pub(super) path: &'a str,
    /// Apps that exist: the file that declared each, and what is to happen when it leaves Git.
    pub(super) known: &'a BTreeMap<AppName, (String, Deletion)>,
    /// Other repositories, as far as they were fetched.
    pub(super) others: &'a BTreeMap<Elsewhere, Fetched>,
}

impl Source {
    /// What of other repositories each app renders from, or would.
    pub(super) fn elsewhere(&self) -> impl Iterator<Item = (&AppName, &Arc<Application>, &Elsewhere)> {
        self.using
            .iter()
            .flat_map(|(name, application)| application.elsewhere().map(move |other| (name, application, other)))
    }
}

/// Reads a commit (or the same one again, after kinds or known apps changed).
pub(super) async fn read<W: World>(
    source: &mut Source,
    reading: &Reading<'_, W>,
    snapshot: Option<&Snapshot>,
) -> Result<(), SourceError> {
    if let Some(snapshot) = snapshot {
        source.files = Arc::clone(&snapshot.files);
        source.revision = Some(snapshot.revision.clone());
        source.signers = Arc::clone(&snapshot.signers);
    }
    let Some(revision) = source.revision.clone() else { return Ok(()) };
    parse(source, reading).await?;
    let files: BTreeMap<String, Arc<ParsedFile>> = source
        .parsed
        .iter()
        .filter_map(|(path, (_, parsed))| Some((path.clone(), Arc::clone(parsed.as_ref()?))))
        .collect();
    let mut known: BTreeMap<AppName, String> =
        reading.known.iter().map(|(name, (file, _))| (name.clone(), file.clone())).collect();
    known.extend(
        source
            .apps
            .iter()
            .filter_map(|(name, entered)| Some((name.clone(), application(&entered.declared)?.declared_in.clone()))),
    );
    known.extend(source.pending.iter().map(|(name, application)| (name.clone(), application.declared_in.clone())));
    let paths =
        source.files.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. })).map(|(path, _)| path.as_str());
    let declarations = assemble(&files, &known, paths, &source.made);
    source.made = declarations.made;
    source.using = using(&declarations.apps, &source.using);
    let before = std::mem::take(&mut source.apps);
    let (files, revision_now, earlier) = (&*source.files, &revision, &before);
    let entering = declarations.apps.into_iter().map(|(name, result)| async move {
        let entered = match result {
            Ok(application) => match enter(files, reading, revision_now, &application, earlier.get(&name)).await? {
                Some(entered) => Ok(entered),
                None => Err(application),
            },
            Err(problems) => {
                let reason = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                Ok(broken(earlier.get(&name), revision_now, reason))
            }
        };
        Ok::<_, SourceError>((name, entered))
    });
    let entered: Vec<_> = stream::iter(entering).buffered(RENDERS_MAX).try_collect().await?;
    source.pending.clear();
    for (name, entered) in entered {
        let entered = entered.or_else(|declared| {
            source.pending.insert(name.clone(), declared);
            before.get(&name).filter(|entered| application(&entered.declared).is_some()).cloned().ok_or(())
        });
        source.apps.extend(entered.ok().map(|entered| (name, entered)));
    }
    source.joined = source.apps.keys().filter(|name| !before.contains_key(*name)).cloned().collect();
    source.may_be_retried = source.apps.values().any(|entered| entered.may_be_retried);
    let names = before.keys().chain(known.keys()).cloned().collect::<BTreeSet<_>>();
    remove(source, reading, &before, &names, &revision);
    guard(source, &before, &revision);
    let differs = |name: &&AppName| match (before.get(*name), source.apps.get(*name)) {
        (Some(one), Some(other)) => one.declared != other.declared || one.rendered_from != other.rendered_from,
        (one, other) => one.is_some() != other.is_some(),
    };
    source.changed = source.apps.keys().filter(differs).cloned().collect();
    Ok(())
}

/// A declaration that cannot be read changes nothing of what is followed.
fn using<P>(
    declared: &BTreeMap<AppName, Result<Arc<Application>, P>>,
    before: &BTreeMap<AppName, Arc<Application>>,
) -> BTreeMap<AppName, Arc<Application>> {
    let last = |(name, result): (&AppName, &Result<Arc<Application>, P>)| {
        Some((name.clone(), Arc::clone(result.as_ref().ok().or_else(|| before.get(name))?)))
    };
    declared.iter().filter_map(last).filter(|(_, application)| application.elsewhere().next().is_some()).collect()
}

/// Parses the declaration files whose blob changed.
async fn parse<W: World>(source: &mut Source, reading: &Reading<'_, W>) -> Result<(), SourceError> {
    let prefix = if reading.path.is_empty() { String::new() } else { format!("{}/", reading.path) };
    let declaring: BTreeSet<&str> = reading.known.values().map(|(file, _)| file.as_str()).collect();
    let mut wanted: Vec<(String, BlobId)> = Vec::new();
    let mut kept = BTreeMap::new();
    for (path, entry) in source.files.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix)) {
        let (Entry::File { blob, .. }, true) = (entry, path.ends_with(".yaml") || path.ends_with(".yml")) else {
            continue;
        };
        match source.parsed.remove(path) {
            Some((known, parsed)) if known == *blob => drop(kept.insert(path.clone(), (known, parsed))),
            before => {
                // A file that declared apps stays a declaration, whatever became of its text.
                let was_declaring = before.is_some_and(|(_, parsed)| parsed.is_some());
                if was_declaring {
                    kept.insert(path.clone(), (BlobId(String::new()), Some(Arc::new(parse_file(path, b"")))));
                }
                wanted.push((path.clone(), blob.clone()));
            }
        }
    }
    for batch in wanted.chunks(READ_BATCH) {
        let blobs: Vec<BlobId> = batch.iter().map(|(_, blob)| blob.clone()).collect();
        let texts = match reading.world.read(None, &blobs).await {
            Ok(texts) => texts,
            Err(SourceError::TooLarge(_)) => read_one_by_one(reading.world, &blobs).await?,
            Err(error) => return Err(error),
        };
        for ((path, blob), text) in batch.iter().zip(texts) {
            let was_declaring = kept.contains_key(path) || declaring.contains(path.as_str());
            let parsed = (was_declaring || is_candidate(&text)).then(|| Arc::new(parse_file(path, &text)));
            kept.insert(path.clone(), (blob.clone(), parsed));
        }
    }
    for path in declaring {
        if let Some(place) = stranger(path, &source.files) {
            let message = format!("{place} is a symbolic link or a submodule now, and these are not followed");
            let refused = ParsedFile::refused(path, &message, "put the file itself here");
            kept.insert(path.to_owned(), (BlobId(String::new()), Some(Arc::new(refused))));
        }
    }
    source.parsed = kept;
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

fn application(declared: &Declared) -> Option<&Arc<Application>> {
    match declared {
        Declared::Ready { application, .. } => Some(application),
        Declared::Broken { last, .. } => last.as_ref(),
        Declared::Removed { .. } => None,
    }
}

/// An app of which nothing new is known, and why.
pub(super) fn broken(before: Option<&Entered>, revision: &Revision, reason: String) -> Entered {
    let last = before.and_then(|entered| application(&entered.declared)).cloned();
    let declared = Declared::Broken { last, revision: Some(revision.clone()), reason };
    Entered::bare(declared)
}

/// Apps that are certainly gone from Git; too many at once, or all of them, pause instead (S7).
fn remove<W>(
    source: &mut Source,
    reading: &Reading<'_, W>,
    before: &BTreeMap<AppName, Entered>,
    names: &BTreeSet<AppName>,
    revision: &Revision,
) {
    let is_there = |name: &AppName| source.apps.contains_key(name) || source.pending.contains_key(name);
    let gone: Vec<&AppName> = names.iter().filter(|name| !is_there(name)).collect();
    let deletion = |name: &AppName| {
        let last =
            before.get(name).and_then(|entered| application(&entered.declared)).map(|application| application.deletion);
        last.or_else(|| reading.known.get(name).map(|(_, deletion)| *deletion)).unwrap_or(Deletion::Orphan)
    };
    let cascading = gone.iter().filter(|name| deletion(name) == Deletion::Cascade).count();
    let exceeds = cascading > REMOVED_MAX && cascading * 100 > names.len() * REMOVED_PERCENT_MAX;
    let is_empty = source.apps.is_empty() && source.pending.is_empty();
    let mut entries = Vec::new();
    for name in gone {
        let was_removed = before.get(name).filter(|entered| matches!(entered.declared, Declared::Removed { .. }));
        let entered = match was_removed {
            Some(entered) => entered.clone(),
            None if is_empty && !is_planted(Mutant::EmptyPrunes) => broken(
                before.get(name),
                revision,
                "the repository declares no Application any more; nothing is deleted because of that".to_owned(),
            ),
            None if exceeds => {
                let reason = format!(
                    "{cascading} Applications with deletion: cascade left Git in one commit, more than {REMOVED_MAX} and {REMOVED_PERCENT_MAX} %; nothing is deleted: remove fewer at a time"
                );
                broken(before.get(name), revision, reason)
            }
            None => Entered::bare(Declared::Removed { deletion: deletion(name), revision: revision.clone() }),
        };
        entries.push((name.clone(), entered));
    }
    source.apps.extend(entries);
}
