//! A `swarmd` of our own, and a `swarm` that has joined it: separate processes with identities in a directory of ours.
//!
//! The identities, the invitation and the port stay with the directory, so that a gateway that is started again is the one that was joined. The
//! gateway's ready line tells its addresses.

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Seek, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    binaries::Binaries,
    ground::{Ground, await_ready},
    process::{self, Ending, Finished, Process},
};

/// The name under which the controller knows the gateway.
pub(crate) const NAME: &str = "gw";

/// How long commands that move no files may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one sync of the demonstration may take. Chosen: an hour moves any tree that fits one.
const SYNC_PATIENCE: Duration = Duration::from_secs(3600);

/// What a gateway and a controller remember.
#[derive(Clone, Debug)]
pub(crate) struct State {
    home: PathBuf,
    controller: PathBuf,
    binaries: Binaries,
}

impl State {
    /// The state in the directory `home`, used by these programs.
    pub(crate) fn at(home: &Path, binaries: &Binaries) -> Self {
        Self { home: home.to_owned(), controller: home.join("controller"), binaries: binaries.clone() }
    }

    /// The same gateway, with another controller.
    pub(crate) fn with_controller(self, name: &str) -> Self {
        Self { controller: self.home.join(name), ..self }
    }

    /// The controller's home.
    pub(crate) fn controller(&self) -> PathBuf {
        self.controller.clone()
    }

    /// `swarm` with its own home.
    pub(crate) fn swarm(&self) -> Command {
        let mut command = process::command(&self.binaries.swarm);
        command.env("SWARMWIRE_HOME", self.controller());
        command
    }

    /// Whether `swarm sync` of these binaries has an option.
    pub(crate) fn offers(&self, option: &str) -> Result<bool> {
        let help = self.swarm().args(["sync", "--help"]).output().context("failed to run swarm")?;
        Ok(String::from_utf8_lossy(&help.stdout).contains(option))
    }

    fn gateway(&self) -> PathBuf {
        self.home.join("gateway")
    }

    fn has_joined(&self) -> bool {
        self.home.join("joined").exists()
    }

    /// The port of the gateway's first start.
    fn port(&self, ground: &Ground) -> Result<u16> {
        let path = self.home.join("port");
        if let Ok(text) = fs::read_to_string(&path) {
            return text.parse().context("the port that was used before is not a number");
        }
        let port = ground.far().free_port()?;
        fs::write(&path, port.to_string())?;
        Ok(port)
    }
}

/// A running gateway, and a controller that has joined it.
#[derive(Debug)]
pub(crate) struct Gateway<'a> {
    process: Process,
    state: State,
    ground: &'a Ground,
    /// Where it serves QUIC.
    pub(crate) listen: SocketAddr,
    /// Where it serves its metrics.
    pub(crate) metrics: SocketAddr,
    /// Its identity, in hexadecimal digits.
    pub(crate) fingerprint: String,
}

impl<'a> Gateway<'a> {
    /// Starts `swarmd` on the existing directory `root` at the far end; at the first start, the controller of the near end joins.
    pub(crate) fn start(state: &State, ground: &'a Ground, root: &Path) -> Result<Self> {
        Self::start_with(state, ground, root, &[])
    }

    /// The same, with further arguments.
    pub(crate) fn start_with(
        state: &State,
        ground: &'a Ground,
        root: &Path,
        arguments: &[&str],
    ) -> Result<Self> {
        let listen = SocketAddr::new(ground.far().address(), state.port(ground)?);
        let mut command = process::command(&state.binaries.swarmd);
        command.arg("--root").arg(root).arg("--state").arg(state.gateway());
        command.args(["--listen", &listen.to_string(), "--metrics", "127.0.0.1:0", "--log-format", "json"]);
        command.args(arguments);
        let process = ground.far().spawn(&command)?;
        let ready = await_ready(&process, || Ok(process.stderr()?.lines().find_map(Ready::of_line)))?;
        let Ready { listen, metrics, fingerprint } = ready;
        let gateway = Self { process, state: state.clone(), ground, listen, metrics, fingerprint };
        if !state.has_joined() {
            gateway.admit(state)?;
            fs::write(state.home.join("joined"), b"")?;
        }
        Ok(gateway)
    }

    /// Makes an invitation and lets the controller of `state` join with it, under [`NAME`]. The secret goes through standard input.
    pub(crate) fn admit(&self, state: &State) -> Result<()> {
        let mut invite = process::command(&self.state.binaries.swarmd);
        invite.args(["invite", "--allow", "list,pull,push,delete", "--state"]).arg(self.state.gateway());
        let line = self.ground.far().run(&invite, PATIENCE)?.success()?;
        let uri = line.split('\'').nth(1).context("`swarmd invite` printed no invitation")?;
        let mut input = tempfile::tempfile()?;
        input.write_all(uri.as_bytes())?;
        input.rewind()?;
        let mut join = state.swarm();
        join.args(["join", "-", "--name", NAME]);
        self.ground.near().run_with_input(&join, input, PATIENCE)?.success()?;
        Ok(())
    }

    /// Syncs one place to the other and returns the summary. Entries that failed are an error that names them.
    pub(crate) fn sync(&self, from: &OsStr, to: &OsStr) -> Result<Summary> {
        let mut sync = self.state.swarm();
        sync.arg("sync").arg(from).arg(to).arg("--json");
        let finished = self.ground.near().run(&sync, SYNC_PATIENCE)?;
        finished
            .success()
            .and_then(|output| Summary::of_output(&output))
            .with_context(|| format!("failed to sync {} to {}", from.display(), to.display()))
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
        self.ground
            .far()
            .inside(exchange)?
            .with_context(|| format!("failed to read http://{}{path}", self.metrics))
    }

    /// The gateway's process, for whoever ends it by other means.
    pub(crate) fn into_process(self) -> Process {
        self.process
    }

    /// Ends the gateway as an operator would, with SIGTERM, and expects it to drain and to exit with 0.
    pub(crate) fn stop(self) -> Result<Finished> {
        let finished = self.process.terminate()?;
        if finished.report.ending != Ending::Exited(0) {
            bail!("the gateway did not end well ({})\n{}", finished.report.ending, finished.last_words());
        }
        Ok(finished)
    }
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
