//! Who undoes what we do: fields that are put back again and again, and what admission makes of our applies.

use std::collections::BTreeMap;

use super::App;
use crate::model::{Millis, Notice, NoticeKind, Object, ObjectKey, Timestamp};
use crate::stage::{Staged, differing};

/// A field that had to be put back so often within [`WITHIN`] is left alone for as long (S12: at most six writes an hour).
const CORRECTIONS_MAX: usize = 6;
const WITHIN: Millis = Millis::from_seconds(3600);

/// A field over which somebody fights with us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contended {
    /// Who that is, as far as field ownership tells.
    pub by: String,
    /// Until when we leave it alone.
    pub until: Timestamp,
}

/// Notes that drift was corrected: `pointers` are the fields, `by` who had changed them.
pub(super) fn note(app: &mut App, key: &ObjectKey, pointers: &[String], by: Option<&str>, now: Timestamp) {
    let corrections = app.corrections.entry(key.clone()).or_default();
    for pointer in pointers {
        let times = corrections.entry(pointer.clone()).or_default();
        times.retain(|at| !WITHIN.has_passed(*at, now));
        times.push(now);
        if times.len() >= CORRECTIONS_MAX {
            times.clear();
            let by = by.unwrap_or("another writer").to_owned();
            tracing::warn!(application = %app.name, object = %key, field = %pointer, %by, "contended: the field is left alone for an hour");
            let contended = Contended { by, until: WITHIN.after(now) };
            app.contended.entry(key.clone()).or_default().insert(pointer.clone(), contended);
        }
    }
}

/// The fields that are left alone at present, with who fights for them.
pub(super) fn standing(app: &App, now: Timestamp) -> BTreeMap<ObjectKey, BTreeMap<String, String>> {
    let objects = app.contended.iter().map(|(key, fields)| {
        let standing = fields.iter().filter(|(_, contended)| contended.until > now);
        (key.clone(), standing.map(|(pointer, contended)| (pointer.clone(), contended.by.clone())).collect())
    });
    objects.filter(|(_, fields): &(_, BTreeMap<_, _>)| !fields.is_empty()).collect()
}

/// What admission changed in an apply of ours, told once: the answer shows fields in another way than they were sent.
pub(super) fn mutated(app: &mut App, staged: &Staged, answer: &Object) -> Option<Notice> {
    let mut pointers = differing(&staged.object.body, &answer.body);
    pointers.retain(|pointer| !pointer.starts_with("/metadata/annotations/tidegate.dev"));
    // What a Secret is written as (`stringData`) is not what it is read as.
    if pointers.is_empty() || answer.key.kind.is("", "Secret") {
        app.mutated.remove(&answer.key);
        return None;
    }
    if app.mutated.get(&answer.key) == Some(&pointers) {
        return None;
    }
    let shown: Vec<&str> = pointers.iter().take(5).map(String::as_str).collect();
    let more = if pointers.len() > shown.len() { ", …" } else { "" };
    let message = format!("admission changed {} of {}{more}; that is no drift", answer.key, shown.join(", "));
    app.mutated.insert(answer.key.clone(), pointers);
    Some(Notice { app: app.name.clone(), kind: NoticeKind::Normal, reason: "MutatedByAdmission", message })
}
