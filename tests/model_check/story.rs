//! The way to a violation, step by step, for people.

use std::fmt;

use super::agent::{Work, Write};
use super::cluster::RELEASES;
use super::manifests::name;
use super::search::{Search, State, Step};

impl Search {
    /// How it came to state `number`, step by step.
    pub(super) fn story(&self, number: usize, last: Option<Step>, what: &str) -> String {
        let mut at = number;
        let mut path = vec![];
        while self.parents[at].1 != Step::Start {
            path.push(at);
            at = self.parents[at].0 as usize;
        }
        let steps = path.iter().rev().map(|at| (self.parents[*at].1, Some(*at)));
        let mut text = format!("{what}\n");
        for (index, (step, at)) in steps.chain(last.map(|step| (step, None))).enumerate() {
            text += &format!("{:>4}. {}\n", index + 1, self.told(step));
            if let Some(state) = at.map(|at| &self.states[at]) {
                text += &format!("      {}\n", self.shown(state));
            }
        }
        text
    }

    fn told(&self, step: Step) -> String {
        match step {
            Step::Look(number) => format!("the agent looks and decides: {}", self.work(&self.agent.pass(number).work)),
            Step::Start
            | Step::Write
            | Step::WritePartly(_)
            | Step::Sampled(_)
            | Step::Crash
            | Step::DeploymentController
            | Step::SetController
            | Step::Ready(_)
            | Step::CrashLoop(_)
            | Step::Time
            | Step::Commit(..)
            | Step::Ask(_) => step.to_string(),
        }
    }

    fn work(&self, work: &Work) -> String {
        match work {
            Work::Nothing => "nothing to do".to_owned(),
            Work::Measure => "take a sample".to_owned(),
            Work::Save { record, .. } => format!("save {}", self.position(*record)),
            Work::Write(writes) => {
                let write = |write: &Write| match *write {
                    Write::Apply(body) => {
                        let spec = self.agent.body(body).spec;
                        let (held, template) = (if spec.is_held { "held " } else { "" }, name(spec.template));
                        format!("apply {held}{template} with surge {} unavailable {}", spec.surge, spec.unavailable)
                    }
                    Write::Keep(release) => format!("keep {}", name(release)),
                    Write::Drop(release) => format!("drop {}", name(release)),
                };
                writes.iter().map(write).collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn position(&self, record: u32) -> String {
        let record = self.agent.record(record);
        let stable = record.stable.as_ref().map_or("-", |stable| stable.version.as_str());
        match &record.rollout {
            None => format!("Stable {stable}, no rollout"),
            Some(rollout) => {
                let passed = rollout.waves.iter().filter(|wave| wave.passed_at.is_some()).count();
                let ready = rollout.waves.last().is_some_and(|wave| wave.ready_at.is_some());
                format!(
                    "Stable {stable}, Target {} {:?} {:?}, {passed} gates passed{}",
                    rollout.target.version,
                    rollout.lane,
                    rollout.position,
                    if ready { ", ready" } else { "" }
                )
            }
        }
    }

    fn shown(&self, state: &State) -> String {
        let set = |index: usize| {
            let set = state.view.cluster.sets[index];
            let letter = name(u8::try_from(index).expect("below three"));
            format!("{letter} {}/{}/{}/{}", set.wanted, set.pods, set.ready, set.available)
        };
        let sets: Vec<String> = (0..RELEASES).filter(|index| state.view.cluster.sets[*index].exists).map(set).collect();
        format!("[{}; pods wanted/there/ready/available: {}]", self.position(state.view.record), sets.join(", "))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("the start"),
            Self::Look(_) => f.write_str("the agent looks"),
            Self::Write => f.write_str("the agent writes"),
            Self::WritePartly(some) => write!(f, "the agent writes partly ({some:b}) and crashes"),
            Self::Sampled(true) => f.write_str("the sample passes"),
            Self::Sampled(false) => f.write_str("the sample fails"),
            Self::Crash => f.write_str("the agent crashes"),
            Self::DeploymentController => f.write_str("the Deployment controller takes its step"),
            Self::SetController => f.write_str("the ReplicaSet controller takes its step"),
            Self::Ready(release) => write!(f, "the pods of {} become Ready", name(*release)),
            Self::CrashLoop(release) => write!(f, "a pod of {} crash-loops", name(*release)),
            Self::Time => f.write_str("ten seconds pass"),
            Self::Commit(commit, is_bad) => {
                let quality = if *is_bad { ", which is bad" } else { "" };
                write!(f, "Git declares {} (attempt {}){quality}", name(commit.release), commit.attempt)
            }
            Self::Ask(ask) => write!(f, "a person asks for {ask:?}"),
        }
    }
}
