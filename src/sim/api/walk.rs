//! Typed objects side by side: what differs, what a configuration states, what comes of merging it. Follows the library
//! that the API server uses for this (structured-merge-diff) step by step: its odd corners are what managers see.

use serde_json::{Map, Value};

use super::fields::{FieldSet, Step};
use super::schema::Type;

/// What became of an object's fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Fields that are gone.
    pub removed: FieldSet,
    /// Fields with another value.
    pub modified: FieldSet,
    /// Fields that are new.
    pub added: FieldSet,
}

impl Changes {
    /// The same without some fields and all that is below them.
    #[must_use]
    pub(super) fn without(&self, ignored: &FieldSet) -> Self {
        Self {
            removed: self.removed.without(ignored),
            modified: self.modified.without(ignored),
            added: self.added.without(ignored),
        }
    }
}

/// A path under construction, without allocations as long as nothing is found.
#[derive(Clone, Copy)]
enum At<'a> {
    Root,
    Field(&'a At<'a>, &'a str),
    Item(&'a At<'a>, &'a Step),
}

impl At<'_> {
    fn steps(&self) -> Vec<Step> {
        match self {
            At::Root => Vec::new(),
            At::Field(above, name) => {
                let mut steps = above.steps();
                steps.push(Step::field(name));
                steps
            }
            At::Item(above, step) => {
                let mut steps = above.steps();
                steps.push((*step).clone());
                steps
            }
        }
    }
}

/// How a value is walked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Leaf,
    Fields,
    Items,
}

/// How values of a shape are walked. Where the shape leaves it open the value decides, and null fits anything.
fn form(shape: &Type, value: Option<&Value>) -> Form {
    match shape {
        Type::Scalar(_) | Type::Atomic | Type::Whole => Form::Leaf,
        Type::Map | Type::Struct(_) => Form::Fields,
        Type::Set | Type::List(..) => Form::Items,
        Type::Loose => match value {
            Some(Value::Object(_) | Value::Null) => Form::Fields,
            _ => Form::Leaf,
        },
    }
}

