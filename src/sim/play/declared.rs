//! A WavePlan as Git declares it: the way back from the model, so that a resolved plan can be played in place.

use serde_json::{Map, Value, json};

use crate::model::{Analysis, Capacity, NoDataRule, OnFailure, Replicas, Strategy, Wave, WavePlan};

/// The plan as an Application's `spec.plan`.
pub(super) fn plan(plan: &WavePlan) -> Value {
    let WavePlan { name: _, strategy, capacity, waves, analysis, restarts_max, on_failure, revert_timeout, express } =
        plan;
    json!({
        "strategy": match strategy {
            Strategy::Rolling => "rolling",
            Strategy::Canary => "canary",
        },
        "capacity": match capacity {
            Capacity::Surge => "surge",
            Capacity::InPlace => "inPlace",
        },
        "waves": waves.iter().map(wave).collect::<Vec<_>>(),
        "analysis": analysis.iter().map(query).collect::<Vec<_>>(),
        "health": {"maxRestarts": restarts_max},
        "onFailure": match on_failure {
            OnFailure::Revert => "revert",
            OnFailure::Hold => "hold",
        },
        "revertTimeout": revert_timeout.to_string(),
        "express": express.iter().map(wave).collect::<Vec<_>>(),
    })
}

fn wave(wave: &Wave) -> Value {
    let Wave { name, replicas, bake, timeout, analysis } = wave;
    json!({
        "name": name,
        "replicas": match replicas {
            Replicas::Count(count) => json!(count),
            Replicas::Percent(percent) => json!(format!("{percent}%")),
        },
        "bake": bake.to_string(),
        "timeout": timeout.to_string(),
        "analysis": analysis,
    })
}

fn query(analysis: &Analysis) -> Value {
    let Analysis { name, provider, query, min, max, interval, count, failures_max, no_data } = analysis;
    let mut fields = Map::from_iter([
        ("name".to_owned(), json!(name)),
        ("provider".to_owned(), json!(provider)),
        ("query".to_owned(), json!(query)),
        ("interval".to_owned(), json!(interval.to_string())),
        ("count".to_owned(), json!(count)),
        ("failureLimit".to_owned(), json!(failures_max)),
        (
            "noData".to_owned(),
            json!(match no_data {
                NoDataRule::Fail => "fail",
                NoDataRule::Wait => "wait",
            }),
        ),
    ]);
    for (bound, value) in [("min", min), ("max", max)] {
        if let Some(value) = value {
            fields.insert(bound.to_owned(), json!(value));
        }
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::declare::{API_VERSION, Made, assemble, built_in_plans, parse_file};

    #[test]
    fn a_plan_that_is_written_out_reads_as_the_same_plan() {
        let mut plans: Vec<WavePlan> = built_in_plans().values().map(|plan| WavePlan::clone(plan)).collect();
        plans.push(WavePlan::all_at_once());
        for original in plans {
            let document = json!({"apiVersion": API_VERSION, "kind": "WavePlan", "metadata": {"name": original.name}, "spec": plan(&original)});
            let file = parse_file("plan.yaml", document.to_string().as_bytes());
            let read = assemble(
                &BTreeMap::from([("plan.yaml".to_owned(), Arc::new(file))]),
                &BTreeMap::new(),
                [],
                &Made::default(),
            );
            assert_eq!(read.problems, []);
            assert_eq!(*read.plans[&original.name], original);
        }
    }
}
