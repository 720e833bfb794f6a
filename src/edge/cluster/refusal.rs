//! Translates refusals. Enters: an HTTP status and a `Status` document. Leaves: an [`ApiError`] whose text names reasons
//! and fields. It must never let a rejected value through: API servers quote them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::model::GroupKind;
use crate::world::ApiError;

/// Longest text that a refusal carries: enough for a policy's message, short enough for a condition.
const TEXT_CHARS_MAX: usize = 300;

/// Most fields that are told of; the first ones are what a person fixes first.
const FIELDS_MAX: usize = 10;

/// What a request to a path that is not served is answered with.
const UNSERVED: &str = "the server could not find the requested resource";

/// What a JSON patch that cannot be applied, a failed test included, is answered with.
const REJECTED: &str = "the server rejected our request due to an error in our request";

/// How server-side apply begins to say that an object does not fit its schema. It says so with status 500 and without a
/// reason (seen in Kubernetes 1.36), yet the object is to blame and asking again does not help.
const MISFITS: [&str; 2] = ["failed to create typed patch object", "failed to convert new object"];

/// What may be said of a value without quoting it.
const PHRASES: [&str; 3] =
    ["illegal base64 data", "quantities must match the regular expression", "metadata.managedFields must be nil"];

/// Translates an answer that is no success.
pub(super) fn from_answer(code: u16, retry_after_seconds: Option<u64>, body: &[u8], kind: &GroupKind) -> ApiError {
    let status: Option<Status> = serde_json::from_slice(body).ok();
    let is_status = status.is_some();
    let status = status.unwrap_or_default();
    if code == 404 && !is_status {
        return ApiError::UnknownKind(kind.to_string());
    }
    translate(code, retry_after_seconds, &status, kind)
}

/// Translates the `Status` of an ERROR event.
pub(super) fn from_event(status: serde_json::Value, kind: &GroupKind) -> ApiError {
    let status: Status = serde_json::from_value(status).unwrap_or_default();
    translate(status.code.unwrap_or(500), None, &status, kind)
}

/// The first line of a text, without control characters, at most [`TEXT_CHARS_MAX`] long.
pub(super) fn cut(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut chars = line.chars().map(|char| if char.is_control() { ' ' } else { char });
    let mut short: String = chars.by_ref().take(TEXT_CHARS_MAX).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

fn translate(code: u16, retry_after_seconds: Option<u64>, status: &Status, kind: &GroupKind) -> ApiError {
    let reason = status.reason.as_deref().unwrap_or_default();
    let message = status.message.as_deref().unwrap_or_default();
    let retry_after_seconds =
        retry_after_seconds.or(status.details().retry_after_seconds).filter(|seconds| *seconds > 0);
    match (code, reason) {
        (410, _) | (_, "Expired" | "Gone") => ApiError::Gone,
        (404, _) if message.starts_with(UNSERVED) => ApiError::UnknownKind(kind.to_string()),
        (404, _) => ApiError::NotFound,
        (409, "AlreadyExists") => ApiError::AlreadyExists,
        (409, _) => owned(status).map_or(ApiError::Conflict, ApiError::Owned),
        (422, _) if message == REJECTED && status.details().causes().is_empty() => ApiError::Conflict,
        (401 | 403, _) => ApiError::Forbidden(forbidden(code, status, kind)),
        (429, _) => ApiError::Busy { retry_after_seconds: retry_after_seconds.unwrap_or(1) },
        (504, _) => ApiError::TimedOut,
        (500, "") if MISFITS.iter().any(|misfit| message.starts_with(misfit)) => {
            ApiError::Invalid(invalid(code, status, kind))
        }
        (500.., _) => match retry_after_seconds {
            Some(retry_after_seconds) => ApiError::Busy { retry_after_seconds },
            None => ApiError::Server(failure(code, status, kind)),
        },
        (405, _) => ApiError::Invalid("the kind does not allow this verb".to_owned()),
        (422, _) if is_immutable(status) => ApiError::Immutable(invalid(code, status, kind)),
        (400..500, _) => ApiError::Invalid(invalid(code, status, kind)),
        (code, _) => ApiError::Server(format!("unexpected HTTP status {code}")),
    }
}

/// Who owns which fields, when that is why a server-side apply was refused.
fn owned(status: &Status) -> Option<String> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for cause in status.details().causes() {
        if cause.reason.as_deref() == Some("FieldManagerConflict") {
            // conflict with "kubectl" with subresource "scale" using apps/v1
            let manager = cause.message().split('"').nth(1).unwrap_or("another manager");
            fields.entry(cut(manager)).or_default().push(cut(cause.field()));
        }
    }
    let managers: Vec<String> = fields
        .iter()
        .map(|(manager, fields)| {
            let more = if fields.len() > FIELDS_MAX { ", …" } else { "" };
            let shown: Vec<&str> = fields.iter().take(FIELDS_MAX).map(String::as_str).collect();
            format!("{manager} ({}{more})", shown.join(", "))
        })
        .collect();
    (!managers.is_empty()).then(|| managers.join("; "))
}

