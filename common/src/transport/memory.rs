//! What connections have found out about their paths, for the next connection over the same one.
//!
//! A connection over a long path needs ten round trips to find its rate. One that follows another over the same path begins at a part of the
//! rate that this one has seen, after draft-ietf-tsvwg-careful-resume (RFC 9040 calls it temporal sharing): never more than half of it, only if the
//! round trip is like it was, and paced; what the path delivers now is measured as ever, and the first sign of a queue or of loss
//! brings the window down to that. So what is remembered may be wrong: it costs a part of one round trip, and no correctness.
//!
//! [`PathMemory`] is pure. Its owner keeps it in a file that nothing depends on: one line for each path, of the peer's fingerprint, its address,
//! bytes per second, microseconds of the shortest round trip, and seconds since 1970 when it was seen. What makes no sense is left out.

use std::{
    collections::HashMap,
    fmt::Write,
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use quinn::Connection;
use swarmwire_certs::Fingerprint;

use super::congestion;

/// The part of the rate with which the next connection begins (draft-ietf-tsvwg-careful-resume, "jump window": half of the saved one at most).
const RATE_DIVISOR: u64 = 2;

/// Round trips of less are not worth it: startup takes a few of them, and a burst would meet socket buffers instead of a path. Chosen, as
/// the shortest round trip that the congestion control tells from none.
const ROUND_TRIP_MIN: Duration = Duration::from_millis(5);

/// How many times longer or shorter the round trip may have become: another path is another one (as in the draft).
const ROUND_TRIP_LIKENESS: u32 = 2;

/// How long it is remembered. Chosen: what is synced each day finds what it was the day before.
const AGE_MAX: Duration = Duration::from_secs(36 * 60 * 60);

/// Paths that are remembered, the oldest of which goes first. 100 KB of text.
const PATHS_MAX: usize = 1024;

/// What a connection has found out about its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenPath {
    /// Bytes per second that it was seen to deliver.
    pub rate_bytes: u64,
    /// The shortest round trip.
    pub round_trip: Duration,
    /// It does not deliver more; otherwise it was not asked to.
    pub is_limit: bool,
}

impl SeenPath {
    /// What `connection` has found out so far. Nothing if it has sent too little, or by another control than `Congestion::Auto`.
    pub fn of(connection: &Connection) -> Option<Self> {
        congestion::seen(connection)
    }

    /// Lets `connection`, which has just been made, begin with this path's rate if the path still looks the same.
    pub fn resume(&self, connection: &Connection) {
        if let Some(window_bytes) = self.window_bytes(connection.rtt()) {
            tracing::debug!(window_bytes, "begins with what the path delivered before");
            congestion::resume(connection, window_bytes);
        }
    }

    /// The window to begin with where the round trip is `rtt`.
    fn window_bytes(&self, rtt: Duration) -> Option<u64> {
        let is_like = self.round_trip <= rtt.saturating_mul(ROUND_TRIP_LIKENESS)
            && rtt <= self.round_trip.saturating_mul(ROUND_TRIP_LIKENESS);
        let round_trip = self.round_trip.min(rtt);
        let bytes =
            u128::from(self.rate_bytes / RATE_DIVISOR).saturating_mul(round_trip.as_micros()) / 1_000_000;
        u64::try_from(bytes).ok().filter(|_| is_like && round_trip >= ROUND_TRIP_MIN)
    }
}

/// What is remembered of the paths to many peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathMemory {
    paths: HashMap<(Fingerprint, IpAddr), Remembered>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remembered {
    rate_bytes: u64,
    round_trip: Duration,
    /// Since 1970.
    seen_at: Duration,
}

impl PathMemory {
    /// What a file of ours holds. Lines that make no sense are left out, and all beyond what is kept.
    pub fn parse(text: &[u8]) -> Self {
        let lines = String::from_utf8_lossy(text);
        Self { paths: lines.lines().filter_map(parse_line).take(PATHS_MAX).collect() }
    }

    /// The file's content.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for ((peer, address), path) in &self.paths {
            let Remembered { rate_bytes, round_trip, seen_at } = path;
            let (round_trip, seen_at) = (round_trip.as_micros(), seen_at.as_secs());
            writeln!(text, "{peer} {address} {rate_bytes} {round_trip} {seen_at}")
                .expect("text takes whatever is written to it");
        }
        text
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// What the path to `peer` at `address` was when it was last used, if that is not too long ago.
    pub fn get(&self, peer: Fingerprint, address: IpAddr, now: SystemTime) -> Option<SeenPath> {
        let Remembered { rate_bytes, round_trip, .. } = *self.fresh(peer, address, since_1970(now))?;
        Some(SeenPath { rate_bytes, round_trip, is_limit: true })
    }

    /// Takes note of what a connection has found out; says whether that is news. A connection that has not asked for all that the path
    /// delivers can only say that it is more than was known.
    pub fn note(&mut self, peer: Fingerprint, address: IpAddr, seen: &SeenPath, now: SystemTime) -> bool {
        let seen_at = since_1970(now);
        let SeenPath { rate_bytes, round_trip, is_limit } = *seen;
        let known = self.fresh(peer, address, seen_at).map_or(0, |known| known.rate_bytes);
        if round_trip < ROUND_TRIP_MIN || !is_limit && rate_bytes < known {
            return false;
        }
        let path = (peer, address);
        if self.paths.len() >= PATHS_MAX && !self.paths.contains_key(&path) {
            self.forget_oldest();
        }
        self.paths.insert(path, Remembered { rate_bytes, round_trip, seen_at });
        true
    }

    fn fresh(&self, peer: Fingerprint, address: IpAddr, now: Duration) -> Option<&Remembered> {
        // One from the future is as old as a clock that was set may be wrong.
        self.paths.get(&(peer, address)).filter(|path| now.abs_diff(path.seen_at) <= AGE_MAX)
    }

    fn forget_oldest(&mut self) {
        if let Some(&oldest) = self.paths.iter().min_by_key(|(_, path)| path.seen_at).map(|(path, _)| path) {
            self.paths.remove(&oldest);
        }
    }
}

