//! Which fields a WavePlan has. Enters: nothing. Leaves: its shape.

use super::API_VERSION;
use super::shape::{Kind, Rule, Shape, optional, required};
use crate::model::plan::WAVES_MAX;

/// A WavePlan document.
pub(super) static WAVE_PLAN: Shape = Shape {
    about: "A Tidegate WavePlan: how a Release goes out, wave by wave.",
    fields: &[
        required("apiVersion", Kind::Text(Rule::Exactly(API_VERSION)), "Version of this format."),
        required("kind", Kind::Text(Rule::Exactly("WavePlan")), "What this document declares."),
        required("metadata", Kind::Mapping(&PLAN_METADATA), "What names it."),
        required("spec", Kind::Mapping(&PLAN_SPEC), "The plan."),
    ],
    foreign: &[("status", "a plan has no status; remove it")],
};

static PLAN_METADATA: Shape = Shape {
    about: "What names a WavePlan.",
    fields: &[
        required("name", Kind::Text(Rule::Label(63)), "Name that Applications refer to; unique in the repository."),
        optional("labels", Kind::Labels, "Labels, for people and tools."),
    ],
    foreign: &[("namespace", "plans have none; remove it"), ("annotations", "annotations are not read; remove them")],
};

/// The `spec` of a WavePlan.
pub(super) static PLAN_SPEC: Shape = Shape {
    about: "How a Release goes out.",
    fields: &[
        optional("strategy", Kind::Words(&["rolling", "canary"]), "How new pods come to be. Default rolling."),
        optional(
            "capacity",
            Kind::Words(&["surge", "inPlace"]),
            "Room for new pods: surge keeps all old pods until the last wave, inPlace replaces. Default surge.",
        ),
        required(
            "waves",
            Kind::List(&Kind::Mapping(&WAVE), 1, WAVES_MAX),
            "The waves in order, each larger than the one before; the last is all.",
        ),
        optional(
            "analysis",
            Kind::List(&Kind::Mapping(&ANALYSIS), 0, ANALYSES_MAX),
            "The queries that waves name as gates.",
        ),
        optional("health", Kind::Mapping(&HEALTH), "The health gate, which every wave has."),
        optional("onFailure", Kind::Words(&["revert", "hold"]), "What a shut gate leads to. Default revert."),
        optional(
            "revertTimeout",
            Kind::Duration(1),
            "How long the way back may take before it is called stuck. Default 10m.",
        ),
        optional(
            "express",
            Kind::List(&Kind::Mapping(&WAVE), 1, WAVES_MAX),
            "Waves for a Release that completed before, as after `git revert`. Default: one wave of all.",
        ),
    ],
    foreign: &[
        ("steps", "here they are `waves`"),
        ("maxSurge", "say `capacity: surge` or `capacity: inPlace`"),
        ("replicas", "each wave has its own `replicas`"),
    ],
};

/// Analyses of one plan: 20 waves x 5 gates is what a record has room for.
const ANALYSES_MAX: usize = 20;

static WAVE: Shape = Shape {
    about: "One batch of pods, and what must hold before the next.",
    fields: &[
        optional("name", Kind::Text(Rule::Label(63)), "Name. Default wave-1 and so on."),
        required("replicas", Kind::Replicas, "Pods on the new version: a count, a share such as \"25%\", or all."),
        optional("bake", Kind::Duration(0), "How long its pods must stay Ready. Default 0s."),
        optional("timeout", Kind::Duration(1), "How long its pods may take to become Ready. Default 10m."),
        optional(
            "analysis",
            Kind::List(&Kind::Text(Rule::Label(63)), 0, ANALYSES_MAX),
            "Names of the plan's analyses that gate this wave.",
        ),
    ],
    foreign: &[
        ("setWeight", "here it is `replicas: \"25%\"`"),
        ("weight", "here it is `replicas: \"25%\"`"),
        ("pause", "here it is `bake`"),
        ("duration", "here it is `bake`"),
        ("gates", "here it is `analysis`; health is always a gate"),
    ],
};

static ANALYSIS: Shape = Shape {
    about: "A query with thresholds; it needs min, max or both.",
    fields: &[
        required("name", Kind::Text(Rule::Label(63)), "Name that waves refer to."),
        required(
            "provider",
            Kind::Text(Rule::Label(63)),
            "Name of a metrics provider in the agent's settings. A plan carries no URL.",
        ),
        required(
            "query",
            Kind::Text(Rule::Query),
            "PromQL that gives one number, with ${application}, ${namespace}, ${version}, ${target_hash}, \
             ${target_pods}, ${stable_hash}, ${stable_pods}.",
        ),
        optional("min", Kind::Number, "The lowest value that passes."),
        optional("max", Kind::Number, "The highest value that passes."),
        optional("interval", Kind::Duration(100), "Time between two samples. Default 10s."),
        optional("count", Kind::Whole(1, 1000), "Samples to take. Default 3."),
        optional("failureLimit", Kind::Whole(0, 999), "Failed samples that are tolerated. Default 0."),
        optional(
            "noData",
            Kind::Words(&["fail", "wait"]),
            "A sample without data fails, or is taken again until the wave's timeout. Default fail.",
        ),
    ],
    foreign: &[
        ("url", "providers are in the agent's settings; name one in `provider`"),
        ("address", "providers are in the agent's settings; name one in `provider`"),
        ("successCondition", "here it is `min` and `max`"),
        ("thresholdRange", "here it is `min` and `max`"),
    ],
};

static HEALTH: Shape = Shape {
    about: "The health gate.",
    fields: &[optional("maxRestarts", Kind::Whole(0, 1000), "Container restarts that a new pod may have. Default 2.")],
    foreign: &[],
};
