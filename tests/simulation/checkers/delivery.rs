//! S6: after a commit was durably observed, nothing of an older one is rolled out, and nothing of a history that does not
//! descend from it.

use std::collections::VecDeque;

use super::{Found, Moment};
use crate::simulation::read::{rollout, text};
use crate::simulation::story::{Step, Story};
use tidegate::model::{Millis, Timestamp};

/// A decision that was on its way when a newer commit was observed lands within this.
const ON_ITS_WAY: Millis = Millis::from_seconds(15);

/// Remembers which commits were observed, and when.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// What each commit declares, by its number from 1: commits are numbered in order of time.
    versions: Vec<String>,
    /// The parent of each commit, by number; empty where only the run knows in which order commits come.
    parents: Vec<usize>,
    /// Commits that were observed and when, newest last.
    observed: VecDeque<(Timestamp, usize)>,
    target: Option<u64>,
}

impl Delivery {
    pub(crate) fn new(story: &Story) -> Self {
        // Steps by commit count come in an order that only the run knows: stories place declarations by time.
        let mut steps: Vec<&(super::super::story::Moment, Step)> = story.steps.iter().collect();
        steps.sort_by_key(|(moment, _)| match moment {
            super::super::story::Moment::After(millis) => *millis,
            super::super::story::Moment::Commit(_) => u64::MAX,
        });
        let parents = parents(&steps);
        let later = steps.into_iter().filter_map(|(_, step)| match step {
            Step::Declare(declared) | Step::Rewrite(_, declared) => Some(declared.version.clone()),
            Step::Empty => Some(String::new()),
            _ => None,
        });
        let versions = std::iter::once(story.first.version.clone()).chain(later).collect();
        Self { versions, parents, observed: VecDeque::new(), target: None }
    }

    pub(crate) fn see(&mut self, moment: &Moment<'_>) -> Found {
        let Some(after) = moment.after() else { return Vec::new() };
        if moment.commit.key.name == "tidegate-source" {
            let commit = text(after, "/data/commit");
            let number = usize::from_str_radix(commit.trim_start_matches('0'), 16).unwrap_or_default();
            let known = self.observed.back().map(|(_, known)| *known);
            if known != Some(number) {
                self.observed.push_back((moment.commit.at, number));
            }
            return match known {
                Some(known) if !self.descends(number, known) => {
                    vec![("S6", format!("commit {number} is followed and does not descend from {known}"))]
                }
                Some(_) | None => Vec::new(),
            };
        }
        if moment.commit.key.kind.kind != "Application" {
            return Vec::new();
        }
        let Some(rollout) = rollout(after) else { return Vec::new() };
        let id = rollout["id"].as_u64();
        if self.target == id || matches!(text(rollout, "/position/at"), "reverting" | "held") {
            return Vec::new();
        }
        self.target = id;
        let target = text(rollout, "/target/version");
        let is_rollback = text(after, "/record/answered/request").starts_with("rollback");
        let now = moment.commit.at;
        // The newest observed commit, those that were the newest a moment ago, and those that came since.
        let standing = self.observed.iter().rev().enumerate().take_while(|(age, (_, _))| {
            *age == 0
                || self.observed.get(self.observed.len() - age).is_some_and(|(at, _)| !ON_ITS_WAY.has_passed(*at, now))
        });
        let mut allowed = standing.map(|(_, (_, number))| *number);
        if is_rollback
            || self.observed.is_empty()
            || allowed.any(|number| self.versions.get(number - 1).is_some_and(|version| version == target))
        {
            return Vec::new();
        }
        vec![(
            "S6",
            format!(
                "{target} is rolled out; observed commits declare {:?}",
                self.observed.iter().map(|(_, number)| self.versions.get(number - 1)).collect::<Vec<_>>()
            ),
        )]
    }

    /// Whether commit `number` is `ancestor` or descends from it, as far as the story tells.
    fn descends(&self, number: usize, ancestor: usize) -> bool {
        let mut at = number;
        while at > ancestor {
            let Some(parent) = self.parents.get(at - 1) else { return true };
            at = *parent;
        }
        at == ancestor
    }
}

/// The parent of each commit, by its number from 1; 0 is before the first.
fn parents(steps: &[&(super::super::story::Moment, Step)]) -> Vec<usize> {
    let mut parents = vec![0];
    let mut head = 1;
    for (moment, step) in steps {
        let parent = match step {
            Step::Declare(_) | Step::Empty => head,
            Step::Rewrite(back, _) => {
                if matches!(moment, super::super::story::Moment::Commit(_)) {
                    return Vec::new();
                }
                (0..*back)
                    .fold(head, |at: usize, _| at.checked_sub(1).and_then(|at| parents.get(at)).copied().unwrap_or(0))
            }
            _ => continue,
        };
        parents.push(parent);
        head = parents.len();
    }
    parents
}
