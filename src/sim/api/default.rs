//! Defaults, as far as a dry run, a diff or a controller can see them. Enters: an object as it was sent. Leaves: the same
//! with what the API server adds.

use serde_json::{Map, Value, json};

/// Adds what the server adds to an object of a kind.
pub(super) fn fill(kind: &str, body: &mut Value) {
    match kind {
        "Deployment" => deployment(part(body, "spec")),
        "ReplicaSet" => {
            let spec = part(body, "spec");
            set(spec, "replicas", || json!(1));
            template(part_of(spec, "template"));
        }
        "StatefulSet" => stateful_set(part(body, "spec")),
        "Pod" => {
            let spec = part(body, "spec");
            pod_spec(spec);
            set(spec, "enableServiceLinks", || json!(true));
            for container in items(spec, "containers") {
                requests_from_limits(container);
            }
        }
        "Service" => service(part(body, "spec")),
        "Secret" => {
            let fields = object(body);
            set(fields, "type", || json!("Opaque"));
            if let Some(texts) = fields.remove("stringData") {
                let data = part_of(fields, "data");
                for (name, text) in texts.as_object().into_iter().flatten() {
                    data.insert(name.clone(), json!(base64(text.as_str().unwrap_or_default())));
                }
            }
        }
        "Namespace" => {
            let name = body["metadata"]["name"].clone();
            part_of(part(body, "metadata"), "labels").insert("kubernetes.io/metadata.name".to_owned(), name);
        }
        _ => {}
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn deployment(spec: &mut Map<String, Value>) {
    set(spec, "replicas", || json!(1));
    set(spec, "revisionHistoryLimit", || json!(10));
    set(spec, "progressDeadlineSeconds", || json!(600));
    let strategy = part_of(spec, "strategy");
    set(strategy, "type", || json!("RollingUpdate"));
    if strategy["type"] == "RollingUpdate" {
        let rolling = part_of(strategy, "rollingUpdate");
        set(rolling, "maxUnavailable", || json!("25%"));
        set(rolling, "maxSurge", || json!("25%"));
    }
    template(part_of(spec, "template"));
}

fn stateful_set(spec: &mut Map<String, Value>) {
    set(spec, "podManagementPolicy", || json!("OrderedReady"));
    set(spec, "replicas", || json!(1));
    set(spec, "revisionHistoryLimit", || json!(10));
    let strategy = part_of(spec, "updateStrategy");
    if is_unset(strategy, "type") {
        strategy.insert("type".to_owned(), json!("RollingUpdate"));
        set(strategy, "rollingUpdate", || json!({}));
    }
    if strategy["type"] == "RollingUpdate" && !is_unset(strategy, "rollingUpdate") {
        set(part_of(strategy, "rollingUpdate"), "partition", || json!(0));
    }
    let retention = part_of(spec, "persistentVolumeClaimRetentionPolicy");
    set(retention, "whenDeleted", || json!("Retain"));
    set(retention, "whenScaled", || json!("Retain"));
    template(part_of(spec, "template"));
}

fn template(template: &mut Map<String, Value>) {
    pod_spec(part_of(template, "spec"));
}

fn pod_spec(spec: &mut Map<String, Value>) {
    set(spec, "dnsPolicy", || json!("ClusterFirst"));
    set(spec, "restartPolicy", || json!("Always"));
    set(spec, "securityContext", || json!({}));
    set(spec, "terminationGracePeriodSeconds", || json!(30));
    set(spec, "schedulerName", || json!("default-scheduler"));
    // The old name of the field goes with the new one, and stands in for it.
    let (new, old) = ("serviceAccountName", "serviceAccount");
    if let Some(account) = spec.get(new).or_else(|| spec.get(old)).cloned() {
        spec.insert(new.to_owned(), account.clone());
        spec.insert(old.to_owned(), account);
    }
    for list in ["containers", "initContainers"] {
        for each in items(spec, list) {
            container(each);
        }
    }
    for volume in items(spec, "volumes") {
        for source in ["configMap", "secret", "projected", "downwardAPI"] {
            if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
                set(source, "defaultMode", || json!(0o644));
            }
        }
        if volume.len() == 1 {
            volume.insert("emptyDir".to_owned(), json!({}));
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let name = image.rsplit('/').next().unwrap_or_default();
    let is_latest = !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    set(container, "imagePullPolicy", || json!(if is_latest { "Always" } else { "IfNotPresent" }));
    set(container, "terminationMessagePath", || json!("/dev/termination-log"));
    set(container, "terminationMessagePolicy", || json!("File"));
    set(container, "resources", || json!({}));
    for port in items(container, "ports") {
        set(port, "protocol", || json!("TCP"));
    }
    for each in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(each).and_then(Value::as_object_mut) {
            for (name, value) in
                [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
            {
                set(probe, name, || json!(value));
            }
            if let Some(get) = probe.get_mut("httpGet").and_then(Value::as_object_mut) {
                set(get, "path", || json!("/"));
                set(get, "scheme", || json!("HTTP"));
            }
        }
    }
    for env in items(container, "env") {
        if let Some(field) =
            env.get_mut("valueFrom").and_then(|from| from.get_mut("fieldRef")).and_then(Value::as_object_mut)
        {
            set(field, "apiVersion", || json!("v1"));
        }
    }
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(limits) = container.get("resources").and_then(|resources| resources.get("limits")).cloned() else {
        return;
    };
    let requests = part_of(part_of(container, "resources"), "requests");
    for (name, limit) in limits.as_object().into_iter().flatten() {
        set(requests, name, || limit.clone());
    }
}

fn service(spec: &mut Map<String, Value>) {
    set(spec, "sessionAffinity", || json!("None"));
    if spec["sessionAffinity"] == "None" {
        spec.remove("sessionAffinityConfig");
    } else {
        set(spec, "sessionAffinityConfig", || json!({"clientIP": {"timeoutSeconds": 10_800}}));
    }
    set(spec, "type", || json!("ClusterIP"));
    if spec["type"] != "ExternalName" {
        set(spec, "internalTrafficPolicy", || json!("Cluster"));
    }
    for port in items(spec, "ports") {
        set(port, "protocol", || json!("TCP"));
        let number = port.get("port").cloned().unwrap_or(json!(0));
        if port.get("targetPort").is_none_or(|target| *target == json!(0) || *target == json!("")) {
            port.insert("targetPort".to_owned(), number);
        }
    }
}

fn object(body: &mut Value) -> &mut Map<String, Value> {
    if !body.is_object() {
        *body = json!({});
    }
    body.as_object_mut().expect("it was made one")
}

fn part<'a>(body: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    part_of(object(body), name)
}

fn part_of<'a>(fields: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    if !fields.contains_key(name) {
        fields.insert(name.to_owned(), json!({}));
    }
    object(fields.get_mut(name).expect("it was put there"))
}

fn items<'a>(fields: &'a mut Map<String, Value>, name: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn is_unset(fields: &Map<String, Value>, name: &str) -> bool {
    match fields.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => false,
    }
}

fn set(fields: &mut Map<String, Value>, name: &str, value: impl FnOnce() -> Value) {
    if is_unset(fields, name) {
        fields.insert(name.to_owned(), value());
    }
}
