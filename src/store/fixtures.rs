//! Records in which every field is set and every variant occurs, for the tests of this folder.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Analysis, Capacity, ClusterName, Digest, GateRecord, GroupKind, HookRun, Hooks, Lane, Measurement, Millis, Moment,
    NoDataRule, ObjectKey, OnFailure, Past, PastOutcome, Position, Quarantined, Record, ReleaseRef, Replicas, Request,
    RevertReason, Revision, Rollout, Strategy, Timestamp, Verdict, Wave, WavePlan, WaveRecord,
};

pub(super) fn at(seconds: i64) -> Timestamp {
    // Nanoseconds, so that a form which cuts them off is caught.
    Timestamp::new(1_790_000_000 + seconds, 123_456_789).unwrap()
}

pub(super) fn digest(seed: u8) -> Digest {
    Digest([seed; 32])
}

pub(super) fn release(seed: u8) -> ReleaseRef {
    ReleaseRef {
        digest: digest(seed),
        attempt: u32::from(seed),
        version: format!("1.{seed}.0"),
        revision: Revision { branch: "release/next".to_owned(), commit: format!("{seed:040x}"), signer: None },
    }
}

fn deployment(name: &str) -> ObjectKey {
    ObjectKey::local("apps", "Deployment", "shop", name)
}

fn elsewhere() -> ObjectKey {
    let kind = GroupKind::new("rbac.authorization.k8s.io", "ClusterRole");
    ObjectKey::new(ClusterName("eu/west-1".into()), kind, "", "system:shop")
}

fn gates() -> Vec<GateRecord> {
    [Verdict::Pass, Verdict::Fail, Verdict::NoData, Verdict::Error, Verdict::Inconclusive]
        .into_iter()
        .map(|verdict| GateRecord {
            gate: verdict.as_str().to_lowercase(),
            verdict,
            reason: "p99 \"slow\" \u{1f30a}".to_owned(),
            decided_at: at(50),
            measurements: [Some(0.1), None, Some(-3.0), Some(1e300), Some(f64::MIN_POSITIVE)]
                .into_iter()
                .map(|value| Measurement { at: at(40), value, verdict, message: String::new() })
                .collect(),
        })
        .collect()
}

fn waves() -> Vec<WaveRecord> {
    let done = WaveRecord {
        name: "canary".to_owned(),
        started_at: at(10),
        ready_at: Some(at(20)),
        passed_at: Some(at(60)),
        gates: gates(),
        pods: BTreeMap::from([(deployment("web"), 2), (elsewhere(), 0)]),
    };
    let begun = WaveRecord {
        name: "half".to_owned(),
        started_at: at(61),
        ready_at: None,
        passed_at: None,
        gates: Vec::new(),
        pods: BTreeMap::new(),
    };
    vec![done, begun]
}

fn plan() -> WavePlan {
    let analysis = |name: &str, no_data, min, max| Analysis {
        name: name.to_owned(),
        provider: "prometheus".to_owned(),
        query: "sum(rate(errors{app=\"${application}\"}[1m]))".to_owned(),
        min,
        max,
        interval: Millis(1500),
        count: 5,
        failures_max: 1,
        no_data,
    };
    let wave = |name: &str, replicas| Wave {
        name: name.to_owned(),
        replicas,
        bake: Millis::from_seconds(30),
        timeout: Millis(u64::from(u32::MAX)),
        analysis: vec!["errors".to_owned()],
    };
    WavePlan {
        name: "careful".to_owned(),
        strategy: Strategy::Canary,
        capacity: Capacity::InPlace,
        waves: vec![wave("canary", Replicas::Count(2)), wave("half", Replicas::Percent(50)), Wave::all("all")],
        analysis: vec![
            analysis("errors", NoDataRule::Fail, None, Some(0.05)),
            analysis("traffic", NoDataRule::Wait, Some(1.0), None),
        ],
        restarts_max: 0,
        on_failure: OnFailure::Hold,
        revert_timeout: Millis(90_000),
        express: vec![Wave::all("express")],
    }
}

