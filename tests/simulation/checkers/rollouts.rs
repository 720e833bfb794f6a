//! S2 evidence, S3 order, S4 revert exactness, S5 latch, S10 intent first: read from the durable record as it changes,
//! and from what is written to the Deployment.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Found, Moment, ON_ITS_WAY};
use crate::simulation::read::{number, position, rollout, size, text, version, waves};
use crate::simulation::story::Step;
use tidegate::model::Timestamp;

/// Remembers the rollout under way.
#[derive(Debug, Default)]
pub(crate) struct Rollouts {
    /// Its number, its wave, and whether it turned back.
    place: Option<(String, Option<usize>, bool)>,
    /// Whether the wave's pods were all Ready at the generation that carries it, at some moment since it began.
    was_ready: bool,
    /// Whether any Release completed.
    has_run: bool,
    /// Rollouts that turned back because somebody asked.
    aborts: usize,
    /// Releases that failed, with the attempt, unless a person freed them.
    failed: BTreeSet<(String, u64)>,
    /// Whether a person had just asked for another try when somebody deleted the resource.
    asked_and_deleted: bool,
    /// How many rollouts the record counts, and when the last of them began.
    counted: (u64, String),
    /// The Release of the last first sync that failed: it stays where it is.
    stranded: String,
    /// When the Deployment was last seen with too few pods for waves, before somebody scaled it.
    small_until: Option<Timestamp>,
    /// Agents of ours that wrote last, by process: a write of one that died may still arrive.
    newest: u32,
}

impl Rollouts {
    pub(crate) fn see(&mut self, moment: &Moment<'_>) -> Found {
        let mut found = Vec::new();
        self.newest = self.newest.max(moment.commit.by.agent.unwrap_or_default());
        match moment.commit.key.kind.kind.as_str() {
            "Application" => {
                self.record(moment, &mut found);
                self.readiness(moment);
            }
            "Deployment" => {
                if moment.before().is_some_and(|before| number(before, "/spec/replicas") <= 1) {
                    self.small_until = Some(moment.commit.at);
                }
                self.template(moment, &mut found);
                self.readiness(moment);
            }
            "ReplicaSet" => self.readiness(moment),
            _ => {}
        }
        found
    }

