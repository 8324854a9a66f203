//! Two calm lines on standard error while a sync runs, if that is a terminal: a bar for all of it and the file in hand. For programs an
//! object on standard output now and then; nothing otherwise.
//!
//! It reads the sync's `Tally` when it is told to and keeps no account of its own but smoothed rates.

use std::{
    io::IsTerminal,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use swarmwire_common::{
    escape::escape,
    limits,
    sync::{FileInHand, Tally},
};

use crate::{output::JsonPath, units};

/// How often the lines may change. Five times a second is calm and still alive.
const REFRESH_HZ: u8 = 5;

/// How often programs are told. Twice a second is enough for a bar and little in a log.
const OBJECT_INTERVAL: Duration = Duration::from_millis(500);

/// Time over which the rates are smoothed. Chosen, not measured: long enough to read, short enough to follow.
const SMOOTHING: Duration = Duration::from_secs(3);

/// How long the rates are watched before they are good enough to tell the time that is left. Chosen, not measured.
const OBSERVED_MIN: Duration = Duration::from_secs(3);

/// What a file costs beside its bytes, in bytes: a small file takes as long as this much of a large one. Chosen, not measured.
const FILE_BYTES: u64 = 16 * 1024;

/// Columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;

/// Who is shown how a sync goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Nobody,
    /// At a terminal, if there is one.
    People,
    Programs,
}

/// The lines, or the objects.
pub(crate) struct Progress {
    lines: Option<Lines>,
    is_for_programs: bool,
    bytes: Rate,
    work: Rate,
}

/// What is drawn.
struct Lines {
    all: MultiProgress,
    bar: ProgressBar,
    file: ProgressBar,
}

impl Lines {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REFRESH_HZ));
        let style = |template| {
            let style = ProgressStyle::with_template(template).expect("a constant template");
            style.progress_chars("━╸─")
        };
        let bar = all.add(ProgressBar::new(0).with_style(style("{bar:10} {wide_msg}")));
        let file = all.add(ProgressBar::new(0).with_style(style("{wide_msg}")));
        Self { all, bar, file }
    }

    fn draw(&self, snapshot: &Snapshot, rates: Rates, file: Option<&FileInHand>) {
        let (done, of) = snapshot.share();
        self.bar.set_length(of);
        self.bar.set_position(done);
        self.bar.set_message(describe(snapshot, rates));
        let columns = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(COLUMNS, |size| size.ws_col);
        let columns = if columns == 0 { COLUMNS } else { columns };
        self.file.set_message(file.map(|file| describe_file(file, columns.into())).unwrap_or_default());
        self.bar.tick();
        self.file.tick();
    }
}

impl Progress {
    /// Lines on standard error, or none where nobody would see them.
    pub(crate) fn new(audience: Audience) -> Self {
        let lines = (audience == Audience::People && std::io::stderr().is_terminal()).then(Lines::new);
        let is_for_programs = audience == Audience::Programs;
        Self { lines, is_for_programs, bytes: Rate::default(), work: Rate::default() }
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
    #[must_use = "an object is for standard output, which may have to be waited for"]
    pub(crate) fn show(&mut self, tally: &Tally, now: Instant) -> Option<String> {
        if self.lines.is_none() && !self.is_for_programs {
            return None;
        }
        let snapshot = Snapshot::of(tally);
        let rates = Rates {
            bytes: self.bytes.observe(now, snapshot.bytes_moved),
            work: self.work.observe(now, snapshot.share().0),
            is_known: self.work.observed() >= OBSERVED_MIN,
        };
        let file = tally.file_in_hand(now);
        if self.is_for_programs {
            // A reader that has gone away is noticed by the summary.
            return serde_json::to_string(&Object::of(&snapshot, rates, file.as_ref())).ok();
        }
        if let Some(lines) = &self.lines {
            lines.draw(&snapshot, rates, file.as_ref());
        }
        None
    }

    /// Programs listen no more.
    pub(crate) fn end_for_programs(&mut self) {
        self.is_for_programs = false;
    }

    /// Shows what is waited for instead.
    pub(crate) fn say(&mut self, text: &str) {
        (self.bytes, self.work) = (Rate::default(), Rate::default());
        if let Some(lines) = &self.lines {
            lines.bar.set_message(text.to_owned());
            lines.file.set_message("");
            lines.bar.tick();
        }
    }

    /// Takes the lines away.
    pub(crate) fn clear(&self) {
        if let Some(lines) = &self.lines {
            lines.file.finish_and_clear();
            lines.bar.finish_and_clear();
            // Where standard error is gone, so are the lines.
            let _gone = lines.all.clear();
        }
    }
}

/// A tally as it stood at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Snapshot {
    files_done: u64,
    files_listed: u64,
    bytes_moved: u64,
    /// Of the files listed: what has moved, what is copied at the destination, and what was there.
    bytes_done: u64,
    bytes_listed: u64,
    is_listed: bool,
}

