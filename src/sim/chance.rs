//! Chance, from a seed. Every draw is a function of (seed, stream, index), so that one draw more or less in one place
//! moves none elsewhere: a story that is shrunk stays the same story.

/// What is drawn for. Closed on purpose: a new stream disturbs no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// How long requests and answers travel.
    Latency,
    /// How long watch events travel.
    Delivery,
    /// Which fault strikes, and how.
    Fault,
    /// Bytes that nobody can guess.
    Secret,
    /// How stories are made.
    Story,
}

/// A source of chance.
#[derive(Clone, Copy, Debug)]
pub struct Chance {
    seed: u64,
}

impl Chance {
    /// Chance from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The draw number `index` of a stream.
    #[must_use]
    pub fn draw(self, stream: Stream, index: u64) -> u64 {
        fastrand::Rng::with_seed(self.seed ^ ((stream as u64 + 1) << 56) ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .u64(..)
    }

    /// A number from `low` to `high`, both included.
    #[must_use]
    pub fn between(self, stream: Stream, index: u64, low: u64, high: u64) -> u64 {
        low + self.draw(stream, index) % (high - low + 1)
    }
}
