//! Everything that the observer saw, in the API server's own order, and what can be claimed about all of it.
//!
//! Watches of different kinds are not ordered among themselves, but resourceVersions are: they are revisions of one
//! etcd. Replaying by resourceVersion therefore gives the true sequence of states, whatever the watches' delays.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::state::{Kind, State};

/// One event.
#[derive(Clone)]
pub(crate) struct Entry {
    /// The revision of the write; a deletion has its own.
    pub(crate) revision: u64,
    /// When it was seen.
    pub(crate) at: Instant,
    /// The kind.
    pub(crate) kind: Kind,
    /// The object's UID.
    pub(crate) uid: String,
    /// The object as written; `None` when it was deleted.
    pub(crate) object: Option<Arc<Value>>,
}

/// A moment to count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(pub(crate) u64);

/// Events in order of their revisions.
pub(crate) struct Log {
    entries: Vec<Entry>,
    /// How often a watch had to be started over; what happened meanwhile is only known by its result.
    pub(crate) gaps: usize,
    begun: Instant,
}

/// What was seen while one wave stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaveSeen {
    /// Its index.
    pub(crate) index: usize,
    /// Most pods of the new version.
    pub(crate) new_max: usize,
    /// Fewest pods of all other versions.
    pub(crate) old_min: usize,
    /// Fewest ready pods of all versions.
    pub(crate) ready_min: usize,
    /// Most pods that all ReplicaSets together wanted.
    pub(crate) total_max: usize,
    /// Old and new pods when the position moved on.
    pub(crate) at_end: (usize, usize),
}

impl Log {
    pub(crate) fn new(mut entries: Vec<Entry>, gaps: usize, begun: Instant) -> Self {
        entries.sort_by_key(|entry| entry.revision);
        Self { entries, gaps, begun }
    }

    /// Calls `visit` with each event after `since` and the state that it led to.
    pub(crate) fn replay(&self, since: Mark, mut visit: impl FnMut(&Entry, &State)) {
        let mut state = State::default();
        for entry in &self.entries {
            let key = (entry.kind, entry.uid.clone());
            match &entry.object {
                Some(object) => state.objects.insert(key, Arc::clone(object)),
                None => state.objects.remove(&key),
            };
            if entry.revision > since.0 {
                visit(entry, &state);
            }
        }
    }

    /// Whether a claim was true at some moment after `since`.
    pub(crate) fn ever(&self, since: Mark, claim: impl Fn(&State) -> bool) -> bool {
        let mut found = false;
        self.replay(since, |_, state| found = found || claim(state));
        found
    }

    /// The largest value of a measure after `since`.
    pub(crate) fn max(&self, since: Mark, measure: impl Fn(&State) -> usize) -> usize {
        let mut largest = 0;
        self.replay(since, |_, state| largest = largest.max(measure(state)));
        largest
    }

    /// The smallest value of a measure after `since`.
    pub(crate) fn min(&self, since: Mark, measure: impl Fn(&State) -> usize) -> usize {
        let mut smallest = usize::MAX;
        self.replay(since, |_, state| smallest = smallest.min(measure(state)));
        smallest
    }

    /// Most pods that a version ever had at once.
    pub(crate) fn max_pods(&self, since: Mark, version: &str) -> usize {
        self.max(since, |state| state.pods_of(version))
    }

    /// Fewest ready pods that there ever were, of all versions.
    pub(crate) fn min_ready(&self, since: Mark) -> usize {
        self.min(since, State::ready_total)
    }

    /// UIDs of all pods that a version ever had.
    pub(crate) fn uids_of(&self, since: Mark, version: &str) -> BTreeSet<String> {
        let mut uids = BTreeSet::new();
        self.replay(since, |_, state| {
            uids.extend(state.pods().filter(|pod| pod.version() == version).map(|pod| pod.uid().to_owned()));
        });
        uids
    }

    /// Claims that every pod of `version` that lived at `since` still lives, and that none of them was ever restarted,
    /// unready or replaced.
    #[track_caller]
    pub(crate) fn assert_untouched(&self, since: Mark, version: &str) {
        let mut at_first: Option<BTreeSet<String>> = None;
        let mut state_before = State::default();
        let mut complaint = None;
        self.replay(Mark(0), |entry, state| {
            if entry.revision <= since.0 {
                state_before = state.clone();
                return;
            }
            let expected = at_first.get_or_insert_with(|| well(&state_before, version));
            let now = well(state, version);
            if complaint.is_none() && now != *expected {
                complaint = Some(format!("expected {expected:?}\nfound    {now:?}\nat {}", state.summary()));
            }
        });
        if let Some(complaint) = complaint {
            panic!("the pods of {version} were touched:\n{complaint}\n{}", self.story());
        }
    }

