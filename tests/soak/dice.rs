//! Chance from a seed, one stream for each who uses it, so that threads do not disturb each other's sequence.

/// A seeded sequence.
pub(crate) struct Dice(u64);

impl Dice {
    /// A stream of a seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self((seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)).max(1));
        // Near seeds begin with near numbers.
        for _ in 0..8 {
            dice.below(2);
        }
        dice
    }

    /// A number below `limit`, by xorshift.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = u64::try_from(limit).expect("limits are small");
        usize::try_from((self.0 >> 11) % limit).expect("limits are small")
    }

    /// A number from `first` to `last`.
    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        let width = usize::try_from(last - first + 1).expect("ranges are small");
        first + self.below(width) as u64
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}
