//! Checkers of what must hold after every write (reliability.md, section 2). They see commits of the API server and read
//! raw JSON; they share no code with the agent, and remember only what they need.

mod containment;
mod delivery;
mod end;
mod hold;
mod holders;
mod ownership;
mod requests;
mod rollouts;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;
use tidegate::model::{Millis, Object, ObjectKey, Timestamp};
use tidegate::sim::Git;
use tidegate::sim::api::Commit;

pub(crate) use self::end::{is_settled, judge};

use super::read::rollout;
use super::story::{Story, application, deployment};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which invariant: `S1` to `S12`, `L1` to `L7`, or `hold`: the rules of holding a Deployment.
    pub(crate) rule: &'static str,
    /// What was seen.
    pub(crate) what: String,
    /// When.
    pub(crate) at: Timestamp,
}

/// A decision that was on its way when the world changed lands within this.
const ON_ITS_WAY: Millis = Millis::from_seconds(15);

/// Looked up at every commit.
static APPLICATION: LazyLock<ObjectKey> = LazyLock::new(application);
static DEPLOYMENT: LazyLock<ObjectKey> = LazyLock::new(deployment);
/// Before the first ReplicaSet in order of keys.
static SETS: LazyLock<ObjectKey> = LazyLock::new(|| ObjectKey::local("apps", "ReplicaSet", "", ""));

/// All that stands, as the log of commits tells it.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Objects by key.
    pub(crate) objects: BTreeMap<ObjectKey, Object>,
}

impl Standing {
    /// The Application resource.
    pub(crate) fn application(&self) -> Option<&Value> {
        Some(&*self.objects.get(&*APPLICATION)?.body)
    }

    /// The Deployment.
    pub(crate) fn deployment(&self) -> Option<&Value> {
        Some(&*self.objects.get(&*DEPLOYMENT)?.body)
    }

    /// The rollout under way.
    pub(crate) fn rollout(&self) -> Option<&Value> {
        rollout(self.application()?)
    }

    /// The ReplicaSets that the Deployment controls.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &Value> {
        let uid = self.deployment().map(|body| &body["metadata"]["uid"]);
        self.objects
            .range(&*SETS..)
            .take_while(|(key, _)| key.kind == SETS.kind)
            .map(|(_, object)| &*object.body)
            .filter(move |body| Some(&body["metadata"]["ownerReferences"][0]["uid"]) == uid)
    }
}

/// What one checker looks at: a commit, and all that stands after it.
pub(crate) struct Moment<'a> {
    pub(crate) commit: &'a Commit,
    pub(crate) standing: &'a Standing,
    pub(crate) story: &'a Story,
}

impl Moment<'_> {
    /// Whether an agent of ours wrote.
    pub(crate) fn is_ours(&self) -> bool {
        self.commit.by.agent.is_some()
    }

    /// The object after the commit.
    pub(crate) fn after(&self) -> Option<&Value> {
        Some(&*self.commit.after.as_ref()?.body)
    }

    /// The object before the commit.
    pub(crate) fn before(&self) -> Option<&Value> {
        Some(&*self.commit.before.as_ref()?.body)
    }
}

/// All checkers.
pub(crate) struct Checkers {
    story: Story,
    standing: Standing,
    containment: containment::Containment,
    hold: hold::Hold,
    requests: requests::Requests,
    rollouts: rollouts::Rollouts,
    delivery: delivery::Delivery,
    ownership: ownership::Ownership,
    holders: holders::Holders,
    /// What was violated, in order.
    pub(crate) violations: Vec<Violation>,
    /// Writes of agents other than leases, by when they were committed.
    pub(crate) writes: Vec<(Timestamp, ObjectKey)>,
}

impl Checkers {
    /// Checkers of a story.
    pub(crate) fn new(story: &Story) -> Self {
        Self {
            story: story.clone(),
            standing: Standing::default(),
            containment: containment::Containment::default(),
            hold: hold::Hold::default(),
            requests: requests::Requests,
            rollouts: rollouts::Rollouts::default(),
            delivery: delivery::Delivery::default(),
            ownership: ownership::Ownership::default(),
            holders: holders::Holders::default(),
            violations: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Learns what people committed to Git.
    pub(crate) fn read(&mut self, git: &Git) {
        self.delivery.read(git);
    }

    /// Looks at one commit.
    pub(crate) fn see(&mut self, commit: &Commit) {
        match &commit.after {
            Some(after) => drop(self.standing.objects.insert(commit.key.clone(), after.clone())),
            None => drop(self.standing.objects.remove(&commit.key)),
        }
        let moment = Moment { commit, standing: &self.standing, story: &self.story };
        if moment.is_ours() && !matches!(commit.key.kind.kind.as_str(), "Lease" | "Event") {
            self.writes.push((commit.at, commit.key.clone()));
        }
        let mut found = Vec::new();
        found.extend(self.containment.see(&moment));
        found.extend(self.hold.see(&moment));
        found.extend(self.requests.see(&moment));
        found.extend(self.rollouts.see(&moment));
        found.extend(self.delivery.see(&moment));
        found.extend(self.ownership.see(&moment));
        found.extend(self.holders.see(&moment));
        let violations = found.into_iter().map(|(rule, what)| Violation { rule, what, at: commit.at });
        self.violations.extend(violations);
    }

    /// All that stands.
    pub(crate) const fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// What one checker found: the rule, and what was seen.
pub(crate) type Found = Vec<(&'static str, String)>;
