//! What the API server refuses, as far as the agent or a user of it can meet it. Enters: an object before and after, with
//! defaults. Leaves: nothing, or every field that is wrong, in the words of the agent's edge.

use serde_json::{Map, Value};

use crate::world::ApiError;

/// Refuses what is not valid.
///
/// # Errors
/// `Invalid`, with each field and why.
pub(super) fn check(kind: &str, before: Option<&Value>, after: &Value) -> Result<(), ApiError> {
    let mut wrong = Vec::new();
    metadata(kind != "Application", before, after, &mut wrong);
    let empty = Value::Null;
    let spec = after.get("spec").unwrap_or(&empty);
    let old_spec = before.and_then(|before| before.get("spec"));
    // What was valid is still valid.
    let is_changed = old_spec != Some(spec);
    match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" if !is_changed => counts(&after["status"], &mut wrong),
        "Deployment" => {
            deployment(old_spec, spec, &mut wrong);
            counts(&after["status"], &mut wrong);
        }
        "ReplicaSet" => {
            workload(old_spec, spec, &mut wrong);
            counts(&after["status"], &mut wrong);
        }
        "StatefulSet" => {
            stateful_set(old_spec, spec, &mut wrong);
            counts(&after["status"], &mut wrong);
        }
        "Service" => {
            service(old_spec, spec, &mut wrong);
            if after["status"]["loadBalancer"].get("ingress").is_some() && spec["type"] != "LoadBalancer" {
                wrong.push(
                    "status.loadBalancer.ingress: forbidden: may only be used when `spec.type` is \"LoadBalancer\""
                        .to_owned(),
                );
            }
        }
        "ConfigMap" => immutable(before, after, &["data", "binaryData"], &mut wrong),
        "Secret" => {
            immutable(before, after, &["data"], &mut wrong);
            if before.is_some_and(|before| before["type"] != after["type"]) {
                wrong.push("type: invalid value".to_owned());
            }
        }
        "Application" => application(after, &mut wrong),
        _ => {}
    }
    if wrong.is_empty() { Ok(()) } else { Err(ApiError::Invalid(wrong.join("; "))) }
}

fn metadata(is_built_in: bool, before: Option<&Value>, after: &Value, wrong: &mut Vec<String>) {
    let metadata = &after["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if before.is_none() && !is_subdomain(name) {
        wrong.push("metadata.name: invalid value".to_owned());
    }
    for value in metadata.get("labels").and_then(Value::as_object).into_iter().flat_map(Map::values) {
        if !value.as_str().is_some_and(is_label_value) {
            wrong.push("metadata.labels: invalid value".to_owned());
        }
    }
    for finalizer in items(metadata, "finalizers") {
        if !finalizer.as_str().is_some_and(|finalizer| !is_built_in || finalizer.contains('/')) {
            wrong.push("metadata.finalizers: invalid value".to_owned());
        }
    }
    let Some(old) = before.map(|before| &before["metadata"]) else { return };
    if old.get("deletionTimestamp").is_some() {
        let is_new = |finalizer: &Value| !items(old, "finalizers").contains(finalizer);
        if items(metadata, "finalizers").iter().any(is_new) {
            wrong.push(
                "metadata.finalizers: forbidden: no new finalizers can be added if the object is being deleted"
                    .to_owned(),
            );
        }
    }
    for field in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if old.get(field) != metadata.get(field) {
            wrong.push(format!("metadata.{field}: invalid value"));
        }
    }
}

