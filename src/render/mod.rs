//! Application + the files under its source path -> the objects of a Release.
//!
//! Pure: bytes in, objects out. Plain YAML is read here; Kustomize and Helm run in a process of their own (`edge/renderer`)
//! between [`inputs()`] and [`render`], and what they print is read like a file. What is rendered carries no marks of ours
//! and no hold values, so that a digest over it means what Git means.
//!
//! In reading order: `inputs` (which tool, which files; `kustomization` follows the files that name others), `job` (what a
//! tool is asked), then [`render`].

mod images;
mod inputs;
mod job;
mod kustomization;
mod random;
mod secrets;
pub mod variables;
mod yaml;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::inputs::{Inputs, inputs, refuse_pointers, stranger, values};
pub use self::job::{add, first_difference, job, label, named};
pub use self::random::{Unsettled, settle};
pub use self::secrets::{decrypt, may_be_encrypted};
use crate::model::{Application, ClusterName, CommonMetadata, Object, ObjectKey, SourcePath};
use crate::sops::SopsError;
use crate::world::{Kinds, RenderFault};

/// At most this many objects in one Application: an inventory entry is ~100 B, so 2,000 keep its record below 300 KB.
pub const OBJECTS_MAX: usize = 2000;
/// At most this many bytes of manifests in one Application.
pub const SOURCE_BYTES_MAX: u64 = 16 << 20;

/// Annotation: the object waits for its kind instead of failing the Release.
const SKIP_MISSING_KIND: &str = "tidegate.dev/skip-dry-run-on-missing-kind";

/// Why an Application does not render. Nothing is deleted because of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The path is not in the commit.
    #[error("source path `{0}` does not exist in the repository; correct spec.source.path or add the folder")]
    NoPath(String),
    /// The path holds no object.
    #[error("source path `{0}` holds no Kubernetes object; an empty source never deletes anything")]
    Empty(String),
    /// A symbolic link or submodule is in the way.
    #[error("{0}: symbolic links and submodules are not followed; put the file itself here")]
    NotAFile(String),
    /// A file is kept by Git LFS.
    #[error("{0}: this is a pointer of Git LFS, and what it points to is not fetched; keep the file itself in Git")]
    Pointer(String),
    /// A file is not YAML that can be read.
    #[error("{file}:{line}:{column}: {message}")]
    Yaml {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// A document is not an object.
    #[error("{file}: document {document}: {message}")]
    Object {
        /// The file.
        file: String,
        /// The document in it, from 1.
        document: usize,
        /// What is wrong.
        message: String,
    },
    /// Two documents name the same object.
    #[error("{key} is declared twice: in {first} and in {second}; remove one")]
    Twice {
        /// The object.
        key: String,
        /// A file.
        first: String,
        /// The other file.
        second: String,
    },
    /// The cluster does not serve the kind.
    #[error(
        "{file}: the cluster does not know {kind} in version {version}; install its CustomResourceDefinition or correct apiVersion"
    )]
    UnknownKind {
        /// The file.
        file: String,
        /// The kind.
        kind: String,
        /// The version.
        version: String,
    },
    /// A limit was reached.
    #[error("{0}")]
    TooLarge(String),
    /// The folder asks for two tools.
    #[error("source path `{0}` has a kustomization and a Chart.yaml; say which it is in spec.source.tool")]
    Ambiguous(String),
    /// Kustomize is stated, and there is nothing for it.
    #[error("source path `{0}` has no kustomization.yaml; add one, or correct spec.source")]
    NoKustomization(String),
    /// Helm is stated, and there is no chart.
    #[error("{0} does not exist, so there is no chart; add it, or correct spec.source")]
    NoChart(String),
    /// A file with values is missing.
    #[error(
        "{0}: the file with values does not exist in the repository; add it, or correct spec.source.helm.valuesFiles"
    )]
    NoValues(String),
    /// A kustomization names what it cannot have.
    #[error("{file}: {message}")]
    Kustomization {
        /// The kustomization file.
        file: String,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The tool could not be run, or refused.
    #[error("{label}: {fault}")]
    Tool {
        /// What was run.
        label: String,
        /// Why there is no result.
        fault: RenderFault,
    },
    /// A source in another repository cannot be rendered.
    #[error("{place}: {error}")]
    Elsewhere {
        /// The repository, and what of it is followed.
        place: String,
        /// Why.
        error: Box<RenderError>,
    },
    /// What was fetched of another repository cannot be read.
    #[error("{0}")]
    Unread(String),
    /// A file is encrypted, and stays so.
    #[error("{file}: {error}")]
    Encrypted {
        /// The file.
        file: String,
        /// Why.
        error: SopsError,
    },
    /// The folder of keys is of no use.
    #[error("the folder of --sops-keys: {0}")]
    Keys(String),
    /// A variable cannot be replaced.
    #[error(transparent)]
    Variable(#[from] variables::VariableError),
    /// An object that variables are read from is not there.
    #[error("{kind} {namespace}/{name} of spec.substituteFrom {problem}")]
    NoVariables {
        /// Its kind.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// Each rendering gives something else.
    #[error(
        "{label}: {key} has another `{field}` each time it is rendered, so that each look would be a new Release; give the chart a fixed value for it, or say `random: keep` in spec.source.helm to keep the first one"
    )]
    Random {
        /// What was run.
        label: String,
        /// The object.
        key: String,
        /// The field.
        field: String,
    },
    /// A field is random, and cannot be kept as it was.
    #[error("{label}: {key} has another `{field}` each time it is rendered: {reason}")]
    Unsettled {
        /// What was run.
        label: String,
        /// The object.
        key: String,
        /// The field.
        field: String,
        /// Why it cannot be kept.
        reason: &'static str,
    },
    /// What the first values were is kept in the cluster, and cannot be read just now.
    #[error("{label}: the Release whose random values are to be kept cannot be read: {problem}")]
    NoFirst {
        /// What was run.
        label: String,
        /// Why.
        problem: String,
    },
}

