//! Breadth-first search over every interleaving of the agent's steps, the controllers', crashes, commits and requests.

use std::collections::HashMap;
use std::time::Instant;

use tidegate::model::Capacity;

use super::agent::{Agent, Ask, Commit, Memory, Sample, View, Work, Write};
use super::checks;
use super::cluster::Cluster;

/// How far the world may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) capacity: Capacity,
    /// Crashes of the agent.
    pub(super) crashes: u8,
    /// Commits: to another Release, or another attempt at the same.
    pub(super) commits: u8,
    /// Requests of a person.
    pub(super) asks: u8,
    /// Whether ten seconds never pass while the agent runs and has something to do.
    pub(super) is_prompt: bool,
}

/// One state of the world, the agent's memory and what the checks remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) view: View,
    /// A pass that has decided and not written yet.
    pub(super) pending: Option<u32>,
    /// Whether the Deployment, or the custom resource, changed since that pass read it.
    is_stale: [bool; 2],
    /// Releases that were committed, and those of them whose pods never become Ready, one bit each.
    met: u8,
    bad: u8,
    crashes: u8,
    commits: u8,
    asks: u8,
    /// Attempts that failed, one bit each.
    pub(super) failed: u8,
}

const DEPLOYMENT: usize = 0;
const RESOURCE: usize = 1;

/// What happens between two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Start,
    Look(u32),
    Write,
    /// Some of the writes, one bit each, and a crash before the others.
    WritePartly(u8),
    Sampled(bool),
    Crash,
    DeploymentController,
    SetController,
    Ready(u8),
    CrashLoop(u8),
    Time,
    Commit(Commit, bool),
    Ask(Ask),
}

/// What a search came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Explored {
    pub(super) states: usize,
    pub(super) transitions: usize,
    pub(super) passes: usize,
    pub(super) ends: usize,
    pub(super) seconds: f64,
}

/// Who goes first when nothing comes from outside any more: who of agent and cluster, what samples show, and whether bad
/// pods crash or only never become Ready.
const CONTINUATIONS: [(bool, bool, bool); 4] =
    [(true, true, true), (true, false, false), (false, true, false), (false, false, true)];

/// The search under way.
pub(super) struct Search {
    is_prompt: bool,
    pub(super) agent: Agent,
    pub(super) states: Vec<State>,
    numbers: HashMap<State, u32>,
    pub(super) parents: Vec<(u32, Step)>,
    fair: Vec<[u32; CONTINUATIONS.len()]>,
    transitions: usize,
    ends: usize,
}

/// Explores everything within `bounds` and checks every state.
///
/// # Errors
/// The first violation, with the shortest path to it.
pub(super) fn explore(bounds: Bounds) -> Result<Explored, String> {
    let started = Instant::now();
    let (agent, record, deployment) = Agent::new(bounds.capacity);
    let at_start = Commit { release: 0, attempt: 0 };
    let view = View {
        record,
        deployment,
        cluster: Cluster::at_rest(),
        kept: 1,
        declared: at_start,
        mirrored: at_start,
        request: None,
        memory: Memory::default(),
    };
    let state = State {
        view,
        pending: None,
        is_stale: [false; 2],
        met: 1,
        bad: 0,
        crashes: bounds.crashes,
        commits: bounds.commits,
        asks: bounds.asks,
        failed: 0,
    };
    let mut search = Search {
        is_prompt: bounds.is_prompt,
        agent,
        states: Vec::new(),
        numbers: HashMap::new(),
        parents: Vec::new(),
        fair: Vec::new(),
        transitions: 0,
        ends: 0,
    };
    search.enter(state, 0, Step::Start);
    let mut number = 0;
    while number < search.states.len() {
        search.expand(number)?;
        number += 1;
    }
    search.ends_always()?;
    Ok(Explored {
        states: search.states.len(),
        transitions: search.transitions,
        passes: search.agent.passes_made(),
        ends: search.ends,
        seconds: started.elapsed().as_secs_f64(),
    })
}

impl Search {
    fn enter(&mut self, state: State, parent: usize, step: Step) -> u32 {
        if let Some(number) = self.numbers.get(&state) {
            return *number;
        }
        let number = u32::try_from(self.states.len()).expect("fewer than four billion states");
        self.states.push(state);
        self.numbers.insert(state, number);
        self.parents.push((u32::try_from(parent).expect("it has a number"), step));
        number
    }

