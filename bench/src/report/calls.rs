//! The tables of calls: what each peer does, beside ours, run by run; where others are ahead; and what was to be reached.
//!
//! Ratios are a peer's figure by ours of the same round. `quinn` is the floor under ours, and never counts as another program that is ahead.

use crate::{
    figures::{Spread, grouped, median, megabytes, pairwise, significant},
    record::Call,
};

use super::{cases::SWARM, table::markdown_row};

/// The peer that is nothing but streams.
const FLOOR: &str = "quinn";

/// What is wanted of 64 bytes, sequentially: the median of ours by the floor's, at most.
const FLOOR_RATIO_MAX: f64 = 1.15;

/// Calls of 64 bytes per second with 64 at a time, at least.
const CALLS_PER_SECOND_MIN: f64 = 100_000.0;

/// Items of 64 bytes per second, at least.
const ITEMS_PER_SECOND_MIN: f64 = 1_000_000.0;

/// Items of 1 MiB per second, by the floor's, at least.
const BULK_RATIO_MIN: f64 = 0.9;

/// Memory of 10,000 idle streams, at most.
const IDLE_BYTES_MAX: f64 = 100e6;

/// One kind of work, and everybody who has done it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Contest<'a> {
    pub(crate) work: &'a str,
    pub(crate) bytes: u64,
    pub(crate) at_a_time: u64,
    /// In the order in which they first stand.
    pub(crate) entries: Vec<Entry<'a>>,
}

/// All runs of one peer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry<'a> {
    pub(crate) peer: &'a str,
    runs: Vec<&'a Call>,
}

impl Entry<'_> {
    /// Of each run, with its number.
    fn values(&self, value: impl Fn(&Call) -> f64) -> Vec<(u32, f64)> {
        self.runs.iter().map(|run| (run.run, value(run))).collect()
    }

    /// What stands for all runs.
    pub(crate) fn median(&self, value: impl Fn(&Call) -> f64) -> f64 {
        median(&self.runs.iter().map(|run| value(run)).collect::<Vec<_>>())
    }

    fn spread(&self, value: impl Fn(&Call) -> f64) -> String {
        let values: Vec<f64> = self.runs.iter().map(|run| value(run)).collect();
        Spread::of(&values).map_or_else(String::new, Spread::text)
    }
}

impl<'a> Contest<'a> {
    fn of(&self, peer: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.peer == peer)
    }

    /// In words: `64 bytes there and back, 64 at a time`.
    pub(crate) fn title(&self) -> String {
        let bytes = size(self.bytes);
        match (self.work, self.at_a_time) {
            ("items", _) => format!("One stream of items of {bytes}"),
            ("idle", streams) => format!("{} idle streams", grouped(streams)),
            ("beside", _) => format!("{bytes} there and back, beside a sync on the same connection"),
            (_, 1) => format!("{bytes} there and back, one at a time"),
            (_, count) => format!("{bytes} there and back, {count} at a time"),
        }
    }

    /// `value` of a peer by that of another, within each round.
    fn ratio(&self, above: &str, below: &str, value: impl Fn(&Call) -> f64 + Copy) -> Option<f64> {
        let ratios = pairwise(&self.of(above)?.values(value), &self.of(below)?.values(value));
        (!ratios.is_empty()).then(|| median(&ratios))
    }
}

/// What was measured, in the order in which it first stands. A repeated run replaces the earlier one.
pub(crate) fn contests(rows: &[Call]) -> Vec<Contest<'_>> {
    let mut all: Vec<Contest> = Vec::new();
    for row in rows {
        let (work, bytes, at_a_time) = (row.work.as_str(), row.bytes, row.at_a_time);
        let is_same = |one: &Contest| (one.work, one.bytes, one.at_a_time) == (work, bytes, at_a_time);
        let position = all.iter().position(is_same).unwrap_or_else(|| {
            all.push(Contest { work, bytes, at_a_time, entries: Vec::new() });
            all.len() - 1
        });
        let entries = &mut all[position].entries;
        let position = entries.iter().position(|entry| entry.peer == row.peer).unwrap_or_else(|| {
            entries.push(Entry { peer: &row.peer, runs: Vec::new() });
            entries.len() - 1
        });
        let runs = &mut entries[position].runs;
        runs.retain(|earlier| earlier.run != row.run);
        runs.push(row);
    }
    all
}

