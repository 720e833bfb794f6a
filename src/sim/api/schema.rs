//! The shape of the served kinds, read once from `schema.txt`: what is owned as a whole and what field by field, which
//! lists are keyed by what, and what storage leaves out.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value, json};

use super::fields::{FieldSet, Step};

/// The shape of a value.
#[derive(Debug)]
pub(super) enum Type {
    /// A leaf.
    Scalar(Scalar),
    /// Owned as a whole, whatever it holds.
    Atomic,
    /// The same, and there also when empty: part of a custom resource.
    Whole,
    /// A mapping of leaves, each owned by itself.
    Map,
    /// A list of texts, each owned by itself.
    Set,
    /// A list whose items are told apart by key fields, which may have defaults.
    List(Arc<Type>, Vec<(String, Option<String>)>),
    /// A mapping of fields that are told.
    Struct(Struct),
    /// A mapping of fields that are declared, but not told here; its lists are owned as a whole.
    Loose,
}

/// What a leaf may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    /// A text.
    Text,
    /// A whole number.
    Int,
    /// True or false.
    Bool,
    /// Any of them: a quantity, a number or percentage.
    Any,
}

/// A mapping of fields that are told.
#[derive(Debug)]
pub(super) struct Struct {
    fields: BTreeMap<String, Field>,
    /// Fields that are always there, and what they are when nothing is given.
    always: Vec<(String, Value)>,
}

/// One field of a mapping.
#[derive(Debug)]
pub(super) struct Field {
    shape: Arc<Type>,
    presence: Presence,
}

/// When a field is there.
#[derive(Debug)]
enum Presence {
    /// Unless it is null; collections unless they are empty.
    Given,
    /// Unless it is zero.
    NotZero,
    /// Always.
    Always,
}

static LEAF: Type = Type::Scalar(Scalar::Any);
static LOOSE: Type = Type::Loose;

static TYPES: LazyLock<BTreeMap<String, Arc<Type>>> = LazyLock::new(|| {
    let mut types = BTreeMap::new();
    for line in include_str!("schema.txt").lines().filter(|line| !line.starts_with('#')) {
        let (name, fields) = line.split_once(':').expect("each line of schema.txt names a type");
        let shape = Type::Struct(read_struct(fields, &types));
        types.insert(name.to_owned(), Arc::new(shape));
    }
    types
});

/// The shape of a served kind's objects.
#[must_use]
pub(super) fn of(kind: &str) -> &'static Type {
    TYPES.get(kind).expect("schema.txt has every served kind")
}

fn read_struct(fields: &str, types: &BTreeMap<String, Arc<Type>>) -> Struct {
    let mut found = Struct { fields: BTreeMap::new(), always: Vec::new() };
    for text in fields.split_whitespace() {
        let (text, presence, literal) = match (text.split_once('!'), text.strip_suffix('~')) {
            (Some((text, literal)), _) => (text, Presence::Always, Some(literal)),
            (None, Some(text)) => (text, Presence::NotZero, None),
            (None, None) => (text, Presence::Given, None),
        };
        let (name, shape) = text.split_once(':').unwrap_or((text, "text"));
        let shape = read_type(shape, types);
        if let Some(literal) = literal {
            let mut value: Value = serde_json::from_str(literal).expect("a literal of schema.txt is JSON");
            if !value.is_null() {
                shape.store(&mut value).expect("a literal of schema.txt is of its type");
            }
            found.always.push((name.to_owned(), value));
        }
        found.fields.insert(name.to_owned(), Field { shape, presence });
    }
    found
}

fn read_type(text: &str, types: &BTreeMap<String, Arc<Type>>) -> Arc<Type> {
    let simple = match text {
        "text" => Type::Scalar(Scalar::Text),
        "int" => Type::Scalar(Scalar::Int),
        "bool" => Type::Scalar(Scalar::Bool),
        "any" => Type::Scalar(Scalar::Any),
        "atomic" => Type::Atomic,
        "map" => Type::Map,
        "set" => Type::Set,
        "loose" => Type::Loose,
        "whole" => Type::Whole,
        name => match name.strip_prefix("list(").and_then(|rest| rest.strip_suffix(')')) {
            Some(list) => {
                let (item, keys) = list.split_once(',').expect("a list of schema.txt has keys");
                let keys = keys.split(',').map(|key| match key.split_once('=') {
                    Some((key, default)) => (key.to_owned(), Some(default.to_owned())),
                    None => (key.to_owned(), None),
                });
                Type::List(read_type(item, types), keys.collect())
            }
            None => return Arc::clone(types.get(name).expect("schema.txt tells a type before it is used")),
        },
    };
    Arc::new(simple)
}

