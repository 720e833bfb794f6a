//! What Git declares in this world, and the cluster's numbers as the objects that an API server would return.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::model::marks::FIELD_MANAGER;
use tidegate::model::{
    Analysis, AppName, Application, Capacity, ClusterName, CommonMetadata, Deletion, Millis, NoDataRule, Object,
    PausePolicy, Replicas, RollbackPolicy, SourcePath, SyncPolicy, Wave, WavePlan,
};
use tidegate::observe::MIN_READY_SECONDS_HOLD;

use super::cluster::{Cluster, PODS, Spec};

/// The analysis that gates every wave.
pub(super) const ANALYSIS: &str = "errors";

pub(super) fn manifest(release: u8) -> Object {
    let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "a"},
        "spec": {"replicas": PODS, "selector": {"matchLabels": {"app": "web"}}, "template": template(release)}});
    Object::from_value(&ClusterName::local(), body).expect("well formed")
}

fn template(release: u8) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image(release)}]}})
}

fn image(release: u8) -> String {
    format!("web:{}", name(release))
}

/// The Release's name for people.
pub(super) fn name(release: u8) -> char {
    char::from(b'A' + release)
}

fn plan(capacity: Capacity) -> WavePlan {
    let wave = |name: &str, replicas| Wave {
        name: name.to_owned(),
        replicas,
        bake: Millis(0),
        timeout: Millis::from_seconds(20),
        analysis: vec![ANALYSIS.to_owned()],
    };
    let express = Wave { timeout: Millis::from_seconds(20), ..Wave::all("express") };
    let analysis = Analysis {
        name: ANALYSIS.to_owned(),
        provider: "prometheus".to_owned(),
        query: "errors".to_owned(),
        min: None,
        max: Some(0.5),
        interval: Millis::from_seconds(10),
        count: 1,
        failures_max: 0,
        no_data: NoDataRule::Wait,
    };
    let waves =
        vec![wave("one", Replicas::Count(1)), wave("two", Replicas::Count(2)), wave("all", Replicas::Percent(100))];
    WavePlan { capacity, waves, analysis: vec![analysis], express: vec![express], ..WavePlan::all_at_once() }
}

/// The Application, at one of its Releases and attempts.
pub(super) fn application(release: u8, attempt: u8, capacity: Capacity) -> Application {
    Application {
        name: AppName::from("web"),
        version: name(release).to_string(),
        images: Vec::new(),
        attempt: u32::from(attempt),
        sources: vec![SourcePath { path: "m".to_owned(), ..SourcePath::default() }],
        common: CommonMetadata::default(),
        namespace: "a".to_owned(),
        service_account: None,
        plan: Arc::new(plan(capacity)),
        sync: SyncPolicy { prunes: true, ..SyncPolicy::default() },
        deletion: Deletion::Orphan,
        rollback: RollbackPolicy::Automatic,
        pause: PausePolicy::Agent,
        health: Vec::new(),
        depends_on: Vec::new(),
        substitute: tidegate::model::Substitute::default(),
        history_max: 1,
        declared_in: "web.yaml".to_owned(),
        spec: json!({"version": name(release).to_string(), "attempt": attempt}).into(),
    }
}

/// What the controllers read out of a Deployment.
pub(super) fn spec(body: &Value) -> Spec {
    let found = body.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
    let of = |release: &u8| found == Some(image(*release).as_str());
    let window = |field: &str, percent: u8| {
        let value = &body["spec"]["strategy"]["rollingUpdate"][field];
        if *value == json!("25%") { percent } else { u8::try_from(value.as_u64().expect("a number")).expect("small") }
    };
    // 25 % of three pods: up to one for the surge, down to none.
    let (surge, unavailable) = (window("maxSurge", 1), window("maxUnavailable", 0));
    Spec {
        is_patient: body["spec"]["progressDeadlineSeconds"] != json!(600),
        template: [0, 1, 2].into_iter().find(of).expect("one of three images"),
        is_held: body["spec"]["minReadySeconds"] == json!(MIN_READY_SECONDS_HOLD),
        surge,
        unavailable: if surge == 0 && unavailable == 0 { 1 } else { unavailable },
    }
}

/// The Deployment as the API server would return it.
pub(super) fn deployment(stored: &Value, cluster: Cluster) -> Object {
    let mut value = stored.clone();
    let status = cluster.status;
    value["metadata"]["uid"] = json!("web-uid");
    value["metadata"]["resourceVersion"] = json!("2");
    value["metadata"]["generation"] = json!(2);
    value["metadata"]["managedFields"] = json!([{"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {
        "f:replicas": {}, "f:minReadySeconds": {}, "f:progressDeadlineSeconds": {}, "f:template": {},
        "f:strategy": {"f:type": {}, "f:rollingUpdate": {"f:maxSurge": {}, "f:maxUnavailable": {}}}}}}]);
    value["status"] = json!({"observedGeneration": if status.is_observed { 2 } else { 1 }, "replicas": status.all,
        "updatedReplicas": status.updated, "availableReplicas": status.available});
    Object::from_value(&ClusterName::local(), value).expect("well formed")
}

/// Its ReplicaSets and their pods.
pub(super) fn children(cluster: Cluster) -> (Vec<Object>, Vec<Object>) {
    let (mut sets, mut pods) = (Vec::new(), Vec::new());
    for (index, set) in cluster.sets.iter().enumerate().filter(|(_, set)| set.exists) {
        let release = u8::try_from(index).expect("below three");
        let uid = format!("set-{}", name(release));
        let owned = |owner: &str| json!([{"controller": true, "uid": owner}]);
        let mut template = template(release);
        template["metadata"]["labels"]["pod-template-hash"] = json!(format!("hash-{}", name(release)));
        let body = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": uid, "namespace": "a", "uid": uid, "ownerReferences": owned("web-uid"),
                "labels": {"pod-template-hash": format!("hash-{}", name(release))},
                "annotations": {"deployment.kubernetes.io/desired-replicas": PODS.to_string()}},
            "spec": {"replicas": set.wanted, "template": template},
            "status": {"replicas": set.pods, "readyReplicas": set.ready, "availableReplicas": set.available}});
        sets.push(Object::from_value(&ClusterName::local(), body).expect("well formed"));
        for pod in 0..set.pods {
            let is_ready = pod < set.ready;
            let waits = if set.is_crashing { json!({"waiting": {"reason": "CrashLoopBackOff"}}) } else { json!({}) };
            let body = json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("{uid}-{pod}"), "namespace": "a", "ownerReferences": owned(&uid)},
                "status": {"conditions": [{"type": "Ready", "status": if is_ready { "True" } else { "False" }}],
                    "containerStatuses": [{"name": "web", "restartCount": 0, "state": waits}]}});
            pods.push(Object::from_value(&ClusterName::local(), body).expect("well formed"));
        }
    }
    (sets, pods)
}
