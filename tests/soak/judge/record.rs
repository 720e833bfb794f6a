//! Reading the durable record of an Application, as raw JSON.

use serde_json::Value;

/// An Application's record.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a>(pub(crate) &'a Value);

/// A rollout under way.
#[derive(Clone, Copy)]
pub(crate) struct Rollout<'a>(pub(super) &'a Value);

impl<'a> Record<'a> {
    /// The rollout under way. A first sync that completed is only told by status until the record's next write.
    pub(crate) fn rollout(&self) -> Option<Rollout<'a>> {
        let rollout = Some(&self.0["record"]["rollout"]).filter(|rollout| rollout.is_object()).map(Rollout)?;
        let stable = &self.0["status"]["stableDigest"];
        let is_over = rollout.lane() == "firstSync" && stable.is_string() && rollout.0["target"]["digest"] == *stable;
        (!is_over).then_some(rollout)
    }

    /// The Release that completed last: version and commit.
    pub(crate) fn stable(&self) -> Option<&'a Value> {
        let record = &self.0["record"];
        let first = &record["rollout"]["target"];
        match (record["stable"].is_object(), self.rollout()) {
            (true, _) => Some(&record["stable"]),
            (false, None) => Some(first).filter(|first| first.is_object()),
            (false, Some(_)) => None,
        }
    }

    /// The version that completed last; empty without one.
    pub(crate) fn stable_version(&self) -> &'a str {
        self.stable().map_or("", |stable| text(&stable["version"]))
    }

    /// Ended rollouts, oldest first.
    pub(crate) fn past(&self) -> impl Iterator<Item = &'a Value> {
        self.0["record"]["past"].as_array().into_iter().flatten()
    }

    /// Failed Releases: digest and attempt.
    pub(crate) fn quarantine(&self) -> impl Iterator<Item = (&'a str, u64)> {
        let entries = self.0["record"]["quarantine"].as_array().into_iter().flatten();
        entries.map(|entry| (text(&entry["digest"]), number(&entry["attempt"])))
    }

    /// Rollouts started so far, which is the newest one's id.
    pub(crate) fn last_id(&self) -> u64 {
        number(&self.0["record"]["rollouts"])
    }

    /// The waves of a rollout, under way or ended.
    pub(crate) fn waves_of(&self, id: u64) -> &'a [Value] {
        let raw = &self.0["record"]["rollout"];
        let found =
            if number(&raw["id"]) == id { Some(raw) } else { self.past().find(|past| number(&past["id"]) == id) };
        found.and_then(|found| found["waves"].as_array()).map_or(&[], Vec::as_slice)
    }

    /// Whether the app is well, as declared, and nothing is under way.
    pub(crate) fn is_settled_on(&self, version: &str) -> bool {
        let status = &self.0["status"];
        let effective = text(&status["versions"]["effective"]["version"]).max(text(&status["effective"]["version"]));
        let is_well = status["health"]["status"] == "Healthy" && status["sync"]["status"] == "Synced";
        is_well && self.rollout().is_none() && effective == version && self.stable_version() == version
    }

    /// Whether `bad` is held after its revert, and `stable` stands.
    pub(crate) fn holds(&self, bad: &str, stable: &str) -> bool {
        let mut quarantine = self.0["record"]["quarantine"].as_array().into_iter().flatten();
        let is_held = quarantine.any(|entry| entry["version"] == bad);
        self.0["status"]["phase"] == "Held" && is_held && self.rollout().is_none() && self.stable_version() == stable
    }

    /// A few words.
    pub(crate) fn line(&self) -> String {
        let stable = self.stable_version();
        let rollout = self.rollout().map_or_else(String::new, |rollout| {
            let index = rollout.wave().map_or_else(String::new, |index| format!(" {index}"));
            let ready = rollout.waves().last().is_some_and(|wave| wave["readyAt"].is_string());
            let ready = if ready { " ready" } else { "" };
            let (id, lane, target, at) = (rollout.id(), rollout.lane(), rollout.version(), rollout.at());
            format!(" #{id} {lane} to {target}: {at}{index}{ready}")
        });
        let why = text(&self.0["status"]["why"]["fact"]);
        format!("stable {stable}{rollout}; {} {}", text(&self.0["status"]["phase"]), why.get(..160).unwrap_or(why))
    }
}

impl<'a> Rollout<'a> {
    /// Counts the app's rollouts.
    pub(crate) fn id(&self) -> u64 {
        number(&self.0["id"])
    }

    /// `firstSync`, `waves`, `express` or `direct`.
    pub(crate) fn lane(&self) -> &'a str {
        text(&self.0["lane"])
    }

    /// The Target's version.
    pub(crate) fn version(&self) -> &'a str {
        text(&self.0["target"]["version"])
    }

    /// The Target's digest and attempt.
    pub(crate) fn content(&self) -> (&'a str, u64) {
        (text(&self.0["target"]["digest"]), number(&self.0["target"]["attempt"]))
    }

    /// The Target's commit.
    pub(crate) fn commit(&self) -> &'a str {
        text(&self.0["target"]["revision"]["commit"])
    }

    /// `preparing`, `wave`, `trailing`, `reverting` or `held`.
    pub(crate) fn at(&self) -> &'a str {
        text(&self.0["position"]["at"])
    }

    /// The wave's index, in a wave.
    pub(crate) fn wave(&self) -> Option<usize> {
        usize::try_from(self.0["position"]["index"].as_u64()?).ok().filter(|_| self.at() == "wave")
    }

    /// Records of the waves so far.
    pub(crate) fn waves(&self) -> &'a [Value] {
        self.0["waves"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The waves that its lane takes, as pinned in its plan.
    pub(crate) fn planned(&self) -> &'a [Value] {
        let plan = &self.0["plan"];
        let list = |field: &str| plan[field].as_array().map_or(&[][..], Vec::as_slice);
        match self.lane() {
            "waves" => list("waves"),
            "express" => list("express"),
            // A first sync, or no pod template to move: everything at once.
            _ => &list("waves")[list("waves").len().saturating_sub(1)..],
        }
    }

    /// Whether pods come from another template than Stable's, so that waves have something to count.
    pub(crate) fn moves_from(&self, stable: &str) -> bool {
        self.version() != stable && matches!(self.lane(), "waves" | "express")
    }
}

/// Pods out of `n` that a planned wave wants: a number, or a share rounded up.
pub(super) fn wave_size(wave: &Value, n: u64) -> u64 {
    let replicas = &wave["replicas"];
    let share = replicas.as_str().and_then(|text| text.strip_suffix('%')?.parse::<u64>().ok());
    share.map_or_else(|| number(replicas), |share| (n * share).div_ceil(100)).min(n)
}

pub(super) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
