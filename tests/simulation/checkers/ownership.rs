//! S7 and S8: an agent deletes only what it applied, what its declaration or a failed Release no longer has, and never
//! what merely bears its labels.

use super::{Found, Moment};
use crate::simulation::declared::{SPACE, has_extra};
use crate::simulation::read::text;
use crate::simulation::story::Step;
use crate::simulation::world::bystander_key;

/// Remembers nothing but what the record said before each deletion.
#[derive(Debug, Default)]
pub(crate) struct Ownership;

impl Ownership {
    pub(crate) fn see(&mut self, moment: &Moment<'_>) -> Found {
        let commit = moment.commit;
        if commit.key == bystander_key() && commit.before.is_some() && moment.is_ours() {
            return vec![("S8", "an object that only bears our labels was written or deleted".to_owned())];
        }
        if !moment.is_ours() || commit.key.namespace != SPACE || commit.after.is_some() {
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
