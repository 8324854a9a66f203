//! What is told of a sync at its beginning and its end: one object for programs, a few lines for people. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use swarmwire_common::{
    sync::{Failure, Report},
    wire::sync::Direction,
};

use super::{account::Account, run::Ending, stats};
use crate::{
    output::{JsonPath, special_word},
    units,
};

/// The object of `--json`; the names are a contract.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    event: &'static str,
    direction: &'static str,
    /// In a dry run alone; then `entries_deleted` counts what would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    files_to_send: Option<u64>,
    entries_total: u64,
    files_sent: u64,
    files_unchanged: u64,
    entries_failed: u64,
    entries_skipped: u64,
    entries_deleted: u64,
    files_removed: u64,
    bytes_total: u64,
    bytes_sent: u64,
    bytes_wire_sent: u64,
    bytes_wire_received: u64,
    seconds: f64,
    receipts: Receipts,
    failed: Vec<FailedEntry<'a>>,
    skipped: Vec<SkippedEntry>,
    /// Of a sync that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    rounds: Option<u64>,
    /// Seconds by stage of this side, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    stages: Option<BTreeMap<&'static str, f64>>,
    /// The same of the gateway, which tells it when all is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_stages: Option<BTreeMap<&'static str, f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    account: &'a Account,
}

/// The first object of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Started {
    event: &'static str,
    direction: &'static str,
}

impl Started {
    pub(super) fn new(direction: Direction) -> Self {
        Self { event: "started", direction: word(direction) }
    }
}

/// The object of one round of a sync that goes on (`--watch`); the names are a contract.
#[derive(Debug, Serialize)]
pub(super) struct Round {
    pub(super) event: &'static str,
    pub(super) round: u64,
    /// `full` where all was looked at, `changes` where what has changed was.
    pub(super) kind: &'static str,
    pub(super) files_sent: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_wire_sent: u64,
    pub(super) bytes_wire_received: u64,
    pub(super) entries_deleted: u64,
    pub(super) entries_failed: u64,
    pub(super) seconds: f64,
    /// Whether nothing else was known to have changed when it ended.
    pub(super) caught_up: bool,
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Push => "push",
        Direction::Pull => "pull",
    }
}

#[derive(Debug, Serialize)]
struct Receipts {
    received: u64,
    verified: u64,
    durable: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct FailedEntry<'a> {
    #[serde(flatten)]
    path: JsonPath,
    reason: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct SkippedEntry {
    #[serde(flatten)]
    path: JsonPath,
    kind: &'static str,
}

impl<'a> Summary<'a> {
    pub(super) fn new(direction: Direction, account: &'a Account, ending: &Ending) -> Self {
        let report = &account.report;
        Self {
            event: "summary",
            direction: word(direction),
            files_to_send: account.files_to_send,
            entries_total: report.entries_total,
            files_sent: report.files_sent,
            files_unchanged: report.files_unchanged,
            entries_failed: report.entries_failed,
            entries_skipped: report.entries_skipped,
            entries_deleted: report.entries_deleted,
            files_removed: report.files_removed,
            bytes_total: report.bytes_total,
            bytes_sent: report.bytes_sent,
            bytes_wire_sent: account.bytes_wire_sent,
            bytes_wire_received: account.bytes_wire_received,
            seconds: account.time.as_secs_f64(),
            receipts: Receipts {
                received: report.received,
                verified: report.verified,
                durable: report.durable,
            },
            failed: failed(report),
            skipped: skipped(report),
            rounds: account.rounds,
            stages: None,
            peer_stages: None,
            error: ending.error(),
            account,
        }
    }

    /// With the time of each stage.
    pub(super) fn with_stages(mut self) -> Self {
        self.stages = Some(stats::seconds(&self.account.stages));
        self.peer_stages = Some(stats::seconds(&self.account.peer_stages));
        self
    }

    /// The summary for people, and the skipped entries by name.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut line = self.done();
        let deleted = if self.files_to_send.is_some() { "to delete" } else { "deleted" };
        for (count, word) in [
            (self.files_unchanged, "unchanged"),
            (self.entries_deleted, deleted),
            (self.files_removed, "removed at the source"),
            (self.entries_skipped, "skipped"),
            (self.entries_failed, "failed"),
        ] {
            if count > 0 {
                line.push_str(&format!("; {} {word}", units::count(count)));
            }
        }
        match self.rounds {
            // It goes on until it is ended, and is as complete as it can be.
            Some(rounds) => line.push_str(&format!("; {} rounds", units::count(rounds))),
            None if self.error.is_some() => line.push_str("; not complete"),
            None => {}
        }
        let skipped = self.account.report.skipped.iter();
        let skipped = skipped.map(|(path, kind)| format!("skipped: {path} ({})", kind.as_str()));
        std::iter::once(line).chain(skipped).collect()
    }

