//! The custom resource definitions, as plain JSON.
//!
//! The schema describes more than it enforces: `spec` mirrors what `declare` has already judged, `record` is read
//! strictly by this folder, and a server that refused either would stop an app for no one's good.

use serde_json::{Value, json};

use super::{GROUP, KIND, PLURAL, VERSION};

/// Every custom resource definition that the agent needs.
#[must_use]
pub fn crds() -> Vec<Value> {
    vec![json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{PLURAL}.{GROUP}") },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": format!("{KIND}List"),
                "plural": PLURAL,
                "singular": "application",
                "shortNames": ["tgapp", "tgapps"],
                "categories": ["tidegate"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": columns(),
                "schema": { "openAPIV3Schema": schema() },
            }],
        },
    })]
}

fn columns() -> Value {
    let column = |name: &str, path: &str, description: &str| json!({ "name": name, "type": "string", "jsonPath": path, "description": description });
    let mut why = column("Why", ".status.why.fact", "The one fact that keeps it from being Synced and Healthy.");
    why["priority"] = json!(1);
    json!([
        column("Version", ".status.effective.version", "What runs."),
        column("Desired", ".status.desired.version", "What Git says."),
        column("Sync", ".status.sync.status", "Whether live is as declared."),
        column("Health", ".status.health.status", "Health of its objects."),
        column("Phase", ".status.phase", "Where it stands."),
        column("Wave", ".status.rollout.wave.name", "The wave that is under way."),
        why,
        { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" },
    ])
}

fn schema() -> Value {
    json!({
        "type": "object",
        "description": "An app as Git declares it and as this cluster has it. Written by Tidegate: edit the file in Git that \
            spec.declaredIn names. To ask for something, set the annotation tidegate.dev/request to abort, rollback, retry, \
            refresh or sync.",
        "properties": {
            "spec": part("What Git declares, as written there.", &json!({
                "declaredIn": field("The file in Git that declares this app."),
                "version": field("The version that users bump and revert."),
                "images": field("Images whose tag or digest follows the version."),
                "attempt": field("Raised in Git, it releases a quarantined Release for another try."),
                "source": field("Where the manifests are."),
                "sources": field("Where they are, when that is more than one place."),
                "destination": field("Where the objects go."),
                "plan": field("How a new Release goes out, wave by wave."),
                "sync": field("How the app is kept in sync."),
                "deletion": field("What happens to the objects when the app leaves Git."),
            })),
            "record": part("Internal: what Tidegate applied, intends and remembers. Removing it makes the agent find all \
                of that again from the cluster; editing it stops the app.", &json!({})),
            "status": part("What is observed.", &json!({
                "observedGeneration": field("The generation that this tells of."),
                "phase": field("Where the app stands."),
                "health": field("Health of its objects: `status`, in Argo CD's words."),
                "sync": field("Whether live is as declared: `status`, in Argo CD's words."),
                "desired": field("What Git says: version, digest over the rendered objects, commit."),
                "effective": field("What runs: version, digest, commit."),
                "held": field("What was refused: version, digest, commit."),
                "rollout": field("The rollout that is under way."),
                "why": field("The one `fact` that keeps it from being Synced and Healthy, and `since` when."),
                "stableDigest": field("The digest whose first sync completed."),
                "conditions": field("Standard conditions; Ready sums them up."),
            })),
        },
    })
}

/// A part that is written and owned as a whole, since nobody but the agent writes it: who owns which of its fields, and how
/// old and new differ field by field, was a third of what a write cost the API server, and of the object's size
/// (`k8s.io/apiextensions-apiserver`, `x-kubernetes-map-type`).
fn part(description: &str, properties: &Value) -> Value {
    json!({
        "type": "object",
        "description": description,
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": properties,
    })
}

/// For `kubectl explain`. No types: a declaration was judged when it was read from Git, by rules that this schema would only
/// repeat, and the rest is ours.
fn field(description: &str) -> Value {
    json!({ "description": description, "nullable": true, "x-kubernetes-preserve-unknown-fields": true })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of structural schemas that are easily broken: a type everywhere, unless anything is allowed.
    fn check(schema: &Value, path: &str) {
        let is_open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
        assert!(schema.get("type").is_some() || is_open, "{path} has no type");
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            check(property, &format!("{path}.{name}"));
        }
        if let Some(items) = schema.get("items") {
            check(items, &format!("{path}[]"));
        }
    }

    #[test]
    fn the_schema_is_structural_and_keeps_what_it_does_not_know() {
        for crd in crds() {
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            check(schema, "");
            for part in ["spec", "record", "status"] {
                let part = &schema["properties"][part];
                assert_eq!(part["x-kubernetes-preserve-unknown-fields"], json!(true), "{part}");
                assert_eq!(part["x-kubernetes-map-type"], json!("atomic"), "{part}");
            }
        }
    }

    #[test]
    fn the_definition_is_named_as_the_api_server_demands() {
        let crd = &crds()[0];
        assert_eq!(crd["metadata"]["name"], json!("applications.tidegate.dev"));
        assert_eq!(crd["spec"]["names"]["shortNames"], json!(["tgapp", "tgapps"]));
    }
}