/// The section's text, without its heading.
pub(crate) fn section(rows: &[Call]) -> String {
    let all = contests(rows);
    let mut text = String::from(
        "Medians, with the least and the most; × is a peer's figure by ours of the same round, below 1 is less. CPU is of both ends. \
         `quinn` is the floor: a stream for each call and nothing above it, with our transport's configuration.\n",
    );
    let goals = goals(&all);
    if !goals.is_empty() {
        text.push_str(&format!("\n{goals}"));
    }
    for contest in &all {
        text.push_str(&format!("\n### {}\n\n{}", contest.title(), table(contest)));
    }
    text
}

fn table(contest: &Contest) -> String {
    match contest.work {
        "idle" => idle_table(contest),
        "items" => items_table(contest),
        _ => calls_table(contest),
    }
}

fn calls_table(contest: &Contest) -> String {
    let mut text =
        head(&["calls/s", "×", "p50 µs", "×", "p99 µs", "×", "p99.9 µs", "CPU s per 100,000", "sync MB/s"]);
    for entry in &contest.entries {
        let ratio = |value: fn(&Call) -> f64| ratio_cell(contest, entry.peer, value);
        let sync = entry.median(|run| run.bulk_bytes_per_second / 1e6);
        text.push_str(&markdown_row(&[
            entry.peer,
            &entry.spread(Call::per_second),
            &ratio(Call::per_second),
            &entry.spread(|run| run.p50_microseconds),
            &ratio(|run| run.p50_microseconds),
            &entry.spread(|run| run.p99_microseconds),
            &ratio(|run| run.p99_microseconds),
            &entry.spread(|run| run.p999_microseconds),
            &significant(entry.median(Call::cpu_seconds_of_100k)),
            &if sync > 0.0 { significant(sync) } else { String::new() },
        ]));
    }
    text
}

fn items_table(contest: &Contest) -> String {
    let mut text = head(&["items/s", "×", "MB/s", "CPU s per 100,000"]);
    for entry in &contest.entries {
        let bytes = contest.bytes as f64;
        text.push_str(&markdown_row(&[
            entry.peer,
            &entry.spread(Call::per_second),
            &ratio_cell(contest, entry.peer, Call::per_second),
            &significant(entry.median(Call::per_second) * bytes / 1e6),
            &significant(entry.median(Call::cpu_seconds_of_100k)),
        ]));
    }
    text
}

fn idle_table(contest: &Contest) -> String {
    let mut text = head(&["opened/s", "server MB before", "with all of them", "KB of each", "×"]);
    for entry in &contest.entries {
        let mega = |bytes: fn(&Call) -> u64| entry.median(|run| bytes(run) as f64) / 1e6;
        text.push_str(&markdown_row(&[
            entry.peer,
            &entry.spread(Call::per_second),
            &significant(mega(|run| run.server_before_bytes)),
            &significant(mega(|run| run.server_after_bytes)),
            &significant(entry.median(|run| grown(run) / 1e3 / run.count.max(1) as f64)),
            &ratio_cell(contest, entry.peer, grown),
        ]));
    }
    text
}

/// What the streams cost the server.
fn grown(run: &Call) -> f64 {
    run.server_after_bytes.saturating_sub(run.server_before_bytes) as f64
}

fn head(columns: &[&str]) -> String {
    let cells: Vec<&str> = ["peer"].into_iter().chain(columns.iter().copied()).collect();
    let rule: Vec<&str> = ["---"].into_iter().chain(columns.iter().map(|_| "---:")).collect();
    format!("{}{}", markdown_row(&cells), markdown_row(&rule))
}

