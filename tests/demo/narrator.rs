//! Tells what happens while it happens: a line per change, with a small chart of the pods.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::support::application::App;
use crate::support::observer::Observer;
use crate::support::state::{Kind, State};

/// Watches over the observer's shoulder.
pub(crate) struct Narrator<'a> {
    observer: &'a Observer,
    begun: Instant,
    /// The last line of each app.
    told: RefCell<BTreeMap<String, String>>,
}

impl<'a> Narrator<'a> {
    /// Begins to tell; times count from here.
    pub(crate) fn new(observer: &'a Observer) -> Self {
        Self { observer, begun: Instant::now(), told: RefCell::default() }
    }

    /// Says something that is not an event.
    pub(crate) fn say(&self, text: &str) {
        println!("\n{:>6.1} s  {text}", self.begun.elapsed().as_secs_f64());
    }

    /// Tells each change until the claim is true.
    pub(crate) fn narrate_until(&self, what: &str, claim: impl Fn(&State) -> bool) {
        self.observer.wait(what, |state| {
            self.tell(state);
            claim(state)
        });
    }

    /// Tells each change until the process ends.
    pub(crate) fn narrate_for_ever(&self) {
        loop {
            self.observer.stays(Duration::from_secs(3600), |state| {
                self.tell(state);
                true
            });
        }
    }

    fn tell(&self, state: &State) {
        for app in state.all(Kind::Application).map(App) {
            let line = line(state, app);
            let mut told = self.told.borrow_mut();
            if told.get(app.name()) != Some(&line) {
                println!("{:>6.1} s  {line}", self.begun.elapsed().as_secs_f64());
                told.insert(app.name().to_owned(), line);
            }
        }
    }
}

/// `web  wave 2 of 3    1.0.0 ██████████   1.1.0 ██░`
fn line(state: &State, app: App<'_>) -> String {
    let place = match (app.position(), app.wave()) {
        ("wave", Some(index)) => {
            let name = app.waves()[index]["name"].as_str().unwrap_or_default();
            format!("wave {} {name}, {}", index + 1, app.phase())
        }
        ("", _) => format!("{} {}", app.sync(), app.health()),
        (position, _) => position.to_owned(),
    };
    let mut line = format!("{:<4} {place:<28}", app.name());
    for (version, pods) in charts(state, app.name()) {
        let _ = write!(line, " {version} {pods}  ");
    }
    if !app.why().is_empty() && matches!(app.phase(), "Held" | "Reverting" | "SourceFailed") {
        let _ = write!(line, "\n          {:<4} why: {}", "", app.why());
    }
    line.trim_end().to_owned()
}

/// A bar of pods by version: Ready ones, then those that are not.
fn charts(state: &State, app: &str) -> BTreeMap<String, String> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for pod in state.live_pods().filter(|pod| pod.name().starts_with(&format!("{app}-"))) {
        let (ready, other) = counts.entry(pod.version().to_owned()).or_default();
        *if pod.is_ready() { ready } else { other } += 1;
    }
    counts.into_iter().map(|(version, (ready, other))| (version, "█".repeat(ready) + &"░".repeat(other))).collect()
}