impl Type {
    /// The shape of a field of this mapping.
    #[must_use]
    pub(super) fn field(&self, name: &str) -> &Self {
        match self {
            Self::Struct(Struct { fields, .. }) => fields.get(name).map_or(&LOOSE, |field| &field.shape),
            Self::Loose => &LOOSE,
            Self::Scalar(_) | Self::Atomic | Self::Whole | Self::Map | Self::Set | Self::List(..) => &LEAF,
        }
    }

    /// The shape of an item of this list.
    #[must_use]
    pub(super) fn item(&self) -> &Self {
        match self {
            Self::List(item, _) => item,
            Self::Scalar(_) | Self::Atomic | Self::Whole | Self::Map | Self::Set | Self::Struct(_) | Self::Loose => {
                &LEAF
            }
        }
    }

    /// Whether a field of this mapping is declared by name, so that owning something below it implies it.
    #[must_use]
    pub(super) fn names(&self, name: &str) -> bool {
        match self {
            Self::Struct(Struct { fields, .. }) => fields.contains_key(name),
            Self::Loose => true,
            Self::Scalar(_) | Self::Atomic | Self::Whole | Self::Map | Self::Set | Self::List(..) => false,
        }
    }

    /// A set in which every declared field that has something below it is a member.
    #[must_use]
    pub(super) fn with_named(&'static self, set: &FieldSet) -> FieldSet {
        let is_named = |at: &&'static Self, step: &Step| match step {
            Step::Field(name) => at.names(name),
            Step::Key(_) | Step::Value(_) => false,
        };
        let descend = |at: &&'static Self, step: &Step| match step {
            Step::Field(name) => at.field(name),
            Step::Key(_) | Step::Value(_) => at.item(),
        };
        set.with_members(&self, &is_named, &descend)
    }

    /// How an item of this list is told from others; `None` when it cannot be.
    #[must_use]
    pub(super) fn step_of(&self, item: &Value) -> Option<Step> {
        match self {
            Self::Set => (!item.is_object() && !item.is_array()).then(|| Step::Value(item.to_string().into())),
            Self::List(_, keys) => {
                let fields = item.as_object()?;
                let mut key = Map::new();
                for (name, default) in keys {
                    match (fields.get(name), default) {
                        (Some(value), _) => drop(key.insert(name.clone(), value.clone())),
                        (None, Some(default)) => drop(key.insert(name.clone(), json!(default))),
                        (None, None) => {}
                    }
                }
                (!key.is_empty()).then(|| Step::Key(Value::Object(key).to_string().into()))
            }
            Self::Scalar(_) | Self::Atomic | Self::Whole | Self::Map | Self::Struct(_) | Self::Loose => None,
        }
    }

    /// What such a value is when nothing is said, as the server's own types have it.
    #[must_use]
    pub(super) fn empty(&self) -> Value {
        let mut value = json!({});
        self.store(&mut value).expect("nothing is wrong with nothing");
        value
    }

    /// Brings a value into the form that is stored: what is empty is left out, what is always there is added, and fields
    /// that are not declared are dropped.
    ///
    /// # Errors
    /// The path of a value of the wrong type, and what is wanted there.
    pub(super) fn store(&self, value: &mut Value) -> Result<(), String> {
        match self {
            Self::Scalar(wanted) => wanted.check(value),
            // What a custom resource's own schema demands is judged later.
            Self::Atomic | Self::Whole => Ok(()),
            Self::Loose => {
                drop_nulls(value);
                Ok(())
            }
            Self::Map => if_is(value.is_object(), "map"),
            Self::Set => if_is(value.is_array(), "list"),
            Self::List(item, _) => {
                let items = value.as_array_mut().ok_or(": wrong type, list is needed")?;
                for (index, each) in items.iter_mut().enumerate() {
                    item.store(each).map_err(|error| format!("[{index}]{error}"))?;
                }
                Ok(())
            }
            Self::Struct(shape) => shape.store(value),
        }
    }

    /// What keeps a configuration from being applied: fields that are not declared, list items that have no key or the
    /// same as others.
    pub(super) fn misfits(&self, value: &Value, at: &str, found: &mut Vec<String>) {
        match (self, value) {
            (Self::List(..) | Self::Set, Value::Array(items)) => {
                let steps: Vec<Option<Step>> = items.iter().map(|item| self.step_of(item)).collect();
                for (index, (each, step)) in items.iter().zip(&steps).enumerate() {
                    if step.is_none() || steps[..index].contains(step) {
                        found.push(format!("{at}: does not fit the schema"));
                    }
                    self.item().misfits(each, &format!("{at}[{index}]"), found);
                }
            }
            (Self::Struct(shape), Value::Object(fields)) => {
                for (name, value) in fields {
                    let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                    match shape.fields.get(name) {
                        Some(field) => field.shape.misfits(value, &path, found),
                        None => found.push(format!("{path}: unknown field")),
                    }
                }
            }
            (Self::Scalar(_) | Self::Struct(_) | Self::List(..) | Self::Set | Self::Map, Value::Null) => {}
            (Self::Scalar(wanted), value) => {
                if let Err(error) = wanted.check(value) {
                    found.push(format!("{at}{error}"));
                }
            }
            (Self::Struct(_) | Self::List(..) | Self::Set | Self::Map, value) if !value.is_object() => {
                found.push(format!("{at}: does not fit the schema"));
            }
            _ => {}
        }
    }
}

