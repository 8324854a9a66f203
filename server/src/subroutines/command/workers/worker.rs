//! One worker: a process that serves a call after the other.

use std::{io, sync::Arc, time::Duration};

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use swarmwire_common::wire::call::CallKind;
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    time::{Instant, timeout},
};

use super::{
    super::{
        group::TERMINATION_TIME_MAX,
        launch::Launched,
        process::{READ_BYTES, READ_BYTES_MIN, reached},
        running::Running,
    },
    feed::Feed,
    frame::{self, Frame, FrameError},
    job::{Answer, Given, Job},
};
use crate::subroutines::{Failure, Room};

/// How long a worker may take to end a call that was given up, or to take the frame that it is being told when it has answered already. Chosen: what a
/// program does between two items, twice what a person notices.
const ENDING_TIME_MAX: Duration = Duration::from_secs(2);

/// A process that is between two calls. Dropped, it is ended.
pub(super) struct Worker {
    running: Running,
    stdin: pipe::Sender,
    stdout: pipe::Receiver,
    buffer: BytesMut,
    has_served: bool,
}

/// Why a worker is of no use any longer.
#[derive(Debug)]
pub(super) enum Fault {
    /// It has ended, or has closed its output.
    Gone,
    /// It says what it must not.
    Broken(FrameError),
    /// It does not come to an end of a call that was given up, or to that of its input.
    Deaf,
    /// The system does not let it be watched.
    Io(io::Error),
}

impl From<io::Error> for Fault {
    fn from(err: io::Error) -> Self {
        Self::Io(err)
    }
}

/// A call that a worker has served, or has failed to.
pub(super) struct Served {
    pub(super) answer: Answer,
    /// What it has given last, where the caller has not taken it before a fault.
    pub(super) left: Vec<Frame>,
    /// How it ended, unless the worker's fault is that.
    pub(super) ended: Option<Result<i64, Failure>>,
    pub(super) room: Arc<Room>,
}

impl Worker {
    pub(super) fn new(launched: Launched) -> Self {
        let Launched { running, stdin, stdout } = launched;
        Self { running, stdin, stdout, buffer: BytesMut::new(), has_served: false }
    }

    /// Waits for a fault while there is no call. Cancel-safe.
    pub(super) async fn idle(&mut self) -> Fault {
        if !self.buffer.is_empty() {
            return Fault::Broken(FrameError::Outside);
        }
        tokio::select! {
            read = self.stdout.read_buf(&mut self.buffer) => match read {
                Ok(0) => Fault::Gone,
                Ok(_) => Fault::Broken(FrameError::Outside),
                Err(err) => err.into(),
            },
            gone = self.running.exit() => gone.map_or_else(Into::into, |()| Fault::Gone),
        }
    }