    /// The record changed.
    fn record(&mut self, moment: &Moment<'_>, found: &mut Found) {
        let nothing = Value::Null;
        // The same request twice is answered in the same words: that it is gone tells.
        let is_asked = |body: &Value| {
            body["metadata"]["annotations"]["tidegate.dev/request"]
                .as_str()
                .is_some_and(|text| text.starts_with("retry"))
        };
        // Who deletes the resource does not undo what an agent remembers: it is written anew.
        let Some(after) = moment.after() else {
            self.asked_and_deleted = moment.before().is_some_and(is_asked);
            return;
        };
        let before = moment.before().unwrap_or(&nothing);
        self.has_run |= !text(after, "/status/stableDigest").is_empty();
        let now = rollout(after);
        let was = rollout(before);
        // One that was deleted while no agent ran is made from what the cluster shows, which does not tell what failed:
        // rollouts are counted anew, and the first of them may have begun before it was written.
        let count = after["record"]["rollouts"].as_u64().unwrap_or_default();
        let began = now.map(|now| text(now, "/startedAt").to_owned()).unwrap_or_default();
        let is_first = count <= self.counted.0 && now.is_some() && began != self.counted.1;
        if moment.before().is_none() && self.has_run && (count == 0 || is_first) {
            self.failed.clear();
        }
        if now.is_some() {
            self.counted = (count, began);
        }
        let was_asked = is_asked(before) || (moment.before().is_none() && self.asked_and_deleted);
        if was_asked && !is_asked(after) && text(after, "/record/answered/request").starts_with("retry") {
            self.failed.clear();
        }
        let id = |rollout: &Value| rollout["id"].as_u64().unwrap_or_default();
        if let Some(was) = was.filter(|was| now.is_none_or(|now| id(now) != id(was))) {
            ended(was, after, moment, self.was_ready, found);
        }
        let Some(now) = now else {
            self.place = None;
            return;
        };
        let index = now["position"]["index"].as_u64().and_then(|index| usize::try_from(index).ok());
        let place = (text(now, "/startedAt").to_owned(), index, matches!(position(now), "reverting" | "held"));
        if self.place.as_ref() == Some(&place) {
            return;
        }
        if moment.before().is_none() && self.has_run {
            // Somebody deleted the resource, and it is written anew from what is remembered: that is where it begins again.
            if text(now, "/lane") == "firstSync" && moment.standing.deployment().is_some() {
                found.push((
                    "S3",
                    "an app that ran already is taken for a first sync, its resource being lost".to_owned(),
                ));
            }
            self.place = Some(place);
            self.was_ready = false;
            return;
        }
        // What was decided while there were too few pods may be written after somebody scaled.
        let was_small = self.small_until.is_some_and(|at| !ON_ITS_WAY.has_passed(at, moment.commit.at));
        let is_waveless = was_small || has_no_waves(now, moment);
        match self.place.clone() {
            Some((known, was, has_turned)) if known == place.0 => {
                step(was, has_turned, now, index, self.was_ready, is_waveless, moment, found);
            }
            _ => {
                started(&self.failed, now, index, is_waveless, found);
                // What stands of a version that failed, after Stable's was deleted, is nothing to go back to.
                let release =
                    |deployment: &Value| deployment["metadata"]["annotations"]["tidegate.dev/release"].clone();
                let stands = moment.standing.deployment().is_some_and(|it| release(it) != self.stranded.as_str());
                if self.has_run && text(now, "/lane") == "firstSync" && stands {
                    found.push(("S3", "an app that ran already is taken for a first sync".to_owned()));
                }
            }
        }
        self.failed.extend(failed(now));
        if position(now) == "held" && text(now, "/lane") == "firstSync" {
            text(now, "/target/digest").clone_into(&mut self.stranded);
        }
        if position(now) == "reverting" && matches!(text(now, "/position/reason/by"), "abort" | "rollback") {
            self.aborts += 1;
            let asked = moment.story.steps.iter().filter(|(_, step)| matches!(step, Step::Request(_))).count();
            if self.aborts > asked {
                found.push(("S5", format!("{} rollouts were aborted, and people asked {asked} times", self.aborts)));
            }
        }
        self.place = Some(place);
        self.was_ready = false;
        self.readiness(moment);
    }

    /// An agent wrote the Deployment: its template is Stable's or the Target's, and only once that is durable.
    fn template(&self, moment: &Moment<'_>, found: &mut Found) {
        let (Some(after), Some(application)) = (moment.after(), moment.standing.application()) else { return };
        let before = moment.before().map(version).unwrap_or_default();
        if !moment.is_ours() || before == version(after) {
            return;
        }
        let written = version(after);
        let stable = text(application, "/record/stable/version");
        // Stable that was never kept is made from what runs, edits by others included.
        let is_edit = moment.story.has(|step| matches!(step, Step::SetImage(image) if image == written));
        let is_stable =
            is_edit || written == stable || stable == "adopted" || settled_stable(application) == Some(written);
        let Some(rollout) = application.pointer("/record/rollout").filter(|rollout| rollout.is_object()) else {
            if !is_stable {
                found.push((
                    "S10",
                    format!("{written} was written to the Deployment without a rollout; Stable is {stable}"),
                ));
            }
            return;
        };
        let target = text(rollout, "/target/version");
        let is_late = moment.commit.by.agent < Some(self.newest);
        let is_direct = matches!(text(rollout, "/lane"), "firstSync" | "direct");
        match position(rollout) {
            "wave" | "trailing" if written == target || is_stable => {}
            "preparing" if is_stable || is_direct => {}
            "held" if written == target || is_stable => {}
            "reverting" if is_stable || is_late => {}
            "reverting" => found.push((
                "S4",
                format!("{written} was written to the Deployment while the way back to {stable} was durable"),
            )),
            other if !is_late => found.push((
                "S10",
                format!("{written} was written to the Deployment at `{other}` of a rollout to {target} from {stable}"),
            )),
            _ => {}
        }
    }

