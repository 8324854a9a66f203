//! A column of a case's table: what it is called, and what it says of each peer.
//!
//! A cell that does not apply is `–`. Figures are of complete runs, or of unfinished ones where they say nothing about the whole; what another
//! program said is quoted on one line, shortened.

use crate::{
    figures::{Spread, significant},
    record::{Outcome, Run},
    report::cases::{Case, Entry, encrypted, median_of},
};

/// Letters of a peer's own words that a table quotes.
const QUOTED_MAX: usize = 160;

/// What does not apply, or is not known.
pub(super) const NONE: &str = "–";

/// A column of both forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Peer,
    Encrypted,
    Runs,
    Seconds,
    FileRate,
    ByteRate,
    Processor,
    ProcessorPerBytes,
    ProcessorPerFiles,
    Peak,
    Wire,
    Directions,
    Drops,
    Ratio,
    Outcome,
    Remarks,
}

impl Column {
    pub(super) const ALL: [Self; 16] = [
        Self::Peer,
        Self::Encrypted,
        Self::Runs,
        Self::Seconds,
        Self::Ratio,
        Self::FileRate,
        Self::ByteRate,
        Self::Processor,
        Self::ProcessorPerBytes,
        Self::ProcessorPerFiles,
        Self::Peak,
        Self::Wire,
        Self::Directions,
        Self::Drops,
        Self::Outcome,
        Self::Remarks,
    ];

    /// What a narrow terminal does without, first to last.
    pub(super) const DISPENSABLE: [Self; 8] = [
        Self::Directions,
        Self::Encrypted,
        Self::ProcessorPerFiles,
        Self::ProcessorPerBytes,
        Self::Drops,
        Self::Wire,
        Self::FileRate,
        Self::Processor,
    ];

    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Encrypted => "encrypted",
            Self::Runs => "runs",
            Self::Seconds => "median s (min–max)",
            Self::FileRate => "files/s",
            Self::ByteRate => "MB/s",
            Self::Processor => "CPU s client + server",
            Self::ProcessorPerBytes => "CPU s/GB",
            Self::ProcessorPerFiles => "CPU s/100k files",
            Self::Peak => "peak MB client / server",
            Self::Wire => "wire MB",
            Self::Directions => "sent / received MB",
            Self::Drops => "queue drops %",
            Self::Ratio => "ratio (min–max)",
            Self::Outcome => "outcome",
            Self::Remarks => "remarks",
        }
    }

    /// The short heading, for a terminal.
    pub(super) fn brief(self) -> &'static str {
        match self {
            Self::Seconds => "s (min–max)",
            Self::Processor => "CPU s c + s",
            Self::ProcessorPerFiles => "CPU s/100k",
            Self::Peak => "peak MB c / s",
            Self::Drops => "drops %",
            other => other.heading(),
        }
    }

    pub(super) fn is_words(self) -> bool {
        matches!(self, Self::Peer | Self::Encrypted | Self::Outcome | Self::Remarks)
    }

    pub(super) fn cell(self, case: &Case, entry: &Entry, baseline: Option<&Entry>) -> String {
        let runs = entry.telling();
        let wall = entry.wall();
        let by_time = |amount: f64| wall.map(|wall| significant(amount / wall.median.max(1e-9)));
        let cpu = median_of(&runs, |run| Some(client_cpu(run) + server_cpu(run)));
        // A part of the work says nothing about what all of it costs.
        let cpu_of_all = wall.and(cpu);
        let cell = match self {
            Self::Peer => Some(entry.name()),
            Self::Encrypted => Some(encrypted(&entry.peer).to_owned()),
            Self::Runs => entry.ran().then(|| entry.runs.len().to_string()),
            Self::Seconds => wall.map(Spread::text).or_else(|| stopped_after(entry)),
            Self::FileRate => by_time(case.files as f64),
            Self::ByteRate => by_time(case.bytes as f64 / 1e6),
            Self::Processor => processor(&runs),
            Self::ProcessorPerBytes => {
                cpu_of_all.map(|cpu| significant(cpu * 1e9 / case.bytes.max(1) as f64))
            }
            Self::ProcessorPerFiles => {
                cpu_of_all.map(|cpu| significant(cpu * 1e5 / case.files.max(1) as f64))
            }
            Self::Peak => peak(&runs),
            Self::Wire => median_bytes(&runs, |run| run.wire_bytes),
            Self::Directions => directions(&runs),
            Self::Drops => drops(&runs),
            Self::Ratio => baseline.and_then(|baseline| entry.ratio(baseline)).map(Spread::text),
            Self::Outcome => Some(outcome(case, entry)),
            Self::Remarks => remarks(entry),
        };
        cell.unwrap_or_else(|| NONE.to_owned())
    }
}

fn client_cpu(run: &Run) -> f64 {
    run.client_user_seconds + run.client_system_seconds
}

fn server_cpu(run: &Run) -> f64 {
    run.server_user_seconds + run.server_system_seconds
}

fn processor(runs: &[&Run]) -> Option<String> {
    let client = median_of(runs, |run| Some(client_cpu(run)))?;
    let server = median_of(runs, |run| Some(server_cpu(run)))?;
    Some(format!("{} + {}", significant(client), significant(server)))
}

