//! `${NAME}` in the texts of rendered objects -> the values of variables.
//!
//! Enters: an object as JSON, and values by name. Leaves: the object with its texts filled in, or which variable is missing
//! where. Values are put into texts after YAML was read, so that none can become structure; keys are left alone. Values may
//! be secret: no message quotes one.

use std::collections::BTreeMap;

use serde_json::Value;

/// Annotation: `disabled` leaves the object as it is.
pub const SUBSTITUTE_ANNOTATION: &str = "tidegate.dev/substitute";

/// Longest text that an object may come to: many times what an API server takes.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// Why the variables of an object cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {field}: {problem}")]
pub struct VariableError {
    /// Kind, namespace and name of the object, as far as it says so.
    pub object: String,
    /// The field, as a JSON pointer.
    pub field: String,
    /// What is wrong.
    pub problem: VariableProblem,
}

/// What is wrong with a variable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableProblem {
    /// Nobody gives it, and it has no default.
    #[error(
        "no variable is called `{0}`; add it to spec.substitute, write ${{{0}:=default}}, or $${{{0}}} for the text itself"
    )]
    Unknown(String),
    /// `${` without `}`.
    #[error("`${{` is not closed; write $${{ for the text itself")]
    Open,
    /// Something else between the braces than a name, and perhaps a default.
    #[error("`${{` is followed by no name of a variable; write $${{ for the text itself")]
    NoName,
    /// The object becomes too large.
    #[error("with its variables in place the object has more than {TEXT_BYTES_MAX} bytes of text")]
    TooLarge,
}

/// Replaces variables in the texts of an object.
///
/// # Errors
/// At the first variable that cannot be replaced, in the order of the fields' names.
pub fn substitute(object: &mut Value, values: &BTreeMap<String, String>) -> Result<(), VariableError> {
    if object
        .pointer("/metadata/annotations")
        .and_then(|it| it.get(SUBSTITUTE_ANNOTATION))
        .is_some_and(|it| it == "disabled")
    {
        return Ok(());
    }
    let mut bytes = 0;
    replace(object, values, &mut bytes).map_err(|(mut field, problem)| {
        field.reverse();
        let field = field.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect();
        VariableError { object: named(object), field, problem }
    })
}

/// The way to a text, innermost first, and what is wrong there.
type Wrong = (Vec<String>, VariableProblem);

fn replace(value: &mut Value, values: &BTreeMap<String, String>, bytes: &mut usize) -> Result<(), Wrong> {
    let below = |part: String| {
        move |(mut way, problem): Wrong| {
            way.push(part);
            (way, problem)
        }
    };
    match value {
        Value::String(text) if text.contains("${") => {
            *text = filled(text, values).map_err(|problem| (Vec::new(), problem))?;
            *bytes += text.len();
            if *bytes > TEXT_BYTES_MAX { Err((Vec::new(), VariableProblem::TooLarge)) } else { Ok(()) }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        Value::Array(items) => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, item)| replace(item, values, bytes).map_err(below(index.to_string()))),
        Value::Object(fields) => {
            fields.iter_mut().try_for_each(|(name, value)| replace(value, values, bytes).map_err(below(name.clone())))
        }
    }
}

