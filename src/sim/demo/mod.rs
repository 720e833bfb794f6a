//! The demo: the real agent in a simulated cluster, and the story of `make demo` told in it. Enters: how far time has
//! come. Leaves: lines for people. It prints nothing and waits for nothing: whoever asks paces it by a clock.

mod narrator;
mod tale;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::narrator::Narrator;
use self::tale::{CHAPTERS, Seen, Tally};
use super::census::Census;
use super::controllers::{Controllers, Delays};
use super::{Act, Faults, NAMESPACE, Sim};
use crate::declare::{Made, assemble, parse_file};
use crate::model::{AppName, Millis, Timestamp};

/// Namespace of the apps, as `manifests/` says.
const SPACE: &str = "demo";
/// The app that the story is about.
const WEB: &str = "web";
/// The app beside it.
const API: &str = "api";
/// Every demo is the same one.
const SEED: u64 = 1;
/// Between two chapters, so that people can read.
const PAUSE: Millis = Millis(1500);
/// A chapter that is not over by then is not going to be: its longest wave has a minute, and as long for the way back.
const CHAPTER_MAX: Millis = Millis::from_seconds(180);
/// Versions with this in their name fail a fifth of their requests.
const ERRORS: (&str, f64) = ("-errors-20", 0.2);

/// The repository that the demo starts from: the files of `manifests/`.
const FILES: &[(&str, &str)] = &[
    ("plans/demo.yaml", include_str!("../../../manifests/plans/demo.yaml")),
    ("apps/web/application.yaml", include_str!("../../../manifests/apps/web/application.yaml")),
    ("apps/web/manifests/configmap.yaml", include_str!("../../../manifests/apps/web/manifests/configmap.yaml")),
    ("apps/web/manifests/deployment.yaml", include_str!("../../../manifests/apps/web/manifests/deployment.yaml")),
    ("apps/web/manifests/service.yaml", include_str!("../../../manifests/apps/web/manifests/service.yaml")),
    ("apps/api/application.yaml", include_str!("../../../manifests/apps/api/application.yaml")),
    ("apps/api/manifests/deployment.yaml", include_str!("../../../manifests/apps/api/manifests/deployment.yaml")),
    ("apps/api/manifests/service.yaml", include_str!("../../../manifests/apps/api/manifests/service.yaml")),
];
/// Where the story's app is declared.
const FILE: &str = "apps/web/application.yaml";

/// How the story stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It goes on.
    GoesOn,
    /// Everything came out as told.
    AsTold,
    /// Something did not.
    NotAsTold,
}

/// A demo under way.
pub struct Demo {
    sim: Sim,
    started: Timestamp,
    census: Census,
    tally: Tally,
    narrator: Narrator,
    /// The chapter being told, and when it began; one that lies ahead has not begun.
    chapter: usize,
    begins_at: Timestamp,
    has_begun: bool,
    standing: Standing,
}

impl Demo {
    /// The world of the story, before anything happens.
    #[must_use]
    pub fn new() -> Self {
        let mut sim = Sim::new(SEED, Controllers::new(Delays::default(), SEED), Faults::default());
        sim.add_namespace(SPACE);
        sim.add_namespace(NAMESPACE);
        let parsed = FILES.iter().map(|(path, text)| ((*path).to_owned(), Arc::new(parse_file(path, text.as_bytes()))));
        let declared = assemble(&parsed.collect(), &BTreeMap::new(), [], &Made::default());
        sim.with(|_, _, _, metrics| {
            for application in declared.apps.values().flatten() {
                application.plan.analysis.iter().for_each(|analysis| metrics.learn(analysis, SPACE));
            }
            metrics.fail(ERRORS.0, ERRORS.1);
        });
        sim.act(&Act::Commit { subject: "web and api 1.0.0".to_owned(), files: files("1.0.0") });
        sim.start("demo", 1000);
        let started = sim.now();
        Self {
            sim,
            started,
            census: Census::default(),
            tally: Tally::default(),
            narrator: Narrator::new(started),
            chapter: 0,
            begins_at: started,
            has_begun: false,
            standing: Standing::GoesOn,
        }
    }

    /// Lets time come this far from the beginning, and tells what happened meanwhile.
    pub fn advance(&mut self, until: Millis) -> Vec<String> {
        let until = until.after(self.started);
        while self.standing == Standing::GoesOn {
            self.turn_pages();
            // A page turns, or a moment ends, while nothing happens in the cluster.
            let next = until.min(self.narrator.moment_ends().unwrap_or(until));
            let next = if self.has_begun { next } else { next.min(self.begins_at) };
            let goes_on = self.sim.step(next);
            self.look();
            if !goes_on && self.sim.now() >= until {
                break;
            }
        }
        self.narrator.take_lines()
    }

    /// How the story stands.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// Takes in what was committed and shown.
    fn look(&mut self) {
        for commit in self.sim.take_commits() {
            if self.census.note(&commit) {
                self.tally.note(&self.census);
            }
        }
        let now = self.sim.now();
        for app in [API, WEB] {
            if let Some(view) = self.sim.view(&AppName::from(app)) {
                self.narrator.note(now, &view, &self.census);
            }
        }
    }

    /// Begins the chapter that is due, ends the one that is over.
    fn turn_pages(&mut self) {
        let now = self.sim.now();
        let Some(chapter) = CHAPTERS.get(self.chapter) else {
            self.standing = Standing::AsTold;
            return;
        };
        if !self.has_begun {
            if now < self.begins_at {
                return;
            }
            self.has_begun = true;
            self.tally = Tally::default();
            self.tally.note(&self.census);
            self.narrator.say(now, chapter.says);
            if let Some((subject, version)) = chapter.commit {
                self.narrator.tell_person(subject);
                self.sim.act(&Act::Commit { subject: subject.to_owned(), files: files(version) });
            }
            return;
        }
        let (web, api) = (self.sim.view(&AppName::from(WEB)), self.sim.view(&AppName::from(API)));
        let (Some(web), Some(api)) = (web, api) else { return };
        let seen = Seen { web: &web, api: &api, census: &self.census, tally: &self.tally };
        if (chapter.is_over)(&seen) {
            let broken: Vec<String> =
                (chapter.claims)(&seen).into_iter().filter(|(is_so, _)| !is_so).map(|(_, what)| what).collect();
            self.narrator.finish(now, &web, &self.census);
            self.narrator.tell_broken(&broken);
            if !broken.is_empty() {
                self.standing = Standing::NotAsTold;
            }
            self.chapter += 1;
            self.has_begun = false;
            self.begins_at = PAUSE.after(now);
        } else if CHAPTER_MAX.has_passed(self.begins_at, now) {
            self.narrator.tell_broken(&[chapter.awaited.to_owned()]);
            self.standing = Standing::NotAsTold;
        }
    }
}

impl Default for Demo {
    fn default() -> Self {
        Self::new()
    }
}

/// The tree with the story's app at a version.
fn files(version: &str) -> BTreeMap<String, String> {
    let at_version = |(path, text): &(&str, &str)| {
        let text = match *path {
            FILE => text.replace("version: 1.0.0", &format!("version: {version}")),
            _ => (*text).to_owned(),
        };
        ((*path).to_owned(), text)
    };
    FILES.iter().map(at_version).collect()
}
