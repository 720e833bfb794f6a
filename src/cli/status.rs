//! `tidegate status [APP]`: where apps stand, as the agent published it.

use serde_json::{Value, json};

use super::connection::{Connection, ConnectionArgs, name};
use super::output::{self, Format, age, cell};
use super::{DONE, output::table};
use crate::model::Timestamp;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Only this app [default: all]
    #[arg(value_parser = name)]
    app: Option<String>,
    /// Another form than the table
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(arguments: &StatusArgs) -> anyhow::Result<u8> {
    let connection = Connection::open(&arguments.connection).await?;
    let items = match &arguments.app {
        Some(app) => vec![connection.get(app).await?.body.into()],
        None => connection.list().await?,
    };
    let text = match arguments.output {
        None => short_table(&items),
        Some(Format::Wide) => wide_table(&items, Timestamp::now()),
        Some(Format::Json) => output::json(&document(items, arguments.app.is_some())),
        Some(Format::Yaml) => output::yaml(&document(items, arguments.app.is_some()))?,
    };
    output::print(&text);
    Ok(DONE)
}

/// Columns of both tables: header and where the value stands.
const COLUMNS: [(&str, &str); 8] = [
    ("NAME", "/metadata/name"),
    ("VERSION", "/status/effective/version"),
    ("DESIRED", "/status/desired/version"),
    ("SYNC", "/status/sync/status"),
    ("HEALTH", "/status/health/status"),
    ("PHASE", "/status/phase"),
    ("WAVE", "/status/rollout/wave/name"),
    ("WHY", "/status/why/fact"),
];

fn short_table(items: &[Value]) -> String {
    let rows: Vec<Vec<String>> =
        items.iter().map(|item| COLUMNS.iter().map(|(_, pointer)| cell(item, pointer)).collect()).collect();
    table(&COLUMNS.map(|(header, _)| header), &rows)
}

/// The table with what is also worth knowing before WHY, which is the longest and stays last.
fn wide_table(items: &[Value], now: Timestamp) -> String {
    let commit = |item: &Value, pointer: &str| cell(item, pointer).chars().take(7).collect::<String>();
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| {
            let mut row: Vec<String> = COLUMNS.iter().map(|(_, pointer)| cell(item, pointer)).collect();
            let created = item.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
            let created: Option<Timestamp> = created.and_then(|text| text.parse().ok());
            let more = [
                commit(item, "/status/effective/commit"),
                commit(item, "/status/desired/commit"),
                cell(item, "/status/held/version"),
                cell(item, "/spec/declaredIn"),
                created.map_or_else(|| "-".to_owned(), |created| age(created, now)),
            ];
            row.splice(COLUMNS.len() - 1..COLUMNS.len() - 1, more);
            row
        })
        .collect();
    let mut header = COLUMNS.map(|(header, _)| header).to_vec();
    header.splice(COLUMNS.len() - 1..COLUMNS.len() - 1, ["COMMIT", "DESIRED-COMMIT", "HELD", "DECLARED-IN", "AGE"]);
    table(&header, &rows)
}

/// The resources without what only the agent and the API server need.
fn document(items: Vec<Value>, is_single: bool) -> Value {
    let mut items: Vec<Value> = items
        .into_iter()
        .map(|mut item| {
            if let Some(fields) = item.as_object_mut() {
                fields.remove("record");
            }
            if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
            item
        })
        .collect();
    if is_single && items.len() == 1 { items.remove(0) } else { json!({ "items": items }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Vec<Value> {
        vec![
            json!({
                "metadata": {"name": "shop", "managedFields": [1], "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"declaredIn": "apps/shop.yaml"},
                "record": {"version": 1},
                "status": {
                    "phase": "Baking", "sync": {"status": "OutOfSync"}, "health": {"status": "Progressing"},
                    "effective": {"version": "1.0", "commit": "0123456789"}, "desired": {"version": "1.1"},
                    "rollout": {"wave": {"name": "half"}}, "why": {"fact": "wave half bakes"}, "held": null,
                },
            }),
            json!({"metadata": {"name": "new"}}),
        ]
    }

    #[test]
    fn an_app_without_a_status_has_dashes() {
        assert_eq!(
            short_table(&items()),
            "NAME  VERSION  DESIRED  SYNC       HEALTH       PHASE   WAVE  WHY\n\
             shop  1.0      1.1      OutOfSync  Progressing  Baking  half  wave half bakes\n\
             new   -        -        -          -            -       -     -\n"
        );
    }

    #[test]
    fn the_wide_table_adds_commits_file_and_age() {
        let text = wide_table(&items(), "2026-01-03T00:00:00Z".parse().unwrap());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0].last(), Some(&"WHY"));
        for wanted in ["0123456", "apps/shop.yaml", "2d"] {
            assert!(lines[1].contains(&wanted), "{text}");
        }
    }

    #[test]
    fn documents_leave_internals_out() {
        let text = document(items(), false).to_string();
        assert!(!text.contains("record") && !text.contains("managedFields"), "{text}");
        assert_eq!(document(items()[..1].to_vec(), true)["metadata"]["name"], json!("shop"));
    }
}
