//! Which faults strike, and where. A fault is named by its kind and by the count of occasions that it had, so that one
//! that struck by chance can be told again one by one.

use std::collections::{BTreeMap, BTreeSet};

use super::chance::{Chance, Stream};

/// What may go wrong on an occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A call is answered 429, 5xx or not at all, without effect.
    RefuseCall,
    /// A write takes effect and its answer is lost.
    LoseAnswer,
    /// A call takes seconds.
    SlowCall,
    /// Somebody else writes the object just before.
    RaceWrite,
    /// A watch event never comes.
    DropEvent,
    /// A watch lags for seconds.
    DelayEvent,
    /// A watch event overtakes the one before it.
    SwapEvent,
    /// A watch event comes twice, the second time late.
    RepeatEvent,
    /// A watch ends early: with 410, an error, or quietly.
    EndWatch,
    /// A sample cannot be taken or has no data.
    FailMeasure,
    /// Git does not answer.
    FailPoll,
    /// The agent's process dies just before a write of its goes out.
    CrashBeforeWrite,
    /// The agent's process dies just after a write of its was committed.
    CrashAfterWrite,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::RefuseCall,
        Self::LoseAnswer,
        Self::SlowCall,
        Self::RaceWrite,
        Self::DropEvent,
        Self::DelayEvent,
        Self::SwapEvent,
        Self::RepeatEvent,
        Self::EndWatch,
        Self::FailMeasure,
        Self::FailPoll,
        Self::CrashBeforeWrite,
        Self::CrashAfterWrite,
    ];
}

/// When a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strikes {
    /// On so many of a thousand occasions, by chance.
    Permille(u16),
    /// On exactly these occasions, counted from 0.
    Exactly(BTreeSet<u64>),
}

/// The faults of one story.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    strikes: BTreeMap<Fault, Strikes>,
    occasions: BTreeMap<Fault, u64>,
    struck: BTreeMap<Fault, BTreeSet<u64>>,
    are_over: bool,
}

impl Faults {
    /// Faults that strike as told.
    #[must_use]
    pub fn new(strikes: BTreeMap<Fault, Strikes>) -> Self {
        Self { strikes, ..Self::default() }
    }

    /// No more faults from now on.
    pub fn stop(&mut self) {
        self.are_over = true;
    }

    /// The occasions on which each fault struck.
    #[must_use]
    pub const fn struck(&self) -> &BTreeMap<Fault, BTreeSet<u64>> {
        &self.struck
    }

    /// How many occasions each fault had.
    #[must_use]
    pub fn occasions(&self, fault: Fault) -> u64 {
        self.occasions.get(&fault).copied().unwrap_or_default()
    }

    /// Whether the fault strikes on this occasion, and a draw for how it does.
    pub(super) fn strike(&mut self, fault: Fault, chance: Chance) -> Option<u64> {
        let occasion = self.occasions.entry(fault).or_default();
        let index = *occasion;
        *occasion += 1;
        if self.are_over {
            return None;
        }
        let draw = |offset: u64| chance.draw(Stream::Fault, ((fault as u64) << 48) | (index << 1) | offset);
        let strikes = match self.strikes.get(&fault)? {
            Strikes::Permille(share) => draw(0) % 1000 < u64::from(*share),
            Strikes::Exactly(occasions) => occasions.contains(&index),
        };
        if !strikes {
            return None;
        }
        self.struck.entry(fault).or_default().insert(index);
        Some(draw(1))
    }
}
