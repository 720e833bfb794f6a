//! S11, for what people ask: a request is answered when it stands, and once. A watch may show it long after.

use serde_json::Value;

use super::{Found, Moment};
use crate::simulation::read::{position, rollout, text};

/// Remembers nothing: a write is judged by what it replaced.
#[derive(Debug, Default)]
pub(crate) struct Requests;

impl Requests {
    pub(crate) fn see(&mut self, moment: &Moment<'_>) -> Found {
        // A resource that somebody deleted took its request along: it is written anew from what was remembered.
        let (Some(before), Some(after)) = (moment.before(), moment.after()) else { return Vec::new() };
        if moment.commit.key.kind.kind != "Application" || !moment.is_ours() {
            return Vec::new();
        }
        let stands = before["metadata"]["annotations"]["tidegate.dev/request"].as_str();
        let mut found = Vec::new();
        let answered = &after["record"]["answered"];
        if *answered != before["record"]["answered"] && answered["request"].as_str() != stands {
            found.push(("S11", format!("{answered} answers what does not stand any more; {stands:?} stands")));
        }
        if turned_back_for(before).is_none()
            && let Some(asked) = turned_back_for(after)
            && !stands.is_some_and(|stands| stands.starts_with(asked))
        {
            found.push(("S11", format!("a rollout turns back for `{asked}`, and {stands:?} stands")));
        }
        found
    }
}

/// The request for which a rollout goes back.
fn turned_back_for(application: &Value) -> Option<&str> {
    let rollout = rollout(application).filter(|rollout| position(rollout) == "reverting")?;
    Some(text(rollout, "/position/reason/by")).filter(|by| matches!(*by, "abort" | "rollback"))
}
