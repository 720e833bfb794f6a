//! Sets of fields, as server-side apply speaks of them. Enters: paths. Leaves: sets, what two of them have in common,
//! and the `fieldsV1` that a managed-fields entry shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// One step of a field path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A field of a mapping.
    Field(Box<str>),
    /// An item of a list, by its key fields as compact JSON.
    Key(Box<str>),
    /// A value of a set, as compact JSON.
    Value(Box<str>),
}

impl Step {
    /// A field by name.
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self::Field(Box::from(name))
    }

    /// As `fieldsV1` writes it.
    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(key) => format!("k:{key}"),
            Self::Value(value) => format!("v:{value}"),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(Box::from(rest))),
            "k" => Some(Self::Key(Box::from(serde_json::from_str::<Value>(rest).ok()?.to_string()))),
            "v" => Some(Self::Value(Box::from(rest))),
            _ => None,
        }
    }

    /// As a conflict names it: `.spec`, `[name="web"]`, `[="value"]`.
    fn show(&self, text: &mut String) {
        let done = match self {
            Self::Field(name) => write!(text, ".{name}"),
            Self::Value(value) => write!(text, "[={value}]"),
            Self::Key(key) => {
                let keys: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let pairs: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(text, "[{}]", pairs.join(","))
            }
        };
        done.expect("writing to a string does not fail");
    }
}

/// A set of fields: a tree in which any node may be a member, and every leaf is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    nodes: BTreeMap<Step, Node>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    is_member: bool,
    below: FieldSet,
}

impl Node {
    fn is_empty(&self) -> bool {
        !self.is_member && self.below.is_empty()
    }
}

impl FieldSet {
    /// The set of some paths, given as field names between dots.
    #[must_use]
    pub fn of(paths: &[&str]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let steps: Vec<Step> = path.split('.').map(Step::field).collect();
            set.insert(&steps);
        }
        set
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds one path. The object as a whole is no field.
    pub fn insert(&mut self, path: &[Step]) {
        let Some((first, rest)) = path.split_first() else { return };
        let node = self.nodes.entry(first.clone()).or_default();
        if rest.is_empty() {
            node.is_member = true;
        } else {
            node.below.insert(rest);
        }
    }

    /// Whether a step is itself a member.
    #[must_use]
    pub fn has(&self, step: &Step) -> bool {
        self.nodes.get(step).is_some_and(|node| node.is_member)
    }

    /// What is below a step, when anything is.
    #[must_use]
    pub fn below(&self, step: &Step) -> Option<&Self> {
        self.nodes.get(step).map(|node| &node.below).filter(|below| !below.is_empty())
    }

