//! Child processes that never outlive their owner: waited for with a deadline, killed when dropped, their output kept for the error.
//!
//! The environment they see is cleared of everything that would make a run depend on who starts it: `SWARMWIRE_*`, log filters, backtraces.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

/// How often a running child's memory is looked at. The kernel keeps the peak, so only growth in the last interval can be missed.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

/// Lines of a child's output that an error quotes.
const QUOTED_LINES: usize = 15;

/// A command with a clean environment.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"SWARMWIRE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("RUST_BACKTRACE").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs a command to its end and returns what it did, whatever its exit status; one that takes longer than `within` is killed.
pub(crate) fn run(command: &mut Command, within: Duration) -> Result<Finished> {
    let start = Instant::now();
    let mut process = Process::spawn(command)?;
    let status = process.wait(within)?;
    Ok(Finished { wall: start.elapsed(), status, peak_bytes: process.peak_bytes, process })
}

/// A child process.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    descriptor: OwnedFd,
    stdout: File,
    stderr: File,
    peak_bytes: u64,
}

impl Process {
    /// Starts `command`. Its output goes to unnamed files, so that no amount of it makes the child wait for us.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        Self::start(command, name.clone()).with_context(|| format!("failed to start {name}"))
    }

    fn start(command: &mut Command, name: String) -> io::Result<Self> {
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut child = command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).spawn()?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(descriptor) => Ok(Self { name, child, descriptor, stdout, stderr, peak_bytes: 0 }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        }
    }

    /// Waits for the child to end by itself. Looks at its memory meanwhile.
    pub(crate) fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let start = Instant::now();
        while !self.ended_within(SAMPLE_INTERVAL)? {
            self.peak_bytes = self.peak_bytes.max(peak_resident_bytes(self.child.id()));
            if start.elapsed() > within {
                bail!("{} did not end within {} s\n{}", self.name, within.as_secs(), self.last_words());
            }
        }
        Ok(self.child.wait()?)
    }

    /// Whether the child has ended, waiting for it for `patience`.
    pub(crate) fn ended_within(&self, patience: Duration) -> Result<bool> {
        let mut descriptors = [PollFd::new(&self.descriptor, PollFlags::IN)];
        match poll(&mut descriptors, Some(&Timespec::try_from(patience)?)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("failed to wait for {}", self.name)),
        }
    }

    /// Asks the child to end (SIGTERM) and waits for it.
    pub(crate) fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        // The child has not been waited for, so the number is still its own.
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .with_context(|| format!("failed to end {}", self.name))?;
        self.wait(within)
    }

    /// The most memory the child has had resident so far.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_bytes.max(peak_resident_bytes(self.child.id()))
    }

    /// What the child has written to standard output so far.
    pub(crate) fn stdout(&self) -> Result<String> {
        read_all(&self.stdout)
    }

    /// What the child has written to standard error so far.
    pub(crate) fn stderr(&self) -> Result<String> {
        read_all(&self.stderr)
    }

    /// The end of the child's standard error, indented, for an error message.
    pub(crate) fn last_words(&self) -> String {
        let stderr = self.stderr().unwrap_or_default();
        let lines: Vec<&str> = stderr.lines().collect();
        let last = &lines[lines.len().saturating_sub(QUOTED_LINES)..];
        last.iter().map(|line| format!("  {}: {line}", self.name)).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both do nothing to a child that has been waited for; one that cannot be killed is beyond what we can do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// From before it was started until it had ended.
    pub(crate) wall: Duration,
    /// The most memory it had resident, to the last sample.
    pub(crate) peak_bytes: u64,
    status: ExitStatus,
    process: Process,
}

impl Finished {
    /// Its standard output, or an error that quotes what it said if it failed.
    pub(crate) fn success(&self) -> Result<String> {
        if !self.status.success() {
            bail!("{} failed ({})\n{}", self.process.name, self.status, self.process.last_words());
        }
        self.process.stdout()
    }
}

/// Reads from the start without moving the position, which the child's writes share.
fn read_all(file: &File) -> Result<String> {
    let size = usize::try_from(file.metadata()?.len())?;
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `VmHWM` of proc_pid_status(5), in bytes; 0 when the process has ended.
fn peak_resident_bytes(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = command("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_command_that_succeeds_gives_its_output() {
        let finished = run(&mut shell("echo out; echo err >&2"), Duration::from_secs(10)).unwrap();
        assert_eq!(finished.success().unwrap(), "out\n");
    }

    #[test]
    fn a_command_that_fails_is_an_error_that_quotes_it() {
        let finished = run(&mut shell("echo the reason >&2; exit 3"), Duration::from_secs(10)).unwrap();
        let error = finished.success().unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("sh: the reason"), "{error}");
    }

    #[test]
    fn a_command_that_hangs_is_killed_at_its_deadline() {
        let error = run(&mut shell("echo still here >&2; sleep 60"), Duration::from_millis(300)).unwrap_err();
        assert!(error.to_string().contains("did not end within"), "{error}");
    }

    #[test]
    fn a_terminated_child_is_waited_for() {
        let mut process = Process::spawn(&mut shell("sleep 60")).unwrap();
        assert!(!process.ended_within(Duration::ZERO).unwrap());
        assert!(!process.terminate(Duration::from_secs(10)).unwrap().success());
    }
}
