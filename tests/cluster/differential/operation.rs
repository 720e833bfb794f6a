//! Operation sequences from chance, as data: what is sent is the same for both sides but for what each side assigns.

use serde_json::{Value, json};

use crate::support::chance::Chance;

/// A kind under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigMap,
    Deployment,
    Service,
    StatefulSet,
    Application,
}

const KINDS: [Kind; 5] = [Kind::ConfigMap, Kind::Deployment, Kind::Service, Kind::StatefulSet, Kind::Application];

impl Kind {
    pub(super) fn api_version(self) -> &'static str {
        match self {
            Self::ConfigMap | Self::Service => "v1",
            Self::Deployment | Self::StatefulSet => "apps/v1",
            Self::Application => "tidegate.dev/v1alpha1",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::StatefulSet => "StatefulSet",
            Self::Application => "Application",
        }
    }

    fn has_status(self) -> bool {
        self != Self::ConfigMap
    }
}

/// Who applies; others write in other ways.
pub(super) const APPLIERS: [&str; 3] = ["tidegate", "helm", "kubectl"];
const WRITERS: [&str; 2] = ["kubectl-edit", "controller"];

/// What a write or deletion says of the object that it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Nothing,
    Newest,
    /// The first resourceVersion that was ever seen.
    Old,
    OtherUid,
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Create {
        manager: &'static str,
        body: Value,
    },
    Apply {
        manager: &'static str,
        body: Value,
        is_forced: bool,
        is_dry_run: bool,
        expected: Expected,
    },
    /// Sends back the newest body with a merge patch over it.
    Update {
        manager: &'static str,
        change: Value,
        expected: Expected,
        is_status: bool,
        forgets_owners: bool,
    },
    Patch {
        manager: &'static str,
        operations: Value,
    },
    Merge {
        manager: &'static str,
        change: Value,
        is_status: bool,
    },
    Delete {
        expected: Expected,
    },
}

impl Operation {
    /// Whether its answer is the object as it is stored.
    pub(super) fn stores(&self) -> bool {
        match self {
            Self::Create { .. } | Self::Update { .. } | Self::Patch { .. } | Self::Merge { .. } => true,
            Self::Apply { is_dry_run, .. } => !is_dry_run,
            Self::Delete { .. } => false,
        }
    }

    /// One line for a story.
    pub(super) fn tell(&self) -> String {
        match self {
            Self::Create { manager, body } => format!("{manager} creates {body}"),
            Self::Apply { manager, body, is_forced, is_dry_run, expected } => {
                let forced = if *is_forced { ", forced" } else { "" };
                let dry = if *is_dry_run { ", dry run" } else { "" };
                format!("{manager} applies ({expected:?}{forced}{dry}) {body}")
            }
            Self::Update { manager, change, expected, is_status, forgets_owners } => {
                let part = if *is_status { "status" } else { "object" };
                let forgets = if *forgets_owners { ", forgets owners" } else { "" };
                format!("{manager} updates {part} ({expected:?}{forgets}) with {change}")
            }
            Self::Patch { manager, operations } => format!("{manager} patches {operations}"),
            Self::Merge { manager, change, is_status } => {
                format!("{manager} merges into {} {change}", if *is_status { "status" } else { "object" })
            }
            Self::Delete { expected } => format!("somebody deletes ({expected:?})"),
        }
    }
}

/// Operations on one object.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    pub(super) kind: Kind,
    pub(super) operations: Vec<Operation>,
}

/// Draws a sequence.
pub(super) fn sequence(chance: &mut Chance) -> Sequence {
    let kind = KINDS[chance.below(5)];
    let mut operations = vec![if chance.below(3) == 0 {
        Operation::Create { manager: WRITERS[chance.below(2)], body: whole(kind, chance) }
    } else {
        let body = whole(kind, chance);
        Operation::Apply {
            manager: APPLIERS[0],
            body,
            is_forced: false,
            is_dry_run: false,
            expected: Expected::Nothing,
        }
    }];
    for _ in 0..5 + chance.below(7) {
        operations.push(operation(kind, chance));
    }
    Sequence { kind, operations }
}

