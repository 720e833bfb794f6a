//! Hooks of a rollout: what runs now, what is waited for, what failed.
//!
//! Nothing is written before a run but the run itself: it is recognised by its annotation after a crash. Its end is
//! written to the record before anything follows from it.

use super::{Draft, rolling};
use crate::health::health;
use crate::model::marks::{ANNOTATION_OWNER, LABEL_APPLICATION};
use crate::model::{Action, Health, HealthStatus, HookRun, Millis, Moment, Object, RevertReason, Rollout, Timestamp};
use crate::stage::{Group, StagedHook, group};

/// Whether every hook of `moment` has succeeded. When one failed, so has the rollout.
pub(super) fn pass(draft: &mut Draft<'_>, rollout: &Rollout, moment: Moment) -> bool {
    if let Some(failed) = rollout.hooks.failed(moment) {
        let reason = RevertReason::GateShut {
            wave: rollout.waves.last().map_or_else(|| "preparing".to_owned(), |wave| wave.name.clone()),
            gate: format!("{} hook {}", moment.as_str(), failed.name()),
            message: failed.message.clone(),
        };
        rolling::fail(draft, rollout, reason);
        return false;
    }
    are_over(draft, rollout, moment)
}

/// Whether every hook of `moment` came to an end, good or bad; runs what is next otherwise.
pub(super) fn are_over(draft: &mut Draft<'_>, rollout: &Rollout, moment: Moment) -> bool {
    let s = draft.s;
    let is_open = |hook: &&StagedHook| hook.moment == moment && rollout.hooks.run(moment, &hook.key).is_none();
    let open: Vec<&StagedHook> = s.stage.hooks.iter().filter(is_open).collect();
    let Some(turn) = open.iter().map(|hook| hook.turn).min() else { return true };
    for hook in open.into_iter().filter(|hook| hook.turn == turn) {
        step(draft, rollout, hook);
    }
    false
}

/// One hook a step on.
fn step(draft: &mut Draft<'_>, rollout: &Rollout, hook: &StagedHook) {
    let s = draft.s;
    let is_over = |health: &Health| matches!(health.status, HealthStatus::Healthy | HealthStatus::Degraded);
    let told = match s.live.hooks.get(&hook.object.key) {
        Some(live) if hook.is_run(live) => {
            let health = health(live, draft.health_rules()).unwrap_or_else(Health::healthy);
            if is_over(&health) {
                return record(draft, hook, health.status == HealthStatus::Healthy, health.message);
            }
            if is_late(draft, rollout, created_at(live).unwrap_or(s.now)) {
                let message = format!("it did not come to its end within {}: {}", timeout(rollout), health.message);
                return record(draft, hook, false, message);
            }
            health.message
        }
        Some(live) if !is_ours(live, hook) => {
            let message = "an object of this name exists that is not ours; rename the hook, or delete it".to_owned();
            return record(draft, hook, false, message);
        }
        Some(live) if live.is_terminating() => "the one of an earlier run is being deleted".to_owned(),
        Some(live) if hook.deletes.is_before_creation || group(&hook.key.kind) == Group::Workloads => {
            draft.actions.push(super::removal::delete(live));
            "the one of an earlier run is being deleted".to_owned()
        }
        Some(_) | None => {
            if let Some(failure) = s.failures.get(&hook.object.key) {
                if is_late(draft, rollout, failure.since) {
                    return record(draft, hook, false, failure.reason.clone());
                }
                if failure.retry_at > s.now {
                    draft.wake(failure.retry_at);
                    let fact = format!("{} hook {}: {}", hook.moment.as_str(), hook.object.key, failure.reason);
                    return draft.blocked_since(fact, failure.since);
                }
            }
            draft.actions.push(Action::Apply { object: hook.object.clone(), is_forced: true });
            "it is being started".to_owned()
        }
    };
    draft.blocked_since(format!("{} hook {}: {told}", hook.moment.as_str(), hook.object.key), rollout.started_at);
}

fn record(draft: &mut Draft<'_>, hook: &StagedHook, is_success: bool, message: String) {
    let at = draft.s.now;
    if let Some(rollout) = &mut draft.record.rollout {
        let (moment, key) = (hook.moment, hook.key.clone());
        let name = &hook.object.key.name;
        let generated = if *name == key.name { String::new() } else { name.clone() };
        rollout.hooks.runs.push(HookRun { moment, key, generated, is_success, message, at });
        draft.has_moved = true;
    }
}

/// Deletes runs that came to their end, where the hook says so. Returns whether there was one.
pub(super) fn tidy(draft: &mut Draft<'_>, rollout: &Rollout) -> bool {
    let s = draft.s;
    let mut has_tidied = false;
    for hook in &s.stage.hooks {
        let (Some(run), Some(live)) = (rollout.hooks.run(hook.moment, &hook.key), s.live.hooks.get(&hook.object.key))
        else {
            continue;
        };
        let is_due = if run.is_success { hook.deletes.is_on_success } else { hook.deletes.is_on_failure };
        // One that cannot be deleted is left: nothing waits for it.
        let is_tried = s.failures.contains_key(&hook.object.key);
        if is_due && hook.is_run(live) && is_ours(live, hook) && !live.is_terminating() && !is_tried {
            draft.actions.push(super::removal::delete(live));
            has_tidied = true;
        }
    }
    has_tidied
}

fn is_ours(live: &Object, hook: &StagedHook) -> bool {
    live.annotation(ANNOTATION_OWNER) == hook.object.annotation(ANNOTATION_OWNER)
        && live.label(LABEL_APPLICATION) == hook.object.label(LABEL_APPLICATION)
}

