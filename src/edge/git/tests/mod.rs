//! Tests over real parts: `git` makes the repositories, `git http-backend` serves them, libgit2 reads them.

mod access;
mod authority;
mod clones;
mod github;
mod hostile;
mod local;
mod lying;
mod others;
mod proxy;
mod references;
mod remote;
mod server;
mod ssh;
mod sshd;
mod trees;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use self::server::Server;
use super::{GitSettings, GitSource, LIMITS, Limits};
use crate::config::GitAccess;
use crate::model::Reference;
use crate::world::{BlobId, Entry, Polled, Snapshot, SourceError};

/// A bare repository to serve, the work tree that commits to it, and a folder for clones.
struct Fixture {
    folder: TempDir,
}

impl Fixture {
    /// An empty repository.
    fn empty() -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["served", "work", "store", "credentials"] {
            std::fs::create_dir(fixture.path(name)).unwrap();
        }
        git(&fixture.path("served"), &["init", "-q", "--bare", "-b", "main", "repository.git"]);
        git(&fixture.path("work"), &["init", "-q", "-b", "main", "."]);
        fixture.git(&["remote", "add", "origin", fixture.path("served/repository.git").to_str().unwrap()]);
        fixture
    }

    /// A repository with one commit that is already served.
    fn new() -> Self {
        let fixture = Self::empty();
        fixture.write("app/web.yaml", "version: 1\n");
        fixture.write("readme", "hello\n");
        fixture.commit("first");
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(&self.path("work"), arguments)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path("work").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits everything, pushes it by force, and returns the commit.
    fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.push()
    }

    fn push(&self) -> String {
        self.git(&["push", "-q", "-f", "origin", "main"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    fn settings(&self, repository: &str) -> GitSettings {
        GitSettings {
            repository: repository.to_owned(),
            reference: Reference::Branch("main".to_owned()),
            access: GitAccess::default(),
            store: self.path("store"),
        }
    }

    fn open(&self, server: &Server) -> GitSource {
        GitSource::open(self.settings(&server.url())).unwrap()
    }

    /// What Git says about the files of the work tree's head: path, kind and content.
    fn listed(&self) -> Vec<(String, String, String)> {
        let line = |line: &str| {
            let (head, path) = line.split_once('\t').unwrap();
            let mut words = head.split_whitespace();
            let [mode, _, id] = [(); 3].map(|()| words.next().unwrap().to_owned());
            let size = words.next().unwrap();
            match mode.as_str() {
                "120000" => (path.to_owned(), "link".to_owned(), String::new()),
                "160000" => (path.to_owned(), "submodule".to_owned(), String::new()),
                _ => (path.to_owned(), id, size.to_owned()),
            }
        };
        let text = self.git(&["ls-tree", "-r", "-l", "-z", "HEAD"]);
        let mut lines: Vec<_> = text.split_terminator('\0').map(line).collect();
        lines.sort();
        lines
    }
}

fn files(snapshot: &Snapshot) -> Vec<(String, String, String)> {
    let line = |(path, entry): (&String, &Entry)| match entry {
        Entry::File { blob, bytes } => (path.clone(), blob.0.clone(), bytes.to_string()),
        Entry::Link => (path.clone(), "link".to_owned(), String::new()),
        Entry::Submodule => (path.clone(), "submodule".to_owned(), String::new()),
    };
    snapshot.files.iter().map(line).collect()
}

/// Runs `git` away from the user's own configuration.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.com", "-c", "gc.auto=0"];
    let output = Command::new("git")
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z")
        .env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z")
        .args(identity)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn blob(entry: &Entry) -> BlobId {
    match entry {
        Entry::File { blob, .. } => blob.clone(),
        Entry::Link | Entry::Submodule => panic!("not a file"),
    }
}

fn moved(polled: Result<Polled, SourceError>) -> Snapshot {
    match polled {
        Ok(Polled::Moved(snapshot)) => snapshot,
        other => panic!("{other:?} instead of a snapshot"),
    }
}

/// Limits of time that a test can wait for.
const IMPATIENT: Limits = Limits { idle: Duration::from_millis(300), ..LIMITS };
