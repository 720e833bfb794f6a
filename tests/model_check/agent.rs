//! One pass of the agent, by the program's own pure code in the order of `src/agent/tick.rs`: read what is durable,
//! observe, stage, diff, decide. Leaves the writes that the pass wants, which happen later or never.
//!
//! Records are kept as the text that the store would write, and read back from it, so that nothing survives in here that
//! would not survive in the cluster. Times are told relative to now, so that equal situations at other times are one.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::decide::{Situation, decide};
use tidegate::diff::{Changes, diff};
use tidegate::model::{
    Action, AppName, Application, Capacity, ClusterName, Declared, Digest, History, Lane, Object, ObjectKey, Position,
    Record, Release, ReleaseRef, Request, Revision,
};
use tidegate::observe::{Applied, Live, Workload};
use tidegate::stage::{Inputs, Stage, moving, projection, stage};
use tidegate::status::{Phase, SyncStatus};
use tidegate::store;

use super::cluster::{Cluster, RELEASES, Spec};
use super::manifests::{ANALYSIS, application, children, deployment, manifest, name, spec};
use super::times::{canonical, measurements, now};

/// Stages and observations that are kept for other passes: about 10 kB each.
const STAGED_MAX: usize = 20_000;
const OWNER: &str = "us";
const SECRET_KEY: [u8; 32] = [7; 32];

/// What Git says: a Release, and which attempt at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Commit {
    pub(super) release: u8,
    pub(super) attempt: u8,
}

/// What a person may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ask {
    Abort,
    Retry,
}

impl Ask {
    const fn text(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Retry => "retry",
        }
    }
}

/// A sample of the analysis: whether it passed, and its age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sample {
    pub(super) has_passed: bool,
    pub(super) age: u8,
}

/// What the agent loses when it crashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Memory {
    /// Releases that it knows to be kept, one bit each.
    pub(super) kept: u8,
    /// Whether it has looked.
    pub(super) knows_kept: bool,
    /// Whether it remembers the answer to its last apply.
    pub(super) has_applied: bool,
    /// Samples of the gate that is open, oldest first.
    pub(super) samples: [Option<Sample>; 2],
}

/// All that a pass can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub(super) record: u32,
    pub(super) deployment: u32,
    pub(super) cluster: Cluster,
    /// Kept Releases in the cluster, one bit each.
    pub(super) kept: u8,
    pub(super) declared: Commit,
    /// What the custom resource mirrors.
    pub(super) mirrored: Commit,
    pub(super) request: Option<Ask>,
    pub(super) memory: Memory,
}

/// What came of a pass.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) work: Work,
    pub(super) memory: Memory,
    pub(super) phase: Phase,
    pub(super) is_synced: bool,
    /// The fact that it gives for not being well.
    pub(super) blocking: Option<String>,
}

/// What a pass wants to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Work {
    Nothing,
    Save {
        record: u32,
        mirrored: Commit,
        /// Whether the request is consumed with it.
        is_answer: bool,
        /// Whether samples in memory are dropped once it is saved.
        drops_samples: bool,
    },
    Write(Vec<Write>),
    /// Takes a sample; what it shows is up to the world.
    Measure,
}

/// One write outside the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    Apply(u32),
    Keep(u8),
    Drop(u8),
}

/// A Deployment's spec that was staged once.
pub(super) struct Body {
    pub(super) spec: Spec,
    staged: Arc<Value>,
    stored: Value,
    content: Digest,
}

/// What Git declares at one commit.
struct Entry {
    application: Arc<Application>,
    release: Release,
}

/// What tells most records apart, cheaply.
type Outline = (u64, usize, usize, Option<String>);

/// What an observation depends on.
type SightKey = (u32, Cluster, bool, bool, bool);

/// The agent, with everything that it met remembered by number.
pub(super) struct Agent {
    capacity: Capacity,
    key: ObjectKey,
    digests: [Digest; RELEASES],
    objects: [BTreeMap<ObjectKey, Object>; RELEASES],
    entries: HashMap<Commit, Rc<Entry>>,
    records: Vec<Record>,
    record_numbers: HashMap<Outline, Vec<u32>>,
    sights: HashMap<SightKey, Rc<Live>>,
    staged: HashMap<(SightKey, u32, u8), Rc<(Stage, Changes)>>,
    older: HashMap<u32, u32>,
    bodies: Vec<Body>,
    body_numbers: HashMap<Digest, u32>,
    passes: Vec<Pass>,
    pass_numbers: HashMap<View, u32>,
}