fn forbidden(code: u16, status: &Status, kind: &GroupKind) -> String {
    match status.message.as_deref() {
        None | Some("") => format!("HTTP status {code}"),
        // What is told of rights and quota quotes no content, what a webhook says may.
        Some(message) => denial(message, kind).unwrap_or_else(|| without_values(message)),
    }
}

/// What an admission webhook or policy said; for a Secret only who said it.
fn denial(message: &str, kind: &GroupKind) -> Option<String> {
    let at = ["admission webhook \"", "ValidatingAdmissionPolicy '"].iter().find_map(|start| message.find(start))?;
    let denial = &message[at..];
    let end = denial.find(" denied ").filter(|_| is_secret(kind));
    Some(match end {
        Some(end) => cut(&format!("{} denied the request", &denial[..end])),
        None if is_secret(kind) => "denied by admission".to_owned(),
        None => without_values(denial),
    })
}

fn failure(code: u16, status: &Status, kind: &GroupKind) -> String {
    match status.message.as_deref() {
        Some(message) if !message.is_empty() && !is_secret(kind) => without_values(message),
        Some(_) | None => format!("HTTP status {code}"),
    }
}

/// Which fields were refused, and why.
fn invalid(code: u16, status: &Status, kind: &GroupKind) -> String {
    let causes: Vec<&Cause> = status.details().causes().iter().filter(|cause| !cause.field().is_empty()).collect();
    if !causes.is_empty() {
        let mut said: Vec<String> = causes.iter().take(FIELDS_MAX).map(|cause| said(cause, kind)).collect();
        if causes.len() > FIELDS_MAX {
            said.push(format!("and {} more", causes.len() - FIELDS_MAX));
        }
        return said.join("; ");
    }
    let message = status.message.as_deref().unwrap_or_default();
    strict(message)
        .or_else(|| misfits(message))
        .or_else(|| wrong_type(message))
        .or_else(|| denial(message, kind))
        .or_else(|| PHRASES.iter().find(|phrase| message.contains(*phrase)).map(|&phrase| phrase.to_owned()))
        .unwrap_or_else(|| match status.reason.as_deref() {
            Some(reason) if !reason.is_empty() => format!("{} (HTTP status {code})", cut(reason)),
            Some(_) | None => format!("HTTP status {code}"),
        })
}

/// How validation says that a field may never change (`apimachinery/pkg/api/validation/objectmeta.go`
/// `FieldImmutableErrorMsg`, `pkg/apis/apps/validation` for StatefulSets, `pkg/apis/core/validation` for claims and Services).
const IMMUTABLE: [&str; 4] =
    ["field is immutable", "is immutable after creation", "updates to statefulset spec", "may not change once set"];

/// Whether every refused field is one that may never change: a new object would be taken.
fn is_immutable(status: &Status) -> bool {
    let causes = status.details().causes();
    !causes.is_empty() && causes.iter().all(|cause| IMMUTABLE.iter().any(|phrase| cause.message().contains(phrase)))
}

