//! Follows an app in the cluster until a version is in effect. Enters: the way to its resource. Leaves: how it ended, and a
//! line on standard error for each change: one that is written over on a terminal, one after another elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::Value;

use crate::cli::connection::Connection;
use crate::cli::output::{cell, plain};

/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The version runs, and nothing is under way.
    Effective,
    /// It was refused; why.
    Held(String),
    /// Time was over; what was known last.
    Late(String),
}

impl End {
    /// What people read.
    pub(super) fn sentence(&self, app: &str, version: &str) -> String {
        match self {
            Self::Effective => format!("{app}: {version} is in effect"),
            Self::Held(why) => format!("{app}: {version} is held: {why}"),
            Self::Late(last) => format!("{app}: {version} is not in effect in time; last: {last}"),
        }
    }
}

/// Looks until the version is in effect or held, or time is over.
pub(super) async fn follow(connection: &Connection, app: &str, version: &str, timeout: Duration) -> End {
    let mut lines = Lines { is_terminal: std::io::stderr().is_terminal(), last: String::new() };
    let end = tokio::time::timeout(timeout, look(connection, app, version, &mut lines, LOOK_INTERVAL)).await;
    lines.end();
    end.unwrap_or(End::Late(lines.last))
}

async fn look(connection: &Connection, app: &str, version: &str, lines: &mut Lines, interval: Duration) -> End {
    loop {
        // An API server that is away for a moment is no reason to give up: the deadline is.
        match connection.get(app).await {
            Ok(resource) => {
                if let Some(end) = judge(&resource.body, version) {
                    return end;
                }
                lines.show(&line(&resource.body, app, version));
            }
            Err(error) => lines.show(&format!("{app}: {error}")),
        }
        tokio::time::sleep(interval).await;
    }
}

/// How it ended, if it has.
fn judge(resource: &Value, version: &str) -> Option<End> {
    let is = |pointer: &str, wanted: &str| resource.pointer(pointer).and_then(Value::as_str) == Some(wanted);
    // What the agent says of another version is about what stood in Git before.
    if !is("/status/desired/version", version) {
        return None;
    }
    if is("/status/held/version", version) || is("/status/phase", "Held") {
        let why = [cell(resource, "/status/held/reason"), cell(resource, "/status/why/fact")];
        return Some(End::Held(why.into_iter().find(|why| why != "-").unwrap_or_default()));
    }
    let is_under_way = resource.pointer("/status/rollout").is_some_and(|rollout| !rollout.is_null());
    // A version that renders to what runs already is in effect without a rollout, under the version that brought it.
    let digest = |of: &str| resource.pointer(&format!("/status/{of}/digest")).and_then(Value::as_str);
    let runs_it = digest("desired").is_some() && digest("desired") == digest("effective");
    ((runs_it || is("/status/effective/version", version)) && !is_under_way).then_some(End::Effective)
}

/// Where it stands.
fn line(resource: &Value, app: &str, version: &str) -> String {
    let desired = cell(resource, "/status/desired/version");
    let fact = match cell(resource, "/status/why/fact").as_str() {
        "-" => String::new(),
        fact => format!(": {fact}"),
    };
    if desired != version {
        let broken = if cell(resource, "/status/phase") == "SourceFailed" { fact } else { String::new() };
        return format!("{app}: the agent has not read {version} in Git yet, but {desired}{broken}");
    }
    let wave = match cell(resource, "/status/rollout/wave/name").as_str() {
        "-" => String::new(),
        wave => format!(", wave {wave}"),
    };
    format!("{app}: {}{wave}{fact}", cell(resource, "/status/phase"))
}

/// Lines of progress.
struct Lines {
    is_terminal: bool,
    last: String,
}

impl Lines {
    fn show(&mut self, line: &str) {
        let line = plain(line);
        if line == self.last {
            return;
        }
        let mut standard_error = std::io::stderr();
        // A terminal's line is written over: `\r` to its begin, `ESC [K` clears it. Longer ones would wrap.
        let _reader_went_away = if self.is_terminal {
            let short: String = line.chars().take(120).collect();
            write!(standard_error, "\r\u{1b}[K{short}").and_then(|()| standard_error.flush())
        } else {
            writeln!(standard_error, "{line}")
        };
        self.last = line;
    }

    fn end(&self) {
        if self.is_terminal && !self.last.is_empty() {
            let _reader_went_away = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::connection::tests::{application, failure, scripted};

    fn status(desired: &str, effective: &str, more: &Value) -> Value {
        let mut app = application("web");
        app["status"] =
            json!({"phase": "Progressing", "desired": {"version": desired}, "effective": {"version": effective}});
        for (key, value) in more.as_object().into_iter().flatten() {
            app["status"][key] = value.clone();
        }
        app
    }

    #[test]
    fn only_what_is_said_of_the_wanted_version_ends_the_wait() {
        let held = json!({"held": {"version": "2", "reason": "errors"}, "phase": "Held"});
        let same = json!({"desired": {"version": "2", "digest": "d"}, "effective": {"version": "1", "digest": "d"}});
        let hold = json!({"phase": "Held", "why": {"fact": "wave one waits for a person"}});
        for (resource, end) in [
            (status("2", "2", &json!({"rollout": null})), Some(End::Effective)),
            (status("2", "2", &json!({"rollout": {"wave": {"name": "all"}}})), None),
            (status("1", "2", &json!({})), None),
            (status("2", "1", &json!({})), None),
            (status("2", "1", &same), Some(End::Effective)),
            (status("2", "1", &held), Some(End::Held("errors".to_owned()))),
            (status("2", "1", &hold), Some(End::Held("wave one waits for a person".to_owned()))),
            (status("3", "1", &held), None),
            (application("web"), None),
        ] {
            assert_eq!(judge(&resource, "2"), end, "{resource}");
        }
    }

    #[tokio::test]
    async fn each_change_is_one_line_and_a_server_that_is_away_ends_nothing() {
        let baking = json!({"phase": "Baking", "rollout": {"wave": {"name": "one"}}, "why": {"fact": "bakes"}});
        let answers = vec![
            failure(404, "not found"),
            (200, status("1", "1", &json!({}))),
            failure(503, "away"),
            (200, status("2", "1", &baking)),
            (200, status("2", "2", &json!({}))),
        ];
        let (connection, seen) = scripted(answers).await;
        let mut lines = Lines { is_terminal: false, last: String::new() };
        assert_eq!(look(&connection, "web", "2", &mut lines, Duration::ZERO).await, End::Effective);
        assert_eq!(lines.last, "web: Baking, wave one: bakes");
        assert_eq!(seen.lock().unwrap().len(), 5);
        assert_eq!(line(&status("1", "1", &json!({})), "web", "2"), "web: the agent has not read 2 in Git yet, but 1");
    }
}