impl Agent {
    /// The agent of an app whose Stable is the first Release, with the numbers of the record and of the Deployment then.
    pub(super) fn new(capacity: Capacity) -> (Self, u32, u32) {
        let objects = [0, 1, 2].map(|release| {
            let object = manifest(release);
            BTreeMap::from([(object.key.clone(), object)])
        });
        let digests = objects.each_ref().map(|objects| store::digest::digest(objects, &SECRET_KEY));
        let mut agent = Self {
            capacity,
            key: manifest(0).key,
            digests,
            objects,
            entries: HashMap::new(),
            records: Vec::new(),
            record_numbers: HashMap::new(),
            sights: HashMap::new(),
            staged: HashMap::new(),
            older: HashMap::new(),
            bodies: Vec::new(),
            body_numbers: HashMap::new(),
            passes: Vec::new(),
            pass_numbers: HashMap::new(),
        };
        let record = Record {
            stable: Some(agent.reference(Commit { release: 0, attempt: 0 })),
            completed: vec![digests[0]],
            inventory: BTreeMap::from([(agent.key.clone(), "v1".to_owned())]),
            ..Record::default()
        };
        let staged = stage(&Inputs {
            owner: OWNER,
            secret_key: &SECRET_KEY,
            application: None,
            stable: Some(&agent.release(Commit { release: 0, attempt: 0 })),
            target: None,
            rollout: None,
            live: &Live::default(),
            before: None,
        });
        let object = staged.objects[&agent.key].object.clone();
        let deployment = agent.body_number(&object, staged.objects[&agent.key].content);
        let record = agent.record_number(record);
        (agent, record, deployment)
    }

    pub(super) fn record(&self, number: u32) -> &Record {
        &self.records[number as usize]
    }

    pub(super) fn pass(&self, number: u32) -> &Pass {
        &self.passes[number as usize]
    }

    pub(super) fn body(&self, number: u32) -> &Body {
        &self.bodies[number as usize]
    }

    /// Passes that were made, each in a view of its own.
    pub(super) fn passes_made(&self) -> usize {
        self.passes.len()
    }

    /// Which Release a digest names.
    pub(super) fn release_of(&self, digest: Digest) -> u8 {
        let found = self.digests.iter().position(|known| *known == digest).expect("every digest is one of three");
        u8::try_from(found).expect("below three")
    }

    /// The record one quantum later.
    pub(super) fn older(&mut self, number: u32) -> u32 {
        if let Some(older) = self.older.get(&number) {
            return *older;
        }
        let record = canonical(self.records[number as usize].clone(), 1);
        let older = self.record_number(record);
        self.older.insert(number, older);
        older
    }

    /// Makes a pass over `view`, or recalls it.
    pub(super) fn look(&mut self, view: &View) -> u32 {
        let mut view = *view;
        if self.record(view.record).rollout.is_none() {
            // ReplicaSets and pods are read during a rollout only.
            view.cluster.sets = Default::default();
        }
        if let Some(number) = self.pass_numbers.get(&view) {
            return *number;
        }
        let pass = self.tick(&view);
        let number = u32::try_from(self.passes.len()).expect("few enough");
        self.passes.push(pass);
        self.pass_numbers.insert(view, number);
        number
    }

    fn reference(&self, commit: Commit) -> ReleaseRef {
        ReleaseRef {
            digest: self.digests[usize::from(commit.release)],
            attempt: u32::from(commit.attempt),
            version: name(commit.release).to_string(),
            revision: Revision { branch: "main".to_owned(), commit: format!("{:040}", commit.release), signer: None },
        }
    }

    fn release(&self, commit: Commit) -> Release {
        let objects = self.objects[usize::from(commit.release)].clone();
        Release { app: AppName::from("web"), reference: self.reference(commit), objects }
    }

    /// The number of a record, after it went through the store's format as text.
    fn record_number(&mut self, record: Record) -> u32 {
        let record = canonical(record, 0);
        let position = record.rollout.as_ref().map(|rollout| format!("{:?}", rollout.position));
        let waves = record.rollout.as_ref().map_or(0, |rollout| rollout.waves.len());
        let known = self.record_numbers.entry((record.rollouts, waves, record.quarantine.len(), position)).or_default();
        if let Some(number) = known.iter().find(|number| self.records[**number as usize] == record) {
            return *number;
        }
        let written =
            store::application::write("tidegate", &AppName::from("web"), OWNER, "web.yaml", &json!({}), &record, None);
        let text = serde_json::to_string(&*written.body).expect("JSON is text");
        let body = serde_json::from_str(&text).expect("it was JSON");
        let read = Object::from_value(&ClusterName::local(), body).expect("it was an object");
        let read = store::application::read(&read).expect("what was written can be read").record;
        assert_eq!(read, record, "what is durable is what was decided");
        let number = u32::try_from(self.records.len()).expect("few enough");
        known.push(number);
        self.records.push(read);
        number
    }

