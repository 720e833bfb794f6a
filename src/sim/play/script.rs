//! An Application and its manifests -> the two commits that are played: one before, with an older version, and the one
//! that is declared. What the simulated API server does not serve is left out, and named.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::declared::plan;
use crate::declare::API_VERSION;
use crate::model::{Application, ClusterName, GroupKind, ImageOverride, Object, ObjectKey};
use crate::render::{RenderError, render};
use crate::sim::api::KINDS;
use crate::world::Kinds;

/// The older version that runs first.
const BEFORE: [&str; 2] = ["previous", "older"];
/// Where the played repository has its declaration.
const DECLARATION: &str = "simulated/application.yaml";
/// Where it has its manifests.
const MANIFESTS: &str = "simulated/manifests";

/// A tree of files.
type Tree = BTreeMap<String, String>;

/// What is played.
#[derive(Clone, Debug)]
pub struct Script {
    /// The Application as declared.
    pub application: Application,
    /// The version that runs first.
    pub version_before: &'static str,
    /// Things worth knowing about what is played.
    pub remarks: Vec<String>,
    /// The images that only the declared version's pods run.
    pub(super) images: BTreeSet<String>,
    /// The images of its pods that only the older version's pods run.
    pub(super) images_before: BTreeSet<String>,
    pub(super) before: Tree,
    pub(super) after: Tree,
    /// Namespaces that must exist.
    pub(super) namespaces: BTreeSet<String>,
    /// Where its pods are.
    pub(super) space: String,
}

impl Script {
    /// Reads an Application with the contents of its manifests, by path.
    ///
    /// # Errors
    /// When they do not render.
    pub fn read(application: &Application, contents: &BTreeMap<String, Vec<u8>>) -> Result<Self, RenderError> {
        let version_before = if application.version == BEFORE[0] { BEFORE[1] } else { BEFORE[0] };
        let older = older(application, version_before);
        let mut kinds = served();
        let after = render_all(application, contents, &mut kinds)?;
        let mut before = render_all(&older, contents, &mut kinds)?;
        let mut remarks = Vec::new();
        let left_out = without_unserved(&after, &mut remarks);
        before.retain(|key, _| !left_out.contains(key));
        let after: Objects = after.into_iter().filter(|(key, _)| !left_out.contains(key)).collect();
        if images(&after) == images(&before) && !images(&after).is_empty() {
            before = before.into_iter().map(|(key, object)| (key, tagged(&object, version_before))).collect();
            remarks.push(format!(
                "the version changes no image of the manifests, so every image of the older version is tagged `{version_before}`"
            ));
        }
        if !application.sync.is_automated {
            remarks.push("`sync.automated` is off; here the commit is applied unasked".to_owned());
        }
        let (now, then) = (images(&after), images(&before));
        let namespaces = after.keys().map(|key| key.namespace.clone()).filter(|name| !name.is_empty());
        let is_declared = |name: &String| after.keys().any(|key| key.kind.is("", "Namespace") && key.name == *name);
        Ok(Self {
            version_before,
            remarks,
            images: now.difference(&then).cloned().collect(),
            images_before: then.difference(&now).cloned().collect(),
            before: tree(application, version_before, &before),
            after: tree(application, &application.version, &after),
            namespaces: namespaces.chain([application.namespace.clone()]).filter(|name| !is_declared(name)).collect(),
            space: space(application, &after),
            application: application.clone(),
        })
    }

    /// Whether it has pods that the version changes.
    #[must_use]
    pub fn has_pods(&self) -> bool {
        !self.images.is_empty()
    }
}

/// Objects by key.
type Objects = BTreeMap<ObjectKey, Object>;

/// The Application at its older version.
fn older(application: &Application, version: &str) -> Application {
    let older = |image: &ImageOverride| {
        let follows = image.tag == application.version;
        ImageOverride { tag: if follows { version.to_owned() } else { image.tag.clone() }, ..image.clone() }
    };
    Application {
        version: version.to_owned(),
        images: application.images.iter().map(older).collect(),
        ..application.clone()
    }
}

