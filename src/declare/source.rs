//! `spec.source`, `spec.sources` and what every object of an app gets: which fields there are, and what they mean.
//!
//! Enters: the opened `spec`. Leaves: [`SourcePath`]s and a [`CommonMetadata`]; what is wrong goes to the sink.

use std::collections::BTreeMap;

use super::problem::{Position, Sink};
use super::read::Mapping;
use super::scalar::to_json;
use super::shape::{Kind, Rule, Shape, optional, required};
use super::tree::Content;
use crate::model::{CommonMetadata, Elsewhere, HelmSource, Parameter, Reference, RemoteChart, SourcePath, Tool};

/// Places of one app: each may be another repository to poll.
pub(super) const SOURCES_MAX: usize = 20;

/// What `spec.source` is for.
pub(super) const ABOUT: &str = "Where the manifests are.";

/// Files with values of one app: environments, regions and secrets aside, three are usual.
const VALUES_FILES_MAX: usize = 50;
/// Single values of one app: more belong into a file.
const PARAMETERS_MAX: usize = 200;
/// A value is a line on the tool's command line.
const PARAMETER_BYTES_MAX: usize = 4096;

/// `spec.source`.
pub(super) static SOURCE: Shape = Shape {
    about: "Where manifests are, and how they come to be.",
    fields: &[
        optional(
            "repository",
            Kind::Text(Rule::GitRepository),
            "URL of the Git repository that holds the folder. The agent's settings must list it. Default: the repository that declares.",
        ),
        optional(
            "revision",
            Kind::Text(Rule::Revision),
            "What of `repository` is followed: refs/heads/NAME, refs/tags/NAME, a full commit id, or a range of versions over tags such as ~1.4. Default: its default branch.",
        ),
        optional(
            "path",
            Kind::Text(Rule::Path),
            "Folder, from the repository's root; from this file's folder when it starts with `./`. Needed unless `helm.chart` says where the chart is.",
        ),
        optional(
            "recurse",
            Kind::Boolean,
            "Whether folders below it are read too. Only for plain YAML. Default false.",
        ),
        optional(
            "tool",
            Kind::Words(&["plain", "kustomize", "helm"]),
            "What makes manifests out of the folder. Default: kustomize where it has a kustomization.yaml, helm where it has a Chart.yaml, else plain.",
        ),
        optional("helm", Kind::Mapping(&HELM), "What Helm is told."),
    ],
    foreign: &[
        ("repoURL", "here it is `repository`; without it, manifests are read from the repository that declares"),
        ("targetRevision", "here it is `revision`, and it goes with `repository`"),
        ("ref", "files with values are always those of the repository that declares; remove it"),
        ("directory", "here it is `recurse: true`"),
        ("chart", "here it is `helm.chart`"),
        ("kustomize", "write what it would say into the kustomization.yaml; images are in spec.images"),
        ("plugin", "there are no plugins: kustomize, helm and plain YAML are rendered"),
    ],
};

static HELM: Shape = Shape {
    about: "What Helm is told.",
    fields: &[
        optional(
            "releaseName",
            Kind::Text(Rule::Label(53)),
            "Name of the Helm release that templates see. Default: the Application's name.",
        ),
        optional(
            "valuesFiles",
            Kind::List(&Kind::Text(Rule::Path), 0, VALUES_FILES_MAX),
            "Files with values, from the repository's root, or from this file's folder after `./`; later ones win.",
        ),
        optional("values", Kind::Free, "Values, written in place; they win over files."),
        optional(
            "parameters",
            Kind::List(&Kind::Mapping(&PARAMETER), 0, PARAMETERS_MAX),
            "Single values by their path, as `helm --set` has them; they win over all others.",
        ),
        optional("chart", Kind::Mapping(&CHART), "A chart that does not lie in the repository."),
        optional("skipCrds", Kind::Boolean, "Whether the chart's `crds` folder is left out. Default false."),
        optional(
            "random",
            Kind::Words(&["refuse", "keep"]),
            "What becomes of values that the chart makes up anew each time: refused, or kept as they were first. Default refuse.",
        ),
    ],
    foreign: &[
        ("valueFiles", "here they are `valuesFiles`, and their paths start at the repository's root"),
        ("valuesObject", "here it is `values`"),
        ("fileParameters", "name the file in `valuesFiles`"),
        ("version", "only Helm's own templates are rendered; remove it"),
        ("passCredentials", "credentials are in the renderer's settings; remove it"),
        ("repo", "here it is `chart.repository`"),
    ],
};

