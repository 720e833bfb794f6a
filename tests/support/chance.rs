//! Chance that can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

/// A seeded sequence; `TIDEGATE_SEED=n` gives the same one again.
pub(crate) struct Chance(u64);

impl Chance {
    /// Takes the seed from the environment or the clock, and prints it for a failing test.
    pub(crate) fn new() -> Self {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| u64::from(time.subsec_nanos()));
        let given = std::env::var("TIDEGATE_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(clock).max(1);
        eprintln!("TIDEGATE_SEED={seed}");
        Self(seed)
    }

    /// A number from 0 to below `limit`, by xorshift.
    pub(crate) fn below(&mut self, limit: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit).expect("limits are small")
    }
}
