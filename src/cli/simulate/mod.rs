//! `tidegate simulate PATH`: plays the plans of a working tree in a simulated cluster, with the real agent. Enters: a
//! folder with declarations and manifests. Leaves: what the agent recorded, as tables and small charts, or as JSON.

mod chart;
mod document;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use super::connection::name;
use super::output::{self, complain, print};
use super::rendering::CheckoutArgs;
use super::working_tree::{self, Read, Tree};
use super::{DONE, FAILED, NO};
use crate::config::parse_duration;
use crate::model::{Millis, Past, WaveRecord};
use crate::sim::play::{CannotPlay, Ill, Manner, Played, Script, play};

/// Columns that a chart may have.
const WIDTHS: std::ops::RangeInclusive<i64> = 40..=400;

#[derive(Debug, clap::Args)]
pub(super) struct SimulateArgs {
    /// Folder with Applications, WavePlans and manifests, or one file
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The repository's root, which source paths start from; found by its `.git`, or PATH itself
    #[arg(long)]
    root: Option<PathBuf>,
    #[command(flatten)]
    checkouts: CheckoutArgs,
    /// Play this app alone
    #[arg(long, value_name = "NAME", value_parser = name)]
    app: Option<String>,
    /// How long a pod takes from running to Ready
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    ready_after: Duration,
    /// Let this wave fail, counted from 1; without it, one after another
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    fail_at: Option<u32>,
    /// Draw charts with ASCII alone
    #[arg(long)]
    ascii: bool,
    /// Columns that a chart may take
    #[arg(long, value_name = "COLUMNS", default_value = "80", value_parser = clap::value_parser!(u16).range(WIDTHS))]
    width: u16,
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: super::validate::Output,
}

/// An app, played once as it should go and once for each wave that may fail.
struct Answer {
    script: Script,
    played: Played,
    failures: Vec<Failure>,
}

/// What happens when a wave fails.
struct Failure {
    /// Its number, from 1.
    number: usize,
    /// The wave, as it was when it passed.
    wave: WaveRecord,
    /// How it fails.
    ill: Ill,
    played: Played,
}

/// Plays. Exit codes: 0 every app completes, 1 there are problems or an app does not complete, 2 something cannot be read.
pub(super) fn run(arguments: &SimulateArgs) -> anyhow::Result<u8> {
    let tree = match working_tree::read(&arguments.path, arguments.root.as_deref(), &arguments.checkouts)? {
        Read::Tree(tree) => tree,
        Read::Problems(text) => {
            print(&text);
            return Ok(NO);
        }
    };
    let Tree { apps, remarks } = &tree;
    if let Some(name) = &arguments.app
        && !apps.iter().any(|(application, _)| application.name.as_str() == name)
    {
        complain(&format!("error: no Application is called `{name}`"));
        return Ok(FAILED);
    }
    let is_wanted = |name: &str| arguments.app.as_deref().is_none_or(|wanted| wanted == name);
    let mut code = DONE;
    let mut documents = Vec::new();
    let mut paragraphs = vec![INTRODUCTION.to_owned()];
    paragraphs.extend(remarks.iter().map(|remark| format!("note: {remark}\n")));
    for (application, contents) in apps.iter().filter(|(application, _)| is_wanted(application.name.as_str())) {
        let script = match Script::read(application, contents) {
            Ok(script) => script,
            Err(error) => {
                complain(&format!("error: {}: {error}", application.name));
                code = NO;
                continue;
            }
        };
        match answer(script, arguments) {
            Ok(answer) => {
                let is_good = answer.played.is_completed();
                code = if is_good { code } else { NO };
                paragraphs.push(text::answer(&answer, usize::from(arguments.width), arguments.ascii));
                documents.push(document::answer(&answer));
            }
            Err(error) => {
                complain(&format!("error: {}: {error}", application.name));
                code = NO;
            }
        }
    }
    match arguments.output {
        super::validate::Output::Text => print(&paragraphs.join("\n")),
        super::validate::Output::Json => print(&output::json(&document::all(&documents, remarks))),
    }
    Ok(code)
}

/// What all numbers are worth.
const INTRODUCTION: &str = "Played by the real agent in a simulated cluster: order, counts and decisions are the agent's own; times are of the\n\
     simulated cluster, and yours will differ.\n";

/// Plays an app as it should go, then with failing waves.
fn answer(mut script: Script, arguments: &SimulateArgs) -> Result<Answer, CannotPlay> {
    let ready_after = Millis(u64::try_from(arguments.ready_after.as_millis()).unwrap_or(u64::MAX));
    let played = play(&script, &Manner { ready_after, fails_at: None })?;
    let mut failures = Vec::new();
    let waves = played.past.as_ref().map(|past| past.waves.clone()).unwrap_or_default();
    if let Some(wanted) =
        arguments.fail_at.filter(|wanted| usize::try_from(*wanted).is_ok_and(|wanted| wanted > waves.len()))
    {
        script.remarks.push(format!("no wave {wanted} was gone through, so it cannot fail"));
    }
    let last = waves.len();
    for (index, wave) in waves.into_iter().enumerate() {
        let number = index + 1;
        // A wave without pods of its own cannot fail; what comes after the last one (StatefulSets) is judged with it.
        let has_pods = wave.pods.values().any(|pods| *pods > 0);
        let is_wanted = arguments.fail_at.is_none_or(|wanted| usize::try_from(wanted) == Ok(number));
        if !script.has_pods() || !is_wanted || !has_pods && number != last {
            continue;
        }
        let declared = script.application.plan.waves.iter().find(|known| known.name == wave.name);
        let has_analysis = declared.is_some_and(|declared| !declared.analysis.is_empty());
        let ill = if has_analysis && has_pods { Ill::Errors } else { Ill::Crashes };
        let manner = Manner { ready_after, fails_at: Some((wave.name.clone(), ill)) };
        failures.push(Failure { number, wave, ill, played: play(&script, &manner)? });
    }
    Ok(Answer { script, played, failures })
}

impl Failure {
    /// The failed wave in the rollout that failed.
    fn failed(&self) -> Option<&WaveRecord> {
        let past: Option<&Past> = self.played.past.as_ref();
        let held = self.played.view.record.rollout.as_ref().map(|rollout| rollout.waves.as_slice());
        let waves = past.map(|past| past.waves.as_slice()).or(held).unwrap_or_default();
        waves.iter().find(|wave| wave.name == self.wave.name)
    }

    /// How long after its beginning the agent turned back.
    fn noticed_after(&self) -> Option<Millis> {
        let (_, turned_at) = self.played.turned.as_ref()?;
        Some(between(self.failed()?.started_at, *turned_at))
    }

    /// How long after that only Ready pods of the version before stood.
    fn back_after(&self) -> Option<Millis> {
        let (_, turned_at) = self.played.turned.as_ref()?;
        Some(between(*turned_at, self.played.stable_back_at()?))
    }
}

/// The time between two moments.
fn between(start: crate::model::Timestamp, end: crate::model::Timestamp) -> Millis {
    Millis(u64::try_from(end.duration_since(start).as_millis()).unwrap_or_default())
}