    /// Whether it has said something, or ended, since its last call: then [`Self::idle`] says at once what is wrong. What it says from the beginning of
    /// the next call on is taken for that.
    pub(super) fn is_disturbed(&self) -> bool {
        // Not what tokio knows of the pipe, which is as of the last time that it asked.
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let stdout = &mut [PollFd::new(&self.stdout, PollFlags::IN)];
        !self.buffer.is_empty() || poll(stdout, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Serves a call; says what is wrong with the worker, if anything is.
    pub(super) async fn serve(&mut self, job: Box<Job>) -> (Served, Option<Fault>) {
        // What it has said as it started is the first caller's to hear; afterwards it may be what concerns another.
        if std::mem::replace(&mut self.has_served, true) {
            self.running.forget_words();
        }
        self.running.work_for(Some(job.id()));
        let (room, head) = (job.room(), job.head());
        let Job { kind, source, answer, .. } = *job;
        let mut call = Call::new(kind, Feed::new(&head, source));
        drop(head);
        let fault = call.run(self, &answer).await.err();
        if fault.is_none() {
            self.running.work_for(None);
        }
        // It may end after its answer, and that is told once.
        let is_gone = call.feed.is_broken() || self.running.has_exited;
        let fault = fault.or_else(|| is_gone.then_some(Fault::Gone));
        if self.buffer.is_empty() {
            // It may be as large as the largest item.
            self.buffer = BytesMut::new();
        }
        let ended = call.failure.map(Err).or(call.ended);
        (Served { answer, left: call.held, ended, room }, fault)
    }

    /// Ends it, and says what was wrong. What `room` stands for is taken up until it is gone.
    pub(super) async fn bury(self, fault: Fault, room: Option<Arc<Room>>) -> String {
        let Self { mut running, stdin, stdout, .. } = self;
        running.group.room = room;
        // One that is well sees the end of its input.
        drop((stdin, stdout));
        if !matches!(fault, Fault::Gone) {
            running.group.terminate();
        }
        let mut is_killed = false;
        if !running.has_exited && timeout(TERMINATION_TIME_MAX, running.exit()).await.is_err() {
            running.group.kill();
            is_killed = true;
            if timeout(TERMINATION_TIME_MAX, running.exit()).await.is_err() {
                return "the worker cannot be ended".to_owned();
            }
        }
        match (fault, running.end().await) {
            (Fault::Gone, Ok(exited)) if !is_killed => exited.describe("worker"),
            (Fault::Gone, _) => "the worker closed its output, and was ended".to_owned(),
            (Fault::Broken(err), _) => format!(
                "the worker gave {err}, and was ended; all that it writes to its standard output must be frames, and what it prints belongs on its \
                 standard error"
            ),
            (Fault::Deaf, _) => "the worker did not come to an end, and was ended".to_owned(),
            (Fault::Io(err), _) => format!("the worker could not be watched, and was ended: {err}"),
        }
    }
}

/// A call that is being served.
struct Call {
    kind: CallKind,
    feed: Feed,
    /// What waits for the caller.
    held: Vec<Frame>,
    /// How the worker has ended it.
    ended: Option<Result<i64, Failure>>,
    /// Why its input broke off.
    failure: Option<Failure>,
    is_given_up: bool,
    /// When the worker has had its time to come to an end.
    deaf_at: Option<Instant>,
    /// When what has left a dead worker's group and still holds its output is waited for no longer.
    abandon_at: Option<Instant>,
}

impl Call {
    fn new(kind: CallKind, feed: Feed) -> Self {
        let (held, ended, failure) = (Vec::new(), None, None);
        Self { kind, feed, held, ended, failure, is_given_up: false, deaf_at: None, abandon_at: None }
    }

    /// Until the worker has ended it and can take another, and its caller has all but the end.
    async fn run(&mut self, worker: &mut Worker, answer: &Answer) -> Result<(), Fault> {
        let Worker { running, stdin, stdout, buffer, .. } = worker;
        while self.ended.is_none() || !self.feed.is_done() || !self.held.is_empty() {
            tokio::select! {
                biased;
                () = answer.frames.closed(), if !self.is_given_up => {
                    self.held.clear();
                    self.give_up();
                }
                () = reached(self.deaf_at), if self.ended.is_none() || !self.feed.is_done() => {
                    return Err(Fault::Deaf);
                }
                gone = running.exit() => {
                    gone?;
                    // What it has left behind could hold its output for ever.
                    running.group.kill();
                    self.abandon_at = Some(Instant::now() + TERMINATION_TIME_MAX);
                }
                fed = self.feed.go_on(stdin), if !self.feed.is_done() => {
                    if let Err(failure) = fed {
                        self.failure = Some(failure);
                        self.give_up();
                    }
                }
                permit = answer.frames.reserve(), if !self.held.is_empty() => {
                    let frames = std::mem::take(&mut self.held);
                    // Otherwise there is no caller any longer, which is seen next.
                    if let Ok(permit) = permit {
                        permit.send(Given::Frames(frames));
                    }
                }
                read = read_some(stdout, buffer), if self.held.is_empty() && self.ended.is_none() => {
                    if read? == 0 {
                        return Err(Fault::Gone);
                    }
                    self.take(buffer).map_err(Fault::Broken)?;
                }
                () = reached(self.abandon_at), if self.held.is_empty() && self.ended.is_none() => {
                    return Err(Fault::Gone);
                }
            }
        }
        Ok(())
    }

    /// Takes what is there, and no more than belongs to this call.
    fn take(&mut self, buffer: &mut BytesMut) -> Result<(), FrameError> {
        while let Some(frame) = frame::take(buffer, self.kind)? {
            let ended = match frame {
                Frame::Part(_) | Frame::Item(..) => {
                    if !self.is_given_up {
                        self.held.push(frame);
                    }
                    continue;
                }
                Frame::End if self.kind == CallKind::Send && !self.is_given_up => {
                    return Err(FrameError::Misplaced { kind: 'E', call: self.kind });
                }
                Frame::End => Ok(0),
                Frame::Value(value) => Ok(value),
                Frame::Failed(text) => Err(Failure::new(text)),
            };
            self.ended = Some(ended);
            if !self.feed.is_done() {
                self.feed.stop();
                self.is_to_end_soon();
            }
            break;
        }
        Ok(())
    }

    /// The worker hears that nobody waits any longer, and gets a moment to come to an end.
    fn give_up(&mut self) {
        self.is_given_up = true;
        if self.ended.is_none() {
            self.feed.give_up();
            self.is_to_end_soon();
        }
    }

    fn is_to_end_soon(&mut self) {
        self.deaf_at.get_or_insert_with(|| Instant::now() + ENDING_TIME_MAX);
    }
}

/// Some more of what a worker says.
async fn read_some(stdout: &mut pipe::Receiver, buffer: &mut BytesMut) -> io::Result<usize> {
    if buffer.capacity() - buffer.len() < READ_BYTES_MIN {
        buffer.reserve(READ_BYTES);
    }
    stdout.read_buf(buffer).await
}
