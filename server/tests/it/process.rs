//! `swarmd` as a process of its own, and the commands beside it.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
};

use rustix::process::{Pid, Signal, kill_process};
use swarmwire_certs::JoinUri;
use tempfile::TempDir;

use crate::harness::Target;

/// `swarmd` without what the environment of the tests may say.
pub(crate) fn swarmd() -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_swarmd")))
}

pub(crate) fn without_settings(mut command: Command) -> Command {
    for name in ["ROOT", "LISTEN", "METRICS", "STATE", "HANDLERS", "CONFIG", "LOG", "HOME"] {
        command.env_remove(format!("SWARMWIRE_{name}"));
    }
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A running `swarmd`, killed with the test.
pub(crate) struct Running {
    child: Child,
    home: PathBuf,
    target: Target,
    metrics: SocketAddr,
    log: Option<JoinHandle<String>>,
    /// Removed with it where it is its own.
    _temp: Option<TempDir>,
}

impl Running {
    /// Starts it in a new home and waits until it says that it is ready.
    pub(crate) fn start(filter: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("root")).unwrap();
        let home = temp.path().to_owned();
        Self::start_in(&home, swarmd(), filter, Some(temp))
    }

    /// Starts `swarmd` on the root and the state in `home`.
    pub(crate) fn start_as(swarmd: Command, home: &Path) -> Self {
        Self::start_in(home, swarmd, "info", None)
    }

    fn start_in(home: &Path, mut swarmd: Command, filter: &str, temp: Option<TempDir>) -> Self {
        let mut child = swarmd
            .args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--drain", "1s"])
            .arg("--root")
            .arg(home.join("root"))
            .arg("--state")
            .arg(home.join("state"))
            .env("SWARMWIRE_LOG", filter)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut log = String::new();
        while !log.contains("gateway is ready") {
            assert_ne!(lines.read_line(&mut log).unwrap(), 0, "it did not start: {log}");
        }
        let field = |name: &str| log.rsplit_once(name).unwrap().1.split_whitespace().next().unwrap();
        let address = field(" listen=").parse().unwrap();
        let target = Target { address, fingerprint: field(" fingerprint=").parse().unwrap() };
        let metrics = field(" metrics=").parse().unwrap();
        let log = std::thread::spawn(move || {
            lines.read_to_string(&mut log).unwrap();
            log
        });
        Self { child, home: home.to_owned(), target, metrics, log: Some(log), _temp: temp }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.home.join("state")
    }

    pub(crate) fn target(&self) -> Target {
        self.target
    }

    pub(crate) fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal that does not end it.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends the signal and waits; gives how it ended, its log and its standard output.
    pub(crate) fn end(mut self, signal: Signal) -> (ExitStatus, String, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = self.child.wait().unwrap();
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (status, self.log.take().unwrap().join().unwrap(), out)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After `end` there is nobody left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command of `swarmd` on this state; gives its exit code, standard output and standard error.
pub(crate) fn run(state: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = swarmd().args(args).arg("--state").arg(state).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The invitation that `swarmd invite` prints.
pub(crate) fn invite(state: &Path, args: &[&str]) -> JoinUri {
    let (code, out, err) = run(state, &[&["invite"], args].concat());
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out.lines().count(), 1);
    let uri = out.trim_end().strip_prefix("swarm join '").and_then(|rest| rest.strip_suffix('\''));
    JoinUri::parse(uri.unwrap()).unwrap()
}
