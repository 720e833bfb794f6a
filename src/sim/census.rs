//! Counts pods while commits pass by. Enters: commits of the API server. Leaves: which pods there are, what they run, and
//! whether they are Ready.

use std::collections::BTreeMap;

use serde_json::Value;

use super::api::Commit;
use crate::model::{Object, ObjectKey};

/// A pod that nobody has told to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The images of its containers.
    pub images: Vec<String>,
    /// Whether it is Ready.
    pub is_ready: bool,
}

impl Counted {
    /// The tag of its first image.
    #[must_use]
    pub fn version(&self) -> &str {
        self.images.first().and_then(|image| image.rsplit_once(':')).map_or("", |(_, tag)| tag)
    }
}

/// Pods, as of the last commit that was noted.
#[derive(Clone, Debug, Default)]
pub struct Census {
    pods: BTreeMap<ObjectKey, Counted>,
}

impl Census {
    /// Takes a commit in; whether it changed anything.
    pub fn note(&mut self, commit: &Commit) -> bool {
        if !commit.key.kind.is("", "Pod") {
            return false;
        }
        match commit.after.as_ref().and_then(counted) {
            None => self.pods.remove(&commit.key).is_some(),
            Some(pod) => self.pods.insert(commit.key.clone(), pod.clone()) != Some(pod),
        }
    }

    /// The pods, in order of namespace and name.
    pub fn pods(&self) -> impl Iterator<Item = (&ObjectKey, &Counted)> {
        self.pods.iter()
    }
}

/// What counts of a pod; nothing when it is on its way out.
fn counted(pod: &Object) -> Option<Counted> {
    let is_live = pod.body.pointer("/metadata/deletionTimestamp").is_none();
    let list = |pointer: &str| pod.body.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    let images = list("/spec/containers").filter_map(|container| container["image"].as_str()).map(str::to_owned);
    let mut conditions = list("/status/conditions").filter(|condition| condition["type"] == "Ready");
    let is_ready = conditions.any(|condition| condition["status"] == "True");
    is_live.then(|| Counted { images: images.collect(), is_ready })
}
