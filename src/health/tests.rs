//! One data file per case: a live object, the declared rules if any, and its health. Below `cases/`, in a folder for each
//! kind of the table, one for kinds that have no rule (`generic`) and one for declared rules (`declared`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{RULES, health, worst};
use crate::expression::Expression;
use crate::model::HealthStatus::{Degraded, Healthy, Missing, Progressing, Suspended, Unknown};
use crate::model::{ClusterName, GroupKind, Health, HealthRule, HealthStatus, Object};

const STATUSES: [HealthStatus; 6] = [Healthy, Suspended, Progressing, Missing, Degraded, Unknown];

/// A case: where it stands, what is judged, and what is expected.
struct Case {
    folder: String,
    path: PathBuf,
    object: Object,
    rules: Vec<HealthRule>,
    expected: Option<Health>,
}

fn read_rule(rule: &Value) -> HealthRule {
    let text = |name: &str| rule.get(name).and_then(Value::as_str);
    let expression = |name: &str| text(name).map(|source| Expression::parse(source, &HealthRule::VARIABLES).unwrap());
    HealthRule {
        kind: GroupKind::new(text("group").unwrap_or_default(), text("kind").unwrap()),
        degraded: expression("degraded"),
        suspended: expression("suspended"),
        healthy: expression("healthy"),
        progressing: expression("progressing"),
    }
}

fn read_case(folder: &str, path: PathBuf) -> Case {
    let text = std::fs::read_to_string(&path).unwrap();
    let case: Value = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let fields: Vec<_> = case.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(fields.iter().all(|field| ["object", "rules", "health"].contains(field)), "{}: {fields:?}", path.display());
    let expected = case.get("health").unwrap_or_else(|| panic!("{} expects nothing", path.display()));
    let expected = expected.as_object().map(|expected| {
        let word = expected["status"].as_str().unwrap();
        let status = STATUSES.into_iter().find(|status| status.as_str() == word);
        Health::new(
            status.unwrap_or_else(|| panic!("{}: {word}", path.display())),
            expected["message"].as_str().unwrap(),
        )
    });
    let rules = case.get("rules").and_then(Value::as_array).into_iter().flatten().map(read_rule).collect();
    let object = Object::from_value(&ClusterName::local(), case["object"].clone()).unwrap();
    Case { folder: folder.to_owned(), path, object, rules, expected }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/health/cases");
    let mut cases = Vec::new();
    for folder in entries(&root) {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        cases.extend(entries(&folder).into_iter().map(|path| read_case(&name, path)));
    }
    cases
}

fn folder_of(group: &str, kind: &str) -> String {
    format!("{}-{kind}", if group.is_empty() { "core" } else { group })
}

#[test]
fn every_case_has_the_health_that_its_file_says() {
    let cases = cases();
    assert!(cases.len() >= 250, "only {} cases were found", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let found = health(&case.object, &case.rules);
        if found != case.expected {
            wrong.push(format!("{}:\n  expected {:?}\n  found    {found:?}", case.path.display(), case.expected));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases fail:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn every_kind_of_the_table_has_a_case_for_each_status_that_it_can_have_and_for_no_other() {
    let mut found: BTreeMap<String, BTreeSet<HealthStatus>> = BTreeMap::new();
    for case in cases() {
        let kind = &case.object.key.kind;
        if !["generic", "declared"].contains(&case.folder.as_str()) {
            assert_eq!(
                case.folder,
                folder_of(&kind.group, &kind.kind),
                "{} is in another's folder",
                case.path.display()
            );
        }
        found.entry(case.folder).or_default().extend(case.expected.map(|health| health.status));
    }
    for rule in RULES {
        let folder = folder_of(rule.group, rule.kind);
        let says: BTreeSet<HealthStatus> = rule.says.iter().copied().collect();
        assert_eq!(found.remove(&folder).unwrap_or_default(), says, "{folder}");
    }
    let all_but_missing: BTreeSet<HealthStatus> = [Healthy, Suspended, Progressing, Degraded, Unknown].into();
    assert_eq!(found.remove("declared"), Some(all_but_missing));
    assert_eq!(found.remove("generic"), Some([Healthy, Progressing, Degraded].into()));
    assert_eq!(found, BTreeMap::new(), "folders of kinds that the table does not have");
}

#[test]
fn no_kind_is_in_the_table_twice() {
    let kinds: BTreeSet<_> = RULES.iter().map(|rule| (rule.group, rule.kind)).collect();
    assert_eq!(kinds.len(), RULES.len());
}

#[test]
fn the_page_about_health_names_every_kind_of_the_table() {
    let page = include_str!("../../docs/reference/health.md");
    let missing: Vec<_> =
        RULES.iter().map(|rule| rule.kind).filter(|kind| !page.contains(&format!("`{kind}`"))).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn no_object_however_odd_makes_a_rule_panic() {
    let odd = [
        serde_json::json!(null),
        serde_json::json!([]),
        serde_json::json!("text"),
        serde_json::json!(-1),
        serde_json::json!({"conditions": "text", "listeners": 3, "parents": [null, {"conditions": [null, 1, {}]}]}),
        serde_json::json!({"conditions": [null, "text", {"type": 1, "status": true, "observedGeneration": "x"}], "phase": 7}),
        serde_json::json!({"conditions": [{"type": "Ready"}], "replicas": i64::MIN, "updatedReplicas": i64::MAX}),
        serde_json::json!({"replicas": "3", "observedGeneration": {}, "health": [], "containerStatuses": [null, 3, {}]}),
    ];
    for rule in RULES {
        for (spec, status) in odd.iter().flat_map(|spec| odd.iter().map(move |status| (spec, status))) {
            let version = if rule.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", rule.group) };
            let body = serde_json::json!({
                "apiVersion": version, "kind": rule.kind, "metadata": {"name": "odd", "generation": 1}, "spec": spec, "status": status,
            });
            let object = Object::from_value(&ClusterName::local(), body).unwrap();
            if let Some(found) = health(&object, &[]) {
                assert!(rule.says.contains(&found.status), "{} {spec} {status}: {found:?}", rule.kind);
            }
        }
    }
}

#[test]
fn the_worst_of_many_is_taken_in_argo_cds_order() {
    let of =
        |statuses: &[HealthStatus]| worst(statuses.iter().map(|status| Health::new(*status, status.as_str()))).status;
    assert_eq!(of(&[]), Healthy);
    // Argo CD's order, best first, is that of `healthOrder` in gitops-engine/pkg/health/health.go.
    for (index, status) in STATUSES.into_iter().enumerate() {
        for better in &STATUSES[..=index] {
            assert_eq!(of(&[*better, status]), status);
            assert_eq!(of(&[status, *better]), status);
        }
    }
    assert_eq!(of(&[Progressing, Degraded, Healthy, Missing, Suspended]), Degraded);
    let two = worst([Health::new(Degraded, "one"), Health::healthy(), Health::new(Progressing, "two")]);
    assert_eq!(two.message, "one");
}
