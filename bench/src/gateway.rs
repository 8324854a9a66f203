//! A `swarmd` of our own on loopback, and a `swarm` that has joined it: separate processes with fresh identities in a directory of ours.
//!
//! Ports are the kernel's choice; the gateway's ready line tells them. Everything goes when the value is dropped.

use std::{
    ffi::OsStr,
    io::{Read, Seek, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    binaries::Binaries,
    process::{self, Finished, Process},
};

/// The name under which the controller knows the gateway.
pub(crate) const NAME: &str = "gw";

/// How long the gateway may take to start and to end, and commands that move no files to finish.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one sync may take. Chosen: an hour moves any tree that fits a demonstration.
const SYNC_PATIENCE: Duration = Duration::from_secs(3600);

/// How often the gateway's log is looked at for its ready line.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// A running gateway and the home of a controller.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Process,
    binaries: Binaries,
    work: PathBuf,
    /// Where it serves QUIC.
    pub(crate) listen: SocketAddr,
    /// Where it serves its metrics.
    pub(crate) metrics: SocketAddr,
    /// Its identity, in hexadecimal digits.
    pub(crate) fingerprint: String,
}

impl Gateway {
    /// Starts `swarmd` on the existing directory `root`; state and home are made below `work`.
    pub(crate) fn start(binaries: Binaries, root: &Path, work: &Path) -> Result<Self> {
        let mut command = process::command(&binaries.swarmd);
        command.arg("--root").arg(root).arg("--state").arg(work.join("state"));
        command.args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--log-format", "json"]);
        let process = Process::spawn(&mut command)?;
        let start = Instant::now();
        let ready = loop {
            if let Some(ready) = process.stderr()?.lines().find_map(Ready::of_line) {
                break ready;
            }
            if process.ended_within(LOOK_INTERVAL)? {
                bail!("the gateway ended while it was starting\n{}", process.last_words());
            }
            if start.elapsed() > PATIENCE {
                bail!("the gateway was not ready within {} s\n{}", PATIENCE.as_secs(), process.last_words());
            }
        };
        let Ready { listen, metrics, fingerprint } = ready;
        Ok(Self { process, binaries, work: work.to_owned(), listen, metrics, fingerprint })
    }

    /// Makes an invitation and lets the controller join with it, under [`NAME`]. The secret goes through standard input.
    pub(crate) fn join(&self) -> Result<()> {
        let mut invite = process::command(&self.binaries.swarmd);
        invite.arg("invite").arg("--state").arg(self.work.join("state"));
        let line = process::run(&mut invite, PATIENCE)?.success()?;
        let uri = line.split('\'').nth(1).context("`swarmd invite` printed no invitation")?;
        let mut input = tempfile::tempfile()?;
        input.write_all(uri.as_bytes())?;
        input.rewind()?;
        let mut join = self.swarm();
        join.args(["join", "-", "--name", NAME]).stdin(input);
        process::run(&mut join, PATIENCE)?.success().map(drop)
    }

    /// Syncs one place to the other and returns the summary. Entries that failed are an error that names them.
    pub(crate) fn sync(&self, from: &OsStr, to: &OsStr, options: &[&str]) -> Result<Synced> {
        let mut sync = self.swarm();
        sync.arg("sync").arg(from).arg(to).arg("--json").args(options);
        let finished = process::run(&mut sync, SYNC_PATIENCE)?;
        let summary = finished.success().and_then(|output| Summary::of_output(&output));
        let summary =
            summary.with_context(|| format!("failed to sync {} to {}", from.display(), to.display()))?;
        Ok(Synced { summary, finished })
    }

