//! The stored form of a [`Record`], version 1: compact JSON, exact in both directions.
//!
//! A change of this form raises [`RECORD_VERSION`] and reads the older ones; it never changes what version 1 means. A field
//! may join it whose absence means what records without it meant.

use serde_json::{Map, Value};

use super::StoreError;
use super::wire::{Fields, Path, Wire, wire_struct, wire_tagged, wire_words};
use crate::model::{
    Analysis, Capacity, GateRecord, HookRun, Hooks, Lane, Measurement, Moment, NoDataRule, OnFailure, Past,
    PastOutcome, Position, Quarantined, Record, ReleaseRef, Replicas, Request, RevertReason, Revision, Rollout,
    Strategy, Verdict, Wave, WavePlan, WaveRecord,
};

/// The form that this program writes.
pub const RECORD_VERSION: u64 = 1;

/// The stored form, its version included.
pub(super) fn to_value(record: &Record) -> Value {
    let mut value = record.to_wire();
    value["version"] = Value::from(RECORD_VERSION);
    value
}

/// Reads a stored record.
pub(super) fn from_value(value: &Value) -> Result<Record, StoreError> {
    let at = Path::Root("record");
    let mut fields = value.as_object().ok_or_else(|| at.broken("not a mapping"))?.clone();
    let version = fields.remove("version").unwrap_or_default();
    match u64::from_wire(&version, &Path::Field(&at, "version"))? {
        RECORD_VERSION => Record::from_wire(&Value::Object(fields), &at),
        0 => Err(Path::Field(&at, "version").broken("versions count from 1")),
        found => Err(StoreError::NewerVersion { found, known: RECORD_VERSION }),
    }
}

wire_struct!(Record {
    inventory: "inventory",
    stable: "stable",
    rollout: "rollout",
    quarantine: "quarantine",
    completed: "completed",
    past: "past",
    rollouts: "rollouts",
    pods_reverted: "podsReverted",
    last_revert_at: "lastRevertAt",
    answered: "answered",
});

wire_struct!(ReleaseRef { digest: "digest", attempt: "attempt", version: "version", revision: "revision" });

wire_struct!(Revision { branch: "branch", commit: "commit" } later { signer: "signer" });

wire_struct!(Quarantined { digest: "digest", attempt: "attempt", version: "version", reason: "reason", at: "at" });

wire_struct!(Past {
    id: "id",
    release: "release",
    lane: "lane",
    started_at: "startedAt",
    ended_at: "endedAt",
    outcome: "outcome",
    reason: "reason",
    waves: "waves",
} later { hooks: "hooks" });

wire_words!(PastOutcome { Completed: "completed", Reverted: "reverted", Withdrawn: "withdrawn", Held: "held" });

wire_struct!(Rollout {
    id: "id",
    target: "target",
    lane: "lane",
    plan: "plan",
    started_at: "startedAt",
    position: "position",
    waves: "waves",
    stable_hashes: "stableHashes",
    added: "added",
    pods_to_revert: "podsToRevert",
} later { hooks: "hooks" });

wire_struct!(Hooks { tries: "tries", runs: "runs" });

wire_struct!(HookRun { moment: "moment", key: "key", is_success: "isSuccess", message: "message", at: "at" }
    later { generated: "generated" });

wire_words!(Moment { Pre: "pre", Sync: "sync", Post: "post", OnFail: "onFail", OnRollback: "onRollback" });

wire_words!(Lane { FirstSync: "firstSync", Waves: "waves", Express: "express", Direct: "direct" });

wire_tagged!(Position, "at" {
    Preparing: "preparing" {},
    Wave: "wave" { index: "index" },
    Trailing: "trailing" {},
    Reverting: "reverting" { reason: "reason", since: "since", pods_are_back: "podsAreBack" },
    Held: "held" { reason: "reason", since: "since" },
});

wire_tagged!(RevertReason, "kind" {
    GateShut: "gateShut" { wave: "wave", gate: "gate", message: "message" },
    Deadline: "deadline" { wave: "wave", message: "message" },
    Requested: "requested" { by: "by" },
    RevertedInGit: "revertedInGit" {},
    Superseded: "superseded" { by: "by" },
});

wire_struct!(WaveRecord {
    name: "name",
    started_at: "startedAt",
    ready_at: "readyAt",
    passed_at: "passedAt",
    gates: "gates",
    pods: "pods",
});

wire_struct!(GateRecord {
    gate: "gate",
    verdict: "verdict",
    reason: "reason",
    decided_at: "decidedAt",
    measurements: "measurements",
});

wire_struct!(Measurement { at: "at", value: "value", verdict: "verdict", message: "message" });

wire_words!(Verdict { Pass: "pass", Fail: "fail", NoData: "noData", Error: "error", Inconclusive: "inconclusive" });

wire_struct!(WavePlan {
    name: "name",
    strategy: "strategy",
    capacity: "capacity",
    waves: "waves",
    analysis: "analysis",
    restarts_max: "restartsMax",
    on_failure: "onFailure",
    revert_timeout: "revertTimeout",
    express: "express",
});

wire_words!(Strategy { Rolling: "rolling", Canary: "canary" });

wire_words!(Capacity { Surge: "surge", InPlace: "inPlace" });

wire_words!(OnFailure { Revert: "revert", Hold: "hold" });

wire_struct!(Wave { name: "name", replicas: "replicas", bake: "bake", timeout: "timeout", analysis: "analysis" });

wire_struct!(Analysis {
    name: "name",
    provider: "provider",
    query: "query",
    min: "min",
    max: "max",
    interval: "interval",
    count: "count",
    failures_max: "failuresMax",
    no_data: "noData",
});

wire_words!(NoDataRule { Fail: "fail", Wait: "wait" });

/// A number of pods, or a share as text: `3` or `"25%"`, as Kubernetes writes its int-or-strings.
impl Wire for Replicas {
    fn to_wire(&self) -> Value {
        match self {
            Self::Count(count) => count.to_wire(),
            Self::Percent(_) => Value::from(self.to_string()),
        }
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        match value.as_str() {
            None => u32::from_wire(value, at).map(Self::Count),
            Some(text) => text
                .strip_suffix('%')
                .and_then(|share| share.parse().ok())
                .map(Self::Percent)
                .ok_or_else(|| at.broken("neither a number of pods nor a share such as `25%`")),
        }
    }
}

/// A consumed request and its answer. Only the text is stored: the verb is read from it.
impl Wire for (Request, String) {
    fn to_wire(&self) -> Value {
        let (request, answer) = self;
        serde_json::json!({ "request": request.text, "answer": answer })
    }

    fn from_wire(value: &Value, at: &Path<'_>) -> Result<Self, StoreError> {
        let fields = Fields::of(value, at, &["request", "answer"])?;
        Ok((Request::parse(&fields.read::<String>("request")?), fields.read("answer")?))
    }
}
