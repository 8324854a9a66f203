//! A limit on bytes per second: a bucket that fills at the rate and holds a twentieth of a second. Pure; time is an argument.
//!
//! Whoever takes from it is told how long to wait first. What has been taken counts from then on, so that several takers share the
//! rate and none of them is passed over.

use std::time::{Duration, Instant};

use crate::limits::RATE_BURST;

/// The bucket, as the generic cell rate algorithm keeps it (ITU-T I.371, annex A): by the moment up to which the rate is used.
#[derive(Debug)]
pub(super) struct Bucket {
    rate_bytes: u64,
    used_until: Instant,
}

impl Bucket {
    /// A full bucket of at least one byte per second.
    pub(super) fn new(rate_bytes: u64, now: Instant) -> Self {
        Self { rate_bytes: rate_bytes.max(1), used_until: saved_from(now) }
    }

    /// How much to take at once at most: with a full bucket before it this makes `RATE_BURST`.
    pub(super) fn slice_bytes(&self) -> u64 {
        let slice = u128::from(self.rate_bytes) * (RATE_BURST / 2).as_nanos() / 1_000_000_000;
        u64::try_from(slice).unwrap_or(u64::MAX).max(1)
    }

    /// Takes `bytes`; gives how long to wait before they are sent.
    pub(super) fn take(&mut self, bytes: u64, now: Instant) -> Duration {
        let from = self.used_until.max(saved_from(now));
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate_bytes);
        self.used_until = from + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX / 4));
        from.saturating_duration_since(now)
    }
}

/// The earliest moment whose share of the rate is still there at `now`.
fn saved_from(now: Instant) -> Instant {
    now.checked_sub(RATE_BURST / 2).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Bucket;
    use crate::limits::RATE_BURST;

    /// Takes slices for `seconds` of a simulated clock, after `pause`; gives the bytes sent.
    fn run(rate: u64, takers: usize, seconds: u64) -> u64 {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = Bucket::new(rate, start);
        let slice = bucket.slice_bytes().min(65_536);
        let mut clocks = vec![start; takers];
        let mut sent = 0;
        loop {
            let turn = clocks.iter_mut().min().unwrap();
            *turn += bucket.take(slice, *turn);
            if *turn >= start + Duration::from_secs(seconds) {
                return sent;
            }
            sent += slice;
        }
    }

    #[test]
    fn the_rate_is_kept_and_used_whoever_takes() {
        for rate in [1024, 10_000, 1 << 20, 10 << 20, 1 << 30] {
            for takers in [1, 4] {
                let sent = run(rate, takers, 10);
                let burst = rate * u64::try_from(RATE_BURST.as_millis()).unwrap() / 1000;
                assert!(sent <= rate * 10 + burst, "{rate}, {takers}: {sent}");
                assert!(sent >= rate * 98 / 10, "{rate}, {takers}: {sent}");
            }
        }
    }

    #[test]
    fn a_pause_saves_up_a_burst_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::new(1_000_000, start);
        let later = start + Duration::from_secs(3600);
        for (bytes, wait_ms) in [(50_000, 0), (50_000, 0), (50_000, 50), (50_000, 100), (1, 150)] {
            assert_eq!(bucket.take(bytes, later), Duration::from_millis(wait_ms));
        }
        assert_eq!(bucket.take(1, later + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn no_rate_and_no_size_is_too_large_for_the_arithmetic() {
        let now = Instant::now();
        for rate in [0, 1, u64::MAX] {
            let mut bucket = Bucket::new(rate, now);
            assert!(bucket.slice_bytes() >= 1);
            bucket.take(1 << 21, now);
        }
    }
}