fn deployment(old: Option<&Value>, spec: &Value, wrong: &mut Vec<String>) {
    workload(old, spec, wrong);
    let strategy = &spec["strategy"];
    let rolling = strategy.get("rollingUpdate");
    match (strategy["type"].as_str(), rolling) {
        (Some("Recreate"), Some(_)) => wrong.push(
            "spec.strategy.rollingUpdate: forbidden: may not be specified when strategy `type` is 'Recreate'"
                .to_owned(),
        ),
        (Some("Recreate"), None) => {}
        (Some("RollingUpdate"), Some(rolling)) => {
            for field in ["maxUnavailable", "maxSurge"] {
                if share(&rolling[field]).is_none() {
                    wrong.push(format!("spec.strategy.rollingUpdate.{field}: invalid value"));
                }
            }
            if share(&rolling["maxUnavailable"]) == Some(0) && share(&rolling["maxSurge"]) == Some(0) {
                wrong.push("spec.strategy.rollingUpdate.maxUnavailable: invalid value".to_owned());
            }
        }
        (_, _) => {
            wrong.push(r#"spec.strategy: unsupported value: supported values: "Recreate", "RollingUpdate""#.to_owned());
        }
    }
    if let Some(deadline) = spec["progressDeadlineSeconds"].as_i64()
        && deadline <= spec["minReadySeconds"].as_i64().unwrap_or(0)
    {
        wrong.push("spec.progressDeadlineSeconds: invalid value".to_owned());
    }
}

fn stateful_set(old: Option<&Value>, spec: &Value, wrong: &mut Vec<String>) {
    workload(old, spec, wrong);
    let strategy = &spec["updateStrategy"];
    match (strategy["type"].as_str(), strategy.get("rollingUpdate")) {
        (Some("OnDelete"), Some(_)) => wrong.push("spec.updateStrategy.rollingUpdate: invalid value".to_owned()),
        (Some("OnDelete"), None) => {}
        (Some("RollingUpdate"), rolling) => {
            if rolling.and_then(|rolling| rolling["partition"].as_i64()).is_some_and(|partition| partition < 0) {
                wrong.push("spec.updateStrategy.rollingUpdate.partition: invalid value".to_owned());
            }
        }
        (_, _) => wrong.push("spec.updateStrategy: invalid value".to_owned()),
    }
    let may_change = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |spec: &Value| -> Vec<(String, Value)> {
        let fields = spec.as_object().into_iter().flatten();
        let fixed = fields.filter(|(name, _)| !may_change.contains(&name.as_str()));
        fixed.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    if old.is_some_and(|old| fixed(old) != fixed(spec)) {
        wrong.push(format!(
            "spec: forbidden: updates to statefulset spec for fields other than '{}' and '{}' are forbidden",
            may_change[..6].join("', '"),
            may_change[6]
        ));
    }
}

/// What Deployments, ReplicaSets and StatefulSets have in common.
fn workload(old: Option<&Value>, spec: &Value, wrong: &mut Vec<String>) {
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        if spec.get(field).and_then(Value::as_i64).is_some_and(|number| number < 0) {
            wrong.push(format!("spec.{field}: invalid value"));
        }
    }
    let selector = spec["selector"].get("matchLabels").and_then(Value::as_object);
    let has_expressions = !items(&spec["selector"], "matchExpressions").is_empty();
    let template = &spec["template"];
    match selector {
        _ if spec["selector"].is_null() => wrong.push("spec.selector: required".to_owned()),
        None if !has_expressions => wrong.push("spec.selector: invalid value".to_owned()),
        Some(labels) if labels.is_empty() && !has_expressions => wrong.push("spec.selector: invalid value".to_owned()),
        selector => {
            let labels = template["metadata"].get("labels");
            let is_met = |(name, value): (&String, &Value)| labels.and_then(|labels| labels.get(name)) == Some(value);
            if !selector.into_iter().flatten().all(is_met) {
                wrong.push("spec.template.metadata.labels: invalid value".to_owned());
            }
        }
    }
    if old.is_some_and(|old| old["selector"] != spec["selector"]) {
        wrong.push("spec.selector: invalid value".to_owned());
    }
    pod_spec(&template["spec"], "spec.template.spec", wrong);
    if template["spec"]["restartPolicy"] != "Always" {
        wrong.push("spec.template.spec.restartPolicy: unsupported value: supported values: \"Always\"".to_owned());
    }
}

/// A status cannot count more of a part than of the whole.
fn counts(status: &Value, wrong: &mut Vec<String>) {
    let count = |field: &str| status.get(field).and_then(Value::as_i64).unwrap_or(0);
    let parts = ["updatedReplicas", "readyReplicas", "availableReplicas", "currentReplicas", "fullyLabeledReplicas"];
    for part in parts.iter().filter(|part| count(part) > count("replicas") || count(part) < 0) {
        wrong.push(format!("status.{part}: invalid value"));
    }
    if count("availableReplicas") > count("readyReplicas") || count("replicas") < 0 {
        wrong.push("status.availableReplicas: invalid value".to_owned());
    }
}

fn pod_spec(spec: &Value, at: &str, wrong: &mut Vec<String>) {
    let containers = items(spec, "containers");
    if containers.is_empty() {
        wrong.push(format!("{at}.containers: required"));
    }
    let volumes: Vec<&Value> = items(spec, "volumes").iter().map(|volume| &volume["name"]).collect();
    for (index, volume) in volumes.iter().enumerate() {
        if volumes[..index].contains(volume) {
            wrong.push(format!("{at}.volumes[{index}].name: duplicate value"));
        }
    }
    for (index, container) in containers.iter().enumerate() {
        let at = format!("{at}.containers[{index}]");
        match container["name"].as_str() {
            None | Some("") => wrong.push(format!("{at}.name: required")),
            Some(name) if !is_label(name) => wrong.push(format!("{at}.name: invalid value")),
            Some(_) if containers[..index].iter().any(|other| other["name"] == container["name"]) => {
                wrong.push(format!("{at}.name: duplicate value"));
            }
            Some(_) => {}
        }
        if container.get("image").is_none() {
            wrong.push(format!("{at}.image: required"));
        }
        for (index, port) in items(container, "ports").iter().enumerate() {
            if !port["containerPort"].as_i64().is_some_and(is_port) {
                wrong.push(format!("{at}.ports[{index}].containerPort: invalid value"));
            }
        }
        for (index, env) in items(container, "env").iter().enumerate() {
            if env["name"].as_str().is_none_or(str::is_empty) {
                wrong.push(format!("{at}.env[{index}].name: required"));
            }
            if env.get("value").is_some() && env.get("valueFrom").is_some() {
                wrong.push(format!("{at}.env[{index}].valueFrom: invalid value"));
            }
        }
        for (index, mount) in items(container, "volumeMounts").iter().enumerate() {
            if !volumes.contains(&&mount["name"]) {
                wrong.push(format!("{at}.volumeMounts[{index}].name: names something that does not exist"));
            }
        }
    }
}

fn service(old: Option<&Value>, spec: &Value, wrong: &mut Vec<String>) {
    let ports = items(spec, "ports");
    if ports.is_empty() && spec["clusterIP"] != "None" && spec["type"] != "ExternalName" {
        wrong.push("spec.ports: required".to_owned());
    }
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        if !port["port"].as_i64().is_some_and(is_port) {
            wrong.push(format!("{at}.port: invalid value"));
        }
        if ports.len() > 1 && port.get("name").is_none() {
            wrong.push(format!("{at}.name: required"));
        }
        let is_twin = |other: &Value, fields: &[&str]| fields.iter().all(|field| other.get(field) == port.get(field));
        let others = &ports[..index];
        if port.get("name").is_some() && others.iter().any(|other| is_twin(other, &["name"])) {
            wrong.push(format!("{at}.name: duplicate value"));
        }
        if others.iter().any(|other| is_twin(other, &["port", "protocol"])) {
            wrong.push(format!("{at}: duplicate value"));
        }
    }
    if let Some(old) = old
        && old.get("clusterIP").is_some()
        && old["clusterIP"] != spec["clusterIP"]
        && spec["type"] != "ExternalName"
    {
        wrong.push("spec.clusterIPs[0]: invalid value".to_owned());
    }
}

