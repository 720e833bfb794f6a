//! Raw trees and commits, as no Git client would write them -> snapshots, through the real Git edge on a local repository.
//!
//! What must hold: it never panics or hangs; no path leads out of its folder or into `.git`; the files of a commit after
//! another are those that are found without it; and exactly the paths that differ are said to differ.
#![no_main]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid, Repository};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tidegate::config::GitAccess;
use tidegate::edge::git::{Commit, GitSettings, GitSource};
use tidegate::model::Reference;
use tidegate::world::{BlobId, Entry, Files, Polled, Snapshot};

/// After so many inputs the repository begins anew: objects pile up.
const INPUTS_MAX: u32 = 2000;

struct Scene {
    runtime: tokio::runtime::Runtime,
    folder: TempDir,
    source: GitSource,
    inputs: u32,
}

impl Scene {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("there is room for a folder");
        Repository::init_bare(folder.path().join("it.git")).expect("there is room for a repository");
        let settings = GitSettings {
            repository: folder.path().join("it.git").display().to_string(),
            reference: Reference::Branch("main".to_owned()),
            access: GitAccess::default(),
            store: folder.path().join("store"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let source = GitSource::open(settings).expect("a path is a place");
        Self { runtime, folder, source, inputs: 0 }
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("it.git")
    }
}

thread_local! {
    static SCENE: std::cell::RefCell<Scene> = std::cell::RefCell::new(Scene::new());
}

fuzz_target!(|data: &[u8]| {
    SCENE.with_borrow_mut(|scene| {
        scene.inputs += 1;
        if scene.inputs > INPUTS_MAX {
            *scene = Scene::new();
        }
        tell(scene, data);
    });
});

/// Reads a number, a name and the like off the input.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Makes objects of the input, each free to name any made before it, and some commits; then polls commit by commit.
fn tell(scene: &Scene, data: &[u8]) {
    let Ok(repository) = Repository::open_bare(scene.repository()) else { return };
    let Ok(odb) = repository.odb() else { return };
    let write = |kind, bytes: &[u8]| odb.write(kind, bytes).ok();
    let mut made: Vec<Oid> = vec![Oid::ZERO_SHA1];
    made.extend(write(ObjectType::Blob, b"kind: ConfigMap\n"));
    made.extend(write(ObjectType::Tree, b""));
    let mut commits = Vec::new();
    let mut reader = Reader(data);
    while let Some(what) = reader.byte() {
        if made.len() > 64 || commits.len() > 4 {
            break;
        }
        let written = match what % 4 {
            0 => {
                let length = usize::from(reader.byte().unwrap_or(0));
                write(ObjectType::Blob, reader.take(length))
            }
            1 | 2 => tree(&mut reader, &made).and_then(|bytes| write(ObjectType::Tree, &bytes)),
            _ => {
                let tree = pick(&mut reader, &made);
                let parent = commits.last().map(|id| format!("parent {id}\n")).unwrap_or_default();
                let mut bytes = format!("tree {tree}\n{parent}").into_bytes();
                let length = usize::from(reader.byte().unwrap_or(0));
                match length {
                    0..128 => bytes.extend_from_slice(b"author Ada <a@b> 1 +0000\ncommitter Ada <a@b> 1 +0000\n\nx\n"),
                    _ => bytes.extend_from_slice(reader.take(length - 128)),
                }
                let commit = write(ObjectType::Commit, &bytes);
                commits.extend(commit);
                commit
            }
        };
        made.extend(written);
    }
    if commits.is_empty() {
        let commit = format!("tree {}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\nx\n", made[made.len() - 1]);
        commits.extend(write(ObjectType::Commit, commit.as_bytes()));
    }
    let mut before: Option<(String, Snapshot)> = None;
    for commit in commits {
        if std::fs::write(scene.repository().join("refs/heads/main"), format!("{commit}\n")).is_err() {
            return;
        }
        let known = before.as_ref().map(|(id, _)| id.as_str());
        let polled = scene.runtime.block_on(scene.source.poll(known, known));
        let alone = Commit::find(&scene.repository(), &commit.to_string());
        match polled {
            Ok(Polled::Moved(snapshot)) => {
                let alone = alone.expect("what was polled can be found");
                assert_eq!(*snapshot.files, alone.files, "other files than without the commit before");
                judge(scene, before.as_ref().map(|(_, snapshot)| &*snapshot.files), &snapshot);
                before = Some((commit.to_string(), snapshot));
            }
            Ok(Polled::Unchanged) => assert_eq!(known, Some(commit.to_string().as_str())),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn pick(reader: &mut Reader<'_>, made: &[Oid]) -> Oid {
    made[usize::from(reader.byte().unwrap_or(0)) % made.len()]
}

/// The bytes of a tree: any modes, any names, any order.
fn tree(reader: &mut Reader<'_>, made: &[Oid]) -> Option<Vec<u8>> {
    const MODES: [&str; 8] = ["100644", "100755", "40000", "040000", "120000", "160000", "100664", "777777"];
    let mut bytes = Vec::new();
    for _ in 0..reader.byte()? % 16 {
        let shape = reader.byte()?;
        let mode = MODES[usize::from(shape % 8)];
        let length = usize::from(shape / 8);
        let name = reader.take(length);
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(pick(reader, made).as_bytes());
    }
    // And what is no tree at all.
    if reader.byte().is_some_and(|byte| byte > 240) {
        bytes.extend_from_slice(reader.take(8));
    }
    Some(bytes)
}

fn judge(scene: &Scene, before: Option<&Files>, snapshot: &Snapshot) {
    let mut blobs: Vec<BlobId> = Vec::new();
    for (path, entry) in snapshot.files.iter() {
        let is_inside =
            path.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.eq_ignore_ascii_case(".git"));
        assert!(is_inside && !path.contains('\0'), "{path:?}");
        if let Entry::File { blob, .. } = entry {
            blobs.push(blob.clone());
        }
    }
    let contents = scene.runtime.block_on(scene.source.read(&blobs)).expect("what is listed can be read");
    assert_eq!(contents.len(), blobs.len());
    let (Some(before), Some(changed)) = (before, &snapshot.changed) else { return };
    let said: BTreeSet<&str> = changed.iter().map(String::as_str).collect();
    let all: BTreeSet<&str> = before.keys().chain(snapshot.files.keys()).map(String::as_str).collect();
    for path in all {
        let is_changed = before.get(path) != snapshot.files.get(path);
        // A mode may change alone.
        assert!(!is_changed || said.contains(path), "{path:?} changed, and nobody says so");
    }
    for path in said {
        assert!(before.contains_key(path) || snapshot.files.contains_key(path), "{path:?} is in neither");
    }
}
