//! The command line: one file per subcommand, thin.
//!
//! Enters: arguments. Leaves: text on standard output, messages on standard error, and an exit code:
//!
//! | Code | Meaning |
//! |---|---|
//! | 0 | done; for `why`: Synced and Healthy |
//! | 1 | the answer is no: `why` found a blocking fact, `diff` a difference, `--wait` saw no answer in time |
//! | 2 | it could not be done: bad arguments, no such app, no cluster |

use std::process::ExitCode;

mod agent;
mod connection;
mod crds;
mod demo;
mod deploy;
mod diff;
mod history;
mod orphans;
mod output;
mod render;
mod rendering;
mod request;
mod resume;
pub mod schema;
mod simulate;
mod status;
mod tree;
pub mod validate;
mod why;
mod working_tree;

use clap::{Parser, Subcommand};

/// An in-cluster GitOps pull agent for Kubernetes: progressive waves on native workloads, gates, and reverts.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent
    Agent(Box<crate::config::AgentArgs>),
    /// Run the renderer of Kustomize and Helm, beside an agent
    Render(render::RenderArgs),
    /// Check declarations without a cluster
    Validate(validate::Arguments),
    /// Tell the story of a rollout in a simulated cluster, with the real agent; needs nothing
    Demo(demo::DemoArgs),
    /// Play the plans of a working tree in a simulated cluster: stages, pods over time, and what if a wave fails
    Simulate(simulate::SimulateArgs),
    /// Show what a working tree or a revision would change: in the cluster, or since another revision (exit code 1 when
    /// something differs)
    Diff(diff::DiffArgs),
    /// Edit an app's version line in a clone, commit, push, and wait for it if asked to (exit code 1 when the push is
    /// refused, or the version does not come into effect)
    Deploy(deploy::DeployArgs),
    /// Print the JSON Schema of declarations
    Schema(schema::Arguments),
    /// Print the custom resource definitions as YAML
    Crds,
    /// Show where apps stand
    Status(status::StatusArgs),
    /// Say the one fact that keeps an app from being Synced and Healthy (exit code 0 when there is none, 1 when there is)
    Why(why::WhyArgs),
    /// Show what stands of an app in the cluster, from what it declares down to pods
    Tree(tree::TreeArgs),
    /// List objects in the apps' namespaces that no app declares and nothing else accounts for
    Orphans(orphans::OrphansArgs),
    /// Show an app's past rollouts and its quarantine
    History(history::HistoryArgs),
    /// Stop a rollout and go back to the last completed Release
    Abort(request::RequestArgs),
    /// Stop a rollout; without one, go back to the Release before
    Rollback(request::RequestArgs),
    /// Let a quarantined Release try again
    Retry(request::RequestArgs),
    /// Go on after the history in Git was rewritten
    Resume(resume::ResumeArgs),
}

/// It worked, and the answer is yes.
const DONE: u8 = 0;
/// It worked, and the answer is no.
const NO: u8 = 1;
/// It did not work.
const FAILED: u8 = 2;

/// Parses the arguments and runs what they ask for. Bad arguments end the process with code 2, help with 0.
#[must_use]
pub fn run() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Render(arguments) => once(render::run(&arguments)),
        Command::Validate(arguments) => return validate::run(&arguments),
        Command::Demo(arguments) => once(demo::run(&arguments)),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Diff(arguments) => once(diff::run(&arguments)),
        Command::Deploy(arguments) => once(deploy::run(&arguments)),
        Command::Schema(arguments) => return schema::run(&arguments),
        Command::Crds => crds::run(),
        Command::Status(arguments) => once(status::run(&arguments)),
        Command::Why(arguments) => once(why::run(&arguments)),
        Command::Tree(arguments) => once(tree::run(&arguments)),
        Command::Orphans(arguments) => once(orphans::run(&arguments)),
        Command::History(arguments) => once(history::run(&arguments)),
        Command::Abort(arguments) => once(request::run("abort", &arguments)),
        Command::Rollback(arguments) => once(request::run("rollback", &arguments)),
        Command::Retry(arguments) => once(request::run("retry", &arguments)),
        Command::Resume(arguments) => once(resume::run(&arguments)),
    };
    ExitCode::from(result.unwrap_or_else(|error| {
        output::complain(&format!("error: {error:#}"));
        FAILED
    }))
}

/// Runs one question to the cluster to its end.
fn once(work: impl Future<Output = anyhow::Result<u8>>) -> anyhow::Result<u8> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Makes ring the process's cryptography, before anything speaks TLS. A second call changes nothing.
fn install_cryptography() {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn commands_are_told_apart_from_mistakes() {
        for (line, is_valid) in [
            ("tidegate agent --repository /srv/shop --provider a=http://a --provider b=http://b", true),
            ("tidegate crds", true),
            ("tidegate status -o wide -n delivery", true),
            ("tidegate status shop -o yaml --context east", true),
            ("tidegate abort shop --wait --timeout 30s", true),
            ("tidegate abort", false),
            ("tidegate abort ../secrets", false),
            ("tidegate why Shop", false),
            ("tidegate status -o xml", false),
            ("tidegate retry shop --wait --timeout soon", false),
            ("tidegate diff web api --path clone --revision HEAD~1 --against main -o json", true),
            ("tidegate diff -n delivery --context east", true),
            ("tidegate diff ../web", false),
            ("tidegate tree web -o json", true),
            ("tidegate tree", false),
            ("tidegate orphans", true),
            ("tidegate orphans web api -o json", true),
            ("tidegate deploy web 1.5.0 --path clone -m bump --wait --timeout 5m -n delivery", true),
            ("tidegate deploy web 1.5.0 --push=false --allow-dirty -o json", true),
            ("tidegate deploy web", false),
            ("tidegate deploy ../web 1", false),
            ("tidegate demo --fast", true),
            ("tidegate simulate manifests --app web --ready-after 500ms --fail-at 2 --ascii", true),
            ("tidegate simulate manifests --width 10", false),
            ("tidegate resume --accept-history 0123456789012345678901234567890123456789 -n delivery", true),
            ("tidegate resume --accept-history main", false),
            ("tidegate resume", false),
            ("tidegate dance", false),
        ] {
            assert_eq!(Arguments::try_parse_from(line.split(' ')).is_ok(), is_valid, "{line}");
        }
    }
}
