//! Apps at well-known moments, for tests of encodings and of the server.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{AppView, Blocking, Board, Phase, Report, Resource, SyncStatus};
use crate::model::{
    AppName, Application, CommonMetadata, Deletion, Digest, GateRecord, Health, HealthStatus, HookRun, ImageOverride,
    Lane, Measurement, Millis, Moment, ObjectKey, Past, PastOutcome, PausePolicy, Position, Quarantined, Record,
    ReleaseRef, Replicas, Revision, RollbackPolicy, Rollout, SourcePath, SyncPolicy, Timestamp, Verdict, Wave,
    WavePlan, WaveRecord,
};

/// The second `second` of the fixtures' hour.
pub(crate) fn at(second: i64) -> Timestamp {
    "2026-01-02T03:00:00Z"
        .parse::<Timestamp>()
        .and_then(|start| start.checked_add(jiff::SignedDuration::from_secs(second)))
        .expect("the hour is a valid one")
}

/// A commit id made of one digit.
pub(crate) fn commit(digit: char) -> String {
    std::iter::repeat_n(digit, 40).collect()
}

/// A Release whose digest and commit are made of `number`.
pub(crate) fn release(version: &str, number: u8) -> ReleaseRef {
    let digit = char::from_digit(u32::from(number), 16).expect("fixtures number releases below 16");
    ReleaseRef {
        digest: Digest([number; 32]),
        attempt: 0,
        version: version.to_owned(),
        revision: Revision { branch: "main".to_owned(), commit: commit(digit), signer: None },
    }
}

/// An ended rollout of one minute.
pub(crate) fn past(id: u64, release: ReleaseRef, outcome: PastOutcome) -> Past {
    let start = i64::try_from(id).expect("small") * 100;
    Past {
        id,
        release,
        lane: Lane::Waves,
        started_at: at(start),
        ended_at: at(start + 60),
        outcome,
        reason: String::new(),
        waves: vec![wave("all", start, Some(start + 60))],
        hooks: Vec::new(),
    }
}

/// A Job's run as a hook, which crashed if it is no success. A name that was made up is not empty.
pub(crate) fn hook_run(moment: Moment, name: &str, generated: &str, is_success: bool) -> HookRun {
    HookRun {
        moment,
        key: ObjectKey::local("batch", "Job", "shop", name),
        generated: generated.to_owned(),
        is_success,
        message: if is_success { String::new() } else { "it crashed".to_owned() },
        at: at(415),
    }
}

/// A wave with a health gate that passed, if it has.
pub(crate) fn wave(name: &str, started: i64, passed: Option<i64>) -> WaveRecord {
    WaveRecord {
        name: name.to_owned(),
        started_at: at(started),
        ready_at: Some(at(started + 10)),
        passed_at: passed.map(at),
        gates: passed.into_iter().map(|second| gate("health", Verdict::Pass, second)).collect(),
        pods: BTreeMap::from([(ObjectKey::local("apps", "Deployment", "shop", "web"), 2)]),
    }
}

/// A decided gate with one sample.
pub(crate) fn gate(name: &str, verdict: Verdict, second: i64) -> GateRecord {
    GateRecord {
        gate: name.to_owned(),
        verdict,
        reason: format!("{name} says {}", verdict.as_str()),
        decided_at: at(second),
        measurements: vec![measurement(second, Some(0.5), verdict)],
    }
}

/// A sample.
pub(crate) fn measurement(second: i64, value: Option<f64>, verdict: Verdict) -> Measurement {
    Measurement { at: at(second), value, verdict, message: String::new() }
}

/// A plan of two waves.
pub(crate) fn plan() -> WavePlan {
    let canary = Wave {
        replicas: Replicas::Percent(25),
        bake: Millis::from_seconds(60),
        analysis: vec!["errors".to_owned()],
        ..Wave::all("canary")
    };
    WavePlan { name: "careful".to_owned(), waves: vec![canary, Wave::all("rest")], ..WavePlan::all_at_once() }
}

/// A declared app called `name`.
pub(crate) fn application(name: &str) -> Application {
    Application {
        name: AppName::from(name),
        version: "1.1.0".to_owned(),
        images: vec![ImageOverride { name: "registry.example/web".to_owned(), tag: "1.1.0".to_owned(), digest: None }],
        attempt: 0,
        sources: vec![SourcePath { path: "apps/shop".to_owned(), ..SourcePath::default() }],
        common: CommonMetadata::default(),
        namespace: "shop".to_owned(),
        service_account: None,
        plan: Arc::new(plan()),
        sync: SyncPolicy::default(),
        deletion: Deletion::Orphan,
        rollback: RollbackPolicy::Automatic,
        pause: PausePolicy::Agent,
        health: Vec::new(),
        depends_on: Vec::new(),
        substitute: crate::model::Substitute::default(),
        history_max: 10,
        declared_in: "apps/shop/application.yaml".to_owned(),
        spec: serde_json::json!({}).into(),
    }
}