static PARAMETER: Shape = Shape {
    about: "One value.",
    fields: &[
        required("name", Kind::Text(Rule::ValuePath), "Its path, such as image.tag or hosts[0]."),
        required("value", Kind::Text(Rule::Any(PARAMETER_BYTES_MAX)), "The value."),
        optional(
            "forceString",
            Kind::Boolean,
            "Whether it is text even when it looks like a number or a boolean. Default false.",
        ),
    ],
    foreign: &[],
};

static CHART: Shape = Shape {
    about: "A chart in a chart repository or an OCI registry.",
    fields: &[
        required(
            "repository",
            Kind::Text(Rule::ChartRepository),
            "Where it is: the URL of a chart repository, or oci:// and the path that the chart's name follows.",
        ),
        required("name", Kind::Text(Rule::Label(253)), "Its name."),
        required("version", Kind::Text(Rule::ExactVersion), "Its exact version, such as 1.2.3."),
        optional(
            "digest",
            Kind::Text(Rule::Digest),
            "sha256 of the packaged chart. Without it nothing is rendered, and the error says what it is.",
        ),
    ],
    foreign: &[
        ("repoURL", "here it is `repository`"),
        ("targetRevision", "here it is `version`, an exact one"),
        ("repo", "here it is `repository`"),
    ],
};

/// `spec.commonMetadata`.
pub(super) static COMMON_METADATA: Shape = Shape {
    about: "Labels and annotations that every object gets in its own metadata; selectors and pod templates stay as they are. What a manifest says itself wins.",
    fields: &[optional("labels", Kind::Labels, "Labels."), optional("annotations", Kind::Labels, "Annotations.")],
    foreign: &[],
};

/// What `spec.source` or `spec.sources` says.
pub(super) struct ReadSources {
    /// What they mean; at least one.
    pub(super) sources: Vec<SourcePath>,
    /// Where the path of each stands.
    pub(super) at: Vec<Position>,
}

/// Reads `spec.source` or `spec.sources`; `None` when something required is missing.
pub(super) fn read_sources(spec: &Mapping<'_>, file: &str, sink: &mut Sink<'_>) -> Option<ReadSources> {
    let opened = match (spec.get("source"), spec.get("sources")) {
        (None, None) => {
            if !spec.is_partial() {
                sink.report(spec.at(), "spec.source", "`source` is missing", ABOUT);
            }
            return None;
        }
        (Some(_), Some(several)) => {
            several.report(sink, "stands beside `source`", "write all of them below `sources`, or remove one");
            return None;
        }
        (Some(_), None) => vec![spec.mapping("source", sink)?],
        (None, Some(_)) => spec.mappings("sources", sink),
    };
    let read: Vec<_> = opened.iter().map(|source| read_source(source, file, sink)).collect();
    let read = read.into_iter().collect::<Option<Vec<_>>>()?;
    let (mut sources, at): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    // Nearly all apps have one, and a list that grew to one has room for four.
    sources.shrink_to_fit();
    Some(ReadSources { sources, at })
}

/// Reads one source, and says where its path stands.
fn read_source(source: &Mapping<'_>, file: &str, sink: &mut Sink<'_>) -> Option<(SourcePath, Position)> {
    let elsewhere = read_elsewhere(source, sink);
    let is_recursive = source.boolean("recurse", sink).unwrap_or(false);
    let said = source.word("tool", &[Tool::Plain, Tool::Kustomize, Tool::Helm], sink);
    let helm_at = source.get("helm");
    let helm = source.mapping("helm", sink).map(|helm| read_helm(&helm, file, sink));
    let tool = if helm.is_some() { said.or(Some(Tool::Helm)) } else { said };
    if let (Some(place), Some(Tool::Plain | Tool::Kustomize)) = (&helm_at, tool) {
        place.report(sink, "is only read by Helm", "remove it, or write `tool: helm`");
    }
    if is_recursive
        && matches!(tool, Some(Tool::Kustomize | Tool::Helm))
        && let Some(place) = source.get("recurse")
    {
        place.report(sink, "is only for plain YAML", "remove it");
    }
    let is_remote = helm.as_ref().is_some_and(|helm| helm.chart.is_some());
    if let Some(place) = source.get("repository").filter(|_| is_remote) {
        place.report(sink, "says where the chart is, and so does `helm.chart`", "remove one of them");
    }
    let path = source.text("path", sink);
    let at = source.get("path").map_or(source.at(), |place| place.node.at);
    let path = match (path, source.get("path")) {
        (Some(path), Some(place)) => {
            if is_remote {
                place.report(sink, "says where the chart is, and so does `helm.chart`", "remove one of them");
            }
            // In another repository there is no folder of this file.
            from_root(path, if elsewhere.is_some() { "" } else { file })
        }
        (None, None) if is_remote => String::new(),
        (None, None) => {
            if !source.is_partial() {
                let hint = "name the folder that holds the manifests";
                sink.report(source.at(), source.path_of(), "`path` is missing", hint);
            }
            return None;
        }
        (Some(_) | None, Some(_) | None) => return None,
    };
    let helm = helm.unwrap_or_default();
    Some((SourcePath { elsewhere, path, is_recursive, tool, helm }, at))
}

