//! Where things are on the API server. Enters: a kind as discovery knows it, namespace and name. Leaves: a URL path, or
//! the refusal of names that would point elsewhere.

use super::kinds::Known;
use crate::edge::query::encode;
use crate::model::{GroupKind, ObjectKey};
use crate::world::{ApiError, Part, Scope};

/// The path of a collection; of all namespaces when none is given.
pub(super) fn collection(scope: &Scope, known: &Known) -> Result<String, ApiError> {
    match &scope.namespace {
        None => Ok(join(&scope.kind, &scope.version, None, &known.plural)),
        Some(_) if !known.is_namespaced => Err(invalid("metadata.namespace: the kind is cluster-scoped")),
        Some(namespace) => {
            Ok(join(&scope.kind, &scope.version, Some(segment("metadata.namespace", namespace)?), &known.plural))
        }
    }
}

/// The path of the collection that an object of this key is created in.
pub(super) fn home(key: &ObjectKey, version: &str, known: &Known) -> Result<String, ApiError> {
    let namespace = match (known.is_namespaced, key.namespace.as_str()) {
        (false, "") => None,
        (false, _) => return Err(invalid("metadata.namespace: the kind is cluster-scoped")),
        (true, namespace) => Some(segment("metadata.namespace", namespace)?),
    };
    Ok(join(&key.kind, version, namespace, &known.plural))
}

/// The path of one object or of its status.
pub(super) fn object(key: &ObjectKey, version: &str, known: &Known, part: Part) -> Result<String, ApiError> {
    let path = format!("{}/{}", home(key, version, known)?, segment("metadata.name", &key.name)?);
    match part {
        Part::Object => Ok(path),
        Part::Status if known.has_status => Ok(path + "/status"),
        Part::Status => Err(invalid("status: the kind has no status subresource")),
    }
}

/// One name as a path segment. An empty name would address the whole collection, and dots its parent.
fn segment(field: &str, name: &str) -> Result<String, ApiError> {
    match name {
        "" => Err(invalid(&format!("{field}: required"))),
        "." | ".." => Err(invalid(&format!("{field}: not a name"))),
        name => Ok(encode(name)),
    }
}

fn join(kind: &GroupKind, version: &str, namespace: Option<String>, plural: &str) -> String {
    let root = if kind.group.is_empty() {
        format!("/api/{}", encode(version))
    } else {
        format!("/apis/{}/{}", encode(&kind.group), encode(version))
    };
    match namespace {
        None => format!("{root}/{plural}"),
        Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}"),
    }
}

fn invalid(why: &str) -> ApiError {
    ApiError::Invalid(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(plural: &str, is_namespaced: bool) -> Known {
        Known {
            plural: plural.to_owned(),
            is_namespaced,
            has_status: plural == "deployments",
            is_listed: true,
            rank: 0,
        }
    }

    fn check(key: &ObjectKey, known: &Known, part: Part, expected: Result<&str, &str>) {
        let path = object(key, "v1", known, part);
        assert_eq!(
            path.as_deref().map_err(ToString::to_string),
            expected.map_err(|why| format!("refused as invalid: {why}"))
        );
    }

    #[test]
    fn an_object_has_one_path_and_a_bad_name_has_none() {
        let (deployments, maps, nodes) = (known("deployments", true), known("configmaps", true), known("nodes", false));
        let deployment = ObjectKey::local("apps", "Deployment", "shop", "web");
        check(&deployment, &deployments, Part::Object, Ok("/apis/apps/v1/namespaces/shop/deployments/web"));
        check(&deployment, &deployments, Part::Status, Ok("/apis/apps/v1/namespaces/shop/deployments/web/status"));
        check(&ObjectKey::local("", "Node", "", "a:b"), &nodes, Part::Object, Ok("/api/v1/nodes/a%3Ab"));
        let map = |namespace, name| ObjectKey::local("", "ConfigMap", namespace, name);
        check(&map("a", "x/../y?z"), &maps, Part::Object, Ok("/api/v1/namespaces/a/configmaps/x%2F..%2Fy%3Fz"));
        check(&map("a", ""), &maps, Part::Object, Err("metadata.name: required"));
        check(&map("a", ".."), &maps, Part::Object, Err("metadata.name: not a name"));
        check(&map("", "x"), &maps, Part::Object, Err("metadata.namespace: required"));
        check(&map("a", "x"), &maps, Part::Status, Err("status: the kind has no status subresource"));
        check(
            &ObjectKey::local("", "Node", "a", "x"),
            &nodes,
            Part::Object,
            Err("metadata.namespace: the kind is cluster-scoped"),
        );
    }
}
