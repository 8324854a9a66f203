//! Bytes per time, in whole numbers, so that the same packets give the same rate on every machine.

use std::time::Duration;

const NANOSECONDS: u128 = 1_000_000_000;

/// Bytes per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate(u64);

impl Rate {
    /// Nothing known.
    pub(super) const ZERO: Self = Self(0);

    /// No bound.
    pub(super) const MAX: Self = Self(u64::MAX);

    /// The rate at which `bytes` take `time`; a time of zero is one of a nanosecond.
    pub(super) fn new(bytes: u64, time: Duration) -> Self {
        let rate = u128::from(bytes) * NANOSECONDS / time.as_nanos().max(1);
        Self(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// The bytes of `time` at this rate.
    pub(super) fn bytes_in(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0).saturating_mul(time.as_nanos()) / NANOSECONDS;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// So many hundredths of this rate.
    pub(super) fn percent(self, percent: u64) -> Self {
        Self(scaled(self.0, percent))
    }

    pub(super) fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// So many hundredths of `bytes`.
pub(super) fn scaled(bytes: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(bytes) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}
