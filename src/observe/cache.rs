//! The fold of watched collections. It never goes back in time: an object older than what is known is ignored.

use std::collections::BTreeMap;

use crate::model::{Object, ObjectKey};
use crate::world::{Change, Scope};

/// What watches have shown so far, by collection.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    scopes: BTreeMap<Scope, Collection>,
    /// Objects that no watch covers and that were read or applied by name (Secrets).
    by_name: BTreeMap<ObjectKey, Object>,
}

#[derive(Clone, Debug, Default)]
struct Collection {
    resource_version: String,
    /// Of the last list.
    listed: String,
    objects: BTreeMap<ObjectKey, Object>,
    /// Objects that went since the last list, each with the resourceVersion in which it did: an event that comes late
    /// does not bring them back.
    gone: BTreeMap<ObjectKey, String>,
}

/// So many objects that went are remembered, of each collection.
const GONE_MAX: usize = 1024;

impl Collection {
    fn note_gone(&mut self, key: &ObjectKey, resource_version: &str) {
        if self.gone.len() >= GONE_MAX {
            self.gone.clear();
        }
        self.gone.insert(key.clone(), resource_version.to_owned());
    }

    /// Whether a deletion or a list has shown, since `object` was so, that it is not there.
    fn is_gone(&self, object: &Object) -> bool {
        let is_older = |seen: &String| !is_newer(object.resource_version(), seen);
        let has_gone = is_older(&self.listed) || self.gone.get(&object.key).is_some_and(is_older);
        has_gone && !self.objects.contains_key(&object.key)
    }

    fn follow(&mut self, resource_version: &str) {
        if is_newer(resource_version, &self.resource_version) {
            resource_version.clone_into(&mut self.resource_version);
        }
    }
}

/// What folding one change came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Folded {
    /// It was news: the object before it.
    News(Option<Object>),
    /// It was known already.
    Known,
}

impl Cache {
    /// Whether the collection was listed.
    #[must_use]
    pub fn has(&self, scope: &Scope) -> bool {
        self.scopes.contains_key(scope)
    }