/// One refused field. The cause's own text quotes the value, so only what cannot hold one is kept of it.
fn said(cause: &Cause, kind: &GroupKind) -> String {
    let reason = cause.reason.as_deref().unwrap_or_default();
    let words = match reason {
        "FieldValueInvalid" => "invalid value",
        "FieldValueRequired" => "required",
        "FieldValueForbidden" => "forbidden",
        "FieldValueDuplicate" => "duplicate value",
        "FieldValueNotFound" => "names something that does not exist",
        "FieldValueNotSupported" => "unsupported value",
        "FieldValueTooLong" => "too long",
        "FieldValueTooMany" => "too many",
        "FieldValueTypeInvalid" => "wrong type",
        reason => reason,
    };
    let detail = match reason {
        "FieldValueRequired" => cause.message().strip_prefix("Required value: "),
        "FieldValueForbidden" => cause.message().strip_prefix("Forbidden: "),
        "FieldValueNotSupported" => cause.message().rfind("supported values: ").map(|at| &cause.message()[at..]),
        _ => None,
    };
    let field = match cause.field() {
        // A rule over the whole object.
        "<nil>" => "the object".to_owned(),
        field => cut(field),
    };
    match detail {
        Some(detail) if !is_secret(kind) => format!("{field}: {words}: {}", cut(detail)),
        Some(_) | None => format!("{field}: {}", cut(words)),
    }
}

/// Fields that strict decoding refused: `strict decoding error: unknown field "spec.replica"`.
fn strict(message: &str) -> Option<String> {
    let (_, list) = message.split_once("strict decoding error: ")?;
    let mut said = Vec::new();
    for what in ["unknown field", "duplicate field"] {
        for part in list.split(what).skip(1) {
            // The field follows in quotes.
            if let Some(field) = part.strip_prefix(" \"").and_then(|field| field.split('"').next()) {
                said.push(format!("{}: {what}", cut(field)));
            }
        }
    }
    said.truncate(FIELDS_MAX);
    (!said.is_empty()).then(|| said.join("; "))
}

