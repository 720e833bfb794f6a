//! Who breaks things: every 7 to 60 s something dies, goes away, goes silent or forgets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::dice::Dice;
use crate::proxy::Proxy;
use crate::support::agent::Agent;
use crate::support::patience::until;
use crate::support::plane::Plane;

/// Seconds between two wrecks.
const PAUSE_SECONDS: (u64, u64) = (7, 60);
/// The same until everything has happened once, so that a run of five minutes has seen it all.
const PAUSE_SECONDS_AT_FIRST: (u64, u64) = (7, 20);

/// Ways to break things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wreck {
    /// SIGKILL, and a new process.
    KillAgent,
    /// As above.
    KillServer,
    /// As above.
    KillEtcd,
    /// Agent and API server at once.
    KillAgentAndServer,
    /// No API server for a minute.
    ServerAway,
    /// etcd forgets and the API server is restarted while the agent sleeps: old revisions are gone (410).
    Compact,
    /// All of the agent's connections to the API server go silent.
    Silence,
    /// SIGSTOP for 20 to 40 s, then SIGCONT.
    FreezeAgent,
}

/// What happens at least once in a run.
pub(crate) const RARE: [Wreck; 4] = [Wreck::ServerAway, Wreck::Compact, Wreck::Silence, Wreck::FreezeAgent];

/// Its means.
pub(crate) struct Wrecker {
    pub(crate) plane: Arc<Plane>,
    pub(crate) agent: Arc<Agent>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) dice: Dice,
    /// Rare wrecks that are still to come: a run is not over before.
    pub(crate) owed: Arc<AtomicUsize>,
    /// Tells what happens as it happens.
    pub(crate) tell: fn(&str),
}

impl Wrecker {
    /// Wrecks until told to end; then everything runs. Gives what was done how often.
    pub(crate) fn run(mut self, is_over: &AtomicBool) -> BTreeMap<Wreck, u64> {
        let mut done = BTreeMap::new();
        let mut owed: Vec<Wreck> = RARE.to_vec();
        let mut count = 0;
        let is_told = || is_over.load(Ordering::Relaxed);
        loop {
            let (shortest, longest) = if owed.is_empty() { PAUSE_SECONDS } else { PAUSE_SECONDS_AT_FIRST };
            let pause = self.dice.between(shortest, longest);
            // What must happen once happens early: every other one of the first wrecks.
            count += 1;
            let is_rare = if owed.is_empty() { self.dice.percent(20) } else { count % 2 == 0 };
            let wreck = match is_rare {
                true if owed.is_empty() => RARE[self.dice.below(RARE.len())],
                true => owed.swap_remove(self.dice.below(owed.len())),
                false => self.common(),
            };
            if until(Duration::from_secs(pause), is_told) {
                return done;
            }
            self.wreck(wreck);
            *done.entry(wreck).or_default() += 1;
            self.owed.store(owed.len(), Ordering::Relaxed);
        }
    }

    fn common(&mut self) -> Wreck {
        match self.dice.below(10) {
            0..4 => Wreck::KillAgent,
            4..7 => Wreck::KillServer,
            7..9 => Wreck::KillEtcd,
            _ => Wreck::KillAgentAndServer,
        }
    }

    fn wreck(&mut self, wreck: Wreck) {
        let away = match wreck {
            Wreck::ServerAway => Duration::from_secs(60),
            Wreck::FreezeAgent => Duration::from_secs(self.dice.between(20, 40)),
            Wreck::Compact | Wreck::Silence => Duration::ZERO,
            Wreck::KillAgent | Wreck::KillServer | Wreck::KillEtcd | Wreck::KillAgentAndServer => {
                Duration::from_millis(self.dice.between(0, 5000))
            }
        };
        (self.tell)(&format!("wreck: {wreck:?}, for {} ms", away.as_millis()));
        let rest = || {
            let _ = until(away, || false);
        };
        match wreck {
            Wreck::KillAgent => {
                self.agent.sigkill();
                rest();
                self.agent.start_again();
            }
            Wreck::KillServer => {
                self.plane.say("kill apiserver");
                rest();
                self.plane.say("start apiserver");
            }
            Wreck::ServerAway => {
                self.plane.say("kill apiserver");
                rest();
                self.plane.say("start apiserver");
                // With leader election it would have ended for want of its lease; ours would wait as long again.
                self.plane.say("restart controller-manager");
            }
            Wreck::KillEtcd => {
                self.plane.say("kill etcd");
                rest();
                self.plane.say("start etcd");
            }
            Wreck::KillAgentAndServer => {
                self.plane.say("kill apiserver");
                self.agent.sigkill();
                self.agent.start_again();
                rest();
                self.plane.say("start apiserver");
            }
            Wreck::Compact => {
                // The agent must not see the connection break, for then it lists anyway: a watch that ended well while it
                // slept is one that it goes on with, from a revision that nobody remembers.
                self.agent.freeze();
                self.plane.say("compact");
                self.plane.say("restart apiserver");
                self.agent.thaw();
            }
            Wreck::Silence => self.proxy.silence(),
            Wreck::FreezeAgent => {
                self.agent.freeze();
                rest();
                self.agent.thaw();
            }
        }
        (self.tell)(&format!("wreck: {wreck:?} is over"));
    }
}
