//! `tidegate tree APP`: what stands of an app in the cluster, from what it declares down to pods. Enters: the caller's
//! kubeconfig. Leaves: a tree as a table, or as Argo CD's `ApplicationTree`. It reads the cluster anew and changes nothing.

use anyhow::Context as _;

use super::DONE;
use super::connection::{Connection, ConnectionArgs, name, settings};
use super::output::{self, age, table};
use crate::agent::{recalled, resources};
use crate::edge::cluster::Cluster;
use crate::model::{KeyParts, ObjectKey, Timestamp};
use crate::status::tree::{self, Node};
use crate::store::application;
use crate::world::Scope;

#[derive(Debug, clap::Args)]
pub(super) struct TreeArgs {
    /// The app
    #[arg(value_parser = name)]
    app: String,
    /// How to print
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: super::validate::Output,
    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(arguments: &TreeArgs) -> anyhow::Result<u8> {
    let settings = settings(&arguments.connection).await?;
    let object = Connection::with(settings.clone(), &arguments.connection)?.get(&arguments.app).await?;
    let stored = application::read(&object).context("failed to read the Application resource")?;
    let rules = recalled(&object).map(|application| application.health.clone()).unwrap_or_default();
    let cluster = Cluster::connect(settings, 1)?;
    let list = async |scope: Scope, selector: String| cluster.list(&scope, &selector).await;
    let get = async |key: ObjectKey, version: String| cluster.get(&key, &version).await;
    let read = resources::read(&stored.name, &stored.record.inventory, &rules, list, get).await;
    let read = read.context("failed to read the cluster")?;
    let nodes = tree::nodes(&read.declared, &read.others);
    output::print(&match arguments.output {
        super::validate::Output::Text => text(&nodes, Timestamp::now()),
        super::validate::Output::Json => output::json(&tree::argocd(&nodes)),
    });
    Ok(DONE)
}

fn text(nodes: &[Node<'_>], now: Timestamp) -> String {
    let mut is_last_above: Vec<bool> = Vec::new();
    let mut rows = Vec::new();
    for node in nodes {
        is_last_above.truncate(node.depth);
        is_last_above.push(node.is_last);
        let object = &node.seen.object;
        let created: Option<Timestamp> = object.text("/metadata/creationTimestamp").and_then(|at| at.parse().ok());
        let info = tree::info(object).into_iter().map(|(name, value)| match name {
            "Restart Count" => format!("{value} restarts"),
            _ => value,
        });
        let health = node.seen.health.as_ref();
        let message = health.map(|health| health.message.clone()).filter(|message| !message.is_empty());
        rows.push(vec![
            format!("{}{}", branches(&is_last_above), subject(&object.key, node.depth)),
            health.map_or("-", |health| health.status.as_str()).to_owned(),
            created.map_or_else(|| "-".to_owned(), |created| age(created, now)),
            info.chain(tree::images(object)).chain(message).collect::<Vec<_>>().join(" "),
        ]);
    }
    table(&["RESOURCE", "HEALTH", "AGE", "INFO"], &rows)
}

/// The lines that lead to a node; what is declared stands at the margin.
fn branches(is_last_above: &[bool]) -> String {
    let Some((is_last, above)) = is_last_above.get(1..).and_then(<[bool]>::split_last) else { return String::new() };
    let mut text: String = above.iter().map(|is_last| if *is_last { "   " } else { "│  " }).collect();
    text.push_str(if *is_last { "└─ " } else { "├─ " });
    text
}

/// Kind and name; the namespace where it is not the one above.
fn subject(key: &ObjectKey, depth: usize) -> String {
    let KeyParts { cluster: _, kind, namespace, name } = &**key;
    if depth > 0 || namespace.is_empty() {
        format!("{} {name}", kind.kind)
    } else {
        format!("{} {namespace}/{name}", kind.kind)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{ClusterName, Health, HealthStatus, Object};
    use crate::status::tree::Seen;

    fn seen(kind: &str, name: &str, owner: &str) -> Seen {
        let mut body = json!({"apiVersion": "v1", "kind": kind, "metadata": {
            "name": name, "namespace": "shop", "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"}});
        if !owner.is_empty() {
            body["metadata"]["ownerReferences"] = json!([{"uid": owner}]);
        }
        body["spec"] = match kind {
            "Pod" => json!({"nodeName": "n1", "containers": [{"image": "example/web:1"}]}),
            _ => Value::Null,
        };
        let health = Health { status: HealthStatus::Healthy, message: String::new() };
        let object = Object::from_value(&ClusterName::local(), body).unwrap();
        Seen { object, health: (kind != "ConfigMap").then_some(health) }
    }

    #[test]
    fn children_hang_below_their_owner() {
        let declared = [seen("Deployment", "web", ""), seen("ConfigMap", "settings", "")];
        let others =
            [seen("Set", "a", "web"), seen("Set", "b", "web"), seen("Pod", "a-1", "a"), seen("Pod", "b-1", "b")];
        let now = "2026-01-01T00:02:00Z".parse().unwrap();
        assert_eq!(
            text(&tree::nodes(&declared, &others), now),
            "\
RESOURCE                 HEALTH   AGE   INFO
ConfigMap shop/settings  -        2m0s
Deployment shop/web      Healthy  2m0s
├─ Set a                 Healthy  2m0s
│  └─ Pod a-1            Healthy  2m0s  Unknown n1 0/1 example/web:1
└─ Set b                 Healthy  2m0s
   └─ Pod b-1            Healthy  2m0s  Unknown n1 0/1 example/web:1
"
        );
    }
}