/// Fields that server-side apply cannot fit into the schema, each on its own line or after `Kind=…): `:
/// `.spec.replicas: expected numeric (int or float), got string`. What it got may be the value.
fn misfits(message: &str) -> Option<String> {
    let fields = message.lines().filter_map(|line| {
        let line = line.trim_start();
        let path = if line.starts_with('.') { line } else { line.split_once("): ")?.1 };
        let (field, what) = path.strip_prefix('.')?.split_once(": ")?;
        let what = match what.split_once(", got").map_or(what, |(wanted, _got)| wanted) {
            "field not declared in schema" => "unknown field",
            wanted if wanted.starts_with("expected ") => wanted,
            _ => "does not fit the schema",
        };
        Some(format!("{}: {}", cut(field), cut(what)))
    });
    let said: Vec<String> = fields.take(FIELDS_MAX).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
fn wrong_type(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("into Go struct field ")?;
    let (field, rest) = rest.split_once(" of type ")?;
    let wanted = rest.split_whitespace().next()?;
    Some(format!("{}: wrong type, {} is needed", cut(field), cut(wanted)))
}

/// The text before a quoted value.
fn without_values(text: &str) -> String {
    let end = ["Invalid value:", "Unsupported value:", "Duplicate value:", "Not found:", "Too long:"]
        .iter()
        .filter_map(|mark| text.find(mark).map(|at| at + mark.len() - 1))
        .min();
    cut(end.map_or(text, |end| &text[..end]))
}

fn is_secret(kind: &GroupKind) -> bool {
    kind.is("", "Secret")
}

#[derive(Default, Deserialize)]
struct Status {
    message: Option<String>,
    reason: Option<String>,
    code: Option<u16>,
    details: Option<Details>,
}

impl Status {
    fn details(&self) -> &Details {
        static NONE: Details = Details { causes: None, retry_after_seconds: None };
        self.details.as_ref().unwrap_or(&NONE)
    }
}

#[derive(Deserialize)]
struct Details {
    causes: Option<Vec<Cause>>,
    #[serde(rename = "retryAfterSeconds")]
    retry_after_seconds: Option<u64>,
}

impl Details {
    fn causes(&self) -> &[Cause] {
        self.causes.as_deref().unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Cause {
    reason: Option<String>,
    message: Option<String>,
    field: Option<String>,
}

impl Cause {
    fn message(&self) -> &str {
        self.message.as_deref().unwrap_or_default()
    }

    fn field(&self) -> &str {
        self.field.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(code: u16, body: &Value, kind: &str, expected: &ApiError) {
        let body = if body.is_string() { body.as_str().unwrap().to_owned() } else { body.to_string() };
        assert_eq!(from_answer(code, None, body.as_bytes(), &GroupKind::new("", kind)), *expected, "{body}");
    }

    fn status(reason: &str, message: &str, details: &Value) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
            "reason": reason, "details": details})
    }

    #[test]
    fn each_refusal_is_told_apart() {
        let plain = |reason: &str, message: &str| status(reason, message, &json!({}));
        let modified = "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply";
        let cannot = "configmaps \"x\" is forbidden: User \"u\" cannot get resource \"configmaps\" in API group \"\"";
        let unserved = "the server could not find the requested resource";
        let rejected = "the server rejected our request due to an error in our request";
        let conflict =
            |message: &str, field: &str| json!({"reason": "FieldManagerConflict", "message": message, "field": field});
        let owned = json!({"causes": [
            conflict("conflict with \"kubectl\" using apps/v1", ".spec.replicas"),
            conflict("conflict with \"hpa\" with subresource \"scale\" using apps/v1", ".spec.replicas"),
            conflict("conflict with \"kubectl\" using apps/v1", ".spec.paused"),
        ]});
        let owners = "hpa (.spec.replicas); kubectl (.spec.replicas, .spec.paused)".to_owned();
        let wait = json!({"retryAfterSeconds": 3});
        let cases = [
            (404, plain("NotFound", "configmaps \"x\" not found"), ApiError::NotFound),
            (404, plain("NotFound", unserved), ApiError::UnknownKind("Kind".to_owned())),
            (404, json!("404 page not found\n"), ApiError::UnknownKind("Kind".to_owned())),
            (409, plain("AlreadyExists", "configmaps \"x\" already exists"), ApiError::AlreadyExists),
            (409, plain("Conflict", modified), ApiError::Conflict),
            (409, status("Conflict", "Apply failed with 3 conflicts", &owned), ApiError::Owned(owners)),
            (422, plain("Invalid", rejected), ApiError::Conflict),
            (410, plain("Gone", ""), ApiError::Gone),
            (410, plain("Expired", "The provided continue parameter is too old"), ApiError::Gone),
            (401, plain("Unauthorized", "Unauthorized"), ApiError::Forbidden("Unauthorized".to_owned())),
            (403, plain("Forbidden", cannot), ApiError::Forbidden(cannot.to_owned())),
            (403, json!("<html>"), ApiError::Forbidden("HTTP status 403".to_owned())),
            (429, status("TooManyRequests", "wait", &wait), ApiError::Busy { retry_after_seconds: 3 }),
            (429, json!("busy"), ApiError::Busy { retry_after_seconds: 1 }),
            (500, status("ServerTimeout", "wait", &wait), ApiError::Busy { retry_after_seconds: 3 }),
            (500, plain("InternalError", "etcd is away"), ApiError::Server("etcd is away".to_owned())),
            (504, status("Timeout", "Timeout", &wait), ApiError::TimedOut),
            (302, json!(""), ApiError::Server("unexpected HTTP status 302".to_owned())),
            (413, json!(""), ApiError::Invalid("HTTP status 413".to_owned())),
        ];
        for (code, body, error) in cases {
            check(code, &body, "Kind", &error);
        }
    }

    /// Messages as Kubernetes 1.36 wrote them, but for `hunter2`, which stands where it quotes the object.
    #[test]
    fn an_invalid_object_is_told_by_field_and_never_quoted() {
        let typed = |rest: &str| format!("failed to create typed patch object (/y; apps/v1, Kind=Deployment): {rest}");
        let handled = "Deployment in version \"v1\" cannot be handled as a Deployment: ";
        let causes = json!({"causes": [
            {"reason": "FieldValueInvalid", "message": "Invalid value: \"hunter2\": must be hunter2", "field": "spec.a"},
            {"reason": "FieldValueRequired", "message": "Required value: name or generateName", "field": "metadata.name"},
            {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.b"},
            {"reason": "FieldValueForbidden", "message": "Forbidden: may not change\n  hunter2", "field": "spec.c"},
            {"reason": "FieldValueNotSupported",
                "message": "Unsupported value: \"hunter2\": supported values: \"Always\"", "field": "spec.d"},
            {"reason": "FieldValueDuplicate", "message": "Duplicate value: \"hunter2\"", "field": "spec.e"},
            {"reason": "FieldValueInvalid", "message": "Invalid value: hunter2", "field": "<nil>"},
        ]});
        let told = "spec.a: invalid value; metadata.name: required: name or generateName; spec.b: required; \
            spec.c: forbidden: may not change; spec.d: unsupported value: supported values: \"Always\"; \
            spec.e: duplicate value; the object: invalid value";
        let tersely = "spec.a: invalid value; metadata.name: required; spec.b: required; spec.c: forbidden; \
            spec.d: unsupported value; spec.e: duplicate value; the object: invalid value";
        let denied = "admission webhook \"policy.example\" denied the request: no privileged containers";
        let none = json!({});
        let strict = "strict decoding error: unknown field \"spec.replica\", duplicate field \"spec.a\"";
        let unmarshal = "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32";
        let cases = [
            (422, "Invalid", "x is invalid: hunter2".to_owned(), &causes, "Deployment", told),
            (422, "Invalid", "x is invalid: hunter2".to_owned(), &causes, "Secret", tersely),
            (
                400,
                "BadRequest",
                format!("{handled}{strict}"),
                &none,
                "Deployment",
                "spec.replica: unknown field; spec.a: duplicate field",
            ),
            (
                400,
                "BadRequest",
                format!("{handled}{unmarshal}"),
                &none,
                "Deployment",
                "DeploymentSpec.spec.replicas: wrong type, int32 is needed",
            ),
            (
                400,
                "BadRequest",
                format!("{handled}parsing time \"hunter2\""),
                &none,
                "Deployment",
                "BadRequest (HTTP status 400)",
            ),
            (500, "", typed(".spec.x: field not declared in schema"), &none, "Deployment", "spec.x: unknown field"),
            (
                500,
                "",
                typed("errors:\n  .a: field not declared in schema\n  .b.c: expected string, got hunter2"),
                &none,
                "Deployment",
                "a: unknown field; b.c: expected string",
            ),
            (
                500,
                "",
                typed(".spec.replicas: expected numeric (int or float), got string"),
                &none,
                "Deployment",
                "spec.replicas: expected numeric (int or float)",
            ),
            (
                500,
                "",
                "failed to convert new object (/s; /v1, Kind=Secret) to proper version: unable to convert \
                unstructured object to /v1, Kind=Secret: error decoding from json: illegal base64 data at input byte 3"
                    .to_owned(),
                &none,
                "Secret",
                "illegal base64 data",
            ),
            (400, "", denied.to_owned(), &none, "Deployment", denied),
            (400, "", denied.to_owned(), &none, "Secret", "admission webhook \"policy.example\" denied the request"),
        ];
        for (code, reason, message, details, kind, text) in cases {
            check(code, &status(reason, &message, details), kind, &ApiError::Invalid(text.to_owned()));
        }
    }

    #[test]
    fn what_the_server_says_is_cut_at_the_first_value() {
        let message = "Internal error occurred: x is invalid: data.a: Invalid value: \"hunter2\": must be shorter";
        let text = "Internal error occurred: x is invalid: data.a: Invalid value";
        check(500, &status("InternalError", message, &json!({})), "Kind", &ApiError::Server(text.to_owned()));
        check(
            500,
            &status("InternalError", message, &json!({})),
            "Secret",
            &ApiError::Server("HTTP status 500".to_owned()),
        );
        assert_eq!(cut(&"x".repeat(301)), "x".repeat(300) + "…");
        assert_eq!(cut("a\tb\nc"), "a b");
    }
}
