//! Whether a unit is worth compressing, and how hard: the decision of `--compress auto`. Pure; what was measured is an argument.
//!
//! A byte that is not sent saves the time that the network takes for it, and costs what both ends take to compress and decompress it. Where
//! the network is fast, that is more than it saves. How fast it is follows from what the connection knows of its path (a window of bytes
//! for each round trip) and from what it has sent of late; whichever says more counts, because a sync that waits for something else sends
//! little. How small content becomes is learned from a sample of each unit, and from the units before it.

use std::time::{Duration, Instant};

use crate::wire::sync::Compress;

/// What the source's connection has measured, as seen at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// The shortest round trip so far.
    pub(super) rtt_min: Duration,
    /// The round trip now, with the time that packets wait in queues.
    pub(super) rtt: Duration,
    /// Bytes that may be on their way at once.
    pub(super) window_bytes: u64,
    /// Bytes sent since the connection began, without those that were lost.
    pub(super) sent_bytes: u64,
}

/// A level of zstd, and what can be expected of it.
#[derive(Clone, Copy, Debug)]
struct Level {
    number: u8,
    /// Nanoseconds for a byte of log text, at one core, until it is known better. Level 1 is near its measured 0.88 GB/s; the others are
    /// chosen, not measured.
    cost: f64,
    /// Size of the result, level 1 being 1. Chosen, not measured.
    size: f64,
}

/// What `auto` chooses from.
const LEVELS: [Level; 4] = [
    Level { number: 1, cost: 1.3, size: 1.0 },
    Level { number: 3, cost: 2.2, size: 0.93 },
    Level { number: 6, cost: 8.0, size: 0.84 },
    Level { number: 9, cost: 14.0, size: 0.81 },
];

/// Nanoseconds for decompressing a byte (2 GB/s), at the other end.
const DECODING_COST: f64 = 0.5;

/// How many times its cost compression must save, since both ends may have better uses for their cores, and the estimates are rough. On
/// log text this draws the line at about 200 MB/s.
const MARGIN: f64 = 2.0;

/// The part of a unit's time on the network that a higher level than 1 may take: more would make the readers the limit.
const HIGHER_LEVEL_SHARE: f64 = 0.25;

/// Samples that stay above this part of their size are not compressed.
const SAMPLE_SIZE_MAX: f64 = 0.9;

/// Round trips shorter than this say nothing of a distance: the network may be as fast as memory.
const SHORT_ROUND_TRIP: Duration = Duration::from_millis(2);

/// Bytes to send over a short path before its speed is believed. A window begins small everywhere.
const BELIEVED_FROM_BYTES: u64 = 1024 * 1024;

/// How long the speed of sending is measured before it counts, and in round trips: a burst, or a window that has grown beyond what the path
/// carries, makes no fast network. Over 100 Mbit/s and 20 ms, an eighth of some trees went as it is when one round trip counted.
const METER_INTERVAL: Duration = Duration::from_millis(20);
const METER_ROUND_TRIPS: u32 = 4;

/// Units in a row that do not compress, for each of which from then on one more is passed over without a sample.
const STREAK: u32 = 4;

/// Units passed over at a time at most: text that follows media waits no longer.
const PASSED_MAX: u32 = 3;

/// Weight of the newest measurement in what is remembered.
const NEWEST: f64 = 0.25;

/// How much of what slowed compression down is forgotten with each unit that is sent as it is.
const FORGETTING: f64 = 0.02;

/// What to do with the next unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Attempt {
    /// Send it as it is.
    Plain,
    /// See how a sample of it compresses, and then ask [`Policy::level`].
    Sample {
        /// Nanoseconds that the network takes for a byte.
        network: f64,
    },
    /// Compress it at this level.
    Level(u8),
}

/// One reader's judgement, which learns from what it did.
#[derive(Debug)]
pub(super) struct Policy {
    compress: Compress,
    /// Nanoseconds that the network takes for a byte at least, by `--bwlimit`.
    limit: f64,
    meter: Meter,
    /// What compression has cost, by what it was expected to.
    slowness: f64,
    /// Size of what was compressed, by its size before and as level 1 would have made it; of the last units.
    size: Option<f64>,
    incompressible: u32,
    to_pass: u32,
}

impl Policy {
    pub(super) fn new(compress: Compress, rate_bytes: Option<u64>) -> Self {
        Self {
            compress,
            limit: rate_bytes.map_or(0.0, |rate| 1e9 / rate as f64),
            meter: Meter::default(),
            slowness: 1.0,
            size: None,
            incompressible: 0,
            to_pass: 0,
        }
    }