fn created_at(live: &Object) -> Option<Timestamp> {
    live.text("/metadata/creationTimestamp")?.parse().ok()
}

fn timeout(rollout: &Rollout) -> Millis {
    rollout.lane_waves().last().map_or(crate::model::plan::WAVE_TIMEOUT_DEFAULT, |wave| wave.timeout)
}

/// Whether the wave's time is over, of which only what somebody looked at counts.
fn is_late(draft: &mut Draft<'_>, rollout: &Rollout, since: Timestamp) -> bool {
    let since = draft.s.history.attended_since.map_or(since, |attended| attended.max(since));
    let timeout = timeout(rollout);
    if timeout.has_passed(since, draft.s.now) {
        return true;
    }
    draft.wake(timeout.after(since));
    false
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::Decision;
    use super::super::scene::FirstSync;
    use super::*;
    use crate::model::{ClusterName, Position};
    use crate::observe::Live;

    fn object(kind: &str, name: &str, annotations: &Value) -> Object {
        let api_version = if kind == "Job" { "batch/v1" } else { "v1" };
        let body = json!({"apiVersion": api_version, "kind": kind,
            "metadata": {"name": name, "namespace": "a", "annotations": annotations}});
        Object::from_value(&ClusterName::local(), body).expect("well formed")
    }

    /// What a first sync with these hooks decides, when the runs of `live` exist: each by name, run and status.
    fn first_sync(hooks: &[Object], runs: Vec<HookRun>, live: &[(&str, &str, Value)]) -> Decision {
        let config = object("ConfigMap", "config", &json!({}));
        let sync = FirstSync::of(hooks.iter().chain([&config]), runs);
        let stored = sync.stage(&Live::default()).hooks.into_iter().filter_map(|hook| {
            let (_, run, status) = live.iter().find(|(name, _, _)| *name == hook.object.key.name)?;
            let mut body = (*hook.object.body).clone();
            body["metadata"]["annotations"][crate::model::marks::ANNOTATION_HOOK_RUN] = json!(run);
            body["metadata"]["uid"] = json!("u");
            body["metadata"]["creationTimestamp"] = json!("1970-01-01T00:00:01Z");
            body["status"] = status.clone();
            Some((hook.object.key.clone(), hook.object.with_body(body)))
        });
        sync.decide(&Live { hooks: stored.collect(), ..Live::default() }, 2)
    }

    fn does(decision: &Decision) -> Vec<String> {
        let told = |action: &Action| match action {
            Action::Apply { object, .. } => format!("apply {}", object.key.name),
            Action::Delete { key, .. } => format!("delete {}", key.name),
            other => format!("{other:?}"),
        };
        decision.actions.iter().map(told).collect()
    }

    fn run(name: &str, is_success: bool) -> HookRun {
        let key = object("Job", name, &json!({})).key;
        let (generated, message) = (String::new(), String::new());
        HookRun { moment: Moment::Pre, key, generated, is_success, message, at: Timestamp::UNIX_EPOCH }
    }

    fn done(kind: &str) -> Value {
        json!({"conditions": [{"type": kind, "status": "True"}]})
    }

    #[test]
    fn pre_hooks_run_by_their_numbers_before_the_first_write() {
        let first = object("Job", "first", &json!({"helm.sh/hook": "pre-install", "helm.sh/hook-weight": "-1"}));
        let second = object("Job", "second", &json!({"tidegate.dev/hook": "pre"}));
        let hooks = [second, first];
        assert_eq!(does(&first_sync(&hooks, Vec::new(), &[])), ["apply first"]);
        assert_eq!(does(&first_sync(&hooks, Vec::new(), &[("first", "1.0/pre", json!({}))])), Vec::<String>::new());
        let ended = first_sync(&hooks, Vec::new(), &[("first", "1.0/pre", done("Complete"))]);
        let runs = ended.record.and_then(|record| record.rollout).expect("a rollout").hooks.runs;
        assert!(runs.len() == 1 && runs[0].is_success);
        assert_eq!(does(&first_sync(&hooks, vec![run("first", true)], &[])), ["apply second"]);
        assert_eq!(does(&first_sync(&hooks, vec![run("first", true), run("second", true)], &[])), ["apply config"]);
    }

    #[test]
    fn the_run_of_an_earlier_rollout_is_replaced() {
        let hooks = [object("Job", "first", &json!({"argocd.argoproj.io/hook": "PreSync"}))];
        let old = [("first", "0.0/pre", done("Complete"))];
        assert_eq!(does(&first_sync(&hooks, Vec::new(), &old)), ["delete first"]);
    }

    #[test]
    fn a_hook_that_fails_fails_the_rollout_and_nothing_goes_out() {
        let hooks = [object(
            "Job",
            "first",
            &json!({"argocd.argoproj.io/hook": "PreSync",
            "argocd.argoproj.io/hook-delete-policy": "HookFailed"}),
        )];
        let ended = first_sync(&hooks, Vec::new(), &[("first", "1.0/pre", done("Failed"))]);
        let runs = ended.record.and_then(|record| record.rollout).expect("a rollout").hooks.runs;
        assert!(runs.len() == 1 && !runs[0].is_success);
        let tidied = first_sync(&hooks, vec![run("first", false)], &[("first", "1.0/pre", done("Failed"))]);
        assert_eq!(does(&tidied), ["delete first"]);
        let failed = first_sync(&hooks, vec![run("first", false)], &[]);
        let position = failed.record.and_then(|record| record.rollout).expect("a rollout").position;
        let Position::Held { reason, .. } = position else { panic!("{position:?}") };
        assert_eq!(reason.to_string(), "gate pre hook first of wave all shut: ");
    }
}
