//! Lost bytes, by round trips: more than chance, or not. Pure.

use super::super::rate::scaled;

/// How many rounds losses are remembered for, each a little less than the one after it. Chosen: a full queue that is overrun once drops up to a tenth of a
/// round.
const ROUNDS_REMEMBERED: u64 = 4;

/// Bytes that were lost, and those that were sent with them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    pub(super) lost: u64,
    pub(super) sent: u64,
}

impl Losses {
    /// With a further round, in which the older ones count for a little less.
    pub(super) fn then(self, round: Self) -> Self {
        let left = |sum: u64| sum - sum / ROUNDS_REMEMBERED;
        Self { lost: left(self.lost) + round.lost, sent: left(self.sent) + round.sent }
    }

    /// Whether it is more than chance: by two standard deviations more than `percent`, since in a few datagrams of `mtu` a few are many hundredths.
    pub(super) fn is_more_than(self, percent: u64, mtu: u64) -> bool {
        let by_chance = scaled(self.sent, percent);
        self.lost > by_chance + 2 * by_chance.saturating_mul(mtu).isqrt()
    }
}