/// An app that is as declared: 1.1.0 completed as rollout 2.
pub(crate) fn idle(name: &str) -> AppView {
    let stable = release("1.1.0", 2);
    AppView {
        name: AppName::from(name),
        namespace: "tidegate".to_owned(),
        uid: "0b5e1a52".to_owned(),
        resource_version: "1234".to_owned(),
        generation: 7,
        created_at: Some(at(0)),
        repository: "https://git.example/shop.git".to_owned(),
        revision: Some(stable.revision.clone()),
        rendered_from: BTreeMap::new(),
        application: Some(Arc::new(application(name))),
        desired: Some(stable.clone()),
        effective: Some(stable.clone()),
        held: None,
        report: Report {
            phase: Phase::Idle,
            health: Health::healthy(),
            sync: SyncStatus::Synced,
            blocking: None,
            exposure: 0,
            resources: vec![
                resource("", "ConfigMap", "settings", None),
                resource("apps", "Deployment", "web", Some(Health::healthy())),
            ],
            remarks: Vec::new(),
        },
        record: Record {
            stable: Some(stable.clone()),
            past: vec![past(1, release("1.0.0", 1), PastOutcome::Completed), past(2, stable, PastOutcome::Completed)],
            rollouts: 2,
            ..Record::default()
        }
        .into(),
        samples: BTreeMap::new(),
        phase_since: at(260),
        health_since: at(250),
        reconciled_at: at(300),
    }
}

/// An object that is as staged.
pub(crate) fn resource(group: &str, kind: &str, name: &str, health: Option<Health>) -> Resource {
    Resource {
        key: ObjectKey::local(group, kind, "shop", name),
        version: "v1".to_owned(),
        sync: SyncStatus::Synced,
        health,
        requires_pruning: false,
    }
}

/// The app of [`idle`] with 1.2.0 rolling out: its canary wave is being measured.
pub(crate) fn measuring(name: &str) -> AppView {
    let target = release("1.2.0", 3);
    let idle = idle(name);
    let rollout = Rollout {
        id: 3,
        target: target.clone(),
        lane: Lane::Waves,
        plan: plan(),
        started_at: at(400),
        position: Position::Wave { index: 0 },
        waves: vec![WaveRecord { gates: vec![gate("health", Verdict::Pass, 420)], ..wave("canary", 405, None) }],
        stable_hashes: BTreeMap::new(),
        added: std::collections::BTreeSet::new(),
        pods_to_revert: BTreeMap::new(),
        hooks: crate::model::Hooks::default(),
    };
    AppView {
        revision: Some(target.revision.clone()),
        desired: Some(target),
        report: report(Phase::Measuring, HealthStatus::Progressing, SyncStatus::OutOfSync, "errors: 1 of 3 samples"),
        record: Record { rollout: Some(rollout), rollouts: 3, ..Record::clone(&idle.record) }.into(),
        samples: BTreeMap::from([("errors".to_owned(), vec![measurement(430, Some(0.01), Verdict::Pass)])]),
        phase_since: at(425),
        health_since: at(401),
        reconciled_at: at(440),
        ..idle
    }
}

/// The app of [`idle`] after 1.2.0 failed: back on 1.1.0, 1.2.0 refused.
pub(crate) fn held(name: &str) -> AppView {
    let target = release("1.2.0", 3);
    let reason = "gate errors of wave canary shut: 0.4 is above 0.05";
    let refused = Quarantined {
        digest: target.digest,
        attempt: 0,
        version: "1.2.0".to_owned(),
        reason: reason.to_owned(),
        at: at(460),
    };
    let mut view = measuring(name);
    Arc::make_mut(&mut view.record).rollout = None;
    Arc::make_mut(&mut view.record).quarantine.push(refused.clone());
    Arc::make_mut(&mut view.record).past.push(Past {
        reason: reason.to_owned(),
        waves: vec![WaveRecord {
            gates: vec![gate("health", Verdict::Pass, 420), gate("errors", Verdict::Fail, 435)],
            ..wave("canary", 405, None)
        }],
        started_at: at(400),
        ended_at: at(460),
        ..past(3, target, PastOutcome::Reverted)
    });
    Arc::make_mut(&mut view.record).pods_reverted = 2;
    Arc::make_mut(&mut view.record).last_revert_at = Some(at(460));
    view.held = Some(refused);
    view.samples.clear();
    view.phase_since = at(460);
    view.reconciled_at = at(461);
    view.report =
        report(Phase::Held, HealthStatus::Degraded, SyncStatus::OutOfSync, "1.2.0 is refused: errors above 0.05");
    view
}

/// A report with one blocking fact since second 425 and the objects of [`idle`], as staged.
pub(crate) fn report(phase: Phase, health: HealthStatus, sync: SyncStatus, fact: &str) -> Report {
    Report {
        phase,
        health: Health::new(health, ""),
        sync,
        blocking: Some(Blocking { fact: fact.to_owned(), since: at(425) }),
        exposure: 0,
        resources: idle("shop").report.resources,
        remarks: Vec::new(),
    }
}

/// A board of these apps.
pub(crate) fn board(views: Vec<AppView>) -> Board {
    Arc::new(views.into_iter().map(|view| (view.name.clone(), Arc::new(view))).collect())
}