/// Reads where the folder is, when it is not in the repository that declares.
fn read_elsewhere(source: &Mapping<'_>, sink: &mut Sink<'_>) -> Option<Elsewhere> {
    let repository = source.text("repository", sink);
    let revision = source.text("revision", sink).and_then(|text| Reference::parse(text).ok());
    if source.get("repository").is_none()
        && !source.is_partial()
        && let Some(place) = source.get("revision")
    {
        let hint = "remove it to read the commit that declares, or write `repository` too, which may be this very one";
        place.report(sink, "says which revision, and no `repository` says of what", hint);
    }
    let repository = repository?.trim_end_matches('/').to_owned();
    Some(Elsewhere { repository, revision: revision.unwrap_or(Reference::Default) })
}

fn read_helm(helm: &Mapping<'_>, file: &str, sink: &mut Sink<'_>) -> HelmSource {
    let values = helm.get("values").and_then(|place| match &place.node.content {
        Content::Mapping(_) => Some(to_json(place.node).to_string()),
        Content::Scalar(_) | Content::Sequence(_) => {
            place.report(sink, "is no mapping", "write the values below it, as in a values file");
            None
        }
    });
    let parameters = helm.mappings("parameters", sink);
    let parameters = parameters.iter().filter_map(|parameter| {
        let is_text = parameter.boolean("forceString", sink).unwrap_or(false);
        let (name, value) = (parameter.text("name", sink)?, parameter.text("value", sink)?);
        Some(Parameter { name: name.to_owned(), value: value.to_owned(), is_text })
    });
    let parameters = parameters.collect();
    let chart = helm.mapping("chart", sink).and_then(|chart| {
        let digest = chart.text("digest", sink).map(str::to_owned);
        let mut text = |name: &str| chart.text(name, sink).map(str::to_owned);
        let (repository, name, version) = (text("repository"), text("name"), text("version"));
        Some(RemoteChart { repository: repository?, name: name?, version: version?, digest })
    });
    HelmSource {
        release_name: helm.text("releaseName", sink).map(str::to_owned),
        values_files: helm.texts("valuesFiles", sink).into_iter().map(|(_, path)| from_root(path, file)).collect(),
        values,
        parameters,
        chart,
        skips_crds: helm.boolean("skipCrds", sink).unwrap_or(false),
        keeps_random: helm.word("random", &[false, true], sink).unwrap_or(false),
    }
}

/// Reads `spec.commonMetadata`.
pub(super) fn read_common(spec: &Mapping<'_>, sink: &mut Sink<'_>) -> CommonMetadata {
    let Some(common) = spec.mapping("commonMetadata", sink) else { return CommonMetadata::default() };
    let mut texts = |name: &str| -> BTreeMap<String, String> {
        common.check_labels(name, sink);
        let json = common.get(name).map(|place| to_json(place.node));
        let entries = json.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    };
    CommonMetadata { labels: texts("labels"), annotations: texts("annotations") }
}

/// Normalises a path: from the repository's root, without empty and `.` parts.
pub(super) fn from_root(path: &str, file: &str) -> String {
    let is_relative_to_file = path == "." || path.starts_with("./");
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let parts =
        |path: &'_ str| path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect();
    let mut whole: Vec<String> = if is_relative_to_file { parts(folder) } else { Vec::new() };
    let below: Vec<String> = parts(path);
    whole.extend(below);
    whole.join("/")
}

/// Whether `text` may be where charts are.
pub(super) fn is_chart_repository(text: &str) -> bool {
    let rest = ["https://", "http://", "oci://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let is_plain = |rest: &str| {
        !rest.is_empty()
            && !rest.ends_with('/')
            && !rest.contains(['@', '?', '#'])
            && !rest.contains(char::is_whitespace)
    };
    text.len() <= 1024 && !text.contains(char::is_control) && rest.is_some_and(is_plain)
}