    fn body_number(&mut self, object: &Object, content: Digest) -> u32 {
        if let Some(number) = self.body_numbers.get(&content) {
            return *number;
        }
        let mut staged = (*object.body).clone();
        if let Some(metadata) = staged["metadata"].as_object_mut() {
            metadata.retain(|name, _| name != "resourceVersion" && name != "uid");
        }
        let mut stored = staged.clone();
        // As the API server does: zero values that may be omitted are not stored.
        if let Some(spec) = stored["spec"].as_object_mut() {
            spec.retain(|_, value| *value != json!(false) && *value != json!(0));
        }
        let body = Body { spec: spec(&stored), staged: Arc::new(staged), stored, content };
        let number = u32::try_from(self.bodies.len()).expect("few enough");
        self.bodies.push(body);
        self.body_numbers.insert(content, number);
        number
    }

    fn tick(&mut self, view: &View) -> Pass {
        let mut memory = view.memory;
        let record = self.records[view.record as usize].clone();
        let rollout = record.rollout.as_ref();
        if rollout.is_some() && !memory.knows_kept {
            memory.kept |= view.kept;
            memory.knows_kept = true;
        }
        let entry = self.entry(view.declared);
        let next = &entry.release;
        let kept = [0, 1, 2].map(|release| self.entry(Commit { release, attempt: 0 }));
        let find = |digest: Option<Digest>| {
            let digest = digest?;
            let release = self.release_of(digest);
            let is_kept = view.kept & (1 << release) != 0;
            match digest == next.reference.digest {
                true => Some(next),
                false => is_kept.then(|| &kept[usize::from(release)].release),
            }
        };
        let stable = find(record.stable.as_ref().map(|stable| stable.digest));
        let target = find(rollout.map(|rollout| rollout.target.digest));
        let (live, key) = self.observe(view, &record, stable, target);
        if self.staged.len() >= STAGED_MAX {
            self.staged.clear();
            self.sights.clear();
        }
        // Attempts at one Release differ in nothing that is staged.
        let found = u8::from(stable.is_some()) + 2 * u8::from(target.is_some());
        let staged = self.staged.entry((key, view.record, found)).or_insert_with(|| {
            let stage = stage(&Inputs {
                owner: OWNER,
                secret_key: &SECRET_KEY,
                application: Some(&entry.application),
                stable,
                target,
                rollout,
                live: &live,
                before: None,
            });
            let changes = diff(&stage, &record.inventory, &live, OWNER);
            Rc::new((stage, changes))
        });
        let staged = Rc::clone(staged);
        let (stage, changes) = staged.as_ref();
        let history = History {
            record: Some(record.clone().into()),
            is_ahead: false,
            samples: BTreeMap::from([(ANALYSIS.to_owned(), measurements(memory))]),
            request: view.request.map(|ask| Request::parse(ask.text())),
            kept: (0..RELEASES)
                .filter(|index| memory.kept & (1 << index) != 0)
                .map(|index| self.digests[index])
                .collect(),
            attended_since: None,
        };
        let decision = decide(&Situation {
            declared: &Declared::Ready { application: Arc::clone(&entry.application), target: next.reference.clone() },
            history: &history,
            stable,
            target,
            next: Some(next),
            previous: None,
            stage,
            changes,
            live: &live,
            neighbours: &Default::default(),
            failures: &BTreeMap::new(),
            is_mirrored: view.mirrored == view.declared,
            now: now(),
        });
        let work = match decision.record {
            Some(after) => self.save(view, &record, after),
            None => self.work(decision.actions, stage),
        };
        let report = decision.report;
        let is_synced = report.sync == SyncStatus::Synced;
        Pass { work, memory, phase: report.phase, is_synced, blocking: report.blocking.map(|blocking| blocking.fact) }
    }

