//! Chance for controllers: a hash of the seed and of what is drawn for. Drawing for one object disturbs no other, so a
//! story that is shrunk stays the same story.

use crate::model::{Millis, ObjectKey, Timestamp};

use super::queue::Task;

/// A source of chance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    seed: u64,
}

/// The characters of generated names (`apimachinery/pkg/util/rand`): no vowels, no lookalikes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// A number for a text and a count.
    pub(super) fn draw(self, text: &str, count: u64) -> u64 {
        mix(mix(self.seed ^ hash(text.as_bytes())) ^ count)
    }

    /// How long a task takes to begin, from `range`, drawn for this object at this moment.
    pub(super) fn delay(self, range: (Millis, Millis), task: Task, key: &ObjectKey, now: Timestamp) -> Millis {
        let (Millis(low), Millis(high)) = range;
        let drawn = self.draw(&key.name, now.as_millisecond().unsigned_abs() ^ ((task as u64 + 1) << 56));
        Millis(low + drawn % (high.saturating_sub(low) + 1))
    }
}

/// FNV-1a: stable for good, which the standard library's hasher does not promise.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A number as a name's suffix of some length.
pub(super) fn suffix(mut number: u64, length: usize) -> String {
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        let index = usize::try_from(number % 27).expect("below 27");
        text.push(char::from(ALPHABET[index]));
        number /= 27;
    }
    text
}

/// splitmix64's finaliser.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
