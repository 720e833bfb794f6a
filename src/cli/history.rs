//! `tidegate history APP`: past rollouts, and what is quarantined.

use serde_json::json;

use super::DONE;
use super::connection::{Connection, ConnectionArgs, name};
use super::output::{self, Format, age, table};
use crate::model::{Object, Record, Timestamp};
use crate::store::application;

#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    /// The app
    #[arg(value_parser = name)]
    app: String,
    /// Another form than the tables; json and yaml have the gates and their measurements too
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(arguments: &HistoryArgs) -> anyhow::Result<u8> {
    let connection = Connection::open(&arguments.connection).await?;
    let app = connection.get(&arguments.app).await?;
    let text = match arguments.output {
        None => tables(&record(&app)?, Timestamp::now(), false),
        Some(Format::Wide) => tables(&record(&app)?, Timestamp::now(), true),
        Some(Format::Json) => output::json(&document(&app)),
        Some(Format::Yaml) => output::yaml(&document(&app))?,
    };
    output::print(&text);
    Ok(DONE)
}

/// What the agent knows of the past, a first sync that only status tells of included.
fn record(app: &Object) -> anyhow::Result<Record> {
    let stored = application::read(app)?;
    Ok(application::settle(stored.record, stored.stable_in_status))
}

fn document(app: &Object) -> serde_json::Value {
    let field = |name: &str| app.body.pointer(&format!("/record/{name}")).cloned().unwrap_or(json!([]));
    json!({ "name": app.key.name, "past": field("past"), "quarantine": field("quarantine") })
}

fn tables(record: &Record, now: Timestamp, is_wide: bool) -> String {
    let commit = |commit: &str| if is_wide { commit.to_owned() } else { commit.chars().take(7).collect() };
    let past = record.past.iter().rev().map(|past| {
        vec![
            past.id.to_string(),
            past.release.version.clone(),
            commit(&past.release.revision.commit),
            past.outcome.as_str().to_owned(),
            age(past.ended_at, now),
            age(past.started_at, past.ended_at),
            past.reason.clone(),
        ]
    });
    let header = ["ROLLOUT", "VERSION", "COMMIT", "OUTCOME", "ENDED", "TOOK", "REASON"];
    let mut text = table(&header, &past.collect::<Vec<_>>());
    if record.quarantine.is_empty() {
        return text;
    }
    let quarantine = record.quarantine.iter().rev().map(|entry| {
        let digest = if is_wide { entry.digest.to_string() } else { entry.digest.short() };
        vec![entry.version.clone(), entry.attempt.to_string(), digest, age(entry.at, now), entry.reason.clone()]
    });
    text.push('\n');
    text.push_str(&table(&["QUARANTINED", "ATTEMPT", "DIGEST", "FOR", "REASON"], &quarantine.collect::<Vec<_>>()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Past, PastOutcome, Quarantined, ReleaseRef, Revision};

    #[test]
    fn the_newest_rollout_comes_first_and_quarantine_after() {
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        let past = |id: u64, outcome, reason: &str| Past {
            id,
            lane: crate::model::Lane::Waves,
            release: ReleaseRef {
                digest: Digest([1; 32]),
                attempt: 0,
                version: format!("1.{id}"),
                revision: Revision { branch: "main".to_owned(), commit: "ab".repeat(20), signer: None },
            },
            started_at: at(0),
            ended_at: at(60),
            outcome,
            reason: reason.to_owned(),
            waves: Vec::new(),
            hooks: Vec::new(),
        };
        let record = Record {
            past: vec![past(1, PastOutcome::Completed, ""), past(2, PastOutcome::Reverted, "gate shut")],
            quarantine: vec![Quarantined {
                digest: Digest([2; 32]),
                attempt: 0,
                version: "1.2".to_owned(),
                reason: "gate shut".to_owned(),
                at: at(60),
            }],
            ..Record::default()
        };
        assert_eq!(
            tables(&record, at(90), false),
            "ROLLOUT  VERSION  COMMIT   OUTCOME    ENDED  TOOK  REASON\n\
             2        1.2      abababa  Reverted   30s    1m0s  gate shut\n\
             1        1.1      abababa  Completed  30s    1m0s\n\
             \n\
             QUARANTINED  ATTEMPT  DIGEST        FOR  REASON\n\
             1.2          0        020202020202  30s  gate shut\n"
        );
    }
}