    /// What was sent or would be.
    fn done(&self) -> String {
        if let Some(files) = self.files_to_send {
            let noun = if files == 1 { "file" } else { "files" };
            return format!("dry run: {} {noun} to send", units::count(files));
        }
        let verb = if self.direction == "push" { "sent" } else { "received" };
        let noun = if self.files_sent == 1 { "file" } else { "files" };
        let mut line = format!(
            "{verb} {} {noun} ({}) in {:.1} s",
            units::count(self.files_sent),
            units::bytes(self.bytes_sent),
            self.seconds,
        );
        if let Some(rate) = units::rate(self.bytes_sent, self.account.time)
            .filter(|_| self.bytes_sent > 0 && self.rounds.is_none())
        {
            line.push_str(&format!(", {rate}"));
        }
        line
    }
}

pub(super) fn failed(report: &Report) -> Vec<FailedEntry<'_>> {
    let entry = |failure: &Failure| JsonPath::new(failure.path.as_bytes());
    report
        .failed
        .iter()
        .map(|failure| FailedEntry { path: entry(failure), reason: &failure.reason })
        .collect()
}

pub(super) fn skipped(report: &Report) -> Vec<SkippedEntry> {
    report
        .skipped
        .iter()
        .map(|(path, kind)| SkippedEntry { path: JsonPath::new(path.as_bytes()), kind: special_word(*kind) })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use swarmwire_common::{entry::SpecialKind, path::RelPath};

    use super::*;

    fn account() -> Account {
        let path = |bytes: &[u8]| RelPath::from_wire(bytes.to_vec()).unwrap();
        let report = Report {
            entries_total: 1244,
            files_total: 1242,
            bytes_total: 13_000_000,
            files_sent: 1204,
            files_unchanged: 37,
            bytes_sent: 12_897_485,
            received: 1204,
            verified: 1204,
            durable: 1204,
            entries_deleted: 2,
            files_removed: 3,
            entries_failed: 1,
            entries_skipped: 1,
            failed: vec![Failure { path: path(b"a\xff"), reason: "no space left on device".to_owned() }],
            skipped: vec![(path(b"run/\x1bsock"), SpecialKind::Socket)],
        };
        Account {
            report,
            bytes_wire_sent: 5,
            bytes_wire_received: 6,
            time: Duration::from_millis(800),
            ..Account::default()
        }
    }

    #[test]
    fn the_object_has_exactly_the_promised_names() {
        let account = account();
        let summary = Summary::new(Direction::Push, &account, &Ending::Complete);
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            r#"{"event":"summary","direction":"push","entries_total":1244,"files_sent":1204,"files_unchanged":37,"entries_failed":1,"entries_skipped":1,"entries_deleted":2,"files_removed":3,"bytes_total":13000000,"bytes_sent":12897485,"bytes_wire_sent":5,"bytes_wire_received":6,"seconds":0.8,"receipts":{"received":1204,"verified":1204,"durable":1204},"failed":[{"path_base64":"Yf8=","reason":"no space left on device"}],"skipped":[{"path":"run/\u001bsock","kind":"socket"}]}"#
        );
        let broken = Ending::Broken(anyhow::anyhow!("inner").context("outer"));
        let summary = serde_json::to_value(Summary::new(Direction::Pull, &account, &broken)).unwrap();
        assert_eq!(summary["error"], "outer: inner");
        assert_eq!(summary["direction"], "pull");
    }

    #[test]
    fn people_read_one_line_and_what_was_left_out() {
        let account = account();
        assert_eq!(
            Summary::new(Direction::Push, &account, &Ending::Complete).lines(),
            [
                "sent 1,204 files (12.3 MiB) in 0.8 s, 15.4 MiB/s; 37 unchanged; 2 deleted; 3 removed at the source; 1 skipped; 1 failed",
                "skipped: run/\\x1bsock (socket)"
            ]
        );
        let nothing = Account { time: Duration::from_millis(30), ..Account::default() };
        assert_eq!(
            Summary::new(Direction::Pull, &nothing, &Ending::Interrupted).lines(),
            ["received 0 files (0 B) in 0.0 s; not complete"]
        );
        let watched = Account { rounds: Some(1000), ..self::account() };
        assert_eq!(
            Summary::new(Direction::Push, &watched, &Ending::Interrupted).lines()[0],
            "sent 1,204 files (12.3 MiB) in 0.8 s; 37 unchanged; 2 deleted; 3 removed at the source; 1 skipped; 1 failed; 1,000 rounds"
        );
        let report = Report { files_unchanged: 7, entries_deleted: 2, ..Report::default() };
        let dry = Account { report, files_to_send: Some(1), ..Account::default() };
        assert_eq!(
            Summary::new(Direction::Pull, &dry, &Ending::Complete).lines(),
            ["dry run: 1 file to send; 7 unchanged; 2 to delete"]
        );
    }
}
