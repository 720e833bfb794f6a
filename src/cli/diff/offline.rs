//! Revision against revision, without a cluster. Enters: what two sides declare. Leaves: what separates their objects as
//! they are declared, before any default.
//!
//! Whether an unknown kind lives in a namespace is read from the CustomResourceDefinitions of the two sides; where there
//! is none, that it does is assumed, and said.

use std::collections::{BTreeMap, BTreeSet};

use super::difference::Difference;
use super::side::Side;
use super::{Outcome, Wanted};
use crate::cli::working_tree::Contents;
use crate::model::{Application, Deletion, GroupKind, Object, ObjectKey};
use crate::render::{RenderError, Rendered, render_with_files};
use crate::world::Kinds;

/// Kinds of Kubernetes itself that live in no namespace, as `group/Kind`.
const CLUSTER_SCOPED: [&str; 31] = [
    "/ComponentStatus",
    "/Namespace",
    "/Node",
    "/PersistentVolume",
    "admissionregistration.k8s.io/MutatingAdmissionPolicy",
    "admissionregistration.k8s.io/MutatingAdmissionPolicyBinding",
    "admissionregistration.k8s.io/MutatingWebhookConfiguration",
    "admissionregistration.k8s.io/ValidatingAdmissionPolicy",
    "admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding",
    "admissionregistration.k8s.io/ValidatingWebhookConfiguration",
    "apiextensions.k8s.io/CustomResourceDefinition",
    "apiregistration.k8s.io/APIService",
    "certificates.k8s.io/CertificateSigningRequest",
    "certificates.k8s.io/ClusterTrustBundle",
    "flowcontrol.apiserver.k8s.io/FlowSchema",
    "flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration",
    "gateway.networking.k8s.io/GatewayClass",
    "networking.k8s.io/IPAddress",
    "networking.k8s.io/IngressClass",
    "networking.k8s.io/ServiceCIDR",
    "node.k8s.io/RuntimeClass",
    "rbac.authorization.k8s.io/ClusterRole",
    "rbac.authorization.k8s.io/ClusterRoleBinding",
    "resource.k8s.io/DeviceClass",
    "resource.k8s.io/ResourceSlice",
    "scheduling.k8s.io/PriorityClass",
    "storage.k8s.io/CSIDriver",
    "storage.k8s.io/CSINode",
    "storage.k8s.io/StorageClass",
    "storage.k8s.io/VolumeAttachment",
    "storage.k8s.io/VolumeAttributesClass",
];

/// Groups of Kubernetes itself; the others end in `.k8s.io`.
const GROUPS_WITHOUT_SUFFIX: [&str; 5] = ["", "apps", "autoscaling", "batch", "policy"];

/// What is known of kinds.
#[derive(Default)]
struct Scopes {
    kinds: Kinds,
    defined: BTreeMap<GroupKind, bool>,
    assumed: BTreeSet<GroupKind>,
}

/// Compares.
pub(super) fn compare(before: &Side, after: &Side, wanted: &Wanted<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut scopes = Scopes::default();
    // Twice: a definition may stand in an app that is read after the one that uses it.
    for side in [before, after] {
        for (application, contents) in side.apps.values() {
            if let Ok((objects, _)) = scopes.render(application, contents) {
                scopes.define(&objects);
            }
        }
    }
    scopes = Scopes { defined: scopes.defined, ..Scopes::default() };
    let names: BTreeSet<_> = before.apps.keys().chain(after.apps.keys()).filter(|name| wanted.has(name)).collect();
    for name in names {
        let mut render = |side: &Side| {
            side.apps.get(name).map_or_else(
                || Some(Rendered::default()),
                |(application, contents)| match scopes.render(application, contents) {
                    Ok(rendered) => Some(rendered),
                    Err(error) => {
                        outcome.errors.push(format!("{name} at {}: {error}", side.label));
                        None
                    }
                },
            )
        };
        let (Some((old, old_files)), Some((new, new_files))) = (render(before), render(after)) else { continue };
        outcome.apps += 1;
        if let (Some((application, _)), None) = (before.apps.get(name), after.apps.get(name)) {
            let fate = match application.deletion {
                Deletion::Orphan => "its objects stay in the cluster (deletion: orphan)",
                Deletion::Cascade => "its objects go from the cluster with it (deletion: cascade)",
            };
            outcome.notes.push(format!("{name}: not declared in {}; {fate}", after.label));
        }
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            outcome.objects += 1;
            let file = new_files.get(key).or_else(|| old_files.get(key)).map_or("", String::as_str);
            outcome.differences.extend(Difference::of(name, file, old.get(key), new.get(key)));
        }
    }
    for kind in &scopes.assumed {
        outcome.notes.push(format!("{kind} is taken to live in namespaces: no CustomResourceDefinition says so here"));
    }
    outcome
}

