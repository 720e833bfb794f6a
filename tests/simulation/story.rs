//! A story: a world, what people do in it and when, and which faults strike. It is made from a seed, told as text, and
//! told again from that text.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate::model::{Millis, ObjectKey};
use tidegate::sim::controllers::{Controllers, Delays};
use tidegate::sim::{Act, Chance, Fault, Faults, NAMESPACE, Sim, Stream, Strikes, When};

use super::declared::{APP, Declared, SPACE, teach};

/// A story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Story {
    /// Where its chance comes from.
    pub(crate) seed: u64,
    /// What is declared first.
    pub(crate) first: Declared,
    /// Replicas of the agent: how fast the clock of each runs, in thousandths.
    pub(crate) agents: Vec<i64>,
    /// What people and machines do, in order of time.
    pub(crate) steps: Vec<(Moment, Step)>,
    /// When everybody stops and no fault strikes any more, in milliseconds from the beginning.
    pub(crate) calm_after: u64,
    /// Which faults strike.
    pub(crate) faults: BTreeMap<String, Struck>,
}

/// When a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Moment {
    /// So many milliseconds after the beginning.
    After(u64),
    /// Just after this commit of the API server.
    Commit(u64),
}

/// When a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Struck {
    /// On so many of a thousand occasions.
    Permille(u16),
    /// On these occasions.
    Exactly(BTreeSet<u64>),
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// A commit.
    Declare(Declared),
    /// A commit that leaves nothing in the repository but a text.
    Empty,
    /// The branch is rewritten: so many commits back, then this.
    Rewrite(usize, Declared),
    /// `kubectl scale`.
    Scale(u32),
    /// `kubectl set image`.
    SetImage(String),
    /// Somebody adds an environment variable to the pod template.
    AddEnv,
    /// Somebody edits the ConfigMap.
    EditConfig,
    /// Somebody deletes an object of the app: `Deployment`, `ConfigMap` or `Service`.
    Delete(String),
    /// `kubectl rollout pause`.
    Pause,
    /// A request on the Application resource.
    Request(String),
    /// Somebody deletes the Application resource.
    DeleteApplication,
    /// A pod dies.
    KillPod(usize),
    /// The agent is killed.
    Crash,
    /// The leading agent is frozen for so many milliseconds.
    Freeze(u64),
    /// The agent is asked to end and starts again.
    Restart,
    /// The controller manager restarts.
    RestartControllers,
    /// Controllers do nothing for so many milliseconds.
    StallControllers(u64),
    /// The API server is away for so many milliseconds.
    ApiAway(u64),
    /// Git does not answer for so many milliseconds.
    GitAway(u64),
    /// etcd is compacted.
    Compact,
    /// Watches go silent.
    Mute,
}

/// The Deployment.
pub(crate) fn deployment() -> ObjectKey {
    ObjectKey::local("apps", "Deployment", SPACE, APP)
}

/// The Application resource.
pub(crate) fn application() -> ObjectKey {
    ObjectKey::local("tidegate.dev", "Application", NAMESPACE, APP)
}