fn operation(kind: Kind, chance: &mut Chance) -> Operation {
    let writer = WRITERS[chance.below(2)];
    let is_status = kind.has_status() && chance.below(4) == 0;
    let change = |chance: &mut Chance| if is_status { status(kind, chance) } else { part(kind, chance) };
    match chance.below(20) {
        0..8 => {
            let body = if chance.below(2) == 0 { whole(kind, chance) } else { part(kind, chance) };
            let expected = [Expected::Nothing, Expected::Nothing, Expected::Nothing, Expected::Newest, Expected::Old];
            Operation::Apply {
                manager: APPLIERS[chance.below(3)],
                body,
                is_forced: chance.below(3) != 0,
                is_dry_run: chance.below(6) == 0,
                expected: expected[chance.below(5)],
            }
        }
        8..11 => Operation::Update {
            manager: writer,
            change: change(chance),
            expected: [Expected::Newest, Expected::Newest, Expected::Nothing, Expected::Old, Expected::OtherUid]
                [chance.below(5)],
            is_status,
            forgets_owners: chance.below(8) == 0,
        },
        11..14 => Operation::Patch { manager: writer, operations: patches(kind, chance) },
        14..18 => Operation::Merge { manager: writer, change: change(chance), is_status },
        18 => Operation::Create { manager: writer, body: whole(kind, chance) },
        _ => Operation::Delete {
            expected: [Expected::Nothing, Expected::Newest, Expected::Old, Expected::OtherUid][chance.below(4)],
        },
    }
}

fn one_of(chance: &mut Chance, values: &[Value]) -> Value {
    values[chance.below(values.len() as u64)].clone()
}

fn pick(chance: &mut Chance, out_of: u64) -> bool {
    chance.below(out_of) == 0
}

/// A configuration that is enough to create the object, mostly a valid one.
fn whole(kind: Kind, chance: &mut Chance) -> Value {
    let mut body = match kind {
        Kind::ConfigMap => json!({"data": {}}),
        Kind::Service => json!({"spec": {"ports": [{"name": "http", "port": 80}]}}),
        Kind::Application => json!({"spec": {"declaredIn": "apps/web.yaml"}}),
        Kind::Deployment | Kind::StatefulSet => json!({"spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "registry.example/web:1"}]},
            },
        }}),
    };
    json_patch::merge(&mut body, &metadata(chance));
    for _ in 0..1 + chance.below(4) {
        json_patch::merge(&mut body, &field(kind, chance, false));
    }
    body
}

/// Some fields alone.
fn part(kind: Kind, chance: &mut Chance) -> Value {
    let mut body = if pick(chance, 3) { metadata(chance) } else { json!({}) };
    for _ in 0..1 + chance.below(2) {
        json_patch::merge(&mut body, &field(kind, chance, true));
    }
    body
}

fn metadata(chance: &mut Chance) -> Value {
    let value = ["1", "2"][chance.below(2)];
    let one = ["a", "b", "example.com/c"][chance.below(3)];
    match chance.below(8) {
        0 | 1 => json!({"metadata": {"labels": {one: value}}}),
        2 | 3 => json!({"metadata": {"annotations": {one: value}}}),
        4 => json!({"metadata": {"finalizers": ["tidegate.dev/hold"]}}),
        5 => json!({"metadata": {"finalizers": ["tidegate.dev/hold", "example.com/other"]}}),
        _ => json!({}),
    }
}

/// One field; `alone` when the rest of the object need not be complete.
fn field(kind: Kind, chance: &mut Chance, alone: bool) -> Value {
    match kind {
        Kind::ConfigMap => config_map(chance),
        Kind::Service => service(chance),
        Kind::Application => application(chance),
        Kind::Deployment | Kind::StatefulSet => workload(kind, chance, alone),
    }
}

fn config_map(chance: &mut Chance) -> Value {
    let (name, value) = (["a", "b", "c"][chance.below(3)], ["1", "2", ""][chance.below(3)]);
    match chance.below(12) {
        0 => json!({"immutable": true}),
        1 => json!({"binaryData": {"x": "AAEC"}}),
        2 => json!({"data": {"not/valid": "1"}}),
        _ => json!({"data": {name: value}}),
    }
}

