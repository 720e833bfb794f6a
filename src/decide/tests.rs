//! Decisions as cases: what is declared, durable and observed, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::{AppStanding, Decision, Neighbours, Situation, decide};
use crate::diff::diff;
use crate::model::{
    Action, AppName, Application, ClusterName, CommonMetadata, Declared, Deletion, Dependency, DependencyCondition,
    Digest, GroupKind, History, Lane, Object, PausePolicy, Position, Quarantined, Record, Release, ReleaseRef, Request,
    RequestVerb, Revision, RollbackPolicy, SourcePath, SyncPolicy, Timestamp, WavePlan,
};
use crate::observe::{Live, Rehearsal};
use crate::stage::{Inputs, stage};
use crate::status::{Phase, SyncStatus};

/// One app as a test sees it. Version 1 is Stable unless said otherwise.
struct Case {
    declared: u8,
    is_broken: bool,
    prunes: bool,
    is_automated: bool,
    record: Record,
    is_ahead: bool,
    kept: BTreeSet<Digest>,
    request: Option<Request>,
    /// ConfigMaps that exist, by name.
    live: Vec<&'static str>,
    /// How `api` stands, for an app that waits for it.
    api: Option<AppStanding>,
    /// Kinds that the cluster does not serve.
    unserved: BTreeSet<GroupKind>,
    /// What the server said of the declared version.
    rehearsal: Option<Rehearsal>,
}

fn reference(version: u8) -> ReleaseRef {
    let revision = Revision { branch: "main".to_owned(), commit: format!("{version:040}"), signer: None };
    ReleaseRef { digest: Digest([version; 32]), attempt: 0, version: version.to_string(), revision }
}

fn config_map(name: &str) -> Object {
    let body =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "a"}, "data": {}});
    Object::from_value(&ClusterName::local(), body).expect("well formed")
}

/// What a long gone version left behind.
const LEFT_BEHIND: [&str; 6] = ["o1", "o2", "o3", "o4", "o5", "o6"];

/// Every version renders one ConfigMap of its own name beside the shared one; version 9 rendered many.
fn release(version: u8) -> Release {
    let own = format!("v{version}");
    let names: Vec<&str> = if version == 9 { LEFT_BEHIND.to_vec() } else { vec!["shared", &own] };
    let objects = names.into_iter().map(config_map).collect::<Vec<_>>();
    let objects = objects.into_iter().map(|object| (object.key.clone(), object)).collect();
    Release { app: AppName::from("web"), reference: reference(version), objects }
}

fn application(case: &Case) -> Arc<Application> {
    Arc::new(Application {
        name: AppName::from("web"),
        version: case.declared.to_string(),
        images: Vec::new(),
        attempt: 0,
        sources: vec![SourcePath { path: "m".to_owned(), ..SourcePath::default() }],
        common: CommonMetadata::default(),
        namespace: "a".to_owned(),
        service_account: None,
        plan: Arc::new(WavePlan::all_at_once()),
        sync: SyncPolicy { is_automated: case.is_automated, prunes: case.prunes, ..SyncPolicy::default() },
        deletion: Deletion::Orphan,
        rollback: RollbackPolicy::Automatic,
        pause: PausePolicy::Agent,
        health: Vec::new(),
        depends_on: case
            .api
            .iter()
            .map(|_| Dependency { app: AppName::from("api"), condition: DependencyCondition::Healthy })
            .collect(),
        substitute: crate::model::Substitute::default(),
        history_max: 10,
        declared_in: "web.yaml".to_owned(),
        spec: json!({}).into(),
    })
}

