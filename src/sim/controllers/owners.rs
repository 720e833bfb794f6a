//! Who owns whom, kept from commits, so that no sync reads a whole collection.

use std::collections::{BTreeMap, BTreeSet};

use super::reading;
use crate::model::{Object, ObjectKey};
use crate::sim::api::Commit;

/// Objects by UID, and children by the UID of each owner.
#[derive(Debug, Default)]
pub(super) struct Owners {
    alive: BTreeMap<String, Alive>,
    children: BTreeMap<String, BTreeSet<ObjectKey>>,
}

#[derive(Debug)]
struct Alive {
    key: ObjectKey,
    controller: Option<String>,
}

impl Owners {
    /// Takes a commit in.
    pub(super) fn note(&mut self, commit: &Commit) {
        let owners = |object: &Option<Object>| {
            object.as_ref().map(|object| reading::owners(&object.body).to_vec()).unwrap_or_default()
        };
        let is_same = match (&commit.before, &commit.after) {
            (Some(before), Some(after)) => reading::owners(&before.body) == reading::owners(&after.body),
            (Some(_), None) | (None, Some(_)) | (None, None) => false,
        };
        if is_same {
            return;
        }
        let uid_of = |owner: &serde_json::Value| reading::text(owner, &["uid"]).unwrap_or_default().to_owned();
        for uid in owners(&commit.before).iter().map(uid_of) {
            if let Some(children) = self.children.get_mut(&uid) {
                children.remove(&commit.key);
                if children.is_empty() {
                    self.children.remove(&uid);
                }
            }
        }
        if let Some(before) = &commit.before {
            self.alive.remove(before.uid());
        }
        for uid in owners(&commit.after).iter().map(uid_of) {
            self.children.entry(uid).or_default().insert(commit.key.clone());
        }
        if let Some(after) = &commit.after {
            let controller = reading::controller_uid(&after.body).map(str::to_owned);
            self.alive.insert(after.uid().to_owned(), Alive { key: commit.key.clone(), controller });
        }
    }

    /// The key of the object with this UID, while it exists.
    pub(super) fn key_of(&self, uid: &str) -> Option<&ObjectKey> {
        self.alive.get(uid).map(|alive| &alive.key)
    }

    /// The object that controls the object with this UID.
    pub(super) fn controller_of(&self, uid: &str) -> Option<&ObjectKey> {
        self.key_of(self.alive.get(uid)?.controller.as_deref()?)
    }

    /// The children of the object with this UID.
    pub(super) fn children(&self, uid: &str) -> impl Iterator<Item = &ObjectKey> {
        self.children.get(uid).into_iter().flatten()
    }

    /// Everything that exists.
    pub(super) fn all(&self) -> impl Iterator<Item = &ObjectKey> {
        self.alive.values().map(|alive| &alive.key)
    }
}
