//! Child processes that never outlive us, waited for with a deadline, their CPU time and memory known to the microsecond and the byte.
//!
//! Each child runs under a keeper ([`keeper`]): a second process of this program that adopts whatever the child leaves behind, measures all of
//! it, and ends all of it when we are gone, however we went. Keeper and owner talk over one socket, the *leash*: its end is the order to end.
//!
//! The environment that children see is cleared of everything that would make a run depend on who starts it: `SWARMWIRE_*`, log filters, backtraces.

pub mod keeper;
pub mod tree;

use std::{
    env,
    ffi::OsStr,
    fmt,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::FileExt, net::UnixStream, process::CommandExt},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

pub use keeper::{Ending, Report};

/// Lines of a child's output that an error quotes.
const QUOTED_LINES: usize = 15;

/// How long a keeper may take, after its order to end, beyond the grace it was given. Chosen: killing takes milliseconds.
const KEEPER_PATIENCE: Duration = Duration::from_secs(20);

/// How long a child may take to end by itself once asked, before it is killed.
pub const GRACE: Duration = Duration::from_secs(10);

/// A command with a clean environment and nothing on its standard input.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"SWARMWIRE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_BACKTRACE").env_remove("RUST_LOG");
    command
}

/// Starts children under keepers.
#[derive(Clone, Debug)]
pub struct Nursery {
    program: PathBuf,
    hold: Option<PathBuf>,
}

impl Nursery {
    /// Keepers are processes of `program`, which must be this crate's. While one lives it holds a shared lock on the file `hold`.
    pub fn new(program: PathBuf, hold: Option<PathBuf>) -> Self {
        Self { program, hold }
    }

    /// Keepers are processes of the running program. By this path they are `exe` to the kernel: who ends the runner by its name leaves them their work.
    pub fn of_this_program(hold: Option<PathBuf>) -> Self {
        Self::new("/proc/self/exe".into(), hold)
    }

    /// Starts `command`. Its output goes to unnamed files, so that no amount of it makes the child wait for us.
    pub fn spawn(&self, command: &Command) -> Result<Process> {
        self.spawn_with_input(command, None)
    }

    /// Starts `command` with `input` as its standard input.
    pub fn spawn_with_input(&self, command: &Command, input: Option<File>) -> Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        self.start(command, name.clone(), input).with_context(|| format!("failed to start {name}"))
    }

    /// Runs `command`, with `input` as its standard input if there is any, to its end, whatever its exit status; one that takes longer than `within`
    /// is killed, which is an error.
    pub fn run(&self, command: &Command, input: Option<File>, within: Duration) -> Result<Finished> {
        let process = self.spawn_with_input(command, input)?;
        if process.ended_within(within)? {
            return process.finish();
        }
        let finished = process.kill()?;
        bail!(
            "{} did not end within {} s\n{}",
            finished.process.name,
            within.as_secs_f64(),
            finished.last_words()
        );
    }

    fn start(&self, command: &Command, name: String, input: Option<File>) -> io::Result<Process> {
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let (leash, other_end) = UnixStream::pair()?;
        let mut keeper = Command::new(&self.program);
        keeper.arg0("lab-keeper").arg("keep");
        if let Some(hold) = &self.hold {
            keeper.arg("--hold").arg(hold);
        }
        if let Some(input) = &input {
            keeper.arg("--input").arg(format!("/proc/{}/fd/{}", std::process::id(), input.as_raw_fd()));
        }
        keeper.arg("--").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => keeper.env(name, value),
                None => keeper.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            keeper.current_dir(directory);
        }
        keeper.stdin(Stdio::from(OwnedFd::from(other_end)));
        let mut child = keeper.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(descriptor) => {
                Ok(Process { name, child, descriptor, leash, stdout, stderr, _input: input, report: None })
            }
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }
}

/// A child process, and everything that it starts.
#[derive(Debug)]
pub struct Process {
    name: String,
    /// The keeper.
    child: Child,
    descriptor: OwnedFd,
    leash: UnixStream,
    stdout: File,
    stderr: File,
    /// Kept until the keeper has opened it by our number for it.
    _input: Option<File>,
    report: Option<Report>,
}