impl RenderError {
    /// The same, said of the place where the source is.
    #[must_use]
    pub fn in_source(self, source: &SourcePath) -> Self {
        match &source.elsewhere {
            Some(elsewhere) => Self::Elsewhere { place: elsewhere.to_string(), error: Box::new(self) },
            None => self,
        }
    }

    /// Whether rendering again may go better although Git stays as it is.
    #[must_use]
    pub const fn may_be_retried(&self) -> bool {
        match self {
            Self::UnknownKind { .. }
            | Self::Encrypted { .. }
            | Self::Keys(_)
            | Self::NoFirst { .. }
            | Self::NoVariables { .. }
            | Self::Unread(_) => true,
            Self::Tool { fault, .. } => matches!(fault, RenderFault::Unavailable(_)),
            Self::Elsewhere { error, .. } => error.may_be_retried(),
            Self::NoPath(_)
            | Self::Empty(_)
            | Self::NotAFile(_)
            | Self::Pointer(_)
            | Self::Yaml { .. }
            | Self::Object { .. }
            | Self::Twice { .. }
            | Self::TooLarge(_)
            | Self::Ambiguous(_)
            | Self::NoKustomization(_)
            | Self::NoChart(_)
            | Self::NoValues(_)
            | Self::Kustomization { .. }
            | Self::Variable(_)
            | Self::Random { .. }
            | Self::Unsettled { .. } => false,
        }
    }
}

/// Renders.
///
/// # Errors
/// The first thing that is wrong, by file and document.
pub fn render(
    application: &Application,
    contents: &BTreeMap<String, Vec<u8>>,
    kinds: &Kinds,
) -> Result<BTreeMap<ObjectKey, Object>, RenderError> {
    render_with_files(application, contents, kinds).map(|(objects, _)| objects)
}

/// The objects of a Release, and the file that declares each.
pub type Rendered = (BTreeMap<ObjectKey, Object>, BTreeMap<ObjectKey, String>);

/// Renders, and says of each object which file declares it.
///
/// # Errors
/// The first thing that is wrong, by file and document.
pub fn render_with_files(
    application: &Application,
    contents: &BTreeMap<String, Vec<u8>>,
    kinds: &Kinds,
) -> Result<Rendered, RenderError> {
    let mut declared: Vec<(String, usize, Value)> = Vec::new();
    for (file, text) in contents {
        for (index, document) in yaml::documents(file, text)?.into_iter().enumerate() {
            flatten(file, index + 1, document, &mut declared);
        }
    }
    let own_kinds = custom_scopes(&declared);
    let mut objects: BTreeMap<ObjectKey, Object> = BTreeMap::new();
    let mut homes: BTreeMap<ObjectKey, String> = BTreeMap::new();
    for (file, document, mut body) in declared {
        if body.get("apiVersion").and_then(Value::as_str).is_some_and(|version| version.starts_with("tidegate.dev/")) {
            continue;
        }
        if application.substitute.is_on() {
            variables::substitute(&mut body, &application.substitute.values)?;
        }
        clean(&mut body);
        name_hook(&mut body);
        images::substitute(&mut body, &application.images);
        add_common(&mut body, &application.common);
        let read = Object::from_value(&ClusterName::local(), body);
        let mut object =
            read.map_err(|error| RenderError::Object { file: file.clone(), document, message: error.to_string() })?;
        let scope = kinds
            .is_namespaced(&object.key.kind, &object.version)
            .or_else(|| own_kinds.get(&object.key.kind.to_string()).copied())
            .or_else(|| may_miss_kind(&object).then_some(true));
        let Some(is_namespaced) = scope else {
            let (kind, version) = (object.key.kind.to_string(), object.version.clone());
            return Err(RenderError::UnknownKind { file, kind, version });
        };
        object = in_scope(object, is_namespaced, &application.namespace);
        if let Some(first) = homes.insert(object.key.clone(), file.clone()) {
            return Err(RenderError::Twice { key: object.key.to_string(), first, second: file });
        }
        objects.insert(object.key.clone(), object);
    }
    if objects.is_empty() {
        let paths: Vec<&str> = application.sources.iter().map(|source| source.path.as_str()).collect();
        return Err(RenderError::Empty(paths.join("`, `")));
    }
    if objects.len() > OBJECTS_MAX {
        let count = objects.len();
        return Err(RenderError::TooLarge(format!(
            "{count} objects in one Application; at most {OBJECTS_MAX} are supported: split it"
        )));
    }
    Ok((objects, homes))
}