fn service(chance: &mut Chance) -> Value {
    let ports = [
        json!([{"name": "http", "port": 80}]),
        json!([{"name": "http", "port": 80, "targetPort": "web"}]),
        json!([{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "more", "port": 81}]),
        json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "http", "port": 80, "targetPort": 8080}]),
        json!([{"port": 80}, {"port": 81}]),
        json!([{"name": "http", "port": 0}]),
    ];
    match chance.below(6) {
        0 | 1 => json!({"spec": {"ports": one_of(chance, &ports)}}),
        2 => json!({"spec": {"selector": one_of(chance, &[json!({"app": "web"}), json!({"app": "web", "b": "1"})])}}),
        3 => json!({"spec": {"sessionAffinity": one_of(chance, &[json!("None"), json!("ClientIP")])}}),
        4 => json!({"spec": {"publishNotReadyAddresses": pick(chance, 2)}}),
        _ => json!({"spec": {"type": "ClusterIP"}}),
    }
}

fn application(chance: &mut Chance) -> Value {
    let version = one_of(chance, &[json!("1.0.0"), json!("1.1.0"), json!(2), json!(null)]);
    let waves = one_of(chance, &[json!([]), json!([{"pods": 1}]), json!([{"pods": 1}, {"pods": "25%", "gates": []}])]);
    match chance.below(9) {
        0 => json!({"spec": {"version": version}}),
        1 => json!({"spec": {"plan": {"waves": waves, "capacity": "surge"}}}),
        2 => json!({"spec": {"images": one_of(chance, &[json!({"web": "x"}), json!([{"name": "x"}]), json!({})])}}),
        3 => json!({"spec": {"sync": {"prune": pick(chance, 2), "options": {"a": {"b": "c"}}}}}),
        4 => json!({"spec": {"extra": {"more": one_of(chance, &[json!([1, 2]), json!({"x": {}}), json!("text")])}}}),
        5 => json!({"record": {"rollout": {"wave": chance.below(3)}, "applied": waves}}),
        6 => json!({"record": {"seen": {"commit": (["a", "b"][chance.below(2)])}}}),
        7 => json!({"spec": {"declaredIn": one_of(chance, &[json!("apps/a.yaml"), json!("apps/b.yaml"), json!(7)])}}),
        _ => json!({"spec": {"attempt": chance.below(3)}}),
    }
}

fn workload(kind: Kind, chance: &mut Chance, alone: bool) -> Value {
    let is_stateful = kind == Kind::StatefulSet;
    match chance.below(14) {
        0 | 1 => json!({"spec": {"replicas": chance.below(4)}}),
        2 if is_stateful => json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": chance.below(3)}}}}),
        2 | 3 if !is_stateful => {
            let share = [json!(0), json!(1), json!("25%"), json!("50%")];
            let (surge, unavailable) = (one_of(chance, &share), one_of(chance, &share));
            let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
            let strategies = [
                json!({"rollingUpdate": rolling}),
                json!({"type": "RollingUpdate", "rollingUpdate": rolling}),
                json!({"rollingUpdate": {"maxSurge": surge}}),
                json!({"type": "Recreate"}),
                json!({"type": "Recreate", "rollingUpdate": null}),
            ];
            json!({"spec": {"strategy": one_of(chance, &strategies)}})
        }
        4 => json!({"spec": {"minReadySeconds": ([0, 5, 700][chance.below(3)])}}),
        5 if is_stateful => one_of(
            chance,
            &[
                json!({"spec": {"serviceName": "web"}}),
                json!({"spec": {"podManagementPolicy": "Parallel"}}),
                json!({"spec": {"updateStrategy": {"type": "OnDelete"}}}),
                json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}}),
            ],
        ),
        5 => json!({"spec": {"paused": pick(chance, 2)}}),
        6 => one_of(
            chance,
            &[
                json!({"spec": {"revisionHistoryLimit": 3}}),
                json!({"spec": {"replicas": -1}}),
                json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}),
                json!({"spec": {"template": {"metadata": {"labels": {"app": "other"}}}}}),
                json!({"spec": {"replicas": "many"}}),
                json!({"spec": {"replica": 1}}),
            ],
        ),
        7 => json!({"spec": {"template": {"metadata": {"annotations": {"config": (["1", "2"][chance.below(2)])}}}}}),
        8 => json!({"spec": {"template": {"metadata": {"labels": {"tier": (["1", "2"][chance.below(2)])}}}}}),
        9 => json!({"spec": {"template": {"spec": pod_field(chance)}}}),
        // A merge patch would replace the list: only a configuration to apply states containers in part.
        _ => json!({"spec": {"template": {"spec": {"containers": containers(chance, alone)}}}}),
    }
}

