//! What is told of an offload: lines for people, objects for programs. Pure.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use swarmwire_client::offload::{Account, Candidate, Journal, Plan, State, Usage};
use swarmwire_common::{entry::Timestamp, escape::escape, wire::sync::Direction};

use super::job::Job;
use crate::{output::JsonPath, units};

/// The object of an offload, or of one round of many; the names are a contract.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    round: Option<u64>,
    direction: &'static str,
    state: &'static str,
    files_moved: u64,
    bytes_moved: u64,
    used_before: u64,
    used_after: u64,
    capacity: u64,
    entries_failed: u64,
    seconds: f64,
    failed: Vec<FailedEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    journal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    journal_path: Option<PathBuf>,
    #[serde(skip)]
    until: String,
}

#[derive(Debug, Serialize)]
struct FailedEntry {
    #[serde(flatten)]
    path: JsonPath,
    reason: String,
}

impl Summary {
    pub(super) fn new(
        event: &'static str,
        job: &Job,
        account: &Account,
        (time, error): (Duration, Option<String>),
    ) -> Self {
        let before = account.before.unwrap_or_default();
        let after = account.after.unwrap_or(before);
        let failed = account.failed.iter().map(|(path, reason)| FailedEntry {
            path: JsonPath::new(path.as_bytes()),
            reason: reason.clone(),
        });
        let failed: Vec<_> = failed.collect();
        Self {
            event,
            round: None,
            direction: direction(job),
            state: word(account.state),
            files_moved: account.files_moved,
            bytes_moved: account.bytes_moved,
            used_before: before.used,
            used_after: after.used,
            capacity: after.total,
            entries_failed: u64::try_from(failed.len())
                .unwrap_or(u64::MAX)
                .saturating_add(account.failed_unnamed),
            seconds: time.as_secs_f64(),
            failed,
            stopped: account.stopped,
            journal: None,
            error,
            journal_path: None,
            until: job.offload.terms.until().to_string(),
        }
    }

    /// With the place of the journal.
    pub(super) fn with_journal(mut self, journal: &Journal) -> Self {
        let path = journal.path();
        self.journal = Some(path.to_string_lossy().into_owned());
        self.journal_path = Some(path);
        self
    }

    /// Of many: the number of this one, or how many there were.
    pub(super) fn with_rounds(mut self, rounds: u64) -> Self {
        self.round = Some(rounds);
        self
    }

    /// The same for people.
    pub(super) fn line(&self) -> String {
        let usage = |used| used_of(Usage { used, total: self.capacity });
        if self.state == word(State::NotDue) && self.files_moved == 0 && self.error.is_none() {
            return format!("nothing to move; {} used", usage(self.used_after));
        }
        let mut line = format!(
            "moved {} ({}) in {:.1} s; {} used before, {} now",
            files(self.files_moved),
            units::bytes(self.bytes_moved),
            self.seconds,
            usage(self.used_before),
            usage(self.used_after),
        );
        if self.state == word(State::Unreached) {
            let why = self.stopped.unwrap_or("nothing else may or can be moved");
            line.push_str(&format!("; more than {}, and {why}", self.until));
        }
        if self.entries_failed > 0 {
            line.push_str(&format!("; {} failed", units::count(self.entries_failed)));
        }
        match (self.event, self.round) {
            ("summary", Some(1)) => line.push_str("; 1 round"),
            ("summary", Some(rounds)) => line.push_str(&format!("; {} rounds", units::count(rounds))),
            _ if self.error.is_some() => line.push_str("; not complete"),
            _ => {}
        }
        if let Some(path) = &self.journal_path {
            line.push_str(&format!("\njournal: {}", escape(path.as_os_str().as_encoded_bytes())));
        }
        line
    }
}

/// The last object of a dry run.
#[derive(Debug, Serialize)]
pub(super) struct Planned {
    event: &'static str,
    direction: &'static str,
    state: &'static str,
    files_to_move: usize,
    bytes_to_move: u64,
    used_before: u64,
    used_after: u64,
    capacity: u64,
    entries_failed: usize,
    #[serde(skip)]
    until: String,
}

impl Planned {
    pub(super) fn new(job: &Job, plan: &Plan) -> Self {
        Self {
            event: "summary",
            direction: direction(job),
            state: word(plan.state),
            files_to_move: plan.files.len(),
            bytes_to_move: plan.files.iter().fold(0, |sum, file| file.size.saturating_add(sum)),
            used_before: plan.before.used,
            used_after: plan.after.used,
            capacity: plan.before.total,
            entries_failed: plan.failed.len(),
            until: job.offload.terms.until().to_string(),
        }
    }

    pub(super) fn line(&self) -> String {
        let usage = |used| used_of(Usage { used, total: self.capacity });
        let count = u64::try_from(self.files_to_move).unwrap_or(u64::MAX);
        let mut line = format!("dry run: {} to move ({})", files(count), units::bytes(self.bytes_to_move));
        line.push_str(&format!("; {} used now", usage(self.used_before)));
        if self.files_to_move > 0 {
            line.push_str(&format!(", about {} then", usage(self.used_after)));
        }
        if self.state == word(State::Unreached) {
            line.push_str(&format!("; more than {}, and nothing else may be moved", self.until));
        }
        line
    }
}

/// The object of a file that would be moved.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    event: &'static str,
    #[serde(flatten)]
    path: JsonPath,
    action: &'static str,
    size: u64,
    mtime_ns: i128,
}

impl Entry {
    pub(super) fn new(file: &Candidate) -> Self {
        let path = JsonPath::new(file.path.as_bytes());
        Self { event: "entry", path, action: "move", size: file.size, mtime_ns: file.mtime.as_nanoseconds() }
    }
}

/// The same for people.
pub(super) fn line(file: &Candidate, now: SystemTime) -> String {
    let age = Timestamp::from(now).as_nanoseconds() - file.mtime.as_nanoseconds();
    let seconds = u64::try_from(age / 1_000_000_000);
    let age = match seconds {
        Ok(seconds) => format!("{} old", units::time(Duration::from_secs(seconds))),
        Err(_) => "from the future".to_owned(),
    };
    format!("move  {} ({}, {age})", file.path, units::bytes(file.size))
}

fn files(count: u64) -> String {
    format!("{} {}", units::count(count), if count == 1 { "file" } else { "files" })
}

fn used_of(usage: Usage) -> String {
    let percent = 100.0 * usage.used as f64 / usage.total.max(1) as f64;
    format!("{} ({percent:.1}%)", units::bytes(usage.used))
}

fn direction(job: &Job) -> &'static str {
    match job.offload.direction {
        Direction::Push => "push",
        Direction::Pull => "pull",
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Unfinished => "unfinished",
        State::NotDue => "not_due",
        State::Reached => "reached",
        State::Unreached => "unreached",
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use swarmwire_common::path::RelPath;

    use super::*;

    #[test]
    fn a_file_is_told_with_its_size_and_age() {
        let file = |seconds| Candidate {
            path: RelPath::parse(b"a\n.log").unwrap(),
            size: 2048,
            mtime: Timestamp { seconds, nanoseconds: 5 },
        };
        let now = UNIX_EPOCH + Duration::from_secs(90_000);
        assert_eq!(line(&file(0), now), "move  a\\x0a.log (2.0 KiB, 1day 59m old)");
        assert_eq!(line(&file(100_000), now), "move  a\\x0a.log (2.0 KiB, from the future)");
        assert_eq!(
            serde_json::to_string(&Entry::new(&file(1))).unwrap(),
            r#"{"event":"entry","path":"a\n.log","action":"move","size":2048,"mtime_ns":1000000005}"#
        );
    }
}