fn fields_of(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn items_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What differs between two objects.
#[must_use]
pub(super) fn compare(shape: &Type, before: &Value, after: &Value) -> Changes {
    let mut changes = Changes::default();
    compare_at(shape, Some(before), Some(after), &At::Root, &mut changes);
    changes
}

fn compare_at(shape: &Type, before: Option<&Value>, after: Option<&Value>, at: &At<'_>, changes: &mut Changes) {
    let (old, new) = (form(shape, before), form(shape, after));
    let is_leaf = if after.is_none() {
        compare_as(old, shape, before, after, at, changes)
    } else {
        if before.is_some() && old != new {
            compare_as(old, shape, before, after, at, changes);
        }
        compare_as(new, shape, before, after, at, changes)
    };
    if !is_leaf && before.is_none() {
        changes.added.insert(&at.steps());
    } else if !is_leaf && after.is_none() {
        changes.removed.insert(&at.steps());
    }
}

/// Compares in one form; gives whether the value was taken as a whole.
fn compare_as(
    form: Form,
    shape: &Type,
    before: Option<&Value>,
    after: Option<&Value>,
    at: &At<'_>,
    changes: &mut Changes,
) -> bool {
    let is_empty = match form {
        Form::Leaf => true,
        Form::Fields => fields_of(before).is_none_or(Map::is_empty) && fields_of(after).is_none_or(Map::is_empty),
        Form::Items => items_of(before).is_empty() && items_of(after).is_empty(),
    };
    if is_empty {
        match (before, after) {
            (None, _) => changes.added.insert(&at.steps()),
            (_, None) => changes.removed.insert(&at.steps()),
            (Some(before), Some(after)) if before != after => changes.modified.insert(&at.steps()),
            (Some(_), Some(_)) => {}
        }
        return true;
    }
    if form == Form::Items {
        compare_items(shape, items_of(before), items_of(after), at, changes);
        return false;
    }
    for (name, value) in fields_of(before).into_iter().flatten() {
        let other = fields_of(after).and_then(|fields| fields.get(name));
        // Most writes leave the spec or the status as a whole as it is. Further down, looking twice would cost more.
        if matches!(at, At::Root) && other == Some(value) {
            continue;
        }
        compare_at(shape.field(name), Some(value), other, &At::Field(at, name), changes);
    }
    for (name, value) in fields_of(after).into_iter().flatten() {
        if fields_of(before).is_none_or(|fields| !fields.contains_key(name)) {
            compare_at(shape.field(name), None, Some(value), &At::Field(at, name), changes);
        }
    }
    false
}

fn compare_items(shape: &Type, before: &[Value], after: &[Value], at: &At<'_>, changes: &mut Changes) {
    let (before, after) = (indexed(shape, before), indexed(shape, after));
    let is_new = |step: &Step| !before.iter().any(|(other, _)| other == step);
    let mut steps: Vec<&Step> = before.iter().map(|(step, _)| step).collect();
    steps.extend(after.iter().map(|(step, _)| step).filter(|step| is_new(step)));
    for (index, step) in steps.iter().enumerate() {
        if steps[..index].contains(step) {
            continue;
        }
        let (old, new) = (all_of(&before, step), all_of(&after, step));
        let here = At::Item(at, step);
        match (old.as_slice(), new.as_slice()) {
            ([] | [_], [] | [_]) => {
                compare_at(shape.item(), old.first().copied(), new.first().copied(), &here, changes);
            }
            // Items that cannot be told apart are one field.
            ([_, _, ..], [_, _, ..]) if old != new => changes.modified.insert(&here.steps()),
            ([_, _, ..], [_, _, ..]) => {}
            ([_, _, ..], new) => {
                if let Some(new) = new.first() {
                    compare_at(shape.item(), None, Some(new), &here, changes);
                }
                changes.removed.insert(&here.steps());
            }
            (old, _) => {
                if let Some(old) = old.first() {
                    compare_at(shape.item(), Some(old), None, &here, changes);
                }
                changes.added.insert(&here.steps());
            }
        }
    }
}

/// The items that a step leads to: more than one where they cannot be told apart.
fn all_of<'a>(items: &[(Step, &'a Value)], step: &Step) -> Vec<&'a Value> {
    items.iter().filter(|(other, _)| other == step).map(|(_, value)| *value).collect()
}

fn indexed<'a>(shape: &Type, items: &'a [Value]) -> Vec<(Step, &'a Value)> {
    items.iter().filter_map(|item| Some((shape.step_of(item)?, item))).collect()
}

/// The fields that a configuration states.
#[must_use]
pub(super) fn stated(shape: &Type, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    stated_at(shape, value, &At::Root, &mut set);
    set
}

fn stated_at(shape: &Type, value: &Value, at: &At<'_>, set: &mut FieldSet) {
    match form(shape, Some(value)) {
        Form::Leaf => set.insert(&at.steps()),
        Form::Fields => {
            for (name, value) in fields_of(Some(value)).into_iter().flatten() {
                let here = At::Field(at, name);
                stated_at(shape.field(name), value, &here, set);
                let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if is_empty || !shape.names(name) {
                    set.insert(&here.steps());
                }
            }
        }
        Form::Items => {
            let items = indexed(shape, items_of(Some(value)));
            for (step, item) in &items {
                let here = At::Item(at, step);
                // Items that cannot be told apart are one field.
                if items.iter().filter(|(other, _)| other == step).count() == 1 {
                    stated_at(shape.item(), item, &here, set);
                }
                set.insert(&here.steps());
            }
        }
    }
}

/// An object with a configuration merged into it: what both state is as the configuration has it.
#[must_use]
pub(super) fn merge(shape: &Type, live: &Value, config: &Value) -> Value {
    merge_at(shape, Some(live), Some(config)).unwrap_or(Value::Null)
}

