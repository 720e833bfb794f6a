//! What apps are to each other: who waits for whom, and who is woken when something changed.

use std::collections::BTreeSet;

use super::App;
use super::schedule::Scheduler;
use crate::decide::{AppStanding, Neighbours};
use crate::model::{AppName, Declared, Digest, HealthStatus, Object, Timestamp};
use crate::status::{Report, SyncStatus};
use crate::world::World;

/// How an app stood after its last pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stood {
    /// Its Stable.
    pub stable: Option<Digest>,
    /// Whether it is Synced and Healthy.
    pub is_well: bool,
    /// Why it is not, for those who wait.
    pub why: String,
}

impl Stood {
    /// How the app stands by what its pass says.
    pub(super) fn of(app: &App, report: &Report) -> Self {
        let why = report.blocking.as_ref().map(|blocking| blocking.fact.clone()).unwrap_or_default();
        let is_well = report.sync == SyncStatus::Synced && report.health.status == HealthStatus::Healthy;
        Self { stable: app.stable(), is_well: is_well && !app.is_rolling(), why }
    }
}

impl<W: World + 'static> Scheduler<W> {
    /// Notes how an app stands, and wakes those who wait for it.
    pub(super) fn note_standing(&mut self, app: &App) {
        let waits_for = waits_for(app);
        let before = if waits_for.is_empty() {
            self.waits_for.remove(&app.name)
        } else {
            self.waits_for.insert(app.name.clone(), waits_for.clone())
        };
        // Whoever is to go, and is not waited for any more, may go now.
        for name in before.unwrap_or_default().difference(&waits_for) {
            self.wake(name, Timestamp::UNIX_EPOCH);
        }
        let stood = app.stood.clone();
        let known = self.stood.insert(app.name.clone(), stood.clone());
        if known.is_none_or(|known| (known.stable, known.is_well) != (stood.stable, stood.is_well)) {
            for name in self.waiting_for(&app.name) {
                self.wake(&name, Timestamp::UNIX_EPOCH);
            }
        }
    }

    /// An app is gone.
    pub(super) fn forget_standing(&mut self, name: &AppName) {
        self.stood.remove(name);
        for other in self.waits_for.remove(name).unwrap_or_default() {
            self.wake(&other, Timestamp::UNIX_EPOCH);
        }
    }

    fn waiting_for(&self, name: &AppName) -> BTreeSet<AppName> {
        let waiting = self.waits_for.iter().filter(|(_, others)| others.contains(name));
        waiting.map(|(other, _)| other.clone()).collect()
    }

    /// What a pass over `app` needs to know of the others.
    pub(super) fn neighbours(&self, app: &App) -> Neighbours {
        // While a commit is being read nothing new is declared, and what was known of it stands.
        let Some(source) = &self.source else { return app.neighbours.clone() };
        let is_removed = matches!(app.declared, Declared::Removed { .. });
        let dependants = if is_removed { self.waiting_for(&app.name) } else { BTreeSet::new() };
        let depends_on = app.application().map(|application| application.depends_on.as_slice()).unwrap_or_default();
        let standing = |name: &AppName| {
            let stood = self.stood.get(name).cloned().unwrap_or_default();
            let declared = source.apps.get(name).and_then(|entered| entered.declared.digest());
            let is_released = declared.is_some() && stood.stable == declared;
            AppStanding { is_released, is_healthy: is_released && stood.is_well, why: stood.why }
        };
        let standings = depends_on.iter().map(|dependency| (dependency.app.clone(), standing(&dependency.app)));
        Neighbours { standings: standings.collect(), dependants }
    }
}

/// Whom an app waits for: as Git says, or else as its resource does.
fn waits_for(app: &App) -> BTreeSet<AppName> {
    match (&app.declared, app.application()) {
        (Declared::Ready { .. }, Some(application)) => {
            application.depends_on.iter().map(|dependency| dependency.app.clone()).collect()
        }
        (_, _) => app.object.as_ref().map(stored).unwrap_or_default(),
    }
}

/// Whom a stored app waits for.
pub(super) fn stored(object: &Object) -> BTreeSet<AppName> {
    let listed = object.at("/spec/dependsOn").and_then(serde_json::Value::as_array).into_iter().flatten();
    listed.filter_map(|entry| Some(AppName::from(entry.get("name")?.as_str()?))).collect()
}
