//! A Git repository as its users know it: a working copy driven by the `git` program, pushed to a bare remote that the
//! control plane's Git server serves over smart HTTP.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI64, Ordering};

/// The first commit's time; each later one is a second younger, so that ids do not depend on the clock.
const FIRST_COMMIT_SECONDS: i64 = 1_750_000_000;

/// A working copy with its remote.
pub(crate) struct Repo {
    folder: PathBuf,
    bare: PathBuf,
    commits: AtomicI64,
}

impl Repo {
    /// Creates an empty bare repository and an empty working copy on `main`.
    pub(crate) fn create(folder: &Path, bare: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("the session folder can be written");
        let repo = Self { folder: folder.to_owned(), bare: bare.to_owned(), commits: AtomicI64::new(0) };
        let (remote, copy) = (bare.to_str().expect("paths are text"), folder.to_str().expect("paths are text"));
        repo.git(&["init", "--quiet", "--bare", "--initial-branch=main", remote]);
        repo.git(&["init", "--quiet", "--initial-branch=main", copy]);
        repo.git(&["remote", "add", "origin", remote]);
        repo
    }

    /// The working copy.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file of the working copy.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.folder.join(path);
        std::fs::create_dir_all(file.parent().expect("a file lies in a folder")).expect("the copy can be written");
        std::fs::write(file, text).expect("the working copy can be written");
    }

    /// Reads a file of the working copy.
    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Removes a file or folder of the working copy.
    pub(crate) fn remove(&self, path: &str) {
        self.git(&["rm", "--quiet", "-r", path]);
    }

    /// Replaces text in a file, which must be there.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} does not contain {from:?}:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    /// Edits the one line that users bump: `version:` in `apps/<app>.yaml`. Commits and pushes it.
    #[track_caller]
    pub(crate) fn bump(&self, app: &str, version: &str) -> String {
        self.bump_in(&format!("apps/{app}.yaml"), app, version)
    }

    /// As [`Repo::bump`], for an app that is declared in `path`.
    #[track_caller]
    pub(crate) fn bump_in(&self, path: &str, app: &str, version: &str) -> String {
        self.edit_version(path, version);
        self.commit_and_push(&format!("{app} {version}"))
    }

    /// Edits the `version:` line of a file, without a commit.
    pub(crate) fn edit_version(&self, path: &str, version: &str) {
        let text = self.read(path);
        let line = text.lines().find(|line| line.trim_start().starts_with("version:")).expect("the app has a version");
        let indent = &line[..line.len() - line.trim_start().len()];
        self.write(path, &text.replace(line, &format!("{indent}version: {version}")));
    }

    /// Commits everything; gives the commit's id.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.head()
    }

    /// Commits everything and pushes it.
    pub(crate) fn commit_and_push(&self, message: &str) -> String {
        let id = self.commit(message);
        self.push();
        id
    }

    /// `git revert` of a commit, pushed; gives the new commit's id.
    pub(crate) fn revert(&self, id: &str) -> String {
        self.git(&["revert", "--no-edit", id]);
        self.push();
        self.head()
    }

    /// Pushes the working copy's branch.
    pub(crate) fn push(&self) {
        self.git(&["push", "--quiet", "origin", "HEAD"]);
    }

    /// Rewrites history: the branch goes back to `id`, whatever came after.
    pub(crate) fn force_push_back_to(&self, id: &str) {
        self.git(&["reset", "--quiet", "--hard", id]);
        self.git(&["push", "--quiet", "--force", "origin", "HEAD"]);
    }

    /// Deletes a branch of the remote.
    pub(crate) fn delete_remote_branch(&self, branch: &str) {
        // A server would refuse to delete the branch that its HEAD names: an administrator's doing.
        let git_dir = format!("--git-dir={}", self.bare.display());
        self.git(&[&git_dir, "update-ref", "-d", &format!("refs/heads/{branch}")]);
    }

    /// The commit that the working copy is at.
    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs `git` in the working copy, the same on every machine.
    #[track_caller]
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let seconds = FIRST_COMMIT_SECONDS + self.commits.fetch_add(1, Ordering::Relaxed);
        let date = format!("{seconds} +0000");
        let output = Command::new("git")
            .args(arguments)
            .current_dir(&self.folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .envs([("GIT_AUTHOR_NAME", "Ada"), ("GIT_AUTHOR_EMAIL", "ada@example.com"), ("GIT_AUTHOR_DATE", &date)])
            .envs([("GIT_COMMITTER_NAME", "Ada"), ("GIT_COMMITTER_EMAIL", "ada@example.com")])
            .env("GIT_COMMITTER_DATE", &date)
            .output()
            .expect("git is installed");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {} failed: {error}", arguments.join(" "));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
