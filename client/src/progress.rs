//! One calm line on standard error while a sync runs, if that is a terminal; for programs an object on standard output now and then;
//! nothing otherwise.
//!
//! It reads the sync's `Tally` when it is told to and keeps no account of its own but a smoothed rate.

use std::{
    io::IsTerminal,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use swarmwire_common::{limits, sync::Tally};

use crate::{output::Output, units};

/// How often the line may change. Five times a second is calm and still alive.
const REFRESH_HZ: u8 = 5;

/// How often programs are told. Twice a second is enough for a bar and little in a log.
const OBJECT_INTERVAL: Duration = Duration::from_millis(500);

/// Time over which the rate is smoothed. Chosen, not measured: long enough to read, short enough to follow.
const SMOOTHING: Duration = Duration::from_secs(3);

/// Who is shown how a sync goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Nobody,
    /// At a terminal, if there is one.
    People,
    Programs,
}

/// The line, or the objects.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    is_for_programs: bool,
    rate: Rate,
}

impl Progress {
    /// A line on standard error, or none where nobody would see it.
    pub(crate) fn new(audience: Audience) -> Self {
        let bar = (audience == Audience::People && std::io::stderr().is_terminal()).then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(REFRESH_HZ);
            let style = ProgressStyle::with_template("{wide_msg}").expect("a constant template");
            ProgressBar::with_draw_target(None, target).with_style(style)
        });
        Self { bar, is_for_programs: audience == Audience::Programs, rate: Rate::default() }
    }

    /// Whether events are told to programs, who still listen.
    pub(crate) fn is_for_programs(&self) -> bool {
        self.is_for_programs
    }

    /// How often [`Self::show`] is to be called.
    pub(crate) fn interval(&self) -> Duration {
        if self.is_for_programs { OBJECT_INTERVAL } else { limits::PROGRESS_INTERVAL }
    }

    /// Shows where the sync stands.
    pub(crate) fn show(&mut self, tally: &Tally, now: Instant) {
        if self.bar.is_none() && !self.is_for_programs {
            return;
        }
        let snapshot = Snapshot::of(tally);
        let per_second = self.rate.observe(now, snapshot.bytes_moved);
        if self.is_for_programs {
            // A reader that has gone away is noticed by the summary.
            self.is_for_programs = Output::object(&Object::of(&snapshot, per_second)).is_ok();
        }
        let Some(bar) = &self.bar else { return };
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

/// A progress event of `--json`; the names are a contract.
#[derive(Debug, Serialize)]
struct Object {
    event: &'static str,
    files_done: u64,
    files_total: u64,
    bytes_done: u64,
    bytes_total: u64,
    listing_complete: bool,
    bytes_per_second: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
}

impl Object {
    fn of(snapshot: &Snapshot, per_second: f64) -> Self {
        Self {
            event: "progress",
            files_done: snapshot.files_done,
            files_total: snapshot.files_listed,
            bytes_done: snapshot.bytes_done,
            bytes_total: snapshot.bytes_listed,
            listing_complete: snapshot.is_listed,
            bytes_per_second: whole(per_second),
            seconds_left: time_left(snapshot, per_second).map(|left| left.as_secs()),
        }
    }
}

/// Whole bytes of one second: a duration is only the vehicle that turns the float into an integer without a cast.
fn whole(per_second: f64) -> u64 {
    Duration::from_secs_f64(per_second.clamp(0.0, 1e15)).as_secs()
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
        let rate = units::rate(whole(per_second), second).unwrap_or_default();
        line.push_str(&format!(", {rate}"));
        if let Some(left) = time_left(snapshot, per_second) {
            line.push_str(&format!(", {} left", humantime::format_duration(left)));
        }
    }
    line
}

fn time_left(snapshot: &Snapshot, per_second: f64) -> Option<Duration> {
    let left = snapshot.bytes_listed - snapshot.bytes_done;
    if !snapshot.is_listed || left == 0 || per_second < 1.0 {
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
        assert_eq!(
            serde_json::to_string(&Object::of(&snapshot, 10_485_760.0)).unwrap(),
            r#"{"event":"progress","files_done":1204,"files_total":20000,"bytes_done":5242880,"bytes_total":36700160,"listing_complete":true,"bytes_per_second":10485760,"seconds_left":3}"#
        );
        let stalled = serde_json::to_value(Object::of(&snapshot, 0.0)).unwrap();
        assert_eq!((stalled.get("seconds_left"), &stalled["bytes_per_second"]), (None, &0.into()));
    }
}
