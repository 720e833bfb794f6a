//! What must hold when everybody has stopped: L1 an end is reached, L2 it is the declared one and it stays, S12 nothing
//! is written any more.

use serde_json::Value;

use super::{Checkers, Violation};
use crate::simulation::declared::{Declared, is_good};
use crate::simulation::read::{number, rollout, text, version};
use crate::simulation::story::{Step, Story};
use tidegate::model::Timestamp;

/// Whether the app has come to an end: as declared and well, or held, or waiting for a person with a reason.
pub(crate) fn is_settled(checkers: &Checkers) -> bool {
    let Some(application) = checkers.standing().application() else { return false };
    let status = &application["status"];
    let is_well = status["health"]["status"] == "Healthy" && status["sync"]["status"] == "Synced";
    let at = rollout(application).map(super::super::read::position);
    match text(status, "/phase") {
        "Idle" => is_well && at.is_none(),
        // A first sync to a bad version whose record somebody deleted: what runs is taken for Stable, and is not well.
        // Its progress deadline passes late, and then once more something is to be told.
        "Unhealthy" => {
            at.is_none() && !is_good(text(application, "/record/stable/version")) && has_come_to_an_end(checkers)
        }
        "Held" => at.is_none_or(|at| at == "held"),
        "SourceFailed" => at.is_none(),
        // Scaled to nothing, or paused: that is for a person to end.
        "Waiting" => true,
        // The Release of a first sync was lost in a restart, and Git has no other that may be followed.
        "Progressing" => text(status, "/why/fact").contains("cannot be read; the cluster is left as it is"),
        _ => false,
    }
}

/// Whether the Deployment controller has said its last word on the Deployment's progress.
fn has_come_to_an_end(checkers: &Checkers) -> bool {
    let conditions = checkers.standing().deployment().and_then(|it| it["status"]["conditions"].as_array());
    conditions.is_none_or(|conditions| {
        let mut progress = conditions.iter().filter(|condition| condition["type"] == "Progressing");
        progress.all(|it| it["reason"] == "NewReplicaSetAvailable" || it["reason"] == "ProgressDeadlineExceeded")
    })
}

/// Judges the end of a story: `settled_at` is when it settled, and `now` is long after.
pub(crate) fn judge(
    story: &Story,
    checkers: &Checkers,
    settled_at: Option<Timestamp>,
    now: Timestamp,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut add = |rule: &'static str, what: String| violations.push(Violation { rule, what, at: now });
    let standing = checkers.standing();
    let is_rewritten = story.has(|step| matches!(step, Step::Rewrite(..)));
    let Some(application) = standing.application() else {
        // A history that was rewritten waits for a person. Nothing tells of an app then that was never applied, or whose
        // resource somebody deleted while no agent ran.
        let is_deleted = story.has(|step| matches!(step, Step::DeleteApplication));
        if !is_rewritten || standing.deployment().is_some() && !is_deleted {
            add("L1", "there is no Application resource".to_owned());
        }
        return violations;
    };
    let Some(settled_at) = settled_at else {
        let why = text(application, "/status/why/fact");
        let phase = text(application, "/status/phase");
        let record = &application["record"]["rollout"]["position"];
        add("L1", format!("no end is reached: phase {phase}, position {record}, why `{why}`"));
        return violations;
    };
    for (at, key) in checkers.writes.iter().filter(|(at, _)| *at > settled_at) {
        add("S12", format!("{key} was written at {at}, though all had settled"));
    }
    let Some(deployment) = standing.deployment() else {
        // A history that was rewritten before the first sync waits for a person, with nothing applied.
        if !is_rewritten {
            add("L2", "there is no Deployment".to_owned());
        }
        return violations;
    };
    let is_emptied = matches!(
        story.steps.iter().map(|(_, step)| step).rfind(|step| matches!(step, Step::Declare(_) | Step::Empty)),
        Some(Step::Empty)
    );
    // Putting Stable's image back by hand is `kubectl rollout undo`.
    let is_undone = text(application, "/status/why/fact").contains("kubectl rollout undo")
        && story.has(|step| matches!(step, Step::SetImage(_)));
    let is_asked = is_undone || story.has(|step| matches!(step, Step::Request(_)));
    let phase = text(application, "/status/phase");
    let stable = text(application, "/record/stable/version");
    let last = last_declared(story);
    // A cluster that stands still for as long as a wave may take makes the wave fail: that is what time-outs are for.
    // So does an API server that lets calls hang, or refuses them one after the other, until a wave's time is over.
    let is_hanging = ["SlowCall", "RefuseCall"].iter().any(|fault| story.faults.contains_key(*fault))
        && text(application, "/status/why/fact").contains("could not be applied within");
    let is_stalled = is_hanging || story.has(|step| matches!(step, Step::StallControllers(10_000..)));
    if !is_stalled
        && !is_rewritten
        && !is_asked
        && !is_emptied
        && is_good(&last.version)
        // In place, a wave needs old pods that work.
        && (!last.in_place || is_good(stable))
        && !matches!(phase, "Idle" | "Waiting")
    {
        add(
            "L2",
            format!("{} is good and the app is {phase}: {}", last.version, text(application, "/status/why/fact")),
        );
    }
    if phase == "Idle" && !is_rewritten && !is_emptied {
        let runs = version(deployment);
        if runs != last.version {
            add("L2", format!("{} is declared, {runs} runs, and the app is Idle", last.version));
        }
        if let Some(replicas) = last.replicas.filter(|replicas| *replicas != number(deployment, "/spec/replicas")) {
            add("L2", format!("{replicas} replicas are declared, {} stand", number(deployment, "/spec/replicas")));
        }
        settings(deployment, &mut add);
        let env =
            deployment.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array).map_or(0, Vec::len);
        if env != 1 {
            add("L2", format!("one environment variable is declared, {env} stand"));
        }
        let extra = tidegate::model::ObjectKey::local("", "ConfigMap", super::super::declared::SPACE, "web-extra");
        if standing.objects.contains_key(&extra) != last.has_extra() {
            add("L2", format!("web-extra does not stand as {} declares", last.version));
        }
    }
    if phase == "Held" && rollout(application).is_none() {
        let runs = version(deployment);
        // Stable that was never kept is made from what runs, edits by others included.
        let is_edit = story.has(|step| matches!(step, Step::SetImage(image) if image == runs));
        if runs != stable && stable != "adopted" && !stable.is_empty() && !is_edit {
            add("L2", format!("the app is held at {stable} and {runs} runs"));
        }
        settings(deployment, &mut add);
    }
    violations
}

/// The declared pace stands again, none of the hold's values.
fn settings(deployment: &Value, add: &mut impl FnMut(&'static str, String)) {
    let spec = &deployment["spec"];
    let stands = [
        &spec["minReadySeconds"],
        &spec["progressDeadlineSeconds"],
        &spec["strategy"]["rollingUpdate"]["maxSurge"],
        &spec["strategy"]["rollingUpdate"]["maxUnavailable"],
    ];
    if *stands[0] != 1 || *stands[1] != 600 || *stands[2] != "25%" || *stands[3] != "25%" || spec["paused"] == true {
        add("L2", format!("hold values stand in the Deployment: {stands:?}"));
    }
}

/// What Git says in the end.
fn last_declared(story: &Story) -> &Declared {
    story.declarations().last().expect("there is a first")
}