impl Step {
    fn act(&self) -> Act {
        let kubectl = || "kubectl-edit".to_owned();
        let patch = |key: ObjectKey, change: serde_json::Value| Act::Patch { by: kubectl(), key, change };
        match self {
            Self::Declare(declared) => Act::Commit { subject: format!("{declared:?}"), files: declared.files() },
            Self::Empty => {
                let files = BTreeMap::from([("README.md".to_owned(), "nothing here".to_owned())]);
                Act::Commit { subject: "everything goes".to_owned(), files }
            }
            Self::Rewrite(back, declared) => {
                Act::Force { back: *back, subject: format!("{declared:?}"), files: declared.files() }
            }
            Self::Scale(replicas) => patch(deployment(), json!({"spec": {"replicas": replicas}})),
            Self::SetImage(version) => Act::PatchJson {
                by: "kubectl-set".to_owned(),
                key: deployment(),
                operations: json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": format!("registry.example/{APP}:{version}")}]),
            },
            Self::AddEnv => Act::PatchJson {
                by: kubectl(),
                key: deployment(),
                operations: json!([{"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "FOREIGN", "value": "x"}}]),
            },
            Self::EditConfig => {
                patch(ObjectKey::local("", "ConfigMap", SPACE, "web-config"), json!({"data": {"content": "edited"}}))
            }
            Self::Delete(kind) => {
                let (group, name) = match kind.as_str() {
                    "Deployment" => ("apps", APP),
                    "ConfigMap" => ("", "web-config"),
                    _ => ("", APP),
                };
                Act::Delete { key: ObjectKey::local(group, kind, SPACE, name) }
            }
            Self::Pause => patch(deployment(), json!({"spec": {"paused": true}})),
            Self::Request(verb) => {
                patch(application(), json!({"metadata": {"annotations": {"tidegate.dev/request": verb}}}))
            }
            Self::DeleteApplication => Act::Delete { key: application() },
            Self::KillPod(number) => Act::KillPod { namespace: SPACE.to_owned(), number: *number },
            Self::Crash => Act::Crash,
            Self::Freeze(length) => Act::Freeze { length: Millis(*length) },
            Self::Restart => Act::Restart,
            Self::RestartControllers => Act::RestartControllers,
            Self::StallControllers(length) => Act::StallControllers { length: Millis(*length) },
            Self::ApiAway(length) => Act::ApiAway { length: Millis(*length) },
            Self::GitAway(length) => Act::GitAway { length: Millis(*length) },
            Self::Compact => Act::Compact,
            Self::Mute => Act::Mute,
        }
    }
}

/// Draws, in order.
struct Draws {
    chance: Chance,
    count: u64,
}

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.count += 1;
        self.chance.draw(Stream::Story, self.count) % limit
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        let index = usize::try_from(self.below(choices.len() as u64)).expect("few choices");
        choices[index].clone()
    }

    fn happens(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What a story has more of than others, to find what happens seldom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Focus {
    /// Two agents, and the leader is frozen for longer than the lease just after something was written.
    FrozenLeaders,
    /// People scale, and Git says nothing of replicas.
    Scaling,
    /// People scale to nothing in the middle of a wave, and back a minute later.
    Emptying,
    /// Pods die while waves bake and are measured.
    DyingPods,
    /// People ask for something again and again, and watches show it late and twice.
    Requests,
    /// The Application resource is deleted and the agent dies.
    LostState,
    /// Commits change the version and the replicas at once.
    ChangedSizes,
    /// The branch is rewritten.
    Rewrites,
}

impl Focus {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::FrozenLeaders,
        Self::Scaling,
        Self::Emptying,
        Self::DyingPods,
        Self::Requests,
        Self::LostState,
        Self::ChangedSizes,
        Self::Rewrites,
    ];
}

impl Story {
    /// A rollout of one good version, without anybody else and without faults.
    pub(crate) fn plain() -> Self {
        let first =
            Declared { version: "1.0.0".to_owned(), replicas: Some(4), in_place: false, attempt: 0, only_pods: false };
        let second = Declared { version: "2.0.0".to_owned(), ..first.clone() };
        Self {
            seed: 1,
            first,
            agents: vec![1000],
            steps: vec![(Moment::After(20_000), Step::Declare(second))],
            calm_after: 20_000,
            faults: BTreeMap::new(),
        }
    }

    /// The story of a seed.
    pub(crate) fn of(seed: u64) -> Self {
        let mut draws = Draws { chance: Chance::new(seed), count: 0 };
        let replicas = draws.one_of(&[2, 3, 4, 5, 6, 10]);
        let first = Declared {
            version: "1.0.0".to_owned(),
            replicas: draws.happens(75).then_some(replicas),
            in_place: replicas > 1 && draws.happens(40),
            attempt: 0,
            only_pods: seed.is_multiple_of(3),
        };
        let agents = if draws.happens(30) {
            vec![draws.one_of(&[800, 900, 1000, 1100, 1200]), draws.one_of(&[800, 900, 1000, 1100, 1200])]
        } else {
            vec![1000]
        };
        let mut steps = Vec::new();
        if first.replicas.is_none() {
            steps.push((Moment::After(8000), Step::Scale(replicas)));
        }
        let mut at = 15_000;
        let mut declared = first.clone();
        let mut history = vec![first.clone()];
        for number in 2..2 + 1 + draws.below(4) {
            declared = next(&mut draws, number, &declared, &history);
            history.push(declared.clone());
            if draws.happens(4) {
                steps.push((Moment::After(at), Step::Empty));
                at += 3000 + draws.below(20_000);
            }
            steps.push((Moment::After(at), Step::Declare(declared.clone())));
            // Some follow at once, some in the middle, some when all is over.
            let wait = draws.one_of(&[500, 2000, 5000, 10_000, 20_000, 60_000]);
            at += wait + draws.below(wait);
        }
        let calm_after = at + draws.below(20_000);
        for _ in 0..draws.one_of(&[0, 0, 1, 1, 2, 3, 5]) {
            let moment = if draws.happens(50) {
                Moment::After(5000 + draws.below(calm_after - 5000))
            } else {
                Moment::Commit(30 + draws.below(400))
            };
            let step = disturbance(&mut draws, &declared, replicas);
            steps.push((moment, step));
        }
        let faults = faults(&mut draws);
        Self { seed, first, agents, steps, calm_after, faults }
    }

    /// The story of a seed, with more of something.
    pub(crate) fn focused(seed: u64, focus: Option<Focus>) -> Self {
        let mut story = Self::of(seed);
        let Some(focus) = focus else { return story };
        // Draws of its own: what the seed says stays.
        let mut draws = Draws { chance: Chance::new(seed), count: 1 << 20 };
        let calm_after = story.calm_after;
        let any = |draws: &mut Draws| Moment::After(20_000 + draws.below(calm_after.max(40_000) - 20_000));
        match focus {
            Focus::FrozenLeaders => {
                story.agents = vec![draws.one_of(&[800, 1000, 1200]), draws.one_of(&[800, 1000, 1200])];
                for _ in 0..3 {
                    let moment = Moment::Commit(60 + draws.below(400));
                    story.steps.push((moment, Step::Freeze(draws.one_of(&[20_000, 30_000, 60_000]))));
                }
            }
            Focus::Scaling => {
                story.leave_replicas_out();
                for _ in 0..6 {
                    let size = 2 + u32::try_from(draws.below(10)).expect("small");
                    story.steps.push((any(&mut draws), Step::Scale(size)));
                }
            }
            Focus::Emptying => {
                // One good version: a bad one that comes while there are no pods cannot be told from it.
                let second = Declared { version: "2.0.0".to_owned(), ..story.first.clone() };
                let at = 16_000 + draws.below(8000);
                let size = 2 + u32::try_from(draws.below(8)).expect("small");
                story.steps = vec![
                    (Moment::After(15_000), Step::Declare(second)),
                    (Moment::After(at), Step::Scale(0)),
                    (Moment::After(at + 60_000), Step::Scale(size)),
                ];
                story.leave_replicas_out();
                story.faults.clear();
                story.calm_after = at + 60_000;
            }
            Focus::DyingPods => {
                for _ in 0..6 {
                    let pod = usize::try_from(draws.below(10)).expect("small");
                    story.steps.push((any(&mut draws), Step::KillPod(pod)));
                }
            }
            Focus::Requests => {
                for _ in 0..4 {
                    let verb = draws.one_of(&["abort", "rollback", "retry"]);
                    story.steps.push((any(&mut draws), Step::Request(verb.to_owned())));
                }
                for fault in [Fault::RepeatEvent, Fault::DelayEvent] {
                    story.faults.insert(format!("{fault:?}"), Struck::Permille(300));
                }
            }
            Focus::LostState => {
                // What neither the cluster nor a Git that may be followed tells of is known to nobody.
                story.steps.retain(|(_, step)| !matches!(step, Step::Empty | Step::Rewrite(..)));
                let at = 20_000 + draws.below(calm_after.max(40_000) - 20_000);
                story.steps.push((Moment::After(at), Step::DeleteApplication));
                story.steps.push((Moment::After(at), Step::Crash));
            }
            Focus::ChangedSizes => {
                for (_, step) in &mut story.steps {
                    if let Step::Declare(declared) = step
                        && declared.replicas.is_some()
                    {
                        declared.replicas = Some(2 + u32::try_from(draws.below(8)).expect("small"));
                    }
                }
            }
            Focus::Rewrites => {
                let version = format!("7.0.{}", draws.below(9));
                let declared = Declared { version, ..story.first.clone() };
                story.steps.push((any(&mut draws), Step::Rewrite(1, declared)));
            }
        }
        story
    }

    /// Git says nothing of replicas: people scale.
    fn leave_replicas_out(&mut self) {
        let size = self.first.replicas.take().unwrap_or(4);
        for (_, step) in &mut self.steps {
            if let Step::Declare(declared) | Step::Rewrite(_, declared) = step {
                declared.replicas = None;
            }
        }
        self.steps.insert(0, (Moment::After(8000), Step::Scale(size)));
    }

    /// The world of the story, before anything happens.
    pub(crate) fn open(&self) -> Sim {
        let strikes = self.faults.iter().filter_map(|(name, struck)| {
            let fault = Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == *name)?;
            let strikes = match struck {
                Struck::Permille(share) => Strikes::Permille(*share),
                Struck::Exactly(occasions) => Strikes::Exactly(occasions.clone()),
            };
            Some((fault, strikes))
        });
        let faults = Faults::new(strikes.collect());
        let mut sim = Sim::new(self.seed, Controllers::new(Delays::default(), self.seed), faults);
        sim.with(|api, controllers, _, metrics| {
            teach(controllers, metrics);
            for name in [SPACE, NAMESPACE] {
                super::world::namespace(api, name);
            }
            super::world::bystander(api);
        });
        sim.act(&Step::Declare(self.first.clone()).act());
        for (moment, step) in &self.steps {
            let when = match moment {
                Moment::After(millis) => When::After(Millis(*millis)),
                Moment::Commit(count) => When::Commit(*count),
            };
            sim.plan(when, step.act());
        }
        sim.plan(When::After(Millis(self.calm_after)), Act::Calm);
        for (index, rate) in self.agents.iter().enumerate() {
            sim.start(&format!("tidegate-{index}"), *rate);
        }
        sim
    }

    /// The steps' declarations, the first included, with the moment of each.
    pub(crate) fn declarations(&self) -> impl Iterator<Item = &Declared> {
        std::iter::once(&self.first).chain(self.steps.iter().filter_map(|(_, step)| match step {
            Step::Declare(declared) | Step::Rewrite(_, declared) => Some(declared),
            _ => None,
        }))
    }

    /// Whether the story takes such a step.
    pub(crate) fn has(&self, is_wanted: impl Fn(&Step) -> bool) -> bool {
        self.steps.iter().any(|(_, step)| is_wanted(step))
    }
}

/// What the next commit declares.
fn next(draws: &mut Draws, number: u64, now: &Declared, history: &[Declared]) -> Declared {
    let bad = ["-never", "-crash", "-pull", "-errors"];
    match draws.below(10) {
        // git revert: what was declared before.
        0 | 1 => draws.one_of(history),
        2..=4 => Declared { version: format!("{number}.0.0{}", draws.one_of(&bad)), ..now.clone() },
        5 if now.replicas.is_some() => {
            Declared { replicas: Some(2 + u32::try_from(draws.below(8)).expect("small")), ..now.clone() }
        }
        6 => Declared { attempt: now.attempt + 1, ..now.clone() },
        _ => Declared { version: format!("{number}.0.0"), ..now.clone() },
    }
}

/// Something that nobody asked for.
fn disturbance(draws: &mut Draws, declared: &Declared, replicas: u32) -> Step {
    let length = draws.one_of(&[500, 3000, 10_000, 30_000, 60_000]);
    let scale = u32::try_from(draws.below(u64::from(replicas) * 2 + 1)).expect("small");
    match draws.below(24) {
        0 | 1 => Step::Crash,
        2 | 3 => Step::Freeze(length),
        4 => Step::Restart,
        5 => Step::RestartControllers,
        6 => Step::StallControllers(length),
        7 => Step::ApiAway(length),
        8 => Step::GitAway(length),
        9 => Step::Compact,
        10 | 11 => Step::KillPod(usize::try_from(draws.below(10)).expect("small")),
        12 | 13 => Step::Scale(scale),
        14 => Step::SetImage("9.9.9".to_owned()),
        15 => Step::AddEnv,
        16 => Step::EditConfig,
        17 => Step::Delete(draws.one_of(&["Deployment".to_owned(), "ConfigMap".to_owned(), "Service".to_owned()])),
        18 => Step::Pause,
        19 | 20 => {
            Step::Request(draws.one_of(&["abort", "abort:2", "rollback", "retry", "refresh", "sync"]).to_owned())
        }
        21 => Step::DeleteApplication,
        22 => Step::Rewrite(1, Declared { version: "8.0.0".to_owned(), ..declared.clone() }),
        _ => Step::Mute,
    }
}

fn faults(draws: &mut Draws) -> BTreeMap<String, Struck> {
    let mut faults = BTreeMap::new();
    for fault in Fault::ALL {
        // What loses events costs most: such a story lasts until collections are listed again.
        let percent = match fault {
            Fault::DropEvent | Fault::DelayEvent | Fault::SwapEvent => 12,
            _ => 35,
        };
        if !draws.happens(percent) {
            continue;
        }
        let share = match fault {
            Fault::CrashBeforeWrite | Fault::CrashAfterWrite => draws.one_of(&[5, 20, 60]),
            Fault::RefuseCall | Fault::LoseAnswer | Fault::SlowCall | Fault::RaceWrite => draws.one_of(&[10, 50, 100]),
            Fault::DropEvent | Fault::DelayEvent | Fault::SwapEvent | Fault::RepeatEvent => {
                draws.one_of(&[10, 100, 300])
            }
            Fault::EndWatch => draws.one_of(&[100, 500]),
            Fault::FailMeasure | Fault::FailPoll => draws.one_of(&[50, 300]),
        };
        faults.insert(format!("{fault:?}"), Struck::Permille(share));
    }
    faults
}
