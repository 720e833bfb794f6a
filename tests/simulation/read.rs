//! Objects as the checkers read them: raw JSON, by code that the agent does not share.

use serde_json::Value;

/// The value at a path of fields, as a JSON pointer. (`Value::pointer` allocates for every part.)
fn field<'a>(body: &'a Value, pointer: &str) -> Option<&'a Value> {
    pointer.split('/').skip(1).try_fold(body, |value, part| match value.as_array() {
        Some(items) => items.get(part.parse::<usize>().ok()?),
        None => value.get(part),
    })
}

/// The text at a pointer; empty without one.
pub(crate) fn text<'a>(body: &'a Value, pointer: &str) -> &'a str {
    field(body, pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a pointer; 0 without one.
pub(crate) fn number(body: &Value, pointer: &str) -> u32 {
    field(body, pointer).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}

/// The version that a workload's template runs: the tag of its image.
pub(crate) fn version(body: &Value) -> &str {
    let image = text(body, "/spec/template/spec/containers/0/image");
    image.rsplit_once(':').map_or("", |(_, tag)| tag)
}

/// The rollout in an Application's record, when one is under way.
pub(crate) fn rollout(application: &Value) -> Option<&Value> {
    let rollout = field(application, "/record/rollout").filter(|rollout| rollout.is_object())?;
    // A first sync's end is told by status; the record follows with its next write.
    let is_over = text(rollout, "/lane") == "firstSync"
        && !text(application, "/status/stableDigest").is_empty()
        && text(application, "/status/stableDigest") == text(rollout, "/target/digest");
    (!is_over).then_some(rollout)
}

/// Where a rollout is, in one word.
pub(crate) fn position(rollout: &Value) -> &str {
    text(rollout, "/position/at")
}

/// The waves that a rollout goes through.
pub(crate) fn waves(rollout: &Value) -> Vec<&Value> {
    let list = |place: &str| field(rollout, place).and_then(Value::as_array).into_iter().flatten().collect::<Vec<_>>();
    match text(rollout, "/lane") {
        "waves" => list("/plan/waves"),
        "express" => list("/plan/express"),
        _ => list("/plan/waves").pop().into_iter().collect(),
    }
}

/// The pods of a wave of `n`: a number, or a share rounded up.
pub(crate) fn size(wave: &Value, n: u32) -> u32 {
    match &wave["replicas"] {
        Value::String(share) => {
            let percent: u32 = share.trim_end_matches('%').parse().unwrap_or(100);
            (n * percent).div_ceil(100).min(n)
        }
        count => u32::try_from(count.as_u64().unwrap_or(u64::from(n))).unwrap_or(n).min(n),
    }
}
