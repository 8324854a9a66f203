//! When to try again after a loss, and when to give up. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// First pause. A gateway that restarts is back in less, and one that does not suffers ten packets a second for a moment.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Longest pause: what a person waits without wondering.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Pauses that double, for a limited time after the last progress.
#[derive(Debug)]
pub(in crate::commands) struct Backoff {
    limit: Duration,
    pause: Duration,
    lost_at: Option<Instant>,
}

impl Backoff {
    /// Gives up when an attempt would begin later than `limit` after the first loss.
    pub(in crate::commands) fn new(limit: Duration) -> Self {
        Self { limit, pause: PAUSE_FIRST, lost_at: None }
    }

    /// An attempt has moved something: the time begins anew with the next loss.
    pub(in crate::commands) fn progressed(&mut self) {
        self.lost_at = None;
        self.pause = PAUSE_FIRST;
    }

    /// How long to wait before the next attempt; `None` when it is time to give up.
    pub(in crate::commands) fn lost(&mut self, now: Instant) -> Option<Duration> {
        let lost_at = *self.lost_at.get_or_insert(now);
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        (now.saturating_duration_since(lost_at) + pause <= self.limit).then_some(pause)
    }

    /// The time after which [`Self::lost`] gives up.
    pub(in crate::commands) fn limit(&self) -> Duration {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_the_time_is_up_and_progress_begins_it_anew() {
        let ms = Duration::from_millis;
        let start = Instant::now();
        let mut backoff = Backoff::new(ms(5_000));
        let mut now = start;
        let mut pauses = Vec::new();
        while let Some(pause) = backoff.lost(now) {
            pauses.push(pause);
            now += pause;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600].map(ms));
        backoff.progressed();
        assert_eq!(backoff.lost(now), Some(ms(100)));
    }

    #[test]
    fn no_time_means_no_second_attempt() {
        assert_eq!(Backoff::new(Duration::ZERO).lost(Instant::now()), None);
    }
}
