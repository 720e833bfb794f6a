//! `tidegate why APP`: the one fact that keeps an app from being Synced and Healthy, and its age.

use super::connection::{Connection, ConnectionArgs, name};
use super::output::{self, age, plain};
use super::{DONE, NO};
use crate::model::{Object, Timestamp};

#[derive(Debug, clap::Args)]
pub(super) struct WhyArgs {
    /// The app
    #[arg(value_parser = name)]
    app: String,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(arguments: &WhyArgs) -> anyhow::Result<u8> {
    let connection = Connection::open(&arguments.connection).await?;
    let (sentence, code) = answer(&connection.get(&arguments.app).await?, Timestamp::now());
    output::print(&format!("{sentence}\n"));
    Ok(code)
}

/// The sentence, and 0 when nothing blocks.
fn answer(app: &Object, now: Timestamp) -> (String, u8) {
    if let Some(fact) = app.text("/status/why/fact") {
        let since: Option<Timestamp> = app.text("/status/why/since").and_then(|text| text.parse().ok());
        let suffix = since.map(|since| format!(" (for {})", age(since, now))).unwrap_or_default();
        return (format!("{}{suffix}", plain(fact)), NO);
    }
    match (app.text("/status/sync/status"), app.text("/status/health/status")) {
        (Some("Synced"), Some("Healthy")) => ("Synced and Healthy".to_owned(), DONE),
        (Some(sync), Some(health)) => (plain(&format!("{sync} and {health}, and the agent gave no reason")), NO),
        (None, _) | (_, None) => ("the agent has not said anything of this app yet: is it running?".to_owned(), NO),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::connection::tests::{application, scripted};
    use super::*;
    use crate::model::ClusterName;

    fn with_status(status: Value) -> Value {
        let mut app = application("shop");
        app["status"] = status;
        app
    }

    #[test]
    fn all_is_well_only_when_the_agent_says_so() {
        let well = json!({"sync": {"status": "Synced"}, "health": {"status": "Healthy"}, "why": null});
        let blocked = json!({"why": {"fact": "gate errors of wave canary shut", "since": "2026-01-01T00:00:00Z"}});
        let silent = json!({"sync": {"status": "OutOfSync"}, "health": {"status": "Healthy"}});
        for (status, sentence, code) in [
            (well, "Synced and Healthy", DONE),
            (blocked, "gate errors of wave canary shut (for 5m0s)", NO),
            (silent, "OutOfSync and Healthy, and the agent gave no reason", NO),
            (json!(null), "the agent has not said anything of this app yet: is it running?", NO),
        ] {
            let app = Object::from_value(&ClusterName::local(), with_status(status)).unwrap();
            let now = "2026-01-01T00:05:00Z".parse().unwrap();
            assert_eq!(answer(&app, now), (sentence.to_owned(), code));
        }
    }

    #[tokio::test]
    async fn the_answer_comes_from_the_cluster() {
        let blocked = with_status(json!({"why": {"fact": "held"}}));
        let (connection, _) = scripted(vec![(200, blocked)]).await;
        let app = connection.get("shop").await.unwrap();
        assert_eq!(answer(&app, Timestamp::UNIX_EPOCH), ("held".to_owned(), NO));
    }
}
