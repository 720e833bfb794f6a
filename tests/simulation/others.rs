//! Apps that render from another repository: what that one says goes out, and what becomes of it concerns nobody else.

use std::collections::BTreeMap;

use tidegate::model::{AppName, Elsewhere, Millis, Object, ObjectKey, Reference};
use tidegate::sim::controllers::{Controllers, Delays};
use tidegate::sim::{Act, Faults, Manner, NAMESPACE, Sim};
use tidegate::status::{AppView, Phase};
use tidegate::world::SourceError;

const CHARTS: &str = "https://git.example/platform/charts";

fn charts() -> Elsewhere {
    Elsewhere { repository: CHARTS.to_owned(), revision: Reference::Default }
}

fn branch(name: &str) -> Elsewhere {
    Elsewhere { revision: Reference::Branch(name.to_owned()), ..charts() }
}

fn map(name: &str, content: &str) -> (String, String) {
    let text =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{content: \"{content}\"}}\n");
    (format!("m/{name}.yaml"), text)
}

/// An Application whose sources are these lines of YAML flow.
fn app(name: &str, sources: &str) -> (String, String) {
    let text = format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {{name: {name}}}\nspec:\n  version: '1'\n  \
         {sources}\n  destination: {{namespace: shop}}\n  sync: {{prune: true}}\n  deletion: cascade\n"
    );
    (format!("apps/{name}.yaml"), text)
}

/// One whose source is in the other repository.
fn shop(revision: &str) -> (String, String) {
    app("shop", &format!("source: {{repository: {CHARTS}{revision}, path: m}}"))
}

/// One whose source is not.
fn web() -> (String, String) {
    app("web", "source: {path: m}")
}

struct World {
    sim: Sim,
}

impl World {
    /// A world in which the other repository holds `shop`, and the agent has just started.
    fn begin(manner: Manner, declared: &[(String, String)]) -> Self {
        let mut sim = Sim::new(7, Controllers::new(Delays::default(), 7), Faults::default());
        sim.add_namespace(NAMESPACE);
        sim.add_namespace("shop");
        let mut world = Self { sim };
        world.charts(&charts(), "one");
        world.sim.with_other(&charts(), |other| other.manner = manner);
        world.commit(declared);
        world.sim.start("agent", 1000);
        world
    }

    fn commit(&mut self, files: &[(String, String)]) {
        let files = files.iter().cloned().collect();
        self.sim.act(&Act::Commit { subject: "changed".to_owned(), files });
    }

    /// Commits to a reference of the other repository.
    fn charts(&mut self, of: &Elsewhere, content: &str) -> String {
        let (now, files) = (self.sim.now(), BTreeMap::from([map("shop", content)]));
        self.sim.with_other(of, |other| other.git.commit(content, &files, now))
    }

    fn manner(&mut self, manner: Manner) {
        self.sim.with_other(&charts(), |other| other.manner = manner);
    }

    fn pass(&mut self, seconds: u64) {
        let wait = Millis(self.sim.elapsed().0 + seconds * 1000);
        self.sim.run_until(wait);
    }

    fn object(&mut self, name: &str) -> Option<Object> {
        self.sim.with(|api, _, _, _| api.get(&ObjectKey::local("", "ConfigMap", "shop", name)).cloned())
    }

    /// What the ConfigMap of that name holds in the cluster.
    fn content(&mut self, name: &str) -> Option<String> {
        Some(self.object(name)?.text("/data/content")?.to_owned())
    }

    #[track_caller]
    fn view(&self, name: &str) -> AppView {
        AppView::clone(&self.sim.view(&AppName::from(name)).unwrap_or_else(|| panic!("{name} is shown")))
    }

    fn phase(&self, name: &str) -> Option<Phase> {
        Some(self.sim.view(&AppName::from(name))?.report.phase)
    }

    #[track_caller]
    fn why(&self, name: &str) -> String {
        self.view(name).report.blocking.map(|blocking| blocking.fact).unwrap_or_default()
    }

