//! What is declared after a commit that edits plain Applications, from what was declared before it: the work is that of what was
//! edited, however many there are.
//!
//! Enters: the edited files before and after. Leaves: whether that was all that it takes; otherwise everything is put together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::application::PlanChoice;
use super::assemble::Declarations;
use super::file::ParsedFile;

/// A file of two commits; `None` where it declares nothing, or is not there.
pub type Edited = (Option<Arc<ParsedFile>>, Option<Arc<ParsedFile>>);

impl Declarations {
    /// Takes up what files declare that are others now, when nothing else can be another because of that: nothing was wrong
    /// before and nothing is in them, and they declare the same Applications, each whole by itself, that wait for the same
    /// others. `has_same_paths` says that no file came or went. Returns whether it did; if not, nothing was changed.
    #[must_use]
    pub fn amend(&mut self, edited: &[Edited], has_same_paths: bool) -> bool {
        if !self.problems.is_empty() || (self.wants_paths && !has_same_paths) {
            return false;
        }
        let mut taken = Vec::new();
        for files in edited {
            match files {
                (None, None) => {}
                (Some(before), Some(after)) if before.is_plain() && after.is_plain() && has_same(before, after) => {
                    for app in &after.apps {
                        let Ok(read) = &app.read else { return false };
                        let planned = match &read.plan {
                            PlanChoice::Inline => None,
                            PlanChoice::Named { name, .. } => match self.plans.get(name) {
                                Some(plan) => Some(self.made.planned(&app.name, read, plan)),
                                None => return false,
                            },
                        };
                        taken.push((&app.name, read, planned));
                    }
                }
                (_, _) => return false,
            }
        }
        for (name, read, planned) in taken {
            let application = planned.as_ref().map_or(&read.application, |planned| &planned.application);
            self.apps.insert(name.clone(), Ok(Arc::clone(application)));
            self.made.plan_one(name, planned);
        }
        true
    }
}

/// Whether two files declare the same names, each once, which wait for the same others.
fn has_same(before: &ParsedFile, after: &ParsedFile) -> bool {
    let (earlier, now) = (waits(before), waits(after));
    earlier == now && now.len() == after.apps.len()
}

/// For whom each good Application waits.
fn waits(file: &ParsedFile) -> BTreeMap<&str, BTreeSet<&str>> {
    let good = file.apps.iter().filter_map(|app| Some((app.name.as_str(), app.read.as_ref().ok()?)));
    good.map(|(name, read)| (name, read.application.depends_on.iter().map(|other| other.app.as_str()).collect()))
        .collect()
}
