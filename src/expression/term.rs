//! What expressions compute with: values of an object, borrowed, and those that were made along the way.

use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Value;

use super::Fault;

/// A value within an evaluation. Cloning one never copies its contents.
#[derive(Clone, Debug)]
pub(super) enum Term<'a> {
    Null,
    Boolean(bool),
    Whole(i64),
    Number(f64),
    /// Text of the expression or of an object.
    Text(&'a str),
    /// Text that was made.
    Made(Rc<str>),
    /// A list or a map of an object.
    Json(&'a Value),
    /// A list that was made.
    List(Rc<Vec<Term<'a>>>),
    /// A map that was made: the keys are text.
    Map(Rc<Vec<(Term<'a>, Term<'a>)>>),
}

impl<'a> Term<'a> {
    /// A value of an object. Whole numbers that no `i64` holds become numbers.
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(boolean) => Self::Boolean(*boolean),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Self::Whole(whole),
                None => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(text),
            Value::Array(_) | Value::Object(_) => Self::Json(value),
        }
    }

    /// Text that was made.
    pub(super) fn made(text: String) -> Self {
        Self::Made(Rc::from(text))
    }

    /// A length.
    pub(super) fn count(count: usize) -> Self {
        Self::Whole(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// What an operation answers that does not take these values.
    pub(super) fn refused(operation: &'static str, operands: &[Term<'_>]) -> Fault {
        let operands: Vec<_> = operands.iter().map(Term::kind).collect();
        Fault::NoSuchOverload { operation, operands: operands.join(" and ") }
    }

    /// What kind of value it is, in words.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Whole(_) => "a whole number",
            Self::Number(_) => "a number",
            Self::Text(_) | Self::Made(_) => "text",
            Self::Json(Value::Array(_)) | Self::List(_) => "a list",
            Self::Json(_) | Self::Map(_) => "a map",
        }
    }

    /// The text, when it is text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Made(text) => Some(text),
            Self::Null
            | Self::Boolean(_)
            | Self::Whole(_)
            | Self::Number(_)
            | Self::Json(_)
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }

    /// How many items or entries it has, when it is a list or a map.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Json(Value::Array(items)) => Some(items.len()),
            Self::Json(Value::Object(fields)) => Some(fields.len()),
            Self::List(items) => Some(items.len()),
            Self::Map(entries) => Some(entries.len()),
            Self::Json(_)
            | Self::Null
            | Self::Boolean(_)
            | Self::Whole(_)
            | Self::Number(_)
            | Self::Text(_)
            | Self::Made(_) => None,
        }
    }

    /// The item of a list.
    pub(super) fn item(&self, index: usize) -> Option<Term<'a>> {
        match self {
            Self::Json(Value::Array(items)) => items.get(index).map(Term::of),
            Self::List(items) => items.get(index).cloned(),
            Self::Json(_)
            | Self::Null
            | Self::Boolean(_)
            | Self::Whole(_)
            | Self::Number(_)
            | Self::Text(_)
            | Self::Made(_)
            | Self::Map(_) => None,
        }
    }

    /// The value of a map's field.
    pub(super) fn field(&self, name: &str) -> Option<Term<'a>> {
        match self {
            Self::Json(Value::Object(fields)) => fields.get(name).map(Term::of),
            Self::Map(entries) => {
                entries.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value.clone())
            }
            Self::Json(_)
            | Self::Null
            | Self::Boolean(_)
            | Self::Whole(_)
            | Self::Number(_)
            | Self::Text(_)
            | Self::Made(_)
            | Self::List(_) => None,
        }
    }

    /// Whether it is a list.
    pub(super) const fn is_list(&self) -> bool {
        matches!(self, Self::Json(Value::Array(_)) | Self::List(_))
    }

    /// Whether it is a map.
    pub(super) const fn is_map(&self) -> bool {
        matches!(self, Self::Json(Value::Object(_)) | Self::Map(_))
    }

    /// The items of a list, or the keys of a map: what a loop goes over.
    pub(super) fn members(&self) -> Option<Vec<Term<'a>>> {
        match self {
            Self::Json(Value::Array(items)) => Some(items.iter().map(Term::of).collect()),
            Self::Json(Value::Object(fields)) => Some(fields.keys().map(|key| Term::Text(key)).collect()),
            Self::List(items) => Some(items.to_vec()),
            Self::Map(entries) => Some(entries.iter().map(|(key, _)| key.clone()).collect()),
            Self::Json(_)
            | Self::Null
            | Self::Boolean(_)
            | Self::Whole(_)
            | Self::Number(_)
            | Self::Text(_)
            | Self::Made(_) => None,
        }
    }

    /// How two simple values compare, numbers of both kinds with each other; `None` when they do not.
    pub(super) fn compare(&self, other: &Term<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Term::Whole(two)) => Some(one.cmp(two)),
            (Self::Boolean(one), Term::Boolean(two)) => Some(one.cmp(two)),
            (Self::Null, Term::Null) => Some(Ordering::Equal),
            _ => match (self.text(), other.text()) {
                (Some(one), Some(two)) => Some(one.cmp(two)),
                (None, None) => self.number()?.partial_cmp(&other.number()?),
                (Some(_), None) | (None, Some(_)) => None,
            },
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(whole) => Some(*whole as f64),
            Self::Number(number) => Some(*number),
            Self::Null
            | Self::Boolean(_)
            | Self::Text(_)
            | Self::Made(_)
            | Self::Json(_)
            | Self::List(_)
            | Self::Map(_) => None,
        }
    }
}
