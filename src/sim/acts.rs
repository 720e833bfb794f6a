//! What people and machines other than the agent do to the world in a story.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::api::Writer;
use super::state::State;
use crate::model::{GroupKind, Millis, ObjectKey};
use crate::world::{Event, Part};

/// One thing that somebody does.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Commits a tree onto the branch.
    Commit {
        /// The first line of its message.
        subject: String,
        /// The whole tree.
        files: BTreeMap<String, String>,
    },
    /// Rewrites the branch: a tree onto an older commit.
    Force {
        /// How many commits before the head.
        back: usize,
        /// The first line of its message.
        subject: String,
        /// The whole tree.
        files: BTreeMap<String, String>,
    },
    /// Patches an object, as kubectl does.
    Patch {
        /// Field manager.
        by: String,
        /// Which object.
        key: ObjectKey,
        /// Merge patch.
        change: Value,
    },
    /// Patches an object by RFC 6902, as `kubectl patch --type=json` does.
    PatchJson {
        /// Field manager.
        by: String,
        /// Which object.
        key: ObjectKey,
        /// Operations.
        operations: Value,
    },
    /// Deletes an object.
    Delete {
        /// Which object.
        key: ObjectKey,
    },
    /// A pod of a namespace dies: the one with this number, modulo how many there are.
    KillPod {
        /// The namespace.
        namespace: String,
        /// The number.
        number: usize,
    },
    /// The process of the agent that has run longest dies.
    Crash,
    /// The process of the agent that leads is frozen.
    Freeze {
        /// For how long.
        length: Millis,
    },
    /// The agent's processes are asked to end, and start again.
    Restart,
    /// The controller manager restarts.
    RestartControllers,
    /// Controllers do nothing for a while.
    StallControllers {
        /// For how long.
        length: Millis,
    },
    /// The API server is away.
    ApiAway {
        /// For how long.
        length: Millis,
    },
    /// Git does not answer.
    GitAway {
        /// For how long.
        length: Millis,
    },
    /// Every open watch gives nothing any more, until it ends by its time.
    Mute,
    /// etcd is compacted: watches from before end with 410.
    Compact,
    /// No more faults from now on, and no more acts that wait for commits.
    Calm,
}

impl State {
    /// Does it.
    pub(super) fn perform(&mut self, act: &Act) {
        self.say(act.to_string());
        match act {
            Act::Commit { subject, files } => drop(self.git.commit(subject, files, self.now)),
            Act::Force { back, subject, files } => drop(self.git.force(*back, subject, files, self.now)),
            Act::Patch { by, key, change } => {
                // An object that is gone cannot be patched; the story goes on.
                let _ = self.api.merge(&Writer::other(by), key, change, Part::Object);
            }
            Act::PatchJson { by, key, operations } => {
                let _ = self.api.patch(&Writer::other(by), key, operations);
            }
            Act::Delete { key } => {
                let _ = self.api.delete(&Writer::other("kubectl"), key, None);
            }
            Act::KillPod { namespace, number } => {
                let kind = GroupKind::new("", "Pod");
                let pods: Vec<ObjectKey> =
                    self.api.objects(&kind, Some(namespace)).map(|object| object.key.clone()).collect();
                if !pods.is_empty() {
                    self.controllers.kill_pod(&mut self.api, &pods[number % pods.len()]);
                }
            }
            Act::Crash => {
                if let Some(process) = self.processes.iter().position(|process| !process.is_dead) {
                    self.crash(process);
                }
            }
            Act::Freeze { length } => {
                let until = length.after(self.now);
                let now = self.now;
                let leads = |process: &&mut super::process::Process| {
                    !process.is_dead && process.leads_until.is_some_and(|until| process.clock.uptime(now) < until)
                };
                if let Some(process) = self.processes.iter_mut().find(leads) {
                    process.paused_until = Some(until);
                }
            }
            Act::Restart => {
                for process in 0..self.processes.len() {
                    if !self.processes[process].is_dead {
                        self.processes[process].is_asked_to_end = true;
                        self.processes[process].inbox.push_back(Event::Shutdown);
                        self.processes[process].wake();
                    }
                }
            }
            Act::RestartControllers => self.controllers.restart(),
            Act::StallControllers { length } => self.controllers.stall(length.after(self.now)),
            Act::ApiAway { length } => self.take_api_away(*length),
            Act::GitAway { length } => self.git_away_until = self.git_away_until.max(length.after(self.now)),
            Act::Mute => {
                let streams = self.processes.iter_mut().flat_map(|process| process.watches.values_mut());
                streams.for_each(|stream| stream.is_mute = true);
            }
            Act::Compact => {
                let revision = self.api.revision();
                self.api.compact(revision);
            }
            Act::Calm => {
                self.faults.stop();
                self.acts.clear();
            }
        }
    }

    /// The API server goes: watches break, calls are refused.
    fn take_api_away(&mut self, length: Millis) {
        self.api_away_until = self.api_away_until.max(length.after(self.now));
        self.break_watches();
    }
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Commit { subject, .. } => write!(f, "somebody commits: {subject}"),
            Self::Force { back, subject, .. } => write!(f, "somebody rewrites {back} commits: {subject}"),
            Self::Patch { by, key, change } => write!(f, "{by} patches {key}: {change}"),
            Self::PatchJson { by, key, operations } => write!(f, "{by} patches {key}: {operations}"),
            Self::Delete { key } => write!(f, "somebody deletes {key}"),
            Self::KillPod { namespace, number } => write!(f, "pod number {number} of {namespace} dies"),
            Self::Crash => write!(f, "the agent is killed"),
            Self::Freeze { length } => write!(f, "the leading agent is frozen for {length}"),
            Self::Restart => write!(f, "the agent is asked to end, and starts again"),
            Self::RestartControllers => write!(f, "the controller manager restarts"),
            Self::StallControllers { length } => write!(f, "controllers do nothing for {length}"),
            Self::ApiAway { length } => write!(f, "the API server is away for {length}"),
            Self::GitAway { length } => write!(f, "Git does not answer for {length}"),
            Self::Mute => write!(f, "watches go silent"),
            Self::Compact => write!(f, "etcd is compacted"),
            Self::Calm => write!(f, "no more faults from here"),
        }
    }
}

/// Writer of an agent's process.
pub(super) fn writer(manager: &str, process: usize) -> Writer {
    Writer { manager: Arc::from(manager), agent: u32::try_from(process).ok() }
}