    /// Notes when the wave's pods are all there.
    fn readiness(&mut self, moment: &Moment<'_>) {
        let (Some(rollout), Some(deployment)) = (moment.standing.rollout(), moment.standing.deployment()) else {
            return;
        };
        if position(rollout) != "wave" {
            return;
        }
        let index = usize::try_from(rollout["position"]["index"].as_u64().unwrap_or_default()).unwrap_or_default();
        let waves = waves(rollout);
        let Some(wave) = waves.get(index) else { return };
        let target = text(rollout, "/target/version");
        let is_observed = deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"];
        let n = number(deployment, "/spec/replicas");
        let ready: u32 = moment
            .standing
            .sets()
            .filter(|set| version(set) == target)
            .map(|set| number(set, "/status/readyReplicas"))
            .sum();
        self.was_ready |= is_observed && version(deployment) == target && ready >= size(wave, n);
    }
}

/// The version that status calls Stable while the record still tells of the first sync.
fn settled_stable(application: &Value) -> Option<&str> {
    let rollout = application.pointer("/record/rollout")?;
    let digest = text(application, "/status/stableDigest");
    (!digest.is_empty() && digest == text(rollout, "/target/digest")).then(|| text(rollout, "/target/version"))
}

/// A rollout began: with what is to be prepared, or where that is nothing with its first wave.
fn started(known: &BTreeSet<(String, u64)>, now: &Value, index: Option<usize>, is_waveless: bool, found: &mut Found) {
    if index.is_some_and(|index| index > 0 && !(is_waveless && index + 1 == waves(now).len())) {
        found.push(("S3", format!("a rollout begins at wave {}", index.unwrap_or_default())));
    }
    let digest = text(now, "/target/digest");
    let attempt = now["target"]["attempt"].as_u64().unwrap_or_default();
    if known.iter().any(|(known, tried)| known == digest && *tried >= attempt) {
        found.push(("S5", format!("{} failed before and is rolled out again", text(now, "/target/version"))));
    }
}

/// A rollout moved on.
#[expect(clippy::too_many_arguments, reason = "what was, what is, and what excuses it")]
fn step(
    was: Option<usize>,
    has_turned: bool,
    now: &Value,
    index: Option<usize>,
    was_ready: bool,
    is_waveless: bool,
    moment: &Moment<'_>,
    found: &mut Found,
) {
    let at = position(now);
    if has_turned && matches!(at, "wave" | "preparing" | "trailing") {
        // A person may ask for another try of what is held.
        let is_asked = text(moment.after().unwrap_or(&Value::Null), "/record/answered/request").starts_with("retry");
        // A first sync is held for want of somewhere to go back to, and goes on when its pods are there after all.
        if !is_asked && text(now, "/lane") != "firstSync" {
            found.push(("S4", format!("a rollout that had turned back goes forward: {at}")));
        }
        return;
    }
    match (was, index) {
        (None, Some(index)) if index > 0 && !(is_waveless && index + 1 == waves(now).len()) => {
            found.push(("S3", format!("wave {index} comes first")));
        }
        (Some(was), Some(index)) if index != was + 1 && index != was => {
            found.push(("S3", format!("wave {index} comes after wave {was}")));
        }
        (Some(was), Some(index)) if index == was + 1 => passed(was, now, was_ready || is_waveless, found),
        (Some(was), None) if at == "trailing" => passed(was, now, was_ready, found),
        (Some(was), None) if at == "preparing" => found.push(("S3", format!("wave {was} is prepared again"))),
        _ => {}
    }
}

/// Whether what runs, and was adopted or taken for Stable as it ran, is of the Target's version already. What somebody
/// added to its template is taken out as at any other time.
fn was_there(rollout: &Value, moment: &Moment<'_>) -> bool {
    let target = text(rollout, "/target/version");
    let stable = text(moment.before().unwrap_or(&Value::Null), "/record/stable/version");
    (stable == "adopted" || stable == target) && moment.standing.deployment().map(version) == Some(target)
}

/// Whether the Deployment has too few pods for any wave but the last: none, or one that cannot make room in place. Or
/// nothing to move.
fn has_no_waves(rollout: &Value, moment: &Moment<'_>) -> bool {
    let Some(deployment) = moment.standing.deployment() else { return true };
    was_there(rollout, moment)
        || number(deployment, "/spec/replicas") <= u32::from(rollout["plan"]["capacity"] == "inPlace")
}

