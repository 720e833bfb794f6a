//! What was pushed: the repository's URLs and the refs, and nothing else of a body.
//!
//! Enters: a body that was proved. Leaves: a [`Push`]. Everything else is skipped without being kept, at whatever depth;
//! what is kept is nested as deeply as these types are. What is missing is empty: hosts change their formats, and an empty
//! push matters to nobody.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Refusal;
use super::provider::Provider;

/// What was pushed, as the host says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Push {
    /// The repository, in every form that the host tells.
    pub(super) urls: Vec<String>,
    /// Full names, such as `refs/heads/main`.
    pub(super) refs: Vec<String>,
}

/// Reads the body of a push.
pub(super) fn read(provider: Provider, body: &[u8]) -> Result<Push, Refusal> {
    match provider {
        Provider::Gitea | Provider::Gogs | Provider::GitHub => parse::<Hub>(body).map(Hub::push),
        Provider::GitLab => parse::<Lab>(body).map(Lab::push),
        Provider::Bitbucket => parse::<Cloud>(body).map(Cloud::push),
        Provider::BitbucketServer => parse::<Server>(body).map(Server::push),
        Provider::AzureDevOps => parse::<Azure>(body).map(Azure::push),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    // The error would repeat what it found.
    serde_json::from_slice(body)
        .map_err(|_| Refusal::Failed("the body is not what this provider sends as application/json"))
}

/// GitHub, Gitea, Gogs: `push`, and `create` and `delete` with the bare name of a ref and its type.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Hub {
    #[serde(rename = "ref")]
    reference: Option<String>,
    ref_type: Option<String>,
    repository: Option<HubRepository>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HubRepository {
    html_url: Option<String>,
    clone_url: Option<String>,
    ssh_url: Option<String>,
}

impl Hub {
    fn push(self) -> Push {
        let HubRepository { html_url, clone_url, ssh_url } = self.repository.unwrap_or_default();
        let reference = self.reference.and_then(|name| match self.ref_type.as_deref() {
            _ if name.starts_with("refs/") => Some(name),
            Some(kind) => full_name(kind, &name),
            None => None,
        });
        Push { urls: some([html_url, clone_url, ssh_url]), refs: some([reference]) }
    }
}

/// GitLab: pushes of branches and tags, from a project or the whole system.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Lab {
    #[serde(rename = "ref")]
    reference: Option<String>,
    project: Option<LabProject>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LabProject {
    web_url: Option<String>,
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
}

impl Lab {
    fn push(self) -> Push {
        let LabProject { web_url, git_http_url, git_ssh_url } = self.project.unwrap_or_default();
        Push { urls: some([web_url, git_http_url, git_ssh_url]), refs: some([self.reference]) }
    }
}

/// Bitbucket Cloud: any number of changes, each from an old ref to a new one, of which one may be missing.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Cloud {
    push: Option<CloudPush>,
    repository: Option<CloudRepository>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CloudPush {
    changes: Vec<CloudChange>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CloudChange {
    old: Option<CloudRef>,
    new: Option<CloudRef>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CloudRef {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CloudRepository {
    links: Option<CloudLinks>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CloudLinks {
    html: Option<Link>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Link {
    href: Option<String>,
}

impl Cloud {
    fn push(self) -> Push {
        let html = self.repository.and_then(|repository| repository.links).and_then(|links| links.html);
        let changes = self.push.unwrap_or_default().changes;
        let mut refs: Vec<_> = changes
            .into_iter()
            .flat_map(|change| [change.old, change.new])
            .flatten()
            .filter_map(|CloudRef { kind, name }| full_name(&kind?, &name?))
            .collect();
        refs.dedup();
        Push { urls: some([html.and_then(|html| html.href)]), refs }
    }
}

/// Bitbucket Server and Data Center.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Server {
    repository: Option<ServerRepository>,
    changes: Vec<ServerChange>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServerRepository {
    links: Option<ServerLinks>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServerLinks {
    clone: Vec<Link>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServerChange {
    ref_id: Option<String>,
}

impl Server {
    fn push(self) -> Push {
        let links = self.repository.and_then(|repository| repository.links).unwrap_or_default();
        Push {
            urls: links.clone.into_iter().filter_map(|link| link.href).collect(),
            refs: self.changes.into_iter().filter_map(|change| change.ref_id).collect(),
        }
    }
}

/// Azure DevOps: any event may come, only `git.push` has updates of refs.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Azure {
    resource: Option<AzureResource>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AzureResource {
    repository: Option<AzureRepository>,
    ref_updates: Vec<AzureUpdate>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AzureRepository {
    remote_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AzureUpdate {
    name: Option<String>,
}

impl Azure {
    fn push(self) -> Push {
        let AzureResource { repository, ref_updates } = self.resource.unwrap_or_default();
        let url = repository.and_then(|repository| repository.remote_url);
        Push { urls: some([url]), refs: ref_updates.into_iter().filter_map(|update| update.name).collect() }
    }
}

/// A ref by its type and bare name.
fn full_name(kind: &str, name: &str) -> Option<String> {
    match kind {
        "branch" => Some(format!("refs/heads/{name}")),
        "tag" | "annotated_tag" => Some(format!("refs/tags/{name}")),
        _ => None,
    }
}

fn some<const COUNT: usize>(texts: [Option<String>; COUNT]) -> Vec<String> {
    texts.into_iter().flatten().collect()
}
