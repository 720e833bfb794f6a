//! The bare clone of a remote repository, in a folder that may be lost at any time.
//!
//! Enters: an exchange, what to ask for, how much history. Leaves: an opened repository that has that commit. A clone is made
//! in a temporary folder and gets its name, `clone-<number>`, when it is whole; the highest number is the one in use. The
//! one before stays until the next replaces it, for those who still read from it.
//!
//! Each shallow fetch leaves one pack and libgit2 cannot merge them, so after [`PACKS_MAX`] the head alone is packed into
//! a fresh clone beside, without asking the server again: in a quiet moment, or at twice as many. A pack that holds a whole
//! commit is taken over as it is ([`BASE`]), and only what it lacks is packed, so that this costs what changed.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{
    AutotagOption, ErrorClass, ErrorCode, FetchOptions, ObjectType, Odb, OdbLookupFlags, Oid, PackBuilder,
    RemoteCallbacks, Repository,
};
use sha2::{Digest, Sha256};

use super::exchange::Exchange;
use super::{ancestry, resolve, transport};
use crate::model::Reference;
use crate::world::SourceError;

/// Packs are opened and searched one after the other: twice as many cost less than a request.
pub(super) const PACKS_MAX: usize = 16;

/// Git's own file of the commits whose parents were left out.
const SHALLOW: &str = "shallow";

/// Our own file in a clone: the name of a pack that holds all files and folders of some commit.
const BASE: &str = "base";

/// Objects in one pack: 200,000 files with their folders, and the history that proves ancestry.
const OBJECTS_MAX: usize = 4_000_000;

/// Where a fetch puts the head before it is ours.
pub(super) const FETCHED: &str = "refs/tidegate/fetched";

/// Our own name of the head, whatever it is called over there.
const HEAD: &str = "refs/tidegate/head";

/// What libgit2 makes of a server's refusal to send one commit: its own words, or an error where a list was expected.
const REFUSED: [&str; 2] = ["not our ref", "unexpected packet type"];

/// The lock of the store folder is tried this often ...
const LOCK_TRIES_MAX: u32 = 30;
/// ... this far apart: three seconds in all, within the deadline of a poll.
const LOCK_TRY_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// Why a poll failed inside this edge.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The caller is told.
    Source(SourceError),
    /// The clone is not as it should be: a new one may help.
    Store(String),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl Failure {
    /// What the caller is told when nothing more can be tried.
    pub(super) fn into_error(self) -> SourceError {
        match self {
            Self::Source(error) => error,
            Self::Store(reason) => SourceError::Corrupt(reason),
        }
    }
}

/// The clones of one repository.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    number: u64,
    /// Whether the clone in use was found broken. It stays for its readers until another took its place.
    is_broken: bool,
    /// Held for as long as the process lives: two agents would remove each other's clones.
    lock: Option<File>,
}

impl Store {
    /// Names the store; nothing is touched before [`Store::prepare`].
    ///
    /// Each reference of a repository has a clone of its own, so that no two of them wait for each other.
    pub(super) fn new(folder: &Path, url: &str, reference: &Reference) -> Self {
        Self { folder: folder.join(name(url, reference)), number: 0, is_broken: false, lock: None }
    }

