//! Numbers that look random and come from a seed: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Never for secrets.

use std::time::Duration;

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The sequence of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own, so that what follows does not depend on how many numbers it gives.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number under `bound`. The bias of the remainder is under 2⁻³² for the small bounds used here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index or a size under `bound`.
    pub(crate) fn index_below(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("a remainder of a usize is one")
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index_below(choices.len())]
    }

    /// A time span of up to a day, to the nanosecond.
    pub(crate) fn nanoseconds_below_a_day(&mut self) -> Duration {
        Duration::from_nanos(self.below(86_400_000_000_000))
    }

    /// Fills `bytes`, which zstd and gzip cannot make smaller.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            piece.copy_from_slice(&self.next().to_le_bytes()[..piece.len()]);
        }
    }
}
