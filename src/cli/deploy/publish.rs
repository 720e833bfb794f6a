//! An edit -> a commit, and a push. Enters: a clone and an edit. Leaves: the commit at its upstream, or the clone as it was,
//! down to what was staged.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};

use super::bump::{self, Bump};
use super::git::{Clone, Push, Upstream};

/// Times that others may be faster.
const ATTEMPTS_MAX: usize = 3;

/// What became of an edit.
#[derive(Debug)]
pub(super) enum Published {
    /// It is committed, and nobody wanted a push.
    Committed(String),
    /// It is at the upstream.
    Pushed { commit: String, upstream: String },
    /// The upstream does not take it: the patch, and what was said.
    Refused { patch: String, reason: String },
}

/// A clone before an attempt.
struct Saved {
    head: String,
    index: Vec<u8>,
}

/// That no change of somebody's own would enter the commit unasked.
pub(super) fn refuse_dirty(clone: &Clone, bump: &Bump, allow: bool) -> anyhow::Result<()> {
    let changes = clone.changes(&bump.file)?;
    ensure!(
        !changes.starts_with("??") && !changes.starts_with("!!"),
        "{} is not in Git yet: add and commit it first",
        bump.file
    );
    ensure!(
        allow || changes.is_empty(),
        "{} has changes that are not committed: commit them first, or take them along with `--allow-dirty`",
        bump.file
    );
    Ok(())
}

/// Commits, and pushes if wanted.
pub(super) fn publish(
    clone: &Clone,
    path: &Path,
    bump: &Bump,
    message: Option<&str>,
    is_pushed: bool,
) -> anyhow::Result<Published> {
    let message = message.map_or_else(|| format!("{}: {} -> {}", bump.app, bump.from, bump.to), str::to_owned);
    if !is_pushed {
        return Ok(Published::Committed(commit(clone, bump, &message)?.1));
    }
    let upstream = clone.upstream()?;
    let first = Saved::of(clone)?;
    let mut later: Option<Bump> = None;
    for attempt in 1..=ATTEMPTS_MAX {
        let bump = later.as_ref().unwrap_or(bump);
        let made = commit(clone, bump, &message);
        let (saved, commit) = made.inspect_err(|_| first.restore(clone))?;
        match clone.push(&commit, &upstream)? {
            Push::Done => return Ok(Published::Pushed { commit, upstream: upstream.to_string() }),
            Push::Refused(reason) => {
                let patch = clone.patch(&commit)?;
                saved.undo(clone, bump, &commit)?;
                first.restore(clone);
                return Ok(Published::Refused { patch, reason });
            }
            Push::Behind(reason) => {
                saved.undo(clone, bump, &commit)?;
                if attempt == ATTEMPTS_MAX {
                    break;
                }
                let again = after_others(clone, path, bump, &upstream);
                later = Some(again.inspect_err(|_| first.restore(clone))?);
                // Nobody was faster: the server cannot, or does not want to.
                if clone.head()? == saved.head {
                    first.restore(clone);
                    return Ok(Published::Refused { patch: clone.patch(&commit)?, reason });
                }
            }
        }
    }
    first.restore(clone);
    bail!("{ATTEMPTS_MAX} times somebody else pushed to {upstream} first; nothing was changed: try again")
}

/// The same edit on top of what others pushed.
fn after_others(clone: &Clone, path: &Path, bump: &Bump, upstream: &Upstream) -> anyhow::Result<Bump> {
    clone.follow(upstream).context("others pushed before, and this clone cannot follow; nothing was changed")?;
    let again = bump::find(&clone.root, path, &bump.app, &bump.to)
        .with_context(|| format!("what others pushed to {upstream} leaves nothing to edit; nothing was changed"))?;
    ensure!(
        again.from == bump.from,
        "somebody else moved {} from {} to {} meanwhile; nothing was changed",
        bump.app,
        bump.from,
        again.from
    );
    Ok(again)
}

/// Writes the file and commits it; gives how the clone was before, and the commit.
fn commit(clone: &Clone, bump: &Bump, message: &str) -> anyhow::Result<(Saved, String)> {
    let saved = Saved::of(clone)?;
    let file = clone.root.join(&bump.file);
    let failed = || format!("failed to write {}", file.display());
    fs::write(&file, &bump.after).with_context(failed)?;
    match clone.commit(&bump.file, message) {
        Ok(commit) => Ok((saved, commit)),
        Err(error) => {
            fs::write(&file, &bump.before).with_context(failed)?;
            fs::write(clone.index()?, &saved.index).context("failed to write the index")?;
            Err(error.context("the commit was refused; nothing was changed"))
        }
    }
}

impl Saved {
    fn of(clone: &Clone) -> anyhow::Result<Self> {
        let index = fs::read(clone.index()?).context("failed to read the index")?;
        Ok(Self { head: clone.head()?, index })
    }

    /// Takes a commit back: branch, file and index.
    fn undo(&self, clone: &Clone, bump: &Bump, commit: &str) -> anyhow::Result<()> {
        clone.move_back(&self.head, commit)?;
        let file = clone.root.join(&bump.file);
        fs::write(&file, &bump.before).with_context(|| format!("failed to write {}", file.display()))?;
        fs::write(clone.index()?, &self.index).context("failed to write the index")
    }

    /// Goes back to where the clone was before it followed others. Where that cannot be, it stays with what others
    /// pushed: nothing is lost by it, and what failed is worth telling, not this.
    fn restore(&self, clone: &Clone) {
        if clone.head().is_ok_and(|head| head != self.head)
            && clone.reset(&self.head).is_ok()
            && let Ok(index) = clone.index()
        {
            let _the_tree_is_right_all_the_same = fs::write(index, &self.index);
        }
    }
}
