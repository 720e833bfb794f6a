//! Reading `status`: conditions, counts and generations.

use serde_json::Value;

use crate::model::{Health, HealthStatus, Object};

/// A condition of an object's status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition<'a>(&'a Value);

impl<'a> Condition<'a> {
    fn text(self, field: &str) -> &'a str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// Its type.
    pub(super) fn kind(self) -> &'a str {
        self.text("type")
    }

    /// `True`, `False` or `Unknown`.
    pub(super) fn status(self) -> &'a str {
        self.text("status")
    }

    /// Why, in one word.
    pub(super) fn reason(self) -> &'a str {
        self.text("reason")
    }

    /// Whether it holds.
    pub(super) fn is_true(self) -> bool {
        self.status() == "True"
    }

    /// Whether it is known not to hold.
    pub(super) fn is_false(self) -> bool {
        self.status() == "False"
    }

    /// The generation that it was written for, where it says so.
    pub(super) fn generation(self) -> Option<i64> {
        self.0.get("observedGeneration").and_then(Value::as_i64)
    }

    /// Its message, or its reason, or its type: the first that says anything.
    pub(super) fn message(self) -> String {
        let said = [self.text("message"), self.reason(), self.kind()];
        said.into_iter().find(|said| !said.is_empty()).unwrap_or_default().to_owned()
    }

    /// A health with this condition's message.
    pub(super) fn health(self, status: HealthStatus) -> Health {
        Health::new(status, self.message())
    }
}

/// The conditions in a list of them.
pub(super) fn all(list: Option<&Value>) -> impl Iterator<Item = Condition<'_>> {
    list.and_then(Value::as_array).into_iter().flatten().map(Condition)
}

/// The conditions of an object.
pub(super) fn conditions(object: &Object) -> impl Iterator<Item = Condition<'_>> {
    all(object.at("/status/conditions"))
}

/// The condition of a type.
pub(super) fn condition<'a>(object: &'a Object, kind: &str) -> Option<Condition<'a>> {
    conditions(object).find(|condition| condition.kind() == kind)
}

/// The condition of a type, when it holds.
pub(super) fn holds<'a>(object: &'a Object, kind: &str) -> Option<Condition<'a>> {
    condition(object, kind).filter(|condition| condition.is_true())
}

/// A count of the status; none is zero, because zeros are left out of it.
pub(super) fn count(object: &Object, pointer: &str) -> i64 {
    object.int(pointer).unwrap_or(0)
}

/// `metadata.generation`.
pub(super) fn generation(object: &Object) -> i64 {
    count(object, "/metadata/generation")
}

/// Progressing, when the controller has not seen the newest generation. For kinds whose status always says which one it
/// has seen.
pub(super) fn lags(object: &Object) -> Option<Health> {
    (count(object, "/status/observedGeneration") < generation(object)).then(behind)
}

/// Progressing, when `condition`, or else the status, was written for an older generation. For kinds that may not say.
pub(super) fn lags_if_said(object: &Object, condition: Option<Condition<'_>>) -> Option<Health> {
    let seen = condition.and_then(Condition::generation).or_else(|| object.int("/status/observedGeneration"));
    seen.is_some_and(|seen| seen < generation(object)).then(behind)
}

/// The controller has not seen the newest generation.
pub(super) fn behind() -> Health {
    Health::new(HealthStatus::Progressing, "waiting for the controller to see the newest generation")
}
