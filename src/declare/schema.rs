//! The shapes -> JSON Schema, for editors that complete and lint.
//!
//! Enters: nothing. Leaves: a schema per kind. What no schema can say (waves grow, analyses exist, a plan is known) is
//! left to `tidegate validate`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::shape::{APPLICATION, APPLICATION_SPEC, Kind, QUERY_BYTES_MAX, Rule, Shape};
use super::shape_plan::WAVE_PLAN;
use super::shape_set::{APPLICATION_BASE, APPLICATION_SET, APPLICATION_VERSION, POLICY};
use crate::expression::SOURCE_BYTES_MAX;

/// JSON Schema (draft 7, which editors know best) by kind.
#[must_use]
pub fn schemas() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("Application", document("Application", &APPLICATION)),
        ("ApplicationBase", document("ApplicationBase", &APPLICATION_BASE)),
        ("ApplicationSet", document("ApplicationSet", &APPLICATION_SET)),
        ("ApplicationVersion", document("ApplicationVersion", &APPLICATION_VERSION)),
        ("Policy", document("Policy", &POLICY)),
        ("WavePlan", document("WavePlan", &WAVE_PLAN)),
    ])
}

/// How strictly a shape is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// As it is.
    Strict,
    /// Required fields may be missing, lists apart.
    Partial,
    /// The same, and texts hold `${...}`, of which nothing more can be said.
    Template,
}

fn document(kind: &str, shape: &Shape) -> Value {
    let mut schema = mapping(shape, Mode::Strict);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        schema.insert("title".to_owned(), json!(kind));
    }
    schema
}

fn mapping(shape: &Shape, mode: Mode) -> Value {
    let mut properties = Map::new();
    for field in shape.fields {
        let mut schema = value(&field.kind, mode);
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), json!(field.about));
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let mut schema = json!({
        "type": "object",
        "description": shape.about,
        "properties": properties,
        "additionalProperties": false,
    });
    if mode == Mode::Strict {
        schema["required"] = json!(required(shape));
        choose(shape, &mut schema);
    }
    schema
}

/// The one choice that there is: manifests are in one place or in several.
fn choose(shape: &Shape, schema: &mut Value) {
    if std::ptr::eq(shape, &APPLICATION_SPEC) {
        schema["oneOf"] = json!([{"required": ["source"]}, {"required": ["sources"]}]);
    }
}

fn required(shape: &Shape) -> Vec<&'static str> {
    shape.fields.iter().filter(|field| field.is_required).map(|field| field.name).collect()
}

/// What a partial shape lacks of a strict one: the required fields, here and below.
fn demands(shape: &Shape) -> Value {
    let mut properties = Map::new();
    for field in shape.fields {
        if let Kind::Mapping(below) | Kind::Plan(below) = &field.kind {
            let below = demands(below);
            if below != json!({"properties": {}, "required": []}) {
                properties.insert(field.name.to_owned(), below);
            }
        }
    }
    let mut schema = json!({"properties": properties, "required": required(shape)});
    choose(shape, &mut schema);
    schema
}

fn value(kind: &Kind, mode: Mode) -> Value {
    match kind {
        Kind::Text(Rule::Exactly(_)) | Kind::Labels | Kind::Free | Kind::Whole(..) | Kind::Number | Kind::Boolean => {
            plain(kind)
        }
        Kind::Text(_) | Kind::Words(_) | Kind::Duration(_) if mode == Mode::Template => json!({"type": "string"}),
        Kind::Replicas if mode == Mode::Template => json!({"type": ["integer", "string"]}),
        Kind::Text(_) | Kind::Words(_) | Kind::Duration(_) | Kind::Replicas => plain(kind),
        Kind::Mapping(shape) => mapping(shape, mode),
        Kind::Overlay(shape) => {
            let mut schema = mapping(shape, Mode::Partial);
            schema["if"] = json!({"required": ["base"]});
            schema["else"] = demands(shape);
            schema
        }
        Kind::Partial(shape) => {
            let mut schema = mapping(shape, Mode::Partial);
            schema["properties"].as_object_mut().map(|properties| properties.remove("base"));
            schema
        }
        Kind::Template(shape) => mapping(shape, Mode::Template),
        Kind::Plan(shape) if mode == Mode::Template => json!({"oneOf": [{"type": "string"}, mapping(shape, mode)]}),
        Kind::Plan(shape) => json!({"oneOf": [text(Rule::Label(63)), mapping(shape, mode)]}),
        Kind::List(items, min, max) => {
            // What stands in a list is complete: lists are replaced, not merged.
            let mode = if mode == Mode::Partial { Mode::Strict } else { mode };
            json!({"type": "array", "items": value(items, mode), "minItems": min, "maxItems": max})
        }
    }
}

