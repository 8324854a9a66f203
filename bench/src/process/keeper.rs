//! The process between the laboratory and each child: it starts the child, adopts what the child leaves behind, measures and ends all of it.
//!
//! It is a child subreaper (prctl(2)), so that daemons that detach themselves become its own children; their cost is then in its resource usage
//! (getrusage(2), `RUSAGE_CHILDREN`), exact to the microsecond even for processes that lived for a millisecond. It ends with the first of: the child has ended;
//! an order on the leash; the end of the leash, which comes also when the laboratory was killed. Nothing that it started lives when it has ended.

use std::{
    ffi::OsString,
    fs::File,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeValLike,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, flock},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, set_child_subreaper, setsid, wait,
    },
};
use serde::{Deserialize, Serialize};

use super::{GRACE, tree};

/// How long what a child has left behind may go on by itself before it is killed: ends of connections, background writers.
const LINGER: Duration = Duration::from_secs(2);

/// How often it is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// The keeper's command line.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A file on which a shared lock is held for as long as anything runs.
    #[arg(long)]
    hold: Option<PathBuf>,
    /// What the child reads on its standard input, instead of nothing.
    #[arg(long)]
    input: Option<PathBuf>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// What a child and everything that it started have done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How the child itself ended.
    pub ending: Ending,
    /// From before the child was started until it had ended.
    pub wall: Duration,
    /// CPU time in user mode, of all processes.
    pub user: Duration,
    /// CPU time in the kernel, of all processes.
    pub system: Duration,
    /// Most memory that any one of the processes had resident.
    pub peak_bytes: u64,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It never ran.
    NotStarted(String),
}

/// Keeps one child, and reports over standard input, which is the leash.
pub fn run(arguments: &Arguments) -> Result<()> {
    // A session of its own: the terminal's signals reach the laboratory, and we hear of that over the leash.
    setsid().context("failed to leave the session")?;
    set_child_subreaper(Some(rustix::process::getpid())).context("failed to become a subreaper")?;
    let _held = arguments.hold.as_deref().map(hold).transpose()?;
    let stdin = std::io::stdin();
    let leash = stdin.as_fd();
    let report = keep(arguments, leash)?;
    let text = serde_json::to_string(&report)?;
    // Nobody may be there to hear it.
    let _ = rustix::net::send(leash, text.as_bytes(), rustix::net::SendFlags::NOSIGNAL);
    Ok(())
}

fn hold(path: &std::path::Path) -> Result<File> {
    let file = File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockShared)
        .with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(file)
}

fn keep(arguments: &Arguments, leash: BorrowedFd<'_>) -> Result<Report> {
    let (program, rest) = arguments.command.split_first().context("there is nothing to run")?;
    let input = match &arguments.input {
        Some(path) => File::open(path).context("failed to open the child's input")?.into(),
        None => Stdio::null(),
    };
    let start = Instant::now();
    let started = Command::new(program).args(rest).stdin(input).spawn();
    let (ending, wall) = match started {
        Ok(child) => {
            let (ending, wall, linger) = wait_for(Pid::from_child(&child), leash, start)?;
            clear_up(leash, linger)?;
            (ending, wall)
        }
        Err(error) => (Ending::NotStarted(error.to_string()), Duration::ZERO),
    };
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(Report { ending, wall, user: user(&usage), system: system(&usage), peak_bytes: peak_bytes(&usage) })
}

/// Waits for the child's end, and brings it about when that is ordered. Gives also how long what it has left behind may linger.
fn wait_for(child: Pid, leash: BorrowedFd<'_>, start: Instant) -> Result<(Ending, Duration, Duration)> {
    let descriptor = pidfd_open(child, PidfdFlags::empty())?;
    let mut linger = LINGER;
    let mut deadline: Option<Instant> = None;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut descriptors = [
            PollFd::new(&descriptor, PollFlags::IN),
            // Once an order was heard there is nothing more to listen for.
            PollFd::from_borrowed_fd(leash, if left.is_some() { PollFlags::empty() } else { PollFlags::IN }),
        ];
        let timeout = left.map(Timespec::try_from).transpose()?;
        match poll(&mut descriptors, timeout.as_ref()) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        if !descriptors[0].revents().is_empty() {
            let wall = start.elapsed();
            return Ok((reap(child)?, wall, linger));
        }
        if left.is_some_and(|left| left.is_zero()) {
            let _ = kill_process(child, Signal::KILL);
            deadline = Some(Instant::now() + GRACE);
        } else if deadline.is_none() && !descriptors[1].revents().is_empty() {
            let grace;
            (grace, linger) = order(leash);
            deadline = Some(Instant::now() + grace);
            let _ = kill_process(child, Signal::TERM);
        }
    }
}

/// How long the child may take to end after SIGTERM, and how long its descendants after that: `t` leaves time to both, `k` to neither, and
/// the end of the leash to the child alone.
fn order(leash: BorrowedFd<'_>) -> (Duration, Duration) {
    let mut order = [0; 1];
    match rustix::io::read(leash, &mut order) {
        Ok(1) if order == *b"t" => (GRACE, LINGER),
        Ok(1) => (Duration::ZERO, Duration::ZERO),
        _ => (GRACE, Duration::ZERO),
    }
}

fn reap(child: Pid) -> Result<Ending> {
    let (_, status) = rustix::process::waitpid(Some(child), WaitOptions::empty())?
        .context("a process that has ended can be waited for")?;
    Ok(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ending::Exited(code),
        (None, signal) => Ending::Killed(signal.unwrap_or_default()),
    })
}

/// Waits for what the child has left behind, and kills it after `linger`, or as soon as that is ordered.
fn clear_up(leash: BorrowedFd<'_>, linger: Duration) -> Result<()> {
    let start = Instant::now();
    loop {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(Errno::CHILD) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let mut descriptors = [PollFd::from_borrowed_fd(leash, PollFlags::IN)];
        let ordered = poll(&mut descriptors, Some(&Timespec::try_from(LOOK_INTERVAL)?)).unwrap_or(0) > 0;
        if ordered || start.elapsed() >= linger {
            for process in tree::descendants(std::process::id()) {
                if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
                    // It may have ended by itself.
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
        }
    }
}

fn user(usage: &Usage) -> Duration {
    microseconds(usage.user_time().num_microseconds())
}

fn system(usage: &Usage) -> Duration {
    microseconds(usage.system_time().num_microseconds())
}

fn microseconds(count: i64) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(0))
}

/// getrusage(2) counts KiB.
fn peak_bytes(usage: &Usage) -> u64 {
    u64::try_from(usage.max_rss()).unwrap_or(0) * 1024
}
