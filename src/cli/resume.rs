//! `tidegate resume --accept-history COMMIT`: says that a history that was rewritten is meant.
//!
//! It is one annotation on the ConfigMap in which the agent remembers what it acted on last, so Kubernetes RBAC decides who
//! may: it takes the right to patch ConfigMaps in the agent's namespace.

use anyhow::bail;

use super::connection::{Connection, ConnectionArgs};
use super::{DONE, output};
use crate::store::source;

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// Follow the history of this commit from now on, although it does not descend from the last one that was acted on:
    /// the full id that `tidegate why` shows
    #[arg(long, value_name = "COMMIT", value_parser = commit)]
    accept_history: String,
    #[command(flatten)]
    connection: ConnectionArgs,
}

fn commit(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    if source::is_commit(&text) { Ok(text) } else { Err("expected the full id of a commit, 40 hex digits".to_owned()) }
}

pub(super) async fn run(arguments: &ResumeArgs) -> anyhow::Result<u8> {
    let connection = Connection::open(&arguments.connection).await?;
    output::print(&accept(&connection, &arguments.accept_history).await?);
    Ok(DONE)
}

async fn accept(connection: &Connection, new: &str) -> anyhow::Result<String> {
    let namespace = connection.namespace();
    let map = connection.source().await?;
    let Some((map, old)) = map.as_ref().and_then(|map| Some((map, source::commit(map)?))) else {
        bail!("no agent has acted on any commit in namespace `{namespace}`: there is no history to accept another for");
    };
    if old == new {
        return Ok(format!("commit {new} is what was acted on last: nothing to accept\n"));
    }
    let acceptance = source::acceptance(old, new);
    if connection.annotate_source(map, source::ACCEPT_ANNOTATION, &acceptance).await?.is_none() {
        bail!("ConfigMap {} in namespace `{namespace}` was deleted meanwhile", source::SOURCE_MAP);
    }
    Ok(format!("accepted the history of commit {new} in place of {old}: the agent follows it with its next poll\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::connection::tests::{failure, scripted};
    use super::*;

    #[tokio::test]
    async fn one_commit_is_accepted_in_place_of_the_one_that_is_remembered() {
        let (old, new) = ("a".repeat(40), "b".repeat(40));
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"commit": old},
            "metadata": {"name": "tidegate-source", "namespace": "tidegate", "resourceVersion": "7"}});
        let answers = vec![(200, map.clone()), (200, map.clone()), (200, map), failure(404, "gone")];
        let (connection, seen) = scripted(answers).await;
        let told = accept(&connection, &new).await.unwrap();
        assert!(told.starts_with(&format!("accepted the history of commit {new} in place of {old}")), "{told}");
        let (method, path, body) = seen.lock().unwrap()[1].clone();
        assert_eq!((&*method, &*path), ("PATCH", "/api/v1/namespaces/tidegate/configmaps/tidegate-source"));
        let expected = json!({"metadata": {"resourceVersion": "7",
            "annotations": {"tidegate.dev/accept-history": format!("{old}..{new}")}}});
        assert_eq!(body, expected.to_string());
        assert!(accept(&connection, &old).await.unwrap().contains("nothing to accept"));
        let error = accept(&connection, &new).await.unwrap_err().to_string();
        assert!(error.contains("no agent has acted on any commit in namespace `tidegate`"), "{error}");
    }

    #[test]
    fn what_is_no_full_commit_is_refused() {
        assert_eq!(commit(&"AB".repeat(20)), Ok("ab".repeat(20)));
        for text in ["", "main", "abc1234", &"g".repeat(40)] {
            assert!(commit(text).is_err(), "{text}");
        }
    }
}
