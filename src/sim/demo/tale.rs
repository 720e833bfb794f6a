//! The story, as data: a first sync, a good version, a bad one, and `git revert`. `tests/demo/tale.rs` tells the same one
//! on a real control plane.

use std::collections::BTreeMap;

use crate::model::{Lane, Past};
use crate::sim::census::Census;
use crate::status::{AppView, Phase};

/// One chapter.
pub(super) struct Chapter {
    /// What it is about.
    pub(super) says: &'static str,
    /// What the person commits: the subject, and the version that is declared then.
    pub(super) commit: Option<(&'static str, &'static str)>,
    /// What it waits for, in words.
    pub(super) awaited: &'static str,
    /// When it is over.
    pub(super) is_over: fn(&Seen<'_>) -> bool,
    /// What must have come true by then, each with its words.
    pub(super) claims: fn(&Seen<'_>) -> Vec<(bool, String)>,
}

/// What a chapter looks at.
pub(super) struct Seen<'a> {
    pub(super) web: &'a AppView,
    pub(super) api: &'a AppView,
    pub(super) census: &'a Census,
    pub(super) tally: &'a Tally,
}

/// What there was of the story's app since the chapter began, by version.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The most pods.
    most: BTreeMap<String, usize>,
    /// The fewest Ready pods; a version that was not there at first had none.
    fewest_ready: Option<BTreeMap<String, usize>>,
}

impl Tally {
    /// Takes a new count in.
    pub(super) fn note(&mut self, census: &Census) {
        let counts = counts(census, super::WEB);
        for (version, (ready, other)) in &counts {
            let most = self.most.entry(version.clone()).or_default();
            *most = (*most).max(ready + other);
        }
        let ready = |version: &String| counts.get(version).map_or(0, |(ready, _)| *ready);
        match &mut self.fewest_ready {
            None => {
                let first = counts.iter().map(|(version, (ready, _))| (version.clone(), *ready));
                self.fewest_ready = Some(first.collect());
            }
            Some(fewest) => fewest.iter_mut().for_each(|(version, least)| *least = (*least).min(ready(version))),
        }
    }

    fn most(&self, version: &str) -> usize {
        self.most.get(version).copied().unwrap_or_default()
    }

    fn fewest_ready(&self, version: &str) -> usize {
        self.fewest_ready.as_ref().and_then(|fewest| fewest.get(version)).copied().unwrap_or_default()
    }
}

/// Pods of an app by version: Ready ones, and those that are not.
pub(super) fn counts(census: &Census, app: &str) -> BTreeMap<String, (usize, usize)> {
    let prefix = format!("{app}-");
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (_, pod) in census.pods().filter(|(key, _)| key.name.starts_with(&prefix)) {
        let (ready, other) = counts.entry(pod.version().to_owned()).or_default();
        *if pod.is_ready { ready } else { other } += 1;
    }
    counts
}

/// The version that fails.
const BAD: &str = "1.2.0-errors-20";

/// The story.
pub(super) const CHAPTERS: &[Chapter] = &[
    Chapter {
        says: "first sync: there is nothing to protect yet, so everything is applied at once and judged",
        commit: None,
        awaited: "web and api run 1.0.0",
        is_over: |seen| is_on(seen.web, "1.0.0") && is_on(seen.api, "1.0.0"),
        claims: |_| Vec::new(),
    },
    Chapter {
        says: "a good version: `version: 1.1.0` is committed and goes out wave by wave",
        commit: Some(("web 1.1.0", "1.1.0")),
        awaited: "web runs 1.1.0",
        is_over: |seen| is_on(seen.web, "1.1.0"),
        claims: |seen| {
            let waves = last(seen.web).map(|past| past.waves.as_slice()).unwrap_or_default();
            let sizes: Vec<u32> = waves.iter().map(|wave| wave.pods.values().sum()).collect();
            vec![(sizes == [1, 2, 10], format!("waves of 1, 2 and 10 pods (they were {sizes:?})"))]
        },
    },
    Chapter {
        says: "a bad version: of the requests that 1.2.0-errors-20 answers, 20 % fail; its gate shuts and it is taken back",
        commit: Some(("web 1.2.0-errors-20", BAD)),
        awaited: "1.2.0-errors-20 is held",
        is_over: |seen| {
            let is_held = seen.web.held.as_ref().is_some_and(|held| held.version == BAD);
            is_held && seen.web.report.phase == Phase::Held && !counts(seen.census, super::WEB).contains_key(BAD)
        },
        claims: |seen| {
            let (bad, ready) = (seen.tally.most(BAD), seen.tally.fewest_ready("1.1.0"));
            vec![
                (bad == 1, format!("one bad pod and no more (there were {bad})")),
                (ready == 10, format!("all ten good pods Ready throughout (there were {ready})")),
            ]
        },
    },
    Chapter {
        says: "`git revert` of the bad commit: Git and the cluster say the same again, without a single write to a pod",
        commit: Some(("Revert \"web 1.2.0-errors-20\"", "1.1.0")),
        awaited: "web is settled on 1.1.0",
        is_over: |seen| is_on(seen.web, "1.1.0"),
        claims: |seen| {
            let ready = seen.tally.fewest_ready("1.1.0");
            vec![(ready == 10, format!("all ten pods left alone (there were {ready})"))]
        },
    },
    Chapter {
        says: "`git revert` of the good commit too: 1.0.0 completed once before, so it takes the express lane",
        commit: Some(("Revert \"web 1.1.0\"", "1.0.0")),
        awaited: "web runs 1.0.0",
        is_over: |seen| is_on(seen.web, "1.0.0"),
        claims: |seen| {
            let lane = last(seen.web).map(|past| past.lane);
            vec![(lane == Some(Lane::Express), format!("the express lane (it was {lane:?})"))]
        },
    },
];

fn last(view: &AppView) -> Option<&Past> {
    view.record.past.last()
}

/// Whether a version runs, is declared, and nothing is under way.
fn is_on(view: &AppView, version: &str) -> bool {
    let is =
        |release: &Option<crate::model::ReleaseRef>| release.as_ref().is_some_and(|known| known.version == version);
    is(&view.effective) && is(&view.desired) && view.report.phase == Phase::Idle
}
