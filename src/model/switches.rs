//! Switches of single objects: annotations of ours, and Argo CD's (`argocd.argoproj.io/sync-options`, a comma-separated list
//! such as `Prune=false,Replace=true`; argo-cd `docs/user-guide/sync-options.md`). Ours win where both are given.

use super::Object;

/// `"false"`: never pruned. `"confirm"`: only once a person confirmed.
pub const ANNOTATION_PRUNE: &str = "tidegate.dev/prune";
/// `"false"`: it stays when its Application leaves Git, whatever `deletion` says.
pub const ANNOTATION_DELETE: &str = "tidegate.dev/delete";
/// `"true"`: deleted and made anew when an immutable field changes.
pub const ANNOTATION_REPLACE: &str = "tidegate.dev/replace";
/// Argo CD's list.
const ARGOCD_SYNC_OPTIONS: &str = "argocd.argoproj.io/sync-options";

/// Whether an object that left Git may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prune {
    /// As the app says.
    AsDeclared,
    /// Once a person confirmed.
    Confirmed,
    /// Never.
    Never,
}

/// Whether the object may be pruned.
#[must_use]
pub fn prune(object: &Object) -> Prune {
    match object.annotation(ANNOTATION_PRUNE).or_else(|| option(object, "Prune")) {
        Some("false") => Prune::Never,
        Some("confirm") => Prune::Confirmed,
        Some(_) | None => Prune::AsDeclared,
    }
}

/// Whether the object stays when its Application leaves Git.
#[must_use]
pub fn outlives_its_app(object: &Object) -> bool {
    object.annotation(ANNOTATION_DELETE).or_else(|| option(object, "Delete")) == Some("false")
}

/// Whether the object may be deleted and made anew for the sake of an immutable field.
#[must_use]
pub fn may_be_replaced(object: &Object) -> bool {
    match object.annotation(ANNOTATION_REPLACE) {
        Some(text) => text == "true",
        None => option(object, "Replace") == Some("true") || option(object, "Force") == Some("true"),
    }
}

/// What Argo CD's list says of `name`.
fn option<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    let list = object.annotation(ARGOCD_SYNC_OPTIONS)?;
    list.split(',').find_map(|entry| {
        let (key, value) = entry.split_once('=')?;
        (key.trim() == name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ClusterName;
    use serde_json::json;

    fn check(annotations: &[(&str, &str)], expected: (Prune, bool, bool)) {
        let annotations: serde_json::Map<_, _> =
            annotations.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let body =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "annotations": annotations}});
        let object = Object::from_value(&ClusterName::local(), body).expect("well formed");
        assert_eq!((prune(&object), outlives_its_app(&object), may_be_replaced(&object)), expected, "{object:?}");
    }

    #[test]
    fn ours_and_argo_cds_are_read_alike_and_ours_win() {
        check(&[], (Prune::AsDeclared, false, false));
        check(&[(ANNOTATION_PRUNE, "false"), (ANNOTATION_DELETE, "false")], (Prune::Never, true, false));
        check(&[(ARGOCD_SYNC_OPTIONS, "Prune=false, Replace=true")], (Prune::Never, false, true));
        check(&[(ARGOCD_SYNC_OPTIONS, "Prune=confirm,Delete=false,Force=true")], (Prune::Confirmed, true, true));
        check(&[(ARGOCD_SYNC_OPTIONS, "Prune=false"), (ANNOTATION_PRUNE, "true")], (Prune::AsDeclared, false, false));
        check(&[(ARGOCD_SYNC_OPTIONS, "Replace"), (ANNOTATION_REPLACE, "yes")], (Prune::AsDeclared, false, false));
    }
}