fn ratio_cell(contest: &Contest, peer: &str, value: impl Fn(&Call) -> f64 + Copy) -> String {
    if peer == SWARM {
        return String::new();
    }
    contest.ratio(peer, SWARM, value).map_or_else(|| "–".to_owned(), significant)
}

/// Where another program is ahead of ours, the greatest difference first; empty if nowhere.
pub(crate) fn losses(rows: &[Call]) -> String {
    let mut losses: Vec<(f64, String)> = Vec::new();
    for contest in &contests(rows) {
        let others = || contest.entries.iter().filter(|entry| ![SWARM, FLOOR].contains(&entry.peer));
        for (name, value, more_is_better) in figures(contest.work) {
            let times = |entry: &Entry| {
                let ratio = contest.ratio(entry.peer, SWARM, value)?;
                Some(if more_is_better { ratio } else { 1.0 / ratio })
            };
            let best =
                others().filter_map(|entry| Some((times(entry)?, entry))).max_by(|a, b| a.0.total_cmp(&b.0));
            let Some(((times, entry), own)) = best.zip(contest.of(SWARM)) else { continue };
            if times > 1.0 {
                let (own, theirs) = (significant(own.median(value)), significant(entry.median(value)));
                let (title, peer, times) = (contest.title(), entry.peer, (times, significant(times)));
                let line = format!("- {title}, {name}: {own}, {peer} {theirs} ({} times)\n", times.1);
                losses.push((times.0, line));
            }
        }
    }
    losses.sort_by(|a, b| b.0.total_cmp(&a.0));
    losses.into_iter().map(|(_, line)| line).collect()
}

