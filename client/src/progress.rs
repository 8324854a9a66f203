//! One calm line on standard error while a sync runs, if that is a terminal; nothing otherwise.
//!
//! It reads the sync's `Tally` when it is told to and keeps no account of its own but a smoothed rate.

use std::{
    io::IsTerminal,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use swarmwire_common::sync::Tally;

use crate::units;

/// How often the line may change. Five times a second is calm and still alive.
const REFRESH_HZ: u8 = 5;

/// Time over which the rate is smoothed. Chosen, not measured: long enough to read, short enough to follow.
const SMOOTHING: Duration = Duration::from_secs(3);

/// The line.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    rate: Rate,
}

impl Progress {
    /// A line on standard error, or none where nobody would see it.
    pub(crate) fn new(is_wanted: bool) -> Self {
        let bar = (is_wanted && std::io::stderr().is_terminal()).then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(REFRESH_HZ);
            let style = ProgressStyle::with_template("{wide_msg}").expect("a constant template");
            ProgressBar::with_draw_target(None, target).with_style(style)
        });
        Self { bar, rate: Rate::default() }
    }

    /// Shows where the sync stands.
    pub(crate) fn show(&mut self, tally: &Tally, now: Instant) {
        let Some(bar) = &self.bar else { return };
        let snapshot = Snapshot::of(tally);
        let per_second = self.rate.observe(now, snapshot.bytes_moved);
        bar.set_message(describe(&snapshot, per_second));
        bar.tick();
    }

    /// Shows what is waited for instead.
    pub(crate) fn say(&mut self, text: &str) {
        self.rate = Rate::default();
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
            bar.tick();
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A tally as it stood at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Snapshot {
    files_done: u64,
    files_listed: u64,
    bytes_moved: u64,
    bytes_done: u64,
    bytes_listed: u64,
    is_listed: bool,
}

impl Snapshot {
    fn of(tally: &Tally) -> Self {
        let (files_unchanged, files_listed) =
            (tally.files_unchanged.load(Relaxed), tally.files_listed.load(Relaxed));
        let (bytes_moved, bytes_listed) = (tally.bytes_moved.load(Relaxed), tally.bytes_listed.load(Relaxed));
        // A source is told how many files are unchanged, not how large they are: the mean has to do.
        let mean = bytes_listed.checked_div(files_listed).unwrap_or_default();
        let bytes_unchanged = tally.bytes_unchanged.load(Relaxed).max(files_unchanged.saturating_mul(mean));
        Self {
            files_done: tally.committed.load(Relaxed) + files_unchanged,
            files_listed,
            bytes_moved,
            bytes_done: bytes_moved.saturating_add(bytes_unchanged).min(bytes_listed),
            bytes_listed,
            is_listed: tally.listing_complete.load(Relaxed) != 0,
        }
    }
}

fn describe(snapshot: &Snapshot, per_second: f64) -> String {
    // Until the listing is complete the totals still grow.
    let more = if snapshot.is_listed { "" } else { "+" };
    let mut line = format!(
        "{} of {}{more} files, {} of {}{more}",
        units::count(snapshot.files_done),
        units::count(snapshot.files_listed),
        units::bytes(snapshot.bytes_done),
        units::bytes(snapshot.bytes_listed),
    );
    if per_second >= 1.0 {
        let second = Duration::from_secs(1);
        let moved = Duration::from_secs_f64(per_second.min(1e15));
        // Whole bytes of one second: a duration is only the vehicle that turns the float into an integer without a cast.
        let rate = units::rate(moved.as_secs(), second).unwrap_or_default();
        line.push_str(&format!(", {rate}"));
        if let Some(left) = time_left(snapshot, per_second) {
            line.push_str(&format!(", {} left", humantime::format_duration(left)));
        }
    }
    line
}

fn time_left(snapshot: &Snapshot, per_second: f64) -> Option<Duration> {
    let left = snapshot.bytes_listed - snapshot.bytes_done;
    if !snapshot.is_listed || left == 0 {
        return None;
    }
    let seconds = Duration::try_from_secs_f64(left as f64 / per_second).ok()?.as_secs();
    Some(Duration::from_secs(seconds.max(1)))
}

/// Bytes per second as an exponentially weighted mean.
#[derive(Debug, Default)]
struct Rate {
    last: Option<(Instant, u64)>,
    per_second: Option<f64>,
}

impl Rate {
    fn observe(&mut self, now: Instant, total: u64) -> f64 {
        let Some((then, before)) = self.last.replace((now, total)) else { return 0.0 };
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        if seconds <= 0.0 {
            return self.per_second.unwrap_or_default();
        }
        let current = total.saturating_sub(before) as f64 / seconds;
        let weight = 1.0 - (-seconds / SMOOTHING.as_secs_f64()).exp();
        let mean = self.per_second.map_or(current, |mean| mean + weight * (current - mean));
        self.per_second = Some(mean);
        mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_slowly_and_settles() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.observe(start, 0), 0.0);
        let mut last = 0.0;
        for tick in 1..=100u32 {
            last = rate.observe(start + Duration::from_millis(200) * tick, u64::from(tick) * 200_000);
        }
        assert!((last - 1_000_000.0).abs() < 1.0, "{last}");
        let stalled = rate.observe(start + Duration::from_millis(20_200), 20_000_000);
        assert!((800_000.0..1_000_000.0).contains(&stalled), "{stalled}");
    }

    #[test]
    fn the_line_says_what_is_known() {
        let mut snapshot = Snapshot {
            files_done: 1204,
            files_listed: 20_000,
            bytes_moved: 3 << 20,
            bytes_done: 5 << 20,
            bytes_listed: 35 << 20,
            is_listed: false,
        };
        assert_eq!(describe(&snapshot, 0.0), "1,204 of 20,000+ files, 5.0 MiB of 35.0 MiB+");
        snapshot.is_listed = true;
        assert_eq!(
            describe(&snapshot, 10_485_760.0),
            "1,204 of 20,000 files, 5.0 MiB of 35.0 MiB, 10.0 MiB/s, 3s left"
        );
    }
}