    /// Takes the folder over: makes it, locks it, and removes what an earlier run left unfinished.
    pub(super) fn prepare(&mut self) -> Result<(), SourceError> {
        if self.lock.is_some() && self.folder.is_dir() {
            return Ok(());
        }
        let broken = |error: std::io::Error| SourceError::Corrupt(format!("the store cannot be used: {error}"));
        std::fs::create_dir_all(&self.folder).map_err(broken)?;
        let lock = File::create(self.folder.join("lock")).map_err(broken)?;
        match patiently_locked(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(SourceError::Unreachable("another agent uses the store folder".to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(broken(error)),
        }
        self.lock = Some(lock);
        self.number = self.numbers().into_iter().max().unwrap_or(0);
        self.remove_all_but(&[self.number]);
        self.remove_unfinished_packs();
        self.is_broken |= !self.marks_are_commits();
        Ok(())
    }

    /// Whether what the clone says to be shallow are commits. A ref that led to something else was marked as one when a
    /// process was killed while it fetched it, and a server sends nothing to a clone that says so.
    fn marks_are_commits(&self) -> bool {
        let Ok(Some(repository)) = self.open() else { return true };
        let marks = std::fs::read_to_string(repository.path().join(SHALLOW)).unwrap_or_default();
        let mut marks = marks.lines().map(Oid::from_str);
        marks.all(|mark| mark.is_ok_and(|mark| repository.find_commit(mark).is_ok()))
    }

    /// The folder of the clone in use.
    pub(super) fn current(&self) -> Option<PathBuf> {
        Some(self.clone_folder(self.number)).filter(|folder| folder.join("HEAD").is_file())
    }

    /// Makes the next fetch start from nothing.
    pub(super) fn distrust(&mut self) {
        self.is_broken = true;
    }

    /// Whether there is a clone to build on.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_broken && self.current().is_some()
    }

    /// Opens the clone in use, unless it is broken.
    pub(super) fn open(&self) -> Result<Option<Repository>, Failure> {
        let folder = self.current().filter(|_| !self.is_broken);
        folder.map(Repository::open_bare).transpose().map_err(Failure::from)
    }

    /// Fetches a ref or a commit with `depth` generations of history, cloning when there is no clone.
    pub(super) fn fetch(
        &mut self,
        exchange: &Arc<Exchange>,
        want: &str,
        depth: i32,
    ) -> Result<(Repository, Oid), Failure> {
        if let Some(repository) = self.open()? {
            let head = receive(&repository, exchange, want, depth)?;
            return Ok((repository, head));
        }
        let mut head = Oid::ZERO_SHA1;
        self.replace(|fresh| {
            head = receive(fresh, exchange, want, depth)?;
            // A server that has nothing of ours sends everything.
            match packs(fresh.path()).as_slice() {
                [only] => note_base(fresh, only),
                _ => Ok(()),
            }
        })?;
        let repository = self.open()?.ok_or_else(|| Failure::Store("the new clone is gone".to_owned()))?;
        Ok((repository, head))
    }

    /// Points our head at a commit: what the next fetch tells the server that we have.
    pub(super) fn point(&self, repository: &Repository, head: Oid) -> Result<(), Failure> {
        Ok(repository.reference(HEAD, head, true, "poll").map(drop)?)
    }

    /// Packs the head alone into a fresh clone when there are more packs than `packs_max`.
    pub(super) fn compact(&mut self, head: Oid, packs_max: usize) -> Result<(), Failure> {
        if self.current().is_none_or(|folder| packs(&folder).len() <= packs_max) {
            return Ok(());
        }
        let Some(old) = self.open()? else { return Ok(()) };
        self.replace(|fresh| {
            pack(&old, fresh, head)?;
            if ancestry::raw_parents(old.find_commit(head)?.raw_header_bytes()).next().is_some() {
                std::fs::write(fresh.path().join(SHALLOW), format!("{head}\n")).map_err(|error| stuck(&error))?;
            }
            fresh.odb()?.refresh()?;
            fresh.reference(HEAD, head, true, "compact")?;
            Ok(())
        })
    }

    /// Fills a fresh bare repository and puts it into use once it is whole.
    fn replace(&mut self, fill: impl FnOnce(&Repository) -> Result<(), Failure>) -> Result<(), Failure> {
        self.remove_all_but(&[self.number]);
        let unfinished = self.folder.join("unfinished");
        let fresh = Repository::init_bare(&unfinished)?;
        if let Err(failure) = fill(&fresh) {
            drop(fresh);
            self.remove_all_but(&[self.number]);
            return Err(failure);
        }
        drop(fresh);
        std::fs::rename(&unfinished, self.clone_folder(self.number + 1)).map_err(|error| stuck(&error))?;
        self.number += 1;
        self.is_broken = false;
        Ok(())
    }

    fn clone_folder(&self, number: u64) -> PathBuf {
        self.folder.join(format!("clone-{number}"))
    }

    fn numbers(&self) -> Vec<u64> {
        names(&self.folder).filter_map(|name| name.strip_prefix("clone-")?.parse().ok()).collect()
    }

    /// What cannot be removed now is tried again with the next clone.
    fn remove_all_but(&self, numbers: &[u64]) {
        let is_kept = |name: &str| name == "lock" || numbers.iter().any(|number| *name == format!("clone-{number}"));
        for name in names(&self.folder).filter(|name| !is_kept(name)) {
            drop(std::fs::remove_dir_all(self.folder.join(name)));
        }
    }

    /// A process that was killed while it received a pack left it behind under another name.
    fn remove_unfinished_packs(&self) {
        let folder = pack_folder(&self.clone_folder(self.number));
        for name in names(&folder).filter(|name| !name.starts_with("pack-")) {
            drop(std::fs::remove_file(folder.join(name)));
        }
    }
}

/// The name of a repository's folder.
pub(super) fn name(url: &str, reference: &Reference) -> String {
    let hash = Sha256::digest(format!("{url}\n{reference}").as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Removes the folders of repositories that are not `kept`, unless somebody uses them. Only what is surely ours is touched:
/// the folder is a user's choice.
pub(super) fn sweep(folder: &Path, kept: &BTreeSet<String>) {
    let is_name = |name: &String| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    for name in names(folder).filter(|name| is_name(name) && !kept.contains(name)) {
        let unused = folder.join(&name);
        let is_ours = |name: &str| matches!(name, "lock" | "unfinished") || name.starts_with("clone-");
        let Ok(lock) = File::open(unused.join("lock")) else { continue };
        if lock.try_lock().is_ok() && names(&unused).all(|name| is_ours(&name)) {
            tracing::info!(folder = %unused.display(), "a clone that is not used any more is removed");
            drop(std::fs::remove_dir_all(&unused));
        }
    }
}

/// Receives a ref or a commit into a repository and points its head there.
fn receive(repository: &Repository, exchange: &Arc<Exchange>, want: &str, depth: i32) -> Result<Oid, Failure> {
    // Fetched under another name that does not exist yet: what is there afterwards was sent now, and a ref that was
    // deleted since it was asked for is not mistaken for one that stands still.
    if let Ok(mut leftover) = repository.find_reference(FETCHED) {
        leftover.delete()?;
    }
    let is_oversized = Cell::new(false);
    let fetch = || -> Result<(), git2::Error> {
        let mut callbacks = RemoteCallbacks::new();
        callbacks.transfer_progress(|progress| {
            is_oversized.set(progress.total_objects() > OBJECTS_MAX);
            !is_oversized.get()
        });
        let mut options = FetchOptions::new();
        options.remote_callbacks(callbacks).download_tags(AutotagOption::None).update_fetchhead(false).depth(depth);
        // With a plus: rewritten history is taken like any other, and judged by its ancestry.
        repository.remote_anonymous(transport::URL)?.fetch(&[format!("+{want}:{FETCHED}")], Some(&mut options), None)
    };
    let result = transport::with_exchange(exchange, fetch);
    let is_commit = !want.starts_with("refs/");
    if let (true, Err(error)) = (is_commit, &result)
        && (error.class() == ErrorClass::Invalid || REFUSED.iter().any(|part| error.message().contains(part)))
    {
        return Err(resolve::withheld(want).into());
    }
    if let Some(error) = exchange.failure() {
        return Err(Failure::Source(error.clone()));
    }
    if is_oversized.get() {
        return Err(SourceError::TooLarge(format!("the server sends more than {OBJECTS_MAX} objects")).into());
    }
    result.map_err(|error| match error.class() {
        // What the server said makes no sense; that says nothing of our clone.
        ErrorClass::Net | ErrorClass::Http => {
            SourceError::Unreachable(format!("its answer makes no sense: {}", error.message())).into()
        }
        _ => Failure::from(error),
    })?;
    let head = match repository.find_reference(FETCHED) {
        // A server that sent less than it promised is found here, not when a file is read.
        Ok(found) => match found.peel_to_commit() {
            Ok(commit) => commit.id(),
            Err(error) if matches!(error.code(), ErrorCode::Peel | ErrorCode::InvalidSpec) => {
                // It was taken for one, and the clone says now that it is shallow.
                if exchange.foretold().is_some() {
                    return Err(Failure::Store(format!("`{want}` does not lead to a commit")));
                }
                return Err(SourceError::NoReference(format!("`{want}` does not lead to a commit")).into());
            }
            Err(error) => return Err(error.into()),
        },
        Err(error) if error.code() == ErrorCode::NotFound => {
            return Err(SourceError::NoReference(format!("`{want}` was deleted while it was fetched")).into());
        }
        Err(error) => return Err(error.into()),
    };
    repository.reference(HEAD, head, true, "fetch")?;
    Ok(head)
}

/// Packs a commit with all its files, without its history, into a fresh clone.
fn pack(old: &Repository, fresh: &Repository, head: Oid) -> Result<(), Failure> {
    let folder = pack_folder(fresh.path());
    let mut builder = old.packbuilder()?;
    builder.set_threads(1);
    let base = std::fs::read_to_string(old.path().join(BASE)).ok();
    let base = base.filter(|base| packs(old.path()).contains(base));
    let base = base.filter(|base| take_over(base, &pack_folder(old.path()), &folder).is_ok());
    if base.is_some() {
        let there = fresh.odb()?;
        there.refresh()?;
        builder.insert_object(head, None)?;
        insert_missing(old, &there, &mut builder, old.find_commit(head)?.tree_id())?;
    } else {
        builder.insert_commit(head)?;
    }
    builder.write(&folder, 0)?;
    let length = |name: &String| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    match (packs(fresh.path()).as_slice(), base) {
        ([only], _) => note_base(fresh, only),
        // Once much of it is of the past, the next time makes another.
        (all, Some(base)) if all.iter().map(length).sum::<u64>() < 2 * length(&base) => note_base(fresh, &base),
        (_, _) => Ok(()),
    }
}

/// Adds the folders and files of a tree that are not `there`. A folder that is has all that is in it beside it.
fn insert_missing(old: &Repository, there: &Odb<'_>, builder: &mut PackBuilder<'_>, tree: Oid) -> Result<(), Failure> {
    let is_there = |id: Oid| there.exists_ext(id, OdbLookupFlags::NO_REFRESH);
    if is_there(tree) {
        return Ok(());
    }
    builder.insert_object(tree, None)?;
    for entry in &old.find_tree(tree)? {
        match entry.kind() {
            Some(ObjectType::Tree) => insert_missing(old, there, builder, entry.id())?,
            Some(ObjectType::Blob) if !is_there(entry.id()) => builder.insert_object(entry.id(), None)?,
            // A submodule is a commit of another repository.
            _ => {}
        }
    }
    Ok(())
}

/// Takes a pack and its index over from the clone before.
fn take_over(pack: &str, from: &Path, to: &Path) -> std::io::Result<()> {
    for name in [pack.to_owned(), pack.replace(".pack", ".idx")] {
        let (from, to) = (from.join(&name), to.join(&name));
        // Not every file system has links.
        std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(&from, &to).map(drop))?;
    }
    Ok(())
}

fn note_base(clone: &Repository, pack: &str) -> Result<(), Failure> {
    std::fs::write(clone.path().join(BASE), pack).map_err(|error| stuck(&error))
}

fn pack_folder(clone: &Path) -> PathBuf {
    clone.join("objects").join("pack")
}

fn packs(clone: &Path) -> Vec<String> {
    names(&pack_folder(clone)).filter(|name| name.ends_with(".pack")).collect()
}

fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn stuck(error: &std::io::Error) -> Failure {
    Failure::Store(format!("the store cannot be written: {error}"))
}

/// A holder that is just ending gives the lock back within moments: a restart is no second agent.
fn patiently_locked(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..LOCK_TRIES_MAX {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_TRY_EVERY),
            taken => return taken,
        }
    }
    lock.try_lock()
}
