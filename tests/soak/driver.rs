//! Who commits: good versions and bad ones, `git revert`s, other numbers of pods, other configuration, at moments that
//! fall into rollouts as often as between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::dice::Dice;
use crate::judge::{Commits, Declared};
use crate::support::child::lock;
use crate::support::fixture::{AppFixture, config_map};
use crate::support::repo::Repo;

/// Three waves with a minute and a half each: longer than an API server is away.
const WAVES: &str = "
  strategy: rolling
  waves:
  - {name: one, replicas: 1, timeout: 90s}
  - {name: quarter, replicas: 25%, timeout: 90s}
  - {name: all, replicas: 100%, timeout: 90s}
";

/// The same in place of the old pods, with a bake.
const WAVES_IN_PLACE: &str = "
  strategy: rolling
  capacity: inPlace
  waves:
  - {name: one, replicas: 1, timeout: 90s, bake: 2s}
  - {name: half, replicas: 50%, timeout: 90s}
  - {name: all, replicas: 100%, timeout: 90s}
";

/// The second wave asks Prometheus for the share of failed requests.
const WAVES_MEASURED: &str = "
  strategy: canary
  waves:
  - {name: one, replicas: 1, timeout: 90s}
  - {name: quarter, replicas: 25%, timeout: 90s, analysis: [errors]}
  - {name: all, replicas: 100%, timeout: 90s}
  analysis:
  - name: errors
    provider: prometheus
    query: >-
      sum(rate(app_requests_total{namespace=\"${namespace}\",pod_template_hash=\"${target_hash}\",code=\"500\"}[2s]))
      / sum(rate(app_requests_total{namespace=\"${namespace}\",pod_template_hash=\"${target_hash}\"}[2s]))
    max: 0.05
    interval: 1s
    count: 3
    failureLimit: 0
    noData: wait
";

/// The apps: name, plan, pods, and how a bad version shows.
const APPS: [(&str, &str, u32, &str); 4] = [
    ("surge", WAVES, 10, "crash"),
    ("inplace", WAVES_IN_PLACE, 8, "crash"),
    ("shaky", WAVES, 6, "crash"),
    ("metered", WAVES_MEASURED, 8, "errors-40"),
];

/// The app of which every second version is bad.
pub(crate) const SHAKY: &str = "shaky";

/// A working copy and what it declares.
pub(crate) struct Driver {
    repo: Repo,
    namespace: String,
    commits: Arc<Mutex<Commits>>,
    dice: Dice,
    declared: BTreeMap<String, Declared>,
    /// What the commit before the last one declared.
    before: BTreeMap<String, Declared>,
    can_revert: bool,
    number: u64,
}

impl Driver {
    /// Commits all apps at 1.0.0.
    pub(crate) fn start(repo: Repo, namespace: &str, commits: Arc<Mutex<Commits>>, dice: Dice) -> Self {
        let first = |replicas: u32| Declared {
            version: "1.0.0".to_owned(),
            greeting: "hello-0".to_owned(),
            has_extra: false,
            replicas: replicas.into(),
        };
        let declared: BTreeMap<_, _> =
            APPS.iter().map(|(name, _, replicas, _)| ((*name).to_owned(), first(*replicas))).collect();
        let (before, namespace) = (declared.clone(), namespace.to_owned());
        let mut driver = Self { repo, namespace, commits, dice, declared, before, can_revert: false, number: 0 };
        driver.commit("all apps");
        driver.can_revert = false;
        driver
    }

    /// Commits something; gives what, in words.
    pub(crate) fn act(&mut self) -> String {
        self.number += 1;
        let number = self.number;
        if self.can_revert && self.dice.percent(12) {
            return self.revert();
        }
        self.before.clone_from(&self.declared);
        let (name, _, _, bad) = APPS[self.dice.below(APPS.len())];
        let is_bad = self.dice.percent(if name == SHAKY { 50 } else { 15 });
        let slowness = ["", "-ready-1s", "-ready-3s"][self.dice.below(3)];
        let what = self.dice.below(100);
        let replicas = self.dice.between(4, 12);
        let app = self.declared.get_mut(name).expect("all apps are declared");
        if what < 10 {
            app.replicas = replicas;
        }
        if what < 30 {
            app.greeting = format!("hello-{number}");
        }
        if (30..40).contains(&what) {
            app.has_extra = !app.has_extra;
        }
        // One in ten changes configuration or pods alone, and so has no waves.
        if !(5..15).contains(&what) {
            app.version = if is_bad { format!("1.{number}.0-{bad}") } else { format!("1.{number}.0{slowness}") };
        }
        let message = format!("{name} {app:?}");
        self.commit(&message);
        message
    }

    /// Commits a fresh good version of every app; gives it.
    pub(crate) fn settle(&mut self) -> String {
        self.number += 1;
        self.before.clone_from(&self.declared);
        let version = format!("1.{}.0", self.number);
        self.declared.values_mut().for_each(|app| app.version.clone_from(&version));
        self.commit("all apps well");
        version
    }

    /// Commits a version of the shaky app that must be held; gives it.
    pub(crate) fn spoil(&mut self) -> String {
        self.number += 1;
        self.before.clone_from(&self.declared);
        let version = format!("1.{}.0-crash", self.number);
        self.declared.get_mut(SHAKY).expect("all apps are declared").version.clone_from(&version);
        self.commit("the shaky app unwell");
        version
    }

    /// What a commit declares now.
    pub(crate) fn declared(&self) -> &BTreeMap<String, Declared> {
        &self.declared
    }

    fn commit(&mut self, message: &str) {
        for (name, plan, ..) in APPS {
            let Declared { version, greeting, has_extra, replicas } = &self.declared[name];
            let mut app = AppFixture::new(name).version(version).plan(plan).spec("sync: {prune: true}");
            app.replicas = u32::try_from(*replicas).ok();
            app.greeting = Some(greeting.clone());
            app.write(&self.repo, &self.namespace);
            let extra = format!("manifests/{name}/extra.yaml");
            if *has_extra {
                self.repo.write(&extra, &config_map(&format!("{name}-extra"), "extra"));
            } else if self.repo.folder().join(&extra).exists() {
                self.repo.remove(&extra);
            }
        }
        let id = self.repo.commit(message);
        self.push(&id);
        self.can_revert = true;
    }

    /// `git revert` of the last commit.
    fn revert(&mut self) -> String {
        self.repo.git(&["revert", "--no-edit", "HEAD"]);
        std::mem::swap(&mut self.declared, &mut self.before);
        let id = self.repo.head();
        self.push(&id);
        // Reverting that in turn is as good a case.
        self.can_revert = self.dice.percent(50);
        "git revert of the last commit".to_owned()
    }

    /// The judge knows a commit before anybody can see it.
    fn push(&mut self, id: &str) {
        lock(&self.commits).add(id, self.declared.clone());
        self.repo.push();
    }
}