fn stopped_after(entry: &Entry) -> Option<String> {
    let seconds =
        median_of(&entry.ended(Outcome::Unfinished).collect::<Vec<_>>(), |run| Some(run.wall_seconds))?;
    Some(format!(">{}", significant(seconds)))
}

fn peak(runs: &[&Run]) -> Option<String> {
    let most = |bytes: fn(&Run) -> u64| runs.iter().map(|run| bytes(run)).max();
    let (client, server) = (most(|run| run.client_peak_bytes)?, most(|run| run.server_peak_bytes)?);
    Some(format!("{} / {}", in_megabytes(client as f64), in_megabytes(server as f64)))
}

fn median_bytes(runs: &[&Run], bytes: fn(&Run) -> Option<u64>) -> Option<String> {
    median_of(runs, |run| bytes(run).map(|bytes| bytes as f64)).map(in_megabytes)
}

/// What the client sent and received, where the two can be told apart.
fn directions(runs: &[&Run]) -> Option<String> {
    let sent = median_bytes(runs, |run| run.wire_sent_bytes)?;
    Some(format!("{sent} / {}", median_bytes(runs, |run| run.wire_received_bytes)?))
}

/// Of all packets of all runs, those for which the queue had no room.
fn drops(runs: &[&Run]) -> Option<String> {
    let sum = |value: fn(&Run) -> Option<u64>| runs.iter().map(|run| value(run)).sum::<Option<u64>>();
    let (dropped, packets) = (sum(|run| run.queue_drops)?, sum(|run| run.packets)?);
    (packets > 0).then(|| significant(dropped as f64 * 100.0 / packets as f64))
}

fn in_megabytes(bytes: f64) -> String {
    significant(bytes / 1e6)
}

/// How the runs ended, with the rate that unfinished ones reached.
fn outcome(case: &Case, entry: &Entry) -> String {
    let rate = entry.reached().filter(|_| case.work.is_fresh());
    let rate = rate.map_or_else(String::new, |rate| format!(" at {} MB/s", in_megabytes(rate)));
    let endings = [
        (Outcome::Complete, "complete"),
        (Outcome::Unfinished, "unfinished"),
        (Outcome::Failed, "failed"),
        (Outcome::Missing, "not installed"),
    ];
    let parts = endings.into_iter().filter_map(|(outcome, name)| {
        let count = entry.ended(outcome).count();
        let count_text = if count == entry.runs.len() { String::new() } else { format!("{count} ") };
        let rate = if outcome == Outcome::Unfinished { rate.as_str() } else { "" };
        (count > 0).then(|| format!("{count_text}{name}{rate}"))
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// What the peer did not carry over, and why runs did not complete, in the words of the first run that says so.
pub(super) fn remarks(entry: &Entry) -> Option<String> {
    let endings = [
        (Outcome::Complete, ""),
        (Outcome::Unfinished, ""),
        (Outcome::Failed, "failed: "),
        (Outcome::Missing, "not installed: "),
    ];
    let remarks =
        endings.into_iter().filter_map(|(outcome, name)| Some(format!("{name}{}", note(entry, outcome)?)));
    let remarks = remarks.collect::<Vec<_>>().join("; ");
    (!remarks.is_empty()).then_some(remarks)
}

/// What the first run that ended so, and that has a note, notes.
pub(crate) fn note(entry: &Entry, outcome: Outcome) -> Option<String> {
    entry.ended(outcome).map(|run| run.note.as_str()).find(|note| !note.trim().is_empty()).map(quoted)
}

/// Another program's words on one line, and not too many of them.
fn quoted(words: &str) -> String {
    let line = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ");
    let mut letters = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut text: String = letters.by_ref().take(QUOTED_MAX).collect();
    if letters.next().is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{cases::cases, fixture::run};

    #[test]
    fn the_ratio_is_to_the_peer_that_is_asked_for() {
        let rows = [run("swarm", 1, 1.0), run("rsyncd", 1, 2.0), run("scp", 1, 4.0)];
        let ratios = |asked| {
            let case = &cases(&rows)[0];
            case.entries
                .iter()
                .map(|entry| Column::Ratio.cell(case, entry, case.baseline(asked)))
                .collect::<Vec<_>>()
        };
        assert_eq!(ratios(None), ["0.500", "1.00", "2.00"]);
        assert_eq!(ratios(Some("scp")), ["0.250", "0.500", "1.00"]);
    }

    #[test]
    fn a_peers_own_words_stay_on_one_line() {
        assert_eq!(quoted("first\n\n  second\tend\n"), "first / second end");
        assert_eq!(quoted(&"x".repeat(500)).chars().count(), QUOTED_MAX + 1);
    }

    #[test]
    fn drops_are_a_share_of_all_packets_of_all_runs() {
        let one = Run { queue_drops: Some(1), packets: Some(100), ..Run::default() };
        let other = Run { queue_drops: Some(5), packets: Some(500), ..Run::default() };
        assert_eq!(drops(&[&one, &other]), Some("1.00".to_owned()));
        assert_eq!(drops(&[&one, &Run::default()]), None);
    }
}