fn pod_field(chance: &mut Chance) -> Value {
    one_of(
        chance,
        &[
            json!({"terminationGracePeriodSeconds": 5}),
            json!({"nodeSelector": {"zone": "a"}}),
            json!({"tolerations": [{"key": "a", "operator": "Exists"}]}),
            json!({"imagePullSecrets": [{"name": "one"}]}),
            json!({"imagePullSecrets": [{"name": "two"}, {"name": "one"}]}),
            json!({"securityContext": {"runAsNonRoot": true}}),
            json!({"volumes": [{"name": "config", "configMap": {"name": "web"}}]}),
            json!({"volumes": [{"name": "config", "configMap": {"name": "web"}}, {"name": "tmp", "emptyDir": {}}]}),
            json!({"serviceAccountName": "web"}),
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}]}}}),
            json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}),
            json!({"restartPolicy": "Never"}),
        ],
    )
}

fn containers(chance: &mut Chance, alone: bool) -> Value {
    let mut web = json!({"name": "web"});
    if !alone || pick(chance, 2) {
        let images = [json!("registry.example/web:1"), json!("registry.example/web:2"), json!("registry.example/web")];
        web["image"] = one_of(chance, &images);
    }
    for _ in 0..chance.below(3) {
        let more = container_field(chance);
        json_patch::merge(&mut web, &more);
    }
    let side = json!({"name": "side", "image": "side:latest"});
    match chance.below(6) {
        0 => json!([web, side]),
        1 => json!([side, web]),
        2 if pick(chance, 3) => json!([web, web]),
        _ => json!([web]),
    }
}