    /// What the gateway answers at `path` of its metrics address.
    pub(crate) fn http_get(&self, path: &str) -> Result<String> {
        let exchange = || -> Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.metrics, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.metrics)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
            let status = head.lines().next().unwrap_or_default();
            if !status.starts_with("HTTP/1.1 200") {
                bail!("the answer is {status:?}");
            }
            Ok(body.to_owned())
        };
        exchange().with_context(|| format!("failed to read http://{}{path}", self.metrics))
    }

    /// The most memory the gateway has had resident so far.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.process.peak_bytes()
    }

    /// Ends the gateway as an operator would, with SIGTERM, and expects it to drain and to exit with 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        let status = self.process.terminate(PATIENCE)?;
        if !status.success() {
            bail!("the gateway did not end well ({status})\n{}", self.process.last_words());
        }
        Ok(())
    }

    fn swarm(&self) -> Command {
        let mut command = process::command(&self.binaries.swarm);
        command.env("SWARMWIRE_HOME", self.work.join("home"));
        command
    }
}

/// One finished sync.
#[derive(Debug)]
pub(crate) struct Synced {
    /// What the controller told.
    pub(crate) summary: Summary,
    /// The controller's process.
    pub(crate) finished: Finished,
}

/// The summary object of `swarm sync --json`, as far as it is used here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    /// Files whose content crossed.
    pub(crate) files_sent: u64,
    /// Files that were in place already.
    pub(crate) files_unchanged: u64,
    /// Devices, FIFOs and sockets.
    pub(crate) entries_skipped: u64,
    /// File content that crossed.
    pub(crate) bytes_sent: u64,
    /// The transfer alone, without the start of the process.
    pub(crate) time: Duration,
}

impl Summary {
    fn of_output(output: &str) -> Result<Self> {
        let events = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let summary = events
            .into_iter()
            .find(|event| event["event"] == "summary")
            .context("`swarm sync` gave no summary")?;
        let count =
            |name: &str| summary[name].as_u64().with_context(|| format!("the summary has no {name:?}"));
        let seconds = summary["seconds"].as_f64().context("the summary has no \"seconds\"")?;
        Ok(Self {
            files_sent: count("files_sent")?,
            files_unchanged: count("files_unchanged")?,
            entries_skipped: count("entries_skipped")?,
            bytes_sent: count("bytes_sent")?,
            time: Duration::try_from_secs_f64(seconds)?,
        })
    }
}

/// The gateway's ready line.
#[derive(Debug, PartialEq)]
struct Ready {
    listen: SocketAddr,
    metrics: SocketAddr,
    fingerprint: String,
}

impl Ready {
    fn of_line(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let fields = &event["fields"];
        let address = |name: &str| fields[name].as_str()?.parse().ok();
        Some(Self {
            listen: address("listen")?,
            metrics: address("metrics")?,
            fingerprint: fields["fingerprint"].as_str()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_told_from_other_lines() {
        let ready = r#"{"level":"INFO","fields":{"message":"gateway is ready","listen":"127.0.0.1:5","metrics":"127.0.0.1:6","fingerprint":"ab"}}"#;
        let addresses = Ready::of_line(ready).map(|ready| (ready.listen.port(), ready.metrics.port()));
        assert_eq!(addresses, Some((5, 6)));
        for other in ["", "plain text", r#"{"fields":{"message":"new identity","fingerprint":"ab"}}"#] {
            assert_eq!(Ready::of_line(other), None);
        }
    }

    #[test]
    fn the_summary_is_found_behind_other_events() {
        let summary = concat!(
            r#"{"event":"summary","direction":"push","files_sent":3,"files_unchanged":1,"#,
            r#""entries_skipped":2,"bytes_sent":7,"seconds":0.5}"#
        );
        let output = format!("{{\"event\":\"progress\"}}\n{summary}\n");
        let expected = Summary {
            files_sent: 3,
            files_unchanged: 1,
            entries_skipped: 2,
            bytes_sent: 7,
            time: Duration::from_millis(500),
        };
        assert_eq!(Summary::of_output(&output).unwrap(), expected);
        assert!(Summary::of_output("{\"event\":\"progress\"}").is_err());
    }
}