impl Scopes {
    /// Renders, and learns of the kinds that it meets.
    fn render(&mut self, application: &Application, contents: &Contents) -> Result<Rendered, RenderError> {
        loop {
            match render_with_files(application, contents, &self.kinds) {
                Err(RenderError::UnknownKind { kind, version, .. }) => {
                    let (name, group) = kind.split_once('.').unwrap_or((&kind, ""));
                    let kind = GroupKind::new(group, name);
                    let is_namespaced = self.guess(&kind);
                    if self.kinds.served.insert((kind.clone(), version.clone()), is_namespaced).is_some() {
                        return Err(RenderError::UnknownKind { file: String::new(), kind: kind.to_string(), version });
                    }
                }
                result => return result,
            }
        }
    }

    fn guess(&mut self, kind: &GroupKind) -> bool {
        if let Some(is_namespaced) = self.defined.get(kind) {
            return *is_namespaced;
        }
        let name = format!("{}/{}", kind.group, kind.kind);
        if CLUSTER_SCOPED.contains(&name.as_str()) {
            return false;
        }
        if !GROUPS_WITHOUT_SUFFIX.contains(&kind.group.as_str()) && !kind.group.ends_with(".k8s.io") {
            self.assumed.insert(kind.clone());
        }
        true
    }

    fn define(&mut self, objects: &BTreeMap<ObjectKey, Object>) {
        for object in objects.values().filter(|object| object.key.kind.kind == "CustomResourceDefinition") {
            let (group, kind) = (object.text("/spec/group"), object.text("/spec/names/kind"));
            if let (Some(group), Some(kind)) = (group, kind) {
                let is_namespaced = object.text("/spec/scope") == Some("Namespaced");
                self.defined.insert(GroupKind::new(group, kind), is_namespaced);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::difference::Operation;
    use super::super::tests::{committed, repository};
    use super::*;
    use crate::cli::diff::side;
    use crate::cli::rendering::CheckoutArgs;

    const WIDGET: &str = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n";
    const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec: {group: example.com, names: {kind: Widget}, scope: Cluster}
";

    fn compared(first: &[(&str, &str)], second: &[(&str, &str)]) -> Outcome {
        let folder = repository();
        committed(folder.path(), first);
        committed(folder.path(), second);
        let read = |revision: &str| side::revision(folder.path(), None, revision, &CheckoutArgs::default()).unwrap();
        compare(&read("HEAD~1"), &read("HEAD"), &Wanted::default())
    }

    fn operations(outcome: &Outcome) -> Vec<(Operation, String)> {
        outcome.differences.iter().map(|each| (each.operation, each.subject())).collect()
    }

    #[test]
    fn two_revisions_differ_by_what_they_declare() {
        let map =
            |value: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{a: {value}}}\n");
        let space = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, namespace: ignored}\n";
        let outcome =
            compared(&[("m/a.yaml", &map("one")), ("m/b.yaml", space)], &[("m/a.yaml", &map("two")), ("m/b.yaml", "")]);
        assert_eq!(outcome.errors, Vec::<String>::new());
        let expected =
            [(Operation::Changed, "ConfigMap shop/m".to_owned()), (Operation::Removed, "Namespace shop".to_owned())];
        assert_eq!(operations(&outcome), expected);
        assert_eq!(outcome.differences[0].file, "m/a.yaml");
    }

    #[test]
    fn a_kind_is_scoped_as_its_definition_says_or_said_to_be_assumed() {
        let outcome = compared(&[("m/a.yaml", "")], &[("m/a.yaml", WIDGET)]);
        assert_eq!(operations(&outcome), [(Operation::Added, "example.com/Widget shop/w".to_owned())]);
        assert!(
            outcome.notes[0].starts_with("Widget.example.com is taken to live in namespaces"),
            "{:?}",
            outcome.notes
        );

        let other = super::super::tests::APP.replace("name: web", "name: definitions").replace("path: m", "path: d");
        let outcome = compared(
            &[("definitions.yaml", &other), ("d/d.yaml", DEFINITION), ("m/a.yaml", "")],
            &[("m/a.yaml", WIDGET)],
        );
        assert_eq!(operations(&outcome), [(Operation::Added, "example.com/Widget w".to_owned())]);
        assert_eq!(outcome.notes, Vec::<String>::new());
    }

    #[test]
    fn an_app_that_leaves_says_what_becomes_of_its_objects() {
        let outcome = compared(&[], &[("app.yaml", "")]);
        assert_eq!(operations(&outcome), [(Operation::Removed, "ConfigMap shop/base".to_owned())]);
        assert!(outcome.notes[0].contains("its objects stay in the cluster"), "{:?}", outcome.notes);
    }

    #[test]
    fn a_manifest_that_does_not_render_is_an_error_with_its_place() {
        let outcome = compared(&[], &[("m/a.yaml", "a: [\n")]);
        assert_eq!(outcome.differences.len(), 0);
        assert!(outcome.errors[0].contains("m/a.yaml:"), "{:?}", outcome.errors);
    }
}
