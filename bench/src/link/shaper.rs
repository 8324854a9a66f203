//! What one direction of an emulated link does to each packet: when it leaves the link, or why it never does.
//!
//! A packet meets, in this order: random loss; a queue that is drained at the link's rate and drops what does not fit (tail drop; a packet
//! counts as queued until its last bit has left); half a round trip and jitter. Order is kept: a packet that drew less jitter than the one
//! before it waits for it, and so do those that follow a cut of the round-trip time. Only a reordered packet is late on its own: it is held
//! back by up to [`hold_max`] more, and others overtake it.
//! Pure: the clock is an argument that never goes back, and chance is a seed, so the same packets at the same times fare the same.

use std::time::Duration;

use super::description::{Emulated, Phase, WHOLE};
use crate::random::Random;

/// Picoseconds in a nanosecond. The queue's clock is this fine, so that the time of a packet is exact at every usual rate:
/// 40 bytes at 10 Gbit/s take 32,000 of them, and what is cut off at an odd rate is less than one for each packet.
const FINE: u64 = 1_000;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It leaves the link, in the order of arrival.
    Deliver {
        /// Nanoseconds on the clock of `now`.
        at_ns: u64,
    },
    /// It leaves the link after packets that came later.
    HoldBack {
        /// Nanoseconds on the clock of `now`.
        at_ns: u64,
    },
    /// Chance took it.
    Lost,
    /// The queue had no room.
    QueueFull,
}

/// One direction of a link.
#[derive(Debug)]
pub(super) struct Shaper {
    periods: Vec<Period>,
    random: Random,
    /// When the run began, on the clock of `now`.
    origin_ns: u64,
    /// The period of the last packet.
    current: usize,
    /// When the last bit of everything accepted so far has left the queue, in picoseconds.
    free_ps: u64,
    /// When the last packet that was not held back is delivered.
    last_ns: u64,
}

/// A phase as the arithmetic needs it. An absent rate is no limit.
#[derive(Clone, Debug)]
struct Period {
    start_ns: u64,
    rate: Option<u64>,
    queue_bytes: u64,
    loss: u64,
    reorder: u64,
    delay_ns: u64,
    jitter_ns: u64,
    hold_max_ns: u64,
}

impl Period {
    fn new(phase: &Phase) -> Self {
        let conditions = &phase.conditions;
        Self {
            start_ns: nanoseconds(phase.start),
            rate: conditions.rate,
            queue_bytes: conditions.queue_bytes(),
            loss: conditions.loss.billionths(),
            reorder: conditions.reorder.billionths(),
            delay_ns: nanoseconds(conditions.rtt / 2),
            jitter_ns: nanoseconds(conditions.jitter),
            hold_max_ns: nanoseconds(hold_max(conditions.rtt)),
        }
    }
}

/// The longest that a reordered packet is held back: a quarter of the round-trip time and at least a millisecond. That is the window in
/// which TCP's RACK waits for a late packet before it calls it lost (RFC 8985, section 6.2), and twice QUIC's (RFC 9002, section 6.1.2),
/// so some of them are mistaken for losses and some are not.
pub(super) fn hold_max(rtt: Duration) -> Duration {
    (rtt / 4).max(Duration::from_millis(1))
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Shaper {
    /// A direction of `link` whose phases begin to count at zero.
    pub(super) fn new(link: &Emulated, seed: u64) -> Self {
        Self {
            periods: link.phases().iter().map(Period::new).collect(),
            random: Random::new(seed),
            origin_ns: 0,
            current: 0,
            free_ps: 0,
            last_ns: 0,
        }
    }

    /// Begins the phases anew at `origin_ns`. What is in the queue keeps its time.
    pub(super) fn restart(&mut self, origin_ns: u64) {
        self.origin_ns = origin_ns;
        self.current = 0;
    }

    /// Decides about a packet of `bytes` (its IP header included) that arrives at `now_ns`.
    pub(super) fn accept(&mut self, now_ns: u64, bytes: usize) -> Fate {
        self.current = self.period_at(self.current, now_ns * FINE);
        let arrival = &self.periods[self.current];
        if arrival.loss > 0 && self.random.below(WHOLE) < arrival.loss {
            return Fate::Lost;
        }
        let begin_ps = self.free_ps.max(now_ns * FINE);
        let (departure_ps, period) = self.drained(begin_ps, bytes as u64);
        if arrival.rate.is_some() && departure_ps > self.drained(now_ns * FINE, arrival.queue_bytes).0 {
            return Fate::QueueFull;
        }
        self.free_ps = departure_ps;
        self.travel(departure_ps.div_ceil(FINE), period)
    }

    /// The way after the queue, in the conditions of `period`.
    fn travel(&mut self, departure_ns: u64, period: usize) -> Fate {
        let Period { delay_ns, jitter_ns, reorder, hold_max_ns, .. } = self.periods[period];
        let jitter_ns = if jitter_ns > 0 { self.random.below(jitter_ns + 1) } else { 0 };
        let at_ns = departure_ns + delay_ns + jitter_ns;
        if reorder > 0 && self.random.below(WHOLE) < reorder {
            return Fate::HoldBack { at_ns: at_ns.max(self.last_ns) + 1 + self.random.below(hold_max_ns) };
        }
        self.last_ns = self.last_ns.max(at_ns);
        Fate::Deliver { at_ns: self.last_ns }
    }

    /// When the last bit of `bytes` that begin to leave at `begin_ps` has left, and the period of that time. A change of the rate in the
    /// meantime counts for the bits after it.
    fn drained(&self, begin_ps: u64, bytes: u64) -> (u64, usize) {
        /// Bits times this, divided by bits per second, is picoseconds.
        const SECOND_PS: u128 = 1_000_000_000_000;
        let mut bits = u128::from(bytes) * 8;
        let mut at_ps = begin_ps;
        let mut period = self.period_at(self.current, at_ps);
        while let Some(rate) = self.periods[period].rate.map(u128::from) {
            let end_ps = at_ps.saturating_add(u64::try_from(bits * SECOND_PS / rate).unwrap_or(u64::MAX));
            let Some(change_ps) = self.end_ps(period).filter(|change_ps| *change_ps <= end_ps) else {
                return (end_ps, period);
            };
            bits -= (u128::from(change_ps - at_ps) * rate / SECOND_PS).min(bits);
            at_ps = change_ps;
            period += 1;
        }
        (at_ps, period)
    }

    /// The period at `at_ps`, which is `first` or a later one.
    fn period_at(&self, first: usize, at_ps: u64) -> usize {
        let mut period = first;
        while self.end_ps(period).is_some_and(|end_ps| end_ps <= at_ps) {
            period += 1;
        }
        period
    }

    /// When `period` ends; the last one does not.
    fn end_ps(&self, period: usize) -> Option<u64> {
        self.periods.get(period + 1).map(|next| (self.origin_ns + next.start_ns) * FINE)
    }
}
