//! One run of a program for one call: it is fed, and what it gives is read.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe,
    time::{Instant, sleep_until},
};

use super::{
    group::TERMINATION_TIME_MAX,
    launch::{Launch, Launched},
    running::{Exited, Running, going},
};
use crate::subroutines::{Failure, Input};

/// Bytes that are read from a program at once: what a pipe holds.
pub(super) const READ_BYTES: usize = 64 * 1024;
pub(super) const READ_BYTES_MIN: usize = 4 * 1024;

/// A program that runs. Dropped, it is ended.
pub(super) struct Process {
    running: Running,
    stdin: Arc<pipe::Sender>,
    stdout: pipe::Receiver,
}

impl Process {
    pub(super) async fn start(launch: Launch<'_>) -> io::Result<Self> {
        let Launched { mut running, stdin, stdout } = launch.start().await?;
        let stdin = Arc::new(stdin);
        running.group.stdin = Some(Arc::clone(&stdin));
        Ok(Self { running, stdin, stdout })
    }

    /// Gives it these bytes as its standard input.
    pub(super) fn feeding(self, bytes: Bytes) -> Output {
        self.with_input(|stdin| async move { write(&stdin, &bytes).await.map(drop) })
    }

    /// Gives it what comes.
    pub(super) fn taking(self, mut input: Input) -> Output {
        self.with_input(|stdin| async move {
            while let Some(bytes) = input.next().await? {
                if !write(&stdin, &bytes).await? {
                    break;
                }
            }
            Ok(())
        })
    }

    fn with_input<F>(self, feed: impl FnOnce(Arc<pipe::Sender>) -> F) -> Output
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let Self { running, stdin, stdout } = self;
        let feeding: BoxFuture<'static, _> = Box::pin(feed(stdin));
        Output {
            running,
            stdout: Some(stdout),
            buffer: BytesMut::new(),
            kill_at: None,
            abandon_at: None,
            feeding: Some(feeding),
        }
    }
}

/// Writes all of `bytes`; whether anybody reads. A program that does not is no error.
async fn write(stdin: &pipe::Sender, mut bytes: &[u8]) -> Result<bool, Failure> {
    while !bytes.is_empty() {
        stdin.writable().await?;
        match stdin.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            Err(err) => return Err(err.into()),
        }
    }
    Ok(true)
}

/// What a program gives, while it is fed and its standard error is read.
pub(super) struct Output {
    running: Running,
    /// None once it has ended.
    stdout: Option<pipe::Receiver>,
    buffer: BytesMut,
    /// When what it has left behind is killed.
    kill_at: Option<Instant>,
    /// When what has left its group and still holds the pipes is waited for no longer.
    abandon_at: Option<Instant>,
    feeding: Option<BoxFuture<'static, Result<(), Failure>>>,
}

impl Output {
    /// What it gives next; `None` once there is nothing more. Not cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        // What was given out before may still be held: a little of it must not hold all of a buffer.
        if self.buffer.capacity() < READ_BYTES_MIN {
            self.buffer.reserve(READ_BYTES);
        }
        while let Some(stdout) = &mut self.stdout {
            tokio::select! {
                read = stdout.read_buf(&mut self.buffer) => match read? {
                    0 => self.stdout = None,
                    _ => return Ok(Some(self.buffer.split().freeze())),
                },
                fed = going(&mut self.feeding) => self.fed(fed)?,
                gone = self.running.exit() => {
                    gone?;
                    // What it has left behind could hold the pipes for ever.
                    self.running.group.terminate();
                    self.kill_at = Some(Instant::now() + TERMINATION_TIME_MAX);
                }
                () = reached(self.kill_at) => {
                    self.kill_at = None;
                    self.running.group.kill();
                    self.abandon_at = Some(Instant::now() + TERMINATION_TIME_MAX);
                }
                () = reached(self.abandon_at) => self.stdout = None,
            }
        }
        Ok(None)
    }

    /// Its input is complete, or broke off: then it sees the end of it only when it is ended itself.
    fn fed(&mut self, fed: Result<(), Failure>) -> Result<(), Failure> {
        self.feeding = None;
        fed?;
        self.running.group.stdin = None;
        Ok(())
    }

    /// How it ended, once it has closed its output.
    pub(super) async fn end(mut self) -> Result<Exited, Failure> {
        while !self.running.has_exited {
            tokio::select! {
                fed = going(&mut self.feeding) => self.fed(fed)?,
                gone = self.running.exit() => gone?,
            }
        }
        Ok(self.running.end().await?)
    }
}

/// Waits until then; for ever without a time.
pub(super) async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