pub(super) fn rollout() -> Rollout {
    Rollout {
        id: 12,
        target: release(7),
        lane: Lane::Waves,
        plan: plan(),
        started_at: at(5),
        position: Position::Wave { index: 1 },
        waves: waves(),
        stable_hashes: BTreeMap::from([(deployment("web"), "6d4b75cb6d".to_owned())]),
        added: BTreeSet::from([deployment("extra")]),
        pods_to_revert: BTreeMap::from([(deployment("web"), 3)]),
        hooks: Hooks { tries: 1, runs: hooks() },
    }
}

fn hooks() -> Vec<HookRun> {
    let run = |moment| HookRun {
        moment,
        key: ObjectKey::local("batch", "Job", "shop", "migrate"),
        generated: "migrate-7".to_owned(),
        is_success: moment == Moment::Pre,
        message: "BackoffLimitExceeded".to_owned(),
        at: at(6),
    };
    [Moment::Pre, Moment::Sync, Moment::Post, Moment::OnFail, Moment::OnRollback].map(run).into()
}

/// A record in which every field is set.
pub(super) fn rich() -> Record {
    let outcomes = [PastOutcome::Completed, PastOutcome::Reverted, PastOutcome::Withdrawn, PastOutcome::Held];
    let past = outcomes.into_iter().map(|outcome| Past {
        id: 3,
        release: release(2),
        lane: Lane::Express,
        started_at: at(1),
        ended_at: at(2),
        outcome,
        reason: "because".to_owned(),
        waves: waves(),
        hooks: hooks(),
    });
    Record {
        inventory: BTreeMap::from([
            (deployment("web"), "v1".to_owned()),
            (ObjectKey::local("", "ConfigMap", "shop", "settings"), "v1".to_owned()),
            (elsewhere(), "v1".to_owned()),
        ]),
        stable: Some(release(1)),
        rollout: Some(rollout()),
        quarantine: vec![Quarantined {
            digest: digest(9),
            attempt: 2,
            version: "1.9.0".to_owned(),
            reason: "gate shut".to_owned(),
            at: at(0),
        }],
        completed: vec![digest(1), digest(2)],
        past: past.collect(),
        rollouts: 12,
        pods_reverted: 44,
        last_revert_at: Some(at(-9)),
        answered: Some((Request::parse("abort:2026-01-01T00:00:00Z"), "aborted".to_owned())),
    }
}

/// Records in which, together, every variant of every enum occurs.
pub(super) fn records() -> Vec<Record> {
    let text = || "text".to_owned();
    let reasons = [
        RevertReason::GateShut { wave: text(), gate: text(), message: text() },
        RevertReason::Deadline { wave: text(), message: text() },
        RevertReason::Requested { by: text() },
        RevertReason::RevertedInGit,
        RevertReason::Superseded { by: text() },
    ];
    let mut positions =
        vec![Position::Preparing, Position::Wave { index: 0 }, Position::Wave { index: 19 }, Position::Trailing];
    for reason in reasons {
        positions.push(Position::Held { reason: reason.clone(), since: at(70) });
        positions.push(Position::Reverting { reason: reason.clone(), since: at(71), pods_are_back: false });
        positions.push(Position::Reverting { reason, since: at(72), pods_are_back: true });
    }
    let lanes = [Lane::FirstSync, Lane::Waves, Lane::Express, Lane::Direct];
    let requests = ["abort", "rollback:1", "retry:x:y", "refresh:", "sync", "dance:now", ""];
    let mut records = vec![Record::default(), rich()];
    records.extend(positions.into_iter().map(|position| with_rollout(Rollout { position, ..rollout() })));
    records.extend(lanes.into_iter().map(|lane| with_rollout(Rollout { lane, ..rollout() })));
    records.push(with_rollout(Rollout { plan: WavePlan::all_at_once(), ..rollout() }));
    records.extend(
        requests.into_iter().map(|ask| Record { answered: Some((Request::parse(ask), text())), ..Record::default() }),
    );
    records
}

fn with_rollout(rollout: Rollout) -> Record {
    Record { rollout: Some(rollout), ..Record::default() }
}
