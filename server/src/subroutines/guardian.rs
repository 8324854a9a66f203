//! What ends the programs of a gateway that was killed: a process of its own, which sees the end of its input then.
//!
//! Nothing of a killed process can still do something, and what the kernel does for it (`PR_SET_PDEATHSIG`) reaches no group, is forgotten where
//! the user changes, and is unsafe to ask for. So a shell that does nothing else reads which process groups there are, and ends those that are left, as
//! the gateway does: by SIGTERM, and two seconds later by SIGKILL. It is started with the first program, is in a group of its own, and
//! hears no signal that ends a gateway. Only the groups that a gateway has told of are ended: one killed between a start and the word of it leaves that one.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, MutexGuard},
};

use rustix::{io::ioctl_fionbio, process::Pid};

const SHELL: &str = "/bin/sh";
const SCRIPT: &str = include_str!("guardian.sh");

/// The guardian of the process groups of a registry.
#[derive(Debug, Default)]
pub(super) struct Guardian {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// None before the first group, and after one that could not be told something.
    shell: Option<Shell>,
    groups: BTreeSet<i32>,
    has_failed: bool,
}

impl Guardian {
    /// Has a group ended when this process is gone. May start a process.
    pub(super) fn watch(&self, group: Pid) {
        let mut state = self.state();
        state.groups.insert(group.as_raw_pid());
        if state.tell('+', group) {
            return;
        }
        let started = Shell::start().and_then(|mut shell| {
            state.groups.iter().try_for_each(|&group| shell.tell('+', group)).map(|()| shell)
        });
        match started {
            Ok(shell) => state.shell = Some(shell),
            // Not with each program.
            Err(err) if !state.has_failed => {
                state.has_failed = true;
                tracing::warn!(%err, "nothing ends the subroutines' programs if this process is killed: `{SHELL}` cannot be used");
            }
            Err(_) => {}
        }
    }

    /// Leaves a group alone. To be called before its process is reaped: nobody else has its number until then.
    pub(super) fn leave(&self, group: Pid) {
        let mut state = self.state();
        if state.groups.remove(&group.as_raw_pid()) {
            // Of one that does not hear it the next has nothing to leave.
            state.tell('-', group);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

impl State {
    /// Whether there is a shell that hears it.
    fn tell(&mut self, change: char, group: Pid) -> bool {
        let Some(shell) = &mut self.shell else { return false };
        let told = shell.tell(change, group.as_raw_pid());
        if let Err(err) = &told {
            tracing::debug!(%err, "the guardian of the subroutines' programs is gone, or does not read");
            self.shell = None;
        }
        told.is_ok()
    }
}

/// A shell that reads which groups there are. Dropped, it is killed, and ends none.
#[derive(Debug)]
struct Shell {
    process: Child,
    stdin: ChildStdin,
}

impl Shell {
    fn start() -> io::Result<Self> {
        let mut process = Command::new(SHELL)
            .args(["-c", SCRIPT, "swarmwire-guardian"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let stdin = process.stdin.take().expect("it was piped, and is taken once");
        let shell = Self { process, stdin };
        // One that reads nothing holds up nobody; it is replaced.
        ioctl_fionbio(&shell.stdin, true)?;
        Ok(shell)
    }

    fn tell(&mut self, change: char, group: i32) -> io::Result<()> {
        // In one piece, which a pipe takes whole or not at all.
        self.stdin.write_all(format!("{change} {group}\n").as_bytes())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Before it sees the end of its input.
        if let Err(err) = self.process.kill().and_then(|()| self.process.wait()) {
            tracing::warn!(%err, "a guardian could not be ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::fd::OwnedFd,
        time::{Duration, Instant},
    };

    use rustix::process::{Signal, kill_process};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A process in a group of its own, killed and reaped with the test.
    struct Program(Child);

    impl Program {
        fn start(script: &str) -> Self {
            Self(Command::new(SHELL).args(["-c", script]).process_group(0).spawn().unwrap())
        }

        fn group(&self) -> Pid {
            Pid::from_child(&self.0)
        }

        fn is_there(&mut self) -> bool {
            self.0.try_wait().unwrap().is_none()
        }

        fn is_ended(&mut self) {
            let start = Instant::now();
            while self.is_there() {
                assert!(start.elapsed() < PATIENCE, "it lives on");
                std::thread::yield_now();
            }
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Closes the guardian's input, as the end of this process would, and waits for the guardian's end.
    fn end(guardian: &Guardian) {
        let mut shell = guardian.state().shell.take().unwrap();
        let (read_end, write_end) = io::pipe().unwrap();
        drop(read_end);
        drop(std::mem::replace(&mut shell.stdin, OwnedFd::from(write_end).into()));
        let start = Instant::now();
        while shell.process.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "the guardian does not end");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_groups_that_are_left_are_ended_and_no_other() {
        let guardian = Guardian::default();
        let mut programs: Vec<_> =
            ["sleep 300", "trap '' TERM; sleep 300; sleep 300", "sleep 300 & wait", "exec sleep 300"]
                .map(Program::start)
                .into();
        programs.iter().for_each(|program| guardian.watch(program.group()));
        guardian.leave(programs[2].group());
        end(&guardian);
        for number in [0, 1, 3] {
            programs[number].is_ended();
        }
        assert!(programs[2].is_there());
    }

    #[test]
    fn one_that_is_killed_is_replaced_and_the_next_knows_what_it_knew() {
        let guardian = Guardian::default();
        let [mut first, mut second] = ["sleep 300"; 2].map(Program::start);
        guardian.watch(first.group());
        let of = |guardian: &Guardian| guardian.state().shell.as_ref().unwrap().process.id();
        let killed = of(&guardian);
        kill_process(Pid::from_raw(killed.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
        let start = Instant::now();
        while !fs::read_to_string(format!("/proc/{killed}/stat")).unwrap().contains(") Z ") {
            assert!(start.elapsed() < PATIENCE, "it lives on");
        }
        guardian.watch(second.group());
        assert_ne!(of(&guardian), killed);
        end(&guardian);
        first.is_ended();
        second.is_ended();
    }
}
