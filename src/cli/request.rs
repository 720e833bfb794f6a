//! `tidegate abort`, `rollback` and `retry`: one annotation on the Application resource, and its answer.
//!
//! Kubernetes RBAC decides who may ask: it takes the right to patch Applications in the agent's namespace.

use std::time::Duration;

use super::connection::{Connection, ConnectionArgs, name};
use super::output::{self, plain};
use super::{DONE, NO};
use crate::config::parse_duration;
use crate::model::{Object, Timestamp};
use crate::store::application;

/// Time between two looks at whether the agent has answered.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct RequestArgs {
    /// The app
    #[arg(value_parser = name)]
    app: String,
    /// Wait for the agent's answer and print it
    #[arg(long)]
    wait: bool,
    /// How long to wait for it
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(verb: &str, arguments: &RequestArgs) -> anyhow::Result<u8> {
    let connection = Connection::open(&arguments.connection).await?;
    let text = format!("{verb}:{}", Timestamp::now());
    let asked = connection.ask(&arguments.app, &text).await?;
    if !arguments.wait {
        output::print(&format!("asked {} to {verb}\n", arguments.app));
        return Ok(DONE);
    }
    let answered = tokio::time::timeout(arguments.timeout, answer(&connection, asked, &text, LOOK_INTERVAL)).await;
    let Ok(answered) = answered else {
        output::complain("the agent has not answered in time; the request stays until it does");
        return Ok(NO);
    };
    match answered? {
        Progress::Answered(answer) => {
            output::print(&format!("{}\n", plain(&answer)));
            Ok(DONE)
        }
        Progress::Lost | Progress::Pending => {
            output::complain("the request was replaced or removed before the agent answered it");
            Ok(NO)
        }
    }
}

/// What has become of a request.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// It waits on the resource.
    Pending,
    /// The agent consumed it.
    Answered(String),
    /// Somebody removed or replaced it.
    Lost,
}

/// Looks until the request is no longer pending.
async fn answer(connection: &Connection, mut app: Object, text: &str, interval: Duration) -> anyhow::Result<Progress> {
    loop {
        match progress(&app, text)? {
            Progress::Pending => tokio::time::sleep(interval).await,
            done @ (Progress::Answered(_) | Progress::Lost) => return Ok(done),
        }
        app = connection.get(&app.key.name).await?;
    }
}

/// The agent consumes a request and stores its answer in one write, so both are seen together.
fn progress(app: &Object, text: &str) -> anyhow::Result<Progress> {
    let stored = application::read(app)?;
    Ok(match (stored.record.answered, stored.request) {
        (Some((request, answer)), _) if request.text == text => Progress::Answered(answer),
        (_, Some(request)) if request.text == text => Progress::Pending,
        (_, _) => Progress::Lost,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::connection::tests::{application, scripted};
    use super::*;
    use crate::model::{AppName, Record, Request};
    use crate::store::REQUEST_ANNOTATION;

    fn asked(text: &str) -> Value {
        let mut app = application("shop");
        app["metadata"]["annotations"] = json!({ REQUEST_ANNOTATION: text });
        app
    }

    fn answered(text: &str) -> Value {
        let record = Record { answered: Some((Request::parse(text), "going back".to_owned())), ..Record::default() };
        let app = crate::store::application::write(
            "tidegate",
            &AppName::from("shop"),
            "tidegate",
            "",
            &json!({}),
            &record,
            None,
        );
        (*app.body).clone()
    }

    #[tokio::test]
    async fn waiting_ends_with_the_answer_or_with_the_loss_of_the_request() {
        for (last, end) in [
            (answered("abort:1"), Progress::Answered("going back".to_owned())),
            (asked("retry:2"), Progress::Lost),
            (application("shop"), Progress::Lost),
        ] {
            let (connection, seen) = scripted(vec![(200, asked("abort:1")), (200, last)]).await;
            let app = connection.ask("shop", "abort:1").await.unwrap();
            assert_eq!(answer(&connection, app, "abort:1", Duration::ZERO).await.unwrap(), end);
            let (method, _, body) = seen.lock().unwrap()[0].clone();
            assert_eq!(method, "PATCH");
            assert_eq!(body, r#"{"metadata":{"annotations":{"tidegate.dev/request":"abort:1"}}}"#);
        }
    }
}