    /// What the stored status of an app says.
    fn stored_phase(&mut self, name: &str) -> Option<String> {
        let key = tidegate::store::application::key(NAMESPACE, &AppName::from(name));
        self.sim.with(|api, _, _, _| Some(api.get(&key)?.text("/status/phase")?.to_owned()))
    }

    fn polls(&mut self) -> u64 {
        self.sim.with_other(&charts(), |other| other.polls)
    }
}

fn unreachable() -> Manner {
    Manner::Fails(SourceError::Unreachable("connection refused".to_owned()))
}

#[test]
fn a_commit_of_another_repository_goes_out_to_the_apps_that_use_it_alone() {
    let mut world = World::begin(Manner::Well, &[web(), shop(""), map("web", "here")]);
    world.pass(20);
    assert_eq!((world.content("shop").as_deref(), world.content("web").as_deref()), (Some("one"), Some("here")));
    let untouched = world.object("web").expect("it is there").resource_version().to_owned();

    let commit = world.charts(&charts(), "two");
    world.pass(15);
    assert_eq!(world.content("shop").as_deref(), Some("two"));
    let view = world.view("shop");
    assert_eq!(view.rendered_from.get(&charts()).map(|revision| revision.commit.as_str()), Some(commit.as_str()));
    let own = world.sim.with(|_, _, git, _| git.head());
    assert_eq!(view.revision.map(|revision| revision.commit), own, "the app's own revision is the one that declares");
    assert_eq!(world.object("web").expect("it is there").resource_version(), untouched);
    assert_eq!(world.view("web").rendered_from, BTreeMap::new());
}

#[test]
fn several_sources_make_one_release_and_none_may_hold_what_another_holds() {
    let sources = format!("sources: [{{path: m}}, {{repository: {CHARTS}, path: m}}]");
    let mut world = World::begin(Manner::Well, &[app("both", &sources), map("web", "here")]);
    world.pass(20);
    assert_eq!((world.content("shop").as_deref(), world.content("web").as_deref()), (Some("one"), Some("here")));

    world.commit(&[app("both", &sources), map("web", "there"), map("shop", "mine")]);
    world.pass(15);
    assert_eq!(world.phase("both"), Some(Phase::SourceFailed));
    let why = world.why("both");
    assert!(
        why.contains("declared twice: in https://git.example/platform/charts: m/shop.yaml and in m/shop.yaml"),
        "{why}"
    );
    assert_eq!(world.content("web").as_deref(), Some("here"), "nothing of it is applied");
}

#[test]
fn a_server_that_never_answers_delays_neither_commits_nor_reverts_of_the_one_that_declares() {
    let mut world = World::begin(Manner::Silent, &[web(), shop(""), map("web", "one")]);
    world.pass(12);
    assert_eq!(world.content("web").as_deref(), Some("one"));
    for content in ["two", "one", "three"] {
        world.commit(&[web(), shop(""), map("web", content)]);
        world.pass(8);
        assert_eq!(world.content("web").as_deref(), Some(content));
    }
    assert_eq!((world.content("shop"), world.phase("shop")), (None, None), "one lost connection is no news");
    // Three polls of a minute each, and the waits between.
    world.pass(240);
    let why = world.why("shop");
    let place = "apps/shop.yaml: spec.source.repository: https://git.example/platform/charts: ";
    assert!(why.starts_with(place) && why.contains("cannot be reached"), "{why}");

    world.manner(Manner::Well);
    world.pass(130);
    assert_eq!((world.content("shop").as_deref(), world.phase("shop")), (Some("one"), Some(Phase::Idle)));
}

#[test]
fn after_a_restart_an_app_keeps_what_it_had_until_the_other_repository_is_there() {
    let mut world = World::begin(Manner::Well, &[web(), shop(""), map("web", "one")]);
    world.pass(40);
    assert_eq!(world.stored_phase("shop").as_deref(), Some("Idle"));
    world.manner(unreachable());
    world.sim.act(&Act::Crash);
    world.commit(&[web(), shop(""), map("web", "two")]);
    // The process starts again, and another comes to lead.
    let mut seconds = 0;
    while world.content("web").as_deref() != Some("two") {
        assert!(seconds < 60, "the repository that declares waits for nobody");
        world.pass(1);
        seconds += 1;
    }
    assert_eq!((world.content("shop").as_deref(), world.stored_phase("shop").as_deref()), (Some("one"), Some("Idle")));
    world.pass(60);
    assert_eq!(world.stored_phase("shop").as_deref(), Some("SourceFailed"));
    assert!(world.why("shop").contains("connection refused"), "{}", world.why("shop"));
    assert_eq!(world.content("shop").as_deref(), Some("one"), "what runs keeps running");

    world.charts(&charts(), "two");
    world.manner(Manner::Well);
    world.pass(70);
    assert_eq!((world.content("shop").as_deref(), world.phase("shop")), (Some("two"), Some(Phase::Idle)));
}

