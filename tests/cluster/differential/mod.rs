//! The simulated API server against a real one: the same operations, drawn by chance, must have the same outcome, owners
//! and objects on both. Controllers are stopped meanwhile, so that nobody else writes; where they run, the simulated ones
//! are compared by the counts that workloads come to rest at.
#![allow(clippy::print_stderr, reason = "tells what was compared; a failing seed is printed by what draws from it")]

mod operation;
mod sides;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use serde_json::{Value, json};

use self::operation::{Sequence, sequence};
use self::sides::{Memory, NAMESPACE, Real, Simulated};
use crate::support::chance::Chance;
use crate::support::plane::{Plane, runtime};

/// Sequences under way at a time: enough to keep the API server busy.
const AT_A_TIME: usize = 24;

#[test]
fn the_simulated_api_server_answers_as_the_real_one() {
    compare(300);
}

#[test]
#[ignore = "takes minutes: see make test-all"]
fn the_simulated_api_server_answers_as_the_real_one_two_thousand_times_and_more() {
    compare(2_500);
}

#[test]
fn the_simulated_controllers_come_to_rest_where_the_real_ones_do() {
    compare_controllers(16);
}

#[test]
#[ignore = "takes minutes: see make test-all"]
fn the_simulated_controllers_come_to_rest_where_the_real_ones_do_a_hundred_times_and_more() {
    compare_controllers(120);
}

fn compare_controllers(count: usize) {
    let plane = Plane::own();
    plane.kubectl(&["create", "namespace", workloads::NAMESPACE]);
    let mut chance = Chance::new();
    let lives: Vec<workloads::Life> = (0..count).map(|_| workloads::life(&mut chance)).collect();
    let differences = workloads::compare(&Real { client: plane.client() }, &lives);
    assert!(differences.is_empty(), "{} of {count} differ:\n{}", differences.len(), differences.join("\n"));
}

fn compare(count: usize) {
    let plane = Plane::own();
    plane.install_crds();
    plane.kubectl(&["create", "namespace", NAMESPACE]);
    plane.say("stop controller-manager");
    let mut chance = Chance::new();
    let sequences: Vec<Sequence> = (0..count).map(|_| sequence(&mut chance)).collect();
    let real = Arc::new(Real { client: plane.client() });
    let (mut operations, mut differences) = (0, Vec::new());
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let runs = futures::stream::iter(sequences.iter().enumerate()).map(|(index, sequence)| {
        let real = Arc::clone(&real);
        async move { run(&real, &format!("it-{index}"), sequence).await }
    });
    let runs: Vec<Run> = runtime().block_on(runs.buffered(AT_A_TIME).collect());
    for run in runs {
        operations += run.outcomes.len();
        for outcome in run.outcomes {
            *outcomes.entry(outcome).or_default() += 1;
        }
        differences.extend(run.difference);
    }
    eprintln!("{count} sequences, {operations} operations, outcomes: {outcomes:?}");
    let shown: Vec<String> = differences.iter().take(25).cloned().collect();
    assert!(differences.is_empty(), "{} of {count} sequences differ:\n{}", differences.len(), shown.join("\n"));
    // A test of refusals alone would prove little.
    assert!(outcomes["done"] * 3 > operations, "too few operations are carried out: {outcomes:?}");
    for class in ["conflict", "invalid", "not found", "exists", "owned"] {
        assert!(outcomes.contains_key(class), "no operation was answered with `{class}`: {outcomes:?}");
    }
}

/// What came of one sequence.
struct Run {
    outcomes: Vec<String>,
    difference: Option<String>,
}