fn served() -> Kinds {
    let kinds = KINDS.iter().map(|(group, version, kind, is_namespaced, _)| {
        ((GroupKind::new(group, kind), (*version).to_owned()), *is_namespaced)
    });
    kinds.collect()
}

/// Renders; kinds that nobody knows are learned on the way.
fn render_all(
    application: &Application,
    contents: &BTreeMap<String, Vec<u8>>,
    kinds: &mut Kinds,
) -> Result<Objects, RenderError> {
    loop {
        match render(application, contents, kinds) {
            Err(RenderError::UnknownKind { file, kind, version }) => {
                let (name, group) = kind.split_once('.').unwrap_or((kind.as_str(), ""));
                let known = kinds.served.insert((GroupKind::new(group, name), version.clone()), true);
                if known.is_some() {
                    return Err(RenderError::UnknownKind { file, kind, version });
                }
            }
            result => return result,
        }
    }
}

/// The objects that the simulated API server does not serve; they are named in a remark.
fn without_unserved(objects: &Objects, remarks: &mut Vec<String>) -> BTreeSet<ObjectKey> {
    let served = served();
    let is_left_out =
        |(_, object): &(&ObjectKey, &Object)| served.is_namespaced(&object.key.kind, &object.version).is_none();
    let left_out: BTreeSet<ObjectKey> = objects.iter().filter(is_left_out).map(|(key, _)| key.clone()).collect();
    if !left_out.is_empty() {
        let names: Vec<String> = left_out.iter().map(|key| format!("{} {}", key.kind.kind, key.name)).collect();
        remarks.push(format!("left out, since the simulated cluster does not serve the kind: {}", names.join(", ")));
    }
    left_out
}

/// The workload kinds whose pods are counted.
fn is_workload(key: &ObjectKey) -> bool {
    key.kind.is("apps", "Deployment") || key.kind.is("apps", "StatefulSet")
}

/// The images of all pod templates.
fn images(objects: &Objects) -> BTreeSet<String> {
    let workloads = objects.values().filter(|object| is_workload(&object.key));
    let containers = workloads.filter_map(|object| object.body.pointer("/spec/template/spec/containers")?.as_array());
    containers.flatten().filter_map(|container| container["image"].as_str()).map(str::to_owned).collect()
}

/// Where the pods are that are measured.
fn space(application: &Application, objects: &Objects) -> String {
    let mut workloads = objects.keys().filter(|key| is_workload(key));
    workloads.next().map_or(application.namespace.clone(), |key| key.namespace.clone())
}

/// A workload with this tag on every image.
fn tagged(object: &Object, tag: &str) -> Object {
    if !is_workload(&object.key) {
        return object.clone();
    }
    let mut body = (*object.body).clone();
    let containers = body.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        if let Some(image) = container["image"].as_str() {
            let image = image.split_once('@').map_or(image, |(name, _)| name);
            // A colon before the last slash belongs to the registry's port.
            let start = image.rfind('/').map_or(0, |slash| slash + 1);
            let name = image[start..].find(':').map_or(image, |colon| &image[..start + colon]);
            container["image"] = json!(format!("{name}:{tag}"));
        }
    }
    object.with_body(body)
}

/// The repository with the Application at a version and these objects. Images stand in the objects already.
fn tree(application: &Application, version: &str, objects: &Objects) -> Tree {
    let mut spec = (*application.spec).clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("images");
        fields.insert("version".to_owned(), json!(version));
        fields.insert("source".to_owned(), json!({"path": MANIFESTS}));
        fields.insert("plan".to_owned(), plan(&application.plan));
        let sync = fields.entry("sync").or_insert_with(|| json!({}));
        sync["automated"] = json!(true);
    }
    let declaration = json!({
        "apiVersion": API_VERSION,
        "kind": "Application",
        "metadata": {"name": application.name.as_str()},
        "spec": spec,
    });
    debug_assert!(objects.keys().all(|key| key.cluster == ClusterName::local()), "one cluster today");
    // JSON is YAML.
    let manifests = objects
        .values()
        .enumerate()
        .map(|(number, object)| (format!("{MANIFESTS}/{number:04}.json"), object.body.to_string()));
    manifests.chain([(DECLARATION.to_owned(), declaration.to_string())]).collect()
}