fn immutable(before: Option<&Value>, after: &Value, fields: &[&str], wrong: &mut Vec<String>) {
    for key in after.get("data").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
        let is_allowed = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        if key.is_empty() || !key.chars().all(is_allowed) {
            wrong.push("data: invalid value".to_owned());
        }
    }
    let Some(before) = before.filter(|before| before.get("immutable") == Some(&Value::Bool(true))) else { return };
    for field in ["immutable"].iter().chain(fields) {
        if before.get(*field) != after.get(*field) {
            wrong.push(format!("{field}: forbidden: field is immutable when `immutable` is set"));
        }
    }
}

/// What the schema of the custom resource definition demands.
fn application(after: &Value, wrong: &mut Vec<String>) {
    for field in ["spec", "record", "status"] {
        if after.get(field).is_some_and(|value| !value.is_object()) {
            wrong.push(format!("{field}: wrong type"));
        }
    }
}

fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A number, or a percentage.
fn share(value: &Value) -> Option<i64> {
    let number = match value {
        Value::String(text) => text.strip_suffix('%')?.parse().ok()?,
        other => other.as_i64()?,
    };
    (number >= 0).then_some(number)
}

const fn is_port(number: i64) -> bool {
    0 < number && number < 65_536
}

fn is_label(name: &str) -> bool {
    name.len() <= 63 && is_subdomain(name) && !name.contains('.')
}

fn is_subdomain(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_part)
}

fn is_label_value(value: &str) -> bool {
    let is_end = |char: Option<char>| char.is_none_or(|char| char.is_ascii_alphanumeric());
    value.len() <= 63
        && value.chars().all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
        && is_end(value.chars().next())
        && is_end(value.chars().last())
}
