//! `tidegate deploy APP VERSION`: the version line edited in place, committed, pushed, and followed if asked for. Enters: a
//! clone. Leaves: one commit in it and at its upstream, or nothing and a patch.
//!
//! `bump` finds and edits the line, `git` is the person's own program, `publish` commits and pushes and takes back what
//! did not go through, `follow` watches the cluster.

mod bump;
mod follow;
mod git;
mod publish;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use self::bump::Bump;
use self::follow::End;
use self::git::Clone;
use self::publish::Published;
use super::connection::{Connection, ConnectionArgs, name};
use super::output::{self, complain, plain};
use super::validate::Output;
use super::{DONE, NO};
use crate::config::parse_duration;

#[derive(Debug, clap::Args)]
pub(super) struct DeployArgs {
    /// The app
    #[arg(value_parser = name)]
    app: String,
    /// The version to write
    version: String,
    /// Folder of a clone to look for the app in [default: the clone that the current folder lies in]
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
    /// Message of the commit [default: APP: OLD -> NEW]
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Edit a file that has changes of yours, and commit them with it
    #[arg(long)]
    allow_dirty: bool,
    /// Print what would change, and change nothing
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Push the commit to the branch's upstream
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true")]
    push: bool,
    /// Wait until the version is in effect, or held
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = parse_duration)]
    timeout: Duration,
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Runs `tidegate deploy`. Exit codes: 0 done, 1 the push was refused or the version is not in effect, 2 it could not be done;
/// then the clone is as it was.
pub(super) async fn run(arguments: &DeployArgs) -> anyhow::Result<u8> {
    anyhow::ensure!(
        arguments.push || !arguments.wait,
        "`--wait` waits for a commit that is pushed: leave `--push=false` out"
    );
    // A cluster that cannot be reached is better known before the push.
    let connection = match arguments.wait {
        true => Some(Connection::open(&arguments.connection).await?),
        false => None,
    };
    let clone = Clone::find(arguments.path.as_deref().unwrap_or(Path::new(".")))?;
    let path = arguments.path.as_ref().unwrap_or(&clone.root);
    let bump = bump::find(&clone.root, path, &arguments.app, &arguments.version)?;
    let is_json = arguments.output == Output::Json;
    if arguments.dry_run {
        output::print(&if is_json { answer(&bump, "dryRun", json!({"diff": bump.diff()})) } else { bump.diff() });
        return Ok(DONE);
    }
    let mut told = json!({});
    if bump.from == bump.to {
        tell(is_json, &format!("{} is at {} already ({})", bump.app, bump.to, bump.place()));
    } else {
        publish::refuse_dirty(&clone, &bump, arguments.allow_dirty)?;
        let published = publish::publish(&clone, path, &bump, arguments.message.as_deref(), arguments.push)?;
        match published {
            Published::Committed(commit) => {
                tell(is_json, &format!("{}, committed as {}", bump.sentence(), short(&commit)));
                told["commit"] = json!(commit);
            }
            Published::Pushed { commit, upstream } => {
                tell(is_json, &format!("{}, pushed to {upstream} as {}", bump.sentence(), short(&commit)));
                told["commit"] = json!(commit);
                told["pushedTo"] = json!(upstream);
            }
            Published::Refused { patch, reason } => {
                let note = "the push was refused, and the commit undone";
                complain(&format!("{note}; the patch for somebody who may push is on standard output\n{reason}"));
                let more = json!({"patch": patch, "reason": reason});
                output::print(&if is_json { answer(&bump, "refused", more) } else { patch });
                return Ok(NO);
            }
        }
    }
    let Some(connection) = connection else {
        if is_json {
            let state = if bump.from == bump.to {
                "unchanged"
            } else if arguments.push {
                "pushed"
            } else {
                "committed"
            };
            output::print(&answer(&bump, state, told));
        }
        return Ok(DONE);
    };
    wait(&connection, &bump, arguments, told).await
}

/// Follows what was pushed, and tells how it ended.
async fn wait(connection: &Connection, bump: &Bump, arguments: &DeployArgs, mut told: Value) -> anyhow::Result<u8> {
    let is_json = arguments.output == Output::Json;
    let end = follow::follow(connection, &bump.app, &bump.to, arguments.timeout).await;
    let (state, code) = match &end {
        End::Effective => ("effective", DONE),
        End::Held(_) => ("held", NO),
        End::Late(_) => ("late", NO),
    };
    if let End::Held(why) | End::Late(why) = &end {
        told["why"] = json!(why);
    }
    tell(is_json, &plain(&end.sentence(&bump.app, &bump.to)));
    if is_json {
        output::print(&answer(bump, state, told));
    }
    Ok(code)
}

/// The first digits of a commit.
fn short(commit: &str) -> String {
    commit.chars().take(7).collect()
}

/// What people read; scripts get one document at the end.
fn tell(is_json: bool, text: &str) {
    if !is_json {
        output::print(&format!("{text}\n"));
    }
}

/// The document for scripts.
fn answer(bump: &Bump, state: &str, more: Value) -> String {
    let mut document = json!({
        "application": bump.app, "from": bump.from, "to": bump.to, "file": bump.file, "line": bump.line, "state": state,
    });
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
    output::json(&document)
}
