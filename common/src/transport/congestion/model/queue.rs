//! The rate of a path, from a queue that stands on it.
//!
//! The highest of many samples is a few hundredths more than the path delivers, and more than that where a program that waits for a processor
//! finds its acknowledgements in heaps; who cruises at it only makes the queue longer. What was delivered while a queue was never
//! empty, by the time of that, is exact. Where others have a part in the queue, their share is missing from it, so it is to be believed
//! only if the queue goes away when we give way. Pure.

use std::time::Instant;

use super::super::rate::Rate;

/// Round trips of a standing queue that give a rate to rely on. Chosen: a heap of 10 ms on a path of 100 makes 3 % of them.
const ROUNDS_MIN: u64 = 3;

/// A queue that each packet has met since some moment, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    since: Option<Since>,
    rate: Option<Rate>,
}

#[derive(Clone, Copy, Debug)]
struct Since {
    time: Instant,
    round: u64,
    /// Bytes delivered until then.
    delivered: u64,
}

impl Queue {
    /// The round trip before `round` is over, and `delivered` bytes are since the beginning; `is_queued` says that each packet of it has met a queue,
    /// and that nothing but the path held it up.
    pub(super) fn round_ended(&mut self, time: Instant, round: u64, delivered: u64, is_queued: bool) {
        if !is_queued {
            *self = Self::default();
            return;
        }
        let since = *self.since.get_or_insert(Since { time, round, delivered });
        if round >= since.round + ROUNDS_MIN {
            let passed = time.saturating_duration_since(since.time);
            self.rate = Some(Rate::new(delivered - since.delivered, passed));
        }
    }

    /// What it delivers, once it has been there for long enough.
    pub(super) fn rate(&self) -> Option<Rate> {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_delivered_while_it_stands_is_the_rate_and_a_round_without_it_begins_anew() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut queue = Queue::default();
        for (ms, round, delivered, is_queued, rate) in [
            (0, 7, 500, true, None),
            (130, 8, 1500, true, None),
            (200, 9, 2700, true, None),
            (300, 10, 3500, true, Some(3000)),
            (400, 11, 4500, true, Some(4000)),
            (500, 12, 5000, false, None),
            (600, 13, 5400, true, None),
            (900, 16, 6600, true, Some(1200)),
        ] {
            queue.round_ended(at(ms), round, delivered, is_queued);
            let since = if ms > 500 { 600 } else { 0 };
            let expected = rate.map(|bytes| Rate::new(bytes, Duration::from_millis(ms - since)));
            assert_eq!(queue.rate(), expected, "{ms} ms");
        }
    }
}