fn merge_at(shape: &Type, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let form = match config {
        None => form(shape, live),
        Some(_) => form(shape, config),
    };
    let is_whole = match form {
        Form::Leaf => true,
        Form::Fields => fields_of(live).is_none_or(Map::is_empty) && fields_of(config).is_none_or(Map::is_empty),
        Form::Items => items_of(live).is_empty() && items_of(config).is_empty(),
    };
    // What only one of them has is taken as it is: walking it would give the same.
    if is_whole || config.is_none() || live.is_none() {
        return config.or(live).cloned();
    }
    if form == Form::Items {
        let merged = merge_items(shape, items_of(live), items_of(config));
        return (!merged.is_empty()).then_some(Value::Array(merged));
    }
    let mut merged = Map::new();
    let empty = Map::new();
    let (live, config) = (fields_of(live).unwrap_or(&empty), fields_of(config).unwrap_or(&empty));
    for name in live.keys().chain(config.keys().filter(|name| !live.contains_key(*name))) {
        if let Some(value) = merge_at(shape.field(name), live.get(name), config.get(name)) {
            merged.insert(name.clone(), value);
        }
    }
    (!merged.is_empty()).then_some(Value::Object(merged))
}

/// Keeps the order of `live` where `config` does not say otherwise, and else that of `config`.
fn merge_items(shape: &Type, live: &[Value], config: &[Value]) -> Vec<Value> {
    let (live, config) = (indexed(shape, live), indexed(shape, config));
    let find = |items: &[(Step, &Value)], step: &Step| items.iter().position(|(other, _)| other == step);
    let mut shared = config.iter().map(|(step, _)| step).filter(|step| find(&live, step).is_some());
    let mut next_shared = shared.next();
    let mut merged_steps: Vec<&Step> = Vec::new();
    let mut merged = Vec::new();
    let both = |step: &Step| {
        let (live, config) =
            (find(&live, step).map(|index| live[index].1), find(&config, step).map(|index| config[index].1));
        merge_at(shape.item(), live, config)
    };
    let (mut left, mut right) = (0, 0);
    while left < live.len() || right < config.len() {
        if left < live.len() && right < config.len() {
            let step = &live[left].0;
            if *step == config[right].0 {
                merged_steps.push(step);
                merged.extend(both(step));
                left += 1;
                right += 1;
                next_shared = shared.next();
                continue;
            }
            if find(&config, step).is_some() && next_shared.is_some_and(|next| next != step) {
                left += 1;
                continue;
            }
        }
        if left < live.len() {
            let (step, value) = &live[left];
            if find(&config, step).is_none() {
                merged.push((*value).clone());
                left += 1;
                continue;
            } else if merged_steps.contains(&step) {
                left += 1;
            }
        }
        if right < config.len() {
            let step = &config[right].0;
            merged_steps.push(step);
            merged.extend(both(step));
            right += 1;
            if next_shared == Some(step) {
                next_shared = shared.next();
            }
        }
    }
    merged
}

/// An object without some fields.
#[must_use]
pub(super) fn remove(shape: &Type, value: &Value, fields: &FieldSet) -> Value {
    match form(shape, Some(value)) {
        // A list or mapping that is owned as a whole goes as a whole.
        Form::Leaf if value.is_array() || value.is_object() => Value::Null,
        Form::Leaf => value.clone(),
        Form::Items => {
            let kept: Vec<Value> = items_of(Some(value))
                .iter()
                .filter_map(|item| {
                    let Some(step) = shape.step_of(item) else { return Some(item.clone()) };
                    if fields.has(&step) {
                        return None;
                    }
                    Some(match fields.below(&step) {
                        Some(below) => remove(shape.item(), item, below),
                        None => item.clone(),
                    })
                })
                .collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        Form::Fields => {
            let mut kept = Map::new();
            for (name, value) in fields_of(Some(value)).into_iter().flatten() {
                let step = Step::field(name);
                if fields.has(&step) {
                    continue;
                }
                let value = match fields.below(&step) {
                    Some(below) => remove(shape.field(name), value, below),
                    None => value.clone(),
                };
                kept.insert(name.clone(), value);
            }
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
    }
}
