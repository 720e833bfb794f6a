//! S9: writes of two holders of the lease do not interleave against the order of their epochs. L6: somebody takes over.

use std::collections::BTreeMap;

use super::{Found, Moment};
use crate::simulation::read::text;
use tidegate::model::{Millis, Timestamp};

/// What a process that died had sent arrives within this, since no call takes longer.
const IN_FLIGHT: Millis = Millis::from_seconds(5);

/// Remembers who led when.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// The epoch of each process that ever led.
    epochs: BTreeMap<u32, u64>,
    epoch: u64,
    holder: Option<(String, u32)>,
    /// Whether the holder came without waiting, since it bears the name of the one before.
    is_reborn: bool,
    since: Option<Timestamp>,
    /// The first write of the newest epoch.
    first: Option<Timestamp>,
}

impl Holders {
    pub(crate) fn see(&mut self, moment: &Moment<'_>) -> Found {
        let commit = moment.commit;
        let (Some(process), Some(_)) = (commit.by.agent, &commit.after.as_ref().or(commit.before.as_ref())) else {
            return Vec::new();
        };
        if commit.key.kind.kind == "Lease" {
            let Some(after) = moment.after() else { return Vec::new() };
            let identity = text(after, "/spec/holderIdentity").to_owned();
            if identity.is_empty() || self.holder.as_ref() == Some(&(identity.clone(), process)) {
                return Vec::new();
            }
            self.epoch += 1;
            self.epochs.insert(process, self.epoch);
            self.is_reborn = self.holder.as_ref().is_some_and(|(before, _)| *before == identity);
            self.holder = Some((identity, process));
            self.since = Some(commit.at);
            self.first = None;
            return Vec::new();
        }
        match self.epochs.get(&process) {
            None => vec![("S9", format!("process {process} wrote {} and never led", commit.key))],
            Some(epoch) if *epoch == self.epoch => {
                self.first.get_or_insert(commit.at);
                Vec::new()
            }
            // One that died while it led, and whose successor has the same name, may have sent something.
            Some(_) if self.since.is_some_and(|since| !IN_FLIGHT.has_passed(since, commit.at)) && self.is_reborn => {
                Vec::new()
            }
            Some(epoch) => match self.first {
                Some(first) => vec![(
                    "S9",
                    format!(
                        "process {process} of epoch {epoch} wrote {} after epoch {} wrote at {first}",
                        commit.key, self.epoch
                    ),
                )],
                None => Vec::new(),
            },
        }
    }
}