    fn expand(&mut self, number: usize) -> Result<(), String> {
        let state = self.states[number];
        checks::contained(&state.view, &self.agent).map_err(|what| self.story(number, None, &what))?;
        let mut next = Vec::new();
        self.of_agent(&state, &mut next).map_err(|(step, what)| self.story(number, Some(step), &what))?;
        self.of_cluster(&state, &mut next);
        self.of_people(&state, &mut next);
        self.transitions += next.len();
        let next: Vec<(Step, u32)> =
            next.into_iter().map(|(step, state)| (step, self.enter(state, number, step))).collect();
        self.fair.push(CONTINUATIONS.map(|continuation| chosen(&next, continuation).unwrap_or(u32::MAX)));
        Ok(())
    }

    fn of_agent(&mut self, state: &State, next: &mut Vec<(Step, State)>) -> Result<(), (Step, String)> {
        if state.crashes > 0 && (state.pending.is_some() || state.view.memory != Memory::default()) {
            next.push((Step::Crash, state.crashed()));
        }
        let Some(pending) = state.pending else {
            let number = self.agent.look(&state.view);
            let pass = self.agent.pass(number);
            let mut after = *state;
            after.view.memory = pass.memory;
            if pass.work != Work::Nothing {
                after.pending = Some(number);
            }
            if after != *state {
                next.push((Step::Look(number), after));
            }
            return Ok(());
        };
        match self.agent.pass(pending).work.clone() {
            Work::Nothing => {}
            Work::Measure => {
                for has_passed in [true, false] {
                    let mut after = state.done();
                    let sample = Some(Sample { has_passed, age: 0 });
                    after.view.memory.samples = match state.view.memory.samples {
                        [None, _] => [sample, None],
                        [older, None] => [older, sample],
                        [Some(_), older] => [older, sample],
                    };
                    next.push((Step::Sampled(has_passed), after));
                }
            }
            Work::Save { record, mirrored, is_answer, drops_samples } => {
                let mut after = state.done();
                if !state.is_stale[RESOURCE] {
                    after.failed = checks::may_save(state, self.agent.record(record), &self.agent)
                        .map_err(|what| (Step::Write, what))?;
                    (after.view.record, after.view.mirrored) = (record, mirrored);
                    if is_answer {
                        after.view.request = None;
                    }
                    if drops_samples {
                        after.view.memory.samples = [None; 2];
                    }
                }
                next.push((Step::Write, after));
            }
            Work::Write(writes) => {
                let all = (1u8 << writes.len()) - 1;
                for some in 1..=all {
                    let step = if some == all { Step::Write } else { Step::WritePartly(some) };
                    if some < all && state.crashes == 0 {
                        continue;
                    }
                    let after = self.written(state, &writes, some).map_err(|what| (step, what))?;
                    next.push((step, if some == all { after } else { after.crashed() }));
                }
            }
        }
        Ok(())
    }

    fn written(&self, state: &State, writes: &[Write], some: u8) -> Result<State, String> {
        let mut after = state.done();
        let view = &mut after.view;
        for (_, write) in writes.iter().enumerate().filter(|(index, _)| some & (1 << index) != 0) {
            match *write {
                Write::Apply(_) if state.is_stale[DEPLOYMENT] => {}
                Write::Apply(body) => {
                    let record = self.agent.record(state.view.record);
                    checks::may_apply(self.agent.body(body).spec, record, &self.agent)?;
                    view.deployment = body;
                    view.cluster.status.is_observed = false;
                    view.memory.has_applied = true;
                }
                Write::Keep(release) => {
                    view.kept |= 1 << release;
                    view.memory.kept |= 1 << release;
                }
                Write::Drop(release) => {
                    view.kept &= !(1 << release);
                    view.memory.kept &= !(1 << release);
                }
            }
        }
        Ok(after)
    }

    fn of_cluster(&mut self, state: &State, next: &mut Vec<(Step, State)>) {
        let cluster = state.view.cluster;
        let spec = self.agent.body(state.view.deployment).spec;
        let mut push = |step, after: Cluster| {
            if after != cluster {
                let mut moved = *state;
                moved.view.cluster = after;
                moved.is_stale[DEPLOYMENT] |= moved.pending.is_some() && after.status != cluster.status;
                next.push((step, moved));
            }
        };
        push(Step::DeploymentController, cluster.after_deployment_controller(spec));
        push(Step::SetController, cluster.after_set_controller());
        for release in 0..3u8 {
            let index = usize::from(release);
            if state.bad & (1 << release) == 0 {
                push(Step::Ready(release), cluster.after_becoming_ready(index));
            } else {
                push(Step::CrashLoop(release), cluster.after_crashing(index));
            }
        }
        let is_down = state.view.memory == Memory::default();
        let is_busy = !is_down && next.iter().any(|(step, _)| matches!(step, Step::Look(_)));
        if state.pending.is_none() && !(self.is_prompt && is_busy) {
            let mut after = *state;
            after.view.record = self.agent.older(state.view.record);
            for sample in after.view.memory.samples.iter_mut().flatten() {
                sample.age = (sample.age + 1).min(3);
            }
            if after != *state {
                next.push((Step::Time, after));
            }
        }
    }

