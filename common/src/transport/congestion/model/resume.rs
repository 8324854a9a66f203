//! A model that begins with what an earlier one over the same path had found out, and what it leaves to a later one.
//!
//! The window is all that is taken over, never a rate: what the path delivers now is measured as ever, and the first queue or loss that
//! is more than chance ends the startup with what was measured, as draft-ietf-tsvwg-careful-resume asks ("Safe Retreat").
//! Letting it double by what is acknowledged before the first of it is measured gained 18 of 768 ms on a simulated 1 Gbit/s and 100 ms, and where
//! the path had become ten times slower it sent twice as much into the queue.

use std::time::Duration;

use super::{Model, Phase};

/// What a model has found out about its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Found {
    /// Bytes per second: the highest rate of late.
    pub(in super::super) rate_bytes: u64,
    /// The shortest round trip.
    pub(in super::super) round_trip: Duration,
    /// The path does not deliver more; otherwise nobody has asked it to.
    pub(in super::super) is_limit: bool,
}

impl Model {
    /// What this path was seen to deliver, if anything was.
    pub(in super::super) fn found(&self) -> Option<Found> {
        let rate_bytes = self.rate().bytes_in(Duration::from_secs(1));
        let round_trip = self.rtt_least.filter(|_| rate_bytes > 0)?;
        Some(Found { rate_bytes, round_trip, is_limit: !matches!(self.phase, Phase::Startup { .. }) })
    }

    /// Lets `window_bytes` be on their way at once, unless more is by now or the path is already known for what it is.
    pub(in super::super) fn resume(&mut self, window_bytes: u64) {
        if matches!(self.phase, Phase::Startup { .. }) {
            self.window = self.window.max(window_bytes);
        }
    }
}