/// Takes `List` kinds apart.
fn flatten(file: &str, document: usize, body: Value, into: &mut Vec<(String, usize, Value)>) {
    let is_list = body.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match body {
        Value::Null => {}
        Value::Object(mut map) if is_list && map.get("items").is_some_and(Value::is_array) => {
            if let Some(Value::Array(items)) = map.remove("items") {
                for item in items {
                    flatten(file, document, item, into);
                }
            }
        }
        other => into.push((file.to_owned(), document, other)),
    }
}

/// Scopes of the custom kinds that the Release itself defines.
fn custom_scopes(declared: &[(String, usize, Value)]) -> BTreeMap<String, bool> {
    let definitions = declared.iter().map(|(_, _, body)| body);
    let scopes = definitions
        .filter(|body| body.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition"))
        .filter_map(|body| {
            let text = |pointer| body.pointer(pointer).and_then(Value::as_str);
            let kind = crate::model::GroupKind::new(text("/spec/group")?, text("/spec/names/kind")?);
            Some((kind.to_string(), text("/spec/scope")? == "Namespaced"))
        });
    scopes.collect()
}

/// Whether an object may wait for its kind instead of failing the Release. Until the kind is known it is taken for a
/// namespaced one, as nearly all are.
fn may_miss_kind(object: &Object) -> bool {
    let has_option = |list: &str| list.split(',').any(|option| option.trim() == "SkipDryRunOnMissingResource=true");
    object.annotation(SKIP_MISSING_KIND) == Some("true")
        || object.annotation("argocd.argoproj.io/sync-options").is_some_and(has_option)
}

/// A hook may leave its name open: it has one of its own in each rollout, and until then one that nothing else has.
fn name_hook(body: &mut Value) {
    let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let is_hook = metadata.get("annotations").and_then(Value::as_object).is_some_and(|annotations| {
        crate::model::marks::HOOK_ANNOTATIONS.iter().any(|name| annotations.contains_key(*name))
    });
    if !is_hook || metadata.contains_key("name") {
        return;
    }
    if let Some(Value::String(prefix)) = metadata.remove("generateName") {
        metadata.insert("name".to_owned(), Value::String(format!("{prefix}hook")));
        metadata["annotations"][crate::model::marks::ANNOTATION_GENERATE_NAME] = Value::String(prefix);
    }
}

/// Drops what only the server may write, and folds a Secret's `stringData` into `data` as the server would.
fn clean(body: &mut Value) {
    let is_secret = body.get("kind").and_then(Value::as_str) == Some("Secret")
        && body.get("apiVersion").and_then(Value::as_str) == Some("v1");
    let Some(map) = body.as_object_mut() else { return };
    map.remove("status");
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "creationTimestamp",
            "resourceVersion",
            "uid",
            "generation",
            "managedFields",
            "selfLink",
            "deletionTimestamp",
        ] {
            metadata.remove(field);
        }
    }
    if is_secret && let Some(Value::Object(plain)) = map.remove("stringData") {
        let data = map.entry("data").or_insert_with(|| Value::Object(serde_json::Map::new()));
        for (name, value) in plain {
            if let Some(text) = value.as_str() {
                data[name] = Value::String(base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text));
            }
        }
    }
}

fn in_scope(object: Object, is_namespaced: bool, default: &str) -> Object {
    let Object { mut key, version, body } = object;
    let mut body = serde_json::Value::from(body);
    if is_namespaced && key.namespace.is_empty() {
        key = key.within(default);
        body["metadata"]["namespace"] = Value::String(default.to_owned());
    }
    if !is_namespaced {
        key = key.within("");
        body["metadata"].as_object_mut().map(|metadata| metadata.remove("namespace"));
    }
    Object { key, version, body: body.into() }
}