impl Process {
    /// Whether the child has ended, waiting for it for `patience`.
    pub fn ended_within(&self, patience: Duration) -> Result<bool> {
        let start = Instant::now();
        loop {
            let left = patience.saturating_sub(start.elapsed());
            let mut descriptors = [PollFd::new(&self.descriptor, PollFlags::IN)];
            match poll(&mut descriptors, Some(&Timespec::try_from(left)?)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) if !left.is_zero() => {}
                Err(Errno::INTR) => return Ok(false),
                Err(error) => {
                    return Err(error).with_context(|| format!("failed to wait for {}", self.name));
                }
            }
        }
    }

    /// The number of the keeper's process, whose descendants are the child and all that it started.
    pub fn keeper_id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the child to end (SIGTERM), waits for it, and gives what it did. What it leaves behind is killed.
    pub fn terminate(self) -> Result<Finished> {
        self.end(b"t")
    }

    /// Kills the child and all that it started, and gives what they did until then.
    pub fn kill(self) -> Result<Finished> {
        self.end(b"k")
    }

    /// What the child did; waits for it without a deadline if it still runs.
    pub fn finish(mut self) -> Result<Finished> {
        let report = self.read_report()?;
        Ok(Finished { report, process: self })
    }

    fn end(mut self, order: &[u8]) -> Result<Finished> {
        self.order(order)?;
        self.finish()
    }

    /// Sends the keeper an order, of which it may have no need any more, and waits for its end.
    fn order(&mut self, order: &[u8]) -> Result<()> {
        // An error says that the keeper has ended, which is what is wanted.
        let _ = rustix::net::send(&self.leash, order, rustix::net::SendFlags::NOSIGNAL);
        if !self.ended_within(GRACE + KEEPER_PATIENCE)? {
            bail!("{} cannot be ended", self.name);
        }
        Ok(())
    }

    fn read_report(&mut self) -> Result<Report> {
        if let Some(report) = &self.report {
            return Ok(report.clone());
        }
        let mut text = String::new();
        (&self.leash)
            .read_to_string(&mut text)
            .with_context(|| format!("failed to hear of {}", self.name))?;
        self.child.wait()?;
        let report: Report = serde_json::from_str(&text)
            .with_context(|| format!("failed to run {}\n{}", self.name, self.last_words()))?;
        Ok(self.report.insert(report).clone())
    }

    /// What the child has written to standard output so far.
    pub fn stdout(&self) -> Result<String> {
        read_all(&self.stdout)
    }

    /// What the child has written to standard error so far.
    pub fn stderr(&self) -> Result<String> {
        read_all(&self.stderr)
    }

    /// The end of the child's standard error, indented, for an error message.
    pub fn last_words(&self) -> String {
        let stderr = self.stderr().unwrap_or_default();
        let lines: Vec<&str> = stderr.lines().collect();
        let last = &lines[lines.len().saturating_sub(QUOTED_LINES)..];
        last.iter().map(|line| format!("  {}: {line}", self.name)).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A keeper that has been waited for takes no orders; one that does not obey is beyond what we can do here.
        if self.report.is_none() {
            let _ = self.order(b"k");
            let _ = self.child.wait();
        }
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended, and what it and everything that it started have cost.
    pub report: Report,
    process: Process,
}

impl Finished {
    /// Its standard output, or an error that quotes what it said if it failed.
    pub fn success(&self) -> Result<String> {
        if self.report.ending != Ending::Exited(0) {
            bail!("{} failed ({})\n{}", self.process.name, self.report.ending, self.process.last_words());
        }
        self.process.stdout()
    }

    /// The end of its standard error, indented, for an error message.
    pub fn last_words(&self) -> String {
        self.process.last_words()
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Killed(signal) => write!(f, "signal {signal}"),
            Self::NotStarted(reason) => write!(f, "it did not start: {reason}"),
        }
    }
}

fn read_all(file: &File) -> Result<String> {
    let bytes = file.metadata()?.len();
    let mut content = vec![0; usize::try_from(bytes)?];
    file.read_exact_at(&mut content, 0)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}