fn container_field(chance: &mut Chance) -> Value {
    let value = ["1", "2", ""][chance.below(3)];
    let environments = [
        json!([{"name": "A", "value": value}]),
        json!([{"name": "B", "value": value}, {"name": "A", "value": "1"}]),
        json!([{"name": "A", "value": "1"}, {"name": "C", "value": value}, {"name": "B"}]),
        json!([{"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        json!([]),
    ];
    let ports = [
        json!([{"containerPort": 80}]),
        json!([{"containerPort": 80, "name": "web", "protocol": "TCP"}]),
        json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]),
    ];
    let probe = json!({"httpGet": {"path": "/ready", "port": 80}, "periodSeconds": 1 + chance.below(2)});
    match chance.below(9) {
        0..3 => json!({"env": one_of(chance, &environments)}),
        3 => json!({"ports": one_of(chance, &ports)}),
        4 => json!({"readinessProbe": probe}),
        5 => json!({"resources": {"requests": {"cpu": (["100m", "200m"][chance.below(2)])}}}),
        6 => json!({"command": [(["a", "b"][chance.below(2)])], "args": ["x"]}),
        7 => json!({"volumeMounts": [{"name": "config", "mountPath": "/etc/config"}]}),
        _ => json!({"imagePullPolicy": "Always"}),
    }
}

fn status(kind: Kind, chance: &mut Chance) -> Value {
    let time = "2026-01-01T00:00:00Z";
    let state = ["True", "False"][chance.below(2)];
    let condition =
        |name: &str| json!({"type": name, "status": state, "reason": "Why", "message": "", "lastTransitionTime": time});
    let number = chance.below(3);
    let status = match (kind, chance.below(4)) {
        (Kind::ConfigMap, _) => json!({}),
        (Kind::Service, _) => json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
        (Kind::Application, 0) => json!({"conditions": [condition("Ready"), condition("Synced")]}),
        (Kind::Application, 1) => {
            json!({"conditions": [condition("Ready")], "phase": "Idle", "observedGeneration": number})
        }
        (Kind::Application, 2) => json!({"health": {"status": "Healthy", "more": {"a": number}}, "custom": [1]}),
        (Kind::Application, _) => json!({"conditions": [{"type": "Ready"}], "phase": "Rolling"}),
        (Kind::Deployment, 0) => json!({"replicas": number, "conditions": [{"type": "Available", "status": state}]}),
        (Kind::Deployment, _) => json!({"observedGeneration": number, "replicas": 2, "readyReplicas": number}),
        (Kind::StatefulSet, _) => json!({"replicas": 2, "readyReplicas": number, "updateRevision": "web-1"}),
    };
    if pick(chance, 4) {
        // Not what this part is for.
        json!({"status": status, "metadata": {"labels": {"x": "y"}, "annotations": {"x": state}}, "spec": {"minReadySeconds": 3}})
    } else {
        json!({"status": status})
    }
}

fn patches(kind: Kind, chance: &mut Chance) -> Value {
    let value = ["1", "2"][chance.below(2)];
    let number = chance.below(4);
    let any = [
        json!([{"op": "add", "path": "/metadata/annotations", "value": {"a": value}}]),
        json!([{"op": "add", "path": "/metadata/labels/a", "value": value}]),
        json!([{"op": "remove", "path": "/metadata/annotations/a"}]),
        json!([{"op": "remove", "path": "/metadata/finalizers"}]),
        json!([{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}]),
        json!([{"op": "add", "path": "/metadata/finalizers/-", "value": "tidegate.dev/hold"}]),
        json!([{"op": "replace", "path": "/metadata/finalizers/0", "value": "unqualified"}]),
    ];
    let template = "/spec/template/spec/containers/0";
    let at = |path: &str| format!("{template}/{path}");
    let own = match kind {
        Kind::ConfigMap => vec![
            json!([{"op": "add", "path": "/data/a", "value": value}]),
            json!([{"op": "test", "path": "/data/a", "value": "1"}, {"op": "replace", "path": "/data/a", "value": "2"}]),
            json!([{"op": "remove", "path": "/data"}]),
        ],
        Kind::Service => vec![
            json!([{"op": "add", "path": "/spec/ports/-", "value": {"name": "more", "port": 90 + number}}]),
            json!([{"op": "remove", "path": "/spec/ports/0"}]),
            json!([{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 8080}]),
        ],
        Kind::Application => vec![
            json!([{"op": "add", "path": "/spec/version", "value": value}]),
            json!([{"op": "add", "path": "/record", "value": {"rollout": {"wave": number}}}]),
            json!([{"op": "add", "path": "/surprise", "value": 1}]),
            json!([{"op": "remove", "path": "/record"}]),
            json!([{"op": "remove", "path": "/metadata/resourceVersion"}]),
        ],
        Kind::Deployment | Kind::StatefulSet => vec![
            json!([{"op": "replace", "path": "/spec/replicas", "value": number}]),
            json!([{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 3}]),
            json!([{"op": "add", "path": at("env"), "value": [{"name": "A", "value": value}]}]),
            json!([{"op": "add", "path": at("env/-"), "value": {"name": "D", "value": value}}]),
            json!([{"op": "add", "path": at("env/-"), "value": {"name": "A", "value": value}}]),
            json!([{"op": "remove", "path": at("env/0")}]),
            json!([{"op": "replace", "path": at("image"), "value": format!("registry.example/web:{number}")}]),
            json!([{"op": "remove", "path": "/spec/template/spec/containers"}]),
            json!([{"op": "remove", "path": "/spec/template/metadata/annotations"}]),
        ],
    };
    if pick(chance, 3) { one_of(chance, &any) } else { one_of(chance, &own) }
}