/// A wave was passed: there must be evidence.
fn passed(wave: usize, rollout: &Value, was_ready: bool, found: &mut Found) {
    let record = &rollout["waves"][wave];
    if text(record, "/passedAt").is_empty() {
        found.push(("S2", format!("wave {wave} is left without being passed")));
    }
    if !was_ready {
        found.push(("S2", format!("wave {wave} was passed and its pods were never all Ready")));
    }
    let declared = &waves(rollout)[wave];
    for name in declared["analysis"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let analyses = rollout["plan"]["analysis"].as_array().into_iter().flatten();
        let Some(analysis) = analyses.into_iter().find(|analysis| text(analysis, "/name") == name) else { continue };
        let gates = record["gates"].as_array().into_iter().flatten();
        let samples: Vec<&Value> = gates
            .filter(|gate| text(gate, "/gate").contains(name))
            .flat_map(|gate| gate["measurements"].as_array().into_iter().flatten())
            .filter(|sample| sample["value"].is_number())
            .collect();
        let max = analysis["max"].as_f64().unwrap_or(f64::MAX);
        let above = samples.iter().filter(|sample| sample["value"].as_f64() > Some(max)).count() as u64;
        if (samples.len() as u64) < analysis["count"].as_u64().unwrap_or(1) {
            found.push(("S2", format!("wave {wave} was passed with {} samples of {name}", samples.len())));
        }
        if above > analysis["failuresMax"].as_u64().unwrap_or_default() {
            found.push(("S2", format!("wave {wave} was passed with {above} samples of {name} above {max}")));
        }
        let ready_at = text(record, "/readyAt");
        if samples.iter().any(|sample| time(text(sample, "/at")) < time(ready_at)) {
            found.push(("S2", format!("wave {wave} was passed on a sample of {name} from before its pods were Ready")));
        }
    }
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// A rollout ended, or another took its place.
fn ended(was: &Value, after: &Value, moment: &Moment<'_>, was_ready: bool, found: &mut Found) {
    let target = text(was, "/target/version");
    // The end of a first sync is told by status; the record follows with its next write.
    if after["record"]["rollout"]["id"] == was["id"] {
        return;
    }
    let past = after["record"]["past"].as_array().and_then(|past| past.last());
    let Some(past) = past.filter(|past| past["id"] == was["id"]) else {
        found.push(("S3", format!("the rollout to {target} vanished without a trace")));
        return;
    };
    match text(past, "/outcome") {
        "completed" => {
            let last = waves(was).len().saturating_sub(1);
            let is_waved = matches!(text(was, "/lane"), "waves" | "express");
            let index = was["position"]["index"].as_u64().and_then(|index| usize::try_from(index).ok());
            if is_waved && position(was) == "wave" {
                if index != Some(last) {
                    found.push(("S3", format!("the rollout to {target} completed at wave {index:?} of {last}")));
                } else if !was_ready
                    && !was_there(was, moment)
                    && number(moment.standing.deployment().unwrap_or(&Value::Null), "/spec/replicas") > 0
                {
                    found.push(("S2", format!("the rollout to {target} completed and its pods were never all Ready")));
                }
            }
        }
        "reverted" | "withdrawn" => {
            let stable = text(after, "/record/stable/version");
            let Some(deployment) = moment.standing.deployment() else { return };
            if stable != "adopted" && version(deployment) == target && stable != target {
                found.push((
                    "S4",
                    format!("the rollout to {target} ended as {} and {target} still runs", text(past, "/outcome")),
                ));
            }
        }
        _ => {}
    }
}

/// The version and attempt of a rollout that turned back because it failed; a newer commit or Git itself is no failure.
fn failed(rollout: &Value) -> Option<(String, u64)> {
    let is_failure = matches!(text(rollout, "/position/reason/kind"), "gateShut" | "deadline" | "requested");
    let key = (text(rollout, "/target/digest").to_owned(), rollout["target"]["attempt"].as_u64().unwrap_or_default());
    (position(rollout) == "reverting" && is_failure).then_some(key)
}