#[test]
fn another_repository_that_is_gone_rewritten_or_not_trusted_deletes_nothing_and_says_so() {
    let mut world = World::begin(Manner::Well, &[web(), shop(""), map("web", "one")]);
    world.pass(20);
    for error in [
        SourceError::NoReference("no tag fits the range".to_owned()),
        SourceError::Unverified("commit 1234567 is not applied: it is not signed".to_owned()),
        SourceError::NoRepository("gone".to_owned()),
        SourceError::Corrupt("a hostile tree".to_owned()),
    ] {
        world.manner(Manner::Fails(error.clone()));
        world.pass(70);
        let why = world.why("shop");
        assert!(why.contains(CHARTS) && why.contains(&error.to_string()), "{why}");
        assert_eq!(world.content("shop").as_deref(), Some("one"));
        assert_eq!(world.phase("web"), Some(Phase::Idle));
    }
    world.manner(Manner::Well);
    world.pass(70);
    assert_eq!(world.phase("shop"), Some(Phase::Idle));

    let (now, files) = (world.sim.now(), BTreeMap::from([map("shop", "rewritten")]));
    world.sim.with_other(&charts(), |other| other.git.force(1, "rewritten", &files, now));
    world.pass(15);
    assert!(world.why("shop").contains("was rewritten"), "{}", world.why("shop"));
    assert_eq!(world.content("shop").as_deref(), Some("one"));

    // An app that leaves Git goes, whatever the other repository does.
    world.commit(&[web(), map("web", "one")]);
    world.pass(20);
    assert_eq!((world.content("shop"), world.content("web").as_deref()), (None, Some("one")));
}

#[test]
fn a_repository_that_the_settings_do_not_list_is_named_with_file_and_field() {
    let foreign = app("foreign", "source: {repository: 'https://169.254.169.254/latest', path: m}");
    let mut world = World::begin(Manner::Well, &[web(), foreign, map("web", "one")]);
    world.pass(20);
    let why = world.why("foreign");
    assert!(
        why.starts_with("apps/foreign.yaml: spec.source.repository: https://169.254.169.254/latest: ")
            && why.contains("do not list it"),
        "{why}"
    );
    assert_eq!(world.content("web").as_deref(), Some("one"));
}

#[test]
fn a_revision_that_changes_waits_for_the_new_one_with_what_the_old_one_gave() {
    let mut world = World::begin(Manner::Well, &[shop("")]);
    world.pass(20);
    assert_eq!(world.sim.followed().into_iter().collect::<Vec<_>>(), [charts()]);

    let next = branch("next");
    world.charts(&next, "next");
    world.sim.with_other(&next, |other| other.manner = Manner::Silent);
    world.commit(&[shop(", revision: refs/heads/next")]);
    world.pass(20);
    assert_eq!((world.content("shop").as_deref(), world.phase("shop")), (Some("one"), Some(Phase::Idle)));
    assert_eq!(world.sim.followed().into_iter().collect::<Vec<_>>(), std::slice::from_ref(&next));
    let polls = world.polls();

    world.sim.with_other(&next, |other| other.manner = Manner::Well);
    world.pass(120);
    assert_eq!((world.content("shop").as_deref(), world.phase("shop")), (Some("next"), Some(Phase::Idle)));
    assert_eq!(world.polls(), polls, "what nobody names any more is not asked");
    assert_eq!(world.view("shop").rendered_from.keys().collect::<Vec<_>>(), [&next]);
}
