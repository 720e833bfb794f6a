//! Which objects of a Release are hooks, when they run, and the object that one run is.
//!
//! Pure. Our annotations, Argo CD's and Helm's are read alike; an object that carries several kinds is read by the first
//! of these. A hook is no part of what stands: it is neither staged nor inventoried, drifts from nothing, and is not pruned.

use serde_json::{Value, json};

use super::marks;
use super::order::{self, Rank};
use crate::model::marks::{ANNOTATION_GENERATE_NAME, ANNOTATION_HOOK_RUN, HOOK_ANNOTATIONS};
use crate::model::{AppName, Lane, Moment, Object, ObjectKey, Release, Rollout};

const DELETE_ANNOTATIONS: [&str; 3] =
    ["tidegate.dev/hook-delete-policy", "argocd.argoproj.io/hook-delete-policy", "helm.sh/hook-delete-policy"];
const HELM_WEIGHT: &str = "helm.sh/hook-weight";

/// When the object that a run was is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookDeletes {
    /// Before the next run.
    pub is_before_creation: bool,
    /// After it succeeded.
    pub is_on_success: bool,
    /// After it failed.
    pub is_on_failure: bool,
}

/// One run of a hook in a rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct StagedHook {
    /// When it runs.
    pub moment: Moment,
    /// The hook, as the Release names it.
    pub key: ObjectKey,
    /// What is applied; its name is another one where the Release leaves the name open.
    pub object: Object,
    /// Hooks of one moment run in this order, those of the same number together.
    pub turn: i32,
    /// When it is deleted.
    pub deletes: HookDeletes,
}

impl StagedHook {
    /// Which run a live object is of.
    #[must_use]
    pub fn is_run(&self, live: &Object) -> bool {
        live.annotation(ANNOTATION_HOOK_RUN) == self.object.annotation(ANNOTATION_HOOK_RUN)
    }
}

/// Whether an object is a hook: also one that never runs here.
#[must_use]
pub fn is_hook(object: &Object) -> bool {
    // Definitions came as hooks in Helm 2. They are ordinary objects that stay.
    words(object).is_some_and(|words| words != "crd-install")
}

fn words(object: &Object) -> Option<&str> {
    HOOK_ANNOTATIONS.iter().find_map(|name| object.annotation(name))
}

/// The moments at which a hook runs in a rollout: Helm tells an installation from an upgrade.
fn moments(object: &Object, is_first: bool) -> Vec<Moment> {
    let words = words(object).unwrap_or_default();
    let moment = |word: &str| match word.trim() {
        "pre" | "PreSync" => Some(Moment::Pre),
        "pre-install" => is_first.then_some(Moment::Pre),
        "pre-upgrade" => (!is_first).then_some(Moment::Pre),
        "sync" | "Sync" => Some(Moment::Sync),
        "post" | "PostSync" => Some(Moment::Post),
        "post-install" => is_first.then_some(Moment::Post),
        "post-upgrade" => (!is_first).then_some(Moment::Post),
        "onFail" | "SyncFail" | "pre-rollback" => Some(Moment::OnFail),
        "onRollback" | "post-rollback" => Some(Moment::OnRollback),
        // `Skip`, deletion and tests: not here.
        _ => None,
    };
    let mut moments: Vec<Moment> = words.split(',').filter_map(moment).collect();
    moments.sort();
    moments.dedup();
    moments
}

fn deletes(object: &Object) -> HookDeletes {
    let words = DELETE_ANNOTATIONS.iter().find_map(|name| object.annotation(name));
    let has = |ours: &str, helm: &str| {
        words.is_some_and(|words| words.split(',').any(|word| word.trim() == ours || word.trim() == helm))
    };
    HookDeletes {
        is_before_creation: words.is_none() || has("BeforeHookCreation", "before-hook-creation"),
        is_on_success: has("HookSucceeded", "hook-succeeded"),
        is_on_failure: has("HookFailed", "hook-failed"),
    }
}

fn turn(object: &Object) -> i32 {
    let Rank { wave, group: _ } = order::rank(object);
    let weight = object.annotation(HELM_WEIGHT).and_then(|text| text.trim().parse().ok());
    if wave == 0 { weight.unwrap_or(0) } else { wave }
}

