//! For tests: what is decided in the middle of a first sync. Enters: a Release, a record and what exists. Leaves: a decision,
//! made as a pass makes it.

use std::collections::BTreeMap;

use super::{Decision, Neighbours, Situation, decide, rolling, transitions};
use crate::diff::diff;
use crate::model::{AppName, Declared, History, HookRun, Lane, Object, Record, Release, Timestamp, WavePlan};
use crate::observe::Live;
use crate::stage::{Inputs, Stage, stage};

/// A first sync that is under way.
pub(super) struct FirstSync {
    target: Release,
    record: Record,
}

impl FirstSync {
    /// Of these objects, when these runs of hooks have ended.
    pub(super) fn of<'a>(objects: impl IntoIterator<Item = &'a Object>, runs: Vec<HookRun>) -> Self {
        let mut rollout = transitions::tests::rollout(WavePlan::all_at_once());
        rollout.lane = Lane::FirstSync;
        rollout.waves = vec![rolling::wave_record("all", Timestamp::UNIX_EPOCH)];
        rollout.hooks.runs = runs;
        let objects = objects.into_iter().map(|object| (object.key.clone(), object.clone())).collect();
        let target = Release { app: AppName::from("web"), reference: rollout.target.clone(), objects };
        Self { target, record: Record { rollout: Some(rollout), ..Record::default() } }
    }

    /// What should exist while this does.
    pub(super) fn stage(&self, live: &Live) -> Stage {
        stage(&Inputs {
            owner: "us",
            secret_key: &[0; 32],
            application: None,
            stable: None,
            target: Some(&self.target),
            rollout: self.record.rollout.as_ref(),
            live,
            before: None,
        })
    }

    /// What is decided while this exists, so many seconds into time.
    pub(super) fn decide(&self, live: &Live, second: i64) -> Decision {
        let stage = self.stage(live);
        decide(&Situation {
            declared: &Declared::Broken { last: None, revision: None, reason: String::new() },
            history: &History { record: Some(self.record.clone().into()), ..History::default() },
            stable: None,
            target: Some(&self.target),
            next: None,
            previous: None,
            stage: &stage,
            changes: &diff(&stage, &BTreeMap::new(), live, "us"),
            live,
            neighbours: &Neighbours::default(),
            failures: &BTreeMap::new(),
            is_mirrored: true,
            now: Timestamp::from_second(second).expect("in range"),
        })
    }
}
