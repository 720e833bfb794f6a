//! An object's JSON: a tree to work with, or the packed text of one that rests. A tree takes ten times the room of its
//! text, since every mapping in it is a node for eleven fields.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use serde_json::value::RawValue;

use super::marks::{ANNOTATION_OWNER, LABEL_APPLICATION};
use super::packed::Packed;

/// An object's JSON. It reads as a [`Value`] at all times: one that rests is parsed when it is first looked at, and
/// stays a tree until it is laid to rest again. Clones share what is there, not what comes later, so that a clone of a
/// resting body leaves it at rest.
#[derive(Clone)]
pub struct Body {
    /// Set from the first rest on: a body never changes.
    text: Option<Arc<Text>>,
    tree: OnceLock<Arc<Value>>,
}

/// The JSON of a resting body, and what is asked of it without waking it.
struct Text {
    json: Packed,
    facts: Facts,
}

/// What the cache asks of every object that it hears of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `metadata.uid`, empty when the object was never stored.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`, empty when the object was never stored.
    pub resource_version: Box<str>,
    /// Our annotation that says whose the object is.
    pub owner: Option<Box<str>>,
    /// Our label that says which app's it is.
    pub application: Option<Box<str>>,
}

impl Body {
    /// Keeps only the text.
    pub fn rest(&mut self) {
        if self.text.is_none() {
            let tree: &Value = self;
            let Ok(json) = serde_json::to_string(tree) else { return };
            self.text = Some(Arc::new(Text { facts: Facts::of(tree), json: Packed::new(&json) }));
        }
        self.tree = OnceLock::new();
    }

    /// A body that rests from the start. `json` is an object of which a tree can be made, and `facts` are what it says.
    #[must_use]
    pub fn resting(json: &str, facts: Facts) -> Self {
        Self { text: Some(Arc::new(Text { json: Packed::new(json), facts })), tree: OnceLock::new() }
    }

    /// `apiVersion`, `kind` and `metadata` without the rest. Of a body that rests no tree is made.
    #[must_use]
    pub fn outline(&self) -> Self {
        const KEPT: [&str; 3] = ["apiVersion", "kind", "metadata"];
        match &self.text {
            Some(text) if self.is_resting() => {
                let json = text.json.text();
                let mut fields: BTreeMap<String, &RawValue> = serde_json::from_slice(&json).expect("it is an object");
                fields.retain(|name, _| KEPT.contains(&name.as_str()));
                let json = serde_json::to_string(&fields).expect("it was read from JSON");
                Self::resting(&json, text.facts.clone())
            }
            Some(_) | None => {
                let field = |name: &&str| self.get(name).map(|value| ((*name).to_owned(), value.clone()));
                Self::from(Value::Object(KEPT.iter().filter_map(field).collect()))
            }
        }
    }

    /// Reads the text for all clones that are made from now on.
    pub fn wake(&self) {
        let _: &Value = self;
    }

    /// Whether there is only the text.
    #[must_use]
    pub fn is_resting(&self) -> bool {
        self.tree.get().is_none()
    }

    /// What is known of a body that rests.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.text.as_ref().filter(|_| self.is_resting()).map(|text| &text.facts)
    }
}

impl Facts {
    fn of(tree: &Value) -> Self {
        let metadata = tree.get("metadata");
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(Box::from);
        let under = |map: &str, name: &str| text(metadata.and_then(|metadata| metadata.get(map)?.get(name)));
        let of_metadata = |name: &str| text(metadata.and_then(|metadata| metadata.get(name))).unwrap_or_default();
        Self {
            uid: of_metadata("uid"),
            resource_version: of_metadata("resourceVersion"),
            owner: under("annotations", ANNOTATION_OWNER),
            application: under("labels", LABEL_APPLICATION),
        }
    }
}

impl From<Value> for Body {
    fn from(tree: Value) -> Self {
        Self { text: None, tree: OnceLock::from(Arc::new(tree)) }
    }
}

impl Deref for Body {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.tree.get_or_init(|| {
            let text = self.text.as_ref().expect("a body is a tree or a text");
            Arc::new(serde_json::from_slice(&text.json.text()).expect("the text was written from a tree"))
        })
    }
}

impl DerefMut for Body {
    fn deref_mut(&mut self) -> &mut Value {
        let _: &Value = self;
        // What rests of another tree is no text of this one.
        self.text = None;
        Arc::make_mut(self.tree.get_mut().expect("it was just looked at"))
    }
}

impl From<Body> for Value {
    fn from(body: Body) -> Self {
        let _: &Self = &body;
        Arc::unwrap_or_clone(body.tree.into_inner().expect("it was just looked at"))
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        let is_one_text = matches!((&self.text, &other.text), (Some(some), Some(other)) if some.json == other.json);
        let is_one_tree =
            matches!((self.tree.get(), other.tree.get()), (Some(some), Some(other)) if Arc::ptr_eq(some, other));
        is_one_text || is_one_tree || **self == **other
    }
}

impl Eq for Body {}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_that_rests_reads_as_before() {
        let tree = json!({"metadata": {"uid": "u", "resourceVersion": "7", "annotations": {ANNOTATION_OWNER: "us"},
            "labels": {LABEL_APPLICATION: "web"}}, "data": {"a": [1, -2.5, null, "\u{1f600}", 18_446_744_073_709_551_615_u64]}});
        let mut body = Body::from(tree.clone());
        body.rest();
        let facts = body.facts().expect("it rests");
        assert_eq!((&*facts.uid, &*facts.resource_version), ("u", "7"));
        assert_eq!((facts.owner.as_deref(), facts.application.as_deref()), (Some("us"), Some("web")));
        assert_eq!(*body, tree);
        assert!(!body.is_resting());
    }

    #[test]
    fn an_outline_is_the_same_of_a_tree_and_of_a_text() {
        let tree = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"uid": "u", "name": "\u{1f600}\n"}, "data": {"metadata": 1}});
        let mut body = Body::from(tree);
        let outline = body.outline();
        assert_eq!(
            *outline,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"uid": "u", "name": "\u{1f600}\n"}})
        );
        body.rest();
        let of_text = body.outline();
        assert!(body.is_resting() && of_text.is_resting());
        assert_eq!(of_text.facts().map(|facts| &*facts.uid), Some("u"));
        assert_eq!(of_text, outline);
    }

    #[test]
    fn reading_a_clone_wakes_the_clone_alone() {
        let mut body = Body::from(json!({"a": 1}));
        body.rest();
        let clone = body.clone();
        assert_eq!(clone["a"], 1);
        assert!(body.is_resting());
        assert_eq!(body, clone);
    }
}