    fn of_people(&self, state: &State, next: &mut Vec<(Step, State)>) {
        let declared = state.view.declared;
        let mut commit = |commit: Commit, is_bad: bool| {
            let mut after = *state;
            after.view.declared = commit;
            after.commits -= 1;
            after.met |= 1 << commit.release;
            after.bad |= u8::from(is_bad) << commit.release;
            next.push((Step::Commit(commit, is_bad), after));
        };
        if state.commits > 0 {
            // B and C differ by name only, so B comes first.
            let last = if state.met & 2 == 0 { 2 } else { 3 };
            for release in (0..last).filter(|release| *release != declared.release) {
                let to = Commit { release, attempt: 0 };
                if state.met & (1 << release) == 0 {
                    commit(to, false);
                    commit(to, true);
                } else {
                    commit(to, false);
                }
            }
            if declared.release != 0 && declared.attempt == 0 {
                commit(Commit { attempt: 1, ..declared }, false);
            }
        }
        if state.asks > 0 && state.view.request.is_none() {
            let is_rolling = self.agent.record(state.view.record).rollout.is_some();
            let ask = match (is_rolling, state.failed) {
                (true, _) => Ask::Abort,
                (false, 0) => return,
                (false, _) => Ask::Retry,
            };
            let mut after = *state;
            after.view.request = Some(ask);
            after.asks -= 1;
            after.is_stale[RESOURCE] = after.pending.is_some();
            next.push((Step::Ask(ask), after));
        }
    }

    /// From every state, when nothing comes from outside any more and everybody takes a turn, an end is reached.
    fn ends_always(&mut self) -> Result<(), String> {
        let mut ends = vec![false; self.states.len()];
        for (continuation, _) in CONTINUATIONS.iter().enumerate() {
            // 0: not seen, 1: on the path that is followed, 2: leads to an end.
            let mut seen = vec![0u8; self.states.len()];
            let mut path = Vec::new();
            for start in 0..self.states.len() {
                let mut at = start;
                while seen[at] == 0 {
                    seen[at] = 1;
                    path.push(at);
                    let next = self.fair[at][continuation];
                    if next == u32::MAX {
                        let state = self.states[at];
                        let number = self.agent.look(&state.view);
                        checks::is_end(&state, self.agent.pass(number), &self.agent)
                            .map_err(|what| self.story(at, None, &format!("no end is reached: {what}")))?;
                        ends[at] = true;
                        seen[at] = 2;
                        break;
                    }
                    at = next as usize;
                }
                if seen[at] == 1 {
                    return Err(self.story(at, None, "no end is reached: from here the world comes back to here"));
                }
                path.drain(..).for_each(|at| seen[at] = 2);
            }
        }
        self.ends = ends.into_iter().filter(|is_end| *is_end).count();
        Ok(())
    }
}

/// The step that `continuation` takes, when there is one.
fn chosen(next: &[(Step, u32)], (is_agent_first, passes, crashes): (bool, bool, bool)) -> Option<u32> {
    let rank = |step: Step| {
        let (agent, cluster) = if is_agent_first { (0, 10) } else { (10, 0) };
        match step {
            Step::Look(_) | Step::Write => Some(agent),
            Step::Sampled(has_passed) if has_passed == passes => Some(agent),
            Step::SetController => Some(cluster),
            Step::DeploymentController => Some(cluster + 1),
            Step::Ready(_) => Some(cluster + 2),
            Step::CrashLoop(_) if crashes => Some(cluster + 3),
            Step::Time => Some(20),
            Step::Start
            | Step::WritePartly(_)
            | Step::Sampled(_)
            | Step::Crash
            | Step::CrashLoop(_)
            | Step::Commit(..)
            | Step::Ask(_) => None,
        }
    };
    let ranked = next.iter().filter_map(|(step, number)| Some((rank(*step)?, *number)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, number)| number)
}

impl State {
    /// The pass is over.
    fn done(&self) -> Self {
        Self { pending: None, is_stale: [false; 2], ..*self }
    }

    /// The agent starts again with nothing in memory.
    fn crashed(&self) -> Self {
        let mut after = self.done();
        after.view.memory = Memory::default();
        after.crashes -= 1;
        after
    }
}