    /// What to do with the next unit, with the path as it is `now`; that is only looked at if it matters.
    pub(super) fn attempt(&mut self, now: Instant, path: impl FnOnce() -> Path) -> Attempt {
        match self.compress {
            Compress::Never => return Attempt::Plain,
            Compress::Level(level) => return Attempt::Level(level),
            Compress::Auto => {}
        }
        let network = self.meter.network(now, path()).max(self.limit);
        // Nothing saves more than all of it.
        if !self.pays(network, 0.0) {
            // Cores that were busy will not be for ever, and nothing is learned of them now.
            self.slowness += FORGETTING * (1.0 - self.slowness);
            return Attempt::Plain;
        }
        if self.to_pass > 0 {
            self.to_pass -= 1;
            return Attempt::Plain;
        }
        Attempt::Sample { network }
    }

    /// The level for a unit of which a sample came out at `size` times its own; none if it is to go as it is.
    pub(super) fn level(&mut self, network: f64, size: f64) -> Option<u8> {
        if size > SAMPLE_SIZE_MAX {
            self.note_incompressible();
            return None;
        }
        self.incompressible = 0;
        // A sample is short, so it compresses less than the whole.
        let size = self.size.map_or(size, |known| size.min((size + known) / 2.0));
        if !self.pays(network, size) {
            return None;
        }
        let is_affordable = |level: &&Level| {
            let cost = level.cost * self.slowness;
            level.number == 1 || cost <= HIGHER_LEVEL_SHARE * network * size * level.size
        };
        LEVELS.iter().rev().find(is_affordable).map(|level| level.number)
    }

    /// Learns from a unit of `plain` bytes that became `wire` bytes in this time.
    pub(super) fn learn(&mut self, level: u8, plain: usize, wire: usize, took: Duration) {
        let Some(level) = LEVELS.iter().find(|known| known.number == level) else { return };
        let plain = plain.max(1) as f64;
        let cost = took.as_nanos() as f64 / plain;
        // A thread that was not running for a while says little of the next unit.
        let slowness = (cost / level.cost).clamp(0.1, 10.0);
        self.slowness += NEWEST * (slowness - self.slowness);
        let size = (wire as f64 / plain / level.size).min(1.0);
        self.size = Some(self.size.map_or(size, |known| known + NEWEST * (size - known)));
        if size > SAMPLE_SIZE_MAX {
            self.note_incompressible();
        }
    }

    fn note_incompressible(&mut self) {
        self.incompressible = self.incompressible.saturating_add(1);
        self.to_pass = (self.incompressible / STREAK).min(PASSED_MAX);
    }

    /// Whether bytes that become `size` times as many are worth compressing.
    fn pays(&self, network: f64, size: f64) -> bool {
        let cost = LEVELS[0].cost * self.slowness + DECODING_COST;
        network * (1.0 - size) > MARGIN * cost
    }
}

/// How fast the network is.
#[derive(Debug, Default)]
struct Meter {
    begun: Option<u64>,
    since: Option<(Instant, u64)>,
    /// Nanoseconds for a byte in the last interval; none before the first.
    sending: Option<f64>,
}

impl Meter {
    /// Nanoseconds that the network takes for a byte, as far as is known; 0 where it may be as fast as memory.
    fn network(&mut self, now: Instant, path: Path) -> f64 {
        let (since, before) = *self.since.get_or_insert((now, path.sent_bytes));
        let begun = *self.begun.get_or_insert(path.sent_bytes);
        let time = now.saturating_duration_since(since);
        if time >= METER_INTERVAL.max(METER_ROUND_TRIPS * path.rtt_min) {
            let sent = path.sent_bytes.saturating_sub(before).max(1);
            self.sending = Some(time.as_nanos() as f64 / sent as f64);
            self.since = Some((now, path.sent_bytes));
        }
        let is_early = path.sent_bytes.saturating_sub(begun) < BELIEVED_FROM_BYTES;
        if is_early && path.rtt_min < SHORT_ROUND_TRIP {
            return 0.0;
        }
        let window = path.rtt.as_nanos() as f64 / path.window_bytes.max(1) as f64;
        self.sending.map_or(window, |sending| sending.min(window))
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the values are the tests' own")]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Attempt, METER_INTERVAL, Path, Policy};
    use crate::wire::sync::Compress;

    const UNIT: usize = 256 * 1024;

    /// A path that carries `rate` bytes per second, on a simulated clock.
    struct Network {
        rate: u64,
        rtt: Duration,
        now: Instant,
        sent_bytes: u64,
    }

    impl Network {
        fn new(mbit: u64, rtt_us: u64) -> Self {
            let rtt = Duration::from_micros(rtt_us);
            Self { rate: mbit * 125_000, rtt, now: Instant::now(), sent_bytes: 0 }
        }

        fn path(&self) -> Path {
            let window_bytes = (u128::from(self.rate) * self.rtt.as_nanos() / 1_000_000_000) as u64;
            // As slow start leaves it, until as much has been sent.
            let window_bytes = window_bytes.min(14_720 + self.sent_bytes);
            Path { rtt_min: self.rtt, rtt: self.rtt, window_bytes, sent_bytes: self.sent_bytes }
        }

        fn carry(&mut self, bytes: usize) {
            self.sent_bytes += bytes as u64;
            self.now += Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.rate);
        }
    }