/// Whether `text` may be a Git repository that is named by a declaration: never a path of the agent's machine.
pub(super) fn is_git_repository(text: &str) -> bool {
    let is_plain =
        |text: &str| !text.contains(|it: char| it.is_whitespace() || it.is_control() || "?#%\\".contains(it));
    let web = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_place = match (web, text.strip_prefix("ssh://")) {
        (Some(rest), _) => rest
            .split_once('/')
            .is_some_and(|(host, path)| !host.is_empty() && !host.contains('@') && !path.trim_matches('/').is_empty()),
        (None, Some(rest)) => rest.split_once('/').is_some_and(|(authority, path)| {
            let (user, host) = authority.rsplit_once('@').unwrap_or(("git", authority));
            !user.is_empty() && !user.contains(':') && !host.is_empty() && !path.trim_matches('/').is_empty()
        }),
        (None, None) if text.contains("://") => false,
        (None, None) => text.split_once(':').is_some_and(|(authority, path)| {
            let is_login = |(user, host): (&str, &str)| !user.is_empty() && !host.is_empty();
            !authority.contains('/') && authority.split_once('@').is_some_and(is_login) && !path.is_empty()
        }),
    };
    text.len() <= 1024 && !text.starts_with('-') && is_plain(text) && is_place
}

/// Whether `text` is a whole semantic version.
pub(super) fn is_exact_version(text: &str) -> bool {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    text.len() <= 128
        && text[..end].split('.').count() == 3
        && text[..end].split('.').all(is_number)
        && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_path_is_from_the_root_unless_it_starts_with_a_dot() {
        for (path, file, expected) in [
            ("apps/web", "x/app.yaml", "apps/web"),
            ("apps//web/./m/", "x/app.yaml", "apps/web/m"),
            ("./m", "apps/web/app.yaml", "apps/web/m"),
            ("./", "apps/web/app.yaml", "apps/web"),
            (".", "apps/web/app.yaml", "apps/web"),
            (".", "app.yaml", ""),
            (".hidden", "apps/app.yaml", ".hidden"),
        ] {
            assert_eq!(from_root(path, file), expected, "{path} in {file}");
        }
    }

    fn source(text: &str) -> Result<SourcePath, String> {
        sources(&format!("source: {text}")).map(|mut sources| sources.remove(0))
    }

    fn sources(text: &str) -> Result<Vec<SourcePath>, String> {
        let document = format!(
            "apiVersion: tidegate.dev/v1alpha1\nkind: Application\nmetadata: {{name: web}}\nspec:\n  version: '1'\n  \
             destination: {{namespace: shop}}\n  {text}\n"
        );
        let file = crate::declare::parse_file("apps/web.yaml", document.as_bytes());
        let files = BTreeMap::from([("apps/web.yaml".to_owned(), std::sync::Arc::new(file))]);
        let declared = crate::declare::assemble(&files, &BTreeMap::new(), [], &crate::declare::Made::default());
        let problems: Vec<String> = declared.problems.iter().map(ToString::to_string).collect();
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        Ok(declared.apps.into_values().next().unwrap().unwrap().sources.clone())
    }

    #[test]
    fn a_source_may_lie_in_another_repository_and_there_may_be_several() {
        let read = source(
            "{repository: 'https://git.example/charts/', revision: ~1.4, path: ./web, helm: {valuesFiles: [./a.yaml]}}",
        );
        let read = read.unwrap();
        let elsewhere = read.elsewhere.unwrap();
        assert_eq!(elsewhere.to_string(), "https://git.example/charts at ~1.4");
        assert_eq!((read.path.as_str(), read.helm.values_files), ("web", vec!["apps/a.yaml".to_owned()]));
        let read = source("{repository: 'git@git.example:charts.git', path: .}").unwrap();
        let expected = Elsewhere { repository: "git@git.example:charts.git".to_owned(), revision: Reference::Default };
        assert_eq!((read.elsewhere, read.path.as_str()), (Some(expected), ""));

        let read = sources("sources: [{path: ./base}, {repository: 'ssh://git.example/x', path: y}]").unwrap();
        let paths: Vec<_> = read.iter().map(|source| (source.path.as_str(), source.elsewhere.is_some())).collect();
        assert_eq!(paths, [("apps/base", false), ("y", true)]);
    }

    #[test]
    fn what_cannot_be_another_repository_is_refused_at_its_field() {
        let check = |text: &str, field: &str, expected: &str| {
            let found = sources(text).unwrap_err();
            assert!(found.contains(&format!("field `{field}`")) && found.contains(expected), "{text}: {found}");
        };
        for repository in [
            "/srv/git/charts",
            "./charts",
            "file:///srv/git/charts",
            "https://ada:secret@git.example/charts",
            "https://git.example",
            "https://git.example/charts?token=secret",
            "ssh://ada:secret@git.example/charts",
            "ext::sh -c id",
            "git.example:charts",
            "-u@host:x",
            "ftp://git.example/charts",
        ] {
            let text = format!("source: {{path: m, repository: '{repository}'}}");
            check(&text, "spec.source.repository", "no Git repository that can be named here");
        }
        let git = "repository: 'https://git.example/x'";
        check(&format!("source: {{path: m, {git}, revision: main}}"), "spec.source.revision", "refs/heads/NAME");
        check("source: {path: m, revision: ~1.4}", "spec.source.revision", "no `repository` says of what");
        let chart = "chart: {repository: 'oci://registry.example/charts', name: web, version: 1.2.3}";
        check(&format!("source: {{{git}, helm: {{{chart}}}}}"), "spec.source.repository", "so does `helm.chart`");
        check(&format!("sources: [{{path: m}}, {{{git}}}]"), "spec.sources[1]", "`path` is missing");
        check("sources: []", "spec.sources", "the list is empty");
        check("sources: [{path: m}]\n  source: {path: m}", "spec.sources", "stands beside `source`");
        check("plan: all-at-once", "spec.source", "`source` is missing");
        check("source: {path: m, repoURL: x}", "spec.source.repoURL", "here it is `repository`");
        check("source: {path: m, targetRevision: x}", "spec.source.targetRevision", "here it is `revision`");
    }

    #[test]
    fn helm_is_told_of_values_in_files_in_place_and_one_by_one() {
        let read = source(
            "{path: ./chart, helm: {releaseName: shop, valuesFiles: [./prod.yaml, common/all.yaml], values: {a: {b: 2}}, \
             parameters: [{name: image.tag, value: '1.0', forceString: true}], skipCrds: true}}",
        )
        .unwrap();
        assert_eq!((read.path.as_str(), read.tool), ("apps/chart", Some(Tool::Helm)));
        assert_eq!(read.helm.values_files, ["apps/prod.yaml", "common/all.yaml"]);
        assert_eq!(read.helm.values.as_deref(), Some(r#"{"a":{"b":2}}"#));
        let parameter = Parameter { name: "image.tag".to_owned(), value: "1.0".to_owned(), is_text: true };
        assert_eq!(read.helm.parameters, [parameter]);
        assert!(read.helm.skips_crds && read.helm.release_name.as_deref() == Some("shop"));
    }

    #[test]
    fn a_remote_chart_needs_no_path_and_takes_its_place() {
        let chart = "chart: {repository: 'oci://registry.example/charts', name: web, version: 1.2.3}";
        let read = source(&format!("{{helm: {{{chart}}}}}")).unwrap();
        assert_eq!(read.helm.chart.unwrap().version, "1.2.3");
        let check = |text: &str, expected: &str| {
            let found = source(text).unwrap_err();
            assert!(found.contains(expected), "{text}: {found}");
        };
        check(&format!("{{path: m, helm: {{{chart}}}}}"), "remove one of them");
        check("{tool: helm}", "`path` is missing");
        check("{path: m, tool: plain, helm: {}}", "only read by Helm");
        check("{path: m, tool: kustomize, recurse: true}", "only for plain YAML");
        check("{path: m, helm: {values: [1]}}", "no mapping");
        check("{path: m, helm: {valueFiles: [a]}}", "valuesFiles");
        check("{path: m, helm: {valuesFiles: [../a]}}", "leaves its folder");
        for (repository, version) in [
            ("https://user:secret@charts.example", "1.2.3"),
            ("file:///charts", "1.2.3"),
            ("https://charts.example", "^1.2"),
            ("https://charts.example", "1.2"),
        ] {
            let text = format!("{{helm: {{chart: {{repository: '{repository}', name: web, version: '{version}'}}}}}}");
            let found = source(&text).unwrap_err();
            assert!(found.contains("helm.chart."), "{text}: {found}");
        }
    }
}
