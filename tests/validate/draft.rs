//! JSON Schema, draft 7, as far as our schemas use it: enough to see what an editor would mark. A keyword that is not known
//! here is a panic, so that no schema outgrows the check unseen. (A validator from outside brings 35 crates.)

use regex::Regex;
use serde_json::Value;

/// Words that say something to people alone.
const ANNOTATIONS: [&str; 3] = ["$schema", "title", "description"];

/// What is wrong with a document, each with the JSON pointer of where.
pub(crate) fn violations(schema: &Value, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, document, "", &mut found);
    found
}

fn check(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (keyword, wanted) in schema.as_object().expect("a schema is an object") {
        let holds = match keyword.as_str() {
            "type" => match wanted {
                Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind.as_str().expect("a type"), value)),
                kind => is_of(kind.as_str().expect("a type"), value),
            },
            "const" => value == wanted,
            "enum" => wanted.as_array().expect("a list").contains(value),
            "pattern" => text(value).is_none_or(|text| pattern(wanted).is_match(text)),
            "minLength" => text(value).is_none_or(|text| text.chars().count() as u64 >= number(wanted)),
            "maxLength" => text(value).is_none_or(|text| text.chars().count() as u64 <= number(wanted)),
            "minimum" => value.as_f64().is_none_or(|value| value >= wanted.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|value| value <= wanted.as_f64().expect("a number")),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= number(wanted)),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= number(wanted)),
            "maxProperties" => value.as_object().is_none_or(|fields| fields.len() as u64 <= number(wanted)),
            "minProperties" => value.as_object().is_none_or(|fields| fields.len() as u64 >= number(wanted)),
            "oneOf" => {
                let fits = |schema: &&Value| violations(schema, value).is_empty();
                wanted.as_array().expect("a list").iter().filter(fits).count() == 1
            }
            // `then` and `else` are told of with their `if`.
            "if" => {
                let branch = if violations(wanted, value).is_empty() { "then" } else { "else" };
                if let Some(schema) = schema.get(branch) {
                    check(schema, value, at, found);
                }
                true
            }
            "then" | "else" => true,
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(wanted, item, &format!("{at}/{index}"), found);
                }
                true
            }
            "properties" => {
                for (name, schema) in wanted.as_object().expect("schemas by name") {
                    if let Some(value) = value.get(name) {
                        check(schema, value, &format!("{at}/{name}"), found);
                    }
                }
                true
            }
            "propertyNames" => {
                for name in value.as_object().into_iter().flatten().map(|(name, _)| name) {
                    check(wanted, &Value::from(name.as_str()), &format!("{at}/{name}"), found);
                }
                true
            }
            "required" => {
                let names = wanted.as_array().expect("a list").iter().filter_map(Value::as_str);
                found.extend(
                    names
                        .filter(|name| value.is_object() && value.get(name).is_none())
                        .map(|name| format!("{at}: `{name}` is missing")),
                );
                true
            }
            "additionalProperties" => {
                additional(schema, wanted, value, at, found);
                true
            }
            word if ANNOTATIONS.contains(&word) => true,
            word => panic!("{at}: the keyword `{word}` is not known here"),
        };
        if !holds {
            found.push(format!("{at}: {value} breaks {keyword} {wanted}"));
        }
    }
}

fn additional(schema: &Value, wanted: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        if schema["properties"].get(name).is_some() {
            continue;
        }
        match wanted {
            Value::Bool(false) => found.push(format!("{at}: unknown field `{name}`")),
            wanted => check(wanted, value, &format!("{at}/{name}"), found),
        }
    }
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the type `{other}` is not known here"),
    }
}

fn text(value: &Value) -> Option<&str> {
    value.as_str()
}

fn pattern(wanted: &Value) -> Regex {
    Regex::new(wanted.as_str().expect("a pattern is text")).expect("a pattern without look-around")
}

fn number(wanted: &Value) -> u64 {
    wanted.as_u64().expect("a whole number")
}
