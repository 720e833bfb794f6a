//! The plans that every agent knows: those in `policies/`, and `all-at-once`.
//!
//! Enters: nothing. Leaves: plans by name. A repository's plan of the same name wins over them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::file::parse_file;
use crate::model::WavePlan;

/// The files in `policies/`.
pub(super) const FILES: [(&str, &str); 4] = [
    ("policies/5-25-100.yaml", include_str!("../../policies/5-25-100.yaml")),
    ("policies/canary-blue-green.yaml", include_str!("../../policies/canary-blue-green.yaml")),
    ("policies/careful.yaml", include_str!("../../policies/careful.yaml")),
    ("policies/fast.yaml", include_str!("../../policies/fast.yaml")),
];

/// The ready-made plans by name.
#[must_use]
pub fn built_in_plans() -> BTreeMap<String, Arc<WavePlan>> {
    // They never change, and are wanted at every commit: read once.
    static PLANS: LazyLock<BTreeMap<String, Arc<WavePlan>>> = LazyLock::new(parse_all);
    PLANS.clone()
}

fn parse_all() -> BTreeMap<String, Arc<WavePlan>> {
    let all_at_once = Arc::new(WavePlan::all_at_once());
    let mut plans = BTreeMap::from([(all_at_once.name.clone(), all_at_once)]);
    for (path, text) in FILES {
        // A test holds these files to be without problems, so none is lost here.
        plans.extend(parse_file(path, text.as_bytes()).good_plans());
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_in_policies_parses_and_is_a_built_in_plan_of_its_name() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let mut found = BTreeMap::from([("all-at-once".to_owned(), Arc::new(WavePlan::all_at_once()))]);
        for entry in std::fs::read_dir(&folder).expect("policies/ is there") {
            let path = entry.expect("it can be listed").path();
            let text = std::fs::read(&path).expect("it can be read");
            let parsed = parse_file("policy.yaml", &text);
            assert_eq!(parsed.problems(), [], "{}", path.display());
            let plans: Vec<_> = parsed.good_plans().collect();
            let names: Vec<_> = plans.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, [path.file_stem().expect("a name").to_str().expect("text")]);
            found.extend(plans);
        }
        assert_eq!(found, built_in_plans());
    }

    #[test]
    fn canary_blue_green_is_one_pod_then_two_then_all() {
        let plans = built_in_plans();
        let waves = &plans["canary-blue-green"].waves;
        let names: Vec<_> = waves.iter().map(|wave| wave.name.as_str()).collect();
        assert_eq!(names, ["canary", "blue", "green"]);
        for (n, pods) in [(1, [1, 1, 1]), (2, [1, 2, 2]), (10, [1, 2, 10])] {
            assert_eq!(waves.iter().map(|wave| wave.replicas.of(n)).collect::<Vec<_>>(), pods, "n = {n}");
        }
    }
}