impl Snapshot {
    fn of(tally: &Tally) -> Self {
        let (files_unchanged, files_listed) =
            (tally.files_unchanged.load(Relaxed), tally.files_listed.load(Relaxed));
        let (bytes_moved, bytes_listed) = (tally.bytes_moved.load(Relaxed), tally.bytes_listed.load(Relaxed));
        let files_done = tally.committed.load(Relaxed) + files_unchanged;
        let is_listed = tally.listing_complete.load(Relaxed) != 0;
        let bytes_done = bytes_moved
            .saturating_add(tally.bytes_copied.load(Relaxed))
            .saturating_add(tally.bytes_unchanged.load(Relaxed))
            .min(bytes_listed);
        Self {
            files_done,
            files_listed,
            bytes_moved,
            // What was renamed there is not in these sums.
            bytes_done: if is_listed && files_done >= files_listed { bytes_listed } else { bytes_done },
            bytes_listed,
            is_listed,
        }
    }

    /// How much of the work that is known of is done, as bytes.
    fn share(&self) -> (u64, u64) {
        let work = |bytes: u64, files: u64| bytes.saturating_add(files.saturating_mul(FILE_BYTES));
        let all = work(self.bytes_listed, self.files_listed);
        (work(self.bytes_done, self.files_done).min(all), all)
    }
}

/// What happens each second.
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    /// Bytes that cross.
    bytes: f64,
    /// What is done, as bytes.
    work: f64,
    /// They have been watched for long enough to tell how it goes on.
    is_known: bool,
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
    /// The file in hand, if one can be named.
    #[serde(flatten)]
    file: Option<Hand>,
}

#[derive(Debug, Serialize)]
struct Hand {
    #[serde(flatten)]
    path: JsonPath,
    file_bytes_done: u64,
    file_bytes_total: u64,
}

impl Object {
    fn of(snapshot: &Snapshot, rates: Rates, file: Option<&FileInHand>) -> Self {
        Self {
            event: "progress",
            files_done: snapshot.files_done,
            files_total: snapshot.files_listed,
            bytes_done: snapshot.bytes_done,
            bytes_total: snapshot.bytes_listed,
            listing_complete: snapshot.is_listed,
            bytes_per_second: whole(rates.bytes),
            seconds_left: time_left(snapshot, rates).map(|left| left.as_secs()),
            file: file.map(|file| Hand {
                path: JsonPath::new(file.path.as_bytes()),
                file_bytes_done: file.bytes_done,
                file_bytes_total: file.bytes_total,
            }),
        }
    }
}

/// Whole bytes of one second: a duration is only the vehicle that turns the float into an integer without a cast.
fn whole(per_second: f64) -> u64 {
    Duration::from_secs_f64(per_second.clamp(0.0, 1e15)).as_secs()
}

/// The line about all of it; what matters most comes first, since a narrow terminal cuts the end off.
fn describe(snapshot: &Snapshot, rates: Rates) -> String {
    // Until the listing is complete the totals still grow.
    let more = if snapshot.is_listed { "" } else { "+" };
    let mut parts = Vec::new();
    let (done, of) = snapshot.share();
    if let Some(percent) = done.saturating_mul(100).checked_div(of).filter(|_| snapshot.is_listed) {
        parts.push(format!("{percent}%"));
    }
    if let Some(left) = time_left(snapshot, rates) {
        parts.push(format!("{} left", units::time(left)));
    }
    if rates.bytes >= 1.0 {
        parts.extend(units::rate(whole(rates.bytes), Duration::from_secs(1)));
    }
    let (done, all) = (units::bytes(snapshot.bytes_done), units::bytes(snapshot.bytes_listed));
    parts.push(format!("{done} of {all}{more}"));
    let (done, all) = (units::count(snapshot.files_done), units::count(snapshot.files_listed));
    parts.push(format!("{done} of {all}{more} files"));
    parts.join(", ")
}