async fn run(real: &Real, name: &str, sequence: &Sequence) -> Run {
    let kind = sequence.kind;
    let mut simulated = Simulated::new();
    let (mut real_memory, mut simulated_memory) = (Memory::default(), Memory::default());
    let mut outcomes = Vec::new();
    for (step, operation) in sequence.operations.iter().enumerate() {
        let old = (real_memory.stored().cloned(), simulated_memory.stored().cloned());
        let wanted = real.perform(kind, name, operation, &real_memory).await;
        let got = simulated.perform(kind, name, operation, &simulated_memory);
        outcomes.push(match &wanted {
            Ok(_) => "done".to_owned(),
            Err(class) => class.split(" by ").next().unwrap_or_default().to_owned(),
        });
        let is_last = step + 1 == sequence.operations.len();
        let now = match &wanted {
            // What a write answers is what is stored; a refused one stored nothing, which the end of the sequence shows.
            Ok(body) if operation.stores() && body["metadata"].get("deletionTimestamp").is_none() && !is_last => {
                Some(body.clone())
            }
            Err(_) if !is_last => old.0.clone(),
            Ok(_) | Err(_) => real.read(kind, name).await,
        };
        let simulated_now = simulated.read(kind, name);
        let changed = (
            version(old.0.as_ref()) != version(now.as_ref()),
            version(old.1.as_ref()) != version(simulated_now.as_ref()),
        );
        let mut found = Vec::new();
        match (&wanted, &got) {
            (Ok(wanted), Ok(got)) => differ("the answer", Some(wanted), Some(got), &mut found),
            (wanted, got) if wanted.as_ref().err() != got.as_ref().err() => {
                let told = |outcome: &sides::Outcome| outcome.as_ref().map_or_else(Clone::clone, |_| "done".to_owned());
                found.push(format!("real: {}\n  simulated: {}", told(wanted), told(got)));
            }
            (_, _) => {}
        }
        let is_explained = is_reordered(old.0.as_ref(), now.as_ref()) || is_emptied(old.0.as_ref(), now.as_ref());
        if changed.0 != changed.1 && !is_explained {
            let told = |object: Option<&Value>| object.map(Value::to_string).unwrap_or_default();
            found.push(format!(
                "the resourceVersion changed: real {}, simulated {}\n  real before: {}\n  real now: {}",
                changed.0,
                changed.1,
                told(old.0.as_ref()),
                told(now.as_ref())
            ));
        }
        differ("what is stored", now.as_ref(), simulated_now.as_ref(), &mut found);
        if !found.is_empty() {
            let before = sequence.operations[..=step].iter().map(|operation| format!("  {}", operation.tell()));
            let before: Vec<String> = before.collect();
            let told = format!("{kind:?} {name}, operation {step}:\n{}\n{}\n", before.join("\n"), found.join("\n"));
            return Run { outcomes, difference: Some(told) };
        }
        real_memory.learn(now);
        simulated_memory.learn(simulated_now);
    }
    Run { outcomes, difference: None }
}

fn version(body: Option<&Value>) -> Option<&Value> {
    body.map(|body| &body["metadata"]["resourceVersion"])
}

/// Whether a write did nothing but put owners into another order: the real server sorts them by time, and gives a new time
/// to an apply that states a zero which storage leaves out.
fn is_reordered(before: Option<&Value>, after: Option<&Value>) -> bool {
    let read = |body: Option<&Value>| body.map(|body| (plain(body), owners(body)));
    let order = |body: Option<&Value>| body.map(|body| body["metadata"]["managedFields"].clone());
    read(before) == read(after) && order(before) != order(after)
}

/// Whether a write did nothing but take an emptied map of annotations or labels out of a custom resource: the real server
/// stores such a map when an apply takes its last entry, and shows it to nobody.
fn is_emptied(before: Option<&Value>, after: Option<&Value>) -> bool {
    let read = |body: Option<&Value>| body.map(|body| (plain(body), owners(body)));
    let is_left = |body: &Value, map: &str| {
        let owners = body["metadata"]["managedFields"].as_array().into_iter().flatten();
        let mut fields = owners.filter_map(|owner| owner.pointer("/fieldsV1/f:metadata"));
        body["metadata"].get(map).is_none() && fields.any(|fields| fields.get(format!("f:{map}")).is_some())
    };
    read(before) == read(after)
        && before.is_some_and(|body| ["annotations", "labels"].iter().any(|map| is_left(body, map)))
}

/// Tells how two objects differ, but for what only a server can assign.
fn differ(what: &str, real: Option<&Value>, simulated: Option<&Value>, found: &mut Vec<String>) {
    let read =
        |body: Option<&Value>| body.map_or(Value::Null, |body| json!({"object": plain(body), "owners": owners(body)}));
    differ_at(what, &read(real), &read(simulated), found);
}

fn differ_at(at: &str, real: &Value, simulated: &Value, found: &mut Vec<String>) {
    let none = Value::Null;
    match (real, simulated) {
        (Value::Object(some), Value::Object(others)) => {
            let names: BTreeSet<&String> = some.keys().chain(others.keys()).collect();
            for name in names {
                let at = format!("{at}.{name}");
                differ_at(&at, some.get(name).unwrap_or(&none), others.get(name).unwrap_or(&none), found);
            }
        }
        _ if real != simulated => found.push(format!("{at}\n    real {real}\n    simulated {simulated}")),
        _ => {}
    }
}

/// The owners of a body, by manager, operation and subresource.
fn owners(body: &Value) -> BTreeMap<String, Value> {
    let entries = body["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let entries = entries.iter().map(|entry| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let who = format!("{} {} {}", text("manager"), text("operation"), text("subresource"));
        (who, entry["fieldsV1"].clone())
    });
    entries.collect()
}

/// The body without what servers assign, and owners aside.
fn plain(body: &Value) -> Value {
    let mut body = body.clone();
    let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) else { return body };
    for field in ["uid", "creationTimestamp", "resourceVersion", "managedFields"] {
        metadata.remove(field);
    }
    if let Some(time) = metadata.get_mut("deletionTimestamp") {
        *time = json!("some time");
    }
    for field in ["clusterIP", "clusterIPs"] {
        if let Some(address) = body.get_mut("spec").and_then(|spec| spec.get_mut(field)) {
            *address = json!("some address");
        }
    }
    body
}
