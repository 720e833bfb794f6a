//! What a tool other than this program renders: Kustomize and Helm, and what they are asked.

use std::collections::BTreeMap;

/// How manifests come out of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// They are there, as they are.
    Plain,
    /// `kustomize build`.
    Kustomize,
    /// `helm template`.
    Helm,
}

impl Tool {
    /// Its name, as people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Kustomize => "kustomize",
            Self::Helm => "helm",
        }
    }
}

/// What an Application says of its chart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelmSource {
    /// Name of the Helm release that templates see; the Application's name when there is none.
    pub release_name: Option<String>,
    /// Files with values, from the repository's root, later ones winning.
    pub values_files: Vec<String>,
    /// Values written in place, as JSON; they win over files.
    pub values: Option<String>,
    /// Single values; they win over all others.
    pub parameters: Vec<Parameter>,
    /// A chart that does not lie in the repository.
    pub chart: Option<RemoteChart>,
    /// Whether the definitions in the chart's `crds` folder are left out.
    pub skips_crds: bool,
    /// Whether values that the chart makes up anew each time stay as they were first; refused otherwise.
    pub keeps_random: bool,
}

/// One value by its path, as `helm --set` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Path, such as `image.tag`.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether it is text, whatever it looks like.
    pub is_text: bool,
}

/// A chart in a chart repository or registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteChart {
    /// `https://`, `http://` or `oci://`, without credentials.
    pub repository: String,
    /// Name of the chart.
    pub name: String,
    /// Exact version.
    pub version: String,
    /// `sha256:` and the hash of the packaged chart. Without it nothing is rendered: the error tells it.
    pub digest: Option<String>,
}

/// What a renderer is asked. Everything that the result depends on is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderJob {
    /// The tool.
    pub tool: Tool,
    /// The folder to render, from the root of `files`.
    pub path: String,
    /// All that the tool gets to see, by path from the root.
    pub files: BTreeMap<String, Vec<u8>>,
    /// For Helm.
    pub helm: Option<HelmJob>,
    /// Whether files were decrypted for it: neither they nor the answer may be kept on disk.
    pub is_secret: bool,
}

/// What Helm is asked besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelmJob {
    /// Name of the Helm release that templates see.
    pub release_name: String,
    /// Namespace that templates see.
    pub namespace: String,
    /// What the Application says.
    pub source: HelmSource,
    /// Version of the API server, such as `v1.36.3`, when it is known.
    pub kube_version: Option<String>,
    /// What the API server serves, as `group/version` and `group/version/Kind`.
    pub api_versions: Vec<String>,
}

/// What a renderer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderOutput {
    /// YAML documents.
    pub text: Vec<u8>,
    /// What came of rendering once more, when that was something else.
    pub second: Option<Vec<u8>>,
}