    /// Everything that is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.extend(other);
        all
    }

    fn extend(&mut self, other: &Self) {
        for (step, theirs) in &other.nodes {
            match self.nodes.get_mut(step) {
                None => drop(self.nodes.insert(step.clone(), theirs.clone())),
                Some(ours) => {
                    ours.is_member |= theirs.is_member;
                    ours.below.extend(&theirs.below);
                }
            }
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.keep(|step, ours| {
            let theirs = other.nodes.get(step)?;
            let is_member = ours.is_member && theirs.is_member;
            Some(Node { is_member, below: ours.below.intersection(&theirs.below) })
        })
    }

    /// What is here and not there. A member there does not take what is below it here.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.keep(|step, ours| match other.nodes.get(step) {
            None => Some(ours.clone()),
            Some(theirs) => {
                let is_member = ours.is_member && !theirs.is_member;
                Some(Node { is_member, below: ours.below.difference(&theirs.below) })
            }
        })
    }

    /// What is here and not there; a member there takes all below it.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.keep(|step, ours| match other.nodes.get(step) {
            None => Some(ours.clone()),
            Some(theirs) if theirs.is_member => None,
            Some(theirs) => Some(Node { is_member: ours.is_member, below: ours.below.without(&theirs.below) }),
        })
    }

    /// A set made of these nodes as `change` gives them, empty ones left out.
    fn keep(&self, change: impl Fn(&Step, &Node) -> Option<Node>) -> Self {
        let kept = self.nodes.iter().filter_map(|(step, node)| {
            let node = change(step, node).filter(|node| !node.is_empty())?;
            Some((step.clone(), node))
        });
        Self { nodes: kept.collect() }
    }

    /// The same set with every node that `is_named` made a member; the path so far is told by its last type.
    #[must_use]
    pub fn with_members<T: Clone>(
        &self,
        at: &T,
        is_named: &impl Fn(&T, &Step) -> bool,
        descend: &impl Fn(&T, &Step) -> T,
    ) -> Self {
        let nodes = self.nodes.iter().map(|(step, node)| {
            let is_member = node.is_member || (!node.below.is_empty() && is_named(at, step));
            let below = if node.below.is_empty() {
                Self::default()
            } else {
                node.below.with_members(&descend(at, step), is_named, descend)
            };
            (step.clone(), Node { is_member, below })
        });
        Self { nodes: nodes.collect() }
    }

    /// The paths of all members, as conflicts name them: members before what is below.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect(&mut String::new(), &mut found);
        found
    }

    fn collect(&self, prefix: &mut String, found: &mut Vec<String>) {
        let length = prefix.len();
        for (step, _) in self.nodes.iter().filter(|(_, node)| node.is_member) {
            step.show(prefix);
            found.push(prefix.clone());
            prefix.truncate(length);
        }
        for (step, node) in self.nodes.iter().filter(|(_, node)| !node.below.is_empty()) {
            step.show(prefix);
            node.below.collect(prefix, found);
            prefix.truncate(length);
        }
    }

    /// As `fieldsV1` shows it.
    #[must_use]
    pub fn render(&self) -> Value {
        let fields = self.nodes.iter().map(|(step, node)| {
            let mut below = node.below.render();
            if node.is_member && !node.below.is_empty() {
                below["."] = json!({});
            }
            (step.encode(), below)
        });
        Value::Object(fields.collect())
    }

    /// Reads a `fieldsV1`; `None` when it is none.
    #[must_use]
    pub fn parse(rendered: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (text, below) in rendered.as_object()?.iter().filter(|(text, _)| *text != ".") {
            let fields = below.as_object()?;
            let is_member = fields.is_empty() || fields.contains_key(".");
            set.nodes.insert(Step::decode(text)?, Node { is_member, below: Self::parse(below)? });
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_shown_as_fields_v1_and_read_back() {
        let shown = json!({"f:spec": {"f:replicas": {}, "f:template": {".": {}, "f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}}, "f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}}});
        let set = FieldSet::parse(&shown).unwrap();
        assert_eq!(set.render(), shown);
        let paths = [
            ".metadata.finalizers[=\"a/b\"]",
            ".spec.replicas",
            ".spec.template",
            ".spec.template.containers[name=\"web\"]",
            ".spec.template.containers[name=\"web\"].image",
        ];
        assert_eq!(set.paths(), paths);
    }

    /// What is in both, what only the first has, and what is left when members take all below them.
    fn check(ours: &[&str], theirs: &[&str], both: &[&str], only: &[&str], without: &[&str]) {
        let (a, b) = (FieldSet::of(ours), FieldSet::of(theirs));
        assert_eq!(a.intersection(&b), FieldSet::of(both));
        assert_eq!(a.difference(&b), FieldSet::of(only));
        assert_eq!(a.without(&b), FieldSet::of(without));
        assert_eq!(a.union(&b), b.union(&a));
    }

    #[test]
    fn a_member_and_what_is_below_it_are_two_things() {
        check(&["a", "b.c"], &["a", "b.d"], &["a"], &["b.c"], &["b.c"]);
        check(&["a.b", "a.c"], &["a"], &[], &["a.b", "a.c"], &[]);
        check(&["a"], &["a.b"], &[], &["a"], &["a"]);
    }
}
