//! An object as an API server sends it: read for what names it and for what every event asks, and kept as the text that it
//! came as. A tree of it would take ten times the room and the time, and most of what lists and watches show is not
//! looked at.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::model::{Body, Facts, Object, ObjectKey};
use crate::world::ApiError;

/// What an object is, where it does not say so itself: lists leave it out of their items.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TypeMeta<'a> {
    /// `group/version`, or `version` for the core group.
    pub(super) api_version: &'a str,
    /// Kind, such as `Deployment`.
    pub(super) kind: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<SentMetadata>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SentMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    annotations: Option<SentAnnotations>,
    labels: Option<SentLabels>,
}

#[derive(Deserialize)]
struct SentAnnotations {
    #[serde(rename = "tidegate.dev/owner")]
    owner: Option<Box<str>>,
}

#[derive(Deserialize)]
struct SentLabels {
    #[serde(rename = "tidegate.dev/application")]
    application: Option<Box<str>>,
}

/// Reads the key out of an object that was sent as JSON. Its body rests from the start.
pub(super) fn read(json: &str, of_list: Option<TypeMeta<'_>>) -> Result<Object, ApiError> {
    let is_none = |_source| ApiError::Server("its answer is no Kubernetes object".to_owned());
    let Readable = serde_json::from_str(json).map_err(is_none)?;
    let sent: Sent = serde_json::from_str(json).map_err(is_none)?;
    let of_list = of_list.unwrap_or_default();
    let lead = of_list.lead(sent.api_version.is_none(), sent.kind.is_none());
    let api_version = sent.api_version.as_deref().unwrap_or(of_list.api_version);
    let kind = sent.kind.as_deref().unwrap_or(of_list.kind);
    let SentMetadata { name, namespace, uid, resource_version, annotations, labels } =
        sent.metadata.unwrap_or_default();
    let name = name.unwrap_or_default();
    if api_version.is_empty() || kind.is_empty() || name.is_empty() {
        return Err(ApiError::Server("its answer is no Kubernetes object".to_owned()));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let facts = Facts {
        uid: uid.unwrap_or_default(),
        resource_version: resource_version.unwrap_or_default(),
        owner: annotations.and_then(|annotations| annotations.owner),
        application: labels.and_then(|labels| labels.application),
    };
    let body = match lead.as_str() {
        "" => Body::resting(json, facts),
        lead => Body::resting(&json.replacen('{', lead, 1), facts),
    };
    let key = ObjectKey::local(group, kind, &namespace.unwrap_or_default(), &name);
    Ok(Object { key, version: version.to_owned(), body })
}

impl TypeMeta<'_> {
    /// The beginning of a JSON object that says of it what is missing.
    fn lead(self, api_version: bool, kind: bool) -> String {
        let text = |value: &str| serde_json::Value::from(value);
        let mut said = String::new();
        if api_version {
            said += &format!("\"apiVersion\":{},", text(self.api_version));
        }
        if kind {
            said += &format!("\"kind\":{},", text(self.kind));
        }
        if said.is_empty() { said } else { format!("{{{said}") }
    }
}

/// JSON of which a tree can be made. To be skipped it could nest without end, and hold texts that are none.
struct Readable;

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Readable {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::marks::{ANNOTATION_OWNER, LABEL_APPLICATION};
    use serde_json::json;

    #[test]
    fn what_is_read_of_a_sent_object_is_what_its_tree_says() {
        let tree = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"a": [1, -2.5, null, "\u{1f600}"]},
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "annotations": {ANNOTATION_OWNER: "us", "other": "\n"}, "labels": {LABEL_APPLICATION: "web"}}});
        let object = read(&tree.to_string(), None).expect("well formed");
        assert_eq!(object.key, ObjectKey::local("apps", "Deployment", "shop", "web"));
        assert_eq!((object.version.as_str(), object.uid(), object.resource_version()), ("v1", "u", "7"));
        assert_eq!((object.annotation(ANNOTATION_OWNER), object.label(LABEL_APPLICATION)), (Some("us"), Some("web")));
        assert!(object.body.is_resting());
        assert_eq!(*object.body, tree);
    }

    #[test]
    fn an_item_of_a_list_is_told_what_it_is() {
        let of_list = Some(TypeMeta { api_version: "v1", kind: "Pod" });
        for said in
            [json!({}), json!({"kind": "Pod"}), json!({"apiVersion": "v1"}), json!({"apiVersion": "v1", "kind": "Pod"})]
        {
            let mut sent = said;
            sent["metadata"] = json!({"name": "a"});
            let object = read(&sent.to_string(), of_list).expect("well formed");
            assert_eq!(object.key, ObjectKey::local("", "Pod", "", "a"));
            assert_eq!(*object.body, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}));
        }
    }

    #[test]
    fn what_could_not_be_read_later_is_refused_at_once() {
        let object =
            |field: &str| format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"a"}},"x":{field}}}"#);
        let deep = "[".repeat(200) + &"]".repeat(200);
        for broken in [r#""\ud800""#, "1e999", &deep, "[1,]"] {
            assert!(read(&object(broken), None).is_err(), "{broken}");
            assert!(serde_json::from_str::<serde_json::Value>(&object(broken)).is_err(), "{broken}");
        }
        for none in [
            "[]",
            "7",
            "{}",
            r#"{"apiVersion":"v1","kind":"Pod"}"#,
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":""}}"#,
        ] {
            assert!(read(none, None).is_err(), "{none}");
        }
        assert!(read(&object("[{}]"), None).is_ok());
    }
}