    fn save(&mut self, view: &View, before: &Record, after: Record) -> Work {
        let place = |record: &Record| {
            record.rollout.as_ref().map(|rollout| (rollout.id, rollout.waves.len(), rollout.position.clone()))
        };
        let drops_samples = place(before) != place(&after);
        let answered = after.answered.as_ref().map(|(request, _)| request.text.clone());
        let is_answer = view.request.is_some() && view.request.map(|ask| ask.text().to_owned()) == answered;
        Work::Save { record: self.record_number(after), mirrored: view.declared, is_answer, drops_samples }
    }

    fn work(&mut self, actions: Vec<Action>, stage: &Stage) -> Work {
        let (mut writes, mut measures) = (Vec::new(), false);
        for action in actions {
            match action {
                Action::Apply { object, is_forced: _ } => {
                    let observed = object.text("/metadata/resourceVersion");
                    assert!(observed.is_some(), "an apply depends on what was observed");
                    writes.push(Write::Apply(self.body_number(&object, stage.objects[&object.key].content)));
                }
                Action::KeepRelease(digest) => writes.push(Write::Keep(self.release_of(digest))),
                Action::DropRelease(digest) => writes.push(Write::Drop(self.release_of(digest))),
                Action::Measure { .. } => measures = true,
                Action::Notice(_) | Action::Barrier { .. } => {}
                Action::RemoveFields { .. }
                | Action::YieldReplicas { .. }
                | Action::Orphan { .. }
                | Action::Delete { .. }
                | Action::Forget => panic!("nothing in this world calls for {action:?}"),
            }
        }
        assert!(!measures || writes.is_empty(), "samples are taken of what stands still");
        match (measures, writes.is_empty()) {
            (true, _) => Work::Measure,
            (false, true) => Work::Nothing,
            (false, false) => Work::Write(writes),
        }
    }

    /// What a pass sees of the cluster: the Deployment always, its ReplicaSets and pods when a rollout moves them.
    fn observe(
        &mut self,
        view: &View,
        record: &Record,
        stable: Option<&Release>,
        target: Option<&Release>,
    ) -> (Rc<Live>, SightKey) {
        let rollout = record.rollout.as_ref();
        let is_preparing = rollout.is_some_and(|rollout| rollout.position == Position::Preparing);
        let is_concerned = rollout.is_some_and(|rollout| match (rollout.lane, stable, target) {
            (Lane::FirstSync | Lane::Direct, _, _) => true,
            (Lane::Waves | Lane::Express, Some(stable), Some(target)) if is_preparing => {
                moving(stable, target).contains(&self.key)
            }
            (Lane::Waves | Lane::Express, _, _) => rollout.stable_hashes.contains_key(&self.key),
        });
        let body = self.body(view.deployment);
        let is_same = rollout.is_some_and(|rollout| {
            let is_asked = is_preparing && rollout.lane != Lane::Direct;
            is_asked && is_concerned && self.release_of(rollout.target.digest) == body.spec.template
        });
        let sets = if is_concerned { view.cluster.sets } else { Default::default() };
        let seen = Cluster { sets, ..view.cluster };
        let key = (view.deployment, seen, view.memory.has_applied, is_concerned, is_same);
        if let Some(live) = self.sights.get(&key) {
            return (Rc::clone(live), key);
        }
        let object = deployment(&body.stored, view.cluster);
        let mut live = Live::default();
        live.objects.insert(self.key.clone(), object.clone());
        if view.memory.has_applied {
            // Status was written since, so the answer is told by its content and not by its resourceVersion.
            let applied = Applied {
                content: body.content,
                resource_version: "1".to_owned(),
                projection: projection(&body.staged, &object.body),
            };
            live.applied.insert(self.key.clone(), applied);
        }
        if is_concerned {
            let (sets, pods) = children(view.cluster);
            live.workloads.insert(self.key.clone(), Workload::read(object, &sets, &pods));
        }
        if is_same {
            live.unchanged_templates.push(self.key.clone());
        }
        let live = Rc::new(live);
        self.sights.insert(key, Rc::clone(&live));
        (live, key)
    }

    fn entry(&mut self, commit: Commit) -> Rc<Entry> {
        if let Some(entry) = self.entries.get(&commit) {
            return Rc::clone(entry);
        }
        let entry = Entry {
            application: Arc::new(application(commit.release, commit.attempt, self.capacity)),
            release: self.release(commit),
        };
        let entry = Rc::new(entry);
        self.entries.insert(commit, Rc::clone(&entry));
        entry
    }
}