    /// S1 and S3 as one claim: pods of `version` never exceeded what the *durable* position allowed when they were
    /// created: none before the rollout's intent, `sizes[i]` in wave i, and waves came in order.
    #[track_caller]
    pub(crate) fn assert_contained(&self, since: Mark, app: &str, version: &str, sizes: &[usize]) {
        let (mut allowed, mut wave_before) = (0, None);
        let mut pods_before = 0;
        self.replay(since, |_, state| {
            let Some(app) = state.app(app) else { return };
            if app.target() == version {
                if let Some(wave) = app.wave() {
                    let in_order = wave_before.is_none_or(|before| wave == before || wave == before + 1);
                    assert!(in_order, "wave {wave} came after {wave_before:?}\n{}", self.story());
                    wave_before = Some(wave);
                    allowed = sizes[wave];
                }
            } else if app.past_of(version).is_none_or(|past| past.outcome() != "completed") {
                (allowed, wave_before) = (0, None);
            }
            let pods = state.pods_of(version);
            let has_grown = pods > pods_before;
            pods_before = pods;
            let place = state.summary();
            assert!(
                !has_grown || pods <= allowed,
                "{pods} pods of {version}, {allowed} allowed: {place}\n{}",
                self.story()
            );
        });
    }

    /// What was seen in each wave of the rollout of `version`, from the wave's intent to the next position.
    pub(crate) fn by_wave(&self, since: Mark, app: &str, version: &str) -> Vec<WaveSeen> {
        let mut seen: BTreeMap<usize, WaveSeen> = BTreeMap::new();
        self.replay(since, |_, state| {
            let wave = state.app(app).filter(|app| app.target() == version).and_then(|app| app.wave());
            let Some(index) = wave else { return };
            let (new, total, ready) = (state.pods_of(version), state.replicas_total(), state.ready_total());
            let old = state.pods_total() - new;
            let first =
                WaveSeen { index, new_max: new, old_min: old, ready_min: ready, total_max: total, at_end: (old, new) };
            let wave = seen.entry(index).or_insert(first);
            wave.new_max = wave.new_max.max(new);
            wave.old_min = wave.old_min.min(old);
            wave.ready_min = wave.ready_min.min(ready);
            wave.total_max = wave.total_max.max(total);
            wave.at_end = (old, new);
        });
        seen.into_values().collect()
    }

    /// Lanes that rollouts of `version` took.
    pub(crate) fn lanes(&self, since: Mark, app: &str, version: &str) -> BTreeSet<String> {
        let mut lanes = BTreeSet::new();
        self.replay(since, |_, state| {
            let app = state.app(app).filter(|app| app.target() == version);
            lanes.extend(app.map(|app| app.lane().to_owned()));
        });
        lanes
    }

    /// Objects of a kind that were deleted after `since`, by name.
    pub(crate) fn deleted(&self, since: Mark, kind: Kind) -> Vec<String> {
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        let mut deleted = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.kind == kind) {
            match &entry.object {
                Some(object) => {
                    names.insert(&entry.uid, object["metadata"]["name"].as_str().unwrap_or_default().to_owned());
                }
                None if entry.revision > since.0 => deleted.extend(names.remove(entry.uid.as_str())),
                None => {}
            }
        }
        deleted
    }

    /// Writes after `since` to objects of a kind, their deletions included.
    pub(crate) fn writes(&self, since: Mark, kind: Kind) -> usize {
        self.entries.iter().filter(|entry| entry.kind == kind && entry.revision > since.0).count()
    }

    /// The whole story, a line per change.
    pub(crate) fn story(&self) -> String {
        const LINES_MAX: usize = 120;
        let mut lines = Vec::<(u128, u64, String)>::new();
        self.replay(Mark(0), |entry, state| {
            let summary = state.summary();
            if lines.last().is_none_or(|(_, _, last)| *last != summary) {
                lines.push((entry.at.duration_since(self.begun).as_millis(), entry.revision, summary));
            }
        });
        let mut text = format!("what the observer saw ({} events, {} gaps):\n", self.entries.len(), self.gaps);
        for (milliseconds, revision, line) in lines.iter().skip(lines.len().saturating_sub(LINES_MAX)) {
            let _ = writeln!(text, "{milliseconds:>7} ms  @{revision:<6} {line}");
        }
        text
    }
}

/// UIDs of the pods of a version that live, are ready, and were never restarted.
fn well(state: &State, version: &str) -> BTreeSet<String> {
    let pods = state.live_pods().filter(|pod| pod.version() == version && pod.is_ready() && pod.restarts() == 0);
    pods.map(|pod| pod.uid().to_owned()).collect()
}
