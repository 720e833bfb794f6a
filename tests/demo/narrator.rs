//! Tells what happens while it happens: a line per change, with a small chart of the pods.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::support::application::App;
use crate::support::observer::Observer;
use crate::support::patience::PATIENCE;
use crate::support::state::{Kind, State};

/// Pods that come and go are told together, once in this time.
const MOMENT: Duration = Duration::from_millis(300);

/// Watches over the observer's shoulder.
pub(crate) struct Narrator<'a> {
    observer: &'a Observer,
    begun: Instant,
    /// What each app's last line was about, and its pods.
    told: RefCell<BTreeMap<String, (String, String)>>,
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

    /// Tells what changes until the claim is true; gives up, and says so, after [`PATIENCE`].
    pub(crate) fn narrate_until(&self, what: &str, claim: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while self.narrate(|state| !claim(state)) {
            if Instant::now() > deadline {
                println!("          waited {PATIENCE:?} in vain until {what}");
                return false;
            }
        }
        true
    }

    /// Tells what changes until the process ends.
    pub(crate) fn narrate_for_ever(&self) {
        loop {
            self.narrate(|_| true);
        }
    }

    /// Tells for a moment: where an app stands at once, how many pods it has at the moment's end.
    fn narrate(&self, goes_on: impl Fn(&State) -> bool) -> bool {
        let goes_on = self.observer.stays(MOMENT, |state| {
            self.tell(state, |(place, _), (told, _)| place != told);
            goes_on(state)
        });
        self.observer.now(|state| self.tell(state, |now, told| now != told));
        goes_on
    }

    fn tell(&self, state: &State, is_news: impl Fn(&(String, String), &(String, String)) -> bool) {
        let mut told = self.told.borrow_mut();
        for app in state.all(Kind::Application).map(App) {
            let now = (place(app), charts(state, app.name()));
            let last = told.entry(app.name().to_owned()).or_default();
            if is_news(&now, last) {
                let (place, charts) = &now;
                let (first, more) = place.split_once('\n').unwrap_or((place, ""));
                println!("{:>6.1} s  {:<4} {first:<28} {charts}", self.begun.elapsed().as_secs_f64(), app.name());
                if !more.is_empty() {
                    println!("               {more}");
                }
                *last = now;
            }
        }
    }
}

/// `wave 2 blue, Measuring`, and in a second line why, when something is wrong.
fn place(app: App<'_>) -> String {
    let mut place = match (app.position(), app.wave()) {
        ("wave", Some(index)) => {
            let name = app.waves()[index]["name"].as_str().unwrap_or_default();
            format!("wave {} {name}, {}", index + 1, app.phase()).trim_end_matches(", ").to_owned()
        }
        ("", _) => format!("{} {}", app.sync(), app.health()),
        (position, _) => position.to_owned(),
    };
    if !app.why().is_empty() && matches!(app.phase(), "Held" | "SourceFailed" | "Contended") {
        let _ = write!(place, "\nwhy: {}", app.why());
    }
    place
}

/// A bar of pods by version: Ready ones, then those that are not.
fn charts(state: &State, app: &str) -> String {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for pod in state.live_pods().filter(|pod| pod.name().starts_with(&format!("{app}-"))) {
        let (ready, other) = counts.entry(pod.version().to_owned()).or_default();
        *if pod.is_ready() { ready } else { other } += 1;
    }
    let bar = |(version, (ready, other)): (String, (usize, usize))| {
        let bar = "█".repeat(ready) + &"░".repeat(other);
        format!("{version} {bar:<12}")
    };
    counts.into_iter().map(bar).collect::<Vec<_>>().join(" ").trim_end().to_owned()
}