    /// Sends `units`, of which each becomes `size` times as many bytes; gives the levels that were tried, and the samples.
    fn run(policy: &mut Policy, network: &mut Network, units: usize, size: f64) -> (Vec<Option<u8>>, usize) {
        let mut samples = 0;
        let levels = (0..units)
            .map(|_| {
                let level = match policy.attempt(network.now, || network.path()) {
                    Attempt::Plain => None,
                    Attempt::Level(level) => Some(level),
                    Attempt::Sample { network } => {
                        samples += 1;
                        policy.level(network, size)
                    }
                };
                let wire = if level.is_some() { (UNIT as f64 * size) as usize } else { UNIT };
                if let Some(level) = level {
                    let cost = match level {
                        1 => 1.3,
                        3 => 2.2,
                        6 => 8.0,
                        _ => 14.0,
                    };
                    policy.learn(level, UNIT, wire, Duration::from_nanos((UNIT as f64 * cost) as u64));
                }
                network.carry(wire);
                level
            })
            .collect();
        (levels, samples)
    }

    fn auto() -> Policy {
        Policy::new(Compress::Auto, None)
    }

    #[test]
    fn the_speed_of_the_network_decides() {
        // Mbit/s, round trip in µs, what logs are compressed at from the first unit on and in the end.
        for (mbit, rtt, first, last) in [
            (8_000, 100, None, None),
            (4_000, 1_000, None, None),
            (10_000, 20_000, Some(1), None),
            (1_000, 20_000, Some(9), Some(1)),
            (1_000, 300, None, Some(1)),
            (100, 20_000, Some(9), Some(3)),
            (100, 1_000, None, Some(3)),
            (10, 50_000, Some(9), Some(9)),
        ] {
            let (mut policy, mut network) = (auto(), Network::new(mbit, rtt));
            let (levels, _) = run(&mut policy, &mut network, 400, 0.22);
            assert_eq!(levels[0].is_some(), first.is_some(), "{mbit} Mbit/s, {rtt} µs: {levels:?}");
            assert_eq!(levels[399], last, "{mbit} Mbit/s, {rtt} µs: {levels:?}");
        }
    }

    #[test]
    fn a_small_sync_over_a_short_path_samples_nothing() {
        let (levels, samples) = run(&mut auto(), &mut Network::new(8_000, 200), 20, 0.2);
        assert!(levels.iter().all(Option::is_none) && samples == 0);
    }

    #[test]
    fn what_does_not_compress_is_sampled_ever_less_and_text_behind_it_is_found() {
        let (mut policy, mut network) = (auto(), Network::new(100, 20_000));
        let (levels, samples) = run(&mut policy, &mut network, 100, 1.0);
        assert!(levels.iter().all(Option::is_none));
        assert!((20..40).contains(&samples), "{samples}");
        let (levels, _) = run(&mut policy, &mut network, 8, 0.2);
        assert!(
            levels[..4].iter().any(Option::is_some) && levels[4..].iter().all(Option::is_some),
            "{levels:?}"
        );
    }

    #[test]
    fn a_destination_that_is_slow_makes_no_slow_network() {
        // The path could carry 8 Gbit/s and is given a hundredth of it.
        let (mut policy, mut network) = (auto(), Network::new(8_000, 200));
        for _ in 0..200 {
            let (levels, _) = run(&mut policy, &mut network, 1, 0.2);
            assert_eq!(levels, [None]);
            network.now += METER_INTERVAL;
        }
    }

    #[test]
    fn cores_that_are_busy_make_compression_dear() {
        let (mut policy, mut network) = (auto(), Network::new(1_000, 20_000));
        run(&mut policy, &mut network, 100, 0.22);
        for _ in 0..50 {
            policy.learn(1, UNIT, UNIT / 5, Duration::from_nanos(UNIT as u64 * 8));
        }
        let (levels, _) = run(&mut policy, &mut network, 10, 0.22);
        assert!(levels.iter().all(Option::is_none), "{levels:?}");
    }

    #[test]
    fn a_limit_is_a_slow_network() {
        let mut policy = Policy::new(Compress::Auto, Some(1 << 20));
        let (levels, _) = run(&mut policy, &mut Network::new(8_000, 200), 20, 0.2);
        assert!(levels.iter().all(Option::is_some), "{levels:?}");
    }

    #[test]
    fn who_says_what_to_do_is_obeyed() {
        let mut network = Network::new(10, 50_000);
        for (compress, expected) in [(Compress::Never, None), (Compress::Level(7), Some(7))] {
            let (levels, samples) = run(&mut Policy::new(compress, None), &mut network, 20, 0.2);
            assert!(levels.iter().all(|&level| level == expected) && samples == 0);
        }
    }
}
