//! Applications that were put together before, so that a commit costs what it changes: only those whose own document, base
//! or version was parsed again are read again.
//!
//! Enters: what an Application was made of. Leaves: the one of last time, if it was made of the very same. Files that did
//! not change keep their parsed documents, so the same documents are the same pointers; they are held here, so that no
//! other takes their place.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::application::Read;
use super::expand::{Version, Versions};
use super::file::{Overlay, ParsedApp};
use super::inherit::{Base, Bases};
use super::set::Set;
use crate::model::{AppName, Application, WavePlan};

/// Applications that are whole by more than their own document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Made {
    apps: BTreeMap<Key, Remembered>,
    planned: BTreeMap<AppName, Planned>,
}

/// An Application with the plan that it names, and what both were.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Planned {
    pub(super) read: Arc<Read>,
    pub(super) plan: Arc<WavePlan>,
    pub(super) application: Arc<Application>,
}

/// What an Application was made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// For a document that names a base.
    Overlay { file: String, document: usize },
    /// For a folder, or an entry by its index, of a set.
    Set { file: String, document: usize, generator: usize, item: String },
}

/// The document that an Application is declared by.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Own {
    Overlay(Arc<Overlay>),
    Set(Arc<Set>),
}

/// All that an Application was made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ingredients {
    pub(super) own: Own,
    pub(super) version: Option<Arc<Version>>,
    pub(super) base: Option<(String, Arc<Base>)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Remembered {
    pub(super) app: ParsedApp,
    of: Ingredients,
}

impl Made {
    /// The Applications.
    pub(super) fn apps(&self) -> impl Iterator<Item = &ParsedApp> {
        self.apps.values().map(|remembered| &remembered.app)
    }

    /// Takes one up.
    pub(super) fn take(&mut self, key: Key, app: ParsedApp, of: Ingredients) {
        self.apps.insert(key, Remembered { app, of });
    }

    /// The good one of last time, when it would come out the same.
    pub(super) fn again(&self, key: &Key, own: &Own, bases: &Bases<'_>, versions: &Versions<'_>) -> Option<Remembered> {
        let known = self.apps.get(key).filter(|known| known.app.read.is_ok())?;
        let is_own = match (own, &known.of.own) {
            (Own::Overlay(now), Own::Overlay(before)) => Arc::ptr_eq(now, before),
            (Own::Set(now), Own::Set(before)) => Arc::ptr_eq(now, before),
            (Own::Overlay(_), Own::Set(_)) | (Own::Set(_), Own::Overlay(_)) => false,
        };
        let declared = versions.get(known.app.name.as_str()).map_or(&[][..], Vec::as_slice);
        let is_version = match (declared, &known.of.version) {
            ([], None) => true,
            ([one], Some(before)) => one.read.as_ref().is_ok_and(|now| Arc::ptr_eq(now, before)),
            ([] | [_, ..], _) => false,
        };
        let is_base = known.of.base.as_ref().is_none_or(|(name, before)| match bases.get(name.as_str()) {
            Some(Ok(now)) => Arc::ptr_eq(now.base, before),
            Some(Err(_)) | None => false,
        });
        (is_own && is_version && is_base).then(|| known.clone())
    }

    /// Takes one over from last time.
    pub(super) fn keep(&mut self, key: Key, remembered: Remembered) {
        self.apps.insert(key, remembered);
    }

    /// An Application with its plan: the one of last time, when both are the same.
    pub(super) fn planned(&self, name: &AppName, read: &Arc<Read>, plan: &Arc<WavePlan>) -> Planned {
        let is_same = |known: &&Planned| Arc::ptr_eq(&known.read, read) && Arc::ptr_eq(&known.plan, plan);
        self.planned.get(name).filter(is_same).cloned().unwrap_or_else(|| {
            let application = Application { plan: Arc::clone(plan), ..Application::clone(&read.application) };
            let (read, plan) = (Arc::clone(read), Arc::clone(plan));
            Planned { read, plan, application: Arc::new(application) }
        })
    }

    /// Remembers which Application has which plan.
    pub(super) fn plan(&mut self, planned: BTreeMap<AppName, Planned>) {
        self.planned = planned;
    }

    /// Remembers it of one Application.
    pub(super) fn plan_one(&mut self, name: &AppName, planned: Option<Planned>) {
        match planned {
            Some(planned) => drop(self.planned.insert(name.clone(), planned)),
            None => drop(self.planned.remove(name)),
        }
    }
}
