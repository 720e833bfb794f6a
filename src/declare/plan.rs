//! The `spec` of a WavePlan -> [`WavePlan`].
//!
//! Enters: an opened mapping. Leaves: a plan whose waves grow, whose last wave is everything, and whose waves name only
//! analyses that exist; what breaks that goes to the sink.

use super::nearest::did_you_mean;
use super::problem::{Sink, shown};
use super::read::{Mapping, Place};
use crate::model::plan::{RESTARTS_MAX_DEFAULT, WAVE_TIMEOUT_DEFAULT};
use crate::model::{Analysis, Capacity, Millis, NoDataRule, OnFailure, Replicas, Strategy, Wave, WavePlan};

/// Gates that every wave has: an analysis of that name could not be told from them.
const GATES_BUILT_IN: [&str; 2] = ["health", "bake"];

/// Reads a plan. What it returns is valid only when nothing was reported.
pub(super) fn read_plan(name: &str, spec: &Mapping<'_>, sink: &mut Sink<'_>) -> WavePlan {
    let analysis: Vec<Analysis> =
        spec.mappings("analysis", sink).iter().filter_map(|mapping| read_analysis(mapping, sink)).collect();
    check_analysis_names(spec, sink);
    let strategy = spec.word("strategy", &[Strategy::Rolling, Strategy::Canary], sink);
    let capacity = spec.word("capacity", &[Capacity::Surge, Capacity::InPlace], sink);
    let waves = read_waves("waves", spec, sink);
    let express =
        if spec.get("express").is_some() { read_waves("express", spec, sink) } else { vec![Wave::all("express")] };
    let health = spec.mapping("health", sink);
    let restarts_max = health.and_then(|health| health.whole("maxRestarts", sink));
    let on_failure = spec.word("onFailure", &[OnFailure::Revert, OnFailure::Hold], sink);
    WavePlan {
        name: name.to_owned(),
        strategy: strategy.unwrap_or(Strategy::Rolling),
        capacity: capacity.unwrap_or(Capacity::Surge),
        waves,
        analysis,
        restarts_max: restarts_max.unwrap_or(RESTARTS_MAX_DEFAULT),
        on_failure: on_failure.unwrap_or(OnFailure::Revert),
        revert_timeout: spec.duration("revertTimeout", sink).unwrap_or(WAVE_TIMEOUT_DEFAULT),
        express,
    }
}

