//! When each ping is due, and how long it took from that moment: the arithmetic of an open loop. It reads no clock; times are since the start.
//!
//! Pings are due at a fixed rate whatever becomes of the ones before them, and each is counted from the moment when it was *due*, not from when it
//! could be sent. A stall of a second at 200 pings a second is therefore 200 slow pings. Who waits for each answer before sending the next sees one slow
//! ping, and so leaves out most of what a user would have felt ("coordinated omission"). Echoes come back in the order of their pings.

use std::time::Duration;

use anyhow::{Result, bail};

/// Bytes of a ping.
pub(super) const PING_BYTES: usize = 64;

/// Pings due before this are sent and not counted: the first ones open what the others find open, and a bulk transfer first has to get going.
/// A push over 100 ms and 1 Gbit/s is at its full speed after 1.6 s, with a queue of 80 ms on the way there.
pub(super) const WARM_UP: Duration = Duration::from_secs(2);

/// A number of pings at a fixed rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    rate_hz: u32,
    uncounted: u32,
    count: u32,
}

impl Schedule {
    /// `rate_hz` pings a second, counted for `seconds` after the warm-up.
    pub(super) fn new(rate_hz: u32, seconds: u32) -> Self {
        let warm_up = u32::try_from(WARM_UP.as_secs()).expect("it is short");
        let uncounted = rate_hz.saturating_mul(warm_up);
        Self { rate_hz, uncounted, count: rate_hz.saturating_mul(seconds).saturating_add(uncounted) }
    }

    /// Pings, those of the warm-up included.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// When ping `number`, counted from 0, is due.
    pub(super) fn due(&self, number: u32) -> Duration {
        let nanoseconds = u128::from(number) * 1_000_000_000 / u128::from(self.rate_hz.max(1));
        Duration::from_nanos(u64::try_from(nanoseconds).expect("2^32 pings at one a second take 2^62 ns"))
    }

    /// When the last one has been due.
    pub(super) fn end(&self) -> Duration {
        self.due(self.count)
    }

    /// What ping `number` carries: itself, eight times.
    pub(super) fn payload(number: u32) -> [u8; PING_BYTES] {
        let mut payload = [0; PING_BYTES];
        for word in payload.chunks_exact_mut(8) {
            word.copy_from_slice(&u64::from(number).to_be_bytes());
        }
        payload
    }
}

/// What came back of a schedule so far.
#[derive(Debug)]
pub(super) struct RoundTrips {
    schedule: Schedule,
    /// Echoes that came back, which is also the number of the next one.
    back: u32,
    times: Vec<Duration>,
}

impl RoundTrips {
    /// Nothing has come back yet.
    pub(super) fn new(schedule: Schedule) -> Self {
        Self { schedule, back: 0, times: Vec::new() }
    }

    /// Whether an echo is missing.
    pub(super) fn is_waiting(&self) -> bool {
        self.back < self.schedule.count
    }

    /// The next echo has come back at `now`.
    pub(super) fn record(&mut self, echo: &[u8; PING_BYTES], now: Duration) -> Result<()> {
        let number = self.back;
        if *echo != Schedule::payload(number) {
            bail!("echo {number} differs from what was sent");
        }
        self.add(number, now);
        self.back += 1;
        Ok(())
    }

    /// Ends waiting at `now`. A ping without an echo counts with the time it has been waited for, which is the least that it can have taken.
    pub(super) fn finish(mut self, now: Duration) -> Vec<Duration> {
        for number in self.back..self.schedule.count {
            self.add(number, now);
        }
        self.times
    }

    fn add(&mut self, number: u32, now: Duration) {
        if number >= self.schedule.uncounted {
            self.times.push(now.saturating_sub(self.schedule.due(number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pings_are_due_at_the_rate_without_drift() {
        let schedule = Schedule::new(300, 2);
        assert_eq!(schedule.count(), 1200);
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(1), Duration::from_nanos(3_333_333));
        assert_eq!(schedule.due(300), Duration::from_secs(1));
        assert_eq!(schedule.end(), WARM_UP + Duration::from_secs(2));
    }

    #[test]
    fn a_stall_is_counted_by_every_ping_that_was_due_in_it() {
        let schedule = Schedule::new(1000, 1);
        let mut trips = RoundTrips::new(schedule);
        // Everything due from 2.5 s to 2.6 s comes back at 2.6 s; all else at once.
        for number in 0..schedule.count() {
            let due = schedule.due(number);
            let now = if (2500..2600).contains(&number) { 2600 * MS } else { due + MS };
            trips.record(&Schedule::payload(number), now).unwrap();
        }
        assert!(!trips.is_waiting());
        let times = trips.finish(3000 * MS);
        assert_eq!(times.len(), 1000);
        assert_eq!(times.iter().filter(|time| **time > MS).count(), 99);
        assert_eq!(times.iter().max(), Some(&(100 * MS)));
    }

    #[test]
    fn pings_of_the_warm_up_are_not_counted() {
        let mut trips = RoundTrips::new(Schedule::new(1, 1));
        trips.record(&Schedule::payload(0), 900 * MS).unwrap();
        trips.record(&Schedule::payload(1), 1900 * MS).unwrap();
        assert!(trips.is_waiting());
        trips.record(&Schedule::payload(2), 2002 * MS).unwrap();
        assert_eq!(trips.finish(2002 * MS), [2 * MS]);
    }

    #[test]
    fn a_ping_without_an_echo_counts_with_the_time_it_was_waited_for() {
        let mut trips = RoundTrips::new(Schedule::new(2, 1));
        for number in 0..5 {
            trips.record(&Schedule::payload(number), 2001 * MS).unwrap();
        }
        assert_eq!(trips.finish(6000 * MS), [MS, 3500 * MS]);
    }

    #[test]
    fn an_echo_of_something_else_is_an_error() {
        let mut trips = RoundTrips::new(Schedule::new(2, 1));
        let told = trips.record(&Schedule::payload(1), MS).unwrap_err().to_string();
        assert_eq!(told, "echo 0 differs from what was sent");
    }
}
