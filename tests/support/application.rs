//! Reading the Application resource, as `kubectl get -o json` shows it. The one place that knows its field names.

use serde_json::Value;

use super::state::condition;

/// An Application resource.
#[derive(Clone, Copy)]
pub(crate) struct App<'a>(pub(crate) &'a Value);

impl<'a> App<'a> {
    /// Its name.
    pub(crate) fn name(&self) -> &'a str {
        text(&self.0["metadata"]["name"])
    }

    /// `status.phase`.
    pub(crate) fn phase(&self) -> &'a str {
        text(&self.0["status"]["phase"])
    }

    /// `status.health.status`.
    pub(crate) fn health(&self) -> &'a str {
        text(&self.0["status"]["health"]["status"])
    }

    /// `status.sync.status`.
    pub(crate) fn sync(&self) -> &'a str {
        text(&self.0["status"]["sync"]["status"])
    }

    /// Version, commit or digest of what Git says.
    pub(crate) fn desired(&self, field: &str) -> &'a str {
        self.version("desired", field)
    }

    /// Version, commit or digest of what runs.
    pub(crate) fn effective(&self, field: &str) -> &'a str {
        self.version("effective", field)
    }

    /// Version, commit or digest of what was refused; empty when nothing is.
    pub(crate) fn held(&self, field: &str) -> &'a str {
        self.version("held", field)
    }

    /// The fact that keeps it from being Synced and Healthy.
    pub(crate) fn why(&self) -> &'a str {
        text(&self.0["status"]["why"]["fact"])
    }

    /// What is worth knowing and keeps nothing back, as JSON.
    pub(crate) fn remarks(&self) -> String {
        self.0["status"]["remarks"].to_string()
    }

    /// Status and reason of a condition.
    pub(crate) fn condition(&self, kind: &str) -> (&'a str, &'a str) {
        condition(self.0, kind).map_or(("", ""), |condition| (text(&condition["status"]), text(&condition["reason"])))
    }

    /// Whether it is as declared, and well.
    pub(crate) fn is_settled(&self) -> bool {
        self.health() == "Healthy" && self.sync() == "Synced" && self.condition("Ready").0 == "True"
    }

    /// Whether it is settled on `version`.
    pub(crate) fn is_settled_on(&self, version: &str) -> bool {
        self.is_settled() && self.effective("version") == version && self.rollout().is_none()
    }

    /// Whether `version` is held after a revert, with nothing under way.
    pub(crate) fn holds(&self, version: &str) -> bool {
        self.phase() == "Held" && self.held("version") == version && self.is_at_rest()
    }

    /// Whether nothing is under way: no rollout, or one that is held.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.rollout().is_none() || self.position() == "held"
    }

    /// The durable rollout, when one is under way. A first sync that completed is still in the record: its end is written
    /// with the next change, and until then status says which digest is Stable.
    pub(crate) fn rollout(&self) -> Option<&'a Value> {
        let rollout = &self.0["record"]["rollout"];
        let stable = &self.0["status"]["stableDigest"];
        let is_over = stable.is_string() && rollout["target"]["digest"] == *stable && rollout["lane"] == "firstSync";
        (rollout.is_object() && !is_over).then_some(rollout)
    }

    /// The durable position's name: `preparing`, `wave`, `trailing`, `reverting`, `held`; empty without one.
    pub(crate) fn position(&self) -> &'a str {
        self.rollout().map_or("", |rollout| text(&rollout["position"]["at"]))
    }

    /// The durable wave's index, while the rollout is in a wave.
    pub(crate) fn wave(&self) -> Option<usize> {
        let rollout = self.rollout().filter(|_| self.position() == "wave")?;
        usize::try_from(rollout["position"]["index"].as_u64()?).ok()
    }

    /// The version that is rolling out; empty without a rollout.
    pub(crate) fn target(&self) -> &'a str {
        self.rollout().map_or("", |rollout| text(&rollout["target"]["version"]))
    }

    /// The durable rollout's lane: `firstSync`, `waves`, `express` or `direct`; empty without a rollout.
    pub(crate) fn lane(&self) -> &'a str {
        self.rollout().map_or("", |rollout| text(&rollout["lane"]))
    }

    /// Whether a rollout of `version` is in wave `index` with that wave's pods all Ready.
    pub(crate) fn is_in_wave(&self, version: &str, index: usize) -> bool {
        self.target() == version && self.wave() == Some(index) && !self.waves()[index]["readyAt"].is_null()
    }

    /// The waves so far of the rollout under way.
    pub(crate) fn waves(&self) -> &'a Value {
        self.rollout().map_or(&Value::Null, |rollout| &rollout["waves"])
    }

    /// Ended rollouts, oldest first.
    pub(crate) fn past(&self) -> &'a [Value] {
        self.0["record"]["past"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The last ended rollout of `version`.
    pub(crate) fn past_of(&self, version: &str) -> Option<Ended<'a>> {
        self.past().iter().rev().find(|past| past["release"]["version"] == version).map(Ended)
    }

    /// Rollouts started so far.
    pub(crate) fn rollouts(&self) -> u64 {
        self.0["record"]["rollouts"].as_u64().unwrap_or(0)
    }

    /// Versions in quarantine.
    pub(crate) fn quarantine(&self) -> Vec<&'a str> {
        let entries = self.0["record"]["quarantine"].as_array();
        entries.into_iter().flatten().map(|entry| text(&entry["version"])).collect()
    }

    /// Whether the inventory has an object, such as `ConfigMap` and `web`. Its keys are `group/kind/namespace/name`.
    pub(crate) fn has_inventoried(&self, kind: &str, name: &str) -> bool {
        let inventory = self.0["record"]["inventory"].as_object();
        let is_it = |key: &String| key.contains(&format!("/{kind}/")) && key.ends_with(&format!("/{name}"));
        inventory.is_some_and(|inventory| inventory.keys().any(is_it))
    }

    /// The answer to the last request.
    pub(crate) fn answer(&self) -> String {
        self.0["record"]["answered"].to_string()
    }

    /// Pods of the target beyond the wave's size, put there by scaling.
    pub(crate) fn exposure(&self) -> u64 {
        self.0["status"]["exposure"].as_u64().unwrap_or(0)
    }

    fn version(&self, which: &str, field: &str) -> &'a str {
        let status = &self.0["status"];
        text(&status[which][field]).max(text(&status["versions"][which][field]))
    }

    /// A few words.
    pub(crate) fn summary(&self) -> String {
        let wave = self.wave().map(|wave| format!(" wave {wave}")).unwrap_or_default();
        let (name, phase, health, sync) = (self.name(), self.phase(), self.health(), self.sync());
        let (position, target, why) = (self.position(), self.target(), self.why());
        format!("{name} {phase} {health} {sync} [{position}{wave} {target}] {why}")
    }
}

/// An ended rollout.
#[derive(Clone, Copy)]
pub(crate) struct Ended<'a>(pub(crate) &'a Value);

impl<'a> Ended<'a> {
    /// `completed`, `reverted`, `withdrawn` or `held`.
    pub(crate) fn outcome(&self) -> &'a str {
        text(&self.0["outcome"])
    }

    /// Why it did not complete.
    pub(crate) fn reason(&self) -> &'a str {
        text(&self.0["reason"])
    }

    /// `firstSync`, `waves`, `express` or `direct`.
    pub(crate) fn lane(&self) -> &'a str {
        text(&self.0["lane"])
    }

    /// Names of its waves.
    pub(crate) fn wave_names(&self) -> Vec<&'a str> {
        self.0["waves"].as_array().into_iter().flatten().map(|wave| text(&wave["name"])).collect()
    }

    /// A gate of a wave, by their names.
    pub(crate) fn gate(&self, wave: &str, gate: &str) -> Option<&'a Value> {
        let wave = self.0["waves"].as_array()?.iter().find(|found| found["name"] == wave)?;
        wave["gates"].as_array()?.iter().find(|found| found["gate"] == gate)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