/// Reads one list of waves, and what holds between them.
fn read_waves(list: &str, spec: &Mapping<'_>, sink: &mut Sink<'_>) -> Vec<Wave> {
    let problems_before = sink.count();
    let known = analysis_names(spec);
    let mut waves: Vec<Wave> = Vec::new();
    let mut sizes: Vec<(Place<'_>, Replicas)> = Vec::new();
    for (index, mapping) in spec.mappings(list, sink).iter().enumerate() {
        let name = mapping.text("name", sink).map_or_else(|| format!("wave-{}", index + 1), str::to_owned);
        if let Some(place) = mapping.get("name")
            && waves.iter().any(|earlier| earlier.name == name)
        {
            place.report(sink, format!("two waves are called `{}`", shown(&name)), "give each its own name");
        }
        let replicas = mapping.replicas("replicas", sink);
        if let (Some(place), Some(replicas)) = (mapping.get("replicas"), replicas) {
            sizes.push((place, replicas));
        }
        let gates = mapping.texts("analysis", sink);
        // Waves and analyses may come from two documents: what hangs together is judged when they are one.
        for (place, gate) in gates.iter().filter(|(_, gate)| !spec.is_partial() && !known.contains(gate)) {
            let hint = did_you_mean(gate, known.iter().copied())
                .unwrap_or_else(|| "declare it in the plan's `analysis`".to_owned());
            place.report(sink, format!("no analysis is called `{}`", shown(gate)), hint);
        }
        waves.push(Wave {
            name,
            replicas: replicas.unwrap_or(Replicas::Percent(100)),
            bake: mapping.duration("bake", sink).unwrap_or_default(),
            timeout: mapping.duration("timeout", sink).unwrap_or(WAVE_TIMEOUT_DEFAULT),
            analysis: gates.iter().map(|(_, gate)| (*gate).to_owned()).collect(),
        });
    }
    // Sizes are compared once each is known: a wave that could not be read would make nonsense of its neighbours.
    if sink.count() == problems_before {
        check_growth(&sizes, sink);
    }
    waves
}

/// Each wave is larger than the one before, where that can be told without knowing n; the last is everything.
fn check_growth(sizes: &[(Place<'_>, Replicas)], sink: &mut Sink<'_>) {
    for pair in sizes.windows(2) {
        let [(_, before), (place, size)] = pair else { continue };
        let grows = match (before, size) {
            (Replicas::Percent(before), Replicas::Percent(size)) | (Replicas::Count(before), Replicas::Count(size)) => {
                size > before
            }
            (Replicas::Count(_), Replicas::Percent(_)) => true,
            // What comes after everything cannot be more; any other share may be less than a count.
            (Replicas::Percent(_), Replicas::Count(_)) => !before.is_all(),
        };
        if !grows {
            place.report(sink, format!("the wave before has {before}, so {size} is no growth"), "waves only grow");
        }
    }
    if let Some((place, size)) = sizes.last().filter(|(_, size)| !size.is_all()) {
        place.report(sink, format!("the last wave is {size}, so the rollout would never complete"), "write all");
    }
}

/// Names of the declared analyses, as far as they can be read.
fn analysis_names<'a>(spec: &Mapping<'a>) -> Vec<&'a str> {
    let mut quiet = Sink::new("", 0);
    spec.mappings("analysis", &mut quiet).iter().filter_map(|mapping| mapping.text("name", &mut quiet)).collect()
}

fn check_analysis_names(spec: &Mapping<'_>, sink: &mut Sink<'_>) {
    let mut names: Vec<&str> = Vec::new();
    let mut quiet = Sink::new("", 0);
    for mapping in spec.mappings("analysis", &mut quiet) {
        let (Some(place), Some(name)) = (mapping.get("name"), mapping.text("name", &mut quiet)) else { continue };
        if GATES_BUILT_IN.contains(&name) {
            place.report(sink, format!("`{name}` is a gate that every wave has"), "choose another name");
        } else if names.contains(&name) {
            place.report(sink, format!("two analyses are called `{}`", shown(name)), "give each its own name");
        }
        names.push(name);
    }
}

fn read_analysis(mapping: &Mapping<'_>, sink: &mut Sink<'_>) -> Option<Analysis> {
    let name = mapping.text("name", sink);
    let provider = mapping.text("provider", sink);
    let query = mapping.text("query", sink);
    let min = mapping.number("min", sink);
    let max = mapping.number("max", sink);
    let interval = mapping.duration("interval", sink).unwrap_or(Millis::from_seconds(10));
    let count = mapping.whole("count", sink).unwrap_or(3);
    let failures_max = mapping.whole("failureLimit", sink).unwrap_or(0);
    let no_data = mapping.word("noData", &[NoDataRule::Fail, NoDataRule::Wait], sink).unwrap_or(NoDataRule::Fail);
    match (mapping.get("min"), mapping.get("max")) {
        (None, None) => {
            let at = mapping.get("name").map_or(mapping.at(), |place| place.node.at);
            let field = mapping.get("name").map(|place| place.field).unwrap_or_default();
            let field = field.strip_suffix(".name").unwrap_or_default().to_owned();
            let message = "has neither `min` nor `max`, so every value would pass";
            sink.report(at, &field, message, "give the lowest or the highest value that passes");
        }
        (Some(_), Some(place)) => {
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                place.report(sink, format!("max {max} is below min {min}, so no value would pass"), "swap them");
            }
        }
        (Some(_), None) | (None, Some(_)) => {}
    }
    if let Some(place) = mapping.get("failureLimit")
        && failures_max >= count
    {
        let message = format!("{failures_max} of {count} samples may fail, so the gate would never shut");
        place.report(sink, message, "a failureLimit is less than count");
    }
    Some(Analysis {
        name: name?.to_owned(),
        provider: provider?.to_owned(),
        query: query?.to_owned(),
        min,
        max,
        interval,
        count,
        failures_max,
        no_data,
    })
}
