//! The person's own `git`: their credential helpers, their ssh agent, their signing, their hooks. Enters: a clone. Leaves:
//! what `git` said.
//!
//! This is the one place of the program that starts a process, and only a person's command comes here: the agent has none.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow, bail, ensure};

/// A clone with a working tree.
pub(super) struct Clone {
    /// Its root.
    pub(super) root: PathBuf,
}

/// Where a branch is pushed to.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) remote: String,
    /// The reference there, such as `refs/heads/main`.
    pub(super) reference: String,
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.remote, self.reference.trim_start_matches("refs/heads/"))
    }
}

/// What became of a push.
#[derive(Debug)]
pub(super) enum Push {
    /// It is there.
    Done,
    /// Somebody else pushed before, as it seems; what `git` said.
    Behind(String),
    /// It may not be there, or nobody could be asked; what `git` said.
    Refused(String),
}

/// What a run of `git` came to.
struct Run {
    is_ok: bool,
    out: String,
    err: String,
}

impl Clone {
    /// The clone that a folder lies in.
    pub(super) fn find(path: &Path) -> anyhow::Result<Self> {
        let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
        let run = run(folder, &["rev-parse", "--show-toplevel"])?;
        ensure!(run.is_ok, "{} lies in no clone with a working tree: {}", path.display(), run.err.trim());
        Ok(Self { root: PathBuf::from(run.out.trim_end_matches(['\n', '\r'])) })
    }

    /// Changes of the file that are not committed; empty when there are none.
    pub(super) fn changes(&self, file: &str) -> anyhow::Result<String> {
        self.ask(&["status", "--porcelain", "--untracked-files=all", "--ignored", "--", &literal(file)])
    }

    /// The commit that the working tree is of.
    pub(super) fn head(&self) -> anyhow::Result<String> {
        self.ask(&["rev-parse", "--verify", "HEAD^{commit}"])
    }

    /// The file of the index.
    pub(super) fn index(&self) -> anyhow::Result<PathBuf> {
        Ok(self.root.join(self.ask(&["rev-parse", "--git-path", "index"])?))
    }

    /// Where the current branch is pushed to. Commits that wait to be pushed would go along: there may be none.
    pub(super) fn upstream(&self) -> anyhow::Result<Upstream> {
        let branch = self.ask(&["symbolic-ref", "--quiet", "--short", "HEAD"]).map_err(|_| {
            anyhow!("HEAD is on no branch: check out the one that the agent follows, or use `--push=false`")
        })?;
        let setting = |key: &str| self.ask(&["config", "--get", &format!("branch.{branch}.{key}")]);
        let (Ok(remote), Ok(reference)) = (setting("remote"), setting("merge")) else {
            bail!("branch `{branch}` has no upstream: `git push -u origin {branch}` sets one, or use `--push=false`");
        };
        let ahead = self.ask(&["rev-list", "--count", "@{upstream}..HEAD"])?;
        ensure!(
            ahead == "0",
            "branch `{branch}` is {ahead} commits ahead of its upstream, which a push would take along: push them first, or use \
             `--push=false`"
        );
        Ok(Upstream { remote, reference })
    }

    /// Commits this file alone, whatever else is staged; gives the commit's id.
    pub(super) fn commit(&self, file: &str, message: &str) -> anyhow::Result<String> {
        self.ask(&["commit", "--quiet", "--only", "--message", message, "--", &literal(file)])?;
        self.head()
    }

    /// Pushes a commit.
    pub(super) fn push(&self, commit: &str, upstream: &Upstream) -> anyhow::Result<Push> {
        let target = format!("{commit}:{}", upstream.reference);
        let run = run(&self.root, &["push", "--porcelain", &upstream.remote, &target])?;
        if run.is_ok {
            return Ok(Push::Done);
        }
        let refused: Vec<&str> = run.out.lines().filter(|line| line.starts_with('!')).collect();
        // The first two are this program's view, the others the server's, when two pushes meet there.
        let races =
            ["(fetch first)", "(non-fast-forward)", "cannot lock ref", "failed to update ref", "incorrect old value"];
        let is_race = refused.iter().any(|line| races.iter().any(|race| line.contains(race)));
        let said: Vec<&str> = run.err.lines().chain(refused).filter(|line| !line.starts_with("hint:")).collect();
        let said = said.join("\n").trim().to_owned();
        Ok(if is_race { Push::Behind(said) } else { Push::Refused(said) })
    }

    /// Takes in what others pushed, when no local change is in the way.
    pub(super) fn follow(&self, upstream: &Upstream) -> anyhow::Result<()> {
        self.ask(&["fetch", "--quiet", &upstream.remote, &upstream.reference])?;
        self.ask(&["merge", "--quiet", "--ff-only", "FETCH_HEAD"]).map(drop)
    }

    /// A commit as a patch that `git am` takes.
    pub(super) fn patch(&self, commit: &str) -> anyhow::Result<String> {
        let run = run(&self.root, &["format-patch", "-1", "--stdout", commit])?;
        ensure!(run.is_ok, "git format-patch: {}", run.err.trim());
        Ok(run.out)
    }

    /// Moves the branch from a commit back to the one before, and touches no file.
    pub(super) fn move_back(&self, to: &str, from: &str) -> anyhow::Result<()> {
        self.ask(&["update-ref", "-m", "tidegate deploy: undone", "HEAD", to, from]).map(drop)
    }

    /// Moves branch and working tree to a commit; local changes stay, or it fails.
    pub(super) fn reset(&self, to: &str) -> anyhow::Result<()> {
        self.ask(&["reset", "--quiet", "--keep", to]).map(drop)
    }

    /// Runs `git`; what it printed, or what it complained about.
    fn ask(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let run = run(&self.root, arguments)?;
        let what = arguments.first().copied().unwrap_or_default();
        let said = format!("{}\n{}", run.err.trim(), run.out.trim());
        ensure!(run.is_ok, "git {what}: {}", said.trim());
        Ok(run.out.trim_end_matches(['\n', '\r']).to_owned())
    }
}

/// A path that is no pattern, whatever it is called.
fn literal(file: &str) -> String {
    format!(":(top,literal){file}")
}

fn run(folder: &Path, arguments: &[&str]) -> anyhow::Result<Run> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        // What it says is read here: in English.
        .env("LC_ALL", "C")
        .stdin(Stdio::inherit())
        .output()
        .context("failed to start `git`: is it installed?")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Run { is_ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) })
}
