//! From a commit to what it declares: which files are read again, which apps render again.
//!
//! Work is proportional to what changed: a file is parsed again when its blob changes, an app renders again when a blob
//! under its source path or a field that rendering reads changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::declaring::{declare, names};
use super::guard::{Vouched, guard};
use super::rendering::{Followed, enter};
use crate::declare::{Declarations, ParsedFile, Problem};
use crate::model::{
    AppName, AppSigners, Application, Declared, Deletion, Digest, Elsewhere, Object, Release, Revision,
};
use crate::mutants::{Mutant, is_planted};
use crate::telemetry::Telemetry;
use crate::world::{BlobId, Files, Kinds, Snapshot, SourceError, World};

/// What a commit with more changed paths than this leaves as it is is not looked for.
const CHANGED_MAX: usize = 200;
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
    /// What we wrote last to remember a commit by.
    pub(super) remembered: Option<Object>,
    pub(super) files: Arc<Files>,
    /// Whether all of what follows is of these files: the last read did not end half-way.
    is_whole: bool,
    /// The YAML files that were looked at, in which content.
    pub(super) looked_at: BTreeMap<String, BlobId>,
    /// Those among them that declare something.
    pub(super) parsed: BTreeMap<String, Arc<ParsedFile>>,
    /// Paths of those that cannot be looked at any more.
    pub(super) refused: Vec<String>,
    /// What those declare together.
    pub(super) declared: Declarations,
    /// What the API server knew at the last read.
    kinds: Option<Arc<Kinds>>,
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
    pub(super) kinds: &'a Arc<Kinds>,
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
    let files_before = Arc::clone(&source.files);
    if let Some(snapshot) = snapshot {
        source.files = Arc::clone(&snapshot.files);
        source.revision = Some(snapshot.revision.clone());
        source.signers = Arc::clone(&snapshot.signers);
    }
    let Some(revision) = source.revision.clone() else { return Ok(()) };
    let changed = snapshot.and_then(|snapshot| snapshot.changed.as_deref());
    let was_whole = std::mem::replace(&mut source.is_whole, false);
    let changed = changed.filter(|changed| was_whole && changed.len() <= CHANGED_MAX);
    let gone = declare(source, reading, changed, &files_before).await?;
    drop(files_before);
    let has_same_kinds = source.kinds.as_ref().is_some_and(|kinds| Arc::ptr_eq(kinds, reading.kinds));
    source.kinds = Some(Arc::clone(reading.kinds));
    // Who signs is judged anew with each head.
    let changed = changed.filter(|_| has_same_kinds && source.signers.rules.is_empty());
    let count = if gone.is_empty() { 0 } else { names(source, reading).collect::<BTreeSet<_>>().len() };
    source.using = using(&source.declared.apps, &source.using);
    let mut before: BTreeMap<_, _> = gone.iter().filter_map(|name| source.apps.remove_entry(name)).collect();
    let mut entering = Vec::new();
    for (name, result) in &source.declared.apps {
        let entered = source.apps.get(name);
        if !changed.is_some_and(|changed| entered.is_some_and(|entered| stays(entered, result.as_ref().ok(), changed)))
        {
            before.extend(source.apps.remove_entry(name));
            entering.push((name.clone(), result.clone()));
        }
    }
    let entered = match enter_all(entering, source, reading, &revision, &before).await {
        Ok(entered) => entered,
        Err(error) => {
            source.apps.extend(before);
            return Err(error);
        }
    };
    source.pending.clear();
    source.joined = entered.iter().map(|(name, _)| name).filter(|name| !before.contains_key(*name)).cloned().collect();
    let mut touched = gone.clone();
    for (name, entered) in entered {
        let entered = entered.or_else(|declared| {
            source.pending.insert(name.clone(), declared);
            before.get(&name).filter(|entered| application(&entered.declared).is_some()).cloned().ok_or(())
        });
        source.apps.extend(entered.ok().map(|entered| (name.clone(), entered)));
        touched.insert(name);
    }
    source.joined.retain(|name| source.apps.contains_key(name));
    source.may_be_retried = source.apps.values().any(|entered| entered.may_be_retried);
    remove(source, reading, &before, (&gone, count), &revision);
    guard(source, &before, &revision);
    touched.retain(|name| match (before.get(name), source.apps.get(name)) {
        (Some(one), Some(other)) => one.declared != other.declared || one.rendered_from != other.rendered_from,
        (_, one) => one.is_some(),
    });
    source.changed = touched;
    source.is_whole = true;
    Ok(())
}