/// A text with its variables in place. What a value holds is not looked at again.
fn filled(text: &str, values: &BTreeMap<String, String>) -> Result<String, VariableProblem> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            filled.push_str(&rest[..at - 1]);
            filled.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(&rest[..at]);
        let (inside, after) = rest[at + 2..].split_once('}').ok_or(VariableProblem::Open)?;
        let (name, default) = match inside.split_once(":=") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) {
            return Err(VariableProblem::NoName);
        }
        let value = values.get(name).map(String::as_str).or(default);
        filled.push_str(value.ok_or_else(|| VariableProblem::Unknown(name.to_owned()))?);
        if filled.len() > TEXT_BYTES_MAX {
            return Err(VariableProblem::TooLarge);
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Whether a variable may be called so.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 256
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn named(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let namespace = text("/metadata/namespace");
    let separator = if namespace.is_empty() { "" } else { "/" };
    format!("{} {namespace}{separator}{}", text("/kind"), text("/metadata/name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> BTreeMap<String, String> {
        [("REGION", "eu"), ("_a1", ""), ("EVIL", "x\nspec: {a: ${REGION}}"), ("NUMBER", "5")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn names_are_replaced_escapes_and_everything_else_stay() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${REGION}", "eu"),
            ("a-${REGION}-${REGION}.b${_a1}", "a-eu-eu.b"),
            ("$REGION $(REGION) $ {REGION} $", "$REGION $(REGION) $ {REGION} $"),
            ("$${REGION}", "${REGION}"),
            ("$$${REGION}", "$${REGION}"),
            ("cost: 5$", "cost: 5$"),
            ("${MISSING:=fallback}", "fallback"),
            ("${MISSING:=}", ""),
            ("${MISSING:=a:=b}", "a:=b"),
            ("${REGION:=us}", "eu"),
            ("${EVIL}", "x\nspec: {a: ${REGION}}"),
            ("${NUMBER}", "5"),
        ] {
            assert_eq!(filled(text, &values()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_names_the_object_the_field_and_no_value() {
        let object = |text: &str| json!({"kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"}, "data": {"a/b": ["x", {"c": text}]}});
        for (text, problem, shown) in [
            (
                "${MISSING}",
                VariableProblem::Unknown("MISSING".to_owned()),
                "no variable is called `MISSING`; add it to spec.substitute, write ${MISSING:=default}, or $${MISSING} for the text itself",
            ),
            ("${REGION", VariableProblem::Open, "`${` is not closed; write $${ for the text itself"),
            (
                "${1A}",
                VariableProblem::NoName,
                "`${` is followed by no name of a variable; write $${ for the text itself",
            ),
            ("${REGION:-us}", VariableProblem::NoName, "`${` is followed by no name"),
            ("${}", VariableProblem::NoName, "`${` is followed by no name"),
        ] {
            let error = substitute(&mut object(text), &values()).expect_err("it cannot be replaced");
            assert_eq!(
                (error.object.as_str(), error.field.as_str()),
                ("ConfigMap shop/web", "/data/a~1b/1/c"),
                "{text}"
            );
            assert_eq!(error.problem, problem);
            let line = error.to_string();
            assert!(line.starts_with("ConfigMap shop/web: /data/a~1b/1/c: ") && line.contains(shown), "{line}");
            assert!(!line.contains("eu"), "{line}");
        }
    }

    #[test]
    fn keys_numbers_and_objects_that_ask_for_it_are_left_alone() {
        let mut object = json!({"kind": "A", "metadata": {"name": "${REGION}"}, "spec": {"${REGION}": 1, "n": 5, "t": true, "z": null}});
        substitute(&mut object, &values()).expect("it can be replaced");
        assert_eq!(object["metadata"]["name"], "eu");
        assert_eq!(object["spec"], json!({"${REGION}": 1, "n": 5, "t": true, "z": null}));
        let left = json!({"kind": "A", "metadata": {"annotations": {SUBSTITUTE_ANNOTATION: "disabled"}}, "spec": "${MISSING}"});
        let mut object = left.clone();
        substitute(&mut object, &values()).expect("it is left alone");
        assert_eq!(object, left);
    }

    #[test]
    fn an_object_cannot_be_blown_up() {
        let large = BTreeMap::from([("L".to_owned(), "x".repeat(1 << 20))]);
        let mut object = json!({"kind": "A", "data": vec!["${L}"; 20]});
        let error = substitute(&mut object, &large).expect_err("it is too large");
        assert_eq!((error.problem, error.field.as_str()), (VariableProblem::TooLarge, "/data/16"));
        let mut object = json!({"kind": "A", "data": "${L}".repeat(20)});
        assert_eq!(substitute(&mut object, &large).expect_err("it is too large").problem, VariableProblem::TooLarge);
    }
}
