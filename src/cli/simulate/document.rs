//! What was played, for machines. Enters: an [`Answer`]. Leaves: JSON; rollouts look as they do over HTTP.

use serde_json::{Value, json};

use super::{Answer, Failure};
use crate::model::Timestamp;
use crate::sim::play::{Count, Ill, Played};
use crate::status::native;

/// All answers.
pub(super) fn all(applications: &[Value], remarks: &[String]) -> Value {
    json!({"simulated": true, "remarks": remarks, "applications": applications})
}

/// An app's answer.
pub(super) fn answer(answer: &Answer) -> Value {
    let Answer { script, played, failures } = answer;
    json!({
        "application": script.application.name.as_str(),
        "versionBefore": script.version_before,
        "version": script.application.version,
        "completed": played.is_completed(),
        "remarks": script.remarks,
        "rollout": native::rollout(&played.view),
        "podsMost": played.pods_most(),
        "readyFewest": played.ready_fewest(),
        "counts": counts(played),
        "failures": failures.iter().map(failure).collect::<Vec<_>>(),
    })
}

fn failure(failure: &Failure) -> Value {
    let Failure { number, wave, ill, played } = failure;
    json!({
        "number": number,
        "wave": wave.name,
        "failsBy": match ill {
            Ill::Errors => "analysis",
            Ill::Crashes => "pods",
        },
        "noticedAfterMillis": failure.noticed_after().map(|time| time.0),
        "reason": played.turned.as_ref().map(|(reason, _)| reason.to_string()),
        "newPodsMost": played.new_most(),
        "readyFewest": played.ready_fewest(),
        "stableBackAfterMillis": failure.back_after().map(|time| time.0),
        "rollout": native::rollout(&played.view),
    })
}

fn counts(played: &Played) -> Vec<Value> {
    let moment = |at: Timestamp| format!("{at:.3}");
    let count = |count: &Count| {
        let Count { at, new, old, old_ready, ready } = count;
        json!({"at": moment(*at), "new": new, "old": old, "oldReady": old_ready, "ready": ready})
    };
    played.counts.iter().map(count).collect()
}