/// The runs of a rollout's hooks, each as the object to apply, without our marks.
#[must_use]
pub fn hooks(target: &Release, rollout: &Rollout) -> Vec<StagedHook> {
    let is_first = rollout.lane == Lane::FirstSync;
    let hooks = target.objects.iter().filter(|(_, object)| is_hook(object));
    let runs = hooks.flat_map(|(key, object)| {
        moments(object, is_first).into_iter().map(move |moment| StagedHook {
            moment,
            key: key.clone(),
            object: instance(object, rollout, moment),
            turn: turn(object),
            deletes: deletes(object),
        })
    });
    runs.collect()
}

/// The same with our marks on them.
pub(super) fn staged(
    target: &Release,
    rollout: &Rollout,
    app: &AppName,
    owner: &str,
    key: &[u8; 32],
) -> Vec<StagedHook> {
    let mut hooks = hooks(target, rollout);
    for hook in &mut hooks {
        hook.object = marks::mark(hook.object.clone(), app, owner, None, key).object;
    }
    hooks
}

/// The object that one run is. Its annotation tells it from every other run, so that a crash neither skips nor repeats one.
fn instance(object: &Object, rollout: &Rollout, moment: Moment) -> Object {
    let mut body = (*object.body).clone();
    let mut key = object.key.clone();
    if let Some(prefix) = object.annotation(ANNOTATION_GENERATE_NAME) {
        key = key.beside(key.kind.clone(), &format!("{prefix}{}", rollout.id));
        body["metadata"]["name"] = json!(key.name);
    }
    let run = format!("{}.{}/{}", rollout.id, rollout.hooks.tries, moment.as_str());
    body["metadata"]["annotations"][ANNOTATION_HOOK_RUN] = Value::String(run);
    Object { key, version: object.version.clone(), body: body.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterName;

    fn job(annotations: &Value) -> Object {
        let body =
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x", "annotations": annotations}});
        Object::from_value(&ClusterName::local(), body).expect("well formed")
    }

    fn check(annotation: &str, words: &str, first: &[Moment], later: &[Moment]) {
        let job = job(&json!({annotation: words}));
        assert!(is_hook(&job));
        assert_eq!((moments(&job, true).as_slice(), moments(&job, false).as_slice()), (first, later), "{words}");
    }

    #[test]
    fn our_annotations_argo_cds_and_helms_are_read_alike() {
        use Moment::{OnFail, OnRollback, Post, Pre, Sync};
        check("tidegate.dev/hook", "pre, post", &[Pre, Post], &[Pre, Post]);
        check("argocd.argoproj.io/hook", "Sync,SyncFail", &[Sync, OnFail], &[Sync, OnFail]);
        check("argocd.argoproj.io/hook", "Skip", &[], &[]);
        check("helm.sh/hook", "pre-install,post-upgrade", &[Pre], &[Post]);
        check("helm.sh/hook", "pre-rollback,post-rollback", &[OnFail, OnRollback], &[OnFail, OnRollback]);
        check("helm.sh/hook", "test", &[], &[]);
        assert!(!is_hook(&job(&json!({"helm.sh/hook": "crd-install"}))));
        assert!(!is_hook(&job(&json!({}))));
        let both = job(&json!({"helm.sh/hook": "post-install", "argocd.argoproj.io/hook": "PreSync"}));
        assert_eq!(moments(&both, true), [Pre]);
    }

    #[test]
    fn hooks_are_deleted_before_their_next_run_unless_they_say_otherwise() {
        let of = |annotation: &str, words: &str| {
            let HookDeletes { is_before_creation, is_on_success, is_on_failure } =
                deletes(&job(&json!({annotation: words})));
            (is_before_creation, is_on_success, is_on_failure)
        };
        assert_eq!(of("other", ""), (true, false, false));
        assert_eq!(of("argocd.argoproj.io/hook-delete-policy", "HookSucceeded,HookFailed"), (false, true, true));
        assert_eq!(of("helm.sh/hook-delete-policy", "before-hook-creation,hook-succeeded"), (true, true, false));
    }

    #[test]
    fn a_sync_wave_goes_before_a_weight() {
        assert_eq!(turn(&job(&json!({"helm.sh/hook-weight": "-5"}))), -5);
        assert_eq!(turn(&job(&json!({"helm.sh/hook-weight": "-5", "argocd.argoproj.io/sync-wave": "2"}))), 2);
    }
}
