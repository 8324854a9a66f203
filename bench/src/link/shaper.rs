//! What one direction of an emulated link does to each packet: when it leaves the link, or why it never does.
//!
//! A packet meets, in this order: the end of a path that is too narrow for it; random loss; a queue that is drained at the link's rate and drops what does not fit (tail drop; a packet
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
    /// Chance took it, or it is longer than what the link carries now.
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
    mtu: Option<u16>,
    near: Option<u8>,
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
            mtu: conditions.mtu,
            near: conditions.near,
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

    /// The number of the host as which the near end is seen by the far one at `now_ns`, if it is not its own.
    pub(super) fn near(&mut self, now_ns: u64) -> Option<u8> {
        self.current = self.period_at(self.current, now_ns * FINE);
        self.periods[self.current].near
    }

    /// Decides about a packet of `bytes` (its IP header included) that arrives at `now_ns`.
    pub(super) fn accept(&mut self, now_ns: u64, bytes: usize) -> Fate {
        self.current = self.period_at(self.current, now_ns * FINE);
        let arrival = &self.periods[self.current];
        if arrival.mtu.is_some_and(|mtu| bytes > usize::from(mtu)) {
            return Fate::Lost;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Link;

    const MILLISECOND: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MILLISECOND;

    fn shaper(link: &str, seed: u64) -> Shaper {
        let Link::Emulated(link) = link.parse().unwrap() else { panic!("{link} is not emulated") };
        Shaper::new(&link, seed)
    }

    fn delivered(fate: Fate) -> u64 {
        match fate {
            Fate::Deliver { at_ns } => at_ns,
            other => panic!("the packet met {other:?}"),
        }
    }

    #[test]
    fn a_packet_takes_half_a_round_trip_and_the_time_of_its_bits() {
        let mut shaper = shaper("rtt=100ms,rate=1gbit", 1);
        assert_eq!(delivered(shaper.accept(SECOND, 1_500)), SECOND + 50 * MILLISECOND + 12_000);
    }

    #[test]
    fn the_rate_is_exact_over_a_hundred_thousand_packets() {
        for (link, bits_per_second) in [("rate=7mbit", 7e6), ("rate=1gbit", 1e9), ("rate=9.999gbit", 9.999e9)]
        {
            let mut shaper = shaper(&format!("{link},queue=10000mb"), 1);
            let mut bits = 0.0;
            let mut last = 0;
            for packet in 0..100_000 {
                let bytes = 40 + (packet * 7_919) % 1_461;
                bits += 8.0 * bytes as f64;
                last = delivered(shaper.accept(0, bytes));
            }
            let error_ns = last as f64 - bits / bits_per_second * 1e9;
            assert!(error_ns.abs() <= 100.0, "{link}: {error_ns} ns");
        }
    }

    #[test]
    fn tail_drop_begins_exactly_when_the_queue_is_full() {
        let mut shaper = shaper("rate=8mbit,queue=10kb", 1);
        for packet in 0..10 {
            assert_eq!(delivered(shaper.accept(0, 1_000)), (packet + 1) * MILLISECOND);
        }
        assert_eq!(shaper.accept(0, 1), Fate::QueueFull);
        // One byte takes a microsecond: as many bytes as have left find room, and not one more.
        assert_eq!(shaper.accept(40_000, 41), Fate::QueueFull);
        assert_eq!(delivered(shaper.accept(40_000, 40)), 10 * MILLISECOND + 40_000);
    }

    #[test]
    fn an_idle_queue_saves_nothing_up() {
        let mut shaper = shaper("rate=8mbit,queue=10kb", 1);
        shaper.accept(0, 1_000);
        assert_eq!(delivered(shaper.accept(SECOND, 1_000)), SECOND + MILLISECOND);
        assert_eq!(delivered(shaper.accept(SECOND, 1_000)), SECOND + 2 * MILLISECOND);
    }

    #[test]
    fn the_share_of_losses_is_what_was_asked() {
        const PACKETS: u64 = 1_000_000;
        for (link, share) in [("loss=0.1%", 0.001), ("loss=1%", 0.01), ("loss=50%", 0.5)] {
            let mut shaper = shaper(link, 5);
            let lost = (0..PACKETS).filter(|now| shaper.accept(*now, 100) == Fate::Lost).count() as f64;
            // Four standard deviations of a binomial distribution, for this seed and any other but one in 16,000.
            let tolerance = 4.0 * (PACKETS as f64 * share * (1.0 - share)).sqrt();
            assert!((lost - PACKETS as f64 * share).abs() < tolerance, "{link}: {lost}");
        }
    }

    #[test]
    fn all_or_nothing_is_lost_at_the_ends_of_the_scale() {
        let (mut none, mut all) = (shaper("loss=0%", 1), shaper("loss=100%", 1));
        for now in 0..10_000 {
            assert_eq!(none.accept(now, 1_500), Fate::Deliver { at_ns: now });
            assert_eq!(all.accept(now, 1_500), Fate::Lost);
        }
    }

    #[test]
    fn jitter_spreads_the_delay_and_keeps_the_order() {
        let mut shaper = shaper("rtt=20ms,jitter=4ms", 9);
        let (mut last, mut least, mut most) = (0, u64::MAX, 0);
        for packet in 0..10_000 {
            let now = packet * 10 * MILLISECOND;
            let at = delivered(shaper.accept(now, 100));
            assert!(at >= last);
            (last, least, most) = (at, least.min(at - now), most.max(at - now));
        }
        assert!((10 * MILLISECOND..10 * MILLISECOND + 10_000).contains(&least), "{least}");
        assert!((14 * MILLISECOND - 10_000..=14 * MILLISECOND).contains(&most), "{most}");
        let close: Vec<u64> =
            (0..1_000).map(|now| delivered(shaper.accept(200 * SECOND + now, 100))).collect();
        assert!(close.is_sorted());
    }

    #[test]
    fn a_reordered_packet_is_late_within_bounds_and_holds_nobody_up() {
        let mut shaper = shaper("rtt=40ms,reorder=10%", 2);
        let mut held = 0;
        for packet in 0..10_000 {
            let now = packet * 1_000;
            match shaper.accept(now, 100) {
                Fate::Deliver { at_ns } => assert_eq!(at_ns, now + 20 * MILLISECOND),
                Fate::HoldBack { at_ns } => {
                    assert!((1..=10 * MILLISECOND).contains(&(at_ns - now - 20 * MILLISECOND)));
                    held += 1;
                }
                other => panic!("the packet met {other:?}"),
            }
        }
        assert!((900..1_100).contains(&held), "{held}");
    }

    #[test]
    fn phases_switch_at_their_time_after_the_start_of_the_run() {
        let mut shaper = shaper("rtt=20ms,then=10s:rtt=60ms,then=20s:loss=100%", 1);
        shaper.restart(5 * SECOND);
        assert_eq!(delivered(shaper.accept(15 * SECOND - 1, 100)), 15 * SECOND - 1 + 10 * MILLISECOND);
        assert_eq!(delivered(shaper.accept(15 * SECOND, 100)), 15 * SECOND + 30 * MILLISECOND);
        assert_eq!(shaper.accept(25 * SECOND, 100), Fate::Lost);
        shaper.restart(30 * SECOND);
        assert_eq!(delivered(shaper.accept(30 * SECOND, 100)), 30 * SECOND + 10 * MILLISECOND);
    }

    #[test]
    fn a_narrower_path_swallows_what_is_longer_and_tells_nobody() {
        let mut shaper = shaper("rtt=20ms,then=1s:mtu=1300,near=9", 1);
        assert_eq!((delivered(shaper.accept(0, 1_500)), shaper.near(0)), (10 * MILLISECOND, None));
        assert_eq!(shaper.accept(SECOND, 1_301), Fate::Lost);
        assert_eq!(delivered(shaper.accept(SECOND, 1_300)), SECOND + 10 * MILLISECOND);
        assert_eq!(shaper.near(SECOND), Some(9));
    }

    #[test]
    fn a_shorter_delay_lets_nobody_overtake() {
        let mut shaper = shaper("rtt=200ms,then=1s:rtt=20ms", 1);
        let before = delivered(shaper.accept(SECOND - 1, 100));
        assert_eq!(delivered(shaper.accept(SECOND, 100)), before);
    }

    #[test]
    fn a_new_rate_counts_for_what_is_already_in_the_queue() {
        let mut shaper = shaper("rate=8mbit,queue=4kb,then=1s:rate=800kbit", 1);
        let begin = SECOND - 3 * MILLISECOND / 2;
        assert_eq!(delivered(shaper.accept(begin, 1_000)), begin + MILLISECOND);
        // Half of it leaves before the change, and half after it, ten times slower.
        assert_eq!(delivered(shaper.accept(begin, 1_000)), SECOND + 5 * MILLISECOND);
        assert_eq!(delivered(shaper.accept(begin, 1_000)), SECOND + 15 * MILLISECOND);
    }

    #[test]
    fn the_same_seed_treats_the_same_packets_the_same() {
        let fates = |seed| {
            let mut shaper = shaper("rtt=30ms,loss=5%,rate=10mbit,queue=20kb,jitter=2ms,reorder=3%", seed);
            (0..5_000).map(|packet| shaper.accept(packet * 900_000, 1_200)).collect::<Vec<_>>()
        };
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
    }
}