/// A value that holds no other.
fn plain(kind: &Kind) -> Value {
    match kind {
        Kind::Text(rule) => text(*rule),
        Kind::Words(words) => json!({"type": "string", "enum": words}),
        Kind::Whole(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Number => json!({"type": "number"}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Duration(_) => json!({
            "type": "string", "minLength": 1, "pattern": "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
        }),
        Kind::Replicas => json!({"oneOf": [
            {"type": "integer", "minimum": 1, "maximum": u32::MAX},
            {"type": "string", "pattern": "^([1-9][0-9]?|100)%$|^all$"},
        ]}),
        Kind::Free => json!({"type": "object"}),
        Kind::Labels => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Kind::Mapping(shape)
        | Kind::Overlay(shape)
        | Kind::Partial(shape)
        | Kind::Template(shape)
        | Kind::Plan(shape) => mapping(shape, Mode::Strict),
        Kind::List(..) => json!({"type": "array"}),
    }
}

fn text(rule: Rule) -> Value {
    match rule {
        Rule::Exactly(exactly) => json!({"type": "string", "const": exactly}),
        Rule::Label(max) => json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "maxLength": max}),
        Rule::Version | Rule::Manager => json!({"type": "string", "pattern": "^\\S+$", "maxLength": 128}),
        Rule::ImageName => {
            json!({"type": "string", "pattern": "^[\\w.:-]+(/[\\w.:-]*)*(/[\\w.-]+)$|^[\\w.-]+$", "maxLength": 255})
        }
        Rule::Tag => json!({"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$", "maxLength": 128}),
        Rule::Digest => json!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}),
        Rule::ChartRepository => json!({"type": "string", "pattern": "^(https?|oci)://[^@\\s]+$", "maxLength": 1024}),
        Rule::GitRepository => {
            json!({"type": "string", "pattern": "^(https?|ssh)://[^\\s]+$|^[^\\s@:/]+@[^\\s@:/]+:[^\\s]+$", "maxLength": 1024})
        }
        Rule::Revision => json!({"type": "string", "minLength": 1, "maxLength": 253}),
        Rule::ExactVersion => {
            json!({"type": "string", "pattern": "^v?[0-9]+\\.[0-9]+\\.[0-9]+([+-][0-9A-Za-z.+-]+)?$", "maxLength": 128})
        }
        Rule::ValuePath => json!({"type": "string", "pattern": "^[^\\s,={}]+$", "maxLength": 253}),
        Rule::Any(max) => json!({"type": "string", "maxLength": max}),
        Rule::Pointer => json!({"type": "string", "pattern": "^/", "maxLength": 1024}),
        Rule::Path => json!({"type": "string", "pattern": "^[^/\\\\]", "minLength": 1, "maxLength": 1024}),
        Rule::Group => json!({"type": "string", "pattern": "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$", "maxLength": 253}),
        Rule::ObjectKind => json!({"type": "string", "pattern": "^[A-Z][A-Za-z0-9]*$", "maxLength": 63}),
        Rule::ObjectName => {
            json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", "maxLength": 253})
        }
        Rule::Sentence => json!({"type": "string", "minLength": 1, "maxLength": 500}),
        Rule::Expression => json!({"type": "string", "minLength": 1, "maxLength": SOURCE_BYTES_MAX}),
        Rule::Query => json!({"type": "string", "minLength": 1, "maxLength": QUERY_BYTES_MAX}),
    }
}
