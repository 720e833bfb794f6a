//! Who undoes what we do: fields that are put back again and again, and what admission makes of our applies.

use std::collections::BTreeMap;

use super::App;
use crate::diff::{Cause, Change};
use crate::model::{Millis, Notice, NoticeKind, Object, ObjectKey, Timestamp, WHOLE_OBJECT};
use crate::stage::{Staged, differing, is_deployment, waits_for_batches};

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

/// Notes that an object was applied because somebody had changed it, or had deleted what we applied before.
pub(super) fn note_change(app: &mut App, change: &Change, now: Timestamp) {
    let key = &change.staged.object.key;
    let whole = [WHOLE_OBJECT.to_owned()];
    let pointers = match change.cause {
        Cause::Drifted if change.drifted.is_empty() => &whole[..],
        Cause::Drifted => &change.drifted,
        Cause::Missing if app.applied.contains_key(key) => &whole,
        Cause::Outdated if app.applied.get(key).is_none_or(|applied| applied.content != change.staged.content) => {
            // The pods have their time from here: that an API server took its own with our write says nothing about them.
            return gain_time(app, key, now);
        }
        Cause::Missing | Cause::Adopted | Cause::Outdated => return,
    };
    note(app, key, pointers, change.by.as_deref(), now);
}

/// What was done to pods takes time that the Target is not to be judged by.
fn gain_time(app: &mut App, key: &ObjectKey, now: Timestamp) {
    if is_deployment(key) || waits_for_batches(key) {
        app.history.attended_since = Some(now);
    }
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
    // What somebody did to pods, and what putting it right does to them, takes time that the Target is not to be judged by.
    // Somebody who does not stop gains none.
    let is_contended = app.contended.get(key).is_some_and(|fields| fields.values().any(|field| field.until > now));
    if !is_contended {
        gain_time(app, key, now);
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

/// When the first of them is no longer left alone.
pub(super) fn ends_at(app: &App, now: Timestamp) -> Option<Timestamp> {
    app.contended
        .values()
        .flat_map(BTreeMap::values)
        .map(|contended| contended.until)
        .filter(|until| *until > now)
        .min()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppName, ClusterName, Declared, Digest};
    use crate::observe::Applied;
    use serde_json::json;

    fn app() -> App {
        App::new(AppName::from("web"), Declared::Broken { last: None, revision: None, reason: String::new() }, "")
    }

    /// A ConfigMap that is applied for some cause.
    fn change(cause: Cause, drifted: &[&str]) -> Change {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"}});
        let object = Object::from_value(&ClusterName::local(), body).expect("well formed");
        let staged = Staged {
            whole: object.clone(),
            unmarked: object.body.clone(),
            object,
            ignored: Vec::new(),
            tolerated: crate::observe::ownership::Tolerated::default(),
            content: Digest([1; 32]),
        };
        Change { staged, cause, by: None, drifted: drifted.iter().map(|pointer| (*pointer).to_owned()).collect() }
    }

    /// How often a change must be made within an hour until what it corrects is left alone, and what that is.
    fn check(change: &Change, was_applied: bool, expected: Option<(usize, &str)>) {
        let mut app = app();
        if was_applied {
            let applied =
                Applied { content: Digest([1; 32]), resource_version: "5".to_owned(), projection: Digest([2; 32]) };
            app.applied.insert(change.staged.object.key.clone(), applied);
        }
        let now = Timestamp::from_second(1000).expect("in range");
        let times = (1..=20).find(|_| {
            note_change(&mut app, change, now);
            !standing(&app, now).is_empty()
        });
        let what = standing(&app, now).into_values().flat_map(BTreeMap::into_keys).next();
        assert_eq!(times.map(|times| (times, what.expect("something is"))), expected.map(|(n, at)| (n, at.to_owned())));
        let is_over = times.is_none_or(|_| standing(&app, WITHIN.after(now)).is_empty());
        assert!(is_over, "it is left alone for an hour only");
    }

    #[test]
    fn what_is_put_back_six_times_within_an_hour_is_left_alone() {
        check(&change(Cause::Drifted, &["/data/a"]), true, Some((6, "/data/a")));
        check(&change(Cause::Drifted, &[]), true, Some((6, WHOLE_OBJECT)));
        check(&change(Cause::Missing, &[]), true, Some((6, WHOLE_OBJECT)));
    }

    #[test]
    fn time_that_corrections_of_pods_take_is_not_the_targets_until_somebody_does_not_stop() {
        let moment = |second: i64| Timestamp::from_second(1000 + second).expect("in range");
        let image = ["/spec/template/spec/containers/0/image".to_owned()];
        for (group, kind, counts) in
            [("apps", "Deployment", true), ("apps", "StatefulSet", true), ("", "Service", false)]
        {
            let key = ObjectKey::local(group, kind, "shop", "web");
            let mut app = app();
            let since: Vec<_> = (1..9)
                .map(|second| {
                    note(&mut app, &key, &image, None, moment(second));
                    app.history.attended_since
                })
                .collect();
            let last = |second: i64| counts.then(|| moment(second.min(5)));
            assert_eq!(since, (1..9).map(last).collect::<Vec<_>>(), "{key}");
        }
    }

    #[test]
    fn pods_have_their_time_from_the_write_that_moves_them_and_from_no_repetition() {
        let mut app = app();
        let now = Timestamp::from_second(1000).expect("in range");
        let body =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}});
        let mut change = change(Cause::Outdated, &[]);
        note_change(&mut app, &change, now);
        assert_eq!(app.history.attended_since, None, "a ConfigMap has no pods");
        change.staged.object = Object::from_value(&ClusterName::local(), body).expect("well formed");
        let mut since = |content: Digest, now: Timestamp| {
            change.staged.content = content;
            note_change(&mut app, &change, now);
            let applied = Applied { content, resource_version: "5".to_owned(), projection: Digest([2; 32]) };
            app.applied.insert(change.staged.object.key.clone(), applied);
            app.history.attended_since
        };
        let later = Timestamp::from_second(2000).expect("in range");
        assert_eq!(since(Digest([1; 32]), now), Some(now));
        assert_eq!(since(Digest([1; 32]), later), Some(now), "what does not stay as applied gains no time");
        assert_eq!(since(Digest([2; 32]), later), Some(later));
    }

    #[test]
    fn what_nobody_took_away_is_no_correction() {
        check(&change(Cause::Missing, &[]), false, None);
        check(&change(Cause::Outdated, &[]), true, None);
        check(&change(Cause::Adopted, &[]), false, None);
    }
}