fn parse_line(line: &str) -> Option<((Fingerprint, IpAddr), Remembered)> {
    let mut words = line.split(' ');
    let path = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let [rate_bytes, round_trip, seen_at] = [words.next()?, words.next()?, words.next()?].map(str::parse);
    let round_trip = Duration::from_micros(round_trip.ok()?);
    let remembered =
        Remembered { rate_bytes: rate_bytes.ok()?, round_trip, seen_at: Duration::from_secs(seen_at.ok()?) };
    words.next().is_none().then_some((path, remembered))
}

fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIGABIT: SeenPath =
        SeenPath { rate_bytes: 125_000_000, round_trip: Duration::from_millis(100), is_limit: true };
    const NOON: Duration = Duration::from_secs(1_800_000_000);

    fn at(hours: u64) -> SystemTime {
        UNIX_EPOCH + NOON + Duration::from_secs(hours * 3600)
    }

    fn peer(number: u16) -> Fingerprint {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        Fingerprint::from_bytes(bytes)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn half_of_the_rate_is_believed_and_only_over_a_path_that_looks_the_same() {
        for (rtt_ms, window) in
            [(100, Some(6_250_000)), (50, Some(3_125_000)), (200, Some(6_250_000)), (49, None), (201, None)]
        {
            assert_eq!(GIGABIT.window_bytes(Duration::from_millis(rtt_ms)), window, "{rtt_ms} ms");
        }
        let short = SeenPath { round_trip: Duration::from_millis(4), ..GIGABIT };
        assert_eq!(short.window_bytes(Duration::from_millis(4)), None);
        let boundless = SeenPath { rate_bytes: u64::MAX, round_trip: Duration::MAX, ..GIGABIT };
        assert_eq!(boundless.window_bytes(Duration::MAX), None);
    }

    #[test]
    fn what_was_noted_is_known_of_this_path_alone_and_not_for_ever() {
        let mut memory = PathMemory::default();
        assert!(memory.note(peer(1), address("192.0.2.1"), &GIGABIT, at(0)));
        assert!(memory.note(peer(1), address("2001:db8::1"), &GIGABIT, at(0)));
        let memory = PathMemory::parse(memory.to_text().as_bytes());
        assert_eq!(memory.get(peer(1), address("192.0.2.1"), at(36)), Some(GIGABIT));
        assert_eq!(memory.get(peer(1), address("2001:db8::1"), at(0)), Some(GIGABIT));
        assert_eq!(memory.get(peer(1), address("192.0.2.1"), at(37)), None);
        assert_eq!(memory.get(peer(2), address("192.0.2.1"), at(0)), None);
        assert_eq!(memory.get(peer(1), address("192.0.2.2"), at(0)), None);
    }

    #[test]
    fn only_a_connection_that_filled_the_path_says_that_it_delivers_less() {
        let (mut memory, place) = (PathMemory::default(), address("192.0.2.1"));
        let with = |rate_bytes, is_limit| SeenPath { rate_bytes, is_limit, ..GIGABIT };
        for (seen, is_news, known) in [
            (with(1000, false), true, 1000),
            (with(900, false), false, 1000),
            (with(2000, false), true, 2000),
            (with(500, true), true, 500),
        ] {
            assert_eq!(memory.note(peer(1), place, &seen, at(0)), is_news, "{seen:?}");
            assert_eq!(memory.get(peer(1), place, at(0)).unwrap().rate_bytes, known);
        }
        let short = SeenPath { round_trip: Duration::from_millis(1), ..GIGABIT };
        assert!(!memory.note(peer(2), place, &short, at(0)));
    }

    #[test]
    fn the_oldest_path_goes_when_there_are_too_many() {
        let mut memory = PathMemory::default();
        for number in 0..=u16::try_from(PATHS_MAX).unwrap() {
            memory.note(peer(number), address("::1"), &GIGABIT, at(0) + Duration::from_secs(number.into()));
        }
        assert_eq!(memory.paths.len(), PATHS_MAX);
        assert_eq!(memory.get(peer(0), address("::1"), at(0)), None);
        assert!(memory.get(peer(1), address("::1"), at(0)).is_some());
    }

    #[test]
    fn a_damaged_file_costs_what_is_damaged() {
        let mut memory = PathMemory::default();
        memory.note(peer(1), address("::1"), &GIGABIT, at(0));
        let good = memory.to_text();
        for bad in [
            "",
            "nonsense",
            "\u{fffd}",
            "ff ::1 1 2 3",
            &good.replace("::1", "::x"),
            &good.replace('\n', " 7"),
        ] {
            assert_eq!(PathMemory::parse(format!("{bad}\n{good}").as_bytes()), memory, "{bad}");
        }
        assert_eq!(PathMemory::parse(b"\xff\xfe\n").to_text(), "");
    }
}