/// Whether a commit that changes these paths leaves an app as it is: its declaration is the same, and it renders from
/// nothing that is another.
fn stays(entered: &Entered, declared: Option<&Arc<Application>>, changed: &[String]) -> bool {
    let (Declared::Ready { application, .. }, Some(declared)) = (&entered.declared, declared) else { return false };
    // What else belongs to it is told by what those files say, by another repository, or by the cluster.
    let is_alone = entered.followed.is_empty()
        && declared.elsewhere().next().is_none()
        && declared.substitute.from.is_empty()
        && !entered.may_be_retried;
    let lies_in = |path: &str, folder: &str| {
        folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let is_read = |path: &String| {
        let mut sources = declared.sources.iter();
        sources.any(|source| lies_in(path, &source.path) || source.helm.values_files.contains(path))
    };
    Arc::ptr_eq(application, declared) && entered.release.is_some() && is_alone && !changed.iter().any(is_read)
}

/// An Application, or what is wrong with it.
type Judged = Result<Arc<Application>, Vec<Problem>>;

/// What becomes of each app that is declared; an Application alone while another repository that it needs was never
/// fetched.
async fn enter_all<W: World>(
    declared: Vec<(AppName, Judged)>,
    source: &Source,
    reading: &Reading<'_, W>,
    revision: &Revision,
    before: &BTreeMap<AppName, Entered>,
) -> Result<Vec<(AppName, Result<Entered, Arc<Application>>)>, SourceError> {
    let files = &*source.files;
    let entering = declared.into_iter().map(|(name, result)| async move {
        let entered = match result {
            Ok(application) => match enter(files, reading, revision, &application, before.get(&name)).await? {
                Some(entered) => Ok(entered),
                None => Err(application),
            },
            Err(problems) => {
                let reason = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                Ok(broken(before.get(&name), revision, reason))
            }
        };
        Ok((name, entered))
    });
    stream::iter(entering).buffered(RENDERS_MAX).try_collect().await
}

/// A declaration that cannot be read changes nothing of what is followed.
fn using<P>(
    declared: &BTreeMap<AppName, Result<Arc<Application>, P>>,
    before: &BTreeMap<AppName, Arc<Application>>,
) -> BTreeMap<AppName, Arc<Application>> {
    let last = |(name, result): (&AppName, &Result<Arc<Application>, P>)| {
        let application = result.as_ref().ok().or_else(|| before.get(name))?;
        application.elsewhere().next()?;
        Some((name.clone(), Arc::clone(application)))
    };
    declared.iter().filter_map(last).collect()
}

pub(super) fn application(declared: &Declared) -> Option<&Arc<Application>> {
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

/// Apps that are certainly gone from Git, of `count` in all; too many at once, or all of them, pause instead (S7).
fn remove<W>(
    source: &mut Source,
    reading: &Reading<'_, W>,
    before: &BTreeMap<AppName, Entered>,
    (names, count): (&BTreeSet<AppName>, usize),
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
    let exceeds = cascading > REMOVED_MAX && cascading * 100 > count * REMOVED_PERCENT_MAX;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ReleaseRef, SubstituteFrom, SubstituteKind};
    use crate::status::fixture;

    /// Whether an app whose entry and declaration somebody edits stays as it is when `path` changes.
    fn stays_when(path: &str, edit: impl FnOnce(&mut Application, &mut Entered)) -> bool {
        let mut application = fixture::application("shop");
        let target =
            ReleaseRef { digest: Digest([1; 32]), attempt: 0, version: "1".to_owned(), revision: Revision::default() };
        let release = Release { app: "shop".into(), reference: target.clone(), objects: BTreeMap::new() };
        let declared = Declared::Ready { application: Arc::new(application.clone()), target };
        let mut entered = Entered { release: Some(Arc::new(release)), ..Entered::bare(declared) };
        application.sources[0].helm.values_files = vec!["values/shop.yaml".to_owned()];
        edit(&mut application, &mut entered);
        let application = Arc::new(application);
        if let Declared::Ready { application: known, .. } = &mut entered.declared {
            *known = Arc::clone(&application);
        }
        stays(&entered, Some(&application), &[path.to_owned()])
    }

    #[test]
    fn a_commit_leaves_alone_who_reads_nothing_of_what_it_changes() {
        for (path, expected) in [
            ("apps/shop/web.yaml", false),
            ("apps/shop/charts/a/values.yaml", false),
            ("apps/shop", false),
            ("values/shop.yaml", false),
            ("values/shop.yaml.old", true),
            ("apps/shopping/web.yaml", true),
            ("apps/web.yaml", true),
            ("shop/web.yaml", true),
        ] {
            assert_eq!(stays_when(path, |_, _| {}), expected, "{path}");
        }
        let path = "elsewhere.yaml";
        assert!(stays_when(path, |_, _| {}));
        assert!(!stays_when(path, |application, _| application.sources[0].path.clear()), "it reads all folders");
        assert!(!stays_when(path, |_, entered| entered.release = None));
        assert!(!stays_when(path, |_, entered| entered.may_be_retried = true));
        assert!(!stays_when(path, |_, entered| {
            entered.followed.insert((0, "apps/shop/kustomization.yaml".to_owned()), (BlobId(String::new()), [].into()));
        }));
        let from = SubstituteFrom { kind: SubstituteKind::ConfigMap, name: "a".to_owned(), is_optional: false };
        assert!(
            !stays_when(path, |application, _| application.substitute.from.push(from)),
            "the cluster may have changed"
        );
        assert!(!stays_when(path, |application, _| {
            let repository = "https://git.example/x".to_owned();
            application.sources[0].elsewhere =
                Some(Elsewhere { repository, revision: crate::model::Reference::Default });
        }));
    }

    #[test]
    fn who_is_declared_in_another_way_or_could_not_be_read_does_not_stay() {
        let entered = Entered::bare(Declared::Broken { last: None, revision: None, reason: String::new() });
        let application = Arc::new(fixture::application("shop"));
        assert!(!stays(&entered, Some(&application), &[]));
        let target =
            ReleaseRef { digest: Digest([1; 32]), attempt: 0, version: "1".to_owned(), revision: Revision::default() };
        let ready = Entered::bare(Declared::Ready { application: Arc::clone(&application), target: target.clone() });
        let release = Arc::new(Release { app: "shop".into(), reference: target, objects: BTreeMap::new() });
        let ready = Entered { release: Some(release), ..ready };
        assert!(stays(&ready, Some(&application), &[]));
        assert!(!stays(&ready, None, &[]));
        assert!(!stays(&ready, Some(&Arc::new(fixture::application("shop"))), &[]), "it was read anew");
    }
}
