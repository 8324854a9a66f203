//! An rsync daemon of our own: its own configuration, a port that was free, started and ended with the value.

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::process::{self, Finished, Process};

/// How long the daemon may take to answer.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long one transfer may take.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(3600);

/// A daemon that serves one module.
#[derive(Debug)]
pub(super) struct Daemon {
    address: SocketAddr,
    _process: Process,
}

impl Daemon {
    /// Serves `root`, for reading and writing; the configuration is written to `work`.
    pub(super) fn start(root: &Path, work: &Path) -> Result<Self> {
        let config = work.join("rsyncd.conf");
        fs::write(&config, configuration(root))?;
        // Nobody else takes the port in the moment between; if somebody does, rsync says so and we stop.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = process::command("rsync");
        command.args(["--daemon", "--no-detach", "--address", "127.0.0.1"]);
        command.arg(format!("--port={}", address.port())).arg(format!("--config={}", config.display()));
        let process =
            Process::spawn(&mut command).context("rsync is what we compare with; is it installed?")?;
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if process.ended_within(Duration::from_millis(10))? || start.elapsed() > START_PATIENCE {
                bail!("the rsync daemon does not answer on {address}\n{}", process.last_words());
            }
        }
        Ok(Self { address, _process: process })
    }

    /// The contents of a directory below the root, as rsync's command line names it.
    pub(super) fn place(&self, name: &str) -> String {
        format!("rsync://{}/tree/{name}/", self.address)
    }
}

/// Runs `rsync -a` from one place to the other.
pub(super) fn transfer(from: &OsStr, to: &OsStr) -> Result<Finished> {
    let mut command = process::command("rsync");
    command.arg("-a").arg(from).arg(to);
    let finished = process::run(&mut command, TRANSFER_PATIENCE)?;
    finished.success()?;
    Ok(finished)
}

fn configuration(root: &Path) -> String {
    // A daemon run by root would serve files as `nobody`, who may not read or own them; others can only be themselves.
    let identity = if rustix::process::geteuid().is_root() { "uid = root\ngid = root\n" } else { "" };
    format!("use chroot = no\n{identity}[tree]\npath = {}\nread only = no\n", root.display())
}
