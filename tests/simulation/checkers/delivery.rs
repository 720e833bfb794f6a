//! S6: after a commit was durably observed, nothing of an older one is rolled out, and nothing of a history that does not
//! descend from it.

use std::collections::{BTreeSet, VecDeque};

use super::{Found, Moment, ON_ITS_WAY};
use crate::simulation::read::{rollout, text};
use tidegate::model::Timestamp;
use tidegate::sim::Git;

/// Remembers which commits were observed, and when.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// What each commit declares, by its number from 1: commits are numbered in order of time.
    versions: Vec<String>,
    /// Which commit descends from which, by number.
    descents: BTreeSet<(usize, usize)>,
    /// Commits that were observed and when, newest last.
    observed: VecDeque<(Timestamp, usize)>,
    target: Option<u64>,
}

impl Delivery {
    /// Learns what people committed: the subject of each commit tells what it declares.
    pub(crate) fn read(&mut self, git: &Git) {
        let version = |subject: &str| subject.split('"').nth(1).unwrap_or_default().to_owned();
        let known = self.versions.len();
        self.versions.extend(git.subjects().skip(known).map(version));
        for number in known + 1..=self.versions.len() {
            let of_it = (1..number).filter(|older| git.descends(&format!("{number:040x}"), &format!("{older:040x}")));
            self.descents.extend(of_it.map(|older| (number, older)));
        }
    }

    pub(crate) fn see(&mut self, moment: &Moment<'_>) -> Found {
        let Some(after) = moment.after() else { return Vec::new() };
        if moment.commit.key.name == "tidegate-source" {
            let commit = text(after, "/data/commit");
            let number = usize::from_str_radix(commit.trim_start_matches('0'), 16).unwrap_or_default();
            let known = self.observed.back().map(|(_, known)| *known).filter(|known| *known != number);
            if known.is_some() || self.observed.is_empty() {
                self.observed.push_back((moment.commit.at, number));
            }
            return match known {
                Some(known) if !self.descents.contains(&(number, known)) => {
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
}
