//! The ConfigMap that holds the newest commit that was acted on, and people's word that a rewritten history is meant.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{MANAGED_BY, MANAGED_BY_LABEL, OWNER_LABEL};
use crate::model::{AppName, Digest, Object, ObjectKey, Revision};

/// The ConfigMap's name. Deleting it accepts whatever history Git has.
pub const SOURCE_MAP: &str = "tidegate-source";
/// Annotation on it: `OLD..NEW`, the commit that was acted on last and the one whose history is to be followed from now
/// on. It counts for as long as OLD is what is remembered, so it never accepts a second rewrite.
pub const ACCEPT_ANNOTATION: &str = "tidegate.dev/accept-history";

/// Before an app's name: the key of what it declared when it was vouched for.
const VOUCHED: &str = "vouched.";

/// Where it is.
#[must_use]
pub fn key(namespace: &str) -> ObjectKey {
    ObjectKey::local("", "ConfigMap", namespace, SOURCE_MAP)
}

/// The ConfigMap for a commit.
#[must_use]
pub fn write(namespace: &str, owner: &str, revision: &Revision, vouched: &BTreeMap<AppName, Digest>) -> Value {
    let mut data = json!({"branch": revision.branch, "commit": revision.commit});
    for (app, digest) in vouched {
        data[format!("{VOUCHED}{app}")] = digest.to_string().into();
    }
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": SOURCE_MAP, "namespace": namespace,
            "labels": {MANAGED_BY_LABEL: MANAGED_BY, OWNER_LABEL: owner}},
        "data": data})
}

/// What guarded apps declared when one of those who may change them last signed. What cannot be read is vouched for by
/// nobody.
#[must_use]
pub fn vouched(map: &Object) -> BTreeMap<AppName, Digest> {
    let data = map.at("/data").and_then(Value::as_object).into_iter().flatten();
    data.filter_map(|(key, digest)| Some((AppName::from(key.strip_prefix(VOUCHED)?), Digest::parse(digest.as_str()?)?)))
        .collect()
}

/// The commit that was acted on last.
#[must_use]
pub fn commit(map: &Object) -> Option<&str> {
    map.text("/data/commit")
}

/// What the annotation says when somebody accepts `new` in place of `old`.
#[must_use]
pub fn acceptance(old: &str, new: &str) -> String {
    format!("{old}..{new}")
}

/// The commit whose history somebody accepts in place of the one that is remembered. The annotation may be written by hand:
/// anything but two full commit ids says nothing.
#[must_use]
pub fn accepted(map: &Object) -> Option<&str> {
    let (old, new) = map.annotation(ACCEPT_ANNOTATION)?.split_once("..")?;
    (Some(old) == commit(map) && is_commit(new)).then_some(new)
}

/// Whether this is a full commit id: 40 lower-case hex digits.
#[must_use]
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterName;

    #[test]
    fn an_acceptance_counts_for_the_commit_that_it_replaces_alone() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let accepted_when = |remembered: &str, annotation: &str| {
            let revision = Revision { commit: remembered.to_owned(), ..Revision::default() };
            let vouched =
                BTreeMap::from([(AppName::from("a.b-c"), Digest([7; 32])), (AppName::from("web"), Digest([8; 32]))]);
            let mut body = write("tidegate", "tidegate", &revision, &vouched);
            body["metadata"]["annotations"] = json!({ ACCEPT_ANNOTATION: annotation });
            let map = Object::from_value(&ClusterName::local(), body).expect("well formed");
            assert_eq!((commit(&map), super::vouched(&map)), (Some(remembered), vouched));
            accepted(&map).map(str::to_owned)
        };
        assert_eq!(accepted_when(&a, &acceptance(&a, &b)), Some(b.clone()));
        assert_eq!(accepted_when(&c, &acceptance(&a, &b)), None, "another rewrite needs another word");
        for nonsense in ["", "..", &b, &format!("{a}..main"), &format!("{a}..{}", &b[1..]), &format!("{a}..{b}..{c}")] {
            assert_eq!(accepted_when(&a, nonsense), None, "{nonsense}");
        }
    }
}