/// Adds the labels and annotations that every object gets.
fn add_common(body: &mut Value, common: &CommonMetadata) {
    for (field, wanted) in [("labels", &common.labels), ("annotations", &common.annotations)] {
        let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else { continue };
        if wanted.is_empty() {
            continue;
        }
        let own = metadata.entry(field).or_insert(Value::Null);
        if !own.is_object() {
            *own = Value::Object(serde_json::Map::new());
        }
        for (name, value) in wanted {
            // What the manifest says itself is nearer.
            if own.get(name).is_none() {
                own[name] = Value::String(value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        AppName, Deletion, GroupKind, ImageOverride, PausePolicy, RollbackPolicy, SyncPolicy, WavePlan,
    };

    pub(super) fn application() -> Application {
        Application {
            name: AppName::from("web"),
            version: "2.0".to_owned(),
            images: vec![ImageOverride { name: "example/web".to_owned(), tag: "2.0".to_owned(), digest: None }],
            attempt: 0,
            sources: vec![SourcePath { path: "m".to_owned(), ..SourcePath::default() }],
            common: CommonMetadata::default(),
            namespace: "home".to_owned(),
            service_account: None,
            plan: std::sync::Arc::new(WavePlan::all_at_once()),
            sync: SyncPolicy::default(),
            deletion: Deletion::Orphan,
            rollback: RollbackPolicy::Automatic,
            pause: PausePolicy::Agent,
            health: Vec::new(),
            depends_on: Vec::new(),
            substitute: crate::model::Substitute::default(),
            history_max: 10,
            declared_in: "app.yaml".to_owned(),
            spec: Value::Null.into(),
        }
    }

    fn kinds() -> Kinds {
        let kind =
            |group: &str, kind: &str, is_namespaced| ((GroupKind::new(group, kind), "v1".to_owned()), is_namespaced);
        Kinds::from_iter([
            kind("", "ConfigMap", true),
            kind("", "Namespace", false),
            kind("", "Secret", true),
            kind("", "Pod", true),
        ])
    }

    fn run(text: &str) -> Result<Vec<String>, String> {
        let contents = BTreeMap::from([("m/a.yaml".to_owned(), text.as_bytes().to_vec())]);
        let objects = render(&application(), &contents, &kinds()).map_err(|error| error.to_string())?;
        Ok(objects.values().map(|object| object.body.to_string()).collect())
    }

    fn check(text: &str, expected: Result<&[&str], &str>) {
        match (run(text), expected) {
            (Ok(objects), Ok(parts)) => {
                let all = objects.join("\n");
                assert!(parts.iter().all(|part| all.contains(part)), "{all}");
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (seen, expected) => panic!("{seen:?} / {expected:?}"),
        }
    }

    #[test]
    fn objects_get_a_namespace_by_scope_and_images_by_name() {
        let pod =
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: 'example/web:1.0'}]}";
        check(pod, Ok(&["\"namespace\":\"home\"", "example/web:2.0"]));
        let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: home, namespace: x}}";
        check(list, Ok(&["{\"name\":\"home\"}"]));
        check(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: b}",
            Ok(&["\"data\":{\"a\":\"Yg==\"}"]),
        );
    }

    #[test]
    fn a_pointer_of_git_lfs_is_refused_by_its_path() {
        let file = |text: &str| BTreeMap::from([("m/a.yaml".to_owned(), text.as_bytes().to_vec())]);
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
        let refused = refuse_pointers(&file(pointer)).unwrap_err().to_string();
        assert!(refused.starts_with("m/a.yaml: this is a pointer of Git LFS"), "{refused}");
        assert_eq!(refuse_pointers(&file("version: https://git-lfs.github.com/spec/v1\n")), Ok(()));
    }

    #[test]
    fn broken_manifests_are_named() {
        check("# nothing\n---\n", Err("holds no Kubernetes object"));
        check("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nmetadata: {name: b}", Err("m/a.yaml:4:1"));
        check("apiVersion: v1\nkind: ConfigMap\nmetadata: {}", Err("document 1: field `metadata.name`"));
        check("apiVersion: v1\nkind: Gadget\nmetadata: {name: a}", Err("does not know Gadget"));
        let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}";
        check(twice, Err("declared twice"));
        check("a: &x [1]\nb: [*x", Err("m/a.yaml:"));
    }

    #[test]
    fn yaml_is_read_as_kubectl_reads_it() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nmode: 0644\nflag: yes\nbase: &b {x: 1}\nmore: {<<: *b, y: 2}";
        check(text, Ok(&["\"mode\":420", "\"flag\":true", "\"more\":{\"x\":1,\"y\":2}"]));
    }
}
