//! Times, told relative to now: situations that differ only in when they happen are one.
//!
//! Enters: a record. Leaves: the same with only those times that can still matter, and without what is only told to
//! people. A decision that came to depend on something that is dropped here would be checked with that value alone.

use tidegate::model::{Measurement, Position, Record, Timestamp, Verdict};

use super::agent::{Memory, Sample};

/// The coarse clock: time goes on by this much. Intervals and timeouts are multiples of it.
const QUANTUM_SECONDS: i64 = 10;
/// Ages are told apart up to here: nothing in the plan takes longer than 30 s.
const AGE_MAX: u8 = 3;
pub(super) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("in range")
}

fn ago(age: u8) -> Timestamp {
    Timestamp::from_second(1_800_000_000 - i64::from(age) * QUANTUM_SECONDS).expect("in range")
}

/// How long ago, in quanta, no more than can matter, and `more` on top.
fn aged(at: Timestamp, more: u8) -> Timestamp {
    let seconds = now().as_second() - at.as_second();
    let age = u8::try_from(seconds / QUANTUM_SECONDS).unwrap_or(AGE_MAX).saturating_add(more);
    ago(age.min(AGE_MAX))
}

/// The record with only those times that can still matter, all of them relative to now, and without what is only told
/// to people: counters, measurements, reasons of ended rollouts.
pub(super) fn canonical(mut record: Record, more: u8) -> Record {
    let old = ago(AGE_MAX);
    if let Some(rollout) = &mut record.rollout {
        let current = match rollout.position {
            Position::Wave { index } => Some(index),
            Position::Preparing | Position::Trailing | Position::Reverting { .. } | Position::Held { .. } => None,
        };
        let is_preparing = rollout.position == Position::Preparing;
        rollout.started_at = if is_preparing { aged(rollout.started_at, more) } else { old };
        rollout.pods_to_revert.clear();
        if let Position::Reverting { since, .. } | Position::Held { since, .. } = &mut rollout.position {
            *since = old;
        }
        for (index, wave) in rollout.waves.iter_mut().enumerate() {
            let is_current = current == Some(index);
            wave.started_at = if is_current { aged(wave.started_at, more) } else { old };
            wave.ready_at = wave.ready_at.map(|at| if is_current { aged(at, more) } else { old });
            wave.passed_at = wave.passed_at.map(|_| old);
            wave.pods.clear();
            for gate in &mut wave.gates {
                gate.decided_at = old;
                gate.measurements.clear();
            }
        }
    }
    for past in &mut record.past {
        (past.started_at, past.ended_at) = (old, old);
        past.waves.clear();
    }
    record.quarantine.iter_mut().for_each(|held| held.at = old);
    record.last_revert_at = None;
    record.pods_reverted = 0;
    record
}

/// The samples that memory holds.
pub(super) fn measurements(memory: Memory) -> Vec<Measurement> {
    let sample = |sample: Sample| Measurement {
        at: ago(sample.age),
        value: Some(if sample.has_passed { 0.0 } else { 1.0 }),
        verdict: if sample.has_passed { Verdict::Pass } else { Verdict::Fail },
        message: "seen".to_owned(),
    };
    memory.samples.into_iter().flatten().map(sample).collect()
}
