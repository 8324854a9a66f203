//! A process group, and its end: by SIGTERM, and by SIGKILL soon after.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, ExitStatus},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};
use tokio::net::unix::pipe;

use crate::subroutines::{Room, processes::Mark};

/// How long a process group may take to end after SIGTERM. Chosen: what cleaning up takes, and no service manager waits for less.
pub(super) const TERMINATION_TIME_MAX: Duration = Duration::from_secs(2);

/// A process and all that it has started, as far as that has stayed in its group.
#[derive(Debug)]
pub(super) struct Group {
    /// None once it is reaped.
    pub(super) child: Option<Child>,
    /// Kept open until its end, where what was to come through it did not come to an end.
    pub(super) stdin: Option<Arc<pipe::Sender>>,
    /// What its call takes up is free again when it is gone.
    pub(super) room: Option<Arc<Room>>,
    /// None once its end is another thread's.
    mark: Option<Mark>,
}

impl Group {
    /// Of a process that leads a group. May start a process, too.
    pub(super) fn new(child: Child, room: Option<Arc<Room>>, mut mark: Mark) -> Self {
        mark.guard(Self::pid(&child));
        Self { child: Some(child), stdin: None, room, mark: Some(mark) }
    }

    fn pid(child: &Child) -> Pid {
        Pid::from_child(child)
    }

    /// Readable once the process has ended.
    pub(super) fn pidfd(&self) -> io::Result<OwnedFd> {
        let child = self.child.as_ref().expect("it is there until it is reaped");
        Ok(pidfd_open(Self::pid(child), PidfdFlags::NONBLOCK)?)
    }

    /// Asks all of it to end.
    pub(super) fn terminate(&self) {
        if let Some(child) = &self.child {
            signal(child, Signal::TERM);
        }
    }

    /// Ends all of it.
    pub(super) fn kill(&self) {
        if let Some(child) = &self.child {
            signal(child, Signal::KILL);
        }
    }

    /// How the process ended, which it has; what is left of its group is killed.
    pub(super) fn reap(&mut self) -> io::Result<ExitStatus> {
        let mut child = self.child.take().expect("it is reaped once");
        signal(&child, Signal::KILL);
        if let Some(mark) = &mut self.mark {
            mark.leave();
        }
        child.wait()
    }
}

/// Whoever is not reaped is asked to end, and killed soon after.
impl Drop for Group {
    fn drop(&mut self) {
        self.terminate();
        let Some(child) = self.child.take() else { return };
        let ended =
            Arc::new(Mutex::new(Some((child, self.stdin.take(), self.room.take(), self.mark.take()))));
        let ending = Arc::clone(&ended);
        let thread = thread::Builder::new().name("ending".to_owned());
        let spawned = thread.spawn(move || end(&ending, TERMINATION_TIME_MAX));
        if let Err(err) = spawned {
            tracing::warn!(%err, "no thread to end a subroutine's program with");
            end(&ended, Duration::ZERO);
        }
    }
}

/// A process that is to end, its input, the room that it takes up, and who counts it.
type Ending = (Child, Option<Arc<pipe::Sender>>, Option<Arc<Room>>, Option<Mark>);

/// Gives it some time, and kills what is left. Blocks.
fn end(ending: &Mutex<Option<Ending>>, patience: Duration) {
    let taken = ending.lock().expect("no holder panics").take();
    let Some((mut child, _stdin, _room, mut mark)) = taken else { return };
    if let Ok(gone) = pidfd_open(Group::pid(&child), PidfdFlags::empty()) {
        let time = Timespec::try_from(patience).expect("seconds fit");
        let waited = poll(&mut [PollFd::new(&gone, PollFlags::IN)], Some(&time));
        tracing::trace!(?waited, "waited for a process group to end");
    }
    signal(&child, Signal::KILL);
    if let Some(mark) = &mut mark {
        mark.leave();
    }
    if let Err(err) = child.wait() {
        tracing::warn!(%err, "a subroutine's program could not be reaped");
    }
}

/// To the group. As long as its process is not reaped, nobody else has its number.
fn signal(child: &Child, signal: Signal) {
    if let Err(err) = kill_process_group(Group::pid(child), signal) {
        tracing::trace!(%err, "a process group has ended by itself");
    }
}