impl Case {
    fn stable(version: u8) -> Self {
        let names: &[&'static str] = if version == 1 { &["shared", "v1"] } else { &["shared", "v2"] };
        let inventory = names.iter().map(|name| (config_map(name).key, "v1".to_owned())).collect();
        let record = Record {
            stable: Some(reference(version)),
            inventory,
            completed: vec![Digest([version; 32])],
            ..Record::default()
        };
        let kept = [Digest([version; 32])].into();
        Self {
            declared: 1,
            is_broken: false,
            prunes: false,
            is_automated: true,
            is_ahead: false,
            record,
            kept,
            request: None,
            live: names.to_vec(),
            api: None,
            unserved: BTreeSet::new(),
            rehearsal: None,
        }
    }

    fn declaring(self, declared: u8) -> Self {
        Self { declared, ..self }
    }

    fn decide(&self) -> Decision {
        let application = application(self);
        let declared = if self.is_broken {
            Declared::Broken { last: Some(application), revision: None, reason: "web.yaml:3:1: broken".to_owned() }
        } else {
            Declared::Ready { application, target: reference(self.declared) }
        };
        let of = |reference: Option<&ReleaseRef>| reference.map(|reference| release(reference.digest.0[0]));
        let stable = of(self.record.stable.as_ref());
        let target = of(self.record.rollout.as_ref().map(|rollout| &rollout.target));
        let next = release(self.declared);
        let mut inputs = Inputs {
            owner: "us",
            secret_key: &[0; 32],
            application: None,
            stable: stable.as_ref(),
            target: target.as_ref(),
            rollout: self.record.rollout.as_ref(),
            live: &Live::default(),
            before: None,
        };
        // Live objects are as some release would stage them, so that nothing drifts.
        let all: Vec<Release> = [1, 2, 9].map(release).into();
        let staged =
            all.iter().flat_map(|release| stage(&Inputs { stable: Some(release), rollout: None, ..inputs }).objects);
        let live = Live {
            objects: staged
                .filter(|(key, _)| self.live.contains(&key.name.as_str()))
                .map(|(key, staged)| {
                    let mut body = (*staged.object.body).clone();
                    body["metadata"]["uid"] = json!(key.name);
                    body["metadata"]["resourceVersion"] = json!("5");
                    body["metadata"]["managedFields"] =
                        json!([{"manager": "tidegate", "operation": "Apply", "fieldsV1": {}}]);
                    (key, staged.object.with_body(body))
                })
                .collect(),
            unserved: self.unserved.clone(),
            rehearsal: self.rehearsal.clone(),
            ..Live::default()
        };
        inputs.live = &live;
        let stage = stage(&inputs);
        let changes = diff(&stage, &self.record.inventory, &live, "us");
        let history = History {
            record: Some(self.record.clone().into()),
            is_ahead: self.is_ahead,
            kept: self.kept.clone(),
            request: self.request.clone(),
            ..History::default()
        };
        let standings = self.api.iter().map(|standing| (AppName::from("api"), standing.clone())).collect();
        decide(&Situation {
            declared: &declared,
            history: &history,
            stable: stable.as_ref(),
            target: target.as_ref(),
            next: Some(&next),
            previous: None,
            stage: &stage,
            changes: &changes,
            live: &live,
            neighbours: &Neighbours { standings, ..Neighbours::default() },
            failures: &BTreeMap::new(),
            is_mirrored: true,
            now: Timestamp::from_second(1000).expect("in range"),
        })
    }
}

fn deletions(decision: &Decision) -> usize {
    decision.actions.iter().filter(|action| matches!(action, Action::Delete { .. })).count()
}

#[test]
fn an_app_as_declared_is_left_alone_and_has_nothing_to_explain() {
    let decision = Case::stable(1).decide();
    assert_eq!((decision.record, decision.actions), (None, Vec::new()));
    assert_eq!((decision.report.phase, decision.report.sync), (Phase::Idle, SyncStatus::Synced));
    assert_eq!(decision.report.blocking, None);
}

#[test]
fn a_new_release_is_kept_before_its_intent_is_written() {
    let mut case = Case::stable(1).declaring(2);
    case.kept.clear();
    let decision = case.decide();
    assert_eq!(decision.record, None);
    assert_eq!(decision.actions, [1, 2].map(|version| Action::KeepRelease(Digest([version; 32]))));

    case.kept = [1, 2].map(|version| Digest([version; 32])).into();
    let record = case.decide().record.expect("the intent");
    let rollout = record.rollout.expect("a rollout");
    assert_eq!((rollout.position, rollout.lane), (Position::Preparing, Lane::Direct));
    assert!(record.inventory.contains_key(&config_map("v2").key), "the inventory grows before the apply");
    assert_eq!(rollout.added, [config_map("v2").key].into());
}

#[test]
fn a_rollout_that_began_in_memory_is_written_before_anything_of_it_is_done() {
    let mut case = Case::stable(1).declaring(2);
    case.kept = [1, 2].map(|version| Digest([version; 32])).into();
    case.record = case.decide().record.expect("the intent");
    let applies = |decision: &Decision| decision.actions.iter().any(|action| matches!(action, Action::Apply { .. }));
    assert!(applies(&case.decide()), "a durable intent is followed");
    case.is_ahead = true;
    let decision = case.decide();
    assert_eq!((decision.record.as_ref(), decision.actions.len()), (Some(&case.record), 0));
    assert!(!decision.is_lazy);
    // The end of a first sync is told by status and may wait.
    case = Case { is_ahead: true, ..Case::stable(1) };
    case.live = vec!["shared", "v1"];
    assert_eq!(case.decide().record, None);
}

#[test]
fn a_release_that_the_server_would_refuse_waits_while_stable_is_looked_after() {
    let mut case = Case::stable(1).declaring(2);
    case.kept = [1, 2].map(|version| Digest([version; 32])).into();
    let key = config_map("v2").key;
    let tried = Rehearsal {
        target: Digest([2; 32]),
        at: Timestamp::from_second(990).expect("in range"),
        refused: vec![(key.clone(), "exceeded quota".to_owned())],
        exempt: Vec::new(),
        failure: None,
    };
    case.rehearsal = Some(tried.clone());
    case.live = vec!["v1"];
    let decision = case.decide();
    assert_eq!((decision.record, decision.report.phase), (None, Phase::Waiting));
    let blocking = decision.report.blocking.expect("a fact");
    assert!(blocking.fact.contains("version 2 would be refused") && blocking.fact.contains("exceeded quota"));
    let applied = decision.actions.iter().filter_map(|action| match action {
        Action::Apply { object, .. } => Some(object.key.name.as_str()),
        _ => None,
    });
    assert_eq!(applied.collect::<Vec<_>>(), ["shared"], "what is missing of Stable is put back, and nothing else");
    assert!(decision.wake_at.is_some_and(|at| at <= super::tried_again_at(&tried)));

    let failure = Some("no answer in time".to_owned());
    case.rehearsal = Some(Rehearsal { refused: Vec::new(), failure, ..tried.clone() });
    let decision = case.decide();
    assert!(
        decision.record.is_none() && decision.wake_at < Some(super::tried_again_at(&tried)),
        "it is asked again soon"
    );

    // Another version's trial says nothing of this one.
    case.rehearsal = Some(Rehearsal { target: Digest([1; 32]), ..tried.clone() });
    assert!(case.decide().record.is_some());
    case.rehearsal = Some(Rehearsal { refused: Vec::new(), exempt: vec![key], ..tried });
    assert!(case.decide().record.is_some_and(|record| record.rollout.is_some()));
}

#[test]
fn a_quarantined_release_is_held_until_something_changes() {
    let mut case = Case::stable(1).declaring(2);
    let reason = "gate shut".to_owned();
    let held =
        Quarantined { digest: Digest([2; 32]), attempt: 0, version: "2".to_owned(), reason, at: Timestamp::UNIX_EPOCH };
    case.record.quarantine.push(held);
    let decision = case.decide();
    assert_eq!((decision.record, decision.actions), (None, Vec::new()));
    assert_eq!(decision.report.phase, Phase::Held);
    assert!(decision.report.blocking.is_some_and(|blocking| blocking.fact.contains("gate shut")));

    case.request = Some(Request { verb: RequestVerb::Retry, text: "retry".to_owned() });
    let record = case.decide().record.expect("the answer");
    assert_eq!(record.quarantine, []);
}

#[test]
fn nothing_is_pruned_unless_it_is_asked_for_and_few() {
    // The inventory still has v2, which version 1 does not declare.
    let mut case = Case::stable(1);
    case.record.inventory.insert(config_map("v2").key, "v1".to_owned());
    case.live.push("v2");
    let decision = case.decide();
    assert_eq!(deletions(&decision), 0);
    assert!(decision.report.blocking.is_some_and(|blocking| blocking.fact.contains("prune is off")));

    case.prunes = true;
    assert_eq!(deletions(&case.decide()), 1);

    case.is_broken = true;
    let decision = case.decide();
    assert_eq!((deletions(&decision), decision.report.phase), (0, Phase::SourceFailed));
}

#[test]
fn deletions_beyond_the_cap_wait_for_a_person() {
    let mut case = Case { prunes: true, ..Case::stable(1) };
    case.record.inventory.extend(LEFT_BEHIND.map(|name| (config_map(name).key, "v1".to_owned())));
    // Objects that are gone already need no delete, and leave the inventory.
    let record = case.decide().record.expect("the inventory shrinks");
    assert_eq!(record.inventory.len(), 2);

    case.live.extend(LEFT_BEHIND);
    let decision = case.decide();
    assert_eq!((decision.record, decision.report.phase), (None, Phase::Waiting));
    assert!(decision.report.blocking.is_some_and(|blocking| blocking.fact.contains("confirm")));

    case.request = Some(Request { verb: RequestVerb::Confirm, text: "confirm".to_owned() });
    case.record = case.decide().record.expect("the answer");
    case.request = None;
    assert_eq!(deletions(&case.decide()), LEFT_BEHIND.len());
}

#[test]
fn manual_sync_waits_and_says_how_to_go_on() {
    let case = Case { is_automated: false, ..Case::stable(1).declaring(2) };
    let decision = case.decide();
    assert_eq!((decision.record, decision.actions, decision.report.phase), (None, Vec::new(), Phase::Waiting));
    let fact = decision.report.blocking.expect("it waits").fact;
    assert_eq!(
        fact,
        "sync is manual: version 2 would add ConfigMap a/v2; leave behind ConfigMap a/v1; to go on, run `kubectl annotate tgapp web \
         tidegate.dev/request=sync`"
    );
}

#[test]
fn a_decision_to_do_nothing_is_explained_unless_all_is_well() {
    for declared in [1, 2] {
        for (is_broken, is_automated) in [(false, false), (false, true), (true, true)] {
            let case = Case { is_broken, is_automated, ..Case::stable(1).declaring(declared) };
            let decision = case.decide();
            let is_well = decision.report.sync == SyncStatus::Synced;
            assert!(is_well || decision.report.blocking.is_some(), "{declared} {is_broken} {is_automated}");
        }
    }
}

#[test]
fn a_rollout_starts_once_what_it_depends_on_stands() {
    let why = "the pods of api crash".to_owned();
    let mut case = Case::stable(1).declaring(2);
    case.kept = [1, 2].map(|version| Digest([version; 32])).into();
    case.api = Some(AppStanding { is_released: true, is_healthy: false, why });
    let decision = case.decide();
    assert_eq!((decision.record, decision.report.phase), (None, Phase::Waiting));
    let fact = decision.report.blocking.expect("it waits").fact;
    assert!(fact.contains("waits for application api") && fact.contains("the pods of api crash"), "{fact}");

    case.api = Some(AppStanding { is_released: true, is_healthy: true, why: String::new() });
    assert!(case.decide().record.expect("the intent").rollout.is_some());

    // What stands is kept whatever becomes of the other.
    let case = Case { api: Some(AppStanding::default()), ..Case::stable(1) };
    assert_eq!(case.decide().report.phase, Phase::Idle);
}

#[test]
fn a_kind_that_is_not_served_takes_nothing_out_of_the_inventory() {
    let mut case = Case { prunes: true, ..Case::stable(1) };
    case.record.inventory.insert(config_map("v2").key, "v1".to_owned());
    case.unserved = [GroupKind::new("", "ConfigMap")].into();
    assert_eq!(case.decide().record, None);
    case.unserved.clear();
    let record = case.decide().record.expect("what is gone leaves the inventory");
    assert!(!record.inventory.contains_key(&config_map("v2").key));
}