    /// The collections that are followed.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.keys()
    }

    /// Where to go on watching a collection.
    #[must_use]
    pub fn resource_version(&self, scope: &Scope) -> Option<&str> {
        self.scopes.get(scope).map(|collection| collection.resource_version.as_str())
    }

    /// Takes a list for a whole collection and returns the keys that differ from what was known, each with what was known
    /// of it; those that went are included.
    /// An object that we hold in a newer version than the list's is kept.
    pub fn replace(
        &mut self,
        scope: &Scope,
        items: Vec<Object>,
        resource_version: &str,
    ) -> Vec<(ObjectKey, Option<Object>)> {
        let mut before = self.scopes.remove(scope).unwrap_or_default().objects;
        let mut changed = Vec::new();
        let mut objects = BTreeMap::new();
        for item in items {
            let key = item.key.clone();
            match before.remove(&key) {
                Some(known)
                    if known.uid() == item.uid() && !is_newer(item.resource_version(), known.resource_version()) =>
                {
                    objects.insert(key, known);
                }
                known => {
                    changed.push((key.clone(), known));
                    objects.insert(key, item);
                }
            }
        }
        for (key, known) in before {
            if is_newer(known.resource_version(), resource_version) {
                objects.insert(key, known);
            } else {
                changed.push((key, Some(known)));
            }
        }
        let listed = resource_version.to_owned();
        let resource_version = listed.clone();
        self.scopes.insert(scope.clone(), Collection { resource_version, listed, objects, gone: BTreeMap::new() });
        changed
    }

    /// Forgets a collection.
    pub fn forget(&mut self, scope: &Scope) {
        self.scopes.remove(scope);
    }

    /// Folds one change of a watch.
    pub fn fold(&mut self, scope: &Scope, change: Change) -> Folded {
        let Some(collection) = self.scopes.get_mut(scope) else { return Folded::Known };
        match change {
            Change::Bookmark(resource_version) => {
                collection.resource_version = resource_version;
                Folded::Known
            }
            Change::Stored(object) => {
                collection.follow(object.resource_version());
                let known = collection.objects.get(&object.key).map(Object::resource_version);
                let known = known.or_else(|| collection.gone.get(&object.key).map(String::as_str));
                if known.is_some_and(|known| !is_newer(object.resource_version(), known)) {
                    return Folded::Known;
                }
                collection.gone.remove(&object.key);
                Folded::News(put(&mut collection.objects, object))
            }
            Change::Deleted(object) => {
                collection.follow(object.resource_version());
                let known = collection.objects.get(&object.key).map(Object::resource_version);
                if known.is_some_and(|known| is_newer(known, object.resource_version())) {
                    return Folded::Known;
                }
                collection.note_gone(&object.key, object.resource_version());
                match collection.objects.remove(&object.key) {
                    Some(known) => Folded::News(Some(known)),
                    None => Folded::Known,
                }
            }
        }
    }

    /// Folds the answer to a write or a read by name, so that no later pass decides from something older (S11).
    pub fn learn(&mut self, object: Object) {
        let holder = self.scopes.iter_mut().find(|(scope, _)| covers(scope, &object.key));
        if let Some((_, collection)) = &holder
            && collection.is_gone(&object)
        {
            return;
        }
        let objects = match holder {
            Some((_, collection)) => &mut collection.objects,
            None => &mut self.by_name,
        };
        let is_known = objects
            .get(&object.key)
            .is_some_and(|known| !is_newer(object.resource_version(), known.resource_version()));
        if !is_known {
            put(objects, object);
        }
    }

    /// Forgets an object that no watch covers: it is read again when it is needed.
    pub fn unlearn(&mut self, key: &ObjectKey) {
        self.by_name.remove(key);
    }

    /// Forgets an object that a read by name showed not to exist, whose event its watch may have lost. `known` is the
    /// resourceVersion that was known before that read: one that came to be known since was made anew.
    pub fn remove(&mut self, key: &ObjectKey, known: &str) {
        self.by_name.remove(key);
        if let Some((_, collection)) = self.scopes.iter_mut().find(|(scope, _)| covers(scope, key)) {
            let is_that_old = |object: &Object| !is_newer(object.resource_version(), known);
            if collection.objects.get(key).is_some_and(is_that_old) {
                collection.objects.remove(key);
                collection.note_gone(key, known);
            }
        }
    }

    /// The object, as far as watches and answers have shown it.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Object> {
        let watched = self
            .scopes
            .iter()
            .find(|(scope, _)| covers(scope, key))
            .and_then(|(_, collection)| collection.objects.get(key));
        watched.or_else(|| self.by_name.get(key))
    }

    /// Keeps only the text of an object until it is looked at again.
    pub fn rest(&mut self, key: &ObjectKey) {
        let watched = self.scopes.iter_mut().find(|(scope, _)| covers(scope, key));
        let watched = watched.and_then(|(_, collection)| collection.objects.get_mut(key));
        if let Some(object) = watched.or_else(|| self.by_name.get_mut(key)) {
            object.body.rest();
        }
    }

    /// Whether a watch covers the object: its absence from the cache then means that it does not exist.
    #[must_use]
    pub fn is_watched(&self, key: &ObjectKey) -> bool {
        self.scopes.keys().any(|scope| covers(scope, key))
    }

    /// All objects of a collection.
    pub fn objects(&self, scope: &Scope) -> impl Iterator<Item = &Object> {
        self.scopes.get(scope).into_iter().flat_map(|collection| collection.objects.values())
    }
}

/// Takes an object in and returns the one before it, whose key it goes on with: those who hold it hold the same.
fn put(objects: &mut BTreeMap<ObjectKey, Object>, mut object: Object) -> Option<Object> {
    if let Some(known) = objects.get(&object.key) {
        object.key = known.key.clone();
    }
    objects.insert(object.key.clone(), object)
}

fn covers(scope: &Scope, key: &ObjectKey) -> bool {
    scope.kind == key.kind && scope.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
}