type Figure = (&'static str, fn(&Call) -> f64, bool);

/// What is compared, and whether more of it is better.
fn figures(work: &str) -> Vec<Figure> {
    match work {
        "idle" => vec![("MB at the server", |run| grown(run) / 1e6, false)],
        "items" => vec![("items/s", Call::per_second, true)],
        _ => vec![
            ("calls/s", Call::per_second, true),
            ("p50", |run| run.p50_microseconds, false),
            ("p99", |run| run.p99_microseconds, false),
        ],
    }
}

/// A line for each figure that was to be reached, as far as it was measured.
fn goals(all: &[Contest]) -> String {
    let find = |work: &str, bytes: u64, at_a_time: u64| {
        all.iter().find(|one| (one.work, one.bytes, one.at_a_time) == (work, bytes, at_a_time))
    };
    let own = |contest: &Contest, value: fn(&Call) -> f64| Some(contest.of(SWARM)?.median(value));
    let mut lines = Vec::new();
    let mut add = |what: &str, wanted: &str, got: Option<(f64, bool)>| {
        if let Some((got, met)) = got {
            let verdict = if met { "reached" } else { "missed" };
            lines.push(markdown_row(&[what, wanted, &significant(got), verdict]));
        }
    };
    let sequential = find("calls", 64, 1).and_then(|it| it.ratio(SWARM, FLOOR, |run| run.p50_microseconds));
    let got = sequential.map(|ratio| (ratio, ratio <= FLOOR_RATIO_MAX));
    add("64 bytes one at a time, p50 by the floor's", "at most 1.15", got);
    let parallel = find("calls", 64, 64).and_then(|it| own(it, Call::per_second));
    let got = parallel.map(|rate| (rate, rate >= CALLS_PER_SECOND_MIN));
    add("64 bytes, 64 at a time, calls/s", "at least 100,000", got);
    let items = find("items", 64, 1).and_then(|it| own(it, Call::per_second));
    add(
        "items of 64 bytes per second",
        "at least 1,000,000",
        items.map(|rate| (rate, rate >= ITEMS_PER_SECOND_MIN)),
    );
    let bulk = find("items", 1 << 20, 1).and_then(|it| it.ratio(SWARM, FLOOR, Call::per_second));
    add("items of 1 MiB, by the floor's", "at least 0.9", bulk.map(|ratio| (ratio, ratio >= BULK_RATIO_MIN)));
    let idle = find("idle", 0, 10_000).and_then(|it| own(it, grown));
    add(
        "10,000 idle streams, MB at the gateway",
        "below 100",
        idle.map(|bytes| (bytes / 1e6, bytes < IDLE_BYTES_MAX)),
    );
    if lines.is_empty() {
        return String::new();
    }
    let heading =
        [markdown_row(&["goal", "wanted", "measured", ""]), markdown_row(&["---", "---", "---:", "---"])];
    heading.concat() + &lines.concat()
}

/// `64 bytes`, `4 KiB`, `1 MiB`.
fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        1_000_000.. => megabytes(bytes),
        _ => format!("{} bytes", grouped(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(peer: &str, work: &str, run: u32, rate: u64) -> Call {
        Call {
            peer: peer.into(),
            work: work.into(),
            bytes: 64,
            at_a_time: if work == "idle" { 10_000 } else { 1 },
            run,
            count: rate,
            seconds: 1.0,
            p50_microseconds: 1e6 / rate as f64,
            p99_microseconds: 2e6 / rate as f64,
            ..Call::default()
        }
    }

    #[test]
    fn ratios_are_taken_within_rounds_and_a_repeated_run_replaces_the_earlier_one() {
        let rows = [
            row("swarm", "calls", 1, 7),
            row("swarm", "calls", 1, 10_000),
            row("tonic", "calls", 1, 5_000),
            row("swarm", "calls", 2, 20_000),
            row("tonic", "calls", 2, 10_000),
        ];
        let all = contests(&rows);
        assert_eq!((all.len(), all[0].entries.len(), all[0].entries[0].runs.len()), (1, 2, 2));
        assert_eq!(all[0].ratio("tonic", "swarm", Call::per_second), Some(0.5));
        assert_eq!(all[0].ratio("irpc", "swarm", Call::per_second), None);
        let text = section(&rows);
        assert!(text.contains("### 64 bytes there and back, one at a time\n"), "{text}");
        assert!(text.contains("| tonic | 7,500 (5,000–10,000) | 0.500 |"), "{text}");
    }

    #[test]
    fn another_program_that_is_ahead_is_a_loss_and_the_floor_is_none() {
        let rows = [
            row("swarm", "calls", 1, 10_000),
            row("tonic", "calls", 1, 20_000),
            row("quinn", "calls", 1, 90_000),
        ];
        let text = losses(&rows);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("one at a time, calls/s: 10,000, tonic 20,000 (2.00 times)\n"), "{text}");
        assert_eq!(losses(&rows[..1]), "");
        assert_eq!(losses(&[rows[0].clone(), row("tonic", "calls", 1, 9_000)]), "");
    }

    #[test]
    fn goals_are_judged_as_far_as_they_were_measured() {
        let mut idle = row("swarm", "idle", 1, 10_000);
        (idle.bytes, idle.server_before_bytes, idle.server_after_bytes) = (0, 5_000_000, 125_000_000);
        let rows = [
            row("swarm", "items", 1, 2_000_000),
            row("swarm", "calls", 1, 100),
            row("quinn", "calls", 1, 110),
            idle,
        ];
        let text = goals(&contests(&rows));
        assert!(
            text.contains("| items of 64 bytes per second | at least 1,000,000 | 2,000,000 | reached |"),
            "{text}"
        );
        assert!(text.contains("p50 by the floor's | at most 1.15 | 1.10 | reached |"), "{text}");
        assert!(text.contains("| below 100 | 120 | missed |"), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    #[test]
    fn sizes_are_said_as_they_were_asked_for() {
        let cases = [
            (64, "64 bytes"),
            (4096, "4 KiB"),
            (1 << 20, "1 MiB"),
            (5000, "5,000 bytes"),
            (2_500_000, "2.5 MB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }
}
