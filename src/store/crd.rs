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
            "spec": spec_schema(),
            "record": {
                "type": "object",
                "description": "Internal: what Tidegate applied, intends and remembers. Removing it makes the agent find all \
                    of that again from the cluster; editing it stops the app.",
                "x-kubernetes-preserve-unknown-fields": true,
            },
            "status": status_schema(),
        },
    })
}

fn spec_schema() -> Value {
    // No types: the declaration was judged when it was read from Git, by rules that this schema would only repeat.
    let field = |description: &str| json!({ "description": description, "nullable": true, "x-kubernetes-preserve-unknown-fields": true });
    json!({
        "type": "object",
        "description": "What Git declares, as written there.",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "declaredIn": { "type": "string", "description": "The file in Git that declares this app." },
            "version": field("The version that users bump and revert."),
            "images": field("Images whose tag or digest follows the version."),
            "attempt": field("Raised in Git, it releases a quarantined Release for another try."),
            "source": field("Where the manifests are."),
            "sources": field("Where they are, when that is more than one place."),
            "destination": field("Where the objects go."),
            "plan": field("How a new Release goes out, wave by wave."),
            "sync": field("How the app is kept in sync."),
            "deletion": field("What happens to the objects when the app leaves Git."),
        },
    })
}

fn status_schema() -> Value {
    let open = |description: &str, properties: Value| {
        json!({
            "type": "object",
            "nullable": true,
            "description": description,
            "x-kubernetes-preserve-unknown-fields": true,
            "properties": properties,
        })
    };
    // Nullable, because an encoder writes null for what is not known.
    let text = |description: &str| json!({ "type": "string", "nullable": true, "description": description });
    let release = |description: &str| {
        open(
            description,
            json!({
                "version": text("The declared version."),
                "digest": text("The sha-256 over the rendered objects."),
                "commit": text("The commit it was rendered from."),
            }),
        )
    };
    open(
        "What is observed.",
        json!({
            "observedGeneration": { "type": "integer", "format": "int64", "nullable": true },
            "phase": text("Where the app stands."),
            "health": open("Health of its objects.", json!({ "status": text("In Argo CD's words.") })),
            "sync": open("Whether live is as declared.", json!({ "status": text("In Argo CD's words.") })),
            "desired": release("What Git says."),
            "effective": release("What runs."),
            "held": release("What was refused."),
            "rollout": open("The rollout that is under way.", json!({})),
            "why": open("The one fact that keeps it from being Synced and Healthy.", json!({
                "fact": text("The fact."),
                "since": text("Since when it has been so."),
            })),
            "stableDigest": text("The digest whose first sync completed."),
            "conditions": conditions_schema(),
        }),
    )
}

fn conditions_schema() -> Value {
    json!({
        "type": "array",
        "description": "Standard conditions; Ready sums them up.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": { "type": "string", "maxLength": 316 },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
                "reason": { "type": "string", "maxLength": 1024 },
                "message": { "type": "string", "maxLength": 32768 },
                "lastTransitionTime": { "type": "string", "format": "date-time" },
                "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
            },
        },
    })
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
                assert_eq!(schema["properties"][part]["x-kubernetes-preserve-unknown-fields"], json!(true), "{part}");
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