/// Whether resourceVersion `left` is newer than `right`. They are comparable as whole numbers since Kubernetes 1.35
/// (KEP-5504); longer means larger, and an unknown one is always older.
#[must_use]
pub fn is_newer(left: &str, right: &str) -> bool {
    (left.len(), left) > (right.len(), right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClusterName, GroupKind};
    use serde_json::json;

    fn scope() -> Scope {
        Scope { kind: GroupKind::new("", "ConfigMap"), version: "v1".to_owned(), namespace: None }
    }

    fn object(name: &str, resource_version: &str) -> Object {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "a", "uid": name, "resourceVersion": resource_version}});
        Object::from_value(&ClusterName::local(), body).expect("well formed")
    }

    #[test]
    fn an_older_event_never_replaces_the_answer_to_our_write() {
        let mut cache = Cache::default();
        cache.replace(&scope(), vec![object("x", "9")], "9");
        cache.learn(object("x", "12"));
        assert_eq!(cache.fold(&scope(), Change::Stored(object("x", "10"))), Folded::Known);
        assert_eq!(cache.get(&object("x", "0").key).map(Object::resource_version), Some("12"));
        assert_eq!(cache.fold(&scope(), Change::Deleted(object("x", "11"))), Folded::Known);
        assert!(matches!(cache.fold(&scope(), Change::Deleted(object("x", "13"))), Folded::News(Some(_))));
        assert_eq!(cache.get(&object("x", "0").key), None);
    }

    #[test]
    fn an_object_that_a_read_shows_to_be_gone_goes_unless_it_was_made_anew_since() {
        let mut cache = Cache::default();
        cache.replace(&scope(), vec![object("x", "4"), object("y", "5")], "9");
        let (x, y) = (object("x", "0").key, object("y", "0").key);
        cache.fold(&scope(), Change::Stored(object("y", "12")));
        cache.remove(&x, "4");
        cache.remove(&y, "5");
        assert_eq!(cache.get(&x), None);
        assert_eq!(cache.get(&y).map(Object::resource_version), Some("12"));
    }

    #[test]
    fn an_event_that_comes_late_brings_nothing_back() {
        let mut cache = Cache::default();
        cache.replace(&scope(), vec![object("x", "4")], "9");
        cache.fold(&scope(), Change::Deleted(object("x", "12")));
        assert_eq!(cache.fold(&scope(), Change::Stored(object("x", "10"))), Folded::Known);
        assert_eq!(cache.get(&object("x", "0").key), None);
        assert_eq!(cache.fold(&scope(), Change::Stored(object("x", "13"))), Folded::News(None));
        // A deletion that overtook the creation.
        cache.fold(&scope(), Change::Deleted(object("y", "15")));
        assert_eq!(cache.fold(&scope(), Change::Stored(object("y", "14"))), Folded::Known);
    }

    #[test]
    fn an_answer_that_comes_late_brings_nothing_back() {
        let check = |version: &str, expected: Option<&str>| {
            let mut cache = Cache::default();
            cache.replace(&scope(), vec![object("x", "4")], "9");
            cache.fold(&scope(), Change::Deleted(object("x", "12")));
            cache.learn(object("x", version));
            assert_eq!(cache.get(&object("x", "0").key).map(Object::resource_version), expected, "{version}");
            // One that the list has not shown.
            let mut cache = Cache::default();
            cache.replace(&scope(), Vec::new(), "12");
            cache.learn(object("x", version));
            assert_eq!(cache.get(&object("x", "0").key).map(Object::resource_version), expected, "{version}");
        };
        check("11", None);
        check("13", Some("13"));
    }

    #[test]
    fn a_relist_reports_what_changed_and_what_went() {
        let mut cache = Cache::default();
        cache.replace(&scope(), vec![object("x", "1"), object("y", "2"), object("z", "3")], "3");
        let changed = cache.replace(&scope(), vec![object("x", "1"), object("y", "7")], "8");
        let names: Vec<_> = changed.iter().map(|(key, _)| key.name.as_str()).collect();
        assert_eq!(names, ["y", "z"]);
    }
}