/// The line about the file in hand; of a long path the end is what tells.
fn describe_file(file: &FileInHand, columns: usize) -> String {
    let percent = file.bytes_done.saturating_mul(100).checked_div(file.bytes_total);
    let head = match percent.filter(|_| file.bytes_total > limits::CHUNK_BYTES) {
        Some(percent) => format!("{percent:>3}% of {}  ", units::bytes(file.bytes_total)),
        None => String::new(),
    };
    let path = if file.path.is_root() { "the file itself".into() } else { escape(file.path.as_bytes()) };
    let room = columns.saturating_sub(head.chars().count()).saturating_sub(1);
    let length = path.chars().count();
    if length <= room {
        return format!("{head}{path}");
    }
    let tail: String = path.chars().skip(length + 1 - room.max(1)).collect();
    format!("{head}…{tail}")
}

/// None where it cannot be told.
fn time_left(snapshot: &Snapshot, rates: Rates) -> Option<Duration> {
    let (done, all) = snapshot.share();
    if !snapshot.is_listed || !rates.is_known || done == all || rates.work < 1.0 {
        return None;
    }
    let seconds = Duration::try_from_secs_f64((all - done) as f64 / rates.work).ok()?.as_secs();
    Some(Duration::from_secs(seconds.max(1)))
}

/// A count per second as an exponentially weighted mean.
#[derive(Debug, Default)]
struct Rate {
    first: Option<Instant>,
    last: Option<(Instant, u64)>,
    per_second: Option<f64>,
}

impl Rate {
    fn observe(&mut self, now: Instant, total: u64) -> f64 {
        self.first.get_or_insert(now);
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

    /// For how long it has been watched.
    fn observed(&self) -> Duration {
        let last = self.last.map(|(last, _)| last);
        last.zip(self.first).map_or(Duration::ZERO, |(last, first)| last.saturating_duration_since(first))
    }
}

#[cfg(test)]
mod tests {
    use swarmwire_common::path::RelPath;

    use super::*;

    fn rates(per_second: f64) -> Rates {
        Rates { bytes: per_second, work: per_second, is_known: true }
    }

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
        assert_eq!(rate.observed(), Duration::from_secs(20));
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
        assert_eq!(describe(&snapshot, Rates::default()), "5.0 MiB of 35.0 MiB+, 1,204 of 20,000+ files");
        snapshot.is_listed = true;
        assert_eq!(
            describe(&snapshot, rates(10_485_760.0)),
            "6%, 32s left, 10.0 MiB/s, 5.0 MiB of 35.0 MiB, 1,204 of 20,000 files"
        );
        assert_eq!(
            serde_json::to_string(&Object::of(&snapshot, rates(10_485_760.0), None)).unwrap(),
            r#"{"event":"progress","files_done":1204,"files_total":20000,"bytes_done":5242880,"bytes_total":36700160,"listing_complete":true,"bytes_per_second":10485760,"seconds_left":32}"#
        );
        let stalled = serde_json::to_value(Object::of(&snapshot, rates(0.0), None)).unwrap();
        assert_eq!((stalled.get("seconds_left"), &stalled["bytes_per_second"]), (None, &0.into()));
        let early = Rates { is_known: false, ..rates(10_485_760.0) };
        assert_eq!(time_left(&snapshot, early), None);
    }

    #[test]
    fn the_file_in_hand_fits_the_line() {
        let path = RelPath::parse(b"var/log/app/a long name.log").unwrap();
        let mut file = FileInHand { path, bytes_done: 1 << 20, bytes_total: 4 << 20 };
        assert_eq!(describe_file(&file, 80), " 25% of 4.0 MiB  var/log/app/a long name.log");
        assert_eq!(describe_file(&file, 30), " 25% of 4.0 MiB  …ng name.log");
        assert_eq!(describe_file(&file, 3), " 25% of 4.0 MiB  …");
        let told = serde_json::to_value(Object::of(&Snapshot::default(), rates(0.0), Some(&file))).unwrap();
        assert_eq!(told["path"], "var/log/app/a long name.log");
        assert_eq!(
            (&told["file_bytes_done"], &told["file_bytes_total"]),
            (&1_048_576.into(), &4_194_304.into())
        );
        file.bytes_total = 70;
        assert_eq!(describe_file(&file, 80), "var/log/app/a long name.log");
    }
}
