//! S7 and S8: an agent deletes only what it applied, what its declaration or a failed Release no longer has, and never
//! what merely bears its labels.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate::model::ObjectKey;

use super::{Found, Moment};
use crate::simulation::declared::{SPACE, has_extra};
use crate::simulation::read::{position, rollout, text};
use crate::simulation::story::Step;
use crate::simulation::world::bystander_key;

/// Remembers what the record said when something was made.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    /// Whether a rollout of this digest brought something to workloads that were adopted without it, as far as it touched it.
    brought: BTreeMap<(ObjectKey, String), bool>,
}

impl Ownership {
    pub(crate) fn see(&mut self, moment: &Moment<'_>) -> Found {
        let commit = moment.commit;
        if commit.key == bystander_key() && commit.before.is_some() && moment.is_ours() {
            return vec![("S8", "an object that only bears our labels was written or deleted".to_owned())];
        }
        if commit.key.namespace != SPACE {
            return Vec::new();
        }
        let adopted_for = moment.standing.application().map(target_over_adopted).unwrap_or_default();
        // What somebody deletes in a rollout stood before it, and is not brought by who makes it anew.
        if !adopted_for.is_empty() && (commit.before.is_none() || (commit.after.is_none() && !moment.is_ours())) {
            let brought = self.brought.entry((commit.key.clone(), adopted_for.to_owned()));
            brought.or_insert(commit.before.is_none() && moment.is_ours());
        }
        if !moment.is_ours() || commit.after.is_some() {
            return Vec::new();
        }
        let is_brought = self.brought.get(&(commit.key.clone(), adopted_for.to_owned())) == Some(&true);
        let is_turning_back =
            moment.standing.application().and_then(rollout).is_some_and(|rollout| position(rollout) == "reverting");
        if is_brought && is_turning_back {
            // It did not stand when the workloads were adopted, whoever had deleted it, and the Release that brought it failed.
            return Vec::new();
        }
        if commit.key.kind.kind != "ConfigMap" || commit.key.name != "web-extra" {
            return vec![("S7", format!("{} was deleted, which every version declares", commit.key))];
        }
        let Some(application) = moment.standing.application() else {
            // Who deletes the resource does not undo what the agent remembers.
            if moment.story.has(|step| matches!(step, Step::DeleteApplication)) {
                return Vec::new();
            }
            return vec![("S8", format!("{} was deleted without a record", commit.key))];
        };
        // It goes when it left Git, and when the Release that brought it failed.
        let stable = text(application, "/record/stable/version");
        let target = text(application, "/record/rollout/target/version");
        let is_going = match text(application, "/record/rollout/position/at") {
            "" => !has_extra(stable),
            "reverting" => !has_extra(stable),
            _ => !has_extra(target) || !has_extra(stable),
        };
        if is_going {
            Vec::new()
        } else {
            vec![("S7", format!("{} was deleted; Stable is {stable}, Target `{target}`", commit.key))]
        }
    }
}

/// What is rolled out over workloads that were adopted; empty when they were not, or nothing is.
fn target_over_adopted(application: &Value) -> &str {
    match text(application, "/record/stable/version") {
        "adopted" => text(application, "/record/rollout/target/digest"),
        _ => "",
    }
}
