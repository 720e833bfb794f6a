//! The shapes -> JSON Schema, for editors that complete and lint.
//!
//! Enters: nothing. Leaves: a schema per kind. What no schema can say (waves grow, analyses exist, a plan is known) is
//! left to `tidegate validate`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::shape::{APPLICATION, Kind, QUERY_BYTES_MAX, Rule, Shape, WAVE_PLAN};
use crate::expression::SOURCE_BYTES_MAX;

/// JSON Schema (draft 7, which editors know best) by kind.
#[must_use]
pub fn schemas() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("Application", document("Application", &APPLICATION)),
        ("WavePlan", document("WavePlan", &WAVE_PLAN)),
    ])
}

fn document(kind: &str, shape: &Shape) -> Value {
    let mut schema = mapping(shape);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        schema.insert("title".to_owned(), json!(kind));
    }
    schema
}

fn mapping(shape: &Shape) -> Value {
    let mut properties = Map::new();
    for field in shape.fields {
        let mut schema = value(&field.kind);
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), json!(field.about));
        }
        properties.insert(field.name.to_owned(), schema);
    }
    let required: Vec<_> = shape.fields.iter().filter(|field| field.is_required).map(|field| field.name).collect();
    json!({
        "type": "object",
        "description": shape.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn value(kind: &Kind) -> Value {
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
        Kind::Labels => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Kind::Mapping(shape) => mapping(shape),
        Kind::Plan(shape) => json!({"oneOf": [text(Rule::Label(63)), mapping(shape)]}),
        Kind::List(items, min, max) => {
            json!({"type": "array", "items": value(items), "minItems": min, "maxItems": max})
        }
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
        Rule::Pointer => json!({"type": "string", "pattern": "^/", "maxLength": 1024}),
        Rule::Path => json!({"type": "string", "pattern": "^[^/\\\\]", "minLength": 1, "maxLength": 1024}),
        Rule::Group => json!({"type": "string", "pattern": "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$", "maxLength": 253}),
        Rule::ObjectKind => json!({"type": "string", "pattern": "^[A-Z][A-Za-z0-9]*$", "maxLength": 63}),
        Rule::Expression => json!({"type": "string", "minLength": 1, "maxLength": SOURCE_BYTES_MAX}),
        Rule::Query => json!({"type": "string", "minLength": 1, "maxLength": QUERY_BYTES_MAX}),
    }
}