impl Struct {
    fn store(&self, value: &mut Value) -> Result<(), String> {
        let fields = value.as_object_mut().ok_or(": wrong type, map is needed")?;
        let mut wrong = None;
        fields.retain(|name, value| {
            let Some(field) = self.fields.get(name) else { return false };
            if !value.is_null()
                && let Err(error) = field.shape.store(value)
            {
                wrong = Some(format!(".{name}{error}"));
            }
            !field.leaves_out(value)
        });
        for (name, default) in &self.always {
            if !fields.contains_key(name) {
                fields.insert(name.clone(), default.clone());
            }
        }
        wrong.map_or(Ok(()), Err)
    }
}

impl Field {
    /// Whether storage leaves such a value out.
    fn leaves_out(&self, value: &Value) -> bool {
        match (&self.presence, &*self.shape) {
            (Presence::NotZero, _) | (_, Type::Map | Type::Set | Type::List(..) | Type::Atomic) => is_zero(value),
            (_, Type::Whole) => false,
            (_, Type::Scalar(_) | Type::Struct(_) | Type::Loose) => value.is_null(),
        }
    }
}

impl Scalar {
    fn check(self, value: &Value) -> Result<(), String> {
        match self {
            Self::Text => if_is(value.is_string(), "string"),
            Self::Int => if_is(value.is_i64() || value.is_u64(), "int32"),
            Self::Bool => if_is(value.is_boolean(), "bool"),
            Self::Any => if_is(!value.is_object() && !value.is_array(), "scalar"),
        }
    }
}

fn if_is(is_so: bool, wanted: &str) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(format!(": wrong type, {wanted} is needed")) }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is_true) => !is_true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_kind_has_a_shape() {
        for (_, _, kind, _, _) in super::super::KINDS {
            assert!(of(kind).names("metadata"), "{kind}");
        }
    }

    #[test]
    fn storage_leaves_out_what_is_empty_and_adds_what_is_always_there() {
        let mut value =
            json!({"metadata": {"name": "a", "labels": {}}, "spec": {"paused": false, "replicas": 0, "x": 1}});
        of("Deployment").store(&mut value).unwrap();
        let template = json!({"metadata": {}, "spec": {"containers": null}});
        let spec = json!({"replicas": 0, "selector": null, "strategy": {}, "template": template});
        assert_eq!(value, json!({"metadata": {"name": "a"}, "spec": spec, "status": {}}));
        let wrong = of("Deployment").store(&mut json!({"spec": {"replicas": "many"}}));
        assert_eq!(wrong, Err(".spec.replicas: wrong type, int32 is needed".to_owned()));
    }
}
